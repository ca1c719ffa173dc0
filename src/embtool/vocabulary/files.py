"""Reading a model's tokenizer: tokenizer.json, or the older files that stand for it.

tokenizer.json gives the entries without the tokenizers library, which is loaded only to split a text. The older files
say less: the class that the folder names says how text is split (`classes`, `describe`), and where it is not known the
tokens are listed all the same.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from embtool.errors import EmbtoolError, FormatError, NoVocabulary, told_of
from embtool.storage.source import MOST_VALUES, Folder, Source, is_overfull
from embtool.vocabulary.classes import CLASSES, TEXT, TokenizerClass
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.describe import (
    Description,
    State,
    describe_letters,
    describe_merges,
    describe_pieces,
    describe_words,
    parse_vocabulary,
    parse_words,
    with_every_token,
)
from embtool.vocabulary.entries import Added, MemoryEntries, number, parse_tokenizer
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.ordinary import LONGEST, LONGEST_PIECE, judge, listed_tokens
from embtool.vocabulary.sentences import read_sentences
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.spm import checked_model, read_sentencepiece
from embtool.vocabulary.words import Vocabulary, is_of_library
from embtool.vocabulary.world import looks_like_world, read_world

TOKENIZER = "tokenizer.json"

MODEL_FILES = (
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model"),
    "spm_char.model",
)
"""Names of binary files: SentencePiece's, or tiktoken's lines under the same name, as Llama 3 has them."""

NUMBERED_MODEL = re.compile(r"tokenizer\.model\.v[0-9]{1,2}[a-z0-9]{0,4}|tiktoken\.model|[^/]+\.tiktoken")
"""Further names: Mistral's, with the version of its format, and tiktoken's."""

SHIFTED = "sentencepiece.bpe.model"
"""The file whose classes all shift its ids, by one or otherwise."""

WORLD = re.compile(r"vocab\.txt|rwkv_vocab[^/]*\.txt")
"""RWKV's list of tokens, under its own name, and as repositories rename it."""

TEKKEN = re.compile(r"[^/]*tekken[^/]*\.json")

UNREAD = re.compile(
    r"[^/]*(\.model|\.spm|\.vocab|\.bpe|tokenizer[^/]*\.(bin|txt)|vocab[^/]*\.(bin|txt|json))", re.IGNORECASE
)
"""Names that speak of a tokenizer."""

UNREAD_ENDS = (".model", ".spm", ".vocab", ".bpe", ".bin", ".txt", ".json")

MOST_UNREAD = 5
"""Files that are named as not read."""

TOKENIZER_FILES = (
    TOKENIZER,
    "vocab.json with merges.txt",
    "vocab.txt",
    *MODEL_FILES,
    "tekken.json",
    "*.tiktoken",
)

DESCRIPTION_VERSION = 2
"""Raise it when descriptions are made in another way: indexes that were written before are then not found."""

WORD_MARKS = ("</w>", "@@", "\u2581")
"""Marks of a word's beginning or end that GPT-2's pieces do not have."""

HINT = "name one token by its text, by piece: or by id:"


Config = Callable[[], Mapping[str, Any]]
"""What gives config.json, decoded; empty where there is none."""


def read_vocabulary(source: Source, config: Config | None = None) -> Vocabulary:
    """Read a model's tokenizer: tokenizer.json, else what the folder's class is made of, else any other file of one.

    Args:
        source: where its files are.
        config: gives its config.json, where that has been read already.

    Raises:
        NoVocabulary: it has none, or one whose ids are not known.
        FormatError: a file is there but is not what its name says.
    """
    if source.has(TOKENIZER):
        return _from_json(source, TOKENIZER)
    settings = _settings(source, config)
    name = settings.name
    kind = CLASSES.get(name or "")
    recipes = ["merges", "words", "pieces", "world", "tekken"]
    if kind is not None:
        recipes.insert(0, kind.recipe)
    for recipe in recipes:
        file = _file_of(source, recipe)
        if file is not None:
            vocabulary = _read(source, file, settings, recipe)
            vocabulary.unread = _unread(source, {file, *_BESIDE.get(recipe, ())})
            return vocabulary
    unread = _unread(source, set())
    there = f"; {', '.join(unread)} is there, which embtool does not read" if unread else ""
    raise NoVocabulary(
        f"{source.name} has no tokenizer ({', '.join(TOKENIZER_FILES)}){there}",
        hint="name rows by id:, such as id:70135",
        unread=unread,
    )


