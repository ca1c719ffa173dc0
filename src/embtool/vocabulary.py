"""Token to token id and back, and finding the token a person meant.

A tokenizer spells its tokens in its own way: `Ġstrawberry` in byte-level tokenizers, `▁strawberry` in SentencePiece's,
`##berry` in WordPiece's. That spelling is the *piece*; what it stands for is the token's *text*, and its exact *bytes*.
A `Spelling` turns pieces into bytes and back; to add one, write a class with both directions and name it in
`_spelling`.

The tokenizers library does the splitting of text; looking up one token by its text needs only the spelling.
"""

import difflib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embtool.errors import FormatError, NoVocabulary, TokenIdOutOfRange, UnknownToken
from embtool.source import Source

POOLS = ("mean", "sum", "first", "last")
"""How several rows can become one vector."""

NEAR_NAMES = 5
LISTED_PIECES = 12
LONGEST_RANGE = 1 << 24
"""Ids in one `id:A..B`; no table has more rows, and a typing error must not exhaust the memory."""

NEAR_LENGTH = 2
"""Tokens whose length differs by more than this are not offered as near names."""

TokenizerFiles = ("tokenizer.json", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Token:
    """One entry of the vocabulary.

    `text` is what the piece decodes to, lossy where a token is part of a UTF-8 character; `bytes` is exact.
    """

    id: int
    piece: str
    text: str
    bytes: bytes
    special: bool = False


@dataclass(frozen=True)
class Query:
    """What a person typed for one vector, and the rows it stands for: one, or several to be pooled."""

    text: str
    ids: tuple[int, ...]
    note: str | None = None


class Spelling(ABC):
    """How a tokenizer writes bytes as pieces."""

    @abstractmethod
    def to_bytes(self, piece: str) -> bytes:
        """Tell which bytes a piece stands for."""

    @abstractmethod
    def to_piece(self, text: bytes) -> str | None:
        """Spell bytes as one piece, or return None where this spelling has no way to."""

    def to_text(self, piece: str) -> str:
        """Decode a piece for a reader; bytes that are no UTF-8 become U+FFFD."""
        return self.to_bytes(piece).decode("utf-8", "replace")


class ByteLevel(Spelling):
    """Every byte is one printable character: the printable ones stand for themselves, the others are shifted to U+0100.

    The table is that of GPT-2 (https://github.com/openai/gpt-2, encoder.py): a space is `Ġ`.
    """

    def __init__(self) -> None:
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in printable]
        self._character = {byte: chr(byte) for byte in printable}
        self._character |= {byte: chr(0x100 + order) for order, byte in enumerate(others)}
        self._byte = {character: byte for byte, character in self._character.items()}

    def to_bytes(self, piece: str) -> bytes:
        """Map each character to its byte; a piece with a foreign character stands for itself."""
        try:
            return bytes(self._byte[character] for character in piece)
        except KeyError:
            return piece.encode("utf-8", "surrogatepass")

    def to_piece(self, text: bytes) -> str | None:
        """Map each byte to its character."""
        return "".join(self._character[byte] for byte in text)


class Metaspace(Spelling):
    """A space is `▁`; a byte that has no piece of its own is `<0xNN>` (SentencePiece)."""

    BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")

    def __init__(self, space: str = "▁") -> None:
        self.space = space

    def to_bytes(self, piece: str) -> bytes:
        """Read `<0xNN>` as that byte and `▁` as a space."""
        byte = self.BYTE.fullmatch(piece)
        if byte is not None:
            return bytes([int(byte[1], 16)])
        return piece.replace(self.space, " ").encode("utf-8", "surrogatepass")

    def to_piece(self, text: bytes) -> str | None:
        """Write spaces as `▁`; a single byte that is no character is `<0xNN>`."""
        try:
            return text.decode().replace(" ", self.space)
        except UnicodeDecodeError:
            return f"<0x{text[0]:02X}>" if len(text) == 1 else None


