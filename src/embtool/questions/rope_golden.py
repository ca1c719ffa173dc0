"""Golden numbers of a rotation: what an engine must compute, in a small file that any engine's tests can read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embtool.answers import Card, Section, value
from embtool.answers.text import plural
from embtool.arguments import checked
from embtool.arrays import Doubles, np
from embtool.judge.engine import slack_per_token
from embtool.positions import LayerRope, RopeOverride
from embtool.questions.rotation import Manner, Rotary, rotary_of
from embtool.rope import (
    AXES,
    Layout,
    Precision,
    RopeSettings,
    channel_pairs,
    frequencies,
    mrope_axes,
    stored_pairs,
    turn,
)

if TYPE_CHECKING:
    from embtool.model import Model

PLACES = 12
"""Positions at which the query is turned."""

ASSUMED_CONTEXT = 32_768
"""Tokens, where the file states no context."""

PRIME, STEP = 127, 37
"""The query in channel c is ((37 c + 5 floor(c / 127) + 11) mod 127 - 63.5) / 64.

No two channels of a pair are alike, and BF16 and float16 hold each exactly.
"""

DIGITS = 10
"""Significant digits: more than float32 holds."""

ROUNDED = 2.0**-21
"""What a number of rotated may be off without any angle: a few roundings in float32."""

BY_LENGTH = ("dynamic", "qwen_ntk", "longrope")
"""Types whose frequencies depend on the length of the sequence."""


@dataclass(frozen=True)
class GoldenLayer:
    """What one kind of layer must compute, in sequences of one length.

    Attributes:
        pairs: The two channels that each frequency reads.
        stored: Those at which the turned pair is stored.
        rotated: The query at each position.
        tolerance: How far a channel may be off at each position, where an engine counts in float32.
    """

    layer_type: str = value("the kind of layer, as the config names it; all where every layer rotates alike")
    layers: tuple[int, ...] | None = value("which layers, counted from 0; null where the config does not say")
    sequence_length: int | None = value("tokens of the sequence; null where the numbers do not depend on it")
    rope_type: str = value("how the frequencies are made")
    rope_theta: float = value("the base of the frequencies")
    head_dim: int = value("channels of a head")
    rotary_dim: int = value("channels of a head that are paired")
    layout: str | None = value("which two channels make a pair; null where the family is not known")
    rotated_part: str = value("whether the first or the last channels of a head turn")
    direction: str = value("which way a position above 0 turns")
    attention_factor: float = value("what cos and sin are multiplied by")
    mrope_axes: tuple[str, ...] | None = value("which of the three positions each pair follows, where there are three")
    inv_freq: Doubles = value("radians per token, a number for each pair")
    pairs: Sequence[Sequence[int]] | None = value("the two channels that each pair is read from")
    stored: Sequence[Sequence[int]] | None = value("the two channels at which it is stored")
    query: Doubles = value("the vector that is turned")
    positions: tuple[int, ...] = value("where it is turned to")
    rotated: Sequence[Doubles] | None = value(
        "the head after; in golden numbers the query at each position, a list for each"
    )
    tolerance: tuple[float, ...] = value("how far a number of rotated may be off in float32, for each position")


@dataclass(frozen=True)
class GoldenRecord:
    """The head of golden numbers, in one line."""

    model: str | None = value("the model, as it was named; null where settings were typed")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    layers: int = value("how many kinds of layer there are numbers of")


@dataclass(frozen=True, repr=False, eq=False)
class RopeGolden(Card):
    """What an engine must compute: frequencies, and a fixed query turned at twelve positions, per kind of layer."""

    command = "rope-golden"
    record_kind = GoldenRecord

    model: str | None = value("the model, as it was named; null where settings were typed")
    given: str | None = value("the options whose settings take the place of the model's own", optional=True)
    precision: Precision = value("the arithmetic: float64, or float32 as in transformers")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    first_position: int = value("the position of the first token")
    nope_layers: tuple[int, ...] = value("attention layers without positions: their queries stay as they are")
    layers: tuple[GoldenLayer, ...] = value("each kind of layer that rotates, once for each length that matters")
    notes: tuple[str, ...] = value("what a reader should know besides", default=())

    def title(self) -> str:
        """Return what it is."""
        return f"golden numbers of {self.model or 'RoPE'}"

    def sections(self) -> Sequence[Section]:
        """Return what there is of each kind of layer."""
        lines = [
            (
                layer.layer_type,
                f"{plural(len(layer.inv_freq), 'frequency', 'frequencies')}, a query of {layer.head_dim} channels at "
                f"{plural(len(layer.positions), 'position')}"
                + (f", in a sequence of {layer.sequence_length:,} tokens" if layer.sequence_length else ""),
            )
            for layer in self.layers
        ]
        return [Section("RoPE", lines)]

    def to_record(self) -> dict[str, Any]:
        """Return its head, without the numbers."""
        return {"model": self.model, "context_length": self.context_length, "layers": len(self.layers)}


@checked
def rope_golden(
    model: "Model",
    *,
    layout: Layout | None = None,
    override: RopeOverride | None = None,
    precision: Precision = "float64",
) -> RopeGolden:
    """Compute what an engine that runs a model must compute: its frequencies, and a fixed query at twelve positions.

    `to_dict()` of the answer is what `embtool rope MODEL --golden FILE` writes.

    Args:
        model: the model.
        layout: which two channels make a pair, where the family is not known.
        override: settings that take the place of its own, as given to the engine.
        precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.

    Raises:
        NoRope: it has no rotary positions.
        InvalidArgument: an option cannot be meant.
    """
    first = model.rope.first_position
    return ask_golden(rotary_of(model, layout, override), first, Manner(precision=precision))


def ask_golden(rotary: Rotary, first_position: int, manner: Manner) -> RopeGolden:
    """Compute the golden numbers of a rotation."""
    context = rotary.context_length
    notes = [] if context is not None else [f"the file states no context: positions reach {ASSUMED_CONTEXT:,} tokens"]
    if any(layer.settings.layout is None for layer in rotary.layers):
        notes.append("it is not known which two channels make a pair: frequencies only")
    layers = [
        _golden(layer, length, context or ASSUMED_CONTEXT, manner)
        for layer in rotary.layers
        for length in _lengths(layer.settings, context, manner)
    ]
    return RopeGolden(
        model=rotary.name,
        given=rotary.given,
        precision=manner.precision,
        context_length=context,
        first_position=first_position,
        nope_layers=rotary.nope_layers,
        layers=tuple(layers),
        notes=(*rotary.notes, *notes),
    )


def _lengths(settings: RopeSettings, context: int | None, manner: Manner) -> Iterator[int | None]:
    """Yield the lengths of sequences for which frequencies differ; None where they do not."""
    if manner.length is not None:
        yield manner.length
    elif settings.rope_type not in BY_LENGTH:
        yield None
    else:
        longest = context or ASSUMED_CONTEXT
        first = settings.original_max_position_embeddings or settings.max_position_embeddings or longest
        yield first
        yield longest if longest > first else 2 * first


def golden_positions(length: int) -> tuple[int, ...]:
    """Choose twelve positions of a sequence: the first ones, some between, and the last; all of a shorter one."""
    chosen: tuple[int, ...] = (0, 1, 2, 3, 10, 100, 1000, length // 8, length // 4, length // 2, length - 2, length - 1)
    if list(chosen) != sorted(set(chosen)):
        chosen = tuple(sorted({round(place * (length - 1) / (PLACES - 1)) for place in range(PLACES)}))
    return chosen


def golden_query(head_dim: int) -> Doubles:
    """Return the fixed query: exact in BF16, and no two channels of a pair alike."""
    channels = np.arange(head_dim)
    return ((STEP * channels + 5 * (channels // PRIME) + 11) % PRIME - PRIME / 2) / 64


def _golden(layer: LayerRope, length: int | None, context: int, manner: Manner) -> GoldenLayer:
    settings = layer.settings
    turning = frequencies(settings, length, manner.precision)
    places = golden_positions(length or context)
    query = golden_query(settings.head_dim)
    known = settings.layout is not None
    rotated = None
    if known:
        angles = turning.angles(places)
        turned = turn(
            np.broadcast_to(query, (len(places), settings.head_dim)), angles, settings, turning.attention_factor
        )
        rotated = [_rounded(each) for each in turned]
    off, grown = float(slack_per_token(turning.inv_freq.astype(np.float64)).max()), max(turning.attention_factor, 1.0)
    return GoldenLayer(
        layer_type=layer.layer_type,
        layers=layer.layers,
        sequence_length=length,
        rope_type=settings.rope_type,
        rope_theta=settings.rope_theta,
        head_dim=settings.head_dim,
        rotary_dim=settings.turning_width,
        layout=settings.layout,
        rotated_part=settings.rotated_part,
        direction="clockwise" if settings.clockwise else "counter-clockwise",
        attention_factor=turning.attention_factor,
        mrope_axes=None if settings.mrope_section is None else tuple(AXES[axis] for axis in mrope_axes(settings)),
        inv_freq=_rounded(turning.inv_freq),
        pairs=channel_pairs(settings).tolist() if known else None,
        stored=stored_pairs(settings).tolist() if known else None,
        query=query,
        positions=places,
        rotated=rotated,
        tolerance=tuple(float(f"{math.sqrt(2) * grown * (ROUNDED + place * off):.3g}") for place in places),
    )


def _rounded(numbers: Any) -> Doubles:
    """Round numbers to the digits that are written."""
    exact = np.asarray(numbers, np.float64)
    return np.array([float(f"{number:.{DIGITS - 1}e}") for number in exact.ravel()]).reshape(exact.shape)
