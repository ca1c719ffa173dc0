"""A tokenizer that a folder has only as pieces, described as tokenizer.json would describe it.

What a class adds to the files is a row of `embtool.vocabulary.classes`. A recipe reads the files and makes of both a
description: a normalizer, a pre-tokenizer, a model, a post-processor, in the words of the tokenizers library.
"""

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embtool.errors import FormatError
from embtool.vocabulary.classes import TEXT, TokenizerClass
from embtool.vocabulary.entries import State, number
from embtool.vocabulary.merges import merges_by_score
from embtool.vocabulary.protobuf import BPE, CONTROL, NORMAL, UNIGRAM, USER_DEFINED, SentencePieceModel
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.whisper import CODES

LARGEST_LISTED = (1 << 22) - 1
"""The largest id in vocab.json: the tokenizers library passes over all ids below the largest, whether there are tokens
or not. The largest vocabulary known has a quarter of a million."""

MOST_MERGES = 1 << 20
"""Lines of merges.txt; the longest real list, Gemma's, has half as many."""

MOST_EXTRA = 10_000
"""Further tokens that a T5 may have; it has a hundred."""

MARK = "▁"

DECADE = re.compile(r"[0-9],\Z")
"""The end of pieces such as `9,`, which ALBERT and XLNet cut again."""


@dataclass(frozen=True)
class Description:
    """What splits text as a class does.

    Attributes:
        state: as tokenizer.json has it, but for `merges`.
        merges: lists the pairs that are merged, where the model has any; much work for a large SentencePiece model.
        looked_for: gives the description by which text is split, where each token is looked for before anything else,
            or, if special ones are split, none.
        unsplit: why text cannot be split, where it cannot.
    """

    state: State
    merges: Callable[[], Sequence[tuple[str, str]]] | None = None
    looked_for: Callable[[bool], State] | None = None
    unsplit: str | None = None

    def whole(self) -> State:
        """Return the whole description."""
        if self.merges is None:
            return self.state
        return {**self.state, "model": {**self.state["model"], "merges": [list(pair) for pair in self.merges()]}}


# --- what stands around a text


def template(parts: Sequence[str], ids: Mapping[str, int]) -> State | None:
    """Describe what is put around a text: tokens, and `TEXT` where the text stands; None if nothing is."""
    if list(parts) == [TEXT]:
        return None
    single = [
        {"Sequence": {"id": "A", "type_id": 0}} if part == TEXT else {"SpecialToken": {"id": part, "type_id": 0}}
        for part in parts
    ]
    special = {part: {"id": part, "ids": [ids[part]], "tokens": [part]} for part in parts if part != TEXT}
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}


def around(kind: TokenizerClass, settings: Settings, ids: Mapping[str, int]) -> list[str]:
    """List what the class puts around a text, and `TEXT`; a token that the vocabulary lacks is left out."""
    if kind.around is None:
        parts: list[str] = [TEXT]
        if settings.flag("add_bos_token", kind.begins):
            parts.insert(0, "bos_token")
        if settings.flag("add_eos_token", otherwise=False):
            parts.append("eos_token")
    else:
        parts = list(kind.around)
    if "lang" in parts and settings.flag("legacy_behaviour", otherwise=False):
        parts = [TEXT, "eos_token", "lang"]
    found: list[str | None] = []
    for part in parts:
        if part == "lang":
            language = settings.text("src_lang", kind.options["language"])
            found.append(kind.options["written"].format(language.strip("_")) if "written" in kind.options else language)
        elif part == "speech":
            begin = ["<|startoftranscript|>"]
            spoken = settings.text("language", "").lower()
            for value in (CODES.get(spoken, spoken), settings.text("task", "")):
                begin += [f"<|{value}|>"] if value else []
            found += begin if settings.flag("predict_timestamps", otherwise=False) else [*begin, "<|notimestamps|>"]
        else:
            found.append(settings.named(part, kind.names.get(part)) if part.endswith("_token") else part)
    return [part for part in found if part is not None and (part == TEXT or part in ids)]


