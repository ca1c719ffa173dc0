"""What the small files of a model say of its special tokens: configs, the tokenizer's config, the chat template.

A GGUF file says the same in keys of its own, which are read as if they were files.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from embtool.configs.config import Config
from embtool.errors import EmbtoolError, told_of
from embtool.storage.source import Source
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.settings import TOKENIZER, decode_json

ID = re.compile(r"[0-9]{1,10}")
"""How tokenizer_config.json writes a token id."""

GENERATION = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_MAP = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
TEMPLATE = "chat_template.jinja"

SPECIAL_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "image_token_id",
    "video_token_id",
    "audio_token_id",
)
"""Fields of config.json and generation_config.json that name token ids."""

GGUF_IDS: Mapping[str, str] = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
    "tokenizer.ggml.seperator_token_id": "sep_token_id",
    "tokenizer.ggml.separator_token_id": "sep_token_id",
    "tokenizer.ggml.cls_token_id": "cls_token_id",
    "tokenizer.ggml.mask_token_id": "mask_token_id",
    "tokenizer.ggml.eot_token_id": "eos_token_id",
    "tokenizer.ggml.eom_token_id": "eos_token_id",
}
"""Keys of a GGUF file that name token ids, and the field of config.json that says the same."""

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Fields of tokenizer_config.json and special_tokens_map.json that name a token by its text."""


@dataclass(frozen=True)
class SpecialId:
    """A token id that a file names: as what, in which field of which file."""

    kind: str
    field: str
    file: str
    id: int

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.field} in {self.file}"


@dataclass(frozen=True)
class SpecialText:
    """A token that a file names by its text."""

    kind: str
    file: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.kind} in {self.file}"


