"""What `embtool rope` shows on a terminal: rounded, abridged, with a dial for every turn."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from embtool.cli.dials import dial
from embtool.cli.position import closing, layer_lines, ranges
from embtool.cli.rope_session import Place, Session, Subject, Turned, modulo, pair_records, turned_records, written
from embtool.output import Column, Group, Listing, abridge, count, visible
from embtool.positions import LayerRope
from embtool.rope import AXES, Frequencies, channel_pairs

SHOWN_PAIRS = 12
"""Pairs shown on a terminal; of more, the first, middle and last ones. Machine formats have all."""

DIALS_WIDTH = 45
"""Columns of a terminal of 80 that are left for dials side by side; of more positions, the ends and the middle."""

BAR = 16
"""Characters of the bar of the longest wavelength."""

GAP = 3
"""Columns between two columns of a table."""

LONGEST_NAME = 40
"""Characters of a model's name in a title."""

ELLIPSIS = "…"


class Terminal:
    """The same for a reader: rounded, abridged, with a dial for every turn."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.subject = session.subject

    def listing(self) -> Listing:
        """What fits a screen: frequencies; one position; or several side by side."""
        places = self.session.places
        if not places:
            columns, groups = self._frequency_columns(), self._frequencies()
        elif len(places) > 1 and self.session.sources is None:
            columns, groups = self._side_columns(), self._side_by_side()
        else:
            columns, groups = self._turn_columns(), self._turns()
        return Listing("rope", columns, groups, "pairs")

    def _title(self, layer: LayerRope, place: Place | None = None, what: str = "") -> str:
        """The model, the kind of layer, and what is turned where."""
        parts = [abridge(self.subject.name, LONGEST_NAME) if self.subject.name is not None else "RoPE"]
        parts += [] if layer.layer_type == "all" else [layer.layer_type]
        parts += [f"{count(layer.layer_count)} layers"] if layer.layer_count else []
        parts += [] if place is None else [_placed(place)]
        return "   ".join([*parts, what] if what else parts)

    def _remarks(self, layer: LayerRope, turning: Frequencies, legend: str) -> list[str]:
        """What the table does not show."""
        return closing([*remarks(self.subject, layer, turning), legend, f"computed in {turning.precision}"])

    # without a position

    def _frequency_columns(self) -> list[Column]:
        context = self.subject.context_length
        return [
            Column("pair", right=True, style="dim"),
            Column("dims", show=_text, whole=True),
            Column("inv_freq", right=True, show=_number),
            Column("wavelength", right=True, show=tokens_per_turn, worth=2),
            *([Column("in_context", title="in context", right=True, show=rounded)] if context else []),
            Column("bar", title="", style="cyan", show=_text, whole=True, worth=0),
        ]

    def _frequencies(self) -> Iterator[Group]:
        legend = "inv_freq: radians per token; wavelength: tokens per turn"
        if self.subject.context_length:
            legend += "; in context: turns"
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            records = pair_records(layer.settings, turning)
            longest = max((record["wavelength"] for record in records if record["wavelength"]), default=1.0)
            for record in records:
                wave = record["wavelength"]
                record["in_context"] = None if wave is None else (self.subject.context_length or 0) / wave
                share = math.log1p(wave) / math.log1p(longest) if wave else 0.0
                record["bar"] = "█" * max(1, round(BAR * share)) if wave else "stands still"
            yield Group(_shorten(records), title=self._title(layer), after=self._remarks(layer, turning, legend))

    # at one position

    def _turn_columns(self) -> list[Column]:
        first = [Column("pair", right=True, style="dim"), Column("dims", show=_text, whole=True)]
        turned = [
            Column("angle", right=True, show=degrees),
            Column("dial", title="", style="cyan", show=_text, whole=True, worth=0),
        ]
        if self.session.sources is None:
            return [
                *first,
                Column("wavelength", right=True, show=tokens_per_turn, worth=0),
                Column("turns", right=True, show=rounded),
                *turned,
                Column("cos", right=True, show=_component),
                Column("sin", right=True, show=_component),
            ]
        vector = [Column(key, right=True, show=_component) for key in ("x", "y")]
        rotated = [Column(key, right=True, show=_component, style="bold") for key in ("x_rotated", "y_rotated")]
        return [*first, *turned, *vector, *rotated]

    def _turns(self) -> Iterator[Group]:
        legend = "wavelength: tokens per turn" if self.session.sources is None else "x and y are the channels of a pair"
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            after = self._remarks(layer, turning, legend)
            for turned in self.session.turned(layer, turning):
                records = turned_records(layer.settings, turning, turned)
                for record in records:
                    record["dial"] = dial(record["angle"]) if record["inv_freq"] else ""
                yield Group(_shorten(records), title=self._title(layer, turned.place, self._what(turned)), after=after)
                after = []  # once per layer type

    def _what(self, turned: Turned) -> str:
        """Which vector it is, and which way it is turned."""
        parts = []
        if turned.fields:
            name = turned.fields.get("token") or turned.fields["query"]
            parts.append(f"{abridge(visible(str(name)), LONGEST_NAME // 2)}, head {turned.fields['head']}")
        if self.session.manner.inverse:
            parts.append("turned back")
        return ", ".join(parts)

    # at several positions

    def _side_columns(self) -> list[Column]:
        shown = [
            Column(f"dial {place}", title=place, right=True, show=_text, style="cyan") for place in self._shown_places()
        ]
        return [
            Column("pair", right=True, style="dim"),
            Column("dims", show=_text, whole=True),
            Column("wavelength", right=True, show=tokens_per_turn, worth=0),
            *shown,
        ]

    def _shown_places(self) -> list[str]:
        """As many positions as fit side by side."""
        names = [str(written(place)) for place in self.session.places]
        most = DIALS_WIDTH // (max(map(len, names)) + GAP)
        return ends(names, max(most, 3))

    def _left_out(self) -> str:
        rest = len(self.session.places) - len(self._shown_places())
        return f"; {count(rest)} more positions in JSON and TSV" if rest else ""

    def _side_by_side(self) -> Iterator[Group]:
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            records = pair_records(layer.settings, turning)
            for turned in self.session.turned(layer, turning):
                key = f"dial {written(turned.place)}"
                for record, angle in zip(records, modulo(turned.angles).tolist(), strict=True):
                    record[key] = dial(angle) if record["inv_freq"] else ""
            legend = f"wavelength: tokens per turn; → is no turn{self._left_out()}"
            yield Group(_shorten(records), title=self._title(layer), after=self._remarks(layer, turning, legend))


def remarks(subject: Subject, layer: LayerRope, turning: Frequencies) -> list[str]:
    """What is to be known of a kind of layer beside the angles: settings, channels, context."""
    found = layer_lines(layer, turning)
    if layer.settings.mrope_section is not None:
        found.append("for text the three positions t, h, w are one")
    found += [*_passing(layer, turning), *_context(subject, turning)]
    if subject.nope_layers and layer is subject.layers[-1]:
        found.append(f"layers without positions: {ranges(subject.nope_layers)}")
    return found


def _passing(layer: LayerRope, turning: Frequencies) -> list[str]:
    settings = layer.settings
    found = []
    if settings.layout is not None and settings.turning_width < settings.head_dim:
        paired = set(channel_pairs(settings).ravel().tolist())
        rest = [channel for channel in range(settings.head_dim) if channel not in paired]
        found.append(f"channels {ranges(rest)} pass through unrotated")
    still = np.flatnonzero(turning.inv_freq == 0).tolist()
    if still:
        found.append(f"pairs {ranges(still)} stand still: their channels pass through unrotated")
    return found


def _context(subject: Subject, turning: Frequencies) -> list[str]:
    context = subject.context_length
    waves = turning.wavelength[np.isfinite(turning.wavelength)]
    if context is None or not len(waves):
        return []
    found = [f"context {count(context)} tokens, longest wavelength {tokens_per_turn(float(waves.max()))}"]
    unfinished = turning.unfinished(context)
    unfinished = unfinished[turning.inv_freq[unfinished] > 0].tolist()
    if not unfinished:
        return [*found, "every pair completes a turn within the context"]
    never = "never completes" if len(unfinished) == 1 else "never complete"
    noun = "pair" if len(unfinished) == 1 else "pairs"
    return [*found, f"{noun} {ranges(unfinished)} {never} a turn within the context"]


def ends(items: Sequence[Any], most: int) -> list[Any]:
    """Cut a sequence to its first, middle and last items."""
    if len(items) <= most:
        return list(items)
    part, extra = divmod(most, 3)
    first, middle = part + extra, (len(items) - part) // 2
    return [*items[:first], *items[middle : middle + part], *items[-part:]]


def _shorten(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first, middle and last pairs, with a line of dots where some are left out."""
    kept = ends(records, SHOWN_PAIRS)
    if len(kept) == len(records):
        return kept
    gap = {key: ELLIPSIS if key == "pair" else "" for record in records[:1] for key in record}
    result = kept[:1]
    for before, after in pairwise(kept):
        if after["pair"] != before["pair"] + 1:
            result.append(gap)
        result.append(after)
    return result