class WordPiece(Spelling):
    """A piece inside a word begins with `##`, which is kept in its text so that two tokens never look the same."""

    def __init__(self, prefix: str = "##") -> None:
        self.prefix = prefix

    def to_bytes(self, piece: str) -> bytes:
        """Drop the prefix."""
        return piece.removeprefix(self.prefix).encode("utf-8", "surrogatepass")

    def to_piece(self, text: bytes) -> str | None:
        """Spell a whole word: as it is."""
        try:
            return text.decode()
        except UnicodeDecodeError:
            return None

    def to_text(self, piece: str) -> str:
        """Show the piece as it is."""
        return piece


class Vocabulary:
    """The tokens of one tokenizer."""

    def __init__(self, tokenizer: Any, file: str) -> None:
        self.file = file
        """The tokenizer's file in the model."""
        tokenizer.no_padding()  # sentence models save both, and a text would be 128 tokens long, or cut
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._spelling = _spelling(tokenizer)
        self._added = {
            identity: (added.content, bool(added.special))
            for identity, added in tokenizer.get_added_tokens_decoder().items()
        }
        self._added_by_text = {content: identity for identity, (content, _) in self._added.items()}
        self._unknown = _unknown_id(tokenizer)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """Every token id, sorted: int64 (tokens,)."""
        return np.unique(np.fromiter(self._pieces.values(), np.int64, len(self._pieces)))

    @cached_property
    def special_ids(self) -> NDArray[np.int64]:
        """The ids of special tokens, such as the end of the text, sorted: int64."""
        return np.array(sorted(identity for identity, (_, special) in self._added.items() if special), np.int64)

    @cached_property
    def _pieces(self) -> dict[str, int]:
        pieces: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return pieces

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Token]:
        """Yield every token in the order of ids."""
        for identity in self.ids.tolist():
            token = self.token(identity)
            if token is not None:
                yield token

    @property
    def added(self) -> int:
        """Count the tokens added beside the trained vocabulary: special and user-defined ones."""
        return len(self._added)

    def token(self, identity: int) -> Token | None:
        """Look up a token by id; None for a padding row, which no token has."""
        if identity in self._added:
            content, special = self._added[identity]
            return Token(identity, content, content, content.encode("utf-8", "surrogatepass"), special)
        piece = self._tokenizer.id_to_token(identity) if 0 <= identity < 1 << 32 else None
        if piece is None:
            return None
        return Token(identity, piece, self._spelling.to_text(piece), self._spelling.to_bytes(piece))

    def encode(self, text: str, *, special: bool = False) -> list[Token]:
        """Split text into tokens; `special` adds what the tokenizer puts around a sequence, such as a beginning."""
        ids = self._tokenizer.encode(_well_formed(text), add_special_tokens=special).ids
        return [token for token in map(self.token, ids) if token is not None]

    def find(self, text: str, *, exact: bool = False) -> Token:
        """Find the token a person meant: the text itself, else the text with a space before it.

        `exact` forbids the guess: the token's text must be the one typed.

        Raises:
            UnknownToken: the text is several tokens, or none; it lists the pieces and near names.
        """
        for guess in (text,) if exact or text.startswith(" ") else (text, " " + text):
            token = self._one(guess, exact=exact)
            if token is not None:
                return token
        raise self._unknown_token(text)

    def find_piece(self, piece: str) -> Token:
        """Find a token by the tokenizer's own spelling.

        Raises:
            UnknownToken: there is no such piece.
        """
        identity = self._tokenizer.token_to_id(_well_formed(piece))
        token = None if identity is None else self.token(identity)
        if token is None:
            raise UnknownToken(f"no piece {piece!r} in {self.file}", hint=self._near(piece))
        return token

    def find_bytes(self, data: bytes) -> Token:
        """Find a token by its exact bytes.

        Raises:
            UnknownToken: no token has these bytes.
        """
        token = self._by_bytes(data)
        if token is None:
            raise UnknownToken(f"no token has the bytes {data.hex()}")
        return token

    def _by_bytes(self, data: bytes) -> Token | None:
        added = self._added_by_text.get(data.decode("utf-8", "surrogateescape"))
        if added is not None:
            return self.token(added)
        piece = self._spelling.to_piece(data)
        identity = None if piece is None else self._tokenizer.token_to_id(_well_formed(piece))
        return None if identity is None else self.token(identity)

    def _one(self, text: str, *, exact: bool) -> Token | None:
        """Find the one token that a text is, by its spelling or by splitting it (which also folds case)."""
        token = self._by_bytes(text.encode("utf-8", "surrogatepass"))
        if token is not None or not text:
            return token
        tokens = self.encode(text)
        if len(tokens) == 1 and tokens[0].id != self._unknown and (not exact or tokens[0].text == text):
            return tokens[0]
        return None

    def _unknown_token(self, text: str) -> UnknownToken:
        """Say what the tokenizer makes of a text that is not one token."""
        tokens = self.encode(text)
        if not tokens or all(token.id == self._unknown for token in tokens):
            return UnknownToken(f"{text!r} is not a token of {self.file}", hint=self._near(text))
        listed = " + ".join(repr(token.text) for token in tokens[:LISTED_PIECES])
        more = f" + {len(tokens) - LISTED_PIECES} more" if len(tokens) > LISTED_PIECES else ""
        if len(tokens) == 1:
            return UnknownToken(f"{text!r} is not a token; the nearest reading is {listed}")
        near = self._near(text)
        return UnknownToken(
            f"{text!r} is {len(tokens)} tokens: {listed}{more}",
            hint="--pool mean makes one vector of them" + (f"; {near}" if near else ""),
        )

    def _near(self, text: str) -> str | None:
        """Name tokens that are spelled nearly like a text: a typing error away."""
        wanted = text.strip().strip("Ġ▁#").casefold()
        if not wanted:
            return None
        names: dict[str, str] = {}
        for piece in self._pieces:
            bare = piece.strip("Ġ▁# ").casefold()
            if bare[:1] == wanted[:1] and abs(len(bare) - len(wanted)) <= NEAR_LENGTH:
                names.setdefault(bare, bare)
        near = difflib.get_close_matches(wanted, list(names), n=NEAR_NAMES, cutoff=0.75)
        near = [name for name in near if name != wanted]
        return f"near: {', '.join(near)}" if near else None

    def query(self, text: str, *, exact: bool = False, pool: bool = False) -> tuple[int, ...]:
        """Turn what a person typed into token ids: one, or with `pool` as many as the text has.

        Raises:
            UnknownToken: the text is no token, or several without `pool`.
        """
        kind, _, rest = text.partition(":")
        if kind == "piece" and rest:
            return (self.find_piece(rest).id,)
        if kind == "bytes" and rest:
            return (self.find_bytes(parse_hex(rest)).id,)
        try:
            return (self.find(text, exact=exact).id,)
        except UnknownToken:
            tokens = self.encode(text)
            if not pool or not tokens or all(token.id == self._unknown for token in tokens):
                raise
            return tuple(token.id for token in tokens)


