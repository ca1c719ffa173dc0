"""A model's config.json, whatever dialect it is written in, as one `Config`.

Families and years disagree about names (`n_embd`, `d_model`, `hidden_size`) and about nesting (`text_config`,
`thinker_config.text_config`, flat). `parse_config` finds the config of the language model, reads its sizes by a table
of aliases, fills what the file leaves out from the class defaults in `embtool.configs.families`, and remembers for
every value where it was read. What the RoPE fields mean is the business of `embtool.positions`, which reads
`Config.text` with the same typed getters (`embtool.configs.fields`).

To teach it a dialect: one word in `ALIASES`.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from embtool.configs.architectures import Architecture, architecture
from embtool.configs.families import (
    SAME_AS,
    TIED_INSIDE,
    UNKNOWN,
    Family,
    family_of,
    is_tied,
    nesting_of,
    shape_of,
    text_type_of,
)
from embtool.configs.fields import LARGEST, Fields, NamedTwice, once, shown, whole
from embtool.errors import ConfigError
from embtool.storage.source import MOST_VALUES, is_overfull

Value = TypeVar("Value")

WHATEVER = "whatever the file says"
"""The end of the origin of a value that the class decides by itself."""

NOT_IN_FILE = "not in the file"
"""The origin of a value that neither the file nor the class gives."""

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vocab_size": ("padded_vocab_size", "n_vocab", "src_vocab_size"),
        "hidden_size": ("d_model", "n_embd", "n_embed", "dim", "emb_dim", "model_dim", "embed_dim"),
        "num_hidden_layers": (
            *("n_layer", "n_layers", "num_layers", "decoder_layers", "num_transformer_layers"),
            "decoder_num_hidden_layers",
        ),
        "num_attention_heads": (
            *("n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads"),
            "decoder_num_attention_heads",
        ),
        "max_position_embeddings": (
            *("n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_target_positions"),
            *("seq_length", "model_max_length"),
        ),
        "num_key_value_heads": ("num_kv_heads", "n_kv_heads", "multi_query_group_num"),
        # Zamba2 has the first two, and turns the first.
        "head_dim": ("attention_head_dim", "kv_channels", "d_kv", "d_head"),
        "embedding_size": ("word_embed_proj_dim", "input_embedding_size"),
        "tie_word_embeddings": ("tie_embedding", "tie_embeddings"),
    }
)
"""What other dialects call the fields of a `Config`; where a file has several, the first one here wins."""

MASKED_SHARE = 1 - 0.15 * 0.8
"""What ESM multiplies rows by where nothing is masked (transformers, `EsmEmbeddings`)."""


@dataclass(frozen=True)
class EmbeddingScale:
    """What a row is multiplied by after the lookup, before the first block reads it.

    Attributes:
        kind: "sqrt" for the square root of the row's width, "multiplier" for a number of the config.
        multiplier: The exact number.
        rounded: Whether the model rounds it to the dtype of its weights first, as Gemma does.
        origin: Where it was read.
    """

    kind: Literal["sqrt", "multiplier"]
    multiplier: float
    rounded: bool
    origin: str

    def in_dtype(self, dtype: str) -> float:
        """The number the model multiplies by when its weights have this dtype ("BF16", "F16", "F32", ...).

        >>> EmbeddingScale("sqrt", 3072**0.5, True, "class default of gemma").in_dtype("BF16")
        55.5
        """
        return rounded(self.multiplier, dtype) if self.rounded else self.multiplier


def rounded(value: float, dtype: str) -> float:
    """A number rounded to nearest even in another dtype; unknown dtypes leave it as it is.

    >>> rounded(0.7071067811865476, "BF16")
    0.70703125
    """
    short = dtype.upper().replace("FLOAT", "F")
    try:
        if short == "BF16":
            (bits,) = struct.unpack("<I", struct.pack("<f", value))
            bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
            return float(struct.unpack("<f", struct.pack("<I", bits))[0])
        form = {"F16": "<e", "F32": "<f"}.get(short)
        return float(struct.unpack(form, struct.pack(form, value))[0]) if form else value
    except OverflowError:
        return math.copysign(math.inf, value)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a config.json says about its language model, and what its class says where the file is silent.

    Attributes:
        file: The name of the file, for messages.
        model_type: That of the language model ("qwen3_5_text"); None when the file has none.
        top_model_type: That of the whole, which differs for composite models ("qwen3_5").
        architecture: The first of `architectures`.
        family_known: Whether it is known how the family knows positions; if not, only what the file says is.
        recorded: What was seen of the type of the whole model; None where transformers does not know it.
        family_key: The name of the entry, which differs from `model_type` for kin outside transformers.
        family: The entry, or `UNKNOWN`.
        text_path: The nesting at which the language model's config was found; () is the top.
        raw: The whole file.
        text: The language model's part of it.
        vocab_size: Rows of the embedding table, as the config has it; the table itself may have more.
        hidden_size: The width of the model.
        embedding_size: The width of a row, where the table is narrower than the model (ALBERT, ELECTRA, OPT-350m).
        num_hidden_layers: Layers of the (decoder) stack.
        num_attention_heads: Query heads per layer.
        num_key_value_heads: Key and value heads per layer, where the file says so, in one number for all layers.
        head_dim: Channels of one head; for latent attention those of its rotary part.
        max_position_embeddings: The context length in tokens.
        tie_word_embeddings: Whether input and output table are one tensor, as the config has it.
        type_vocab_size: Rows of the token-type table.
        embedding_scale: What multiplies a row after the lookup; None is nothing.
        embedding_norm: The norm that follows the lookup, by its name in the checkpoint; None is none.
        dtype: The dtype the weights were saved in, as the file spells it.
        origins: For every value where it was read: a path, a class default, a computation, or "not in the file".
        spelled: What the file calls a field, where that is not its path in config.json.
    """

    file: str
    model_type: str | None
    top_model_type: str | None
    architecture: str | None
    family_known: bool
    recorded: Architecture | None = field(repr=False)
    family_key: str
    family: Family = field(repr=False)
    text_path: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)
    text: Mapping[str, Any] = field(repr=False)
    vocab_size: int | None
    hidden_size: int | None
    embedding_size: int | None
    num_hidden_layers: int | None
    num_attention_heads: int | None
    num_key_value_heads: int | None
    head_dim: int | None
    max_position_embeddings: int | None
    tie_word_embeddings: bool | None
    type_vocab_size: int | None
    embedding_scale: EmbeddingScale | None
    embedding_norm: str | None
    dtype: str | None
    origins: Mapping[str, str] = field(repr=False)
    spelled: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        known = (("vocab_size", "tokens"), ("hidden_size", "wide"), ("num_hidden_layers", "layers"))
        sizes = [f"{getattr(self, name):,} {noun}" for name, noun in known if getattr(self, name) is not None]
        kind = "no model_type" if self.model_type is None else repr(self.model_type)
        return f"<config {self.file!r}: {', '.join([kind, *sizes])}>"

    @property
    def fields(self) -> Fields:
        """The language model's part of the file, for reading more of it."""
        return Fields(self.text, self.file, self.text_path, self.spelled)

    @property
    def query_dim(self) -> int | None:
        """Channels of one query head: for latent attention all, not only those that turn; None where layers differ."""
        rotary, rest = (whole(self.text.get(key)) for key in ("qk_rope_head_dim", "qk_nope_head_dim"))
        if rotary and rest is not None:
            return rotary + rest
        if rotary or (self.family.latent and rotary is None):
            return None
        other = whole(self.text.get("global_head_dim")) or self.family.global_head_dim
        return self.head_dim if other in (None, self.head_dim) else None

    @property
    def packing(self) -> Mapping[str, Any]:
        """What the file says about packed weights: `quantization` (MLX), or `quantization_config` (transformers)."""
        for section in (self.raw, self.text):
            for key in ("quantization", "quantization_config", "compression_config"):
                if isinstance(section.get(key), Mapping):
                    found: Mapping[str, Any] = section[key]
                    return found
        return MappingProxyType({})

    @property
    def class_default(self) -> str:
        """The origin of a value that the class gives."""
        return _class_default(self.model_type)


