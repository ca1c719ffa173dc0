"""A vocabulary of words, as static embeddings have: the place of a word is its id, and a piece stands for itself."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from embtool.vocabulary.entries import MemoryEntries, Traits
from embtool.vocabulary.index import open_index, write_index
from embtool.vocabulary.spelling import WORDS
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary


def read_words(words: Callable[[], list[bytes]], file: str, *, key: str) -> Vocabulary:
    r"""Make a vocabulary of words, which are read when they are needed; `key` names their index in the cache.

    A word that is not UTF-8 has a piece in which `\xNN` stands for each byte that does not fit, and keeps its bytes.
    """

    def parse() -> MemoryEntries:
        pieces, others = _spell(words())
        traits = Traits({**WORDS, "bytes": others}, None, None, faithful=True, composes=False)
        entries = MemoryEntries(dict(enumerate(pieces)), {}, traits)
        write_index(key, entries)
        return entries

    def load() -> "_Splitter":
        return _Splitter({word: place for place, word in reversed(list(enumerate(_spell(words())[0])))})

    return Vocabulary(f"{file}, words", parse, load, quick=lambda: open_index(key))


def few_words(words: Sequence[str], file: str) -> Vocabulary:
    """Make a vocabulary of a few words, which are known."""
    traits = Traits({**WORDS, "bytes": {}}, None, None, faithful=True, composes=False)
    entries = MemoryEntries(dict(enumerate(words)), {}, traits)
    places = {word: place for place, word in reversed(list(enumerate(words)))}
    return Vocabulary(f"{file}, words", lambda: entries, lambda: _Splitter(places))


def _spell(words: list[bytes]) -> tuple[list[str], dict[str, str]]:
    """Return a piece for each word, and the bytes, in hex, of the pieces whose words are not UTF-8."""
    with suppress(UnicodeDecodeError):
        return b"\n".join(words).decode().split("\n"), {}
    taken = {word.decode() for word in words if is_utf8(word)}
    pieces: dict[bytes, str] = {}
    for word in words:
        if word not in pieces and not is_utf8(word):
            piece = word.decode("utf-8", "backslashreplace")
            while piece in taken:  # another word may be written like it
                piece += "\\"
            taken.add(piece)
            pieces[word] = piece
    spelled = [pieces[word] if word in pieces else word.decode() for word in words]
    return spelled, {piece: word.hex() for word, piece in pieces.items()}


def is_utf8(word: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Splitter(Splitter):
    """Splits text at white space; a word that has no vector is left out, as gensim leaves it out."""

    def __init__(self, places: Mapping[str, int]) -> None:
        super().__init__()
        self._places = places

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Look up each word of the texts."""
        return [[self._places[word] for word in text.split() if word in self._places] for text in texts]
