"""Reading a model's tokenizer: tokenizer.json, or the older files that stand for it.

tokenizer.json gives the entries without the tokenizers library, which is loaded only to split a text. The older files
are small, and their tokenizers are built with the library.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from embtool.errors import FormatError, NoVocabulary, told_of
from embtool.source import MOST_VALUES, Folder, Source, is_overfull
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.entries import Added, MemoryEntries, parse_tokenizer
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.ordinary import LONGEST, LONGEST_PIECE, judge
from embtool.vocabulary.words import Vocabulary, is_of_library

TOKENIZER = "tokenizer.json"

MOST_MERGES = 1 << 20
"""Lines of merges.txt; the longest real list, Gemma's, has half as many."""

MODEL_FILES = ("tokenizer.model", "spiece.model", "tiktoken.model")
"""Binary files: SentencePiece's, or tiktoken's lines under the same name, as Llama 3 has them."""

ID = re.compile(r"[0-9]{1,10}")
"""How tokenizer_config.json writes a token id."""

LARGEST_LISTED = (1 << 22) - 1
"""The largest id in vocab.json: the tokenizers library passes over all ids below the largest, whether there are tokens
or not. The largest vocabulary known has a quarter of a million."""

RANKS_SUFFIX = ".tiktoken"
TOKENIZER_FILES = (TOKENIZER, "vocab.json", "vocab.txt", "tokenizer.model", f"*{RANKS_SUFFIX}")


def read_vocabulary(source: Source) -> Vocabulary:
    """Read a model's tokenizer: tokenizer.json, else vocab.json with merges.txt, else vocab.txt, else a binary model.

    Raises:
        NoVocabulary: it has none of these.
        FormatError: a file is there but the tokenizers library cannot read it.
    """
    if source.has(TOKENIZER):
        return _from_json(source.read_file(TOKENIZER), model=source.name)
    if source.has("vocab.json") and source.has("merges.txt"):
        return _from_built(_from_merges(source), "vocab.json")
    if source.has("vocab.txt"):
        return _from_built(_from_words(source), "vocab.txt")
    for file in MODEL_FILES:
        if source.has(file):
            return _from_model(source, file)
    ranks = next((file for file in source.files() if file.endswith(RANKS_SUFFIX) and "/" not in file), None)
    if ranks is not None:
        return _from_model(source, ranks)
    raise NoVocabulary(
        f"{source.name} has no tokenizer ({', '.join(TOKENIZER_FILES)})", hint="name rows by id:, such as id:70135"
    )


def read_vocabulary_file(source: Source, file: str) -> Vocabulary:
    """Read one file of a tokenizer, whatever it is called: a tokenizer.json, a list of words, or a binary model.

    Raises:
        FormatError: it is none of these.
    """
    if file == "vocab.json" and source.has("merges.txt"):
        return _from_built(_from_merges(source), file)
    if file == "vocab.txt":
        return _from_built(_from_words(source), file)
    if file.endswith(".json"):
        return _from_json(source.read_file(file), file, model=source.name)
    return _from_model(source, file)


QUICK_BYTES = 2 << 20
"""The largest tokenizer.json whose entries are derived in well under a second."""

LOOKED_UP_BYTES = 32 << 20
"""The largest tokenizer.json that is read, to look for its index, where nobody may wait."""


def read_quickly(folder: Path) -> Vocabulary | None:
    """Read the tokenizer of a local folder where that takes a moment: its index exists, or it is small; else None."""
    source = Folder(folder)
    if not source.has(TOKENIZER) or (size := source.size(TOKENIZER)) > LOOKED_UP_BYTES:
        return None
    data = source.read_file(TOKENIZER)
    if size > QUICK_BYTES and open_index(hashlib.sha256(data).hexdigest()) is None:
        return None
    return _from_json(data, model=str(folder))


def _from_json(data: bytes, file: str = TOKENIZER, *, model: str) -> Vocabulary:
    """Read tokenizer.json: its entries from the index of its content, which is written at the first time."""
    key = hashlib.sha256(data).hexdigest()

    def parse() -> MemoryEntries:
        entries = parse_tokenizer(decode_json(data, file), file)
        write_index(key, entries)
        return entries

    told = told_of(model)
    return Vocabulary(file, told(parse), told(loader(data, file)), quick=lambda: open_index(key))


def loader(data: bytes, file: str) -> Callable[[], Any]:
    """Make what builds the whole tokenizer, when a text must be split."""

    def load() -> Any:
        judgement = judge(data)
        if judgement.unusual is not None:
            return Confined(data, file)
        from tokenizers import Tokenizer  # noqa: PLC0415 - a second for a large vocabulary, where one text is split

        with _translated(file):
            tokenizer = Tokenizer.from_buffer(data)
        tokenizer.no_padding()  # sentence models save both, and a text would be 128 tokens long, or cut
        tokenizer.no_truncation()
        return _Ordinary(tokenizer, judgement.growth, Confined(data, file))

    return load


SHORT_TEXT = 4096
"""Characters of a text that Unigram splits at once, however long its pieces: time grows with the product of both."""


