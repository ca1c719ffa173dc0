"""A vocabulary of words, as static embeddings have: the place of a word is its id, and a piece stands for itself."""

from collections.abc import Callable, Mapping, Sequence

from embtool.vocabulary.entries import MemoryEntries, Traits
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.spelling import WORDS
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary


def read_words(words: Callable[[], list[str]], file: str, *, key: str) -> Vocabulary:
    """Make a vocabulary of words, which are read when they are needed; `key` names their index in the cache."""

    def parse() -> MemoryEntries:
        traits = Traits(WORDS, None, None, faithful=True, composes=False)
        entries = MemoryEntries(dict(enumerate(words())), {}, traits)
        write_index(key, entries)
        return entries

    def load() -> "_Splitter":
        return _Splitter({word: place for place, word in reversed(list(enumerate(words())))})

    return Vocabulary(f"{file}, words", parse, load, quick=lambda: open_index(key))


class _Splitter(Splitter):
    """Splits text at white space; a word that has no vector is left out, as gensim leaves it out."""

    def __init__(self, places: Mapping[str, int]) -> None:
        super().__init__()
        self._places = places

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Look up each word of the texts."""
        return [[self._places[word] for word in text.split() if word in self._places] for text in texts]
