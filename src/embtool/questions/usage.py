"""How often a corpus uses each row, and how much of the table no text of it reaches."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from embtool.answers import Listing, column, context, identity, python, records, token_column, value
from embtool.answers.text import count, percent, plural, size
from embtool.arguments import check_count
from embtool.arrays import np
from embtool.errors import FormatError, InvalidArgument, LocalFailure, NoSuchFile
from embtool.questions.vocab import Search
from embtool.storage.places import is_folder, is_there
from embtool.tables.corpus import Counter, Counts, Tally, Text, lines_of
from embtool.tables.table import EmbeddingTable
from embtool.vocabulary import Token, Vocabulary

STDIN = "-"

UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""How texts in UTF-16 begin."""


@dataclass(frozen=True)
class RowCount:
    """One row, and how often it is used."""

    id: int = identity()
    token: Token | None = token_column()
    count: int = column("how often the corpus uses it", right=True, show=count)
    covered: float | None = column(
        "share of the corpus that this row and those above it make up", right=True, show=percent
    )


@dataclass(frozen=True, repr=False, eq=False)
class UsageAnswer(Listing[RowCount]):
    """Every row with its count, the most used first, of equals the smaller id; `counts` is by id: int64 (ids,)."""

    command = "vocab-count"

    model: str = context("the model, as it was named")
    texts: int = value("how many texts the corpus holds: files, or their lines")
    corpus_bytes: int = value("how long they are together")
    replaced_bytes: int = value("how many of these bytes are not UTF-8: U+FFFD was counted in their place")
    corpus_tokens: int = value("how many tokens the corpus is, with nothing put around a text")
    rows: int = value("rows of the input table; without one, tokens of the vocabulary")
    used: int = value("how many of them the corpus uses")
    table_bytes: int | None = value("how large the input table is; null without one")
    unused_bytes: int | None = value("how large the rows of it are that the corpus never uses")
    uses: Sequence[RowCount] = records("the rows")
    counts: Counts = python(travels=False)
    hidden: int = python(default=0)
    notes: tuple[str, ...] = python(default=())
    warnings: tuple[str, ...] = python(default=())

    @property
    def summary(self) -> tuple[str, ...]:
        """What the counts come to, in a line or two."""
        of_text = f"{plural(self.corpus_tokens, 'token')} in {size(self.corpus_bytes)} of text"
        unused = self.rows - self.used
        what = "rows" if self.table_bytes is not None else "tokens"
        lines = [f"{count(self.used)} of {count(self.rows)} {what} used by {of_text}"]
        if self.table_bytes is not None and self.unused_bytes is not None and unused:
            share = percent(self.unused_bytes / self.table_bytes)
            rest = "the other is" if unused == 1 else f"the other {count(unused)} are"
            lines.append(f"{rest} {share} of the input table, {size(self.unused_bytes)}: no text here reaches them")
        return tuple(lines)

    def after(self) -> Sequence[str]:
        """Say what the counts come to, and how many rows are left out."""
        more = [f"  {count(self.hidden)} more; -k shows more of them, --tsv all"] if self.hidden else []
        return [*more, *(f"  {line}" for line in self.summary)]


def ask_usage(
    model: str,
    vocabulary: Vocabulary,
    table: EmbeddingTable | None,
    files: Sequence[str | Path] = (),
    *,
    texts: Iterable[str] = (),
    lines: bool = False,
    search: Search | None = None,
    k: int | None = None,
) -> UsageAnswer:
    """Count how often texts use each row.

    Args:
        model: its name.
        vocabulary: its tokens.
        table: the table whose rows are counted, if there is one.
        files: each is a text; `-` is stdin.
        texts: more texts.
        lines: each line of a file is a text of its own, without its end.
        search: only rows that match.
        k: only so many.

    Raises:
        NoSuchFile: a file is not there.
        LocalFailure: the system does not let it be read.
        UnsupportedFormat: a file is no text, but an archive or the like.
        FormatError: there is nothing to count, or the tokenizer cannot split a text.
        NoVocabulary: it is not known how text is split.
    """
    check_count(1 if k is None else k, "k")
    names = _readable(files)
    rows = None if table is None else table.shape[0]
    counter = Counter(vocabulary, rows or 0)
    read: list[Text] = []
    added = _Measured(texts)
    counter.count(chain(_texts(names, read, lines=lines), added))
    tally = counter.tally
    if not (corpus_bytes := added.bytes + sum(text.size for text in read)):
        empty = [text.name for text in read]
        raise FormatError(f"{', '.join(empty) or 'the corpus'} is empty: there is nothing to count")
    ids = np.concatenate((np.arange(rows or 0), vocabulary.ids[vocabulary.ids >= (rows or 0)]))
    used, row_bytes = int((tally.counts[:rows] > 0).sum()), 0 if table is None else table.tensor.row_bytes
    uses, hidden = _most_used(ids, tally, vocabulary, search, k)
    return UsageAnswer(
        model=model,
        texts=tally.texts,
        corpus_bytes=corpus_bytes,
        replaced_bytes=sum(text.replaced for text in read),
        corpus_tokens=tally.tokens,
        rows=len(ids) if rows is None else rows,
        used=used,
        table_bytes=None if rows is None else rows * row_bytes,
        unused_bytes=None if rows is None else (rows - used) * row_bytes,
        uses=uses,
        counts=tally.counts,
        hidden=hidden,
        notes=tuple(f"{text.name} is empty" for text in read if not text.size),
        warnings=tuple(_warnings(read, tally, rows)),
    )