def parse_hex(text: str) -> bytes:
    """Parse the hexadecimal digits of `bytes:`.

    Raises:
        UnknownToken: they are none.
    """
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UnknownToken(f"bytes:{text} is not pairs of hexadecimal digits") from error


def parse_ids(text: str) -> range | None:
    """Parse `id:70135` or `id:0..255` into a range of ids, or return None if the text is neither.

    >>> list(parse_ids("id:3..5"))
    [3, 4, 5]
    """
    if not text.startswith("id:"):
        return None
    matched = re.fullmatch(r"(-?\d{1,18})(?:\.\.(-?\d{1,18}))?", text.removeprefix("id:"), re.ASCII)
    if matched is None:
        raise UnknownToken(f"{text!r} is not a token id", hint="write id:70135, or id:0..255 for a range")
    first = int(matched[1])
    last = int(matched[2]) if matched[2] is not None else first
    if first < 0:
        raise TokenIdOutOfRange(f"no row {first}: ids begin at 0")
    if last < first or last - first >= LONGEST_RANGE:
        raise TokenIdOutOfRange(f"{text!r} is not a range of ids")
    return range(first, last + 1)


def read_queries(
    texts: Iterable[str], vocabulary: Vocabulary | None, *, exact: bool = False, pool: bool = False
) -> Iterator[Query]:
    """Turn what a person typed, or the lines of a file, into queries; `id:` needs no vocabulary.

    Raises:
        UnknownToken: a text is no token, or several without `pool`.
        NoVocabulary: a text needs a vocabulary and the model has none.
    """
    for text in texts:
        ids = parse_ids(text)
        if ids is not None:
            if pool and len(ids) > 1:
                yield Query(text, tuple(ids))
            else:
                yield from (Query(f"id:{identity}", (identity,)) for identity in ids)
            continue
        if vocabulary is None:
            raise NoVocabulary(
                f"the model has no tokenizer to look up {text!r}", hint="name rows by id:, such as id:70135"
            )
        found = vocabulary.query(text, exact=exact, pool=pool)
        yield Query(text, found, _guess_note(text, found, vocabulary))