def ids_around(kind: TokenizerClass, settings: Settings, ids: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the ids of what the class puts before a text, and of what it puts behind it."""
    parts = around(kind, settings, ids)
    place = parts.index(TEXT)
    return [ids[part] for part in parts[:place]], [ids[part] for part in parts[place + 1 :]]


def _assemble(
    kind: TokenizerClass,
    settings: Settings,
    state: State,
    first: Sequence[State] = (),
) -> State:
    """Add the added tokens, and what is put around a text; `first` are tokens that the model's file adds."""
    vocabulary = state["model"]["vocab"]
    places = {entry[0]: place for place, entry in enumerate(vocabulary)} if isinstance(vocabulary, list) else vocabulary
    more = [*kind.options.get("more", ()), *extra_ids(kind, settings)]
    own = {token["content"]: token for token in first}
    bare = bool(kind.options.get("bare"))
    for token in settings.tokens(kind.names, more, mask_takes_space=kind.mask_takes_space, bare=bare):
        own[token["content"]] = token
    tokens = list(own.values())
    numbered = number((token["content"] for token in tokens), places, len(vocabulary))
    state["added_tokens"] = [{"id": place, **token} for place, token in zip(numbered, tokens, strict=True)]
    ids = {**places, **{token["content"]: place for place, token in zip(numbered, tokens, strict=True)}}
    return {"version": "1.0", **state, "post_processor": template(around(kind, settings, ids), ids)}


# --- vocab.json with merges.txt


def parse_vocabulary(vocabulary: Mapping[str, Any], file: str = "vocab.json") -> dict[str, int]:
    """Check a table from pieces to ids.

    Raises:
        FormatError: it is none.
    """
    if not all(type(identity) is int and 0 <= identity <= LARGEST_LISTED for identity in vocabulary.values()):
        raise FormatError(f"{file} is not a table from pieces to ids up to {LARGEST_LISTED:,}")
    return dict(vocabulary)


def parse_merges(text: str, vocabulary: Mapping[str, int]) -> list[list[str]]:
    """Read the lines of merges.txt, each two pieces of a vocabulary that join to a third.

    Raises:
        FormatError: a line is not, or there are too many.
    """
    if text.count("\n") > MOST_MERGES:
        raise FormatError(f"merges.txt has more than {MOST_MERGES:,} lines, more than any tokenizer needs")
    lines = (line.rstrip("\r") for line in text.split("\n"))
    pairs = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):  # noqa: PLR2004 - a merge joins two pieces
        raise FormatError("merges.txt has a line that is not two pieces")
    for left, right in pairs:
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise FormatError(f"merges.txt joins {left!r} and {right!r}, which vocab.json does not have or not joined")
    return pairs


def describe_merges(kind: TokenizerClass, settings: Settings, vocabulary: Mapping[str, int], merges: str) -> State:
    """Describe BPE of vocab.json and merges.txt: byte-level, or of words with a mark of their end."""
    options = kind.options
    suffix = options.get("suffix")
    unknown = settings.named("unk_token", kind.names.get("unk_token")) if suffix else None
    level = {
        "type": "ByteLevel",
        "add_prefix_space": settings.flag("add_prefix_space", options.get("prefix_space", False)),
        "trim_offsets": True,
        "use_regex": "cut" not in options,
    }
    splits = [_split(cut) for cut in options.get("cut", ())]
    if "kept" in options:
        splits = [_split(options["kept"], behavior="Removed", invert=True)]
        level["add_prefix_space"] = False
    bert = options.get("bert")
    return _assemble(
        kind,
        settings,
        {
            "normalizer": _bert_normalizer(**bert) if bert else _steps(_FOLDS[f] for f in options.get("folded", ())),
            "pre_tokenizer": {"type": "BertPreTokenizer"} if bert else _cuts([*splits, level]),
            "decoder": {"type": "BPEDecoder", "suffix": suffix} if bert else {**level, "use_regex": True},
            "model": {
                "type": "BPE",
                "vocab": dict(vocabulary),
                "merges": parse_merges(merges, vocabulary),
                "unk_token": unknown,
                "end_of_word_suffix": suffix,
                "fuse_unk": False,
                "byte_fallback": False,
            },
        },
    )


