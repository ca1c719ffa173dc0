"""What splits text where no tokenizer.json does: the few calls of the tokenizers library that a vocabulary makes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ids:
    """The token ids of a text."""

    ids: list[int]


class Splitter(ABC):
    """Splits text into token ids; `begin` and `end` are those that stand around a sequence."""

    def __init__(self, begin: Sequence[int] = (), end: Sequence[int] = ()) -> None:
        self._begin = begin
        self._end = end

    @abstractmethod
    def split(self, text: str) -> list[int]:
        """Split a text, with nothing put around it."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Ids:
        """Split a text; `add_special_tokens` puts around it what begins and ends a sequence."""
        found = self.split(text)
        return Ids([*self._begin, *found, *self._end] if add_special_tokens else found)

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts."""
        return [self.encode(text, add_special_tokens=add_special_tokens) for text in texts]