def _readable(files: Sequence[str | Path]) -> list[str]:
    """Return the names of files; raise unless every one can be read, before the first is."""
    names = [str(file) for file in files]
    for name in names:
        if name == STDIN:
            if sys.stdin is None or sys.stdin.isatty():
                raise InvalidArgument("- reads stdin, and nothing is piped in")
        elif not is_there(Path(name)):
            raise NoSuchFile(f"no such file: {name}")
        elif is_folder(Path(name)):
            raise LocalFailure(f"cannot read {name}: it is a folder")
    return names


def _texts(names: Sequence[str], read: list[Text], *, lines: bool) -> Iterator[str | Iterable[str]]:
    """Yield the texts of files, and list in `read` what was read of each."""
    for name in names:
        with nullcontext(sys.stdin.buffer) if name == STDIN else _open(name) as file:
            text = Text("stdin" if name == STDIN else name, file)
            read.append(text)
            yield from lines_of(text) if lines else [text]


def _open(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise LocalFailure(f"cannot read {name}: {error.strerror or error}") from error


class _Measured:
    """Texts, and how many bytes those that were taken have."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.bytes = 0
        self._texts = texts

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.bytes += len(text.encode("utf-8", "replace"))
            yield text


def _most_used(
    ids: Counts, tally: Tally, vocabulary: Vocabulary, search: Search | None, k: int | None
) -> tuple[list[RowCount], int]:
    """List the rows that match, the most used first, of equals the smaller id; count those that `k` leaves out."""
    if search is not None and search != Search():
        padding = ids[~np.isin(ids, vocabulary.ids)].tolist()
        ids = ids[np.isin(ids, [match.id for match in search.matches(vocabulary, padding)])]
    best = ids[np.lexsort((ids, -tally.counts[ids]))]
    covered = np.cumsum(tally.counts[best]) / max(tally.tokens, 1)
    shown = zip(best[:k].tolist(), tally.counts[best[:k]].tolist(), covered[:k].tolist(), strict=True)
    uses = [RowCount(row, vocabulary.token(row), times, share) for row, times, share in shown]
    return uses, len(best) - len(uses)


def _warnings(read: Sequence[Text], tally: Tally, rows: int | None) -> Iterator[str]:
    """Say what the counts may be wrong about."""
    for text in read:
        if text.replaced:
            told = f"{text.name}: {plural(text.replaced, 'byte')} not UTF-8, counted as U+FFFD"
            yield f"{told}; it looks like UTF-16: convert it with iconv" if text.head.startswith(UTF16) else told
        elif text.zeros:
            told = f"{text.name}: {plural(text.zeros, 'zero byte')}, which no text has"
            yield f"{told}: UTF-16 is converted with iconv, an archive unpacked first"
    if tally.unsure:
        where = "cut was made" if tally.unsure == 1 else "cuts were made"
        yield f"{count(tally.unsure)} {where} where no word ends: a few tokens around may be others in the whole text"
    beyond = 0 if rows is None else int(tally.counts[rows:].sum())
    if beyond:
        yield f"{plural(beyond, 'token')} of the corpus have ids beyond the {count(rows or 0)} rows of the table"