def _guess_note(text: str, ids: Sequence[int], vocabulary: Vocabulary) -> str | None:
    """Say which token was taken where it is not literally the text typed."""
    if text.startswith(("piece:", "bytes:")):
        return None
    tokens = [token for token in map(vocabulary.token, ids) if token is not None]
    if len(tokens) == 1:
        return (
            None if tokens[0].text == text else f"{text!r} is read as the token {tokens[0].text!r} (id {tokens[0].id})"
        )
    return f"{text!r} is {len(tokens)} tokens: {' + '.join(repr(token.text) for token in tokens)}"


def read_vocabulary(source: Source) -> Vocabulary:
    """Read a model's tokenizer: tokenizer.json, else vocab.json with merges.txt, else vocab.txt.

    Raises:
        NoVocabulary: it has none of these.
        FormatError: a file is there but the tokenizers library cannot read it.
    """
    if source.has("tokenizer.json"):
        return Vocabulary(_from_json(source.read_file("tokenizer.json"), "tokenizer.json"), "tokenizer.json")
    if source.has("vocab.json") and source.has("merges.txt"):
        return Vocabulary(_from_merges(source), "vocab.json")
    if source.has("vocab.txt"):
        return Vocabulary(_from_words(source), "vocab.txt")
    if source.has("tokenizer.model"):
        raise NoVocabulary(
            f"{source.name} has only a SentencePiece tokenizer (tokenizer.model), which embtool does not read",
            hint="add its tokenizer.json, or name rows by id:, such as id:70135",
        )
    raise NoVocabulary(
        f"{source.name} has no tokenizer ({', '.join(TokenizerFiles)})", hint="name rows by id:, such as id:70135"
    )


def _from_json(data: bytes, file: str) -> Any:
    """Build a tokenizer from tokenizer.json."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - 30 ms that `id:` queries need not pay

    with _translated(file):
        return Tokenizer.from_buffer(data)


def _from_merges(source: Source) -> Any:
    """Build a byte-level BPE tokenizer from vocab.json and merges.txt, as GPT-2 and its kin have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - as above

    vocabulary = _json_object(source, "vocab.json")
    if not all(type(identity) is int and 0 <= identity < 1 << 32 for identity in vocabulary.values()):
        raise FormatError("vocab.json is not a table from pieces to ids")
    lines = _text(source, "merges.txt").split("\n")
    split = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in split):  # noqa: PLR2004 - a merge joins two pieces
        raise FormatError("merges.txt has a line that is not two pieces")
    pairs = [(left, right) for left, right in split]
    with _translated("vocab.json"):
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, source)
    return tokenizer


