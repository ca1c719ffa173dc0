"""The queries of one run: those typed on the command line, or the lines of stdin.

Lines of stdin are answered as they come: what has arrived is answered together, in one pass over the table, and nothing
waits for a line that has not been written yet.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import typer

from embtool.answers import Answer, Failure
from embtool.cli.lines import Line, checked, gather, read_entries, read_lines
from embtool.cli.messages import note, report
from embtool.cli.options import TokenOptions
from embtool.errors import EmbtoolError
from embtool.tables.metric import MOST_QUERIES
from embtool.tables.token_table import TokenTable
from embtool.vocabulary import Query, Token, Vocabulary, note_of_bare, parse_ids

NOT_FOUND = 3

AnswerAll = Callable[[Sequence[Query]], Sequence[Answer]]


class Batch:
    """The queries of one run.

    Those of the command line are all looked up before anything is answered, so that an error leaves stdout empty. A
    line of stdin that fails is reported with its text and has its error in the place of an answer, the rest goes on,
    and `finish` ends the run with the status of a thing not found.

    Args:
        texts: what was typed; nothing, or a single `-`, means stdin.
        options: how texts are read.
        table: the table whose rows are asked for.
    """

    def __init__(self, texts: list[str] | None, options: TokenOptions, table: TokenTable) -> None:
        self.reading = options.reading
        self.strict = options.strict
        self.verbose = options.verbose
        self.table = table
        self.typed = None if not texts or texts == ["-"] else texts
        self.failed = 0
        self.first: Query | None = None
        """The first query that named a row, for those who explain what was done."""

    def answers(self, answer: AnswerAll, at_once: int = MOST_QUERIES) -> Iterator[Answer | Failure]:
        """Answer every query, up to `at_once` together."""
        if self.typed is not None:
            plans = [self._look_up(text) for text in self.typed]
            self._tell([query for plan in plans if isinstance(plan, list) for query in plan])
            for queries in in_chunks((query for plan in plans for query in plan), at_once):
                yield from answer(queries)
            return
        for lines in gather(read_entries(), at_once):
            looked = [found for line in lines for found in self._line(line)]
            for chunk in in_chunks(looked, at_once):
                yield from self._answer(chunk, answer)

    def each(self, answer: Callable[[Query], Answer]) -> Iterator[Answer | Failure]:
        """Answer every query by itself."""
        return self.answers(lambda queries: [answer(query) for query in queries], at_once=1)

    def all(self) -> list[Query]:
        """Look up every text."""
        texts = read_lines() if self.typed is None else self.typed
        queries = [query for text in texts for query in self._look_up(text)]
        self._tell(queries)
        return queries

    def finish(self) -> None:
        """End with status 3 if a line failed."""
        if self.failed:
            raise typer.Exit(NOT_FOUND)

    def _tell(self, queries: Sequence[Query]) -> None:
        """Say once which words were taken as typed, and if asked how each was read; no range is made for that."""
        told = note_of_bare(queries)
        if told is not None:
            note(told)
        if self.verbose:
            tell_readings(self.table.vocabulary, ((query.text, query.token) for query in queries))

    def _look_up(self, text: str) -> Iterable[Query]:
        """Look up one text; the queries of a range are made as needed."""
        queries = self.table.read(text, self.reading)
        if self.first is None:
            ids = parse_ids(text)
            self.first = (
                next(iter(queries)) if isinstance(queries, list) else Query(f"id:{ids[0]}", (ids[0],)) if ids else None
            )
        return queries

    def _line(self, line: Line) -> list[Query | Failure]:
        """Look up a line of stdin, or report it."""
        try:
            found = list(self._look_up(checked(line)))
        except EmbtoolError as error:
            return [self._report(error, line if isinstance(line, str) else None)]
        if self.verbose:
            tell_readings(self.table.vocabulary, ((query.text, query.token) for query in found))
        return [*found]

    def _answer(self, looked: Sequence[Query | Failure], answer: AnswerAll) -> Iterable[Answer | Failure]:
        """Answer queries of stdin together; where one of them fails, each by itself."""
        queries = [found for found in looked if isinstance(found, Query)]
        answered: Iterator[Answer | Failure]
        try:
            answered = iter(answer(queries)) if queries else iter(())
        except EmbtoolError as error:
            if len(queries) == 1:
                answered = iter([self._report(error, queries[0].text)])
            else:
                answered = iter([each for query in queries for each in self._answer([query], answer)])
        return [found if isinstance(found, Failure) else next(answered) for found in looked]

    def _report(self, error: EmbtoolError, text: str | None) -> Failure:
        if self.strict:
            raise error
        report(error, about=text)
        self.failed += 1
        return Failure("query", text, error)


def tell_readings(vocabulary: Vocabulary | None, read: Iterable[tuple[str, Token | None]]) -> None:
    """Say of each text that was read as another token's which one, and which it would be as it was typed."""
    for text, token in read:
        if vocabulary is not None and token is not None and token.text != text and text in vocabulary:
            typed = vocabulary[text]
            note(f"{text!r} is read as {token.text!r}, id {token.id}; as typed it is id {typed.id}, with --exact")


Item = TypeVar("Item")


def in_chunks(queries: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut queries into lists of at most `size`."""
    chunk: list[Item] = []
    for query in queries:
        chunk.append(query)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
