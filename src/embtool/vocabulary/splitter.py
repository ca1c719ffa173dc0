"""What splits text where no tokenizer.json does: the few calls of the tokenizers library that a vocabulary makes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ids:
    """The token ids of a text."""

    ids: list[int]


class Splitter(ABC):
    """Splits text into token ids."""

    @abstractmethod
    def split(self, text: str) -> list[int]:
        """Split a text, with nothing put around it."""

    def begin(self) -> list[int]:
        """Return what stands before a sequence: nothing, unless the file says."""
        return []

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Ids:
        """Split a text; `add_special_tokens` puts before it what begins a sequence."""
        return Ids([*(self.begin() if add_special_tokens else []), *self.split(text)])

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts."""
        return [self.encode(text, add_special_tokens=add_special_tokens) for text in texts]