def _unread(source: Source, read: Collection[str]) -> tuple[str, ...]:
    """List the files that look like a tokenizer's, but for those that are read; the first of them."""
    named = (file for file in source.files() if file.lower().endswith(UNREAD_ENDS) and UNREAD.fullmatch(file))
    return tuple(islice((file for file in named if file not in read), MOST_UNREAD))


def read_vocabulary_file(source: Source, file: str) -> Vocabulary:
    """Read one file of a tokenizer, whatever it is called: a tokenizer.json, a list of words, or a binary model.

    Raises:
        FormatError: it is none of these.
    """
    if file.endswith(".json") and file != "vocab.json" and not TEKKEN.fullmatch(file):
        return _from_json(source, file)
    settings = _settings(source)
    kind = CLASSES.get(settings.name or "")
    recipes = ["merges", "words", "world", "tekken"]
    if kind is not None and kind.recipe in ("marian", "mapped"):
        recipes.insert(0, kind.recipe)
    for recipe in recipes:
        if file == _file_of(source, recipe):
            return _read(source, file, settings, recipe)
    if file.endswith(".json"):
        return _from_json(source, file)
    return _read(source, file, settings, "pieces")


def _settings(source: Source, config: Config | None = None) -> Settings:
    def read(file: str) -> dict[str, Any]:
        return decode_json(source.read_file(file), file)

    @cache
    def of_model() -> Mapping[str, Any]:
        try:
            return read("config.json") if source.has("config.json") else {}
        except FormatError:  # who asks for the config is told
            return {}

    return Settings.read(source.has, read, config or of_model)


def _file_of(source: Source, recipe: str) -> str | None:
    """Return the file by which a folder has what a recipe is made of, or None."""
    if recipe in _BESIDE:
        return "vocab.json" if source.has("vocab.json") and source.has(_BESIDE[recipe][0]) else None
    if recipe in ("words", "letters"):
        return "vocab.txt" if source.has("vocab.txt") else None
    if recipe in ("pieces", "library", "ranks"):
        known = next((file for file in MODEL_FILES if source.has(file)), None)
        return known or next(filter(NUMBERED_MODEL.fullmatch, source.files()), None)
    pattern = {"world": WORLD, "tekken": TEKKEN}[recipe]
    return next(filter(pattern.fullmatch, source.files()), None)


SPLIT_BY_LIBRARY = ("library", "marian", "mapped")
"""Recipes whose text the sentencepiece library splits."""

MADE = ("merges", "words", "letters", "pieces", *SPLIT_BY_LIBRARY)
"""Recipes that are made of a class and files; the others are known by what a file holds."""

_BESIDE = {"merges": ("merges.txt",), "marian": ("source.spm", "target.spm"), "mapped": (SHIFTED,)}
"""What else a recipe is made of."""


def _read(source: Source, file: str, settings: Settings, recipe: str) -> Vocabulary:
    """Read a file as its class has it; as a list of tokens only, where the class is not known or reads other files."""
    data = source.read_file(file)
    name = settings.name
    kind = CLASSES.get(name or "")
    if recipe in ("pieces", "ranks"):
        from embtool.vocabulary.ranks import looks_like_ranks, read_ranks  # noqa: PLC0415 - few models have such a file

        if looks_like_ranks(data):
            return read_ranks(data, file, _numbered(settings), name, settings.config().get("vocab_size"))
    if recipe == "tekken":
        from embtool.vocabulary.tekken import read_tekken  # noqa: PLC0415 - as above

        return read_tekken(decode_json(data, file), file)
    if recipe in ("words", "letters", "world") and looks_like_world(data):
        return read_world(data, file)
    if kind is not None and kind.recipe == recipe and recipe in MADE:
        return _made(source, file, data, settings, kind)
    if name is None and not (settings.model_type and recipe in ("merges", "words")):
        return _unnamed(source, file, data, settings, recipe)
    return _listing(source, file, data, settings, recipe, _reason(settings, kind, file))


QUICK_BYTES = 2 << 20
"""The largest tokenizer.json whose entries are derived in well under a second."""

LOOKED_UP_BYTES = 32 << 20
"""The largest tokenizer.json that is read, to look for its index, where nobody may wait."""


