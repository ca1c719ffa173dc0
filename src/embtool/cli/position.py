"""How a model knows positions, put into words and keys: for `info`, and for the commands about positions.

`layer_document` and `layer_lines` are the one place where the rotation of a kind of layer becomes a document and words.
"""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from embtool.config import NOT_IN_FILE, Config
from embtool.errors import NoRope
from embtool.model import Model
from embtool.output import count
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
)
from embtool.rope import MROPE_ORDERS, Frequencies, RopeSettings

Lines = list[tuple[str, str]]
"""Lines of a card: a label and its value; a line without a label continues the one above."""

PER_PAIR = ("short_factor", "long_factor")
"""Settings with a number per pair: too long to stand among the others."""

DEFAULTED = ("head_dim", "rotary_dim", "rope_theta", "mrope_section", "factor")
"""The settings of which a reader is told that the file does not have them."""


# --- documents --------------------------------------------------------------------------------------------------------


def describe_positions(model: Model, dtype: str | None = None) -> tuple[dict[str, Any] | None, Lines]:
    """Describe a model's positions as a document and as lines; both say so where the file says nothing.

    Args:
        model: The model.
        dtype: That of its input table, to which some models round what they multiply its rows by.

    Raises:
        ConfigError: The config has position fields that mean nothing.
    """
    config = model.config
    if config is None:
        return None, [("kind", "not known: no config.json")]
    scale, scale_lines = _scale(config, dtype)
    if _lacks_heads(config):
        reason = f"{' and '.join(MISSING)} are {NOT_IN_FILE}, so the rotation is not known"
        described: dict[str, Any] = {
            "kind": "rope",
            "context_length": config.max_position_embeddings,
            "layers": [],
            "nope_layers": [],
        }
        described |= {"origins": dict.fromkeys(MISSING, NOT_IN_FILE), "notes": [reason], "embedding_scale": scale}
        return described, [("RoPE", f"family unknown: {reason}"), *scale_lines]
    positions = model.positions
    found = lines(positions)
    if positions.kind in ("learned", "sinusoidal", "rope"):
        found += scale_lines
    return {**document(positions), "embedding_scale": scale}, found


MISSING = ("head_dim", "num_attention_heads")


def _lacks_heads(config: Config) -> bool:
    """Whether the file of an unknown family has RoPE fields, but nothing that tells how wide a head is."""
    unknown = not config.family_known and config.origins["head_dim"] == NOT_IN_FILE
    return (
        unknown
        and config.head_dim is None
        and any(map(config.fields.has, ("rope_theta", "rope_parameters", "rope_scaling")))
    )


def _scale(config: Config, dtype: str | None) -> tuple[dict[str, Any] | None, Lines]:
    """What rows are multiplied by after the lookup."""
    scale = config.embedding_scale
    if scale is None:
        return None, []
    applied = scale.in_dtype(dtype or config.dtype or "")
    described = {
        "kind": scale.kind,
        "multiplier": scale.multiplier,
        "rounded": scale.rounded,
        "applied": applied,
        "origin": scale.origin,
    }
    return described, [("row scale", f"rows are multiplied by {applied:g} ({scale.origin})")]


def document(positions: Positions) -> dict[str, Any]:
    """Describe positions by the keys of `info@1`."""
    rope = positions if isinstance(positions, Rope) else None
    return {
        "kind": positions.kind,
        "context_length": positions.context_length,
        "layers": [layer_document(layer) for layer in rope.layers] if rope else [],
        "nope_layers": list(rope.nope_layers) if rope else [],
        **_own_fields(positions),
        "origins": dict(positions.origins),
        "notes": list(positions.notes),
    }


def _own_fields(positions: Positions) -> dict[str, Any]:  # noqa: PLR0911 - one return per scheme
    """The keys that only this scheme has."""
    if isinstance(positions, Rope):
        return {"num_hidden_layers": positions.num_hidden_layers, "layer_types": dict(positions.layer_counts)}
    if isinstance(positions, Learned):
        return {"rows": positions.rows, "row_offset": positions.row_offset}
    if isinstance(positions, Sinusoidal):
        return {"width": positions.width, "row_offset": positions.row_offset}
    if isinstance(positions, Alibi):
        return {"slopes": list(positions.slopes), "score_scale": positions.score_scale}
    if isinstance(positions, T5Buckets):
        return {
            "buckets": positions.buckets,
            "max_distance": positions.max_distance,
            "per_layer": positions.per_layer,
        }
    if isinstance(positions, OtherRelative):
        return {"scheme": positions.scheme}
    return {"reason": positions.reason}