_FOLDS: dict[str, State] = {
    "NFC": {"type": "NFC"},
    "Lowercase": {"type": "Lowercase"},
    "spaces": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
}


def _split(expression: str, *, behavior: str = "Isolated", invert: bool = False) -> State:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


def _steps(steps: Iterable[State]) -> State | None:
    listed = list(steps)
    return {"type": "Sequence", "normalizers": listed} if listed else None


def _cuts(steps: Iterable[State]) -> State:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _bert_normalizer(
    *, lowercase: bool = True, strip_accents: bool | None = None, chinese: bool = True, clean: bool = True
) -> State:
    return {
        "type": "BertNormalizer",
        "clean_text": clean,
        "handle_chinese_chars": chinese,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }


# --- vocab.txt


def parse_words(text: str) -> dict[str, int]:
    """Read vocab.txt, one piece a line, however lines end; of two lines with one piece the last counts."""
    return {word.removesuffix("\n"): place for place, word in enumerate(io.StringIO(text, newline=None))}


def describe_words(kind: TokenizerClass, settings: Settings, vocabulary: Mapping[str, int]) -> State:
    """Describe BERT's WordPiece. Like its class, this passes over `never_split`, `do_basic_tokenize` and the prefix."""
    cased = "[unused1]" in vocabulary and any(word[:1].isupper() and word[1:].islower() for word in vocabulary)
    is_guessed = not settings.tokenizer and settings.name is None
    lowercase = kind.options.get("lowercase")
    folding = _bert_normalizer(
        lowercase=bool(settings.flag("do_lower_case", not is_guessed or not cased) if lowercase is None else lowercase),
        strip_accents=settings.flag("strip_accents", None),
        chinese=bool(settings.flag("tokenize_chinese_chars", otherwise=True)),
        clean="cleans" not in kind.options or bool(settings.flag("clean_text", otherwise=True)),
    )
    return _assemble(
        kind,
        settings,
        {
            "normalizer": folding,
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "vocab": dict(vocabulary),
                "unk_token": settings.named("unk_token", kind.names.get("unk_token")) or "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
            },
        },
    )


def describe_letters(kind: TokenizerClass, settings: Settings, vocabulary: Mapping[str, int]) -> Description:
    """Describe a text cut at every token of the vocabulary, as ESM does: letters of proteins."""
    named = [token["content"] for token in settings.tokens(kind.names)]
    state = _assemble(
        kind,
        settings,
        {
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "decoder": {"type": "Words"},
            "model": {
                "type": "WordLevel",
                "vocab": settings.numbers(vocabulary, named),
                "unk_token": settings.named("unk_token", kind.names["unk_token"]) or "<unk>",
            },
        },
    )
    return Description(state, looked_for=lambda splits_special: _with_every_token(state, splits_special=splits_special))


def _with_every_token(state: State, *, splits_special: bool) -> State:
    """Return a description in which every token of the vocabulary is looked for first, or none; it has no decoder."""
    if splits_special:
        return {**state, "decoder": None, "added_tokens": []}
    listed = {token["content"] for token in state["added_tokens"]}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    more = [
        {"id": place, "content": content, **flags}
        for content, place in state["model"]["vocab"].items()
        if content and content not in listed
    ]
    added = [{**token, "normalized": False, "single_word": False} for token in state["added_tokens"]]
    return {**state, "decoder": None, "added_tokens": [*added, *more]}


# --- a SentencePiece model


