"""How a model knows positions, as a part of an answer and in words: for `info`, `rope` and `input`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embtool.answers import inline, python, value
from embtool.answers.text import count, plural, ranges
from embtool.configs.config import NOT_IN_FILE
from embtool.errors import NoRope
from embtool.positions import (
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
)
from embtool.rope import MROPE_ORDERS, Frequencies

if TYPE_CHECKING:
    from embtool.model import Model

Lines = list[tuple[str, str]]
"""Lines of a card: a label and its value; a line without a label continues the one above."""

PER_PAIR = ("short_factor", "long_factor")
"""Settings with a number per pair: too long to stand among the others."""

DEFAULTED = ("head_dim", "rotary_dim", "rope_theta", "mrope_section", "factor")
"""The settings of which a reader is told that the file does not have them."""

MISSING = ("head_dim", "num_attention_heads")
"""What tells how wide a head is."""


@dataclass(frozen=True)
class LayerRotation:
    """The rotation of one kind of layer, without its lists per pair.

    Attributes:
        stretching: What the `rope_type` stretches by, by its names in a config.
    """

    layer_type: str = value("the kind of layer, as the config names it; all where every layer rotates alike")
    layer_count: int | None = value("how many layers are of this kind; null where the config does not say")
    layers: tuple[int, ...] | None = value("which layers, counted from 0")
    rope_type: str = value("how the frequencies are made, as transformers names it")
    rope_theta: float = value("the base of the frequencies")
    head_dim: int = value("channels of a head")
    rotary_dim: int = value("channels of a head that are paired")
    layout: str | None = value("which two channels make a pair; null where the family is not known")
    rotated_part: str = value("whether the first or the last channels of a head turn")
    direction: str = value("which way a position above 0 turns")
    attention_factor: float = value("what cos and sin are multiplied by")
    mrope_section: tuple[int, ...] | None = value("pairs of each axis, where a token has three positions")
    mrope_order: str | None = value("which pairs follow which axis")
    stretching: Mapping[str, Any] = inline()
    origins: Mapping[str, str] = value("where each setting was read")
    layer: LayerRope = python()


def rotation_fields(layer: LayerRope, turning: Frequencies | None = None) -> dict[str, Any]:
    """Return the fields of a `LayerRotation`; `turning` are the frequencies in the sequence asked about, if any."""
    settings = layer.settings
    return {
        "layer_type": layer.layer_type,
        "layer_count": layer.layer_count,
        "layers": layer.layers,
        "rope_type": settings.rope_type,
        "rope_theta": settings.rope_theta,
        "head_dim": settings.head_dim,
        "rotary_dim": settings.turning_width,
        "layout": settings.layout,
        "rotated_part": settings.rotated_part,
        "direction": "clockwise" if settings.clockwise else "counter-clockwise",
        "attention_factor": (layer if turning is None else turning).attention_factor,
        "mrope_section": settings.mrope_section,
        "mrope_order": None if settings.mrope_section is None else settings.mrope_order,
        "stretching": {name: held for name, held in settings.stretching.items() if name not in PER_PAIR},
        "origins": layer.origins,
        "layer": layer,
    }


@dataclass(frozen=True)
class AppliedScale:
    """What rows are multiplied by after the lookup."""

    kind: str = value("whether it is sqrt(hidden_size) or a number of the config")
    multiplier: float = value("the number, in full precision")
    rounded: bool = value("whether the model rounds it to the dtype of its weights")
    applied: float = value("the number as it is applied")
    origin: str = value("where it was read")


@dataclass(frozen=True)
class ModelPositions:
    """How a model knows positions.

    Attributes:
        details: What only its scheme has, by the names of `embtool.positions`.
        scheme: The scheme; None where the file names RoPE and not how wide a head is.
    """

    kind: str = value("rope, learned, sinusoidal, alibi, relative, none or unknown")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    layers: tuple[LayerRotation, ...] = value("the rotation of each kind of layer")
    nope_layers: tuple[int, ...] = value("attention layers without positions")
    details: Mapping[str, Any] = inline()
    origins: Mapping[str, str] = value("where each value was read")
    notes: tuple[str, ...] = value("what a reader should know besides")
    embedding_scale: AppliedScale | None = value("what rows are multiplied by after the lookup; null where by nothing")
    scheme: Positions | None = python()


def describe_positions(model: "Model", dtype: str | None = None) -> ModelPositions | None:
    """Describe a model's positions; None where it has no config.

    Args:
        model: the model.
        dtype: that of its input table, to which some models round what they multiply its rows by.

    Raises:
        ConfigError: the config has position fields that mean nothing.
    """
    config = model.config
    if config is None:
        return None
    scale = config.embedding_scale
    applied = None
    if scale is not None:
        factor = scale.in_dtype(dtype or config.dtype or "")
        applied = AppliedScale(scale.kind, scale.multiplier, scale.rounded, factor, scale.origin)
    unknown = not config.family_known and config.origins["head_dim"] == NOT_IN_FILE and config.head_dim is None
    if unknown and any(map(config.fields.has, ("rope_theta", "rope_parameters", "rope_scaling"))):
        reason = f"{' and '.join(MISSING)} are {NOT_IN_FILE}, so the rotation is not known"
        origins = dict.fromkeys(MISSING, NOT_IN_FILE)
        return ModelPositions("rope", config.max_position_embeddings, (), (), {}, origins, (reason,), applied, None)
    scheme = model.positions
    rope = scheme if isinstance(scheme, Rope) else None
    names = {
        Rope: ("num_hidden_layers", "layer_counts"),
        Learned: ("rows", "row_offset"),
        Sinusoidal: ("width", "row_offset"),
        Alibi: ("slopes", "score_scale"),
        T5Buckets: ("buckets", "max_distance", "per_layer"),
        OtherRelative: ("scheme",),
        NoPositions: ("reason",),
        UnknownPositions: ("reason",),
    }[type(scheme)]
    return ModelPositions(
        kind=scheme.kind,
        context_length=scheme.context_length,
        layers=tuple(LayerRotation(**rotation_fields(layer)) for layer in rope.layers) if rope else (),
        nope_layers=rope.nope_layers if rope else (),
        details={"layer_types" if name == "layer_counts" else name: getattr(scheme, name) for name in names},
        origins=scheme.origins,
        notes=scheme.notes,
        embedding_scale=applied,
        scheme=scheme,
    )


def no_rope(name: str, positions: Positions) -> NoRope:
    """Return the error of one who needs rotary positions, with what to try instead."""
    if isinstance(positions, UnknownPositions):
        return NoRope(f"nothing tells how {name} knows positions: {positions.reason}")
    instead = {
        "learned": "a learned table",
        "sinusoidal": "a fixed pattern of sines and cosines",
        "alibi": "ALiBi, a bias by distance",
        "relative": "a bias by distance",
        "none": "no positions at all",
    }[positions.kind]
    added = positions.kind in ("learned", "sinusoidal")
    hint = f"embtool input TEXT -m {name} shows what is added" if added else f"embtool info {name} tells more"
    return NoRope(f"{name} has no rotary positions: it has {instead}", hint=hint)


# --- words ------------------------------------------------------------------------------------------------------------


def position_lines(found: ModelPositions | None) -> Lines:
    """Describe positions for a reader, as the lines of a card."""
    if found is None:
        return [("kind", "not known: no config.json")]
    scale, scheme = found.embedding_scale, found.scheme
    scaled = [("row scale", f"rows are multiplied by {scale.applied:g} ({scale.origin})")] if scale is not None else []
    if scheme is None:
        return [("RoPE", f"family unknown: {found.notes[0]}"), *scaled]
    notes = [("note", note) for note in scheme.notes]
    shown = scaled if scheme.kind in ("learned", "sinusoidal", "rope") else []
    length, where = scheme.context_length, scheme.origins.get("context_length", NOT_IN_FILE)
    unsaid = where if where == NOT_IN_FILE else "no limit is stated"
    context = ("context", unsaid if length is None else plural(length, "token"))
    return [*_scheme_lines(scheme), context, *notes, *shown]


def _scheme_lines(positions: Positions) -> Lines:  # noqa: PLR0911 - one return per scheme
    if isinstance(positions, Rope):
        return _rope_lines(positions)
    if isinstance(positions, Learned):
        rows = "a table" if positions.rows is None else f"a table of {plural(positions.rows, 'row')}"
        return [("learned", f"{rows}, added to the token's row"), ("", f"position p is {written_row(positions)}")]
    if isinstance(positions, Sinusoidal):
        return [("sinusoidal", "a fixed pattern of sines and cosines is added to the token's row")]
    if isinstance(positions, Alibi):
        heads, steepest, flattest = len(positions.slopes), max(positions.slopes), min(positions.slopes)
        slopes = f"{plural(heads, 'head')}, slopes {steepest:.4g} to {flattest:.4g}"
        return [("ALiBi", "attention lowers its scores by slope × distance"), ("", slopes)]
    if isinstance(positions, T5Buckets):
        where = "every layer" if positions.per_layer else "the first layer, used by all"
        return [
            ("relative", f"a trained bias per head: {plural(positions.buckets, 'bucket')} of distances"),
            ("", f"up to {plural(positions.max_distance, 'token')}, in a table of {where}"),
        ]
    if isinstance(positions, OtherRelative):
        return [("relative", positions.scheme)]
    return [("not known" if isinstance(positions, UnknownPositions) else "none", positions.reason)]


def written_row(positions: Learned) -> str:
    """Which row a position is looked up at."""
    return f"row p + {positions.row_offset}" if positions.row_offset else "row p"


def _rope_lines(rope: Rope) -> Lines:
    found: Lines = []
    for layer in rope.layers:
        first, *rest = [*layer_lines(layer), _where(layer, rope)]
        found.append(("RoPE" if layer.layer_type == "all" else layer.layer_type, first))
        found += [("", line) for line in rest if line]
    for kind, number in rope.layer_counts.items():
        if kind.startswith(("linear", "lightning", "conv", "mamba", "recurrent")) and number:
            found.append((kind, f"{plural(number, 'layer')}, without positions"))
    if rope.nope_layers:
        found.append(
            ("NoPE", f"{plural(len(rope.nope_layers), 'layer')} without positions: {ranges(rope.nope_layers)}")
        )
    by_origin: dict[str, list[str]] = {}
    for name in DEFAULTED:
        for origin in dict.fromkeys(layer.origins.get(name, "") for layer in rope.layers):
            if origin.startswith(("class default", "llama.cpp's default", NOT_IN_FILE)):
                by_origin.setdefault(origin.removeprefix(f"{NOT_IN_FILE}; "), []).append(name)
    return found + [("not in file", f"{', '.join(names)}: {origin}") for origin, names in by_origin.items()]


def _where(layer: LayerRope, rope: Rope) -> str:
    """Which layers are of a kind."""
    if rope.is_idle:
        return "for demonstration: the model has no layers"
    if layer.layers is None:
        return ""
    if len(layer.layers) == rope.num_hidden_layers:
        return "the only layer" if len(layer.layers) == 1 else f"all {count(len(layer.layers))} layers"
    listed = f": {ranges(layer.layers)}" if layer.layers else ""
    if rope.num_hidden_layers is None:
        return plural(len(layer.layers), "layer") + listed
    return f"{count(len(layer.layers))} of {plural(rope.num_hidden_layers, 'layer')}{listed}"


def layer_lines(layer: LayerRope, turning: Frequencies | None = None) -> list[str]:
    """Describe the rotation of one kind of layer in short lines: its frequencies, its channels, its axes.

    `turning` are its frequencies in the sequence asked about, where there is one.
    """
    settings = layer.settings
    grown = layer.attention_factor if turning is None else turning.attention_factor
    used: Mapping[str, Any] = settings.stretching
    words = [f"{name} {setting(used[name])}" for name in ("factor", "alpha") if used.get(name) not in (None, 1)]
    original = used.get("original_max_position_embeddings")
    if original is not None:
        words.append(f"from {plural(original, 'token')}")
    stretched = "".join(f", {word}" for word in words)
    found = [f"{settings.rope_type}, theta {setting(settings.rope_theta)}{stretched}"]
    if grown != 1:
        found.append(f"turned channels also grow {grown:.6g} times (attention factor)")
    found.append(_channels(layer))
    if settings.mrope_section is not None:
        axes = ("h", "w", "t") if settings.mrope_order == "height-width-time" else ("t", "h", "w")
        shares = ", ".join(f"{axis} {n}" for axis, n in zip(axes, settings.mrope_section, strict=True))
        found.append(f"mRoPE, {shares} pairs: {MROPE_ORDERS[settings.mrope_order]}")
    return found


def _channels(layer: LayerRope) -> str:
    """Which channels of a head turn, and which two make a pair."""
    settings = layer.settings
    turning = 2 * settings.live_pairs
    last = ", the last ones" if settings.rotated_part == "last" else ""
    clockwise = ", clockwise" if settings.clockwise else ""
    part = " of the rotary part" if "qk_rope_head_dim" in layer.origins.get("head_dim", "") else ""
    every = turning == settings.head_dim
    some = f"all {turning} channels{part} turn" if every else f"{turning} of {settings.head_dim} channels turn"
    half = settings.pairs
    paired = {
        None: "which two make a pair is not known",
        "half": f"pairs (i, i + {half})",
        "interleaved": "pairs (2i, 2i + 1)",
        "interleaved-in-half-out": f"pairs (2i, 2i + 1) stored at (i, i + {half})",
    }[settings.layout]
    return f"{some}{last}{clockwise}, {paired}"


def closing(remarks: Iterable[str]) -> list[str]:
    """Indent the lines that stand below a table; a terminal breaks them where it ends."""
    return [f"  {remark}" for remark in remarks]


def in_words(positions: Positions) -> str:  # noqa: PLR0911 - one return per scheme
    """How the model learns where a token stands, in one sentence."""
    if isinstance(positions, Rope) and positions.is_idle:
        return "rotary positions by its config: nothing is added, and as it has no layers, nothing is turned either"
    if isinstance(positions, UnknownPositions):
        return f"how it knows positions is not known: {positions.reason}; these are its rows, as they are stored"
    if isinstance(positions, Rope) and not positions.sum_known:
        return (
            "rotary positions: inside each head queries and keys will be turned; whether rows are scaled or added to "
            "before the first block is not known: these are its rows, as they are stored"
        )
    if isinstance(positions, Rope):
        return (
            "rotary positions: nothing is added, the first block reads the rows as they are; inside each head queries "
            "and keys will be turned by the angles shown"
        )
    if isinstance(positions, Learned):
        return f"learned positions: {written_row(positions)} of the position table is added for position p"
    if isinstance(positions, Sinusoidal):
        return "sinusoidal positions: a fixed pattern of sines and cosines is added"
    if isinstance(positions, Alibi):
        return "ALiBi: nothing is added; attention lowers its scores by the distance"
    if isinstance(positions, T5Buckets):
        return "relative positions: nothing is added; attention adds a trained bias for the distance"
    if isinstance(positions, OtherRelative):
        return f"relative positions ({positions.scheme}): nothing is added to the rows"
    return f"no positions: nothing is added; {positions.reason}"


WHOLE = 1e15
"""Below it every whole number is written out: 10,000,000 and not 1e+07."""


def setting(value: float) -> str:
    """Write a setting for a reader: 10,000,000, 0.25, 1.0e-05."""
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < WHOLE else f"{value:,.6g}"
