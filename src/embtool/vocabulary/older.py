"""Tokenizers without a tokenizer.json: the files of a class, and what a file shows where no class is named.

The older files say less: the class that the folder names says how text is split (`classes`, `describe`), and where it
is not known the tokens are listed all the same.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import islice, repeat
from typing import Any

from embtool.errors import EmbtoolError, FormatError, NoVocabulary
from embtool.storage.impostors import refuse
from embtool.storage.source import Source
from embtool.vocabulary.aligned import DICTIONARY, listed, shifted
from embtool.vocabulary.classes import CLASSES, TEXT, TokenizerClass
from embtool.vocabulary.describe import (
    Description,
    describe_letters,
    describe_merges,
    describe_pieces,
    describe_words,
    parse_vocabulary,
    parse_words,
)
from embtool.vocabulary.entries import MemoryEntries, State, number, parse_tokenizer
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.loading import loader
from embtool.vocabulary.refused import REFUSED
from embtool.vocabulary.sentences import read_sentences
from embtool.vocabulary.settings import (
    MODEL_FILES,
    TEKKEN,
    TOKENIZER,
    Config,
    Settings,
    decode_json,
    decode_text,
    read_settings,
)
from embtool.vocabulary.spelling import CONTINUED, END_MARKED
from embtool.vocabulary.spm import checked_model, read_sentencepiece
from embtool.vocabulary.words import Vocabulary
from embtool.vocabulary.world import looks_like_world, read_world

NUMBERED_MODEL = re.compile(r"tokenizer\.model\.v[0-9]{1,2}[a-z0-9]{0,4}|tiktoken\.model|[^/]+\.tiktoken")
"""Further names: Mistral's, with the version of its format, and tiktoken's."""

SHIFTED = "sentencepiece.bpe.model"
"""The file whose classes all shift its ids, by one or otherwise."""

WORLD = re.compile(r"vocab\.txt|rwkv_vocab[^/]*\.txt")
"""RWKV's list of tokens, under its own name, and as repositories rename it."""

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

DESCRIPTION_VERSION = 5
"""Raise it when descriptions are made in another way: indexes that were written before are then not found."""

LEAST_MARKED = 10
"""One in so many pieces has the mark of a word's end, or of its going on, where pieces are marked so."""

WORD_MARKS = ("</w>", "@@", "\u2581")
"""Marks of a word's beginning or end that GPT-2's pieces do not have."""

HINT = "name one token by its text, by piece: or by id:"

SPLIT_BY_LIBRARY = ("library", "marian", "mapped")
"""Recipes whose text the sentencepiece library splits."""

PYTHON = ("subwords", "codes", "bytes")
"""Recipes of classes in plain Python; what a folder has of the pieces is listed without what joins them."""

TABLES = ("vocab.json", "vocab-src.json", "vocab-tgt.json")
"""Tables from pieces to ids, which may be all that a class has; FSMT's are of the source and of the target."""

FILES = {
    **dict.fromkeys(("words", "letters", "codes"), ("vocab.txt",)),
    "subwords": ("vocab.json",),
    "bytes": ("tokenizer_config.json", "config.json"),
    "table": TABLES,
}
"""The file that a recipe is made of, the first that is there; classes of bytes have none but what names them."""

MADE = ("merges", "words", "letters", "pieces", *SPLIT_BY_LIBRARY, *PYTHON)
"""Recipes that are made of a class and files; the others are known by what a file holds."""

_BESIDE = {
    "merges": ("merges.txt",),
    "subwords": ("merges.txt",),
    "codes": ("bpe.codes",),
    "marian": ("source.spm", "target.spm"),
    "mapped": (SHIFTED,),
}
"""What else a recipe is made of."""


IDS = re.compile(rb'\s*\{\s*"[^"]*"\s*:\s*[0-9]')
"""How a table of ids begins, whose first token may well be `error`."""


def read_older(source: Source, config: Config | None = None) -> Vocabulary:
    """Read the tokenizer of a model without tokenizer.json: what its class is made of, else any other file of one.

    Raises:
        NoVocabulary: it has none, or one whose ids are not known.
        FormatError: a file is there but is not what its name says.
    """
    settings = read_settings(source, config)
    kind = CLASSES.get(settings.name or "")
    recipes = ["merges", "words", "pieces", "world", "tekken", "table"]
    if kind is not None:
        recipes.insert(0, kind.recipe)
    for recipe in recipes:
        file = _file_of(source, recipe)
        if file is not None:
            vocabulary = (_table if recipe == "table" else _read)(source, file, settings, recipe)
            vocabulary.unread = _unread(source, {file, *_BESIDE.get(recipe, ())})
            return vocabulary
    unread = _unread(source, set())
    there = f"; {', '.join(unread)} is there, which embtool does not read" if unread else ""
    if settings.name and kind is None:
        there += f"; its class, {settings.name}, {REFUSED.get(settings.name, 'is not known')}"
    raise NoVocabulary(
        f"{source.name} has no tokenizer ({', '.join(TOKENIZER_FILES)}){there}",
        hint="name rows by id:, such as id:70135",
        unread=unread,
    )