class _Ordinary:
    """A tokenizer in this process; a text that its steps could make very long is split in another one."""

    def __init__(self, tokenizer: Any, growth: int, confined: Confined) -> None:
        self._tokenizer = tokenizer
        self._growth = growth
        self._confined = confined

    @cached_property
    def _is_slow(self) -> bool:
        """Tell whether a long text may take very long."""
        vocabulary = self._tokenizer.get_vocab() if type(self._tokenizer.model).__name__ == "Unigram" else ()
        return any(len(piece) > LONGEST_PIECE for piece in vocabulary)

    def _place(self, texts: Sequence[str]) -> Any:
        longest = max(texts, key=len, default="")
        most = (
            4 * len(longest)
            if 4 * len(longest) * self._growth <= LONGEST
            else max(len(each.encode()) for each in texts)
        )
        is_slow = len(longest) > SHORT_TEXT and self._is_slow
        return self._confined if is_slow or most * self._growth > LONGEST else self._tokenizer

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Any:
        """Split a text."""
        return self._place([text]).encode(text, add_special_tokens=add_special_tokens)

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> Any:
        """Split several texts."""
        return self._place(texts).encode_batch(texts, add_special_tokens=add_special_tokens)


def _from_built(data: bytes, file: str) -> Vocabulary:
    """Make a vocabulary of a tokenizer that was built from `file`, given as tokenizer.json would have it.

    The built one is gone by now: it takes as much memory as the entries, and is wanted again only to split a text.
    """
    entries = parse_tokenizer(json.loads(data), file)
    return Vocabulary(file, lambda: entries, loader(data, file))


def _from_merges(source: Source) -> bytes:
    """Build a byte-level BPE tokenizer from vocab.json and merges.txt, as GPT-2 and its kin have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - as above

    vocabulary = _json_object(source, "vocab.json")
    if not all(type(identity) is int and 0 <= identity <= LARGEST_LISTED for identity in vocabulary.values()):
        raise FormatError(f"vocab.json is not a table from pieces to ids up to {LARGEST_LISTED:,}")
    merges = _text(source, "merges.txt")
    if merges.count("\n") > MOST_MERGES:
        raise FormatError(f"merges.txt has more than {MOST_MERGES:,} lines, more than any tokenizer needs")
    lines = merges.split("\n")
    split = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in split):  # noqa: PLR2004 - a merge joins two pieces
        raise FormatError("merges.txt has a line that is not two pieces")
    pairs = [(left, right) for left, right in split]
    with _translated("vocab.json"):
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, source)
    return _saved(tokenizer)


def _from_words(source: Source) -> bytes:
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
    return _saved(tokenizer)


def _saved(tokenizer: Any) -> bytes:
    """Write a tokenizer as tokenizer.json would have it."""
    text: str = tokenizer.to_str()
    return text.encode()


def _from_model(source: Source, file: str) -> Vocabulary:
    """Read a SentencePiece model, or tiktoken's lines; which it is, its first line tells."""
    from embtool.vocabulary.ranks import looks_like_ranks, read_ranks  # noqa: PLC0415 - most models have tokenizer.json
    from embtool.vocabulary.spm import read_sentencepiece  # noqa: PLC0415 - as above

    data = source.read_file(file)
    added = {
        int(identity): Added(content, special)
        for identity, content, special in _added_tokens(source)
        if ID.fullmatch(identity)
    }
    return read_ranks(data, file, added) if looks_like_ranks(data) else read_sentencepiece(data, file, added)


def _add_tokens(tokenizer: Any, source: Source) -> None:
    """Add the tokens of tokenizer_config.json's added_tokens_decoder, in the order of their ids.

    All at once: the library looks at all of them again each time that some are added.
    """
    from tokenizers import AddedToken  # noqa: PLC0415 - as above

    listed = _added_tokens(source)
    with _translated("tokenizer_config.json"):
        tokenizer.add_tokens([AddedToken(content, special=special) for _, content, special in listed])
        found = [tokenizer.token_to_id(content) for _, content, _ in listed]
    for (identity, content, _), place in zip(listed, found, strict=True):
        if str(place) != identity:
            raise FormatError(f"added token {content!r} has id {identity} in tokenizer_config.json, which leaves a gap")


def _added_tokens(source: Source) -> list[tuple[str, str, bool]]:
    """List the id, the content and the kind of the tokens in tokenizer_config.json's added_tokens_decoder."""
    if not source.has("tokenizer_config.json"):
        return []
    added = _json_object(source, "tokenizer_config.json").get("added_tokens_decoder", {})
    if not isinstance(added, dict) or not all(isinstance(entry, dict) for entry in added.values()):
        raise FormatError("added_tokens_decoder in tokenizer_config.json is not a table")
    listed = []
    for identity, entry in sorted(added.items(), key=lambda item: (len(item[0]), item[0])):
        content = entry.get("content")
        if not isinstance(content, str):
            raise FormatError(f"added token {identity} in tokenizer_config.json has no content")
        listed.append((identity, content, entry.get("special") is True))
    return listed


def decode_json(data: bytes, file: str) -> dict[str, Any]:
    """Decode a JSON object of a model's file.

    Raises:
        FormatError: it is not UTF-8, not JSON, or not an object.
    """
    if is_overfull(data):
        raise FormatError(f"{file} holds more than {MOST_VALUES:,} values, more than any tokenizer needs")
    try:
        decoded = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise FormatError(f"{file} is not a JSON object")
    return decoded


def _json_object(source: Source, file: str) -> dict[str, Any]:
    return decode_json(source.read_file(file), file)


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
        if error is None or not is_of_library(error):
            return
        raise FormatError(f"{self.file} is not a tokenizer: {error}") from error