def describe_pieces(kind: TokenizerClass, settings: Settings, model: SentencePieceModel, file: str) -> Description:
    """Describe what a class makes of a SentencePiece model.

    Raises:
        FormatError: the class lacks what it needs.
    """
    options = kind.options
    listed = _listed(kind, settings, model)
    unknown = int(options.get("unknown", model.unknown)) + (PEGASUS_OFFSET if "pegasus" in options else 0)
    if not 0 <= unknown < len(listed):
        raise FormatError(f"{file} has no piece for what is unknown")
    merges: Callable[[], Sequence[tuple[str, str]]] | None = None
    if model.kind == BPE:
        vocabulary = {piece: place for place, (piece, _) in enumerate(listed)}
        types = zip(model.pieces, model.types, strict=True)
        ordinary = {piece for piece, type_ in types if type_ in (NORMAL, USER_DEFINED) and piece in vocabulary}
        trained: State = {"type": "BPE", "vocab": vocabulary, "unk_token": listed[unknown][0], "fuse_unk": True}

        def merges() -> Sequence[tuple[str, str]]:
            return merges_by_score(vocabulary, [score for _, score in listed], ordinary)
    else:
        trained = {"type": "Unigram", "vocab": [list(entry) for entry in listed], "unk_id": unknown}
    trained["byte_fallback"] = model.byte_fallback
    first = [
        {"content": piece, **_AS_IS, "special": type_ == CONTROL}
        for piece, type_ in list(zip(model.pieces, model.types, strict=True))[options.get("replaced", 0) :]
        if type_ in (CONTROL, USER_DEFINED)
    ]
    normalizer, pre_tokenizer = _FOLDING[options.get("folds", "plain")](kind, settings, model)
    steps: list[State] = [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}]
    if model.byte_fallback:
        steps += [{"type": "ByteFallback"}, {"type": "Fuse"}]
    spaces = {"type": "Sequence", "decoders": steps}
    state = _assemble(
        kind,
        settings,
        {
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "decoder": spaces,
            "model": trained,
        },
        first,
    )
    is_known = model.kind in (UNIGRAM, BPE)
    return Description(state, merges, unsplit=None if is_known else f"{file} holds words or characters, not pieces")


_AS_IS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)

PEGASUS_OFFSET = 103
"""How far Pegasus shifts the ids of its SentencePiece model."""


def _listed(kind: TokenizerClass, settings: Settings, model: SentencePieceModel) -> list[tuple[str, float]]:
    """List pieces and scores in the order of the class's ids."""
    options = kind.options
    listed = list(zip(model.pieces, model.scores, strict=True))
    if options.get("folds") == "albert" and options.get("commas", True):
        listed = [(piece, score - 100 if DECADE.search(piece) else score) for piece, score in listed]
    head = [(piece, -100.0 if piece == "<unk>NOTUSED" else 0.0) for piece in options.get("head", ())]
    if "pegasus" in options:
        names = ("<pad>", "</s>", "<mask_1>", "<mask_2>", *(f"<unk_{place}>" for place in range(2, PEGASUS_OFFSET)))
        head = [(piece, 0.0 if place < 4 else -100.0) for place, piece in enumerate(names)]  # noqa: PLR2004 - names
    tail = [*options.get("tail", ()), *extra_ids(kind, settings)]
    replaced = 2 if "pegasus" in options else options.get("replaced", 0)
    known = {piece for piece, _ in listed[replaced:]}
    return [*head, *listed[replaced:], *((piece, 0.0) for piece in tail if piece not in known)]


def extra_ids(kind: TokenizerClass, settings: Settings) -> list[str]:
    """List the further tokens that a T5 has behind its pieces, the last first."""
    if "extra_ids" not in kind.options:
        return []
    count = settings.tokenizer.get("extra_ids", kind.options["extra_ids"])
    if type(count) is not int or not 0 <= count <= MOST_EXTRA:
        raise FormatError("extra_ids in tokenizer_config.json is not a count of tokens")
    return [f"<extra_id_{place}>" for place in reversed(range(count))]


