"""Decimal numbers in text, many at a time: each is rounded once to float64, as `float` rounds it.

A number of word vectors is a sign and some digits with a point among them. Its digits without the point are a whole
number below 2⁵³, and the point stands for a power of ten below 10²²: both are exact in float64, so that one division
rounds correctly (W. Clinger, "How to read floating point numbers accurately", 1990). Eight characters are read at once,
as a 64-bit number whose bytes, the last character being the highest, are added up in pairs. Whatever is written in
another way (an exponent, more digits, `nan`) is left to `float`, one by one.
"""

import re

from embtool.arrays import Bytes, Doubles, Flags, Ints, Words, np

Places = Ints
Lengths = Ints

EIGHT = 8
"""Characters that are read at once."""

WRITTEN = re.compile(rb"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE)
"""What `float` reads here: it would also take `1_000` and digits of other scripts."""

MINUS, PLUS = b"-+"

POWERS = 10.0 ** np.arange(2 * EIGHT + 1)

_0, _1, _7, _8 = (np.uint64(number) for number in (0, 1, 7, 8))
_ZEROS = np.uint64(0x3030303030303030)
_POINTS = np.uint64(0x1E1E1E1E1E1E1E1E)
"""Eight points, where the character 0 was taken away by exclusive or."""
_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SIXES, _UPPER = np.uint64(0x0606060606060606), np.uint64(0xF0F0F0F0F0F0F0F0)
_PAIRS = np.uint64(0x000000FF000000FF)
_HUNDREDS, _UNITS = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)
_ORDER = np.uint64(0x0706050403020100)
"""Its highest byte, when it is multiplied by 2 ** (8 k), is 7 - k."""


class NotANumberError(Exception):
    """A field is no number; `place` counts the fields before it."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def parse(data: Bytes, starts: Places, stops: Places) -> Doubles:
    """Read the numbers at `starts` to `stops` of a text, int64 (n,) each, before its last byte: float64 (n,).

    Raises:
        NotANumberError: one of them is none.
    """
    first = data[starts]
    negative = first == MINUS
    lengths = stops - starts
    lengths -= negative
    lengths -= first == PLUS
    padded = np.concatenate([np.zeros(2 * EIGHT, np.uint8), data])
    windows: Words = np.ndarray((padded.size - EIGHT + 1,), "<u8", padded.data, strides=(1,))
    digits, point, fits = _without_point(_cut(windows[stops + EIGHT], np.minimum(lengths, EIGHT)))
    found = _value(digits).astype(np.float64) / POWERS[_decimals(point)]
    fits &= (lengths > 0) & (lengths <= EIGHT) & ((lengths > 1) | (point == _0))  # a point alone is no number
    longer = np.flatnonzero((lengths > EIGHT) & (lengths <= 2 * EIGHT))
    if longer.size:
        high, low = windows[stops[longer] + EIGHT], windows[stops[longer]]
        found[longer], fits[longer] = _long(low, high, lengths[longer] - EIGHT)
    found *= 1.0 - 2.0 * negative
    for place in np.flatnonzero(~fits).tolist():
        text = data[starts[place] : stops[place]].tobytes()
        if not WRITTEN.fullmatch(text):
            raise NotANumberError(place)
        found[place] = float(text)
    return found


def _long(low: Words, high: Words, lengths: Lengths) -> tuple[Doubles, Flags]:
    """Read numbers without a sign of nine to sixteen characters: `high` has the last eight, `low` the `lengths` before.

    Returns the numbers, float64 (n,), and which of them are numbers, bool (n,).
    """
    tail, late, fits = _without_point(high ^ _ZEROS)
    head, early, head_fits = _without_point(_cut(low, lengths))
    fits &= head_fits & ((late == _0) | (early == _0))
    digits = np.where(late == _0, EIGHT, EIGHT - 1)
    decimals = _decimals(late) + np.where(early == _0, 0, _decimals(early) + EIGHT)
    whole = _value(head) * (10 ** digits.astype(np.uint64)) + _value(tail)
    fits &= whole <= np.uint64(1 << 53)
    return whole.astype(np.float64) / POWERS[decimals], fits


def _cut(read: Words, lengths: Lengths) -> Words:
    """Put zeros for the characters before the last `lengths`, one to eight of them; take the character 0 from all."""
    unused = ((EIGHT - np.maximum(lengths, 1)) * EIGHT).astype(np.uint64)
    cut: Words = ((read ^ _ZEROS) >> unused) << unused
    return cut


def _without_point(read: Words) -> tuple[Words, Words, Flags]:
    """Take the point out of eight characters; return digits, the lowest bit of the point's byte, and if all are digits.

    The lowest zero byte of the exclusive or is the point; of several the second is then no digit.
    """
    rest = read ^ _POINTS
    marks = (rest - _ONES) & ~rest & _TOPS
    point = (marks & (~marks + _1)) >> _7
    before = point - _1  # where there is no point, all of it
    moved = (read & ~(before | (before << _8) | np.uint64(255))) | ((read & before) << _8)
    digits = np.where(point == _0, read, moved)
    fits = ((digits | (digits + _SIXES)) & _UPPER) == _0
    return digits, point, fits


def _decimals(point: Words) -> Lengths:
    """Count the characters after the point in its eight: none where there is no point."""
    return ((point * _ORDER) >> np.uint64(56)).astype(np.int64)


def _value(digits: Words) -> Words:
    """Add up eight digits, the first in the lowest byte."""
    pairs = digits * np.uint64(10) + (digits >> _8)
    lows, highs = (pairs & _PAIRS) * _HUNDREDS, ((pairs >> np.uint64(16)) & _PAIRS) * _UNITS
    value: Words = (lows + highs) >> np.uint64(32)
    return value
