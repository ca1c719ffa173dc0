"""The vocabulary inside a GGUF file: `tokenizer.ggml.*`, in llama.cpp's kinds.

`gpt2` is BPE with a named way to cut text first, byte-level but for a few ways, of which `gemma4` and `whitespace` are
two; `llama` is SentencePiece's BPE by scores; `bert` is WordPiece, with word beginnings marked by `▁` where BERT marks
the insides by `##`; `t5` is Unigram; `rwkv` is a list of texts, the longest first. What the keys mean is in
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ("Tokenizer") and in llama.cpp's llama-vocab.cpp.

The entries need nothing but the file. Text is split by the tokenizers library, set up to do as llama.cpp does; where
the way to cut text is not known, tokens are still found by text, piece or bytes, and splitting is refused by name.

To add a way to cut text: a row in `embtool.vocabulary.cuts.CUTS`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from embtool.errors import FormatError, NoVocabulary
from embtool.vocabulary.by_score import ByScore, needs_scores
from embtool.vocabulary.classes import TEXT
from embtool.vocabulary.cuts import (
    BEGINNING,
    CUTS,
    EDGES,
    HANGUL,
    LONG_CUTS,
    MARKS,
    ONLY_SPACES,
    WHOLE_BREAKS_FIRST,
    WHOLE_WORDS_FIRST,
    WITHOUT_BYTES,
)
from embtool.vocabulary.describe import template
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.ggml_names import DEFAULTS, WITHOUT_BEGINNING, retyped, spaces_taken, unescape
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.loading import loader
from embtool.vocabulary.merges import merges_by_score
from embtool.vocabulary.ordinary import LONGEST_WORD, MAPS
from embtool.vocabulary.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from embtool.vocabulary.spelling import WORDS, ByteLevel
from embtool.vocabulary.spm import checked_map
from embtool.vocabulary.words import Vocabulary
from embtool.vocabulary.world import LongestFirst

FILLED_UP = re.compile(r"\[PAD([0-9]{1,10})\]")
"""What a converter writes in a place that no token has; shifted, as fairseq's ids are, it has the number of another."""

OF_DNA = "\ue000"
"""What a part of a strand of DNA bears behind it in the kind `hybriddna`, to be another token than a word."""

INDEX_VERSION = b"gguf 4"
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
        """The type of every piece; llama.cpp knows some by their names, whatever the file says."""
        types = self._beside("token_type") or [1] * len(self.pieces)
        return retyped(self.pieces, types, lambda role: self.get(f"{role}_token_id") is not None)

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

    def role(self, name: str) -> int | None:
        """Return the id of a token with a purpose, such as `bos`: the file's, or llama.cpp's default."""
        found = self.token(f"{name}_token_id")
        if found is None and not (name == "bos" and self.pre in WITHOUT_BEGINNING):
            found = DEFAULTS.get(self.kind, {}).get(name)
        return found if found is not None and found < len(self.get("tokens")) else None

    @property
    def pre(self) -> str:
        """The name of the way to cut text."""
        return self.kind if self.kind in LONG_CUTS else self.get("pre", str) or "default"

    def flag(self, key: str, otherwise: bool) -> bool:  # noqa: FBT001 - reads as a table: flag(name, default)
        """Return whether a switch is on."""
        value = self.get(key, bool)
        return otherwise if value is None else bool(value)

    @property
    def adds_bos(self) -> bool:
        """Whether a sequence begins with a token of its own, as llama.cpp reads the file."""
        is_bpe = self.kind not in ("llama", "bert", "t5", "rwkv", "plamo2")
        if is_bpe and self.pre in ("gemma4", "granite-embed-multi-311m"):
            return True  # whatever the file says
        return self.flag("add_bos_token", self.kind in ("llama", "bert") or (is_bpe and self.pre in BEGINNING))

    @property
    def adds_eos(self) -> bool:
        """Whether a sequence ends with a token of its own."""
        return self.flag("add_eos_token", self.kind == "t5")

    @property
    def key(self) -> str:
        """The hash of everything that the entries are read from."""
        digest = hashlib.sha256(INDEX_VERSION)
        digest.update(json.dumps([self.kind, self.pre, self.role("unknown")]).encode())
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
        pieces: dict[int, str] = {}
        added: dict[int, Added] = {}
        spells: dict[str, Callable[[str, int], str]] = {
            "bert": _wordpiece,
            "rwkv": lambda piece, _: ByteLevel().to_pieces(unescape(piece))[0],
        }
        spell = spells.get(metadata.kind)
        types = metadata.types
        named = (  # those behind the last of these are all places that the converter filled up
            identity
            for identity in reversed(range(len(types)))
            if types[identity] not in (UNUSED, UNKNOWN) or not FILLED_UP.fullmatch(metadata.pieces[identity])
        )
        last = next(named, -1)
        for identity, (piece, kind) in enumerate(zip(metadata.pieces, metadata.types, strict=True)):
            if identity > last or (kind == UNUSED and piece == f"[PAD{identity}]"):
                continue
            if _is_added(piece, kind):
                added[identity] = Added(piece, kind != USER_DEFINED)
            pieces[identity] = piece.removesuffix(OF_DNA) if spell is None else spell(piece, kind)
        entries = MemoryEntries(pieces, added, _traits(metadata))
        write_index(key, entries)
        return entries

    return Vocabulary(
        f"{metadata.file}, {metadata.kind}", parse, lambda: _tokenizer(metadata), quick=lambda: open_index(key)
    )


