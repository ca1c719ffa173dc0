"""Reading a model's tokenizer: tokenizer.json, or the older files that stand for it.

tokenizer.json gives the entries without the tokenizers library, which is loaded only to split a text (`loading`). Where
there is none, `older` reads what there is.
"""

import re
from pathlib import Path
from typing import Any

from embtool.errors import told_of
from embtool.storage.source import Folder, Source
from embtool.vocabulary.entries import MemoryEntries, parse_tokenizer
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.settings import TEKKEN, TOKENIZER, Config, read_beside
from embtool.vocabulary.words import Vocabulary


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
    from embtool.vocabulary.older import read_older  # noqa: PLC0415 - a dozen modules that most models do not need

    return read_older(source, config)


def read_vocabulary_file(source: Source, file: str) -> Vocabulary:
    """Read one file of a tokenizer, whatever it is called: a tokenizer.json, a list of words, or a binary model.

    Raises:
        FormatError: it is none of these.
    """
    if file.endswith(".json") and not TABLE.fullmatch(file) and not TEKKEN.fullmatch(file):
        return _from_json(source, file)
    from embtool.vocabulary.older import read_older_file  # noqa: PLC0415 - as above

    return read_older_file(source, file) or _from_json(source, file)


TABLE = re.compile(r"vocab(-src|-tgt)?\.json")
"""Tables from pieces to ids."""

QUICK_BYTES = 2 << 20
"""The largest tokenizer.json whose entries are derived in well under a second."""

SLOW_BYTES = 1 << 20
"""The largest tokenizer.json that is loaded whole for every text."""

LOOKED_UP_BYTES = 32 << 20
"""The largest tokenizer.json that is read, to look for its index, where nobody may wait."""


def read_quickly(folder: Path) -> Vocabulary | None:
    """Read the tokenizer of a local folder where that takes a moment: its index exists, or it is small; else None."""
    source = Folder(folder)
    if not source.has(TOKENIZER) or (size := source.size(TOKENIZER)) > LOOKED_UP_BYTES:
        return None
    if size > QUICK_BYTES and open_index(read_beside(source).key(source.read_file(TOKENIZER))) is None:
        return None
    return _from_json(source, TOKENIZER)


def _from_json(source: Source, file: str) -> Vocabulary:
    """Read tokenizer.json: its entries from the index of its content, which is written at the first time.

    What the files beside it add and switch counts as transformers has it.
    """
    data = source.read_file(file)
    beside = read_beside(source)
    key = beside.key(data)

    def parse() -> MemoryEntries:
        entries = parse_tokenizer(beside.state(data, file), file)
        write_index(key, entries)
        return entries

    told = told_of(source.name)

    @told
    def load() -> Any:
        from embtool.vocabulary.loading import loader  # noqa: PLC0415 - only where a text is split

        return loader(beside.whole(data, file), file, splits_special=beside.splits_special)()

    def load_some() -> Any:
        from embtool.vocabulary.excerpts import (  # noqa: PLC0415 - as above
            Excerpted,
            can_be_kept,
            keep_excerpts,
            open_excerpts,
        )

        def keep() -> None:
            if can_be_kept(key):
                state = beside.state(data, file)
                keep_excerpts(key, state, parse_tokenizer(state, file), beside.whole(data, file))

        return Excerpted(open_excerpts(key), load, keep)

    split = load_some if len(data) > SLOW_BYTES and not beside.splits_special else load
    vocabulary = Vocabulary(file, told(parse), split, quick=lambda: open_index(key))
    vocabulary.unread = beside.unread
    return vocabulary
