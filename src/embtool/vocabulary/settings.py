"""What the small files beside a tokenizer say: its class, its switches, and the tokens added to it.

The files are tokenizer_config.json, config.json, and, in older folders, special_tokens_map.json and added_tokens.json.
Which of them counts, and in which order tokens are added, is as transformers has it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from embtool.errors import FormatError
from embtool.storage.impostors import refuse
from embtool.storage.source import MOST_VALUES, Source, is_overfull
from embtool.vocabulary.entries import Added, State
from embtool.vocabulary.spelling import parts

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

EXTRA, ADDITIONAL = "extra_special_tokens", "additional_special_tokens"
"""Names of lists of further special tokens, the newer first, which may be a table."""

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
    def splits_special(self) -> bool:
        """Whether a special token that stands in a text is split like any other text."""
        return bool(self.flag("split_special_tokens", otherwise=False))

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
        bare: bool = False,
    ) -> list[dict[str, Any]]:
        """List the tokens that are added, in their order, as tokenizer.json would have them, without ids.

        Args:
            names: the special tokens of the class, by purpose, where the folder does not name others.
            more: further special tokens of the class.
            mask_takes_space: whether the mask of the class takes the space before it with it.
            strips: the purposes of tokens that take the spaces on both sides with them.
            bare: whether special tokens are found as they stand, however a file says that they are found.

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
            known |= {"special": True, **(dict.fromkeys(FLAGS, False) if bare else {})}
            if token is known and not _is_object(self, role):
                known["lstrip"] |= role in strips or (role == "mask_token" and mask_takes_space)
                known["rstrip"] |= role in strips
        for content in (*more, *self._extra()):
            token = _token(content, "additional_special_tokens", special=True)
            known = listed.setdefault(token["content"], token)
            known |= {"special": True, **(dict.fromkeys(FLAGS, False) if bare else {})}
        return [token for token in listed.values() if token["content"]]

    def numbered(self) -> list[tuple[int, dict[str, Any]]]:
        """List the tokens that a file names with their ids, in the order of these."""
        decoder = self.tokenizer.get("added_tokens_decoder", {})
        if not isinstance(decoder, dict) or not all(isinstance(entry, dict) for entry in decoder.values()):
            raise FormatError("added_tokens_decoder in tokenizer_config.json is not a table")
        if not all(place.isdecimal() and place.isascii() and len(place) <= LARGEST_NUMBER for place in decoder):
            raise FormatError("added_tokens_decoder in tokenizer_config.json has an invalid id")
        found = {int(place): _token(entry, "added_tokens_decoder") for place, entry in decoder.items()}
        names = {self.named(role) for role in ROLES}
        names |= {_token(token, "additional_special_tokens")["content"] for token in _listed(self._further[1], EXTRA)}
        for content, place in self.added.items():
            if type(place) is not int or place < 0:
                raise FormatError(f"added_tokens.json has no id for {content!r}")
            found[place] = _token(content, "added_tokens.json", special=content in names)
        return sorted(found.items())

    def numbers(self, base: Mapping[str, int], contents: Iterable[str]) -> dict[str, int]:
        """Return the ids of a vocabulary and of tokens that are added, in classes that take those of the files.

        Those that a file numbers have its ids, the others follow in turn.
        """
        ids = {**base, **{token["content"]: place for place, token in self.numbered() if token["content"] not in base}}
        following = len(ids)
        for content in contents:
            if content not in ids:
                ids[content] = following
                following += 1
        return ids

    def added_by_id(self) -> dict[int, Added]:
        """Return the tokens that a file names with their ids."""
        return {place: Added(token["content"], token["special"]) for place, token in self.numbered()}

    @property
    def lists_further(self) -> bool:
        """Whether a file lists further special tokens, be the list empty."""
        said = self._further[1]
        return EXTRA in said or said.get(ADDITIONAL) is not None

    def _extra(self) -> list[Any]:
        """List the further special tokens: those of a table, and of the lists that of the newer name if it is there."""
        named, said = self._further
        return [
            *(token for token in named if token is not None),
            *_listed(said, EXTRA if EXTRA in said else ADDITIONAL),
        ]

    @cached_property
    def _further(self) -> tuple[list[Any], Mapping[str, Any]]:
        """The tokens of tables, and the lists by their names, as they stand once both files are read."""
        said = {key: self.tokenizer[key] for key in (EXTRA, ADDITIONAL) if key in self.tokenizer}
        if ADDITIONAL in said and not said.get(EXTRA):
            said[EXTRA] = said.pop(ADDITIONAL)
        named: list[Any] = []
        for more in ({}, {key: self.special[key] for key in (EXTRA, ADDITIONAL) if key in self.special}):
            listed = [*_listed(said, EXTRA), *_listed(more, EXTRA)]
            said |= {**more, EXTRA: listed} if isinstance(more.get(EXTRA), list) else more
            if isinstance(said.get(EXTRA), dict):
                named += said.pop(EXTRA).values()
        return named, said

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


