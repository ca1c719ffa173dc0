"""Building the whole tokenizer of a tokenizer.json, which splits text: in this process, or in one of its own."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from embtool.errors import FormatError
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.ordinary import LONGEST, LONGEST_PIECE, judge, parts_at_spaces
from embtool.vocabulary.words import is_of_library


def tokenizer_of(data: bytes) -> Any:
    """Build the library's tokenizer from a tokenizer.json."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only where a text is split

    return Tokenizer.from_buffer(data)


def loader(data: bytes, file: str, *, splits_special: bool = False) -> Callable[[], Any]:
    """Make what builds the whole tokenizer, when a text must be split.

    Args:
        data: a tokenizer.json.
        file: its name, for messages.
        splits_special: whether a special token that stands in a text is split like any other text.
    """

    def load() -> Any:
        judgement = judge(data)
        confined = Confined(data, file, splits_special=splits_special)
        if judgement.unusual is not None:
            return confined
        with _translated(file):
            tokenizer = tokenizer_of(data)
        if _may_panic(tokenizer):
            return confined
        tokenizer.no_padding()  # sentence models save both, and a text would be 128 tokens long, or cut
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = splits_special
        return _Ordinary(tokenizer, judgement.growth, confined, data)

    return load


def _may_panic(tokenizer: Any) -> bool:
    """Tell whether an added token may be found where nothing is, or in the spaces that the one before it takes.

    There the library panics, with lines of its own on stderr.
    """
    tokens, normalizer = tokenizer.get_added_tokens_decoder().values(), tokenizer.normalizer
    takes = any(token.rstrip for token in tokens)
    return any(
        (takes and token.content[:1].isspace())
        or (token.normalized and normalizer is not None and not normalizer.normalize_str(token.content))
        for token in tokens
    )


SHORT_TEXT = 4096
"""Characters of a text that Unigram splits at once, however long its pieces: time grows with the product of both."""


FEW = 1024
"""Characters of texts that are split one after another: waiting for the library's other threads, which may be busy with
long texts, would take longer."""


class _Ordinary:
    """A tokenizer in this process; a text that its steps could make very long is split in another one."""

    def __init__(self, tokenizer: Any, growth: int, confined: Confined, data: bytes) -> None:
        self._tokenizer = tokenizer
        self._growth = growth
        self._confined = confined
        self._data = data

    @cached_property
    def parts_at_spaces(self) -> bool:
        """Whether it is known to look at no two words together."""
        return parts_at_spaces(self._data)

    @cached_property
    def _is_slow(self) -> bool:
        """Tell whether a long text may take very long."""
        vocabulary = self._tokenizer.get_vocab() if type(self._tokenizer.model).__name__ == "Unigram" else ()
        return any(len(piece) > LONGEST_PIECE for piece in vocabulary)

    def _place(self, texts: Sequence[str]) -> Any:
        longest = max(texts, key=len, default="")
        most = (
            4 * len(longest)
            if 4 * len(longest) * self._growth <= LONGEST
            else max(len(each.encode()) for each in texts)
        )
        is_slow = len(longest) > SHORT_TEXT and self._is_slow
        return self._confined if is_slow or most * self._growth > LONGEST else self._tokenizer

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Any:
        """Split a text."""
        return self._place([text]).encode(text, add_special_tokens=add_special_tokens)

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> Any:
        """Split several texts; where their tokens stand in them is not looked for, which is quicker."""
        place = self._place(texts)
        if place is self._tokenizer and sum(map(len, texts)) <= FEW:
            return [place.encode(each, add_special_tokens=add_special_tokens) for each in texts]
        split = place.encode_batch_fast if place is self._tokenizer else place.encode_batch
        return split(texts, add_special_tokens=add_special_tokens)


class _translated:  # noqa: N801 - reads as a statement: with _translated(file)
    """Turn what the tokenizers library raises, a bare Exception or a panic of its Rust code, into a FormatError."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not is_of_library(error):
            return
        raise FormatError(f"{self.file} is not a tokenizer: {error}") from error