def _is_added(piece: str, kind: int) -> bool:
    """Return whether a token stands for itself; Gemma's runs of spaces are user-defined, and spelled like others."""
    return kind in (CONTROL, UNKNOWN) or (kind == USER_DEFINED and WORD not in piece)


def _wordpiece(piece: str, kind: int) -> str:
    """Spell a piece as BERT does: `▁word` is `word`, and a piece without the mark continues a word."""
    if _is_added(piece, kind):
        return piece
    return piece.removeprefix(WORD) if piece.startswith(WORD) else f"##{piece}"


def _traits(metadata: TokenizerMetadata) -> Traits:
    byte_level = {"type": "ByteLevel"}
    spaces = {"type": "Replace", "pattern": {"String": WORD}, "content": " "}
    written = {f"<0x{byte:02X}>": f"{byte:02x}" for byte in range(256)}
    decoders = {
        **dict.fromkeys(("gpt2", "hybriddna", "rwkv"), byte_level),
        "bert": {"type": "WordPiece"},
        "plamo2": {**WORDS, "bytes": written},
    }
    decoder = decoders.get(metadata.kind, spaces)
    is_of_bytes = metadata.pre not in WITHOUT_BYTES
    if metadata.kind not in ("llama", "bert", "t5") and not is_of_bytes:
        decoder = WORDS if metadata.pre == "whitespace" else spaces
    faithful = (metadata.kind == "gpt2" and is_of_bytes) or (
        metadata.kind == "llama" and not metadata.flag("add_space_prefix", otherwise=True)
    )
    return Traits(decoder, None, metadata.role("unknown"), faithful, composes=False)


def _tokenizer(metadata: TokenizerMetadata) -> Any:
    """Build what splits text.

    Raises:
        NoVocabulary: text cannot be split as this model does it.
        FormatError: the vocabulary is not what its kind needs.
    """
    if metadata.kind == "rwkv":
        tokens = {unescape(piece): identity for identity, piece in enumerate(metadata.pieces)}
        return LongestFirst(tokens, f"{metadata.file} (rwkv)", metadata.role("unknown"))
    describe = KINDS.get(metadata.kind)
    if describe is None:
        raise NoVocabulary(
            f"{metadata.file} has a tokenizer of the unknown kind {metadata.kind!r}, so text cannot be split",
            hint="name one token by its text, by piece: or by id:",
        )
    takes = spaces_taken(metadata.metadata, metadata.get("pre", str) or "")
    added: list[dict[str, Any]] = [
        {"id": identity, "content": piece, "special": kind != USER_DEFINED, **_AS_IS, **takes(piece)}
        for identity, (piece, kind) in enumerate(zip(metadata.pieces, metadata.types, strict=True))
        if _is_added(piece, kind)
    ]
    if metadata.kind == "llama" and (splitter := _by_score(metadata, added)) is not None:
        return splitter
    state = describe(metadata)
    state["added_tokens"] = added
    around = [None if place is None else metadata.pieces[place] for place in _around(metadata)]
    parts = [around[0], TEXT, around[1]]
    ids = {metadata.pieces[place]: place for place in _around(metadata) if place is not None}
    state["post_processor"] = template([part for part in parts if part is not None], ids)
    return loader(json.dumps(state).encode(), metadata.file)()