def read_quickly(folder: Path) -> Vocabulary | None:
    """Read the tokenizer of a local folder where that takes a moment: its index exists, or it is small; else None."""
    source = Folder(folder)
    if not source.has(TOKENIZER) or (size := source.size(TOKENIZER)) > LOOKED_UP_BYTES:
        return None
    if size > QUICK_BYTES and open_index(_key(source.read_file(TOKENIZER), _added_beside(source)[0])) is None:
        return None
    return _from_json(source, TOKENIZER)


def _from_json(source: Source, file: str) -> Vocabulary:
    """Read tokenizer.json: its entries from the index of its content, which is written at the first time.

    Tokens that the files beside it name, and that it lacks, are added as transformers adds them when it loads both.
    """
    data = source.read_file(file)
    more, unread = _added_beside(source)
    key = _key(data, more)

    def parse() -> MemoryEntries:
        entries = parse_tokenizer(_with_added(decode_json(data, file), more), file)
        write_index(key, entries)
        return entries

    def load() -> Any:
        contents = {token["content"] for token in more}
        if contents <= listed_tokens(data):
            return loader(data, file)()
        return loader(json.dumps(_with_added(decode_json(data, file), more)).encode(), file)()

    told = told_of(source.name)
    vocabulary = Vocabulary(file, told(parse), told(load), quick=lambda: open_index(key))
    vocabulary.unread = unread
    return vocabulary


def _added_beside(source: Source) -> tuple[list[State], tuple[str, ...]]:
    """List the tokens that the files beside a tokenizer.json name; where those are broken, none, and what is broken."""
    try:
        return _settings(source).tokens(), ()
    except FormatError as error:
        return [], (error.message,)


def _key(data: bytes, more: Sequence[State]) -> str:
    """Return the name of the index of a tokenizer.json and the tokens added to it."""
    digest = hashlib.sha256(data)
    digest.update(json.dumps(more).encode() if more else b"")
    return digest.hexdigest()


def _with_added(state: State, more: Sequence[State]) -> State:
    """Add tokens to a decoded tokenizer.json, those that it does not list; their ids follow from their order."""
    listed = state.get("added_tokens")
    listed = listed if isinstance(listed, list) else []
    contents = [token.get("content") for token in listed if isinstance(token, dict)]
    new = [{"id": 0, **token} for token in more if token["content"] not in contents]
    return {**state, "added_tokens": [*listed, *new]} if new else state


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
        """Split several texts; where their tokens stand in them is not looked for, which is quicker."""
        place = self._place(texts)
        split = place.encode_batch_fast if place is self._tokenizer else place.encode_batch
        return split(texts, add_special_tokens=add_special_tokens)


def _made(source: Source, file: str, data: bytes, settings: Settings, kind: TokenizerClass) -> Vocabulary:
    """Make a tokenizer of its class and files; its entries from the index of both, but for small ones."""
    if kind.recipe in SPLIT_BY_LIBRARY:
        return _split_by_library(source, file, data, settings, kind)
    beside = source.read_file("merges.txt") if kind.recipe == "merges" else b""
    label = f"{file}, sentencepiece" if kind.recipe == "pieces" else file

    @cache
    def describe() -> Description:
        if kind.recipe == "merges":
            vocabulary = parse_vocabulary(decode_json(data, file))
            return Description(describe_merges(kind, settings, vocabulary, _text(beside, "merges.txt")))
        if kind.recipe == "pieces":
            return describe_pieces(kind, settings, checked_model(data, file), file)
        words = parse_words(_text(data, file))
        if kind.recipe == "letters":
            return describe_letters(kind, settings, words)
        return Description(describe_words(kind, settings, words))

    digest = hashlib.sha256(
        f"described {DESCRIPTION_VERSION} {settings.name} {kind} {settings}".encode("utf-8", "surrogatepass")
    )
    digest.update(data)
    key = digest.hexdigest()

    def parse() -> MemoryEntries:
        entries = parse_tokenizer(describe().state, file)
        if len(data) > INDEXED_BYTES:
            write_index(key, entries)
        return entries

    def load() -> Any:
        found = describe()
        if found.unsplit is not None:
            raise NoVocabulary(f"{found.unsplit}, so text cannot be split", hint=HINT)
        state = with_every_token(found.state) if found.ordinary else found.whole()
        return loader(json.dumps(state).encode(), file)()

    return Vocabulary(label, parse, load, quick=lambda: open_index(key) if len(data) > INDEXED_BYTES else None)


