"""What can go wrong, as one tree.

Every error a user can cause or meet is an `EmbtoolError`. Its message is one lower-case line without a full stop that
names the file and the thing; its hint says what to try. The class carries the exit status of the command line, so that
the one `except` in `embtool.cli` has nothing left to decide. Messages hold foreign strings raw: whoever prints
them passes them through `embtool.answers.text.safe` first.

    EmbtoolError
      SourceError              the bytes could not be had
        ModelNotFound            no such folder, file or repository
        FileNotInModel           the model has no such file
        NoSuchFile               no such file beside the model, such as one with vectors
        AccessDenied             gated, private, or not allowed
        Unreachable              network down, or offline mode
        LocalFailure             this machine: permission, disk, lock
          MissingExtra             a library that is an extra is not installed
        TooLarge                 more bytes than the user allowed
      FormatError              the bytes were had but do not parse
        UnsupportedFormat        a format that is refused by name (pickle, ...)
        UnsupportedDType         a number format that is not known
      ConfigError              config.json lacks a value, or has one of the wrong type
        UnsupportedRope          a rope_type that nobody knows
      NoRope                   this model has no rotary positions
      TableNotFound            no tensor looks like the embedding table asked for
      NoVocabulary             the model has no tokenizer file
      BadReference             not the name of a model: wrong usage (also a ValueError)
      InvalidArgument          a wrong argument or option: wrong usage (also a ValueError)
      Unlike                   two sound things that do not fit each other: wrong usage (also a ValueError)
      UnknownToken             no token, or not one token (also a KeyError)
      TokenIdOutOfRange        no such row (also an IndexError)
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import ClassVar, Self


class EmbtoolError(Exception):
    """The root: one line of `message`, an optional `hint`, and the `exit_status` of the command line."""

    exit_status: ClassVar[int] = 6

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class SourceError(EmbtoolError):
    """The bytes of a model could not be had."""

    exit_status = 5


class ModelNotFound(SourceError):
    """There is no such folder, file, repository or revision."""

    exit_status = 3


class FileNotInModel(SourceError):
    """The model exists, but has no file of this name."""

    exit_status = 3


class NoSuchFile(SourceError):
    """There is no such file on this machine, beside the model: one with vectors, or with questions."""

    exit_status = 3


class AccessDenied(SourceError):
    """The model is gated, private or disabled, or the credentials are refused."""

    exit_status = 4


class Unreachable(SourceError):
    """The network or the server failed, or offline mode forbids to ask."""

    exit_status = 5


class LocalFailure(SourceError):
    """This machine refused: permission, disk full, a lock that is held, a file that is not a regular file."""

    exit_status = 7


EXTRAS = MappingProxyType(
    {
        "gguf": "gguf",
        "resvg-py": "plot",
        "pyarrow": "parquet",
        "sentencepiece": "tokenizers",
        "tiktoken": "tokenizers",
    }
)
"""Libraries that need not be installed, and the extra of embtool that brings each."""


class MissingExtra(LocalFailure):
    """What was asked needs a library that is an extra, and it is not installed on this machine."""

    @classmethod
    def of(cls, library: str, what: str, *, otherwise: str | None = None) -> Self:
        """Say `what` needs a library of `EXTRAS`, how to install it, and what can be done without."""
        ways = (
            f"pip install 'embtool[{EXTRAS[library]}]'",
            f"pipx inject embtool {library}",
            f"uv tool install --with {library} embtool",
        )
        return cls(
            f"{what} {library}, which is not installed",
            hint=", or ".join((*ways, *((otherwise,) if otherwise else ()))),
        )


class TooLarge(SourceError):
    """More bytes would have to be fetched than the user allowed."""

    exit_status = 7


class FormatError(EmbtoolError):
    """The bytes were had, but they are malformed, truncated or hostile."""


class UnsupportedFormat(FormatError):
    """A checkpoint format that embtool does not read, or refuses to read."""


class UnsupportedDType(FormatError):
    """A tensor whose number format embtool cannot decode."""


class ConfigError(EmbtoolError):
    """config.json lacks a value that is needed, or holds one of the wrong type."""


class UnsupportedRope(ConfigError):
    """A rope_type that is not known; it is never treated as the default."""


class NoRope(EmbtoolError):
    """The model has no rotary positions."""

    exit_status = 3


class TableNotFound(EmbtoolError):
    """No tensor of the checkpoint looks like the embedding table asked for."""

    exit_status = 3


class NoVocabulary(EmbtoolError):
    """The model has no tokenizer that could turn text into token ids."""

    exit_status = 3

    def __init__(self, message: str, *, hint: str | None = None, unread: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.unread = tuple(unread)


class BadReference(EmbtoolError, ValueError):
    """The text cannot be the name of a model or of a revision; nothing was asked."""

    exit_status = 2


class InvalidArgument(EmbtoolError, ValueError):
    """An argument or an option that cannot be meant: an unknown metric, a count below 1."""

    exit_status = 2


class Unlike(EmbtoolError, ValueError):
    """Two things are sound, each by itself, and do not fit each other, such as tables of two widths."""

    exit_status = 2


class UnknownToken(EmbtoolError, KeyError):
    """The text is not a token of the vocabulary, or it is several: `pieces` of them."""

    exit_status = 3

    def __init__(self, message: str, *, hint: str | None = None, pieces: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.pieces = pieces


class TokenIdOutOfRange(EmbtoolError, IndexError):
    """There is no row with this token id."""

    exit_status = 3


MODEL_FILE = re.compile(
    r"(?<![\w./-])(?!tokenizer\.ggml)[\w./-]+\.(json|safetensors|gguf|model|txt|tiktoken)(?![\w./-])"
)
"""The name of a model's file in a message."""


@contextlib.contextmanager
def trying_to(what: str) -> Iterator[None]:
    """Raise a LocalFailure where the system refuses what is tried, such as `read ./model/config.json`."""
    try:
        yield
    except OSError as error:
        raise LocalFailure(f"cannot {what}: {error.strerror or error}") from error


@contextlib.contextmanager
def told_of(model: str) -> Iterator[None]:
    """Say in the message of what does not parse whose file it is: several models can be read at once."""
    try:
        yield
    except (FormatError, ConfigError) as error:
        if f" of {model}" not in error.message and not error.message.startswith(model):
            error.message = MODEL_FILE.sub(
                lambda file: model if model.endswith(file[0]) else f"{file[0]} of {model}", error.message, count=1
            )
            error.args = (error.message,)
        raise