def _from_words(source: Source) -> Any:
    """Build a WordPiece tokenizer from vocab.txt, one piece a line, as BERT and its kin have it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: PLC0415 - as above

    words = _text(source, "vocab.txt").removesuffix("\n").split("\n")
    vocabulary = {word.rstrip("\r"): identity for identity, word in enumerate(words)}
    settings = _json_object(source, "tokenizer_config.json") if source.has("tokenizer_config.json") else {}
    cased = "[unused1]" in vocabulary and any(word[:1].isupper() and word[1:].islower() for word in vocabulary)
    lowercase = settings.get("do_lower_case", not cased)
    unknown = settings.get("unk_token", "[UNK]")
    with _translated("vocab.txt"):
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown if isinstance(unknown, str) else "[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=bool(lowercase))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(
            [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word in vocabulary]
        )
    _add_tokens(tokenizer, source)
    return tokenizer


def _add_tokens(tokenizer: Any, source: Source) -> None:
    """Add the tokens of tokenizer_config.json's added_tokens_decoder, in the order of their ids."""
    from tokenizers import AddedToken  # noqa: PLC0415 - as above

    if not source.has("tokenizer_config.json"):
        return
    added = _json_object(source, "tokenizer_config.json").get("added_tokens_decoder", {})
    if not isinstance(added, dict) or not all(isinstance(entry, dict) for entry in added.values()):
        raise FormatError("added_tokens_decoder in tokenizer_config.json is not a table")
    for identity, entry in sorted(added.items(), key=lambda item: (len(item[0]), item[0])):
        content = entry.get("content")
        if not isinstance(content, str):
            raise FormatError(f"added token {identity} in tokenizer_config.json has no content")
        token = AddedToken(content, special=entry.get("special") is True)
        with _translated("tokenizer_config.json"):
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
        if str(tokenizer.token_to_id(content)) != identity:
            raise FormatError(f"added token {content!r} has id {identity} in tokenizer_config.json, which leaves a gap")


def _json_object(source: Source, file: str) -> dict[str, Any]:
    try:
        decoded = json.loads(_text(source, file))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise FormatError(f"{file} is not a JSON object")
    return decoded


def _text(source: Source, file: str) -> str:
    try:
        return source.read_file(file).decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error


class _translated:  # noqa: N801 - reads as a statement: with _translated(file)
    """Turn what the tokenizers library raises, a bare Exception or a panic of its Rust code, into a FormatError."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt | SystemExit | MemoryError | FormatError):
            return
        raise FormatError(f"{self.file} is not a tokenizer: {error}") from error


def _spelling(tokenizer: Any) -> Spelling:
    """Tell how a tokenizer spells, from its decoder, or from its pre-tokenizer where it has no decoder."""
    for component in (tokenizer.decoder, tokenizer.pre_tokenizer):
        for part in _parts(component):
            kind = part.get("type")
            if kind == "ByteLevel":
                return ByteLevel()
            if kind == "WordPiece":
                return WordPiece(part.get("prefix", "##"))
            if kind == "Metaspace":
                return Metaspace(part.get("replacement", "▁"))
            if kind == "Replace" and part.get("content") == " ":
                return Metaspace(part.get("pattern", {}).get("String", "▁"))
    return Metaspace()


def _parts(component: Any) -> list[dict[str, Any]]:
    """List the parts of a component of the tokenizers library, from its own JSON."""
    if component is None:
        return []
    state = json.loads(component.__getstate__())
    if state.get("type") == "Sequence":
        return [*state.get("decoders", []), *state.get("pretokenizers", [])]
    return [state]


def _unknown_id(tokenizer: Any) -> int | None:
    """Tell the id of the token that stands for what the vocabulary lacks, if there is one."""
    piece = getattr(tokenizer.model, "unk_token", None)
    if not isinstance(piece, str):
        piece = "<unk>" if type(tokenizer.model).__name__ == "Unigram" else None
    identity: int | None = None if piece is None else tokenizer.token_to_id(piece)
    return identity


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= c <= "\udfff" for c in text) else text
