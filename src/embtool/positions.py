"""How a model knows the order of its tokens: a `Config` -> one of a few schemes.

Some models add a row of a learned table to each token's row, some a fixed pattern of sines, some bias attention by
distance, some know no order but that of reading; most today rotate queries and keys (`embtool.rope`), a few of them in
some layers only, or differently per kind of layer. `read_positions` tells which, with every value's origin.

What the fields of the many dialects mean, and what was decided where they are ambiguous, is in `docs/positions.md`.
To add a family, describe it in `embtool.families`; to add a scheme, write its dataclass and name it in `SCHEMES`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from embtool.config import NOT_IN_FILE, Config, Fields
from embtool.errors import ConfigError, NoRope
from embtool.families import UNKNOWN, Family, Pattern
from embtool.rope import Floats, Frequencies, Precision, RopeSettings, frequencies, rotate

Value = TypeVar("Value")

MAX_LAYERS = 100_000
"""Layers. Real models have at most a few hundred; a config that claims more is a mistake or an attack on memory."""

MAX_HEADS = 100_000
"""Heads, for the same reason: every ALiBi head has a slope."""

LAYERS_WITHOUT_ATTENTION = frozenset(
    {"linear_attention", "conv", "mamba", "mamba2", "recurrent", "moe", "mlp", "lightning_attention", "linear"}
)
"""Layer types that mix tokens in order, or not at all, and so have no use for positions."""


# --- The schemes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LayerRope:
    """The rotation of one kind of layer.

    Attributes:
        layer_type: The kind, as the config names it; "all" when every layer with attention rotates alike.
        layers: The layers of this kind, counted from 0; None when the config does not say how many there are.
        settings: How a head turns.
        origins: For every setting where it was read.
    """

    layer_type: str
    layers: tuple[int, ...] | None
    settings: RopeSettings
    origins: Mapping[str, str] = field(repr=False)

    @property
    def layer_count(self) -> int | None:
        """How many layers rotate like this."""
        return None if self.layers is None else len(self.layers)


@dataclass(frozen=True, kw_only=True)
class _Scheme:
    """What all schemes have.

    Attributes:
        context_length: The longest sequence the model is made for, in tokens; None is no stated limit.
        origins: For every value where it was read.
        notes: What a reader should know besides: decisions taken, fields of the file that do nothing.
    """

    kind: ClassVar[str]
    context_length: int | None
    origins: Mapping[str, str] = field(repr=False, default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rope(_Scheme):
    """Queries and keys are rotated by an angle that grows with the position.

    Attributes:
        layers: One entry per kind of layer that rotates; the first is that of full attention where there are several.
        nope_layers: Attention layers that use no positions.
        layer_counts: How many layers of each type there are; empty when the model does not tell types apart.
        layout_known: Whether the family is known, and with it which two channels make a pair.
    """

    kind: ClassVar[str] = "rope"
    layers: tuple[LayerRope, ...]
    nope_layers: tuple[int, ...] = ()
    layer_counts: Mapping[str, int] = field(default_factory=dict)
    layout_known: bool = True

    @property
    def settings(self) -> RopeSettings:
        """The settings of the first kind of layer."""
        return self.layers[0].settings

    def layer(self, layer_type: str) -> LayerRope:
        """The rotation of the layers of this type.

        Raises:
            NoRope: No layer of this type rotates.
        """
        for entry in self.layers:
            if entry.layer_type == layer_type:
                return entry
        known = ", ".join(entry.layer_type for entry in self.layers)
        raise NoRope(f"no layers of type '{layer_type}' rotate", hint=f"those that do: {known}")

    def frequencies(self, sequence_length: int | None = None, precision: Precision = "float64") -> Frequencies:
        """How fast each pair of the first kind of layer turns; see `embtool.rope.frequencies`."""
        return frequencies(self.settings, sequence_length, precision)

    def rotate(
        self,
        x: npt.ArrayLike,
        position: npt.ArrayLike,
        *,
        layer_type: str | None = None,
        sequence_length: int | None = None,
        precision: Precision = "float64",
        inverse: bool = False,
    ) -> Floats:
        """Vectors turned to their positions by the first kind of layer, or the one named; see `embtool.rope.rotate`."""
        settings = self.settings if layer_type is None else self.layer(layer_type).settings
        return rotate(x, position, settings, sequence_length=sequence_length, precision=precision, inverse=inverse)


@dataclass(frozen=True, kw_only=True)
class Learned(_Scheme):
    """A row of a trained table is added to the token's row.

    Attributes:
        rows: Rows of the table, by the config.
        row_offset: Position p is looked up at row p + row_offset.
    """

    kind: ClassVar[str] = "learned"
    rows: int | None
    row_offset: int

    def row(self, position: int) -> int:
        """The row of the table for a position."""
        return position + self.row_offset


@dataclass(frozen=True, kw_only=True)
class Sinusoidal(_Scheme):
    """A fixed pattern of sines and cosines is added to the token's row.

    Attributes:
        width: Channels of a row.
        row_offset: Position p is computed as p + row_offset.
        last_included: Whether the slowest wave is exactly 10,000 times slower than the fastest (XGLM) or a step less.
    """

    kind: ClassVar[str] = "sinusoidal"
    width: int | None
    row_offset: int = 0
    last_included: bool = False

    def vectors(self, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """What is added at each position: shape (*positions.shape, width), sines first, then cosines.

        Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762, section 3.5), with the channels in two halves.
        """
        if self.width is None:
            raise ConfigError("hidden_size is missing, and with it the width of the position vectors")
        half = (self.width + 1) // 2
        steps = np.arange(half) / ((half - 1 or 1) if self.last_included else self.width / 2)
        angles = (np.asarray(positions, dtype=np.float64) + self.row_offset)[..., np.newaxis] * 10_000.0**-steps
        return np.concatenate([np.sin(angles), np.cos(angles)[..., : self.width - half]], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Alibi(_Scheme):
    """Attention scores are lowered by slope * distance, with one slope per head; nothing is added to rows.

    Attributes:
        slopes: One per head.
        score_scale: What the bias is multiplied by besides (Falcon: 1 / sqrt(head_dim)).
    """

    kind: ClassVar[str] = "alibi"
    slopes: tuple[float, ...]
    score_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class T5Buckets(_Scheme):
    """Attention scores get a trained bias per head, looked up by distance, with far distances sharing buckets.

    Attributes:
        buckets: Rows of the bias table.
        max_distance: From here on all distances are one bucket.
        per_layer: Whether every layer has a table, or the first one's is used by all.
    """

    kind: ClassVar[str] = "relative"
    buckets: int
    max_distance: int
    per_layer: bool = False

    def bucket(self, distance: int, *, both_ways: bool) -> int:
        """The bucket of a key that stands `distance` tokens after the query (negative: before it).

        Half of the buckets count single distances, the other half grow logarithmically up to `max_distance`
        (Raffel et al. 2019, https://arxiv.org/abs/1910.10683, section 2.1). An encoder (`both_ways`) has one set for
        each direction; a decoder sees no key after the query.
        """
        buckets, start = (
            (self.buckets // 2, self.buckets // 2 if distance > 0 else 0) if both_ways else (self.buckets, 0)
        )
        away = abs(distance) if both_ways else max(-distance, 0)
        exact = buckets // 2
        if away < exact:
            return start + away
        grown = math.log(away / exact) / math.log(self.max_distance / exact) * (buckets - exact)
        return start + min(exact + int(grown), buckets - 1)


@dataclass(frozen=True, kw_only=True)
class OtherRelative(_Scheme):
    """Attention reads the distance between tokens in a way of its own (XLNet, DeBERTa, BERT's relative keys)."""

    kind: ClassVar[str] = "relative"
    scheme: str


@dataclass(frozen=True, kw_only=True)
class NoPositions(_Scheme):
    """Nothing tells the model where a token stands, but the order in which it reads.

    Attributes:
        reason: Why.
    """

    kind: ClassVar[str] = "none"
    reason: str


Positions: TypeAlias = Rope | Learned | Sinusoidal | Alibi | T5Buckets | OtherRelative | NoPositions


def read_positions(config: Config) -> Positions:
    """How this model knows order.

    Raises:
        ConfigError: A position field is missing, of the wrong type, or out of range; the message names it.
        UnsupportedRope: The `rope_type` is not known.
    """
    return SCHEMES[_kind(config)](config)


def _kind(config: Config) -> str:
    """The scheme: the family's, unless a field of the file says otherwise."""
    fields, family = config.fields, config.family
    if family is UNKNOWN:
        return _generic_kind(fields)
    decide = _DECIDED_BY_FILE.get(config.family_key)
    if decide is not None:
        return decide(config)
    absolute = fields.string("position_embedding_type") in (None, "absolute")
    return "relative" if family.kind == "learned" and not absolute else family.kind


def _generic_kind(fields: Fields) -> str:
    """The scheme of a family that is not in the table, by the fields its file has."""
    if fields.mapping.get("alibi") is True:
        return "alibi"
    return "rope" if any(fields.has(key) for key in ROPE_FIELDS) else "none"


ROPE_FIELDS = (
    *("rope_parameters", "rope_scaling", "rope_theta", "rotary_dim", "rotary_pct", "rotary_emb_base", "rope_ratio"),
    *("partial_rotary_factor", "qk_rope_head_dim", "rope_embedding_base"),
)
"""Fields that only a model with rotary positions has."""


def _falcon(config: Config) -> str:
    return "alibi" if config.fields.boolean("alibi") else "rope"


def _mpt(config: Config) -> str:
    attention = config.fields.section("attn_config")
    alibi = attention.boolean("alibi") if attention else None
    if alibi or alibi is None:  # the class's default; it wins over learned_pos_emb, as in mpt-7b's file
        return "alibi"
    return "none" if config.fields.boolean("learned_pos_emb") is False else "learned"


def _baichuan(config: Config) -> str:
    # The 13B file has only model_max_length, the 7B file with RoPE has max_position_embeddings.
    stated = config.fields.has("max_position_embeddings")
    return "alibi" if config.fields.has("model_max_length") and not stated else "rope"


def _by_type(name: str, kind: str, otherwise: str) -> Callable[[Config], str]:
    def decide(config: Config) -> str:
        return kind if config.fields.string("position_embedding_type") == name else otherwise

    return decide


_DECIDED_BY_FILE: Mapping[str, Callable[[Config], str]] = {
    "baichuan": _baichuan,
    "deberta-v2": lambda config: "relative" if config.fields.boolean("relative_attention") else "learned",
    "esm": _by_type("rotary", "rope", "learned"),
    "falcon": _falcon,
    "gpt_neo": lambda config: "rope" if config.fields.boolean("rotary") else "learned",
    "granitemoehybrid": _by_type("rope", "rope", "none"),
    "mpt": _mpt,
    "xlm": lambda config: "sinusoidal" if config.fields.boolean("sinusoidal_embeddings") else "learned",
    "zamba2": lambda config: "rope" if config.fields.boolean("use_mem_rope") else "none",
}
"""Families whose file chooses the scheme."""


# --- Schemes other than RoPE --------------------------------------------------------------------------------------


def _context(config: Config) -> dict[str, Any]:
    return {
        "context_length": config.max_position_embeddings,
        "origins": MappingProxyType({"context_length": config.origins["max_position_embeddings"]}),
    }


def _learned(config: Config) -> Learned:
    family, length = config.family, config.max_position_embeddings
    context = _context(config)
    if family.row_offset == "padding":
        padding = config.fields.integer("pad_token_id")
        offset = (1 if padding is None else padding) + 1
        if length is not None:
            context["context_length"] = max(length - offset, 0)
        return Learned(rows=length, row_offset=offset, **context)
    rows = length + family.row_offset if length is not None and family.extra_rows else length
    return Learned(rows=rows, row_offset=family.row_offset, **context)


def _sinusoidal(config: Config) -> Sinusoidal:
    offset = config.family.row_offset
    assert isinstance(offset, int)
    xglm = offset != 0
    return Sinusoidal(width=config.hidden_size, row_offset=offset, last_included=xglm, **_context(config))


DEFAULT_ALIBI_MAX = 8.0
"""The steepest slope is 2^(-8/heads) (Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3)."""


def alibi_slopes(heads: int, bias_max: float = DEFAULT_ALIBI_MAX) -> tuple[float, ...]:
    """One slope per head: 2^(-8j/n), and for other counts than powers of two every other one of the next power.

    >>> alibi_slopes(4)
    (0.25, 0.0625, 0.015625, 0.00390625)
    """
    lower = 2 ** (heads.bit_length() - 1)
    slopes = [2.0 ** (-bias_max * j / lower) for j in range(1, lower + 1)]
    between = [2.0 ** (-bias_max * j / (2 * lower)) for j in range(1, 2 * lower + 1, 2)]
    return tuple((slopes + between)[:heads])


def _alibi(config: Config) -> Alibi:
    heads = config.num_attention_heads
    if heads is None or not 1 <= heads <= MAX_HEADS:
        raise ConfigError(
            f"{config.file}: num_attention_heads must be between 1 and {MAX_HEADS} for ALiBi, not {heads}"
        )
    attention = config.fields.section("attn_config")
    bias_max = attention.number("alibi_bias_max") if attention is not None else None
    slopes = alibi_slopes(heads, DEFAULT_ALIBI_MAX if bias_max is None else bias_max)
    if config.family_key != "falcon":
        return Alibi(slopes=slopes, **_context(config))
    scale = 1 / math.sqrt(config.head_dim) if config.head_dim else 1.0
    return Alibi(slopes=tuple(bfloat16(slope) for slope in slopes), score_scale=scale, **_context(config))


def bfloat16(value: float) -> float:
    """A number rounded to the nearest bfloat16, as Falcon rounds its slopes.

    >>> bfloat16(0.7071067811865476)
    0.70703125
    """
    bits = int(np.float32(value).view(np.uint32))
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(np.uint32(rounded).view(np.float32))


def _relative(config: Config) -> T5Buckets | OtherRelative:
    fields = config.fields
    if config.family.kind != "relative" or config.family_key == "xlnet":
        named = {"xlnet": "Transformer-XL distances", "deberta-v2": "disentangled attention"}
        scheme = named.get(config.family_key, fields.string("position_embedding_type") or "relative attention")
        return OtherRelative(scheme=scheme, **_context(config))
    values = {"buckets": "relative_attention_num_buckets", "max_distance": "relative_attention_max_distance"}
    found = {name: fields.integer(key, minimum=1) for name, key in values.items()}
    origins = {name: fields.name(key) if found[name] else config.class_default for name, key in values.items()}
    context = _context(config)
    context["origins"] = MappingProxyType({**context["origins"], **origins})
    buckets, distance = found["buckets"] or 32, found["max_distance"] or 128
    if buckets < 4 or distance <= buckets // 2:  # noqa: PLR2004 - fewer cannot be halved twice
        raise ConfigError(
            f"{config.file}: {fields.name(values['buckets'])} {buckets} leaves no room for distances below {distance}"
        )
    return T5Buckets(buckets=buckets, max_distance=distance, per_layer=config.family_key == "umt5", **context)


def _none(config: Config) -> NoPositions:
    if config.family is UNKNOWN:
        reason = "the family is not known, and the file has no position fields"
    elif any(config.fields.has(key) for key in ROPE_FIELDS):
        reason = f"{config.model_type} uses no positions, although its file has RoPE fields"
    else:
        reason = f"{config.model_type} knows order only from reading in sequence"
    return NoPositions(reason=reason, **_context(config))


# --- RoPE: which layers -------------------------------------------------------------------------------------------


def _layer_types(config: Config) -> tuple[str, ...] | None:
    """The type of every layer, from the list in the file, an older field, or the pattern of the family."""
    fields, count = config.fields, config.num_hidden_layers
    if count is None:
        return None
    if count > MAX_LAYERS:
        raise ConfigError(f"{config.file}: num_hidden_layers must be at most {MAX_LAYERS}, not {count}")
    listed = fields.strings("layer_types")
    if listed is None:
        listed = _listed_otherwise(config, count)
    if listed is not None:
        if len(listed) < count:
            raise ConfigError(f"{config.file}: layer_types must have {count} entries, one per layer, not {len(listed)}")
        return tuple(_TYPE_NAMES.get(name, name) for name in listed[:count])
    pattern = config.family.pattern
    if pattern is None or (config.family.nope == "full_attention" and _window(config) is None):
        return None  # without a window the layers are all alike, and the period in the file may be 0
    return _patterned(fields, pattern, count)


_TYPE_NAMES: Mapping[str, str] = {"attention": "full_attention"}


def _listed_otherwise(config: Config, count: int) -> tuple[str, ...] | None:
    """The layer types of files older than `layer_types`."""
    for key, read in _OLD_LISTS.items():
        if config.fields.has(key):
            return read(config.fields, key, count)
    if config.family_key == "mimo_v2_flash":
        return tuple("full_attention" if i == 0 or (i + 1) % 6 == 0 else "sliding_attention" for i in range(count))
    if config.family_key == "deepseek_v4":
        kinds = ("heavily_compressed_attention", "compressed_sparse_attention")
        return tuple(kinds[0] if i < 2 else kinds[i % 2] for i in range(count))  # noqa: PLR2004 - the first two layers
    if config.family_key == "llama4_text":
        silent = frozenset(_listed_nope(config))
        return tuple("full_attention" if i in silent else "chunked_attention" for i in range(count))
    return None


def _flags(one: str, zero: str) -> Callable[[Fields, str, int], tuple[str, ...] | None]:
    """A list with a number per layer: 0 is one type, anything else the other."""

    def read(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
        del count
        numbers = fields.integers(key)
        return None if numbers is None else tuple(one if number else zero for number in numbers)

    return read


def _indices(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """A list of the layers that have attention."""
    chosen = frozenset(fields.integers(key) or ())
    return tuple("full_attention" if i in chosen else "conv" for i in range(count))


def _cycle(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """A short list that repeats."""
    names = fields.strings(key)
    if not names:
        return None
    names = tuple({"attention": "sliding_attention", "recurrent": "linear_attention"}.get(name, name) for name in names)
    return tuple(names[i % len(names)] for i in range(count))


_COMPRESSION = {0: "sliding_attention", 4: "compressed_sparse_attention", 128: "heavily_compressed_attention"}


def _ratios(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """DeepSeek-V4's compression ratio per layer."""
    del count
    ratios = fields.integers(key) or ()
    if not all(ratio in _COMPRESSION for ratio in ratios):
        raise fields.error(key, "a list of 0, 4 and 128")
    return tuple(_COMPRESSION[ratio] for ratio in ratios)


_OLD_LISTS: Mapping[str, Callable[[Fields, str, int], tuple[str, ...] | None]] = {
    "hybrid_layer_pattern": _flags("sliding_attention", "full_attention"),  # MiMo
    "attn_type_list": _flags("full_attention", "linear_attention"),  # MiniMax-Text-01
    "full_attn_idxs": _indices,  # LFM2
    "attn_layer_indices": _indices,  # Bamba
    "block_types": _cycle,  # RecurrentGemma
    "compress_ratios": _ratios,  # DeepSeek-V4
    "layers_block_type": lambda fields, key, _: fields.strings(key),  # hybrids of attention and state spaces
}


def _patterned(fields: Fields, pattern: Pattern, count: int) -> tuple[str, ...]:
    period = pattern.period
    if pattern.key is not None and fields.has(pattern.key):
        letters = fields.mapping[pattern.key]
        if isinstance(letters, str):
            return _lettered(fields, pattern, letters, count)
        period = fields.integer(pattern.key, minimum=1) or period
    phase = 0 if pattern.first else period - 1
    return tuple(pattern.at if i % period == phase else pattern.elsewhere for i in range(count))


def _lettered(fields: Fields, pattern: Pattern, letters: str, count: int) -> tuple[str, ...]:
    """EXAONE's "LLLG": local, local, local, global, and again."""
    if not letters or set(letters) - {"L", "G"}:
        raise fields.error(pattern.key or "", "a number or a string of L and G")
    return tuple(pattern.at if letters[i % len(letters)] == "G" else pattern.elsewhere for i in range(count))


def _nope_layers(config: Config, types: tuple[str, ...] | None) -> tuple[int, ...]:
    """The attention layers that the family leaves without positions."""
    if config.family.nope == "no_rope_layers":
        return _listed_nope(config)
    if config.family.nope == "full_attention" and types is not None and _window(config) is not None:
        return tuple(i for i, kind in enumerate(types) if kind == "full_attention")
    return ()


def _window(config: Config) -> int | None:
    """The sliding window; an explicit null switches it off."""
    if "sliding_window" in config.text:
        return config.fields.integer("sliding_window")
    return config.family.sliding_window


def _listed_nope(config: Config) -> tuple[int, ...]:
    """`no_rope_layers` has 1 for a layer WITH RoPE and 0 for one without, whatever its name says."""
    fields, count = config.fields, config.num_hidden_layers or 0
    flags = fields.integers("no_rope_layers")
    # Llama 4 takes an empty list for the default; SmolLM3 only null.
    if flags is None or (not flags and config.family_key == "llama4_text"):
        interval = fields.integer("no_rope_layer_interval", minimum=1) or 4
        return tuple(range(interval - 1, count, interval))
    if len(flags) < count:
        raise ConfigError(
            f"{config.file}: {fields.name('no_rope_layers')} must have {count} entries, one per layer, not {len(flags)}"
        )
    return tuple(i for i, rotates in enumerate(flags[:count]) if not rotates)


# --- RoPE: which settings -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Where the settings of one kind of layer are read, in order: RoPE dictionaries, then the top level.

    Attributes:
        label: The kind of layer, or "all".
        sections: The dictionaries of the file, the one that wins first.
        class_section: The dictionary of the class, where the file has none.
        theta_keys: Names of theta at the top level, the one that wins first.
        theta: The class default.
        overrides: Top-level fields that win over the dictionaries.
    """

    label: str
    sections: tuple[Fields, ...]
    class_section: Mapping[str, Any]
    theta_keys: tuple[str, ...]
    theta: float
    overrides: frozenset[str] = frozenset()


def _dictionaries(config: Config) -> tuple[Fields | None, Fields | None]:
    """The file's `rope_scaling` and `rope_parameters`, where they hold something."""
    found = [config.fields.section(key) for key in ("rope_scaling", "rope_parameters")]
    scaling, parameters = (section if section is not None and section.mapping else None for section in found)
    return scaling, parameters


def _is_nested(section: Fields, labels: frozenset[str]) -> bool:
    """Whether a dictionary holds one dictionary per layer type; null for a type means no positions there."""
    return any(
        isinstance(value, Mapping) or (value is None and key in labels) for key, value in section.mapping.items()
    )


def _sources(config: Config, types: tuple[str, ...] | None) -> tuple[tuple[_Source, ...], frozenset[str]]:
    """The sources per kind of layer, and the kinds that the file declares to be without positions."""
    family = config.family
    scaling, parameters = _dictionaries(config)
    labels = frozenset(types or ()) | frozenset(family.labels)
    winner = scaling or parameters  # a legacy dictionary replaces the new one
    if winner is not None and _is_nested(winner, labels):
        return _nested_sources(config, winner, labels)
    if family.per_layer_type:
        nested = parameters if parameters is not None and _is_nested(parameters, labels) else None
        merged = winner if nested is None else scaling
        return _per_type_sources(config, merged, nested), frozenset()
    class_section = family.rope_parameters or {}
    return (
        _Source(
            "all",
            () if winner is None else (winner,),
            class_section if winner is None else {},
            family.theta_keys,
            family.rope_theta,
            frozenset({"original_max_position_embeddings"}),
        ),
    ), frozenset()


def _nested_sources(
    config: Config, section: Fields, labels: frozenset[str]
) -> tuple[tuple[_Source, ...], frozenset[str]]:
    family = config.family
    # Gemma 3 and its like fill a missing or null layer type with the defaults; to others null is "no positions"
    fills = family.per_layer_type and family.local_theta is not None
    missing = frozenset(key for key in labels if key in section.mapping and section.mapping[key] is None)
    silent = frozenset() if fills else missing
    sources = []
    for key in _ordered(section.mapping, family):
        inner = section.section(key) if isinstance(section.mapping.get(key), Mapping) else None
        if inner is not None or (fills and key in family.labels):
            keys, theta = _theta_of(family, key)
            sources.append(_Source(key, () if inner is None else (inner,), {}, keys, theta))
    if not sources:
        raise section.error(next(iter(section.mapping)), "an object for at least one layer type")
    return tuple(sources), silent


def _ordered(mapping: Mapping[str, Any], family: Family) -> list[str]:
    """Layer types in the family's order, then any others in the file's."""
    first = [label for label in family.labels if label in mapping or family.per_layer_type]
    return first + [key for key in mapping if key not in first]


def _theta_of(family: Family, label: str) -> tuple[tuple[str, ...], float]:
    """The top-level names of theta for a kind of layer, and the class default."""
    if label == family.labels[-1] and family.local_theta is not None:
        return ((family.local_theta_key,) if family.local_theta_key else ()), family.local_theta
    return family.theta_keys, family.rope_theta


def _per_type_sources(config: Config, merged: Fields | None, nested: Fields | None) -> tuple[_Source, ...]:
    """Families whose layer types differ, with a flat dictionary or none: it belongs to some of the types only."""
    family = config.family
    own = family.rope_parameters or {}
    sources = []
    for label in family.labels:
        keys, theta = _theta_of(family, label)
        inner = nested.section(label) if nested is not None else None
        sections = tuple(part for part in (merged if _takes_flat(config, label) else None, inner) if part is not None)
        if config.family_key == "deepseek_v4" and label == "compress":
            defaults = {"attention_factor": 1.0} if _states_yarn(sections) else {}
            sources.append(_Source(label, sections, defaults, keys, theta, frozenset({"rope_theta"})))
        else:
            sources.append(_Source(label, sections, own.get(label, {}) if not sections else {}, keys, theta))
    return tuple(sources)


def _takes_flat(config: Config, label: str) -> bool:
    """Gemma 3 and OLMo 3 stretch full attention only, DeepSeek-V4 compressed attention only, ModernBERT both."""
    if config.family.theta_keys == ("global_rope_theta",):
        return True
    return label == ("compress" if config.family_key == "deepseek_v4" else config.family.labels[0])


def _states_yarn(sections: tuple[Fields, ...]) -> bool:
    return any("yarn" in (section.mapping.get("rope_type"), section.mapping.get("type")) for section in sections)


class _Settings:
    """Reads the settings of one kind of layer, and writes down where each was found."""

    def __init__(self, config: Config, source: _Source) -> None:
        self.config = config
        self.source = source
        self.fields = config.fields
        self.origins: dict[str, str] = {}
        self.notes: list[str] = []

    def read(self) -> RopeSettings:
        """The settings, or an error that names the file and the field."""
        try:
            head_dim = self.head_dim()
            kind = self.rope_type()
            values = {
                "head_dim": head_dim,
                "rope_type": kind,
                "rope_theta": self.theta(),
                **self.width(kind, head_dim),
                **self.stretching(kind),
                "max_position_embeddings": self.config.max_position_embeddings,
                "layout": self.layout(),
                "rotated_part": self.config.family.rotated_part,
                "clockwise": self.config.family.clockwise,
            }
            return RopeSettings(**values, **self.mrope(values["rotary_dim"] // 2))
        except ConfigError as error:
            named = self._naming(error)
            if named is error:
                raise
            raise named from error

    def _naming(self, error: ConfigError) -> ConfigError:
        """An error about a setting, with the file and the path of the field in front."""
        name, _, rest = error.message.partition(" ")
        if error.message.startswith(f"{self.config.file}: "):
            return error
        origin = self.origins.get(name, "")
        if name in ("head_dim", "rotary_dim") and not origin.endswith(name):
            return type(error)(f"{self.config.file}: {origin or name}: {error.message}", hint=error.hint)
        path = origin if origin.endswith(name) and " " not in origin else self._path(name)
        return type(error)(f"{self.config.file}: {path} {rest}", hint=error.hint)

    def _path(self, name: str) -> str:
        inside = self.source.sections[0] if self.source.sections else self.fields
        if name == "rope_type" and not inside.has("rope_type") and inside.has("type"):
            return inside.name("type")
        return inside.name(name)

    def find(self, key: str, read: Callable[[Fields, str], Value | None]) -> Value | None:
        """A setting from the dictionaries of the file, or of the class."""
        if key in self.source.overrides and self.fields.has(key):
            return self._note(key, read(self.fields, key), self.fields.name(key))
        for section in self.source.sections:
            if section.has(key):
                return self._note(key, read(section, key), section.name(key))
        if self.source.class_section.get(key) is not None:
            origin = self.config.class_default
            return self._note(key, read(Fields(self.source.class_section, self.config.file), key), origin)
        return None

    def _note(self, key: str, value: Value, origin: str) -> Value:
        self.origins[key] = origin
        return value

    def number(self, key: str) -> float | None:
        """A number from the dictionaries."""
        return self.find(key, Fields.number)

    def head_dim(self) -> int:
        """The channels of a head of this kind of layer."""
        family, label = self.config.family, self.source.label
        if family.global_head_dim is not None and label == "full_attention":
            stated = self.fields.integer("global_head_dim", minimum=1)
            origin = self.fields.name("global_head_dim") if stated else self.config.class_default
            return self._note("head_dim", stated or family.global_head_dim, origin)
        found = self.config.head_dim
        if found is None:
            why = self.config.origins["head_dim"]
            missing = "and neither are hidden_size and num_attention_heads" if why == NOT_IN_FILE else f"and {why}"
            raise ConfigError(f"{self.config.file}: head_dim is not in the file, {missing}")
        return self._note("head_dim", found, self.config.origins["head_dim"])

    def rope_type(self) -> str:
        """The type by its own name, under whichever key and by whichever older name the file has it."""
        stated = self.find("rope_type", Fields.string)
        if stated is None:
            stated = self.find("type", Fields.string)
            if stated is not None:
                self.origins["rope_type"] = self.origins.pop("type")
        if stated is None:
            self.origins["rope_type"] = NOT_IN_FILE if not self.source.sections else "not in the dictionary"
            stated = "default"
        family = self.config.family_key
        if stated == "yarn" and family == "phi3":
            return "longrope"
        if family == "qwen" and self.fields.boolean("use_dynamic_ntk"):
            return self._note("rope_type", "qwen_ntk", self.fields.name("use_dynamic_ntk"))
        if stated == "dynamic" and self.config.family.dynamic_ntk == "alpha" and self.number("alpha"):
            return "ntk_alpha"
        return OLD_NAMES.get(stated, stated)

    def theta(self) -> float:
        """The base: from the dictionary, the top level, or the class."""
        inside = self.find("rope_theta", Fields.number)
        if inside is not None and "rope_theta" not in self.source.overrides:
            return inside
        for key in self.source.theta_keys:
            stated = self.fields.number(key)
            if stated is not None:
                return self._note("rope_theta", stated, self.fields.name(key))
        ratio = self.fields.number("rope_ratio")  # ChatGLM: a multiple of 10,000
        if ratio is not None:
            return self._note("rope_theta", 10_000.0 * ratio, f"10000 * {self.fields.name('rope_ratio')}")
        known = self.config.family is not UNKNOWN
        origin = self.config.class_default if known else f"{NOT_IN_FILE}; {self.source.theta:g} is assumed"
        return self._note("rope_theta", self.source.theta, origin)

    def layout(self) -> Any:
        """The pairing of the family; latent families can switch theirs in the file."""
        family = self.config.family
        self.origins["layout"] = self.config.class_default if family.layout else "family unknown, layout not known"
        if family.layout == "interleaved-in-half-out" and self.fields.boolean("rope_interleave") is False:
            return self._note("layout", "half", self.fields.name("rope_interleave"))
        if self.config.family_key == "deepseek_v2" and self.fields.boolean("use_mla") is False:
            return self._note("layout", "half", self.fields.name("use_mla"))
        if self.config.family_key == "gpt_neo":
            return self._note("layout", "interleaved", self.fields.name("rotary"))
        return family.layout

    def width(self, kind: str, head_dim: int) -> dict[str, Any]:
        """How many channels turn; and the share, where the formula itself needs it."""
        share, stated = self._share(head_dim)
        if kind == "proportional":
            self.origins["rotary_dim"] = "head_dim (proportional: pairs over the whole head)"
            return {"rotary_dim": head_dim, "partial_rotary_factor": 1.0 if share is None else share}
        if kind == "default" and not self.config.family.honours_partial and stated is None:
            if share not in (None, 1.0):
                self.notes.append(
                    f"{self.origins['rotary_dim']} is in the file, but this family's default RoPE ignores it"
                )
            share, stated = None, None
        if self.config.family_key == "mistral4" or share is None:
            # mistral4 counts its share over both parts of a head; head_dim here is the rotary part alone
            self._note("rotary_dim", None, "head_dim")
            return {"rotary_dim": head_dim}
        width = stated if stated is not None else int(head_dim * share)
        if not 0 < share <= 1 or width == 0:
            raise ConfigError(
                f"{self.config.file}: {self.origins['rotary_dim']} leaves {width} of {head_dim} channels to rotate"
            )
        if width % 2 and width < head_dim and self.config.family.odd_rotary_dim:
            self.notes.append(f"an odd rotary width of {width} is rounded up to whole pairs, as this family does")
            return {"rotary_dim": width + 1, "exponent_dim": width}
        return {"rotary_dim": width}

    def _share(self, head_dim: int) -> tuple[float | None, int | None]:
        """The share of a head that turns, and the width where the file states that."""
        inside = self.number("partial_rotary_factor")
        if inside is not None and "rope_theta" not in self.source.overrides:
            self.origins["rotary_dim"] = self.origins["partial_rotary_factor"]
            return inside, None
        family = self.config.family
        for key in family.partial_keys:
            stated = self.fields.number(key)
            if stated is not None:
                return self._note("rotary_dim", stated, self.fields.name(key)), None
        for key in self._width_keys():
            width = self.fields.integer(key)
            if width is not None:
                self.origins["rotary_dim"] = self.fields.name(key)
                return width / head_dim, width
        if family.rotary_dim is not None:
            self.origins["rotary_dim"] = self.config.class_default
            return family.rotary_dim / head_dim, min(family.rotary_dim, head_dim)
        return self._note("rotary_dim", family.partial_rotary_factor, self.config.class_default), None

    def _width_keys(self) -> tuple[str, ...]:
        if self.config.family_key == "deepseek_v4":
            return ("qk_rope_head_dim",)
        return ("rotary_dim",) if self.config.family.rotary_dim_key else ()

    def stretching(self, kind: str) -> dict[str, Any]:
        """The fields that one type or another stretches by; unused ones are not read."""
        names = STRETCHING_FIELDS.get(kind, ())
        values: dict[str, Any] = {name: self.number(name) for name in names if name not in _SPECIAL}
        for name in ("beta_fast", "beta_slow"):
            if name in values:
                values[name] = values[name] or None  # 0 means "the usual" to everyone who reads it
        for name in ("short_factor", "long_factor"):
            if name in names:
                values[name] = self.find(name, Fields.numbers)
        if "truncate" in names:
            truncate = self.find("truncate", Fields.boolean)
            values["truncate"] = True if truncate is None else truncate
        if "original_max_position_embeddings" in names:
            values["original_max_position_embeddings"] = self.original(kind)
        if values.get("factor") is None and "factor" in names and kind in ("yarn", "longrope"):
            self.origins["factor"] = "max_position_embeddings / original_max_position_embeddings"
        return values

    def original(self, kind: str) -> int | None:
        """The context length before the stretching; the present one where the file does not tell them apart."""
        if kind == "qwen_ntk":
            trained = self.fields.integer("seq_length", minimum=1)
            if trained is not None:
                return self._note("original_max_position_embeddings", trained, self.fields.name("seq_length"))
        found = self.find("original_max_position_embeddings", lambda fields, key: fields.integer(key, minimum=1))
        if found is not None:
            return found
        return self._note(
            "original_max_position_embeddings", self.config.max_position_embeddings, "max_position_embeddings"
        )

    def mrope(self, pairs: int) -> dict[str, Any]:
        """How three positions share the frequencies. Interleaving is the class's choice: the field is never read."""
        family = self.config.family
        section = self.find("mrope_section", Fields.integers)
        if family.mrope is None and family is not UNKNOWN:
            if section is not None:
                self.notes.append("mrope_section is in the file, but this family has one position per token")
                del self.origins["mrope_section"]
            return {}
        if section is None and family.mrope_section is not None:
            if sum(family.mrope_section) != pairs:
                self.notes.append(f"the class default of mrope_section does not fit {pairs} pairs; it is left out")
                return {}
            section = self._note("mrope_section", family.mrope_section, self.config.class_default)
        if section is None:
            return {}
        interleaved = family.mrope == "interleaved"
        if family is UNKNOWN:
            interleaved = bool(self.find("mrope_interleaved", Fields.boolean))
        return {"mrope_section": section, "mrope_interleaved": interleaved}


OLD_NAMES: Mapping[str, str] = {"su": "longrope", "mrope": "default"}
"""Older names of RoPE types."""

STRETCHING_FIELDS: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "ntk_alpha": ("alpha",),
    "qwen_ntk": ("original_max_position_embeddings",),
    "yarn": (
        *("factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
        "original_max_position_embeddings",
    ),
    "longrope": (
        *("factor", "attention_factor", "short_factor", "long_factor", "short_mscale", "long_mscale"),
        "original_max_position_embeddings",
    ),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "proportional": ("factor",),
}
"""The fields that each type reads."""

_SPECIAL = frozenset({"truncate", "short_factor", "long_factor", "original_max_position_embeddings"})


# --- RoPE: put together -------------------------------------------------------------------------------------------


def _rope(config: Config) -> Rope:
    types = _layer_types(config)
    sources, silent = _sources(config, types)
    nope = set(_nope_layers(config, types))
    if types is not None and silent:
        nope |= {i for i, kind in enumerate(types) if kind in silent}
    layers, notes = [], []
    for source in sources:
        reader = _Settings(config, source)
        settings = reader.read()
        label, indices = _placed(config, source, types, nope)
        layers.append(LayerRope(layer_type=label, layers=indices, settings=settings, origins=dict(reader.origins)))
        notes += [note for note in reader.notes if note not in notes]
    if config.family.pattern is not None and config.family.pattern.period == 1:
        # these classes have settings for kinds of layer that most of their models do not have
        layers = [entry for entry in layers if entry.layer_count != 0] or layers
    known = config.family.layout is not None
    if not known:
        notes.insert(0, "family unknown, layout not known")
    return Rope(
        layers=tuple(layers),
        nope_layers=tuple(sorted(nope)),
        layer_counts=MappingProxyType(dict(Counter(types or ()))),
        layout_known=known,
        notes=tuple(notes + _family_notes(config)),
        context_length=config.max_position_embeddings,
        origins=MappingProxyType({"context_length": config.origins["max_position_embeddings"], **layers[0].origins}),
    )


def _placed(
    config: Config, source: _Source, types: tuple[str, ...] | None, nope: set[int]
) -> tuple[str, tuple[int, ...] | None]:
    """The name of a kind of layer and the layers that are of it."""
    count = config.num_hidden_layers
    if count is None:
        return source.label, None
    if types is None:
        return source.label, tuple(i for i in range(count) if i not in nope) if source.label == "all" else None
    attending = tuple(i for i, kind in enumerate(types) if kind not in LAYERS_WITHOUT_ATTENTION and i not in nope)
    if source.label == "all":
        kinds = {types[i] for i in attending}
        partial = len(attending) < count and not any(types[i] in kinds for i in range(count) if i not in attending)
        return (kinds.pop() if len(kinds) == 1 and partial else "all"), attending
    if config.family_key == "deepseek_v4":
        main = source.label == "main"
        return source.label, tuple(i for i in attending if (types[i] == "sliding_attention") == main)
    return source.label, tuple(i for i in attending if types[i] == source.label)


def _family_notes(config: Config) -> list[str]:
    notes = []
    if config.family_key == "gpt_neo":
        notes.append("the file says gpt_neo but rotary: true: an early GPT-J, read as one")
    if config.fields.has("llama_4_scaling_beta") or config.family_key in ("llama4_text", "ministral3"):
        notes.append("queries are also scaled by position, which is not a rotation")
    return notes


SCHEMES: Mapping[str, Callable[[Config], Positions]] = {
    "rope": _rope,
    "learned": _learned,
    "sinusoidal": _sinusoidal,
    "alibi": _alibi,
    "relative": _relative,
    "none": _none,
}
"""How each kind of scheme is read."""
