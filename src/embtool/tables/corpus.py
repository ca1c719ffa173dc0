"""How often a corpus uses each token: texts of any length, in bounded memory, on all cores.

A text is split as a whole. One that is too long for that is split in parts, and cut only where its tokens are the same
with and without the cut: what stands before a place is split by itself and together with what follows, and the second
must begin with the tokens of the first. A part is split with that beginning before it, whose tokens are then dropped,
so that what a tokenizer does to the start of a text is not done to a part. Where no such place is found the text is cut
all the same, and that is counted.

Most tokenizers end a token before each space that follows a word, and begin there as they would anywhere. What stands
between two such places is counted first, and split once, however often it is used.
"""

import codecs
import collections
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import BinaryIO

from embtool.arrays import Ints, np
from embtool.errors import UnsupportedFormat, trying_to
from embtool.storage.impostors import LONGEST_MAGIC, impostor
from embtool.vocabulary import Vocabulary

Counts = Ints

PART = 1 << 15
"""Characters of a part: enough that the cuts cost little, and not so many that a core waits for the others' last."""

AHEAD = 1 << 13
"""Characters after that in which a place to cut is looked for."""

LEAD = 64
"""Characters before a cut, and after it, that tell whether the tokens are the same; the part is split after them."""

TRIED = 6
"""Places of each kind that are tried."""

BATCH = 1 << 19
"""Characters split together by one thread: the library needs a hundred bytes for each token in hand."""

BLOCK = 1 << 20
"""Bytes read at a time."""

WORD = re.compile(r" (?<=\S )")
"""A space after what is none: where a word begins, for tokenizers with `parts_at_spaces`."""

MOST_WORDS = 1 << 18
"""Words that are counted before they are split: some 30 MB."""

MOST_READ = 1 << 25
"""Characters that are read before their words are split: where no word comes twice, all of them are held."""

REPLACEMENT = "\ufffd"
"""What stands for bytes that are not UTF-8."""

PLACES = tuple(
    map(
        re.compile,
        (
            r"(?<=\S\n)(?=\S)",
            r"(?<=\S)(?=\n\S)",
            r"(?<=\S)(?= \S)",
            r"(?<=\S )(?=\S)",
            r"(?<=[^\w\s])(?=\w)",
            r"(?<=\w)(?=[^\w\s])",
        ),
    )
)
"""Places at which tokenizers end tokens: around the end of a line, around a space, around punctuation."""


@dataclass
class Tally:
    """What was counted so far.

    Attributes:
        counts: how often each id was used, int64 (ids,).
        texts: how many texts there were.
        unsure: how many cuts may have changed the tokens around them.
    """

    counts: Counts
    texts: int = 0
    unsure: int = 0

    @property
    def tokens(self) -> int:
        """How many tokens were counted."""
        return int(self.counts.sum())


