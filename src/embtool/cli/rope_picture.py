"""What `embtool rope -o` draws: a dial for every pair, chosen from many, at every position, chosen from many."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from embtool.cli.rope_session import Place, Session, Turned, modulo
from embtool.cli.rope_terminal import LONGEST_NAME, degrees, remarks, rounded, tokens_per_turn
from embtool.dial import MOST_DIALS, MOST_ROWS, Hand, Head, Pair, Resting, spread, to_drawing
from embtool.drawing import Drawing, to_png, to_svg
from embtool.output import abridge, count, visible
from embtool.positions import LayerRope
from embtool.rope import AXES, Frequencies, RopeSettings, channel_pairs, mrope_axes

KINDS: dict[str, Callable[[Drawing], bytes]] = {".svg": to_svg, ".png": to_png}
"""What draws dials, by the end of the file's name."""


def picture_of(session: Session) -> Drawing:
    """Draw every kind of layer of a session; sources are not drawn, only how far positions turn."""
    places = [session.places[place] for place in spread(len(session.places), MOST_ROWS)]
    shown = Session(session.subject, session.manner, places, None)
    turnings = [(layer, session.frequencies(layer)) for layer in session.subject.layers]
    heads = [_head(shown, layer, turning) for layer, turning in turnings]
    name = session.subject.name
    title = "Rotary positions" if name is None else f"Rotary positions of {abridge(visible(name), LONGEST_NAME)}"
    return to_drawing(title, heads, _footer(session, len(places)))


def _footer(session: Session, rows: int) -> str:
    """How to read the dials, and what is left out."""
    ways = {_sense(session, layer.settings) for layer in session.subject.layers}
    way = "counter-clockwise" if ways == {1} else "clockwise" if ways == {-1} else "its own way"
    said = [
        f"At position 0 a hand points to the right; it turns {way}, position / (tokens per turn) times.",
        "A tinted dial has been round at least once.",
        f"Computed in {session.manner.precision}.",
    ]
    if rows < len(session.places):
        said.insert(2, f"{count(rows)} of {count(len(session.places))} positions are drawn, evenly spaced.")
    return " ".join(said)


def _sense(session: Session, settings: RopeSettings) -> int:
    """Which way a position above 0 turns: 1 is counter-clockwise."""
    return -1 if settings.clockwise != session.manner.inverse else 1


def _head(session: Session, layer: LayerRope, turning: Frequencies) -> Head:
    settings = layer.settings
    moving = np.flatnonzero(turning.inv_freq).tolist()
    chosen = [moving[place] for place in spread(len(moving), MOST_DIALS)]
    turned = list(session.turned(layer, turning))
    columns: list[Pair | Resting] = [_pair(session, layer, turning, turned, number) for number in chosen]
    resting = settings.head_dim - 2 * len(moving)
    if resting:
        columns.append(Resting(f"{count(resting)} channels", "pass through"))
    said = remarks(session.subject, layer, turning)
    if len(chosen) < len(moving):
        said.append(f"{count(len(chosen))} of {count(len(moving))} pairs are drawn, evenly spaced")
    return Head(_title(layer), [_row(turn.place) for turn in turned], columns, _turning(settings, turning), said)


def _pair(session: Session, layer: LayerRope, turning: Frequencies, turned: Sequence[Turned], number: int) -> Pair:
    """One pair at every position; where a token has three, which of them it follows."""
    settings = layer.settings
    many = any(isinstance(turn.place, tuple) for turn in turned)
    axis = AXES[mrope_axes(settings)[number]] if many else ""
    angles = [float(turn.angles[number]) for turn in turned]
    within = [float(modulo(turn.angles)[number]) for turn in turned]
    hands = [
        Hand(_sense(session, settings) * angle, degrees(part), rounded(angle / (2 * math.pi)))
        for angle, part in zip(angles, within, strict=True)
    ]
    return Pair(number, axis, tokens_per_turn(float(turning.wavelength[number])), hands)


def _turning(settings: RopeSettings, turning: Frequencies) -> list[bool] | None:
    """Tell of each channel of a head whether it turns; nothing where the pairs are not known."""
    if settings.layout is None:
        return None
    turns = np.zeros(settings.head_dim, np.bool_)
    turns[channel_pairs(settings)[turning.inv_freq > 0]] = True
    return [bool(channel) for channel in turns]


def _title(layer: LayerRope) -> str:
    """What kind of layer it is, where there are several."""
    if layer.layer_type == "all":
        return ""
    number = layer.layer_count
    layers = "" if not number else ", 1 layer" if number == 1 else f", {count(number)} layers"
    return f"{visible(layer.layer_type)}{layers}"


def _row(place: Place) -> str:
    return ", ".join(map(count, place)) if isinstance(place, tuple) else count(place)
