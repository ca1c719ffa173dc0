"""The vocabulary inside a GGUF file: `tokenizer.ggml.*`, in llama.cpp's four kinds.

`gpt2` is byte-level BPE with a named way to cut text first; `llama` is SentencePiece's BPE by scores; `bert` is
WordPiece, with word beginnings marked by `▁` where BERT marks the insides by `##`; `t5` is Unigram. What the keys mean
is in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ("Tokenizer") and in llama.cpp's llama-vocab.cpp.

The entries need nothing but the file. Text is split by the tokenizers library, set up to do as llama.cpp does; where
the way to cut text is not known, tokens are still found by text, piece or bytes, and splitting is refused by name.

To add a way to cut text: a row in `embtool.vocabulary.cuts.CUTS`.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from embtool.errors import FormatError, NoVocabulary
from embtool.vocabulary.cuts import CUTS, WHOLE_WORDS_FIRST
from embtool.vocabulary.describe import merges_by_score
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.files import loader
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.words import Vocabulary

UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 2, 3, 4, 5, 6
"""Values of `tokenizer.ggml.token_type`; 1 is a normal token."""

INDEX_VERSION = b"gguf 1"
"""Raise it when entries are read in another way: indexes that were written before are then not found."""

WORD = "▁"


@dataclass(frozen=True)
class TokenizerMetadata:
    """The metadata of a GGUF file, as far as it is about tokens; `file` is its name, for messages."""

    metadata: Mapping[str, Any]
    file: str

    def get(self, key: str, kind: type[Any] = object) -> Any:
        """Return a value of `tokenizer.ggml.*`; None where it is absent.

        Raises:
            FormatError: it has another type.
        """
        value = self.metadata.get(f"tokenizer.ggml.{key}")
        if value is not None and not isinstance(value, kind):
            raise FormatError(f"tokenizer.ggml.{key} in {self.file} has the wrong type")
        return value

    @property
    def kind(self) -> str:
        """Which of the kinds of tokenizers it is."""
        return str(self.get("model", str) or "none")

    @cached_property
    def pieces(self) -> list[str]:
        """Every piece, in the order of ids.

        Raises:
            FormatError: one is not UTF-8.
        """
        return list(self.get("tokens"))

    @cached_property
    def types(self) -> list[int]:
        """The type of every piece."""
        return self._beside("token_type") or [1] * len(self.pieces)

    @cached_property
    def scores(self) -> list[float]:
        """The score of every piece."""
        return self._beside("scores") or [0.0] * len(self.pieces)

    def _beside(self, key: str) -> Any:
        values = self.get(key)
        if values is None:
            return None
        if not hasattr(values, "tolist") or len(values) != len(self.pieces):
            raise FormatError(f"tokenizer.ggml.{key} in {self.file} is not one number for each token")
        return values.tolist()

    def token(self, key: str) -> int | None:
        """Return the id of a token with a purpose, such as `bos_token_id`, where it is one of the tokens."""
        value = self.get(key, int)
        return value if value is not None and 0 <= value < len(self.get("tokens")) else None

    def flag(self, key: str, otherwise: bool) -> bool:  # noqa: FBT001 - reads as a table: flag(name, default)
        """Return whether a switch is on."""
        value = self.get(key, bool)
        return otherwise if value is None else bool(value)

    @property
    def key(self) -> str:
        """The hash of everything that the entries are read from."""
        digest = hashlib.sha256(INDEX_VERSION)
        digest.update(json.dumps([self.kind, self.get("pre", str), self.token("unknown_token_id")]).encode())
        digest.update(json.dumps([self.flag("add_space_prefix", otherwise=True)]).encode())
        tokens, types = self.get("tokens"), self.get("token_type")
        digest.update(tokens.lengths.tobytes())
        if len(tokens):
            digest.update(tokens.data[int(tokens.starts[0]) : int(tokens.starts[-1] + tokens.lengths[-1])])
        digest.update(types.tobytes() if hasattr(types, "tobytes") else b"")
        return digest.hexdigest()


def read_ggml(metadata: TokenizerMetadata) -> Vocabulary:
    """Make a vocabulary of a GGUF file's metadata, which has `tokenizer.ggml.tokens`.

    Raises:
        FormatError: it makes no vocabulary.
    """
    key = metadata.key

    def parse() -> MemoryEntries:
        entries = _entries(metadata)
        write_index(key, entries)
        return entries

    return Vocabulary(
        f"{metadata.file}, {metadata.kind}", parse, lambda: _tokenizer(metadata), quick=lambda: open_index(key)
    )


def _entries(metadata: TokenizerMetadata) -> MemoryEntries:
    """Read the entries; a place that the converter filled up (`[PAD9]`, unused) is no token."""
    bert = metadata.kind == "bert"
    pieces: dict[int, str] = {}
    added: dict[int, Added] = {}
    for identity, (piece, kind) in enumerate(zip(metadata.pieces, metadata.types, strict=True)):
        if kind == UNUSED and piece == f"[PAD{identity}]":
            continue
        if _is_added(piece, kind):
            added[identity] = Added(piece, kind == CONTROL)
        pieces[identity] = _wordpiece(piece, kind) if bert else piece
    return MemoryEntries(pieces, added, _traits(metadata))


def _is_added(piece: str, kind: int) -> bool:
    """Return whether a token stands for itself; Gemma's runs of spaces are user-defined, and spelled like others."""
    return kind == CONTROL or (kind == USER_DEFINED and WORD not in piece)


