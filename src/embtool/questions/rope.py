"""How rotary positions turn a vector: how fast each pair of channels turns, and how far it has turned at positions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from embtool.answers import Block, Column, Listing, column, context, inline, python, records, value
from embtool.answers.fields import columns_of, record_of
from embtool.answers.text import abridge, bar, count, dial, plural, ranges, visible
from embtool.arrays import np
from embtool.questions.positions import closing, layer_lines
from embtool.questions.rotation import (
    HeadOf,
    Manner,
    Pair,
    Place,
    Rotary,
    Turn,
    TurnedHead,
    TurnedLayer,
    Turns,
    Vectors,
    frequency_fields,
    given_settings,
    illustration,
    numbers_of,
    rounded,
    tokens_per_turn,
)
from embtool.rope import AXES, Precision, channel_pairs, frequencies

SHOWN_PAIRS = 12
"""Pairs shown on a terminal; of more, the first, middle and last ones. Machine formats have all."""

DIALS_WIDTH = 45
"""Columns of a terminal of 80 that are left for dials side by side; of more positions, the ends and the middle."""

GAP = 3
"""Columns between two columns of a table."""

BAR = 16
"""Characters of the bar of the longest wavelength."""

LONGEST_NAME = 40
"""Characters of a model's name in a title."""


@dataclass(frozen=True)
class PairRow:
    """One pair of one kind of layer, at one position if any was asked for."""

    layer_type: str = column("the kind of layer")
    position: int | str | None = column("a position, or three as they are typed", optional=True)
    source: HeadOf | None = inline()
    pair: Pair = inline()
    turn: Turn | None = inline()


class _Rows(Sequence[PairRow]):
    """The pairs of every kind of layer, at every position, each made when it is asked for."""

    def __init__(self, layers: Sequence[TurnedLayer], *, inverse: bool, placed: bool) -> None:
        self._layers, self._inverse, self._placed = layers, inverse, placed

    def __len__(self) -> int:
        return sum(len(each.inv_freq) * (len(each.positions) if self._placed else 1) for each in self._layers)

    def __iter__(self) -> Iterator[PairRow]:
        for layer in self._layers:
            pairs = layer.pairs(inverse=self._inverse)
            if not self._placed:
                yield from (PairRow(layer.layer_type, None, None, pair, None) for pair in pairs)
            for head in layer.positions:
                where = ",".join(map(str, head.position)) if isinstance(head.position, tuple) else head.position
                turns = head.turns(layer.layer.settings, inverse=self._inverse)
                for pair, turned in zip(pairs, turns, strict=True):
                    yield PairRow(layer.layer_type, where, head.source, pair, turned)

    def __getitem__(self, at: Any) -> Any:
        return tuple(self)[at]


