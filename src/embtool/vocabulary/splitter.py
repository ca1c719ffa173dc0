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
        self.begin = begin
        self.end = end

    @abstractmethod
    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split several texts, with nothing put around them."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Ids:
        """Split a text; `add_special_tokens` puts around it what begins and ends a sequence."""
        return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts."""
        begin, end = (self.begin, self.end) if add_special_tokens else ((), ())
        return [Ids([*begin, *found, *end]) for found in self.split_each(texts)]