def _by_score(metadata: TokenizerMetadata, added: Sequence[dict[str, Any]]) -> ByScore | None:
    """Build what merges by scores; None where a list of pairs says the same, with which the library is quicker."""
    scores = dict(zip(metadata.pieces, metadata.scores, strict=True))
    found_whole = {token["content"] for token in added}
    kinds = zip(metadata.pieces, metadata.types, strict=True)
    if not needs_scores({piece: scores[piece] for piece, kind in kinds if kind != BYTE and piece not in found_whole}):
        return None
    begin, end = ([] if place is None else [place] for place in _around(metadata))
    return ByScore(
        _numbered(metadata.pieces),
        scores,
        added,
        unknown=metadata.role("unknown"),
        prefix=metadata.flag("add_space_prefix", otherwise=True),
        begin=begin,
        end=end,
    )


_AS_IS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)


def _around(metadata: TokenizerMetadata) -> tuple[int | None, int | None]:
    """Return the ids of what stands before and after a sequence, where something does."""
    if metadata.kind == "bert":
        begin = metadata.token("bos_token_id")
        if begin is None:
            begin = metadata.token("cls_token_id")
        if begin is None:
            begin = metadata.role("bos")
        return begin, metadata.role("seperator")  # the key is spelled so
    return metadata.role("bos") if metadata.adds_bos else None, metadata.role("eos") if metadata.adds_eos else None


