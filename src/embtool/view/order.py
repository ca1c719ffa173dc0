"""How the model knows order, as the page shows it: angles, a table of positions, or slopes."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as counted

from embtool.answers.text import plural, visible
from embtool.arrays import Doubles, Floats, np
from embtool.counts import spread
from embtool.drawings.dial import MOST_DIALS
from embtool.errors import EmbtoolError
from embtool.lesson import Subject
from embtool.positions import Alibi, LayerRope, Learned, Rope, Sinusoidal
from embtool.questions.positions import in_words, layer_lines
from embtool.questions.rotation import tokens_per_turn
from embtool.rope import Frequencies, RopeSettings, channel_pairs, frequencies
from embtool.tables.sequence import cosines
from embtool.view.parts import Json, packed, printed_parts, shades, typed

BY_LENGTH = ("dynamic", "qwen_ntk", "longrope")
"""Types whose frequencies depend on the length of the sequence."""

MOST_REGIMES = 4
"""Lengths at which frequencies change, that a page carries; beyond the last its slider does not go."""

FARTHEST = 8192
"""The last position of the slider where nothing says how far the model reads."""

MOST_POSITIONS, MOST_CHANNELS = 128, 256
"""Rows and columns of the picture of a table of positions."""

USUAL = RopeSettings(head_dim=64, rope_theta=10_000.0, layout="half")
USUAL_TYPED = ("--theta", "10000", "--dim", "64")
"""The rotation shown where the model has none, and how it is typed."""

USUAL_CONTEXT = 4096


def describe_order(subject: Subject) -> Json:
    """Describe how the model knows order; where it does not rotate, the usual rotation stands beside it."""
    known = subject.positions
    data: Json = {
        "kind": "unknown" if known is None else known.kind,
        "words": "its files do not say how it knows order" if known is None else in_words(known),
        "idle": subject.is_idle,
        "context": None if known is None else known.context_length,
        "command": typed(subject.about("info")),
        "rows": _position_rows(subject),
        "slopes": list(known.slopes) if isinstance(known, Alibi) else None,
    }
    if isinstance(known, Rope):
        last = (known.context_length or FARTHEST) - 1
        layers = [_layer(layer, last) for layer in known.layers]
        return {**data, "own": True, "layers": layers, "options": None}
    usual = LayerRope(layer_type="all", layers=None, settings=USUAL, origins={})
    return {**data, "own": False, "layers": [_layer(usual, USUAL_CONTEXT - 1)], "options": " ".join(("", *USUAL_TYPED))}


# --- rotations


def _layer(layer: LayerRope, last: int) -> Json:
    """Describe the rotation of one kind of layer up to the last position."""
    settings = layer.settings
    regimes = list(_regimes(settings, last + 1))
    if len(regimes) > MOST_REGIMES:
        last = regimes[MOST_REGIMES][0] - 2
        regimes = regimes[:MOST_REGIMES]
    first = regimes[0][1]
    moving = np.flatnonzero(first.inv_freq).tolist()
    name = "" if layer.layer_type == "all" else visible(layer.layer_type)
    many = "" if layer.layer_count is None else f", {plural(layer.layer_count, 'layer')}"
    return {
        "name": f"{name}{many}" if name else "",
        "lines": layer_lines(layer),
        "last": last,
        "head": settings.head_dim,
        "resting": settings.head_dim - 2 * len(moving),
        "sense": -1 if settings.clockwise else 1,
        "dot": settings.layout is not None,
        "by_length": settings.rope_type in BY_LENGTH,
        "shown": [moving[place] for place in spread(len(moving), MOST_DIALS)],
        "channels": None if settings.layout is None else channel_pairs(settings).tolist(),
        "regimes": [
            {
                "from": length,
                "speeds": turning.inv_freq.tolist(),
                "factor": turning.attention_factor,
                "waves": [
                    tokens_per_turn(wave) if math.isfinite(wave) else "∞" for wave in turning.wavelength.tolist()
                ],
            }
            for length, turning in regimes
        ],
    }


def _regimes(settings: RopeSettings, longest: int) -> Iterator[tuple[int, Frequencies]]:
    """Yield the lengths of a sequence from which on frequencies are others, the first 1, and these; one too many."""
    length, found = 1, frequencies(settings, 1)
    for _ in counted():
        yield length, found
        if settings.rope_type not in BY_LENGTH or _equal(found, frequencies(settings, longest)):
            return
        low, high = length, longest  # equal at low, other at high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _equal(found, frequencies(settings, middle)) else (low, middle)
        length, found = high, frequencies(settings, high)
        if length > longest:
            return


def _equal(one: Frequencies, other: Frequencies) -> bool:
    return one.attention_factor == other.attention_factor and np.array_equal(one.inv_freq, other.inv_freq)


# --- tables of positions


def _position_rows(subject: Subject) -> Json | None:
    """Describe what is added for a position: a picture of its rows, and the cosine of any two of them."""
    known = subject.positions
    try:
        table = subject.position_table
        if isinstance(known, Learned) and table is not None:
            size = table.shape[0] - known.row_offset
            places = spread(size, MOST_POSITIONS)
            rows: Floats | Doubles = table.rows([known.row(place) for place in places])
            about = {"tensor": table.tensor.name, "offset": known.row_offset}
            return {**about, **_picture(rows, places, size)}
        if isinstance(known, Sinusoidal):
            size = known.context_length or FARTHEST
            places = spread(size, MOST_POSITIONS)
            wide = known if known.width is not None else replace(known, width=subject.table.shape[1])
            return {"tensor": None, "offset": 0, **_picture(wide.vectors(places), places, size)}
    except EmbtoolError:  # a table that cannot be read is told by the commands
        return None
    return None


def _picture(rows: Floats | Doubles, places: list[int], size: int) -> Json:
    wide = np.where(np.isfinite(rows), rows, 0).astype(np.float64)
    columns = spread(wide.shape[1], MOST_CHANNELS)
    alike = np.stack([cosines(np.broadcast_to(row, wide.shape), wide) for row in wide])
    return {
        "size": size,
        "width": wide.shape[1],
        "places": places,
        "columns": len(columns),
        "codes": packed(shades(wide[:, columns]), "u1"),
        "alike": packed(printed_parts(alike), "i2"),
    }