def _wordpiece(piece: str, kind: int) -> str:
    """Spell a piece as BERT does: `▁word` is `word`, and a piece without the mark continues a word."""
    if kind in (CONTROL, USER_DEFINED, UNKNOWN):
        return piece
    return piece.removeprefix(WORD) if piece.startswith(WORD) else f"##{piece}"


def _traits(metadata: TokenizerMetadata) -> Traits:
    byte_level = {"type": "ByteLevel"}
    spaces = {"type": "Replace", "pattern": {"String": WORD}, "content": " "}
    decoders = {"gpt2": byte_level, "bert": {"type": "WordPiece"}}
    faithful = metadata.kind == "gpt2" or (
        metadata.kind == "llama" and not metadata.flag("add_space_prefix", otherwise=True)
    )
    unknown = metadata.token("unknown_token_id")
    return Traits(decoders.get(metadata.kind, spaces), None, unknown, faithful, composes=False)


def _tokenizer(metadata: TokenizerMetadata) -> Any:
    """Build what splits text.

    Raises:
        NoVocabulary: text cannot be split as this model does it.
        FormatError: the vocabulary is not what its kind needs.
    """
    describe = KINDS.get(metadata.kind)
    if describe is None:
        raise NoVocabulary(
            f"{metadata.file} has a tokenizer of the unknown kind {metadata.kind!r}, so text cannot be split",
            hint="name one token by its text, by piece: or by id:",
        )
    state = describe(metadata)
    state["added_tokens"] = [
        {"id": identity, "content": piece, "special": kind == CONTROL, **_AS_IS}
        for identity, (piece, kind) in enumerate(zip(metadata.pieces, metadata.types, strict=True))
        if _is_added(piece, kind)
    ]
    state["post_processor"] = _template(metadata)
    return loader(json.dumps(state).encode(), metadata.file)()


_AS_IS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)


def _template(metadata: TokenizerMetadata) -> dict[str, Any] | None:
    """Describe what is put around a sequence: a beginning and an end, where the file says so."""
    bert = metadata.kind == "bert"
    starts = (
        metadata.token("bos_token_id") if metadata.flag("add_bos_token", metadata.kind in ("llama", "bert")) else None
    )
    end = metadata.token("eos_token_id")
    if bert:
        end = metadata.token("seperator_token_id")  # the key is spelled so
    ends = end if metadata.flag("add_eos_token", metadata.kind in ("t5", "bert")) else None
    if starts is None and ends is None:
        return None
    names = {place: metadata.pieces[place] for place in (starts, ends) if place is not None}
    around: list[dict[str, Any]] = [{"Sequence": {"id": "A", "type_id": 0}}]
    if starts is not None:
        around.insert(0, {"SpecialToken": {"id": names[starts], "type_id": 0}})
    if ends is not None:
        around.append({"SpecialToken": {"id": names[ends], "type_id": 0}})
    special = {name: {"id": name, "ids": [place], "tokens": [name]} for place, name in names.items()}
    return {"type": "TemplateProcessing", "single": around, "pair": around, "special_tokens": special}


