"""Settings and positions -> angles, and vectors turned by them."""

import math
from dataclasses import dataclass

from embtool.arguments import check_numbers
from embtool.arrays import ArrayLike, Doubles, Ints, np
from embtool.errors import ConfigError, InvalidArgument
from embtool.rope.formulas import NUMBERS, ROPE_TYPES
from embtool.rope.settings import LAYOUTS, Floats, Layout, Precision, RopeSettings


@dataclass(frozen=True, eq=False)
class Frequencies:
    """How fast each pair turns.

    Attributes:
        inv_freq: Radians per token, shape (pairs,); 0 for pairs that stand still.
        attention_factor: What cos and sin are multiplied by: a rotated vector is this much longer.
        precision: The arithmetic that made them, and that angles continue.
    """

    inv_freq: Floats
    attention_factor: float
    precision: Precision

    @property
    def wavelength(self) -> Doubles:
        """Tokens per full turn, 2 pi / inv_freq; infinite for pairs that stand still."""
        with np.errstate(divide="ignore"):
            return (2 * math.pi) / self.inv_freq.astype(np.float64)

    def angles(self, positions: ArrayLike) -> Floats:
        """Radians that each pair has turned at each position: shape (*positions.shape, pairs)."""
        dtype = NUMBERS[self.precision].dtype
        return np.asarray(positions, dtype=np.float64).astype(dtype)[..., np.newaxis] * self.inv_freq

    def unfinished(self, context_length: int) -> Ints:
        """The pairs that do not complete one turn within the context: for them every position is unlike any other."""
        return np.flatnonzero(self.wavelength > context_length).astype(np.int64)


def frequencies(
    settings: RopeSettings, sequence_length: int | None = None, precision: Precision = "float64"
) -> Frequencies:
    """The inverse frequencies of a head, for a sequence of this many tokens.

    Args:
        settings: The head.
        sequence_length: Tokens in the whole sequence; it matters to "dynamic", "qwen_ntk" and "longrope", and None
            means "no longer than the model was made for".
        precision: "float64", or "float32" for the numbers transformers computes, within 1 ulp of each power of theta.

    Raises:
        ConfigError: The settings give frequencies that are not finite.
    """
    if precision not in NUMBERS:
        raise InvalidArgument(f"precision is one of {', '.join(NUMBERS)}, not {precision!r}")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        inv_freq, factor = ROPE_TYPES[settings.rope_type](settings, sequence_length, NUMBERS[precision])
    if not np.isfinite(inv_freq).all():
        raise ConfigError(f"rope_theta {settings.rope_theta:g} gives frequencies that are not finite")
    if not 0 < factor < math.inf:
        raise ConfigError(f"attention_factor must be a finite number above 0, and comes to {factor:g}")
    inv_freq = inv_freq.astype(NUMBERS[precision].dtype)
    inv_freq.setflags(write=False)
    return Frequencies(inv_freq, factor, precision)


def attention_factor(settings: RopeSettings) -> float:
    """Return what cos and sin are multiplied by; settings whose frequencies are not finite are refused.

    Unstretched frequencies of a theta of at least 1 lie between 0 and 1, and are not computed for that.

    Raises:
        ConfigError: as `frequencies`.
    """
    if settings.rope_type == "default" and settings.rope_theta >= 1:
        return 1.0
    return frequencies(settings).attention_factor


# --- Rotation -----------------------------------------------------------------------------------------------------


def channel_pairs(settings: RopeSettings) -> Ints:
    """The two channels of the head that each pair reads: shape (pairs, 2).

    >>> channel_pairs(RopeSettings(head_dim=4)).tolist()
    [[0, 2], [1, 3]]
    >>> channel_pairs(RopeSettings(head_dim=4, layout="interleaved")).tolist()
    [[0, 1], [2, 3]]
    """
    return _pairs(settings, interleaved=_known_layout(settings) != "half")


def stored_pairs(settings: RopeSettings) -> Ints:
    """The two channels at which each turned pair is stored: those it was read from, except for "...-half-out"."""
    return _pairs(settings, interleaved=_known_layout(settings) == "interleaved")


def _pairs(settings: RopeSettings, *, interleaved: bool) -> Ints:
    start = settings.head_dim - settings.turning_width if settings.rotated_part == "last" else 0
    index = np.arange(settings.pairs, dtype=np.int64)
    columns = (2 * index, 2 * index + 1) if interleaved else (index, index + settings.pairs)
    return np.stack(columns, axis=1) + start


def _known_layout(settings: RopeSettings) -> Layout:
    if settings.layout is None:
        raise ConfigError(
            "the family of this model is not known, and so not which two channels make a pair",
            hint=f"say which: layout {' or '.join(LAYOUTS)}",
        )
    return settings.layout