def _characters(model: SentencePieceModel) -> list[State]:
    """Describe the change of characters that a model's file asks for."""
    if not model.characters:
        return []
    return [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.characters).decode()}]


def _metaspace(kind: TokenizerClass, settings: Settings, otherwise: str = "never") -> State:
    is_put = "no_prefix_switch" in kind.options or settings.flag("add_prefix_space", otherwise=True)
    scheme = kind.options.get("prefixed", "always") if is_put else otherwise
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": True}


_DOUBLED = {"Regex": " {2,}"}


def _fold_plain(
    kind: TokenizerClass, settings: Settings, model: SentencePieceModel
) -> tuple[State | None, State | None]:
    steps = [
        *_characters(model),
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": _DOUBLED, "content": MARK},
    ]
    words = [{"type": "WhitespaceSplit"}] if "pegasus" in kind.options else []
    return _steps(steps), _cuts([*words, _metaspace(kind, settings)])


def _fold_albert(
    kind: TokenizerClass, settings: Settings, model: SentencePieceModel
) -> tuple[State | None, State | None]:
    """Fold quotes, accents and case before the model's own map."""
    steps: list[State] = [{"type": "Replace", "pattern": {"String": mark}, "content": '"'} for mark in ("``", "''")]
    words = [{"type": "WhitespaceSplit"}]
    if "doubled" in kind.options:
        steps.append({"type": "Replace", "pattern": _DOUBLED, "content": " "})
        words = []
    if not settings.flag("keep_accents", kind.options.get("keep_accents", False)):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if settings.flag("do_lower_case", kind.options["lowercase"]):
        steps.append({"type": "Lowercase"})
    return _steps([*steps, *_characters(model)]), _cuts([*words, _metaspace(kind, settings)])


def _fold_deberta(
    kind: TokenizerClass, settings: Settings, model: SentencePieceModel
) -> tuple[State | None, State | None]:
    steps: list[State] = [{"type": "Lowercase"}] if settings.flag("do_lower_case", otherwise=False) else []
    steps += [{"type": "Strip", "strip_left": True, "strip_right": True}, *_characters(model)]
    steps.append({"type": "Replace", "pattern": _DOUBLED, "content": " "})
    marks = settings.flag("split_by_punct", otherwise=False)
    cut = [{"type": "Punctuation", "behavior": "Isolated"}] if marks else []
    return _steps(steps), _cuts([*cut, _metaspace(kind, settings, "first")])


def _fold_llama(
    kind: TokenizerClass, settings: Settings, model: SentencePieceModel
) -> tuple[State | None, State | None]:
    """Put a space before the text, as the file says; before the first piece of it only, where `legacy` is off."""
    del kind
    steps = _characters(model)
    if model.remove_spaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": _DOUBLED, "content": " "})
    prefix = settings.flag("add_prefix_space", model.dummy_prefix)
    if settings.flag("legacy", otherwise=True):
        steps += [{"type": "Prepend", "prepend": MARK}] if prefix else []
        return _steps([*steps, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]), None
    scheme = "first" if prefix else "never"
    return _steps(steps), {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": False}


def _fold_gemma(
    kind: TokenizerClass, settings: Settings, model: SentencePieceModel
) -> tuple[State | None, State | None]:
    del kind, settings
    steps = _characters(model)
    return _steps([*steps, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]), None


_FOLDING: dict[str, Callable[[TokenizerClass, Settings, SentencePieceModel], tuple[State | None, State | None]]] = {
    "plain": _fold_plain,
    "albert": _fold_albert,
    "deberta": _fold_deberta,
    "llama": _fold_llama,
    "gemma": _fold_gemma,
}
"""How classes fold and cut a text before a SentencePiece model splits it: a normalizer and a pre-tokenizer."""