def parse_config_text(data: bytes, *, file: str = "config.json") -> Config:
    """Read a config from the bytes of its file.

    Raises:
        ConfigError: The bytes are not UTF-8, not JSON, nested too deep, name a field twice, or `parse_config` objects.
    """
    if is_overfull(data):
        raise ConfigError(f"{file} holds more than {MOST_VALUES:,} values")
    try:
        raw = json.loads(data.decode("utf-8-sig"), object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: byte {error.start} is wrong") from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file} is not JSON: line {error.lineno}, column {error.colno}: {error.msg.lower()}"
        ) from error
    except NamedTwice as error:
        raise ConfigError(f"{file} names the field {shown(error.key)} twice") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is nested too deep") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise ConfigError(f"{file} holds a number that is too long") from error
    return parse_config(raw, file=file)


def parse_config(raw: object, *, file: str = "config.json", spelled: Mapping[str, str] | None = None) -> Config:
    """Read a config from decoded JSON; `spelled` says what the file itself calls a field.

    Raises:
        ConfigError: It is not an object, or a field that is read has a value of the wrong type or out of range.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{file} must hold a JSON object, not {shown(raw)}")
    top = Fields(raw, file, (), spelled or {})
    top_type = top.string("model_type")
    top.section("text_config")  # the one place where anything but an object is surely a mistake
    nested = (_nested(top, path) for path in nesting_of(top_type))
    text = next((found for found in nested if found is not None and found.mapping), top)
    model_type = text.string("model_type")
    if model_type in (None, top_type):  # then the composite implies it
        model_type = None if top_type is None else text_type_of(top_type)
    key = SAME_AS.get(model_type or "", model_type or "")
    reader = _Reader(top, text, key, model_type)
    sizes = reader.sizes()
    names = top.mapping.get("architectures")
    first = names[0] if isinstance(names, list | tuple) and names else None
    return Config(
        file=file,
        model_type=model_type,
        top_model_type=top_type,
        architecture=first if isinstance(first, str) else None,
        family_known=reader.family is not UNKNOWN and reader.family.layout is not None,
        recorded=architecture(top_type or ""),
        family_key=key,
        family=reader.family,
        text_path=text.path,
        raw=raw,
        text=text.mapping,
        spelled=top.spelled,
        **sizes,
        num_key_value_heads=reader.key_value_heads(),
        head_dim=reader.head_dim(sizes["hidden_size"], sizes["num_attention_heads"]),
        tie_word_embeddings=reader.tied(top_type),
        embedding_scale=reader.embedding_scale(sizes["hidden_size"]),
        embedding_norm=reader.family.embedding_norm,
        dtype=text.string("dtype") or text.string("torch_dtype") or top.string("dtype") or top.string("torch_dtype"),
        origins=MappingProxyType(reader.origins),
    )


def _nested(top: Fields, path: tuple[str, ...]) -> Fields | None:
    """The object at a path of the file; None where there is none."""
    mapping: Any = top.mapping
    for key in path:
        mapping = mapping.get(key)
        if not isinstance(mapping, Mapping):
            return None
    return Fields(mapping, top.file, (*top.path, *path), top.spelled)


def _class_default(model_type: str | None) -> str:
    return f"class default of {model_type}"


class _Reader:
    """Reads the values of one config, and writes down where each was found."""

    def __init__(self, top: Fields, text: Fields, family_key: str, model_type: str | None) -> None:
        self.top = top
        self.text = text
        self.key = family_key
        self.family: Family = family_of(family_key)
        self.shape = shape_of(family_key)
        self.recorded = architecture(family_key) or Architecture()
        self.model_type = model_type
        self.default = _class_default(model_type)
        self.origins: dict[str, str] = {}

    def sizes(self) -> dict[str, Any]:
        """The counts and widths that are one number in the file."""
        shape = self.shape
        return {
            "vocab_size": self._size("vocab_size", shape.vocab_size, also_top=True),
            "hidden_size": self._size("hidden_size", shape.hidden_size),
            "embedding_size": self._size("embedding_size", self.recorded.embedding_size),
            "num_hidden_layers": self._size("num_hidden_layers", shape.num_hidden_layers, minimum=0),
            "num_attention_heads": self._size("num_attention_heads", shape.num_attention_heads),
            "max_position_embeddings": self._size("max_position_embeddings", shape.max_position_embeddings),
            "type_vocab_size": self._size("type_vocab_size", self.recorded.type_vocab_size, minimum=0),
        }

    def _find(self, field_name: str, fields: Fields) -> str | None:
        """The name under which these fields hold a value: its own, or the first alias."""
        return next((name for name in (field_name, *ALIASES.get(field_name, ())) if fields.has(name)), None)

    def _size(self, name: str, default: int | None, *, minimum: int = 1, also_top: bool = False) -> int | None:
        for fields in (self.text, self.top) if also_top else (self.text,):
            found = self._find(name, fields)
            if name == "max_position_embeddings" and found is not None and fields.mapping[found] == -1:
                return self._remember(name, None, fields.name(found))  # XLNet and some of its kin: no limit
            if found is not None and not isinstance(fields.mapping[found], Mapping):  # LXMERT: a number per modality
                return self._remember(name, fields.integer(found, minimum=minimum), fields.name(found))
        return self._remember(name, default, self.default)

    def _remember(self, name: str, value: Value, origin: str) -> Value:
        self.origins[name] = NOT_IN_FILE if value is None else origin
        return value

    def key_value_heads(self) -> int | None:
        """Key and value heads; None where the file does not say, or counts them layer by layer."""
        said = self.text.mapping
        if said.get("multi_query") is True and said.get("new_decoder_architecture") is not True:  # Falcon, StarCoder
            return self._remember("num_key_value_heads", 1, self.text.name("multi_query"))
        found = self._find("num_key_value_heads", self.text) or ""
        stated = whole(said.get(found))
        unused = found == "multi_query_group_num" and said.get("multi_query_attention") is False
        unused |= not {"kv_lora_rank", "num_global_key_value_heads"}.isdisjoint(said)  # one vector for all; two counts
        known = stated is not None and 0 < stated <= LARGEST and not unused
        return self._remember("num_key_value_heads", stated if known else None, self.text.name(found))

    def head_dim(self, hidden_size: int | None, heads: int | None) -> int | None:
        """Channels of one head: stated, assumed by the class, or the width divided by the heads."""
        rotary_part = self.text.integer("qk_rope_head_dim")
        if self.family.latent and rotary_part != 0:  # 0: a small DeepSeek-V2 with ordinary heads
            if rotary_part is not None:
                return self._remember("head_dim", rotary_part, self.text.name("qk_rope_head_dim"))
            return self._remember("head_dim", self.family.qk_rope_head_dim, f"{self.default} (qk_rope_head_dim)")
        found = self._find("head_dim", self.text)
        if found is None and rotary_part and self.family is UNKNOWN:
            found = "qk_rope_head_dim"
        if found is not None:
            stated = self.text.integer(found)
            if stated == 0:
                self.origins["head_dim"] = f"{self.text.name(found)} is 0"
                return None  # a model without RoPE may say so; `positions` refuses
            return self._remember("head_dim", stated, self.text.name(found))
        if self.shape.head_dim is not None and not self.family.latent:
            return self._remember("head_dim", self.shape.head_dim, self.default)
        return self._divided(hidden_size, heads)

    def _divided(self, hidden_size: int | None, heads: int | None) -> int | None:
        if hidden_size is None or heads is None:
            return self._remember("head_dim", None, "")
        if hidden_size % heads and not self.family.odd_rotary_dim:
            self.origins["head_dim"] = f"{hidden_size} channels do not divide into {heads} heads"
            return None  # a model without RoPE need not mind; `positions` refuses
        return self._remember("head_dim", hidden_size // heads, "hidden_size / num_attention_heads")

    def tied(self, top_type: str | None) -> bool | None:
        """Whether the tables are tied: the whole file's word, the language model's, or that of the classes."""
        outer = architecture(top_type or "")
        if outer is not None and outer.tied is not None and not outer.tie_at:
            origin = f"{_class_default(top_type)}, {WHATEVER}"
            return self._remember("tie_word_embeddings", outer.tied, origin)
        flags = list(self._deciding(outer))
        if outer is not None and outer.tie_by_all:
            flags.sort(key=lambda fields: fields.boolean("tie_word_embeddings") is outer.tied, reverse=True)
        for fields in (*flags, self.top, self.text):
            found = self._find("tie_word_embeddings", fields)
            if found is not None:
                return self._remember("tie_word_embeddings", fields.boolean(found), fields.name(found))
        default = _class_default(top_type if outer is not None and outer.tied is not None else self.model_type)
        return self._remember("tie_word_embeddings", is_tied(top_type, self.key), default)

    def _deciding(self, outer: Architecture | None) -> Iterator[Fields]:
        """The parts of the file whose word on tying the class obeys, where that is not the whole file."""
        decided_inside = self.top.mapping.get("model_type") in TIED_INSIDE
        for path in outer.tie_at if outer is not None else [self.text.path] if decided_inside else ():
            found = _nested(self.top, path)
            if found is not None and (path or (outer is not None and outer.tie_by_all)):
                yield found

    def embedding_scale(self, hidden_size: int | None) -> EmbeddingScale | None:
        """The multiplier of looked-up rows (`docs/positions.md`, "Scaled rows")."""
        rule = self.family.embedding_scale
        if rule is None:
            scale = None
        elif rule == "token_dropout":
            # ESM's share of what training masked, 15 % of tokens and 80 % of those by a mask, where nothing is masked
            origin = self.text.name("token_dropout")
            found = EmbeddingScale("multiplier", MASKED_SHARE, rounded=False, origin=origin)
            scale = found if self.text.boolean("token_dropout") else None
        elif rule in ("embedding_multiplier", "scale_emb"):
            stated = self.text.number(rule)
            multiplier = stated if stated is not None else self.recorded.embedding_multiplier
            origin = self.text.name(rule) if stated is not None else self.default
            found = EmbeddingScale("multiplier", multiplier, rounded=False, origin=origin)
            scale = found if multiplier != 1.0 else None
        elif hidden_size is None or (rule == "scale_embedding" and not self._scales()):
            scale = None
        else:
            scale = EmbeddingScale("sqrt", math.sqrt(hidden_size), rule == "sqrt_rounded", "sqrt(hidden_size)")
        self.origins["embedding_scale"] = scale.origin if scale else "rows are read as they are"
        return scale

    def _scales(self) -> bool:
        stated = self.text.boolean("scale_embedding")
        return self.recorded.scale_embedding if stated is None else stated