def _listed(file: Mapping[str, Any], key: str) -> list[Any]:
    """List the tokens under a key."""
    listed = file.get(key)
    return [token for token in listed if token is not None] if isinstance(listed, list) else []


def _is_object(settings: Settings, role: str) -> bool:
    """Return whether a file says itself how a token is found in a text."""
    return isinstance(settings.special.get(role, settings.tokenizer.get(role)), dict)


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
        data = source.read_file(file)
        refuse(data, file)
        return decode_json(data, file)

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
    except (ValueError, RecursionError) as error:
        refuse(data, file)
        if isinstance(error, UnicodeDecodeError):
            raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error
        raise FormatError(f"{file} is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise FormatError(f"{file} is not a JSON object")
    return decoded


def decode_text(data: bytes, file: str) -> str:
    """Decode a text of a model's file, which may be empty, as a list of merges is.

    Raises:
        FormatError: it is not UTF-8, or another kind of file.
    """
    if data:
        refuse(data, file)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error


# --- beside a tokenizer.json


BERT_SWITCHES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""The switches of BERT's classes, as tokenizer.json calls them."""

ANY_CLASS = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")
"""Classes that take tokenizer.json as it is."""


@dataclass(frozen=True)
class Beside:
    """What the small files change of a tokenizer.json.

    Tokens that they name, and that it lacks, are added as transformers adds them when it loads both. Where they name a
    class, its switches win, those that are written there; one that is left out changes nothing, whatever the class
    would take it for.

    Attributes:
        tokens: those that are added, without ids.
        found_so: tokens of `added_tokens_decoder`, which are found in a text as it says.
        switches: what wins over tokenizer.json, by the type of the step.
        splits_special: whether a special token that stands in a text is split like any other text.
        unread: what is wrong with the files, where they cannot be read.
    """

    tokens: list[State] = field(default_factory=list)
    found_so: frozenset[str] = frozenset()
    switches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    splits_special: bool = False
    unread: tuple[str, ...] = ()

    def key(self, data: bytes) -> str:
        """Return the name of the index of a tokenizer.json with what is beside it."""
        digest = hashlib.sha256(data)
        digest.update(json.dumps([self.tokens, *sorted(self.found_so)]).encode() if self.tokens else b"")
        digest.update(json.dumps(self.switches).encode() if self.switches else b"")
        return digest.hexdigest()

    def state(self, data: bytes, file: str) -> State:
        """Decode a tokenizer.json, with what is beside it.

        Raises:
            FormatError: it is no JSON.
        """
        refuse(data, file)
        return self._with_added(self._switched(decode_json(data, file)))

    def whole(self, data: bytes, file: str) -> bytes:
        """Return a tokenizer.json, with what is beside it: the bytes of the file where nothing changes.

        Raises:
            FormatError: it is no JSON.
        """
        from embtool.vocabulary.ordinary import listed_tokens, said_everywhere  # noqa: PLC0415 - where a text is split

        refuse(data, file)
        said = [entry for step in self.switches.values() for entry in step.items()]
        if all(said_everywhere(data, key, value) for key, value in said):
            listed = listed_tokens(data)
            if all(self._is_listed(token, listed.get(token["content"])) for token in self.tokens):
                return data
        decoded = decode_json(data, file)
        state = self._with_added(self._switched(decoded))
        return data if state is decoded else json.dumps(state).encode()

    def _is_listed(self, token: State, listed: State | None) -> bool:
        """Return whether a tokenizer.json lists a token as it is to be."""
        flags = FLAGS if token["content"] in self.found_so else ()
        return listed is not None and all(listed.get(flag) is token[flag] for flag in flags)

    def _with_added(self, state: State) -> State:
        """Add the tokens that a decoded file does not list, whose ids follow from their order, and change the flags."""
        listed = state.get("added_tokens")
        listed = listed if isinstance(listed, list) else []
        known = {str(token.get("content")): token for token in listed if isinstance(token, dict)}
        if all(self._is_listed(token, known.get(token["content"])) for token in self.tokens):
            return state
        flags = {token["content"]: token for token in self.tokens if token["content"] in self.found_so}
        changed = [
            {**token, **flags.get(str(token.get("content")), {})} if isinstance(token, dict) else token
            for token in listed
        ]
        new = [{"id": 0, **token} for token in self.tokens if token["content"] not in known]
        return {**state, "added_tokens": [*changed, *new]}

    def _switched(self, state: State) -> State:
        """Change the steps whose switches the files name."""
        found = dict(state)
        for name in ("normalizer", "pre_tokenizer"):
            for step in parts(state.get(name)):
                if any(step.get(key) != value for key, value in self._said(step).items()):
                    part = state[name]
                    inner = {
                        key: [{**step, **self._said(step)} if isinstance(step, dict) else step for step in part[key]]
                        for key in ("normalizers", "pretokenizers")
                        if isinstance(part.get(key), list)
                    }
                    found[name] = {**part, **inner, **self._said(part)}
        return found if any(found[name] is not state[name] for name in state) else state

    def _said(self, step: State) -> Mapping[str, Any]:
        return self.switches.get(str(step.get("type")), {})


def read_beside(source: Source) -> Beside:
    """Read what is beside a tokenizer.json; where it is broken, nothing, and what is broken."""
    try:
        settings = read_settings(source)
        tokens = settings.tokens()
    except FormatError as error:
        return Beside(unread=(error.message,))
    decoder = settings.numbered() if "added_tokens_decoder" in settings.tokenizer else []
    found_so = frozenset(token["content"] for _, token in decoder)
    return Beside(tokens, found_so, switches(settings), settings.splits_special)


def switches(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what the files say of the steps of a tokenizer.json, by the type of the step: only a class has any."""
    if not {*BERT_SWITCHES, "add_prefix_space"} & settings.tokenizer.keys():
        return {}
    if settings.tokenizer.get("tokenizer_class") in ANY_CLASS:
        return {}
    from embtool.vocabulary.classes import CLASSES  # noqa: PLC0415 - a table of all classes

    kind = CLASSES.get(settings.name or "")
    if kind is None:
        return {}
    if kind.recipe == "words":
        said = {theirs: settings.tokenizer[key] for key, theirs in BERT_SWITCHES.items() if key in settings.tokenizer}
        forced = {"lowercase"} if "lowercase" in kind.options else set()
        valid = {key: value for key, value in said.items() if key not in forced and _is_switch(key, value)}
        return {"BertNormalizer": valid} if valid else {}
    prefix = settings.flag("add_prefix_space", None)
    if kind.recipe == "merges" and "suffix" not in kind.options and prefix is not None:
        return {"ByteLevel": {"add_prefix_space": prefix}}
    return {}


def _is_switch(key: str, value: Any) -> bool:
    return isinstance(value, bool) or (value is None and key == "strip_accents")
