"""What the small files beside a tokenizer say: its class, its switches, and the tokens added to it.

The files are tokenizer_config.json, config.json, and, in older folders, special_tokens_map.json and added_tokens.json.
Which of them counts, and in which order tokens are added, is as transformers has it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from embtool.errors import FormatError
from embtool.storage.source import MOST_VALUES, Source, is_overfull

TOKENIZER = "tokenizer.json"

MODEL_FILES = (
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model"),
    "spm_char.model",
)
"""Names of binary files: SentencePiece's, or tiktoken's lines under the same name, as Llama 3 has them."""

TEKKEN = re.compile(r"[^/]*tekken[^/]*\.json")

Config = Callable[[], Mapping[str, Any]]
"""What gives config.json, decoded; empty where there is none."""

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The purposes of special tokens, in the order in which they are added to a vocabulary that lacks them."""
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
"""What else an added token says: how it is found in a text."""

LARGEST_NUMBER = 10
"""Digits of the largest token id that is written out."""


@dataclass(frozen=True)
class Settings:
    """The files, each an object of JSON; empty where the folder has none.

    Attributes:
        tokenizer: tokenizer_config.json.
        special: special_tokens_map.json, where it counts.
        added: added_tokens.json, where it counts.
        config: reads config.json, which is asked only where no other file names the class.
    """

    tokenizer: Mapping[str, Any]
    special: Mapping[str, Any]
    added: Mapping[str, Any]
    config: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)

    @classmethod
    def read(
        cls,
        has: Callable[[str], bool],
        read: Callable[[str], Mapping[str, Any]],
        config: Callable[[], Mapping[str, Any]],
    ) -> "Settings":
        """Read the files that a folder has: `has` tells whether it has one, `read` decodes it."""
        tokenizer = read("tokenizer_config.json") if has("tokenizer_config.json") else {}
        is_older = "added_tokens_decoder" not in tokenizer
        special, added = (
            read(file) if is_older and has(file) else {} for file in ("special_tokens_map.json", "added_tokens.json")
        )
        return cls(tokenizer, special, added, config)

    @cached_property
    def name(self) -> str | None:
        """The class that the folder names, or None."""
        from embtool.vocabulary.classes import named_class  # noqa: PLC0415 - a table of all classes, and these stand on it

        return named_class(self.tokenizer, {}) or named_class(self.tokenizer, self.config())

    @property
    def model_type(self) -> str | None:
        """The type of the model, where config.json says it."""
        kind = self.config().get("model_type")
        return kind if isinstance(kind, str) else None

    def flag(self, key: str, otherwise: bool | None) -> bool | None:  # noqa: FBT001 - reads as a table: flag(key, default)
        """Return a switch of tokenizer_config.json."""
        value = self.tokenizer.get(key)
        return value if isinstance(value, bool) else otherwise

    def text(self, key: str, otherwise: str) -> str:
        """Return a text of tokenizer_config.json."""
        value = self.tokenizer.get(key)
        return value if isinstance(value, str) and value else otherwise

    def named(self, role: str, otherwise: str | None = None) -> str | None:
        """Return the content of the token with a purpose, such as `bos_token`; None where there is none."""
        found = self._named(role, otherwise)
        return None if found is None else str(found["content"])

    def described(self, role: str) -> dict[str, Any] | None:
        """Return the token with a purpose where a file says how it is found in a text; None where none says that."""
        return self._named(role, None) if _is_object(self, role) else None

    def _named(self, role: str, otherwise: str | None) -> dict[str, Any] | None:
        value = self.special.get(role, self.tokenizer.get(role, otherwise))
        return None if value is None or value == "" else _token(value, role, special=True)

    def tokens(
        self,
        names: Mapping[str, str] | None = None,
        more: Iterable[str] = (),
        *,
        mask_takes_space: bool = False,
        strips: Collection[str] = (),
    ) -> list[dict[str, Any]]:
        """List the tokens that are added, in their order, as tokenizer.json would have them, without ids.

        Args:
            names: the special tokens of the class, by purpose, where the folder does not name others.
            more: further special tokens of the class.
            mask_takes_space: whether the mask of the class takes the space before it with it.
            strips: the purposes of tokens that take the spaces on both sides with them.

        Raises:
            FormatError: a file has something else in the place of a token.
        """
        listed = {token["content"]: token for _, token in self.numbered()}
        names = names or {}
        for role in dict.fromkeys((*ROLES, *names, *self._further_roles())):
            token = self._named(role, names.get(role))
            if token is None:
                continue
            known = listed.setdefault(token["content"], token)
            known["special"] = True
            if token is known and not _is_object(self, role):
                known["lstrip"] |= role in strips or (role == "mask_token" and mask_takes_space)
                known["rstrip"] |= role in strips
        for content in (*more, *self._extra()):
            token = _token(content, "additional_special_tokens", special=True)
            listed.setdefault(token["content"], token)["special"] = True
        return [token for token in listed.values() if token["content"]]

    def numbered(self) -> list[tuple[int, dict[str, Any]]]:
        """List the tokens that a file names with their ids, in the order of these."""
        decoder = self.tokenizer.get("added_tokens_decoder", {})
        if not isinstance(decoder, dict) or not all(isinstance(entry, dict) for entry in decoder.values()):
            raise FormatError("added_tokens_decoder in tokenizer_config.json is not a table")
        if not all(_is_number(place) for place in decoder):
            raise FormatError("added_tokens_decoder in tokenizer_config.json has an invalid id")
        found = {int(place): _token(entry, "added_tokens_decoder") for place, entry in decoder.items()}
        names = {self.named(role) for role in ROLES}
        names |= {_token(token, "additional_special_tokens")["content"] for token in _own(self.tokenizer)}
        for content, place in self.added.items():
            if type(place) is not int or place < 0:
                raise FormatError(f"added_tokens.json has no id for {content!r}")
            found[place] = _token(content, "added_tokens.json", special=content in names)
        return sorted(found.items())

    def _extra(self) -> list[Any]:
        """List the further special tokens: those of a table, and of the lists those of tokenizer_config.json first."""
        tables = (file.get("extra_special_tokens") for file in (self.tokenizer, self.special))
        named = [token for table in tables if isinstance(table, dict) for token in table.values() if token is not None]
        own = _own(self.tokenizer)
        is_last = bool(named) and own == _listed(self.tokenizer, "additional_special_tokens")  # beside a table
        listed = [*([] if is_last else own), *_listed(self.special, "extra_special_tokens")]
        return [*named, *(listed or _listed(self.special, "additional_special_tokens") or own)]

    def _further_roles(self) -> list[str]:
        """List the purposes that a model has of its own, such as `image_token`."""
        table = self.tokenizer.get("extra_special_tokens")
        return [
            key
            for key, value in self.tokenizer.items()
            if key.endswith("_token")
            and not (isinstance(table, dict) and key in table)
            and (isinstance(value, str) or (isinstance(value, dict) and value.get("__type") == "AddedToken"))
        ]