@dataclass(frozen=True, repr=False, eq=False)
class RopeAnswer(Listing[PairRow]):
    """How fast pairs turn, and how far they have turned; its records are pairs, `layers` has the same as arrays."""

    command = "rope"

    model: str | None = context("the model, as it was named; null where settings were typed")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    precision: Precision = value("the arithmetic: float64, or float32 as in transformers")
    inverse: bool = value("whether vectors were turned back")
    sequence_length: int | None = value("tokens of the sequence, on which some types depend")
    layers: tuple[TurnedLayer, ...] = value("each kind of layer that rotates")
    nope_layers: tuple[int, ...] = value("attention layers without positions")
    given: str | None = value("the options whose settings take the place of the model's own", optional=True)
    notes: tuple[str, ...] = value("what a reader should know besides", default=())
    pairs: Sequence[PairRow] = records("every pair, at every position", in_document=False, default=())
    places: Sequence[Place] = python(default=())
    vectors: Vectors = python(default=None)
    warnings: tuple[str, ...] = python(default=())

    def columns(self) -> Sequence[Column]:
        """Return the columns: those of turns and of heads where there are some."""
        hidden = [] if self.places else [Column("position"), *columns_of(Turn)]
        hidden += [] if self.vectors and self.vectors != "ones" and self.places else columns_of(HeadOf)
        names = {each.key for each in hidden}
        return [each for each in super().columns() if each.key not in names]

    def blocks(self) -> Iterator[Block]:
        """Yield what fits a screen: frequencies; one position after the other; or several side by side."""
        if not self.places:
            yield from map(self._speeds, self.layers)
        elif len(self.places) > 1 and self.vectors is None:
            yield from map(self._side_by_side, self.layers)
        else:
            for layer in self.layers:
                yield from self._turned(layer)

    def _speeds(self, layer: TurnedLayer) -> Block:
        pairs = layer.pairs()
        longest = max((pair.wavelength for pair in pairs if pair.wavelength), default=1.0)
        records = []
        for pair in pairs:
            wave = pair.wavelength
            drawn = bar(math.log1p(wave) / math.log1p(longest), BAR) if wave else "stands still"
            turns = None if wave is None else (self.context_length or 0) / wave
            records.append({**record_of(pair), "in_context": turns, "bar": drawn})
        legend = "inv_freq: radians per token; wavelength: tokens per turn"
        shown = [*columns_of(Pair)[:-1], replace(columns_of(Pair)[-1], worth=2)]
        if self.context_length:
            legend += "; in context: turns"
            shown.append(Column("in_context", title="in context", right=True, show=rounded))
        shown.append(Column("bar", title="log wavelength", style="cyan", whole=True, worth=0, machine=False))
        return Block(self._title(layer), shown, _shortened(records), after=self._after(layer, legend))

    def _turned(self, layer: TurnedLayer) -> Iterator[Block]:
        """Yield each head at each position; what is said of the layer stands below the first."""
        pair, dims, _, wavelength = columns_of(Pair)
        turns, angle, cos, sin, *channels = columns_of(Turn)
        drawn = Column("dial", title="", style="cyan", whole=True, worth=0, machine=False)
        shown = [pair, dims, angle, drawn, *channels]
        legend = "x and y are the channels of a pair"
        if self.vectors is None:
            shown = [pair, dims, replace(wavelength, worth=0), turns, angle, drawn, cos, sin]
            legend = "wavelength: tokens per turn"
        after = self._after(layer, legend)
        pairs = layer.pairs(inverse=self.inverse)
        for head in layer.positions:
            records = [
                {**record_of(pair), **record_of(turned), **({"dial": dial(turned.angle)} if pair.inv_freq else {})}
                for pair, turned in zip(pairs, head.turns(layer.layer.settings, inverse=self.inverse), strict=True)
            ]
            yield Block(self._title(layer, head), shown, _shortened(records), after=after)
            after = []

    def _side_by_side(self, layer: TurnedLayer) -> Block:
        """Return the dials of as many positions as fit."""
        written = [",".join(map(str, numbers_of(place))) for place in self.places]
        chosen = ends(range(len(written)), max(DIALS_WIDTH // (max(map(len, written)) + GAP), 3))
        dials = [
            [dial(angle) if speed else "" for angle, speed in zip(head.angle.tolist(), layer.inv_freq, strict=True)]
            for head in (layer.positions[place] for place in chosen)
        ]
        records = [
            {**record_of(pair), **{f"dial {place}": held[pair.pair] for place, held in zip(chosen, dials, strict=True)}}
            for pair in layer.pairs(inverse=self.inverse)
        ]
        pair, dims, _, wavelength = columns_of(Pair)
        hands = [
            Column(f"dial {place}", title=written[place], right=True, style="cyan", machine=False) for place in chosen
        ]
        rest = len(written) - len(chosen)
        legend = "wavelength: tokens per turn; → is no turn"
        legend += f"; {plural(rest, 'more position')} in JSON and TSV" if rest else ""
        shown = [pair, dims, replace(wavelength, worth=0), *hands]
        return Block(self._title(layer), shown, _shortened(records), after=self._after(layer, legend))

    def _title(self, layer: TurnedLayer, head: TurnedHead | None = None) -> str:
        """Say of which model and kind of layer it is, and what is turned where."""
        parts = [abridge(self.model, LONGEST_NAME) if self.model is not None else "RoPE"]
        parts += [] if layer.layer_type == "all" else [layer.layer_type]
        parts += [f"{plural(layer.layer_count, 'layer')}"] if layer.layer_count else []
        if head is None:
            return "   ".join(parts)
        if isinstance(head.position, tuple):
            parts.append(", ".join(f"{axis} {count(each)}" for axis, each in zip(AXES, head.position, strict=True)))
        else:
            parts.append(f"position {count(head.position)}")
        what = []
        if head.source is not None:
            name = head.source.token.text if head.source.token is not None else head.source.query
            what.append(f"{abridge(visible(name), LONGEST_NAME // 2)}, head {head.source.head}")
        what += ["turned back"] if self.inverse else []
        return "   ".join([*parts, ", ".join(what)] if what else parts)

    def _after(self, layer: TurnedLayer, legend: str) -> list[str]:
        return closing([*self.remarks(layer), legend, f"computed in {self.precision}"])

    def remarks(self, layer: TurnedLayer) -> list[str]:
        """Say what is to be known of a kind of layer beside the angles: settings, channels, context."""
        settings = layer.layer.settings
        found = layer_lines(layer.layer, layer.turning)
        if self.given is not None:
            found.append(f"given, not the model's own: {given_settings(layer)}")
        if settings.mrope_section is not None:
            found.append("for text the three positions t, h, w are one")
        if settings.layout is not None and settings.turning_width < settings.head_dim:
            rest = sorted({*range(settings.head_dim)} - {*channel_pairs(settings).ravel().tolist()})
            found.append(f"channels {ranges(rest)} pass through unrotated")
        still = np.flatnonzero(layer.inv_freq == 0).tolist()
        if still:
            found.append(f"pairs {ranges(still)} stand still: their channels pass through unrotated")
        moving = layer.wavelength[np.isfinite(layer.wavelength)]
        if self.context_length is not None and layer.unfinished_pairs is not None and len(moving):
            longest = tokens_per_turn(float(moving.max()))
            found.append(f"context {plural(self.context_length, 'token')}, longest wavelength {longest}")
            rest = [pair for pair in layer.unfinished_pairs.tolist() if layer.inv_freq[pair] > 0]
            never = "pair {} never completes" if len(rest) == 1 else "pairs {} never complete"
            told = f"{never.format(ranges(rest))} a turn" if rest else "every pair completes a turn"
            found.append(f"{told} within the context")
        if self.nope_layers and layer is self.layers[-1]:
            found.append(f"layers without positions: {ranges(self.nope_layers)}")
        return found


def ends(items: Sequence[Any], most: int) -> list[Any]:
    """Cut a sequence to its first, middle and last items."""
    if len(items) <= most:
        return list(items)
    part, extra = divmod(most, 3)
    first, middle = part + extra, (len(items) - part) // 2
    return [*items[:first], *items[middle : middle + part], *items[-part:]]


def _shortened(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first, middle and last pairs, with a line of dots where some are left out."""
    kept = ends(records, SHOWN_PAIRS)
    found = kept[:1]
    for before, after in pairwise(kept):
        found += [{"pair": "…"}] if after["pair"] != before["pair"] + 1 else []
        found.append(after)
    return found


def ask_rope(
    rotary: Rotary, positions: Iterable[Any] = (), vectors: Vectors = None, manner: Manner | None = None
) -> RopeAnswer:
    """Tell how fast pairs turn, and where positions are given, how far, and what becomes of vectors there.

    Raises:
        InvalidArgument: a position cannot be meant.
        ConfigError: vectors do not divide into heads, or it is not known which two channels make a pair.
    """
    manner = manner or Manner()
    places = rotary.read_places(positions, vectors)
    reach = max((max(1, *(each + 1 for each in numbers_of(place))) for place in places), default=None)
    length = manner.length if manner.length is not None else reach
    context, asked = rotary.context_length, manner.length
    warnings = []
    if context is not None and reach is not None and reach > context:
        warnings.append(f"position {reach - 1} is beyond the context of {plural(context, 'token')}")
    elif context is not None and asked is not None and asked > context:
        warnings.append(f"a sequence of {plural(asked, 'token')} is longer than the context of {count(context)}")
    if asked is not None and reach is not None and reach > asked:
        warnings.append(f"a sequence of {plural(asked, 'token')} has no position {reach - 1}")
    layers = []
    for layer in rotary.layers:
        turning = frequencies(layer.settings, length, manner.precision)
        turns = Turns(layer.settings, turning, places, vectors, inverse=manner.inverse)
        layers.append(TurnedLayer(**frequency_fields(layer, turning, rotary.context_length), positions=turns))
    return RopeAnswer(
        model=rotary.name,
        context_length=rotary.context_length,
        precision=manner.precision,
        inverse=manner.inverse,
        sequence_length=length,
        layers=tuple(layers),
        nope_layers=rotary.nope_layers,
        given=rotary.given,
        notes=(*illustration(vectors), *rotary.notes),
        pairs=_Rows(layers, inverse=manner.inverse, placed=bool(places)),
        places=places,
        vectors=vectors,
        warnings=tuple(warnings),
    )