def _text(value: Any) -> str:
    return str(value)


def _placed(place: Place) -> str:
    if isinstance(place, int):
        return f"position {count(place)}"
    return ", ".join(f"{axis} {count(number)}" for axis, number in zip(AXES, place, strict=True))


TINY, BIG, VAST = 1e-3, 1e4, 1e12
"""Where a number is rather written with an exponent, with fewer decimals, or with an exponent again."""

LEAST_TURN = 1e-4
"""The smallest number of turns that is written as a number."""


def _number(value: Any) -> str:
    """Round for reading; the line of dots stays empty."""
    if isinstance(value, str):
        return value
    return f"{value:,.4f}" if TINY <= abs(value) < VAST or value == 0 else f"{value:.2e}"


def rounded(value: Any) -> str:
    """Round a number of turns, always to as many decimals, so that decimal points stand below each other."""
    if isinstance(value, str):
        return value
    if 0 < abs(value) < LEAST_TURN:
        return f"<{LEAST_TURN:.4f}" if value > 0 else f">-{LEAST_TURN:.4f}"
    return f"{value:,.4f}" if abs(value) < VAST else f"{value:.2e}"


def _component(value: Any) -> str:
    """Round a component of a vector; no minus before what rounds to zero."""
    if isinstance(value, str):
        return value
    return f"{value:.2e}" if abs(value) >= BIG else f"{round(value, 4) + 0.0:.4f}"


def tokens_per_turn(value: Any) -> str:
    """Round a wavelength; a text stays as it is."""
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if value < BIG else f"{value:,.0f}" if value < VAST else f"{value:.2e}"


def degrees(value: Any) -> str:
    """Round an angle in radians, in degrees; a text stays as it is."""
    return value if isinstance(value, str) else f"{round(math.degrees(value), 1) % 360:.1f}°"