def _own(file: Mapping[str, Any]) -> list[Any]:
    return _listed(file, "extra_special_tokens") or _listed(file, "additional_special_tokens")


def _listed(file: Mapping[str, Any], key: str) -> list[Any]:
    """List the tokens under a key."""
    listed = file.get(key)
    return [token for token in listed if token is not None] if isinstance(listed, list) else []


def _is_object(settings: Settings, role: str) -> bool:
    """Return whether a file says itself how a token is found in a text."""
    return isinstance(settings.special.get(role, settings.tokenizer.get(role)), dict)


def _is_number(place: str) -> bool:
    return place.isdecimal() and place.isascii() and len(place) <= LARGEST_NUMBER


def _token(value: Any, where: str, *, special: bool = False) -> dict[str, Any]:
    """Read a token: a text, or an object with its content and flags."""
    if isinstance(value, str):
        return {"content": value, **dict.fromkeys(FLAGS, False), "normalized": not special, "special": special}
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, str):
        raise FormatError(f"{where} in tokenizer_config.json or beside it has a token without a content")
    special = special or value.get("special") is True
    flags = {flag: value.get(flag) is True for flag in FLAGS}
    return {"content": content, **flags, "special": special}


def read_settings(source: Source, config: Config | None = None) -> Settings:
    """Read the small files of a model; `config` gives its config.json, where that has been read already."""

    def read(file: str) -> dict[str, Any]:
        return decode_json(source.read_file(file), file)

    @cache
    def of_model() -> Mapping[str, Any]:
        try:
            return read("config.json") if source.has("config.json") else {}
        except FormatError:  # who asks for the config is told
            return {}

    return Settings.read(source.has, read, config or of_model)


def decode_json(data: bytes, file: str) -> dict[str, Any]:
    """Decode a JSON object of a model's file.

    Raises:
        FormatError: it is not UTF-8, not JSON, or not an object.
    """
    if is_overfull(data):
        raise FormatError(f"{file} holds more than {MOST_VALUES:,} values, more than any tokenizer needs")
    try:
        decoded = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise FormatError(f"{file} is not a JSON object")
    return decoded


def decode_text(data: bytes, file: str) -> str:
    """Decode a text of a model's file.

    Raises:
        FormatError: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error