def _describe_gpt2(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe byte-level BPE, its text cut as `tokenizer.ggml.pre` says."""
    pre = metadata.get("pre", str) or "default"
    cuts = CUTS.get(pre)
    if cuts is None:
        raise NoVocabulary(
            f"{metadata.file} cuts text in the way named {pre!r}, which embtool does not know",
            hint="name one token by its text, by piece: or by id:",
        )
    splits = [{"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False} for cut in cuts]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = _bpe(_numbered(metadata.pieces), _merges(metadata))
    model["ignore_merges"] = pre in WHOLE_WORDS_FIRST
    return {
        "version": "1.0",
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, level]},
        "decoder": level,
        "model": model,
    }


def _numbered(pieces: Sequence[str]) -> dict[str, int]:
    """Number the pieces; of two that are spelled alike the first counts."""
    return {piece: identity for identity, piece in reversed(list(enumerate(pieces)))}


def _bpe(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"type": "BPE", "vocab": dict(vocabulary), "merges": [list(pair) for pair in merges], "byte_fallback": False}


def _merges(metadata: TokenizerMetadata) -> list[tuple[str, str]]:
    """Read the merges, each two pieces with a space between."""
    lines = metadata.get("merges")
    if lines is None:
        raise FormatError(f"{metadata.file} has a byte-level vocabulary without tokenizer.ggml.merges")
    pairs = []
    for line in lines if isinstance(lines, Sequence) else [lines]:
        left, space, right = line.partition(" ") if isinstance(line, str) else ("", "", "")
        if not left or not space or not right:
            raise FormatError(f"tokenizer.ggml.merges in {metadata.file} has an entry that is not two pieces")
        pairs.append((left, right))
    return pairs


def _describe_llama(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe SentencePiece's BPE: the pair whose joined piece has the best score is merged first."""
    spaces: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": " "}, "content": WORD}]
    if metadata.flag("add_space_prefix", otherwise=True):
        spaces.insert(0, {"type": "Prepend", "prepend": WORD})
    vocabulary = _numbered(metadata.pieces)
    ordinary = {
        piece
        for piece, kind in zip(metadata.pieces, metadata.types, strict=True)
        if kind not in (CONTROL, BYTE, UNKNOWN)
    }
    model = _bpe(vocabulary, merges_by_score(vocabulary, metadata.scores, ordinary))
    unknown = metadata.token("unknown_token_id")
    fallback = BYTE in metadata.types
    model |= {
        "byte_fallback": fallback,
        "fuse_unk": True,
        "unk_token": None if unknown is None else metadata.pieces[unknown],
    }
    return {"version": "1.0", "normalizer": {"type": "Sequence", "normalizers": spaces}, "model": model, **_SPACED}


_SPACED: dict[str, Any] = {
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": WORD}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ],
    }
}


def _describe_bert(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe WordPiece over text in lower case without accents, as llama.cpp has it for every BERT."""
    spelled = [_wordpiece(piece, kind) for piece, kind in zip(metadata.pieces, metadata.types, strict=True)]
    unknown = metadata.token("unknown_token_id")
    folding = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": True,
        "lowercase": True,
    }
    return {
        "version": "1.0",
        "normalizer": folding,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {
            "type": "WordPiece",
            "vocab": _numbered(spelled),
            "unk_token": "[UNK]" if unknown is None else spelled[unknown],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
    }


def _describe_t5(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe Unigram: the cut of a text whose pieces' scores add up to most."""
    folding: list[dict[str, Any]] = []
    charsmap = metadata.get("precompiled_charsmap")
    if charsmap is not None:
        folding.append({"type": "Precompiled", "precompiled_charsmap": _charsmap(charsmap, metadata.file)})
    if metadata.flag("remove_extra_whitespaces", otherwise=False):
        folding.append({"type": "Strip", "strip_left": True, "strip_right": True})
        folding.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    scheme = "always" if metadata.flag("add_space_prefix", otherwise=False) else "never"
    marks = {"type": "Metaspace", "replacement": WORD, "prepend_scheme": scheme, "split": True}
    return {
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": folding} if folding else None,
        "pre_tokenizer": marks,
        "decoder": marks,
        "model": {
            "type": "Unigram",
            "unk_id": metadata.token("unknown_token_id"),
            "vocab": [list(entry) for entry in zip(metadata.pieces, metadata.scores, strict=True)],
            "byte_fallback": False,
        },
    }


def _charsmap(values: Any, file: str) -> str:
    """Return SentencePiece's table of replacements in base64, if it is one: a trie, its length before it, then text."""
    data = values.tobytes() if getattr(values, "itemsize", 0) == 1 else b""
    length = int.from_bytes(data[:4], "little")
    if not 0 < length <= len(data) - 4 or length % 4:
        raise FormatError(f"tokenizer.ggml.precompiled_charsmap in {file} is not a table of replacements")
    return base64.b64encode(data).decode()


KINDS: Mapping[str, Callable[[TokenizerMetadata], dict[str, Any]]] = MappingProxyType(
    {"gpt2": _describe_gpt2, "llama": _describe_llama, "bert": _describe_bert, "t5": _describe_t5}
)
"""How a tokenizer of each kind is described as tokenizer.json does."""
