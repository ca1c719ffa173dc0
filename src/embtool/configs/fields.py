"""One JSON object of a file of settings, read field by field, each with a type."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from embtool.errors import ConfigError

LARGEST = 2**53
"""No count in a config is larger: beyond it JSON numbers are no longer whole."""

SHOWN_LENGTH = 40
"""Characters of a wrong value that an error quotes: enough to find it, too few to fill a screen."""


@dataclass(frozen=True)
class Fields:
    """One JSON object of a config file, read field by field, each with a type.

    A getter returns None for a field that is absent or null, and raises `ConfigError` naming the file and the whole
    path of the field when its value has another type. `spelled` gives the name of a path in a file that has other
    names than config.json, such as a GGUF file.
    """

    mapping: Mapping[str, Any]
    file: str
    path: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict, repr=False)

    def name(self, key: str) -> str:
        """The path of a field as a person would write it, such as `text_config.head_dim`."""
        path = ".".join((*self.path, key))
        return self.spelled.get(path, path)

    def error(self, key: str, must: str) -> ConfigError:
        """The error that says what a field must be, and what it is."""
        return ConfigError(f"{self.file}: {self.name(key)} must be {must}, not {shown(self.mapping.get(key))}")

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.mapping.get(key) is not None

    def _get(self, key: str, must: str, convert: Callable[[Any], Any]) -> Any:
        value = self.mapping.get(key)
        if value is None:
            return None
        converted = convert(value)
        if converted is None:
            raise self.error(key, must)
        return converted

    def integer(self, key: str, *, minimum: int = 0) -> int | None:
        """A whole number of at least `minimum`; 4096.0 counts as one."""
        value: int | None = self._get(key, "a whole number", whole)
        if value is not None and not minimum <= value <= LARGEST:
            raise self.error(key, f"between {minimum} and 2^53")
        return value

    def number(self, key: str) -> float | None:
        """A finite number."""
        value: float | None = self._get(key, "a number", _finite)
        return value

    def boolean(self, key: str) -> bool | None:
        """True or false."""
        value: bool | None = self._get(key, "true or false", lambda value: value if isinstance(value, bool) else None)
        return value

    def string(self, key: str) -> str | None:
        """A string."""
        value: str | None = self._get(key, "a string", lambda value: value if isinstance(value, str) else None)
        return value

    def section(self, key: str) -> "Fields | None":
        """A nested object."""
        value = self._get(key, "an object", lambda value: value if isinstance(value, Mapping) else None)
        return None if value is None else Fields(value, self.file, (*self.path, key), self.spelled)

    def _list(self, key: str, must: str, convert: Callable[[Any], Any]) -> tuple[Any, ...] | None:
        value = self._get(key, must, lambda value: value if isinstance(value, list | tuple) else None)
        if value is None:
            return None
        converted = tuple(convert(item) for item in value)
        if None in converted:
            raise self.error(key, must)
        return converted

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of finite numbers."""
        return self._list(key, "a list of numbers", _finite)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers; true and false count as 1 and 0, as they do in some `no_rope_layers`."""
        return self._list(
            key, "a list of whole numbers", lambda value: int(value) if isinstance(value, bool) else whole(value)
        )

    def strings(self, key: str) -> tuple[str, ...] | None:
        """A list of strings."""
        return self._list(key, "a list of strings", lambda item: item if isinstance(item, str) else None)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def whole(value: Any) -> int | None:
    """Return a whole number, 4096.0 too; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def shown(value: Any) -> str:
    """Return a wrong value as an error quotes it."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        return "a number beyond 2^53"  # printing it could take minutes: integers of 10^5 digits are legal JSON
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
