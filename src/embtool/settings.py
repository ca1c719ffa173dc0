"""What the user chose once and for all: the default model.

It is kept in the user's configuration folder, written so that a reader never sees half of it.
"""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from embtool.errors import FormatError, LocalFailure, trying_to
from embtool.storage.places import read_regular
from embtool.storage.replacing import flush, replacing

SETTINGS_LIMIT = 1 << 20
"""Bytes of a small file of the user's: settings, or the progress of a lesson."""

SAVED = "saved by `embtool use`"
"""Why a model is asked that nobody named."""

MODEL_VARIABLE = "EMBTOOL_MODEL"
BUNDLED = "mini"

BUNDLED_MODELS = (BUNDLED, "mini-gpt2", "qwen3.6-settings")
"""The models that come with embtool: the one asked where none is named, a small GPT, the settings of a large model."""


def settings_file() -> Path:
    """Return where the choice is kept."""
    return user_file(user_config_path, "settings.json")


def user_file(folder: Callable[[str], Path], name: str) -> Path:
    """Name a file in a folder of the user's; the path is not absolute where there is no home folder."""
    try:
        return folder("embtool") / name
    except RuntimeError:
        return Path("~", name)


def saved_model() -> str | None:
    """Read the saved default model, or None if there is none.

    Raises:
        FormatError: the file is there but is not what `save_model` writes.
    """
    path = settings_file()
    try:
        settings = read_json(path)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON", hint="run `embtool use MODEL` to write it anew") from error
    model = settings.get("model") if isinstance(settings, dict) else None
    if model is not None and not isinstance(model, str):
        raise FormatError(f"model in {path} is not a text", hint="run `embtool use MODEL` to write it anew")
    return model


def save_model(model: str | None) -> Path:
    """Save the default model, or forget it with None; return the file. What else the file holds is left as it is.

    Raises:
        LocalFailure: the folder cannot be written.
    """
    path = settings_file()
    kept: object = None
    with contextlib.suppress(LocalFailure, ValueError, RecursionError):  # a broken file is replaced
        kept = read_json(path)
    others = {name: value for name, value in kept.items() if name != "model"} if isinstance(kept, dict) else {}
    write_json(path, others if model is None else {**others, "model": model})
    return path


def read_json(path: Path) -> Any:
    """Read a small JSON file of the user's; None where there is none, or no home folder in which it could be.

    Raises:
        LocalFailure: it may not be read, or is no regular file.
        ValueError, RecursionError: it is not JSON.
    """
    if not path.is_absolute():
        return None
    with trying_to(f"read {path}"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return json.loads(read_regular(path, SETTINGS_LIMIT))
    return None


def write_json(path: Path, value: object) -> None:
    """Write a small file of the user's as JSON, at once: a reader never sees half of it.

    Raises:
        LocalFailure: the folder cannot be written.
    """
    if not path.is_absolute():
        raise LocalFailure(f"cannot write {path}: there is no home folder")
    with trying_to(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            flush(file)


def choose_model() -> tuple[str, str]:
    """Choose the model where none was named: the name, and why it is this one."""
    named = os.environ.get(MODEL_VARIABLE, "").strip()
    if named:
        return named, f"from {MODEL_VARIABLE}"
    saved = saved_model()
    if saved is not None:
        return saved, SAVED
    return BUNDLED, "bundled with embtool; name another with -m"
