"""How far a rotation sees: what is left of a dot product when a key stands further and further from its query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embtool.answers import Block, Column, Listing, column, context, python, records, value
from embtool.answers.fields import columns_of, record_of
from embtool.answers.text import abridge, bar, count, plural, ranges, visible
from embtool.arguments import checked
from embtool.arrays import Doubles, np
from embtool.counts import spread
from embtool.drawings.curves import Series, to_drawing
from embtool.drawings.drawing import Drawing
from embtool.errors import InvalidArgument
from embtool.positions import LayerRope, RopeOverride
from embtool.questions.positions import closing, layer_lines
from embtool.questions.rope import LONGEST_NAME
from embtool.questions.rotation import (
    LARGEST,
    LayerFrequencies,
    Manner,
    Rotary,
    frequency_fields,
    given_settings,
    rotary_of,
)
from embtool.rope import Frequencies, Precision, frequencies

if TYPE_CHECKING:
    from embtool.model import Model

MOST_DISTANCES = 4097
"""Distances of one answer; of a longer range as many, evenly spaced, the first and the last among them."""

AT_ONCE = 1 << 18
"""Angles that are computed at once."""

SHOWN = 16
"""Distances on a terminal, evenly spaced."""

BAR = 24
"""Characters of the bar of all that there was."""

CLOSED = "closed form: the mean of cos(distance * theta^(-2i / rotary_dim)) over pairs i"
COMPUTED = "computed: the mean of cos(distance * inv_freq[i]) over pairs i"


@dataclass(frozen=True)
class Left:
    """What is left at one distance."""

    layer_type: str = column(
        "the kind of layer, as the config names it; all where every layer rotates alike", title="layers"
    )
    distance: int = column("tokens between query and key", right=True, show=count)
    left: float = column(
        "their dot product, as a share of that at distance 0; query and key are the same in every channel",
        right=True,
        show=lambda held: f"{held:.4f}",
    )
    turned: float = column(
        "the same of the channels that turn only", right=True, show=lambda held: f"{held:.4f}", worth=0
    )


@dataclass(frozen=True)
class LayerDecay(LayerFrequencies):
    """The rotation of one kind of layer, and how its dot products fall."""

    form: str = value("how the numbers come about")
    halved_at: int | None = value("the first of the distances at which half or less is left; null where there is none")
    least: float = value("the least that is left at any of the distances")
    least_at: int = value("that distance")


@dataclass(frozen=True, repr=False, eq=False)
class RopeDecay(Listing[Left]):
    """What is left of a dot product at distances, for each kind of layer."""

    command = "rope-decay"

    model: str | None = context("the model, as it was named; null where settings were typed")
    given: str | None = value("the options whose settings take the place of the model's own", optional=True)
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    precision: Precision = value("the arithmetic: float64, or float32 as in transformers")
    sequence_length: int = value("tokens of the sequence, on which some types depend")
    layers: tuple[LayerDecay, ...] = value("each kind of layer that rotates")
    distances: tuple[Left, ...] = records("what is left at each distance")
    notes: tuple[str, ...] = value("what a reader should know besides", default=())
    by_layer: tuple[tuple[Left, ...], ...] = python(default=())

    def blocks(self) -> Iterator[Block]:
        """Yield a table for each kind of layer, with a bar for each distance."""
        shown = [each for each in columns_of(Left) if each.key != "layer_type"]
        shown.append(Column("bar", title="left", style="cyan", whole=True, worth=0, machine=False))
        for layer, rows in zip(self.layers, self.by_layer, strict=True):
            some = [rows[place] for place in spread(len(rows), SHOWN)]
            records = [{**record_of(each), "bar": bar(min(max(each.left, 0.0), 1.0), BAR)} for each in some]
            name = abridge(self.model, LONGEST_NAME) if self.model is not None else "RoPE"
            kind = "" if layer.layer_type == "all" else f"   {layer.layer_type}"
            yield Block(f"{name}{kind}", shown, records, after=closing(self.remarks(layer)))

    def remarks(self, layer: LayerDecay) -> list[str]:
        """Say what the numbers are, and which pairs never come round."""
        found = [*layer_lines(layer.layer, layer.turning), layer.form]
        if self.given is not None:
            found.append(f"given, not the model's own: {given_settings(layer)}")
        halved = "never at these distances" if layer.halved_at is None else f"first at {count(layer.halved_at)}"
        found.append(f"half or less is left {halved}; the least, {layer.least:.4f}, at {count(layer.least_at)}")
        if layer.rotary_dim < layer.head_dim:
            passing = layer.head_dim - layer.rotary_dim
            found.append(f"{plural(passing, 'channel')} pass through, and lose nothing with distance")
        if self.context_length is not None and layer.unfinished_pairs is not None:
            rest = [pair for pair in layer.unfinished_pairs.tolist() if layer.inv_freq[pair] > 0]
            never = "pair {} never completes" if len(rest) == 1 else "pairs {} never complete"
            told = f"{never.format(ranges(rest))} a turn" if rest else "every pair completes a turn"
            found.append(f"{told} within the context of {plural(self.context_length, 'token')}")
        return found

    def drawing(self) -> Drawing:
        """Draw what is left over the distances, a line for each kind of layer."""
        name = "" if self.model is None else f" in {abridge(visible(self.model), LONGEST_NAME)}"
        series = [
            Series(
                visible(layer.layer_type) if layer.layer_type != "all" else f"{layer.rope_type}",
                [each.left for each in rows],
            )
            for layer, rows in zip(self.layers, self.by_layer, strict=True)
        ]
        remarks = [f"{layer.layer_type}: {'; '.join(self.remarks(layer))}." for layer in self.layers]
        remarks = [each.removeprefix("all: ") for each in remarks]
        places = [each.distance for each in self.by_layer[0]]
        axis = "tokens between query and key"
        return to_drawing(f"What is left of a dot product{name}", places, series, axis, remarks)


@checked
def rope_decay(
    model: "Model",
    last: int,
    *,
    first: int = 0,
    override: RopeOverride | None = None,
    length: int | None = None,
    precision: Precision = "float64",
) -> RopeDecay:
    """Tell what is left of a dot product at distances, for each kind of layer.

    Args:
        model: the model.
        last: the largest distance, in tokens.
        first: the smallest one.
        override: settings that take the place of its own.
        length: tokens of the sequence, on which some types depend; by default as many as the distances need.
        precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.

    Raises:
        NoRope: it has no rotary positions.
        InvalidArgument: there are no such distances, or the override is nothing that a formula can use.
    """
    return ask_decay(rotary_of(model, None, override), first, last, Manner(length, precision))


def ask_decay(rotary: Rotary, first: int, last: int, manner: Manner) -> RopeDecay:
    """Tell what is left of a dot product at distances.

    Raises:
        InvalidArgument: there are no such distances.
    """
    if not 0 <= first <= last <= LARGEST:
        raise InvalidArgument(f"distances are a range from 0 to 2^53, not {first}..{last}")
    total = last - first + 1
    chosen = [first + place for place in spread(total, MOST_DISTANCES)]
    length = manner.length if manner.length is not None else last + 1
    layers, by_layer = [], []
    for layer in rotary.layers:
        turning = frequencies(layer.settings, length, manner.precision)
        rows = tuple(_left(layer, turning, chosen))
        left = [row.left for row in rows]
        least = min(range(len(left)), key=left.__getitem__)
        plain = layer.settings.rope_type == "default" and layer.settings.exponent_dim is None
        layers.append(
            LayerDecay(
                **frequency_fields(layer, turning, rotary.context_length),
                form=CLOSED if plain else COMPUTED,
                halved_at=next((row.distance for row in rows if row.left <= 0.5), None),  # noqa: PLR2004 - half
                least=left[least],
                least_at=chosen[least],
            )
        )
        by_layer.append(rows)
    notes = list(rotary.notes)
    if len(chosen) < total:
        notes.append(f"{count(len(chosen))} of {plural(total, 'distance')}, evenly spaced")
    return RopeDecay(
        model=rotary.name,
        given=rotary.given,
        context_length=rotary.context_length,
        precision=manner.precision,
        sequence_length=length,
        layers=tuple(layers),
        distances=tuple(row for rows in by_layer for row in rows),
        notes=tuple(notes),
        by_layer=tuple(by_layer),
    )


def _left(layer: LayerRope, turning: Frequencies, distances: Sequence[int]) -> Iterator[Left]:
    """Yield the shares; channels that pass through, and pairs that stand still, keep all of theirs."""
    settings = layer.settings
    moving = turning.inv_freq > 0
    grown = turning.attention_factor**2
    passing = settings.head_dim - settings.turning_width
    whole = 2 * grown * settings.pairs + passing
    step = max(1, AT_ONCE // settings.pairs)
    for start in range(0, len(distances), step):
        some = distances[start : start + step]
        waves: Doubles = np.cos(turning.angles(some)).astype(np.float64)
        left = (2 * grown * waves.sum(axis=1) + passing) / whole
        turned = waves[:, moving].mean(axis=1) if moving.any() else np.ones(len(some))
        for distance, one, other in zip(some, left.tolist(), turned.tolist(), strict=True):
            yield Left(layer.layer_type, distance, one, other)
