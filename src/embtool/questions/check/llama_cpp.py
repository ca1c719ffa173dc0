"""A vocabulary as llama.cpp has it: from the metadata of a GGUF file, or as its converter would write that of a folder.

What a converter writes is described by the gguf library's `SpecialVocab`, what llama.cpp makes of it by llama-vocab.cpp
(`impl::load`); the tests hold this module against the library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embtool.configs.config import Config
from embtool.errors import ConfigError
from embtool.questions.check.small_files import SmallFiles, text_of
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.ggml import TokenizerMetadata
from embtool.vocabulary.ggml_names import DEFAULTS
from embtool.vocabulary.older import WORLD
from embtool.vocabulary.spelling import ByteLevel, Metaspace, WordPiece

KINDS = {
    "llama": "SPM",
    "gpt2": "BPE",
    "gemma4": "BPE",
    "whitespace": "BPE",
    "hybriddna": "BPE",
    "bert": "WPM",
    "t5": "UGM",
    "rwkv": "RWKV",
    "plamo2": "PLAMO2",
}
"""llama.cpp's types of vocabularies, by the kind that a GGUF file names; several kinds are one type."""


@dataclass(frozen=True)
class LlamaVocabulary:
    """What llama.cpp compares of a draft and its target.

    Attributes:
        type: its type of vocabulary, such as BPE.
        size: how many tokens, those that fill it up among them.
        texts: the text of every token by its id, but for those that fill it up.
        bos: the token that begins a sequence; None where it has none.
        eos: the token that ends one.
        adds_bos: whether a sequence begins with it.
        adds_eos: whether a sequence ends with it.
    """

    type: str
    size: int
    texts: Mapping[int, str]
    bos: int | None
    eos: int | None
    adds_bos: bool
    adds_eos: bool

    def text(self, identity: int) -> str:
        """Return the text of a token; a place without one is filled up as the converter does."""
        return self.texts.get(identity) or f"[PAD{identity}]"


def of_gguf(metadata: Mapping[str, Any], file: str) -> LlamaVocabulary:
    """Read the vocabulary of a GGUF file.

    Raises:
        ConfigError: it is of a kind that llama.cpp has no type for.
        FormatError: its metadata make no vocabulary.
    """
    read = TokenizerMetadata(metadata, file)
    if read.kind not in KINDS:
        raise ConfigError(f"{file} has a tokenizer of the unknown kind {read.kind!r}")
    texts = {identity: piece or f"[EMPTY_{identity}]" for identity, piece in enumerate(read.pieces)}
    return LlamaVocabulary(
        KINDS[read.kind], len(texts), texts, read.role("bos"), read.role("eos"), read.adds_bos, read.adds_eos
    )


def of_folder(vocabulary: Vocabulary, small: SmallFiles, config: Config | None) -> LlamaVocabulary:
    """Tell what llama.cpp's converter would make of a folder.

    Raises:
        ConfigError: it is not known which kind of tokenizer the converter would write.
    """
    kind = _kind(vocabulary, small, config)
    tokens = int(vocabulary.ids[-1]) + 1
    size = tokens if config is None or config.vocab_size is None else config.vocab_size
    special = _special(small, config)
    roles = {}
    for name in ("bos", "eos"):
        given = special.ids.get(name)
        found = DEFAULTS.get(kind, {}).get(name) if given is None or given >= size else given
        roles[name] = found if found is not None and found < size else None
    adds_bos = special.adds.get("bos", kind in ("llama", "bert"))
    adds_eos = special.adds.get("eos", kind == "t5")
    texts = dict(vocabulary.pieces())
    if kind == "bert":
        whole = set(vocabulary.special_ids.tolist())
        texts = {  # what begins a word has the mark, not what continues one
            place: piece if place in whole else piece.removeprefix("##") if piece.startswith("##") else f"▁{piece}"
            for place, piece in texts.items()
        }
    return LlamaVocabulary(KINDS[kind], size, texts, roles["bos"], roles["eos"], adds_bos, adds_eos)


def _kind(vocabulary: Vocabulary, small: SmallFiles, config: Config | None) -> str:
    """Tell which kind of tokenizer the converter would write.

    Raises:
        ConfigError: that is not known.
    """
    family = (config.model_type if config is not None else None) or ""
    model = small.tokenizer_json.get("model")
    unigram = isinstance(model, dict) and isinstance(model.get("vocab"), list)
    is_world = WORLD.fullmatch(vocabulary.file) is not None and not isinstance(vocabulary.spelling, WordPiece)
    if isinstance(vocabulary.spelling, ByteLevel) and not is_world:
        return "gpt2"
    if isinstance(vocabulary.spelling, WordPiece):
        return "bert"
    if isinstance(vocabulary.spelling, Metaspace):
        if family.startswith("gemma4"):
            return "gemma4"
        return "t5" if unigram or family.endswith("t5") else "llama"
    raise ConfigError(f"how llama.cpp's converter would write {vocabulary.file} of {small.name} is not known")


@dataclass(frozen=True)
class _Special:
    """Which tokens begin and end a sequence by what the converter reads, and whether they are put around one."""

    ids: Mapping[str, int]
    adds: Mapping[str, bool]


def _special(small: SmallFiles, config: Config | None) -> _Special:
    """Read what `SpecialVocab` reads: tokenizer.json's template, tokenizer_config.json, then config.json."""
    state, settings = small.tokenizer_json, dict(small.tokenizer_config)
    ids: dict[str, int] = {}
    adds: dict[str, bool] = {}
    if state:
        for name, other in (("bos", "cls"), ("eos", "sep")):
            if not settings.get(f"{name}_token") and settings.get(f"{other}_token"):
                settings[f"{name}_token"] = settings[f"{other}_token"]
        adds = _template(state.get("post_processor"), settings)
    listed = state.get("added_tokens")
    added = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    for name in ("bos", "eos"):
        switch = settings.get(f"add_{name}_token")
        if isinstance(switch, bool):
            adds[name] = switch
        text = text_of(settings.get(f"{name}_token"))
        found = next((entry.get("id") for entry in added if entry.get("content") == text), None)
        raw = {} if config is None else config.raw
        inner = raw.get("text_config")
        named = [place.get(f"{name}_token_id") for place in (raw, inner) if isinstance(place, Mapping)]
        for given in (found, *named):
            if type(given) is int and given >= 0:
                ids.setdefault(name, given)
    return _Special(ids, adds)


def _template(processor: Any, settings: dict[str, Any]) -> dict[str, bool]:
    """Read whether a template puts tokens around a sequence; its last token becomes eos, in `settings`."""
    adds: dict[str, bool] = {}
    whole = processor if isinstance(processor, dict) else {}
    parts = whole.get("processors", [whole])
    for part in parts if isinstance(parts, list) else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "RobertaProcessing":
            adds |= {"bos": True, "eos": True}
        single = part.get("single") if kind == "TemplateProcessing" else None
        if not isinstance(single, list) or len(single) < 2:  # noqa: PLR2004 - a token beside the text
            continue
        tokens = [end.get("SpecialToken") if isinstance(end, dict) else None for end in (single[0], single[-1])]
        names = [token.get("id") if isinstance(token, dict) else None for token in tokens]
        first, last = (name if isinstance(name, str) and name else None for name in names)
        if first is not None:
            adds["bos"] = not settings or first in (settings.get("bos_token"), settings.get("cls_token"))
        if last is not None:
            if settings:
                settings["eos_token"] = last
            adds["eos"] = True
    return adds