def read_older_file(source: Source, file: str) -> Vocabulary | None:
    """Read one file of a tokenizer that is no tokenizer.json; None where it can only be one by another name.

    Raises:
        FormatError: it is none.
    """
    settings = read_settings(source)
    kind = CLASSES.get(settings.name or "")
    recipes = ["merges", "words", "world", "tekken"]
    if kind is not None and kind.recipe in (*SPLIT_BY_LIBRARY, *PYTHON):
        recipes.insert(0, kind.recipe)
    if file in TABLES[1:]:
        return _listing(source, file, source.read_file(file), settings, "table", _reason(settings, kind, file))
    for recipe in recipes:
        if file == _file_of(source, recipe):
            return _read(source, file, settings, recipe)
    return None if file.endswith(".json") else _read(source, file, settings, "pieces")


def _unread(source: Source, read: Collection[str]) -> tuple[str, ...]:
    """List the files that look like a tokenizer's, but for those that are read; the first of them."""
    named = (file for file in source.files() if file.lower().endswith(UNREAD_ENDS) and UNREAD.fullmatch(file))
    return tuple(islice((file for file in named if file not in read), MOST_UNREAD))


def _file_of(source: Source, recipe: str) -> str | None:
    """Return the file by which a folder has what a recipe is made of, or None."""
    if recipe in FILES:
        return next(filter(source.has, FILES[recipe]), None)
    if recipe in _BESIDE:
        return "vocab.json" if source.has("vocab.json") and source.has(_BESIDE[recipe][0]) else None
    if recipe in ("pieces", "library", "ranks"):
        known = next((file for file in MODEL_FILES if source.has(file)), None)
        return known or next(filter(NUMBERED_MODEL.fullmatch, source.files()), None)
    pattern = {"world": WORLD, "tekken": TEKKEN}[recipe]
    return next(filter(pattern.fullmatch, source.files()), None)


def _read(source: Source, file: str, settings: Settings, recipe: str) -> Vocabulary:
    """Read a file as its class has it; as a list of tokens only, where the class is not known or reads other files."""
    data = source.read_file(file)
    if not IDS.match(data):
        refuse(data, file)
    name = settings.name
    kind = CLASSES.get(name or "")
    if recipe in ("pieces", "ranks"):
        from embtool.vocabulary.ranks import looks_like_ranks, read_ranks  # noqa: PLC0415 - few models have such a file

        if looks_like_ranks(data):
            return read_ranks(data, file, settings)
    if recipe == "tekken":
        from embtool.vocabulary.tekken import read_tekken  # noqa: PLC0415 - as above

        return read_tekken(decode_json(data, file), file, splits_special=settings.splits_special)
    if recipe in ("words", "letters", "world") and looks_like_world(data):
        return read_world(data, file)
    if kind is not None and kind.recipe == recipe and recipe in MADE:
        return _made(source, file, data, settings, kind)
    if name is None and not (settings.model_type and recipe in ("merges", "words")):
        return _unnamed(source, file, data, settings, recipe)
    return _listing(source, file, data, settings, recipe, _reason(settings, kind, file))


def _made(source: Source, file: str, data: bytes, settings: Settings, kind: TokenizerClass) -> Vocabulary:
    """Make a tokenizer of its class and files; its entries from the index of both, but for small ones."""
    if kind.recipe in (*SPLIT_BY_LIBRARY, *PYTHON):
        return _undescribed(source, file, data, settings, kind)
    beside = source.read_file("merges.txt") if kind.recipe == "merges" else b""
    label = f"{file}, sentencepiece" if kind.recipe == "pieces" else file

    @cache
    def describe() -> Description:
        if kind.recipe == "merges":
            vocabulary = parse_vocabulary(decode_json(data, file))
            return Description(describe_merges(kind, settings, vocabulary, decode_text(beside, "merges.txt")))
        if kind.recipe == "pieces":
            return describe_pieces(kind, settings, checked_model(data, file), file)
        words = parse_words(decode_text(data, file))
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
        state = found.whole() if found.looked_for is None else found.looked_for(settings.splits_special)
        return loader(json.dumps(state).encode(), file, splits_special=settings.splits_special)()

    return Vocabulary(label, parse, load, quick=lambda: open_index(key) if len(data) > INDEXED_BYTES else None)


