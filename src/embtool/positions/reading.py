"""A `Config` -> the scheme by which the model knows order: one function per scheme, chosen by family and file.

To add a scheme: write its dataclass in `embtool.positions.schemes`, one function here, and name it in `SCHEMES`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from embtool.configs.config import NOT_IN_FILE, Config, rounded
from embtool.configs.families import UNKNOWN
from embtool.errors import ConfigError
from embtool.positions.layers import (
    WITHOUT_ATTENTION,
    LayerTypes,
    SilentLayers,
    layer_count,
    read_layer_types,
    read_silent_layers,
)
from embtool.positions.rope_fields import UNKNOWN_LAYOUT, SettingsReader
from embtool.positions.rope_sources import RopeSource, find_sources
from embtool.positions.schemes import (
    DEFAULT_ALIBI_MAX,
    Alibi,
    LayerRope,
    Learned,
    NoPositions,
    OtherRelative,
    Positions,
    Rope,
    Sinusoidal,
    T5Buckets,
    UnknownPositions,
    alibi_slopes,
)

MAX_HEADS = 100_000
"""Heads. Real models have at most a few hundred; every ALiBi head has a slope, and a config can claim any number."""

MAX_WIDTH = 1 << 20
"""Channels. Real models have at most some ten thousand; every channel has a wave, and a config can claim any number."""


def read_positions(config: Config) -> Positions:
    """How this model knows order.

    Raises:
        ConfigError: A position field is missing, of the wrong type, or out of range; the message names it.
        UnsupportedRope: The `rope_type` is not known.
    """
    scheme = SCHEMES[_kind(config)](config)
    first = config.family.first_position
    if config.recorded is not None and not first:
        first = (config.recorded.family or {}).get("first_position", 0)
    notes = scheme.notes
    if first:
        notes = (*notes, f"the first token stands at position {first}")
    return replace(scheme, sum_known=config.family.sum_known, first_position=first, notes=notes)


# --- Which scheme -------------------------------------------------------------------------------------------------


def _kind(config: Config) -> str:
    """The scheme: the family's, unless a field of the file says otherwise."""
    fields, family = config.fields, config.family
    if family is UNKNOWN:
        if fields.mapping.get("alibi") is True:
            return "alibi"
        return "rope" if any(fields.has(key) for key in ROPE_FIELDS) else "unknown"
    decide = DECIDED_BY_FILE.get(config.family_key)
    if decide is not None:
        return decide(config)
    absolute = fields.string("position_embedding_type") in (None, "absolute")
    return "relative" if family.kind == "learned" and not absolute else family.kind


ROPE_FIELDS = (
    *("rope_parameters", "rope_scaling", "rope_theta", "rotary_dim", "rotary_pct", "rotary_emb_base", "rope_ratio"),
    *("partial_rotary_factor", "rope_embedding_base"),
)
"""Fields that only a model with rotary positions has; not qk_rope_head_dim, which Kimi Linear has and does not turn."""


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


def _deberta(config: Config) -> str:
    if not config.fields.boolean("relative_attention"):
        return "learned"
    return "relative"


def _by_type(name: str, kind: str, otherwise: str) -> Callable[[Config], str]:
    def decide(config: Config) -> str:
        return kind if config.fields.string("position_embedding_type") == name else otherwise

    return decide


def _by_flag(key: str, kind: str, otherwise: str) -> Callable[[Config], str]:
    def decide(config: Config) -> str:
        return kind if config.fields.boolean(key) else otherwise

    return decide


DECIDED_BY_FILE: Mapping[str, Callable[[Config], str]] = {
    "baichuan": _baichuan,
    "deberta": _deberta,
    "deberta-v2": _deberta,
    "esm": _by_type("rotary", "rope", "learned"),
    "falcon": lambda config: "alibi" if config.fields.boolean("alibi") else "rope",
    "gpt_neo": _by_flag("rotary", "rope", "learned"),
    "granitemoehybrid": _by_type("rope", "rope", "none"),
    "mpt": _mpt,
    "xlm": _by_flag("sinusoidal_embeddings", "sinusoidal", "learned"),
    "zamba2": _by_flag("use_mem_rope", "rope", "none"),
}
"""Families whose file chooses the scheme."""


# --- Schemes other than RoPE --------------------------------------------------------------------------------------


