"""What `embtool rope -o` draws: a dial for every pair, chosen from many, at every position, chosen from many."""

import math
from collections.abc import Sequence

from embtool.answers.text import abridge, count, plural, visible
from embtool.arrays import np
from embtool.counts import spread
from embtool.drawings.dial import MOST_DIALS, MOST_ROWS, Hand, Head, Pair, Resting, to_drawing
from embtool.drawings.drawing import Drawing
from embtool.questions.rope import LONGEST_NAME, RopeAnswer
from embtool.questions.rotation import (
    Place,
    TurnedLayer,
    angles_at,
    degrees,
    modulo,
    numbers_of,
    rounded,
    tokens_per_turn,
)
from embtool.rope import AXES, channel_pairs, mrope_axes


def picture_of(answer: RopeAnswer) -> Drawing:
    """Draw every kind of layer: how far positions turn, whatever vector was turned."""
    places = [answer.places[place] for place in spread(len(answer.places), MOST_ROWS)]
    title = "Rotary positions"
    title += "" if answer.model is None else f" of {abridge(visible(answer.model), LONGEST_NAME)}"
    drawn = len(places)
    ways = {_sense(answer, layer) for layer in answer.layers}
    way = "counter-clockwise" if ways == {1} else "clockwise" if ways == {-1} else "its own way"
    said = [
        f"At position 0 a hand points to the right; it turns {way}, position / (tokens per turn) times.",
        "A tinted dial has been round at least once.",
        f"Computed in {answer.precision}.",
    ]
    if drawn < len(answer.places):
        said.insert(2, f"{count(drawn)} of {plural(len(answer.places), 'position')} are drawn, evenly spaced.")
    return to_drawing(title, [_head(answer, layer, places) for layer in answer.layers], " ".join(said))


def _sense(answer: RopeAnswer, layer: TurnedLayer) -> int:
    """Tell which way a position above 0 turns: 1 is counter-clockwise."""
    return -1 if layer.layer.settings.clockwise != answer.inverse else 1


def _head(answer: RopeAnswer, layer: TurnedLayer, places: Sequence[Place]) -> Head:
    settings = layer.layer.settings
    moving = np.flatnonzero(layer.inv_freq).tolist()
    chosen = [moving[place] for place in spread(len(moving), MOST_DIALS)]
    angles = [angles_at(place, layer.turning, settings) for place in places]
    many = any(isinstance(place, tuple) for place in places)
    axes = [AXES[axis] for axis in mrope_axes(settings)] if many else [""] * settings.pairs
    waves, sense = layer.wavelength.tolist(), _sense(answer, layer)
    columns: list[Pair | Resting] = []
    for number in chosen:
        turned = [(float(each[number]), float(modulo(each)[number])) for each in angles]
        hands = [Hand(sense * angle, degrees(rest), rounded(angle / (2 * math.pi))) for angle, rest in turned]
        columns.append(Pair(number, axes[number], tokens_per_turn(waves[number]), hands))
    resting = settings.head_dim - 2 * len(moving)
    if resting:
        columns.append(Resting(f"{plural(resting, 'channel')}", "pass through"))
    said = answer.remarks(layer)
    if len(chosen) < len(moving):
        said.append(f"{count(len(chosen))} of {count(len(moving))} pairs are drawn, evenly spaced")
    turning = None
    if settings.layout is not None:
        moved = {*channel_pairs(settings)[layer.inv_freq > 0].ravel().tolist()}
        turning = [channel in moved for channel in range(settings.head_dim)]
    names = [", ".join(map(count, numbers_of(place))) for place in places]
    title = ""
    if layer.layer_type != "all":  # there are several
        title = visible(layer.layer_type) + (f", {plural(layer.layer_count, 'layer')}" if layer.layer_count else "")
    return Head(title, names, columns, turning, said)