def layer_document(layer: LayerRope) -> dict[str, Any]:
    """Describe the rotation of one kind of layer by the keys of `rope@1`, without its lists per pair.

    What the `rope_type` stretches by stands beside the others, by its name in a config.
    """
    settings = layer.settings
    section = settings.mrope_section
    stretching = {name: value for name, value in settings.stretching.items() if name not in PER_PAIR}
    return {
        "layer_type": layer.layer_type,
        "layer_count": layer.layer_count,
        "layers": None if layer.layers is None else list(layer.layers),
        "rope_type": settings.rope_type,
        "rope_theta": settings.rope_theta,
        "head_dim": settings.head_dim,
        "rotary_dim": settings.turning_width,
        "layout": settings.layout,
        "rotated_part": settings.rotated_part,
        "direction": "clockwise" if settings.clockwise else "counter-clockwise",
        "attention_factor": layer.attention_factor,
        "mrope_section": None if section is None else list(section),
        "mrope_order": None if section is None else settings.mrope_order,
        **stretching,
        "origins": dict(layer.origins),
    }


def no_rope(name: str, positions: Positions) -> NoRope:
    """The error of a command that needs rotary positions, with what to try instead."""
    if isinstance(positions, NoPositions) and not positions.known:
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


def lines(positions: Positions) -> Lines:
    """Describe positions for a reader, as the lines of a card."""
    return [*_scheme_lines(positions), _context_line(positions), *(("note", note) for note in positions.notes)]


def _scheme_lines(positions: Positions) -> Lines:  # noqa: PLR0911 - one return per scheme
    if isinstance(positions, Rope):
        return _rope_lines(positions)
    if isinstance(positions, Learned):
        rows = "a table" if positions.rows is None else f"a table of {count(positions.rows)} rows"
        return [("learned", f"{rows}, added to the token's row"), ("", f"position p is {written_row(positions)}")]
    if isinstance(positions, Sinusoidal):
        return [("sinusoidal", "a fixed pattern of sines and cosines is added to the token's row")]
    if isinstance(positions, Alibi):
        heads, steepest, flattest = len(positions.slopes), max(positions.slopes), min(positions.slopes)
        slopes = f"{count(heads)} heads, slopes {steepest:.4g} to {flattest:.4g}"
        return [("ALiBi", "attention lowers its scores by slope × distance"), ("", slopes)]
    if isinstance(positions, T5Buckets):
        where = "every layer" if positions.per_layer else "the first layer, used by all"
        return [
            ("relative", f"a trained bias per head: {count(positions.buckets)} buckets of distances"),
            ("", f"up to {count(positions.max_distance)} tokens, in a table of {where}"),
        ]
    if isinstance(positions, OtherRelative):
        return [("relative", positions.scheme)]
    return [("none" if positions.known else "not known", positions.reason)]


def written_row(positions: Learned) -> str:
    """Which row a position is looked up at."""
    return f"row p + {positions.row_offset}" if positions.row_offset else "row p"


def _context_line(positions: Positions) -> tuple[str, str]:
    length = positions.context_length
    if length is not None:
        return "context", f"{count(length)} tokens"
    where = positions.origins.get("context_length", NOT_IN_FILE)
    return "context", where if where == NOT_IN_FILE else "no limit is stated"


def _rope_lines(rope: Rope) -> Lines:
    found: Lines = []
    for layer in rope.layers:
        first, *rest = [*layer_lines(layer), _where(layer, rope)]
        found.append(("RoPE" if layer.layer_type == "all" else layer.layer_type, first))
        found += [("", line) for line in rest if line]
    for kind, number in rope.layer_counts.items():
        if kind.startswith(("linear", "lightning", "conv", "mamba", "recurrent")) and number:
            found.append((kind, f"{count(number)} layers, without positions"))
    if rope.nope_layers:
        found.append(("NoPE", f"{_counted(rope.nope_layers)} without positions: {ranges(rope.nope_layers)}"))
    return found + _default_lines(rope)


def _counted(layers: Sequence[int]) -> str:
    return f"{count(len(layers))} {'layer' if len(layers) == 1 else 'layers'}"


def _where(layer: LayerRope, rope: Rope) -> str:
    """Which layers are of a kind."""
    if rope.num_hidden_layers == 0:
        return "for demonstration: the model has no layers"
    if layer.layers is None:
        return ""
    if len(layer.layers) == rope.num_hidden_layers:
        return "the only layer" if len(layer.layers) == 1 else f"all {count(len(layer.layers))} layers"
    total = "" if rope.num_hidden_layers is None else f" of {count(rope.num_hidden_layers)}"
    listed = f": {ranges(layer.layers)}" if layer.layers else ""
    return f"{count(len(layer.layers))}{total} layers{listed}"