def _common(config: Config, origins: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """What every scheme has: the context length, and the origins of it and of the values named."""
    context = {"context_length": config.origins["max_position_embeddings"]}
    return {
        "context_length": config.max_position_embeddings,
        "origins": {**context, **origins},
    }


def read_learned(config: Config) -> Learned:
    """A table of positions: how many rows it has, and in which of them the first position lies."""
    family, length = config.family, config.max_position_embeddings
    where = config.origins["max_position_embeddings"]
    if family.row_offset == "padding":
        padding = config.fields.integer("pad_token_id")
        offset = (1 if padding is None else padding) + 1
        counted = config.class_default if padding is None else f"{config.fields.name('pad_token_id')} + 1"
        common = _common(config, {"rows": where, "row_offset": counted})
        if length is not None:
            common["context_length"] = max(length - offset, 0)
            common["origins"] = {**common["origins"], "context_length": f"{where} - {offset}"}
        return Learned(rows=length, row_offset=offset, **common)
    extra = family.row_offset if family.extra_rows else 0
    rows = None if length is None else length + extra
    origin = f"{where} + {extra}" if extra and rows is not None else where
    common = _common(config, {"rows": origin, "row_offset": config.class_default})
    return Learned(rows=rows, row_offset=family.row_offset, **common)


def read_sinusoidal(config: Config) -> Sinusoidal:
    """A fixed pattern of waves; a ConfigError refuses one that is wider than any model."""
    offset, width, where = config.family.row_offset, config.hidden_size, config.origins["hidden_size"]
    assert isinstance(offset, int)
    if width is not None and width > MAX_WIDTH:
        raise ConfigError(f"{config.file}: {where} must be at most {MAX_WIDTH} for sinusoidal positions, not {width}")
    origins = {"width": where, "row_offset": config.class_default}
    common = _common(config, origins)
    family = config.family
    return Sinusoidal(
        width=width,
        row_offset=offset,
        last_included=family.last_included,
        alternating=family.alternating_sines,
        **common,
    )


def read_alibi(config: Config) -> Alibi:
    """ALiBi's slopes, one per head; a ConfigError names the field that gives none."""
    heads, where = config.num_attention_heads, config.origins["num_attention_heads"]
    if heads is None or not 1 <= heads <= MAX_HEADS:
        field = "num_attention_heads" if heads is None else where
        shown = NOT_IN_FILE if heads is None else f"not {heads}"
        raise ConfigError(f"{config.file}: {field} must be between 1 and {MAX_HEADS} for ALiBi, {shown}")
    attention = config.fields.section("attn_config")
    stated = attention.number("alibi_bias_max") if attention is not None else None
    if attention is not None and stated is not None and not 0 < stated <= MAX_BIAS:
        raise attention.error("alibi_bias_max", f"above 0 and at most {MAX_BIAS}")
    slopes = alibi_slopes(heads, DEFAULT_ALIBI_MAX if stated is None else stated)
    common = _common(config, {"slopes": where})
    if config.family_key != "falcon":
        return Alibi(slopes=slopes, **common)
    scale = 1 / math.sqrt(config.head_dim) if config.head_dim else 1.0
    return Alibi(slopes=tuple(rounded(slope, "BF16") for slope in slopes), score_scale=scale, **common)


OTHER_SCHEMES: Mapping[str, str] = {
    "xlnet": "Transformer-XL distances",
    **dict.fromkeys(("deberta", "deberta-v2"), "disentangled attention"),
}
"""Ways to read distances that have a name."""

MAX_BIAS = 1000
"""The flattest slope is 2^-this; beyond it, nothing is left of it in float64."""


def read_relative(config: Config) -> T5Buckets | OtherRelative:
    """T5's buckets of distances, or another way by its name; a ConfigError refuses buckets without room."""
    fields = config.fields
    if config.family.kind != "relative" or config.family_key == "xlnet":
        scheme = OTHER_SCHEMES.get(config.family_key, fields.string("position_embedding_type") or "relative attention")
        return OtherRelative(scheme=scheme, **_common(config))
    values = {"buckets": "relative_attention_num_buckets", "max_distance": "relative_attention_max_distance"}
    found = {name: fields.integer(key, minimum=1) for name, key in values.items()}
    origins = {name: fields.name(key) if found[name] else config.class_default for name, key in values.items()}
    buckets, distance = found["buckets"] or 32, found["max_distance"] or 128
    if buckets < 4 or distance <= buckets // 2:  # noqa: PLR2004 - fewer cannot be halved twice
        raise ConfigError(
            f"{config.file}: {fields.name(values['buckets'])} {buckets} leaves no room for distances below {distance}"
        )
    per_layer = config.family_key == "umt5"
    return T5Buckets(buckets=buckets, max_distance=distance, per_layer=per_layer, **_common(config, origins))


def read_no_positions(config: Config) -> NoPositions:
    """No positions, and the reason."""
    if config.model_type == "static":
        reason = "a table of words: nothing reads them in a sequence"
    elif any(config.fields.has(key) for key in ROPE_FIELDS):
        reason = f"{config.model_type} uses no positions, although its file has RoPE fields"
    else:
        reason = f"{config.model_type} knows order only from reading in sequence"
    return NoPositions(reason=reason, **_common(config))


# --- RoPE ---------------------------------------------------------------------------------------------------------


def read_rope(config: Config) -> Rope:
    """The rotation of every kind of layer; a ConfigError or UnsupportedRope names what no formula can use."""
    layer_count(config)
    types = read_layer_types(config)
    named = () if types is None else types.types
    found = find_sources(config, named)
    silent = read_silent_layers(config, types)
    if found.silent:  # beside those of the family's rule, those whose settings are null in the file
        declared = {i for i, kind in enumerate(named) if kind in found.silent} | set(silent.layers)
        silent = SilentLayers(tuple(sorted(declared)), silent.origin or "null in rope_parameters")
    layers, notes = [], []
    for source in found.sources:
        reader = SettingsReader(config, source)
        settings = reader.read()
        label, indices = _placed(config, source, types, frozenset(silent.layers))
        layers.append(LayerRope(layer_type=label, layers=indices, settings=settings, origins=dict(reader.origins)))
        notes += [note for note in reader.notes if note not in notes]
    if config.family.pattern is not None and config.family.pattern.period == 1:
        # these classes have settings for kinds of layer that most of their models do not have
        layers = [entry for entry in layers if entry.layer_count != 0] or layers
    known = config.family.layout is not None
    unknown = [] if known else [UNKNOWN_LAYOUT]
    origins = {"num_hidden_layers": config.origins["num_hidden_layers"]}
    if types is not None:
        origins["layer_types"] = types.origin
        covered = {index for entry in layers for index in entry.layers or ()}
        attending = _attending(types, frozenset(silent.layers))
        forgotten = dict.fromkeys(types.types[i] for i in attending if i not in covered)
        notes += [f"no RoPE settings are given for layers of type {kind}" for kind in forgotten]
    if silent.origin is not None:
        origins["nope_layers"] = silent.origin
    return Rope(
        layers=tuple(layers),
        nope_layers=silent.layers,
        layer_counts=dict(Counter(named)),
        num_hidden_layers=config.num_hidden_layers,
        layout_known=known,
        notes=(*unknown, *notes, *_family_notes(config)),
        **_common(config, origins | dict(layers[0].origins)),
    )


def _placed(
    config: Config, source: RopeSource, types: LayerTypes | None, silent: frozenset[int]
) -> tuple[str, tuple[int, ...] | None]:
    """The name of a kind of layer and the layers that are of it."""
    count = config.num_hidden_layers
    if count is None or config.family.stacked or config.family is UNKNOWN:
        return source.label, None
    if types is None:
        rotating = tuple(i for i in range(count) if i not in silent)
        return source.label, rotating if source.label == "all" else None
    attending = _attending(types, silent)
    if source.label == "all":
        kinds = {types.types[i] for i in attending}
        partial = len(attending) < count and not any(
            types.types[i] in kinds for i in set(range(count)) - set(attending)
        )
        return (kinds.pop() if len(kinds) == 1 and partial else "all"), attending
    if config.family_key == "deepseek_v4":
        main = source.label == "main"
        return source.label, tuple(i for i in attending if (types.types[i] == "sliding_attention") == main)
    return source.label, tuple(i for i in attending if types.types[i] == source.label)


def _attending(types: LayerTypes, silent: frozenset[int]) -> tuple[int, ...]:
    """The layers that have attention and positions."""
    return tuple(i for i, kind in enumerate(types.types) if kind not in WITHOUT_ATTENTION and i not in silent)


def _family_notes(config: Config) -> list[str]:
    notes = []
    if config.family_key == "gpt_neo":
        notes.append("the file says gpt_neo but rotary: true: an early GPT-J, read as one")
    if config.family.trained_frequencies is not None:
        tensor = config.family.trained_frequencies
        notes.append(f"the model multiplies its frequencies by e to the power of a trained tensor, {tensor}: not shown")
    if config.family_key in ("hunyuan_vl", "hunyuan_vl_text"):
        notes.append("a token of an image has four positions, and the two channels of a pair may follow different ones")
    if config.fields.has("llama_4_scaling_beta") or config.family_key in ("llama4_text", "ministral3"):
        notes.append("queries are also scaled by position, which is not a rotation")
    return notes


SCHEMES: Mapping[str, Callable[[Config], Positions]] = {
    "rope": read_rope,
    "learned": read_learned,
    "sinusoidal": read_sinusoidal,
    "alibi": read_alibi,
    "relative": read_relative,
    "none": read_no_positions,
    "unknown": lambda config: UnknownPositions(
        reason="the family is not known, and the file has no position fields", **_common(config)
    ),
}
"""How each kind of scheme is read."""
