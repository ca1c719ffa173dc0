"""What the small files beside a tokenizer.json change of it.

Tokens that they name, and that it lacks, are added as transformers adds them when it loads both. Where they name a
class, its switches win over what tokenizer.json says, those that are written there; a switch that is left out changes
nothing, whatever the class would take it for.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embtool.errors import FormatError
from embtool.storage.impostors import refuse
from embtool.storage.source import Source
from embtool.vocabulary.entries import State
from embtool.vocabulary.settings import Settings, decode_json, read_settings
from embtool.vocabulary.spelling import parts

BERT_SWITCHES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""The switches of BERT's classes, as tokenizer.json calls them."""


@dataclass(frozen=True)
class Beside:
    """What the files say.

    Attributes:
        tokens: those that are added, without ids.
        switches: what wins over tokenizer.json, by the type of the step.
        splits_special: whether a special token that stands in a text is split like any other text.
        unread: what is wrong with the files, where they cannot be read.
    """

    tokens: list[State] = field(default_factory=list)
    switches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    splits_special: bool = False
    unread: tuple[str, ...] = ()

    def key(self, data: bytes) -> str:
        """Return the name of the index of a tokenizer.json with what is beside it."""
        digest = hashlib.sha256(data)
        digest.update(json.dumps(self.tokens).encode() if self.tokens else b"")
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
        refuse(data, file)
        from embtool.vocabulary.ordinary import listed_tokens, said_everywhere  # noqa: PLC0415 - where a text is split

        said = [entry for step in self.switches.values() for entry in step.items()]
        if all(said_everywhere(data, key, value) for key, value in said) and {
            token["content"] for token in self.tokens
        } <= listed_tokens(data):
            return data
        decoded = decode_json(data, file)
        state = self._with_added(self._switched(decoded))
        return data if state is decoded else json.dumps(state).encode()

    def _with_added(self, state: State) -> State:
        """Add the tokens that a decoded file does not list; their ids follow from their order."""
        listed = state.get("added_tokens")
        listed = listed if isinstance(listed, list) else []
        contents = [token.get("content") for token in listed if isinstance(token, dict)]
        new = [{"id": 0, **token} for token in self.tokens if token["content"] not in contents]
        return {**state, "added_tokens": [*listed, *new]} if new else state

    def _switched(self, state: State) -> State:
        """Change the steps whose switches the files name."""
        found = dict(state)
        for name in ("normalizer", "pre_tokenizer"):
            for step in parts(state.get(name)):
                if any(step.get(key) != value for key, value in self._said(step).items()):
                    found[name] = self._changed(state[name])
        return found if any(found[name] is not state[name] for name in state) else state

    def _changed(self, part: State) -> State:
        """Change a step, or the steps of a sequence."""
        inner = {
            key: [{**step, **self._said(step)} if isinstance(step, dict) else step for step in part[key]]
            for key in ("normalizers", "pretokenizers")
            if isinstance(part.get(key), list)
        }
        return {**part, **inner, **self._said(part)}

    def _said(self, step: State) -> Mapping[str, Any]:
        return self.switches.get(str(step.get("type")), {})


def read_beside(source: Source) -> Beside:
    """Read what is beside a tokenizer.json; where it is broken, nothing, and what is broken."""
    try:
        settings = read_settings(source)
        tokens = settings.tokens()
    except FormatError as error:
        return Beside(unread=(error.message,))
    return Beside(tokens, switches(settings), settings.splits_special)


def switches(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what the files say of the steps of a tokenizer.json, by the type of the step."""
    if not {*BERT_SWITCHES, "add_prefix_space"} & settings.tokenizer.keys():
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