def _default_lines(rope: Rope) -> Lines:
    """What the file leaves to the class."""
    by_origin: dict[str, list[str]] = {}
    for name in DEFAULTED:
        for origin in dict.fromkeys(layer.origins.get(name, "") for layer in rope.layers):
            if origin.startswith(("class default", NOT_IN_FILE)):
                by_origin.setdefault(origin.removeprefix(f"{NOT_IN_FILE}; "), []).append(name)
    return [("not in file", f"{', '.join(names)}: {origin}") for origin, names in by_origin.items()]


def layer_lines(layer: LayerRope, turning: Frequencies | None = None) -> list[str]:
    """Describe the rotation of one kind of layer in short lines: its frequencies, its channels, its axes.

    `turning` are its frequencies in the sequence asked about, where there is one.
    """
    settings = layer.settings
    grown = layer.attention_factor if turning is None else turning.attention_factor
    found = [f"{settings.rope_type}, theta {setting(settings.rope_theta)}{_stretched(settings)}"]
    if grown != 1:
        found.append(f"turned channels also grow {grown:.6g} times (attention factor)")
    found.append(_channels(layer))
    if settings.mrope_section is not None:
        axes = ("h", "w", "t") if settings.mrope_order == "height-width-time" else ("t", "h", "w")
        shares = ", ".join(f"{axis} {n}" for axis, n in zip(axes, settings.mrope_section, strict=True))
        found.append(f"mRoPE, {shares} pairs: {MROPE_ORDERS[settings.mrope_order]}")
    return found


def _stretched(settings: RopeSettings) -> str:
    """By how much the frequencies are stretched, and from which context."""
    used: Mapping[str, Any] = settings.stretching
    words = [f"{name} {setting(used[name])}" for name in ("factor", "alpha") if used.get(name) not in (None, 1)]
    original = used.get("original_max_position_embeddings")
    if original is not None:
        words.append(f"from {count(original)} tokens")
    return "".join(f", {word}" for word in words)


def _channels(layer: LayerRope) -> str:
    """Which channels of a head turn, and which two make a pair."""
    settings = layer.settings
    turning = 2 * settings.live_pairs
    last = ", the last ones" if settings.rotated_part == "last" else ""
    clockwise = ", clockwise" if settings.clockwise else ""
    part = " of the rotary part" if "qk_rope_head_dim" in layer.origins.get("head_dim", "") else ""
    every = turning == settings.head_dim
    some = f"all {turning} channels{part} turn" if every else f"{turning} of {settings.head_dim} channels turn"
    return f"{some}{last}{clockwise}, {_paired(settings)}"


def _paired(settings: RopeSettings) -> str:
    half = settings.pairs
    if settings.layout is None:
        return "which two make a pair is not known"
    return {
        "half": f"pairs (i, i + {half})",
        "interleaved": "pairs (2i, 2i + 1)",
        "interleaved-in-half-out": f"pairs (2i, 2i + 1) stored at (i, i + {half})",
    }[settings.layout]


WIDTH = 76
"""Columns of a line below a table, so that a terminal of 80 need not break it."""


def closing(remarks: Iterable[str]) -> list[str]:
    """Indent the lines that stand below a table, and break those that a narrow terminal would break."""
    return [f"  {line}" for remark in remarks for line in wrap(remark, WIDTH, subsequent_indent="  ")]


def in_words(positions: Positions) -> str:  # noqa: PLR0911 - one return per scheme
    """How the model learns where a token stands, in one sentence."""
    if isinstance(positions, Rope):
        return (
            "rotary positions: nothing is added, the first block reads the rows as they are; "
            "inside each head queries and keys will be turned by the angles shown"
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


MANY = 4
"""Ranges from which on only the ends are shown."""


def ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers as ranges, and of many ranges the ends: 0..3, 7.

    >>> ranges([0, 1, 2, 3, 7]), ranges([3, 7, 11, 15, 19])
    ('0..3, 7', '3, 7, …, 19')
    """
    parts: list[list[int]] = []
    for entry in numbers:
        if parts and entry == parts[-1][1] + 1:
            parts[-1][1] = entry
        else:
            parts.append([entry, entry])
    written = [str(first) if first == last else f"{first}..{last}" for first, last in parts]
    return ", ".join(written if len(written) <= MANY else [*written[:2], "…", written[-1]])