def rotate(
    x: ArrayLike,
    positions: ArrayLike,
    settings: RopeSettings,
    *,
    sequence_length: int | None = None,
    precision: Precision = "float64",
    inverse: bool = False,
) -> Floats:
    """Vectors turned to their positions, as a model turns its queries and keys.

    Args:
        x: Shape (..., head_dim).
        positions: Whole numbers of a shape that broadcasts against (...); negative ones turn back.
        settings: How the head turns.
        sequence_length: Tokens in the whole sequence; None is the largest position + 1.
        precision: "float64", or "float32" for the numbers transformers computes, within 1 ulp of each power of theta.
        inverse: Undo the rotation instead: the inverse of `rotate(x, p)` gives x again.

    Returns:
        Shape (..., head_dim), of the dtype that `precision` names. Lengths grow by the attention factor.

    Raises:
        ConfigError: The layout is not known, or x has another width.
    """
    position = check_numbers(positions, "a position")
    if not np.isfinite(position).all():
        raise InvalidArgument("a position is finite")
    if sequence_length is None and position.size:
        sequence_length = max(int(position.max()) + 1, 1)
    turning = frequencies(settings, sequence_length, precision)
    return turn(x, turning.angles(position), settings, turning.attention_factor, inverse=inverse)


def rotate_multimodal(
    x: ArrayLike,
    position: tuple[int, int, int],
    settings: RopeSettings,
    *,
    sequence_length: int | None = None,
    precision: Precision = "float64",
    inverse: bool = False,
) -> Floats:
    """Vectors of a token with three positions (t, h, w), such as an image patch; otherwise as `rotate`.

    Raises:
        ConfigError: The settings have no `mrope_section`.
    """
    length = max(*position, 0) + 1 if sequence_length is None else sequence_length
    turning = frequencies(settings, length, precision)
    angles = multimodal_angles(turning, position, settings)
    return turn(x, angles, settings, turning.attention_factor, inverse=inverse)


def mrope_axes(settings: RopeSettings) -> Ints:
    """Which axis (0 = t, 1 = h, 2 = w) each frequency follows: shape (pairs,).

    In sections, the first follows t, the next h, the last w. Interleaved, h takes every third frequency from 1 on and w
    every third from 2 on, as many as their sections say; t has the rest. ERNIE's order has h and w in turn, then t.
    """
    section = settings.mrope_section
    if section is None:
        raise ConfigError("mrope_section is missing: this model has one position per token, not three")
    if settings.mrope_order == "sectioned":
        return np.repeat(np.arange(len(section), dtype=np.int64), section)
    if settings.mrope_order == "height-width-time":
        return np.array([1, 2] * section[0] + [0] * section[2], dtype=np.int64)
    axes = np.zeros(settings.pairs, dtype=np.int64)
    for axis in (1, 2):
        axes[axis : 3 * section[axis] : 3] = axis
    return axes


def multimodal_angles(turning: Frequencies, position: tuple[int, int, int], settings: RopeSettings) -> Floats:
    """Radians that each pair has turned when each follows its own axis: shape (pairs,)."""
    per_axis = turning.angles(np.asarray(position))
    angles: Floats = per_axis[mrope_axes(settings), np.arange(settings.pairs)]
    return angles


def turn(
    x: ArrayLike, angles: Floats, settings: RopeSettings, attention_factor: float = 1.0, *, inverse: bool = False
) -> Floats:
    """Vectors whose pairs are turned by given angles.

    (x, y) becomes a * (x cos - y sin, x sin + y cos), counter-clockwise; channels outside the pairs pass through.

    Args:
        x: Shape (..., head_dim).
        angles: Radians, shape (..., pairs).
        settings: The layout; nothing else of it is used.
        attention_factor: The a above.
        inverse: Turn the other way and divide by a.
    """
    vectors = check_numbers(x, "a vector")
    if vectors.shape[-1:] != (settings.head_dim,):
        raise ConfigError(
            f"a vector of {vectors.shape[-1] if vectors.ndim else 1} numbers does not fit head_dim {settings.head_dim}"
        )
    vectors = vectors.astype(angles.dtype)
    read, stored = channel_pairs(settings), stored_pairs(settings)
    if inverse:
        read, stored = stored, read
    scale = angles.dtype.type(1 / attention_factor if inverse else attention_factor)
    cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
    if inverse != settings.clockwise:
        sin = -sin
    first, second = vectors[..., read[:, 0]], vectors[..., read[:, 1]]
    shape = np.broadcast_shapes(first.shape, angles.shape)[:-1]
    result = np.broadcast_to(vectors, (*shape, settings.head_dim)).copy()
    result[..., stored[:, 0]] = first * cos - second * sin
    result[..., stored[:, 1]] = second * cos + first * sin
    return result