def describe_gpt2(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe BPE, its text cut as `tokenizer.ggml.pre` says."""
    pre = metadata.pre
    cuts = CUTS.get(pre, LONG_CUTS.get(pre))
    if cuts is None:
        raise NoVocabulary(
            f"{metadata.file} cuts text in the way named {pre!r}, which embtool does not know",
            hint="name one token by its text, by piece: or by id:",
        )
    splits: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False} for cut in cuts
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    merges = _merges(metadata)
    model = _bpe(_numbered(metadata.pieces), merges)
    if pre in WHOLE_BREAKS_FIRST:
        # No other word comes first than the pieces that are merged, those of one character and the line breaks.
        known = {part for left, right in merges for part in (left, right, left + right)}
        kinds = zip(metadata.pieces, metadata.types, strict=True)
        hidden = {piece for piece, kind in kinds if kind == NORMAL and len(piece) > 1 and piece.strip("\n")} - known
        model["vocab"] = {piece: place for piece, place in model["vocab"].items() if piece not in hidden}
    model["ignore_merges"] = pre in WHOLE_WORDS_FIRST or pre in WHOLE_BREAKS_FIRST
    normalizer: dict[str, Any] | None = None
    if pre == "whitespace":
        splits = [{"type": "WhitespaceSplit"}]
        is_lowered = metadata.flag("normalizer.lowercase", otherwise=False)
        normalizer = {"type": "Lowercase"} if is_lowered else None
    elif pre in WITHOUT_BYTES:
        normalizer = {"type": "Replace", "pattern": {"String": " "}, "content": WORD}
        model["byte_fallback"] = BYTE in metadata.types or "<0x0A>" in model["vocab"]
    else:
        splits.append(level)
    return {
        "version": "1.0",
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "decoder": None if pre in WITHOUT_BYTES else level,
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
    if lines is None and metadata.pre == "kimi-k2":
        return []  # llama.cpp asks this one for none
    if lines is None:
        raise FormatError(f"{metadata.file} has a byte-level vocabulary without tokenizer.ggml.merges")
    pairs = []
    for line in lines if isinstance(lines, Sequence) else [lines]:
        left, space, right = line.partition(" ") if isinstance(line, str) else ("", "", "")
        if not left or not space or not right:
            raise FormatError(f"tokenizer.ggml.merges in {metadata.file} has an entry that is not two pieces")
        pairs.append((left, right))
    return list(dict.fromkeys(pairs))  # of two places of a pair the first counts, in the library the last


def describe_llama(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe SentencePiece's BPE: the pair whose joined piece has the best score is merged first."""
    spaces: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": " "}, "content": WORD}]
    if metadata.flag("add_space_prefix", otherwise=True):
        spaces.insert(0, {"type": "Prepend", "prepend": WORD})
    vocabulary = _numbered(metadata.pieces)
    order = sorted(vocabulary, key=lambda piece: (-metadata.scores[vocabulary[piece]], -len(piece)))
    ranks = [0.0] * len(metadata.pieces)
    for rank, piece in enumerate(order):
        ranks[vocabulary[piece]] = -float(rank)
    model = _bpe(vocabulary, merges_by_score(vocabulary, ranks, set(vocabulary)))
    unknown = metadata.role("unknown")
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


def describe_bert(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe WordPiece; text is in lower case and without accents, unless the file says otherwise."""
    spelled = [_wordpiece(piece, kind) for piece, kind in zip(metadata.pieces, metadata.types, strict=True)]
    unknown = metadata.role("unknown")
    lowercase = metadata.flag("normalizer.lowercase", otherwise=True)
    folding: list[dict[str, Any]] = [
        {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": False,
            "lowercase": lowercase,
        }
    ]
    if metadata.flag("normalizer.strip_accents", lowercase):
        firsts = [_replaced(syllables, letter) for syllables, letter in HANGUL.items()]
        folding = [*firsts, {"type": "NFD"}, _replaced(MARKS, ""), *folding]
    folding.insert(0, _replaced(r"\s", " "))
    if lowercase:  # the library makes two characters of it
        folding.insert(0, {"type": "Replace", "pattern": {"String": "\u0130"}, "content": "i"})
    return {
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": folding},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {
            "type": "WordPiece",
            "vocab": _numbered(spelled),
            "unk_token": "[UNK]" if unknown is None else spelled[unknown],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": LONGEST_WORD,
        },
    }


def _replaced(expression: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": expression}, "content": content}


def describe_t5(metadata: TokenizerMetadata) -> dict[str, Any]:
    """Describe Unigram: the cut of a text whose pieces' scores add up to most."""
    folding: list[dict[str, Any]] = []
    charsmap = metadata.get("precompiled_charsmap")
    if charsmap is not None:
        data = checked_map(charsmap, metadata.file)
        if hashlib.sha256(data).hexdigest() in MAPS:  # the library looks at one grapheme, llama.cpp at the whole text
            folding.append({"type": "NFC"})
        folding.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()})
    merges_spaces = metadata.flag("remove_extra_whitespaces", otherwise=False)
    if merges_spaces:
        folding += [_replaced(" {2,}", " "), _replaced(EDGES, "")]
    if merges_spaces or metadata.flag("add_space_prefix", otherwise=False):
        folding += [{"type": "Prepend", "prepend": WORD}, _replaced(ONLY_SPACES, "")]
    folding.append({"type": "Replace", "pattern": {"String": " "}, "content": WORD})
    scores = [
        0.0 if kind == USER_DEFINED else score for kind, score in zip(metadata.types, metadata.scores, strict=True)
    ]
    return {
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": folding},
        "decoder": {"type": "Metaspace", "replacement": WORD, "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": metadata.role("unknown"),
            "vocab": [list(entry) for entry in zip(metadata.pieces, scores, strict=True)],
            "byte_fallback": False,
        },
    }


KINDS: Mapping[str, Callable[[TokenizerMetadata], dict[str, Any]]] = MappingProxyType(
    {
        **dict.fromkeys(("gpt2", "gemma4", "whitespace"), describe_gpt2),
        "llama": describe_llama,
        "bert": describe_bert,
        "t5": describe_t5,
    }
)
"""How a tokenizer of each kind is described as tokenizer.json does; `rwkv` has no description."""