@dataclass(frozen=True)
class SmallFiles:
    """The small files of a model, each read when it is first asked for.

    `metadata` is that of the GGUF file `gguf_file`, where it is one; `unreadable` are files that cannot be read, each
    with what is wrong with it.
    """

    name: str
    source: Source
    config: Config | None
    vocabulary: Vocabulary | None
    metadata: Mapping[str, Any]
    gguf_file: str
    unreadable: dict[str, str] = field(default_factory=dict)

    def json(self, file: str) -> Mapping[str, Any]:
        """Read a file as a JSON object; an absent or broken one is empty; a broken one is noted."""
        if not self.source.has(file):
            return {}
        try:
            with told_of(self.name):
                return decode_json(self.source.read_file(file), file)
        except EmbtoolError as error:
            self.unreadable[file] = error.message
            return {}

    @cached_property
    def tokenizer_config(self) -> Mapping[str, Any]:
        """tokenizer_config.json."""
        return self.json(TOKENIZER_CONFIG)

    @cached_property
    def tokenizer_json(self) -> Mapping[str, Any]:
        """tokenizer.json, where it is what the vocabulary was read from; empty where it is not."""
        if self.vocabulary is None or self.vocabulary.file != TOKENIZER:
            return {}
        state = self.json(TOKENIZER)
        return state if isinstance(state.get("model"), dict) else {}

    @cached_property
    def special_ids(self) -> list[SpecialId]:
        """Token ids that files name; -1 stands for none."""
        places: list[tuple[str, Mapping[str, Any]]] = []
        if self.config is not None:
            places = [(self.config.file, self.config.raw), (self.config.file, self.config.text)]
        places.append((GENERATION, self.json(GENERATION)))
        found: dict[SpecialId, None] = {}
        for file, fields in places:
            for key in SPECIAL_IDS:
                for identity in _ids(fields.get(key)):
                    found[SpecialId(key, key, file, identity)] = None
        for key, kind in GGUF_IDS.items():
            for identity in _ids(self.metadata.get(key)):
                found[SpecialId(kind, key, self.gguf_file, identity)] = None
        return list(found)

    def ids_of(self, kind: str) -> dict[str, set[int]]:
        """Return the ids of a kind, such as eos_token_id, by the file that names them."""
        found: dict[str, set[int]] = {}
        for special in self.special_ids:
            if special.kind == kind:
                found.setdefault(special.file, set()).add(special.id)
        return found

    @cached_property
    def special_texts(self) -> list[SpecialText]:
        """Tokens that files name by their texts."""
        return list(dict.fromkeys([*self._texts(TOKENIZER_CONFIG), *self._texts(SPECIAL_MAP)]))

    def _texts(self, file: str) -> Iterator[SpecialText]:
        fields = self.tokenizer_config if file == TOKENIZER_CONFIG else self.json(file)
        for kind in NAMED:
            text = text_of(fields.get(kind))
            if text:
                yield SpecialText(kind, file, text)
        more = fields.get("additional_special_tokens")
        for entry in more if isinstance(more, list) else []:
            text = text_of(entry)
            if text:
                yield SpecialText("additional_special_tokens", file, text)

    def named_ids(self, name: str) -> tuple[int, ...]:
        """Return the ids that any file names as a kind of special token, such as eos, else those of the texts named."""
        ids = set[int]().union(*self.ids_of(f"{name}_token_id").values())
        words = self.vocabulary
        if not ids and words is not None:
            texts = {each.text for each in self.special_texts if each.kind == f"{name}_token"}
            ids = {words.find_piece(text).id for text in texts if words.has_piece(text)}
            if not ids and name == "unk" and words.unknown is not None:
                ids = {words.unknown}
        return tuple(sorted(ids))

    @cached_property
    def late_tokens(self) -> dict[str, tuple[int, str]]:
        """Tokens that transformers adds when it loads the tokenizer: each with the id it gets, and who names it."""
        words = self.vocabulary
        if words is None or words.file not in (TOKENIZER, "vocab.json") or self.metadata or not len(words):
            return {}
        wanted: dict[str, str] = {}
        decoder = self.tokenizer_config.get("added_tokens_decoder")
        if isinstance(decoder, dict) and self.tokenizer_json:  # without tokenizer.json they are the tokenizer's own
            for key in sorted(filter(ID.fullmatch, decoder), key=int):
                wanted.setdefault(text_of(decoder[key]) or "", f"added_tokens_decoder in {TOKENIZER_CONFIG}")
        elif not isinstance(decoder, dict):
            added = self.json(ADDED_FILE)
            for text in sorted((text for text, value in added.items() if type(value) is int), key=added.__getitem__):
                wanted.setdefault(text, ADDED_FILE)
        for special in self.special_texts:
            wanted.setdefault(special.text, special.place)
        wanted.pop("", None)
        known = self._written_pieces if wanted else frozenset()
        following = int(words.ids[-1]) + 1
        found: dict[str, tuple[int, str]] = {}
        for text, place in wanted.items():
            if text in known:
                continue
            has_id = words.has_piece(text)
            found[text] = (words.find_piece(text).id if has_id else following, place)
            following += not has_id
        return found

    @cached_property
    def _written_pieces(self) -> frozenset[str]:
        """Every piece that the tokenizer's own file has, whatever is added when it is loaded."""
        state = self.tokenizer_json
        pieces = state["model"].get("vocab") if state else self.json("vocab.json")
        listed = state.get("added_tokens")
        added = (
            [entry.get("content") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        )
        if not state:
            decoder = self.tokenizer_config.get("added_tokens_decoder")
            added = [text_of(entry) for entry in decoder.values()] if isinstance(decoder, dict) else []
        return frozenset([*_pieces(pieces), *(text for text in added if isinstance(text, str))])

    @cached_property
    def shadowed(self) -> dict[str, list[int]]:
        """Pieces that tokenizer.json lists more than once, each with its places, of which the library takes one."""
        state = self.tokenizer_json
        listed = list(_pieces(state["model"].get("vocab"))) if state else []
        several = {piece for piece, count in Counter(listed).items() if count > 1}
        found: dict[str, list[int]] = {}
        for place, piece in enumerate(listed):
            if piece in several:
                found.setdefault(piece, []).append(place)
        return found

    @cached_property
    def chat_template(self) -> str:
        """The text of all chat templates."""
        texts: list[object] = [self.metadata.get("tokenizer.chat_template")]
        if self.source.has(TEMPLATE):
            with contextlib.suppress(EmbtoolError):
                texts.append(self.source.read_file(TEMPLATE).decode("utf-8", "replace"))
        template = self.tokenizer_config.get("chat_template")
        entries = template if isinstance(template, list) else [template]
        texts += [entry.get("template") if isinstance(entry, dict) else entry for entry in entries]
        return "\n".join(text for text in texts if isinstance(text, str))

    @cached_property
    def template_file(self) -> str:
        """The file that the chat template is in."""
        if self.metadata.get("tokenizer.chat_template") is not None:
            return self.gguf_file
        return TEMPLATE if self.source.has(TEMPLATE) else TOKENIZER_CONFIG


def _pieces(vocabulary: object) -> Iterator[str]:
    """Yield the pieces of a vocabulary as tokenizer.json has it: a table from pieces to ids, or Unigram's list."""
    if isinstance(vocabulary, dict):
        yield from vocabulary
    for entry in vocabulary if isinstance(vocabulary, list) else ():
        if isinstance(entry, list) and entry and isinstance(entry[0], str):
            yield entry[0]


def _ids(value: object) -> list[int]:
    """List the ids that a field holds: one, or a list of them."""
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if type(entry) is int and entry != -1]


def text_of(entry: object) -> str | None:
    """Return the text of a token as tokenizer_config.json has it: a string, or an object with its content."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None
