"""The queries of one run: those typed on the command line, or the lines of stdin.

Lines of stdin are answered as they come: what has arrived is answered together, in one pass over the table, and nothing
waits for a line that has not been written yet.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import typer

from embtool.cli.messages import note, report, warn
from embtool.cli.options import TokenOptions
from embtool.errors import EmbtoolError, UnknownToken
from embtool.model import Model
from embtool.neighbors import MOST_QUERIES
from embtool.output import Group
from embtool.table import EmbeddingTable
from embtool.vocabulary import Query, Vocabulary, mixed_words, parse_ids, read_queries

NOT_FOUND = 3

ARRIVAL_BYTES = 1 << 16
"""Bytes of stdin taken at a time: what a pipe of Linux holds."""

MOST_NOTES = 3
"""Notes about lines of stdin; a thousand lines must not bury an error."""

Answer = Callable[[Query], Group]
AnswerAll = Callable[[Sequence[Query]], Sequence[Group]]


class Batch:
    """The queries of one run.

    Those of the command line are all looked up before anything is answered, so that an error leaves stdout empty. A
    line of stdin that fails is reported with its text, the rest goes on, and `finish` ends the run with the status of a
    thing not found.

    Args:
        texts: what was typed; nothing, or a single `-`, means stdin.
        options: how texts are read.
        table: the table whose rows are asked for.
        model: the model asked; its tokenizer is read only when a text needs it.
    """

    def __init__(
        self,
        texts: list[str] | None,
        options: TokenOptions,
        table: EmbeddingTable,
        model: Model,
    ) -> None:
        options.check()
        self.options = options
        self.table = table
        self.model = model
        self.typed = None if not texts or texts == ["-"] else texts
        self.failed = 0
        self.noted = 0
        self.first: Query | None = None

    def groups(self, answer: AnswerAll, at_once: int = MOST_QUERIES) -> Iterator[Group]:
        """Answer every query, up to `at_once` together."""
        if self.typed is not None:
            plans = [self._look_up(text) for text in self.typed]
            self._warn_of_mixing(plans)
            for queries in in_chunks((query for plan in plans for query in plan), at_once):
                yield from answer(queries)
            return
        for lines in gather(read_lines(), at_once):
            queries = [query for line in lines for query in self._line(line)]
            for chunk in in_chunks(queries, at_once):
                yield from self._answer(chunk, answer)

    def each(self, answer: Answer) -> Iterator[Group]:
        """Answer every query by itself."""
        return self.groups(lambda queries: [answer(query) for query in queries], at_once=1)

    def all(self) -> list[Query]:
        """Look up every text."""
        texts = read_lines() if self.typed is None else self.typed
        queries = [query for text in texts for query in self._look_up(text)]
        self._warn_of_mixing([queries])
        return queries

    # `first` is the first query that named a row, for those who explain what was done.

    def finish(self) -> None:
        """End with status 3 if a line failed."""
        if self.failed:
            raise typer.Exit(NOT_FOUND)

    @staticmethod
    def _warn_of_mixing(plans: Iterable[Iterable[Query]]) -> None:
        """Warn of words with and without a space in one question; the queries of a range are not made for that."""
        mixed = mixed_words(query for plan in plans if isinstance(plan, list) for query in plan)
        if mixed is not None:
            warn(mixed)

    def _look_up(self, text: str) -> Iterable[Query]:
        """Look up one text, and make sure that the table has its rows; the queries of a range are made as needed."""
        ids = parse_ids(text)
        pool = self.options.pool is not None
        if ids is not None and not pool:
            self.table.check((ids[0], ids[-1]))
            self.first = self.first or Query(f"id:{ids[0]}", (ids[0],))
            return (Query(f"id:{identity}", (identity,)) for identity in ids)
        vocabulary = None if ids is not None else self._vocabulary(text)
        queries = list(read_queries([text], vocabulary, exact=self.options.exact, pool=pool))
        for query in queries:
            self.table.check(query.ids)
            self._note(query)
            self.first = self.first or query
        return queries

    def _vocabulary(self, text: str) -> Vocabulary | None:
        """Find the tokens that a text can be, if the table's rows are tokens at all."""
        vocabulary = self.model.vocabulary_of(self.table)
        if vocabulary is None and self.model.vocabulary_if_any is not None:
            raise UnknownToken(
                f"{text!r} names no row: those of a {self.table.role} table are no tokens",
                hint="name rows by id:, such as id:0",
            )
        return vocabulary

    def _note(self, query: Query) -> None:
        if query.note is None:
            return
        self.noted += 1
        if self.typed is not None or self.noted <= MOST_NOTES:
            note(query.note)
        elif self.noted == MOST_NOTES + 1:
            note("further notes of this kind are left out: each record names its query and its token")

    def _line(self, text: str) -> list[Query]:
        """Look up a line of stdin, or report it."""
        try:
            return list(self._look_up(text))
        except EmbtoolError as error:
            self._report(error, text)
            return []

    def _answer(self, queries: Sequence[Query], answer: AnswerAll) -> Iterable[Group]:
        """Answer queries of stdin together; where one of them fails, each by itself."""
        try:
            return answer(queries)
        except EmbtoolError as error:
            if len(queries) == 1:
                self._report(error, queries[0].text)
                return []
        return [group for query in queries for group in self._answer([query], answer)]

    def _report(self, error: EmbtoolError, text: str) -> None:
        if self.options.strict:
            raise error
        report(error, about=text)
        self.failed += 1


def in_chunks(queries: Iterable[Query], size: int) -> Iterator[list[Query]]:
    """Cut queries into lists of at most `size`."""
    chunk: list[Query] = []
    for query in queries:
        chunk.append(query)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def gather(lines: Iterator[str], most: int) -> Iterator[list[str]]:
    """Wait for a line, then take with it those that are there already, up to `most`.

    A thread reads, because no system can tell everywhere how many lines a pipe holds.
    """
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(maxsize=most)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the lines are used
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    end: BaseException | None = None
    ended = False
    while not ended:
        taken: list[str] = []
        while len(taken) < most and not ended:
            try:
                line = waiting.get(block=not taken)
            except queue.Empty:
                break
            if isinstance(line, str):
                taken.append(line)
            else:
                ended, end = True, line
        if taken:
            yield taken
    if end is not None:
        raise end


def read_lines() -> Iterator[str]:
    """Yield the lines of stdin that are not empty.

    Raises:
        BadParameter: there is nobody to read from, or nothing to read.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("no TOKEN given, and nothing is piped in")
    return _lines(_arrivals(sys.stdin.buffer))


def _arrivals(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what has arrived, as it arrives.

    The descriptor is read and not the stream: a thread that waits inside a buffered stream holds its lock, and makes
    Python abort when the program ends before the pipe does.
    """
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file: a program of someone's own has put something else there
        yield stream.read()
        return
    while data := os.read(descriptor, ARRIVAL_BYTES):
        yield data


def _split(arrivals: Iterable[bytes]) -> Iterator[bytes]:
    """Cut what arrives into lines, without their ends."""
    begun: list[bytes] = []
    for data in arrivals:
        first, *others = data.split(b"\n")
        begun.append(first)
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun = others[-1:]
    yield b"".join(begun)


def _lines(arrivals: Iterable[bytes]) -> Iterator[str]:
    empty = True
    for line in _split(arrivals):
        text = line.decode("utf-8", "surrogateescape").rstrip("\r")
        if text:
            empty = False
            yield text
    if empty:
        raise typer.BadParameter("no TOKEN given, and stdin is empty")