def _split_by_library(source: Source, file: str, data: bytes, settings: Settings, kind: TokenizerClass) -> Vocabulary:
    """Make a tokenizer whose text the sentencepiece library splits; its ids are the model's, or those of vocab.json."""
    if kind.recipe == "library":
        return read_sentences(kind, settings, (data, file))
    model = _BESIDE[kind.recipe][0]
    return read_sentences(
        kind, settings, (source.read_file(model), model), (parse_vocabulary(decode_json(data, file)), file)
    )


INDEXED_BYTES = 1 << 20
"""The size of a file from which on its entries are kept in an index: smaller ones are read in a moment."""


def _unnamed(source: Source, file: str, data: bytes, settings: Settings, recipe: str) -> Vocabulary:
    """Read a file of a folder that names no class: as the file itself shows what it is."""
    if recipe == "merges":
        vocabulary = parse_vocabulary(decode_json(data, file))
        is_byte_level = any(piece.startswith("\u0120") for piece in vocabulary)
        if not is_byte_level and any(mark in piece for piece in vocabulary for mark in WORD_MARKS):
            return _listing(source, file, data, settings, recipe, f"nothing says which class reads {file}")
        return _made(source, file, data, settings, TokenizerClass("merges", {}, (TEXT,)))
    if recipe == "words":
        words = parse_words(_text(data, file))
        bert = CLASSES["BertTokenizer"]
        names = {role: piece for role, piece in bert.names.items() if piece in words}
        if "unk_token" not in names and settings.named("unk_token") not in words:
            return _listing(source, file, data, settings, recipe, f"nothing says which class reads {file}", FormatError)
        return _made(source, file, data, settings, TokenizerClass("words", names, bert.around))
    if file == SHIFTED:
        raise NoVocabulary(
            f"{file} is there, but nothing says which class reads it: each gives its pieces other ids",
            hint="name rows by id:, such as id:70135; tokenizer_config.json has the class",
            unread=(file,),
        )
    return read_sentencepiece(data, file, _numbered(settings))


def _numbered(settings: Settings) -> dict[int, Added]:
    return {place: Added(token["content"], token["special"]) for place, token in settings.numbered()}


def _reason(settings: Settings, kind: TokenizerClass | None, file: str) -> str:
    """Say why a text cannot be split, by the name of the class or of the model type."""
    if kind is not None:
        return f"its class, {settings.name}, does not read {file}"
    if settings.name is not None:
        return f"how its class, {settings.name}, splits text is not known"
    return f"which class reads {file} is not known for the model type {settings.model_type!r}"


def _listing(
    source: Source,
    file: str,
    data: bytes,
    settings: Settings,
    recipe: str,
    why: str,
    error: type[EmbtoolError] = NoVocabulary,
) -> Vocabulary:
    """List the tokens of a file whose text cannot be split."""
    if recipe in ("pieces", "ranks") and file == SHIFTED:
        raise NoVocabulary(
            f"{source.name} has {file}, but {why}, nor which ids its pieces have",
            hint="name rows by id:, such as id:70135",
            unread=(file,),
        )
    if recipe in ("pieces", "ranks"):
        model = describe_pieces(CLASSES["LlamaTokenizer"], settings, checked_model(data, file), file).state
    elif recipe == "merges":
        vocabulary = parse_vocabulary(decode_json(data, file))
        model = {"decoder": _decoder_of(vocabulary), "model": {"type": "BPE", "vocab": vocabulary}}
    else:
        words = parse_words(_text(data, file))
        model = {"decoder": _decoder_of(words), "model": {"type": "WordPiece", "vocab": words}}
    if "added_tokens" not in model:
        vocabulary = model["model"]["vocab"]
        tokens = settings.tokens()
        places = number((token["content"] for token in tokens), vocabulary, len(vocabulary))
        model["added_tokens"] = [{"id": place, **token} for place, token in zip(places, tokens, strict=True)]
    entries = parse_tokenizer(model, file)

    def load() -> Any:
        raise error(f"{why}, so text cannot be split", hint=HINT)

    return Vocabulary(f"{file}, tokens only", lambda: entries, load)


def _decoder_of(vocabulary: Sequence[str] | dict[str, int]) -> State:
    """Tell by the pieces how they are spelled."""
    for mark, decoder in (
        ("\u0120", {"type": "ByteLevel"}),
        ("##", {"type": "WordPiece", "prefix": "##"}),
        ("\u2581", {"type": "Metaspace", "replacement": "\u2581"}),
    ):
        if any(piece.startswith(mark) and piece != mark for piece in vocabulary):
            return decoder
    return {"type": "Words"}


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


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode()
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