def _undescribed(source: Source, file: str, data: bytes, settings: Settings, kind: TokenizerClass) -> Vocabulary:
    """Make a tokenizer that tokenizer.json could not describe: of plain Python, or of the sentencepiece library.

    The library's ids are the model's, those of vocab.json, or those that the class numbers its pieces by.
    """
    if kind.recipe == "bytes":
        from embtool.vocabulary.python_classes import read_bytes  # noqa: PLC0415 - few models have such a class

        vocabulary = read_bytes(kind, settings)
        vocabulary.implied = file == "config.json"
        return vocabulary
    if kind.recipe in PYTHON:
        from embtool.vocabulary.subwords import read_subwords  # noqa: PLC0415 - as above

        merges = _BESIDE[kind.recipe][0]
        joins = source.read_file(merges) if source.has(merges) else None
        return read_subwords(kind, settings, (data, file), (joins, merges))
    model = data, file
    table: tuple[Mapping[str, int], str] | None = None
    numbered = kind.options.get("numbered")
    if kind.recipe != "library":
        beside = _BESIDE[kind.recipe][0]
        model, table = (source.read_file(beside), beside), (parse_vocabulary(decode_json(data, file)), file)
    elif numbered == "shifted":
        kind, ids = shifted(kind, settings, checked_model(data, file).pieces)
        table = ids, file
    elif numbered is not None:
        if not source.has(DICTIONARY):
            raise NoVocabulary(f"{source.name} has no {DICTIONARY}, which {settings.name} numbers its tokens by")
        table = listed(kind, settings, decode_text(source.read_file(DICTIONARY), DICTIONARY)), DICTIONARY
    return read_sentences(kind, settings, model, table)


def _table(source: Source, file: str, settings: Settings, recipe: str) -> Vocabulary:
    """List the tokens of a table that stands alone.

    Raises:
        NoVocabulary: nothing says that it is a tokenizer's, or it is not one table.
    """
    hint = "name rows by id:, such as id:70135"
    if settings.name is None and settings.model_type is None:
        raise NoVocabulary(f"{file} is there, but nothing says which class reads it", hint=hint, unread=(file,))
    data, why = source.read_file(file), _reason(settings, CLASSES.get(settings.name or ""), file)
    other = next((each for each in TABLES[1:] if each != file and source.has(each)), None)
    if file in TABLES[1:] and other is not None and source.read_file(other) != data:
        raise NoVocabulary(
            f"{source.name} has two vocabularies, {file} and {other}, of the text that is read and of what is written;"
            f" {why}",
            hint=f"--tokenizer {file} names the rows of one table, --tokenizer {other} those of the other",
            unread=(file, other),
        )
    if any(isinstance(value, dict) for value in decode_json(data, file).values()):
        raise NoVocabulary(f"{file} has several vocabularies, and {why}", hint=hint, unread=(file,))
    return _listing(source, file, data, settings, recipe, why)


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
        words = parse_words(decode_text(data, file))
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
    return read_sentencepiece(data, file, settings)


def _reason(settings: Settings, kind: TokenizerClass | None, file: str) -> str:
    """Say why a text cannot be split, by the name of the class or of the model type."""
    if kind is not None and kind.recipe == "merges" and file == "vocab.json":
        return f"its class, {settings.name}, needs merges.txt too"
    if kind is not None:
        return f"its class, {settings.name}, does not read {file}"
    if settings.name is not None and settings.name in REFUSED:
        return f"its class, {settings.name}, {REFUSED[settings.name]}"
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
    elif recipe in ("merges", "table"):
        vocabulary = parse_vocabulary(decode_json(data, file))
        model = {"decoder": _decoder_of(vocabulary), "model": {"type": "BPE", "vocab": vocabulary}}
    else:
        words = parse_words(decode_text(data, file))
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
    for mark, decoder in (("</w>", {"type": END_MARKED, "suffix": "</w>"}), (CONTINUED["mark"], CONTINUED)):
        if sum(map(str.endswith, vocabulary, repeat(mark))) > len(vocabulary) // LEAST_MARKED:
            return decoder
    return {"type": "Words"}