@dataclass
class Text:
    """The text of a file, read as it is needed.

    Attributes:
        name: what the file is called.
        file: where it is read from.
        size: how many bytes were read so far.
        replaced: how many of these are not UTF-8.
        zeros: how many of these are zero, which no text has.
        head: the first of them.
    """

    name: str
    file: BinaryIO
    size: int = 0
    replaced: int = 0
    zeros: int = 0
    head: bytes = b""

    def __iter__(self) -> Iterator[str]:
        """Yield what it says, a block at a time, with U+FFFD for what is not UTF-8.

        Raises:
            UnsupportedFormat: it begins like an archive, or another file that is no text.
            LocalFailure: the system does not let it be read.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        is_last = False
        while not is_last:
            held = decoder.getstate()[0]
            with trying_to(f"read {self.name}"):
                data = self.file.read(BLOCK)
            is_last = not data
            said = decoder.decode(data, final=is_last)
            zeros = data.count(0)
            if not self.size and (zeros or REPLACEMENT in said):
                kind = impostor(data)
                if kind is not None:
                    unpack = kind.hint if (kind.hint or "").startswith("unpack") else None
                    hint = unpack or "a corpus is plain text: write its texts into a file, or pipe them in, --count -"
                    raise UnsupportedFormat(f"{self.name} is no text, but looks like {kind.what}", hint=hint)
            self.zeros += zeros
            if REPLACEMENT in said:
                # U+FFFD that the data itself has, three bytes in UTF-8, replaces nothing.
                decoded, own = (held + data).removesuffix(decoder.getstate()[0]), REPLACEMENT.encode()
                kept = len(said.encode()) - len(own) * (said.count(REPLACEMENT) - decoded.count(own))
                self.replaced += len(decoded) - kept
            self.head = self.head or data[:LONGEST_MAGIC]
            self.size += len(data)
            if said:
                yield said


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    r"""Yield the lines of a text, each without its end, `\n` or `\r\n`.

    >>> list(lines_of(["a\nb", "c\r\n\nd"]))
    ['a', 'bc', '', 'd']
    """
    begun: list[str] = []
    for block in blocks:
        first, *rest = block.split("\n")
        begun.append(first)
        if rest:
            whole = ["".join(begun), *rest]
            begun = [whole.pop()]
            yield from (line.removesuffix("\r") for line in whole)
    if any(begun):
        yield "".join(begun).removesuffix("\r")


@dataclass(frozen=True)
class _Part:
    """A part of a text, what stands before it, and how many tokens that is; `times` tells how often it is there."""

    lead: str
    dropped: int
    body: str
    times: int = 1


@dataclass
class _Words:
    """Words of a corpus, and how often each is there.

    Attributes:
        plain: those that follow a space, without it.
        edges: words with what stands before them: the first of a text, and of a block.
        read: how many characters that is in all.
    """

    plain: collections.Counter[str] = field(default_factory=collections.Counter)
    edges: collections.Counter[str] = field(default_factory=collections.Counter)
    read: int = 0

    def add(self, text: str) -> str:
        """Add the words of a text but its last, which may go on, and return that."""
        first, *others = WORD.split(text)
        if not others:
            return first
        last = others.pop()
        self.end(first)
        self.plain.update(others)
        self.read += len(text) - len(first) - len(last)
        return " " + last

    def end(self, word: str) -> None:
        """Add a word with what stands before it."""
        self.edges[word] += 1
        self.read += len(word)

    @property
    def are_many(self) -> bool:
        """Whether it is time to split them."""
        return self.read > MOST_READ or len(self.plain) + len(self.edges) > MOST_WORDS

    def texts(self, longest: int) -> Iterator[tuple[str, int]]:
        """Yield texts that these words make up, and how often each is there; a longer one is one word."""
        yield from self.edges.items()
        for times, group in groupby(sorted(self.plain.items(), key=itemgetter(1)), key=itemgetter(1)):
            held: list[str] = []
            size = 0
            for word, _ in group:
                if held and size + len(word) > longest:
                    yield " " + " ".join(held), times
                    held, size = [], 0
                held.append(word)
                size += len(word) + 1
            yield " " + " ".join(held), times


class Counter:
    """Counts the tokens of texts of one vocabulary, over at least `rows` ids.

    Raises:
        FormatError: its tokenizer cannot split a text.
        NoVocabulary: it is not known how text is split.
    """

    def __init__(self, vocabulary: Vocabulary, rows: int = 0, *, part: int = PART) -> None:
        self._vocabulary = vocabulary
        self._part = part
        self._places = list(PLACES)
        highest = int(vocabulary.ids[-1]) if len(vocabulary) else -1
        self.tally = Tally(np.zeros(max(rows, highest + 1), np.int64))

    def count(self, texts: Iterable[str | Iterable[str]]) -> None:
        """Add texts, each a text or the blocks of one, in as many threads as there are cores."""
        threads = os.cpu_count() or 1
        waiting: collections.deque[Future[Counts]] = collections.deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for batch in self._batches(texts):
                    waiting.append(pool.submit(self._split, batch))
                    if len(waiting) > threads:
                        self._add(waiting.popleft().result())
                while waiting:
                    self._add(waiting.popleft().result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _add(self, counts: Counts) -> None:
        self.tally.counts[: len(counts)] += counts

    def _batches(self, texts: Iterable[str | Iterable[str]]) -> Iterator[list[_Part]]:
        """Yield parts, as many together as one thread takes."""
        batch: list[_Part] = []
        size = 0
        for part in self._parts(texts):
            batch.append(part)
            size += len(part.body) + 1
            if size >= BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _parts(self, texts: Iterable[str | Iterable[str]]) -> Iterator[_Part]:
        """Cut texts; where a vocabulary parts at spaces, count their words, and yield those that came together once."""
        words, parts_at_spaces = _Words(), self._vocabulary.parts_at_spaces
        for text in texts:
            self.tally.texts += 1
            if not parts_at_spaces:
                yield from self._cut(text)
                continue
            blocks, rest = iter([text] if isinstance(text, str) else text), ""
            for block in blocks:
                rest = words.add(rest + block)
                if words.are_many:
                    yield from self._of(words)
                    words = _Words()
                if len(rest) > self._part:  # no space comes: the rest is a text that begins there
                    yield from self._cut(chain([rest], blocks))
                    break
            else:
                words.end(rest)
        yield from self._of(words)

    def _of(self, words: _Words) -> Iterator[_Part]:
        return (replace(part, times=times) for text, times in words.texts(self._part) for part in self._cut(text))

    def _split(self, batch: Sequence[_Part]) -> Counts:
        """Count the tokens of parts: int64 (ids,)."""
        split = self._vocabulary.encode_each([part.lead + part.body for part in batch])
        ids = [np.array(found, np.int64)[part.dropped :] for part, found in zip(batch, split, strict=True)]
        if all(part.times == 1 for part in batch):
            return np.bincount(np.concatenate(ids), minlength=1)
        times = np.repeat([part.times for part in batch], [len(found) for found in ids])
        return np.bincount(np.concatenate(ids), times, minlength=1).astype(np.int64)  # exact below 2^53

    def _cut(self, text: str | Iterable[str]) -> Iterator[_Part]:
        """Cut a text into parts."""
        if isinstance(text, str) and len(text) <= self._part:
            yield _Part("", 0, text)
            return
        lead, dropped, held, start = "", 0, "", 0
        for block in [text] if isinstance(text, str) else text:
            held, start = held[start:] + block, 0
            while len(held) - start > self._part + AHEAD + LEAD:
                place, more = self._place(held, start + self._part)
                yield _Part(lead, dropped, held[start:place])
                lead, dropped, start = held[max(place - LEAD, 0) : place], more, place
        if start < len(held):
            yield _Part(lead, dropped, held[start:])

    def _place(self, text: str, first: int) -> tuple[int, int]:
        """Find where to cut a text, from `first` on: the place, and how many tokens what stands before it is."""
        for kind in self._places:
            for match in islice(kind.finditer(text, first, first + AHEAD), TRIED):
                place = match.start()
                lead, behind = text[max(place - LEAD, 0) : place], text[place : place + LEAD]
                alone, both = self._vocabulary.encode_each([lead, lead + behind])
                tokens = len(alone) if both[: len(alone)] == alone else None
                if tokens is not None:
                    self._places.remove(kind)
                    self._places.insert(0, kind)
                    return match.start(), tokens
        self.tally.unsure += 1
        return first, len(self._vocabulary.encode_each([text[max(first - LEAD, 0) : first]])[0])
