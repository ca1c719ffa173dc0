"""What the reader has done: kept in the user's state folder, written so that no reader sees half of it."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_state_path

from embtool.errors import FormatError, trying_to
from embtool.settings import read_json, user_file, write_json

RESET = "run `embtool learn --reset` to begin anew"


@dataclass(frozen=True)
class Done:
    """One step done: on which model, and how many of its guesses were right."""

    model: str
    right: int
    asked: int


def progress_file() -> Path:
    """Return where progress is kept."""
    return user_file(user_state_path, "lesson.json")


def read_progress() -> dict[int, Done]:
    """Read which steps are done.

    Raises:
        FormatError: the file is there but is not what `save_progress` writes.
        LocalFailure: it cannot be read.
    """
    path = progress_file()
    try:
        kept = read_json(path)
        if kept is None:
            return {}
        return {int(number): _done(entry) for number, entry in kept["steps"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path} is not the progress of a lesson", hint=RESET) from error


def _done(entry: Mapping[str, object]) -> Done:
    model, right, asked = entry["model"], entry["right"], entry["asked"]
    if not isinstance(model, str) or type(right) is not int or type(asked) is not int:
        raise TypeError("not a step")
    return Done(model, right, asked)


def save_progress(steps: Mapping[int, Done]) -> None:
    """Keep which steps are done.

    Raises:
        LocalFailure: the folder cannot be written.
    """
    kept = {str(number): asdict(done) for number, done in sorted(steps.items())}
    write_json(progress_file(), {"steps": kept})


def forget() -> None:
    """Forget all progress, whatever the file holds.

    Raises:
        LocalFailure: the file cannot be removed.
    """
    path = progress_file()
    with trying_to(f"remove {path}"), contextlib.suppress(NotADirectoryError):
        path.unlink(missing_ok=True)
