"""Rotary positions: settings -> inverse frequencies -> rotated vectors, in pure numpy.

RoPE takes the channels of a query or key two by two, reads each pair as a point in a plane, and turns it by an angle
that grows with the token's position: `position * inv_freq[i]`. Early pairs turn fast, late ones slowly, like the hands
of a clock. Because both query and key are turned, their dot product depends only on how far apart they stand.

A `RopeSettings` says everything that matters; `frequencies` computes the angles per token by its `rope_type`, `rotate`
turns a vector. Formulas stand beside the code; `docs/positions.md` explains them.

Two precisions: "float64" is exact to about 1e-9 at any position of a real context; "float32" follows the arithmetic of
transformers on a CPU step by step, its powers of theta within 1 ulp, which is visible at large positions (see
`docs/positions.md`, "Precision").

To add a RoPE type: write one function under `@rope_type("name")`, and name its fields in `STRETCHING` and `REQUIRED`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from embtool.arguments import check_numbers
from embtool.errors import ConfigError, InvalidArgument, UnsupportedRope

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.int64]
Precision: TypeAlias = Literal["float64", "float32"]
Layout: TypeAlias = Literal["half", "interleaved", "interleaved-in-half-out"]

LAYOUTS: Mapping[Layout, str] = {
    "half": "pairs (i, i + rotary_dim/2)",
    "interleaved": "pairs (2i, 2i + 1)",
    "interleaved-in-half-out": "pairs read at (2i, 2i + 1), stored at (i, i + rotary_dim/2)",
}
"""Which two channels make a pair."""

MAX_HEAD_DIM = 1 << 16
"""Channels. Real heads have at most 576; a config that claims more than this is a mistake or an attack on memory."""

AXES = ("t", "h", "w")
"""The three positions of a multimodal token: time, height, width. A text token has the same in all three."""

MropeOrder: TypeAlias = Literal["sectioned", "interleaved", "height-width-time"]

MROPE_ORDERS: Mapping[MropeOrder, str] = {
    "sectioned": "t, then h, then w",
    "interleaved": "t, h, w in turn, the rest t",
    "height-width-time": "h and w in turn, then t",
}
"""How the three axes share the frequencies. `mrope_section` counts t, h, w; in "height-width-time" h, w, t."""


@dataclass(frozen=True, kw_only=True)
class RopeSettings:
    """Everything that decides how one head is rotated; checked when made.

    Attributes:
        head_dim: Channels of a head.
        rotary_dim: Those of them that are paired; None is all. The others pass through.
        rope_type: How the frequencies are stretched; a key of `ROPE_TYPES`.
        rope_theta: The base: pair i turns theta^(-2i / rotary_dim) radians per token.
        layout: Which two channels make a pair; None is "not known", and then nothing can be rotated.
        rotated_part: Which end of the head is paired.
        clockwise: Turn (x, y) to (x cos + y sin, y cos - x sin), as nanochat does.
        max_position_embeddings: The context length, in tokens.
        original_max_position_embeddings: The context length before it was stretched.
        factor: How far it was stretched.
        attention_factor: What cos and sin are multiplied by, where the file states it.
        beta_fast: YaRN: pairs that turn more often than this within the original context are left alone.
        beta_slow: YaRN: pairs that turn less often than this are stretched by the whole factor.
        mscale: YaRN: see `yarn`.
        mscale_all_dim: YaRN: see `yarn`.
        truncate: YaRN: whether the bounds of the ramp are rounded outwards to whole pairs.
        low_freq_factor: Llama 3: wavelengths beyond original / low are stretched.
        high_freq_factor: Llama 3: wavelengths below original / high are left alone.
        short_factor: LongRoPE: a divisor per pair, for sequences within the original context.
        long_factor: LongRoPE: the same for longer ones.
        short_mscale: PhiMoE: replaces the attention factor within the original context.
        long_mscale: PhiMoE: the same for longer sequences.
        alpha: The fixed stretch of "ntk_alpha" (HunYuan).
        partial_rotary_factor: "proportional" only: the share of pairs that turn.
        exponent_dim: The d in theta^(-2i/d), where it is not `rotary_dim`.
        mrope_section: Frequencies per axis; None is one position per token.
        mrope_order: How the axes share the frequencies; a key of `MROPE_ORDERS`.
    """

    head_dim: int
    rotary_dim: int | None = None
    rope_type: str = "default"
    rope_theta: float = 10_000.0
    layout: Layout | None = "half"
    rotated_part: Literal["first", "last"] = "first"
    clockwise: bool = False
    max_position_embeddings: int | None = None
    original_max_position_embeddings: int | None = None
    factor: float | None = None
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    short_factor: tuple[float, ...] | None = None
    long_factor: tuple[float, ...] | None = None
    short_mscale: float | None = None
    long_mscale: float | None = None
    alpha: float | None = None
    partial_rotary_factor: float | None = None
    exponent_dim: int | None = None
    mrope_section: tuple[int, ...] | None = None
    mrope_order: MropeOrder = "sectioned"

    def __repr__(self) -> str:
        stated = ((field, getattr(self, field.name)) for field in fields(self))
        shown = ", ".join(f"{field.name}={value!r}" for field, value in stated if value != field.default)
        return f"RopeSettings({shown})"

    @property
    def summary(self) -> str:
        """What turns how, in a few words."""
        return f"{self.rope_type}, theta {self.rope_theta:,.10g}, {self.turning_width} of {self.head_dim} channels"

    def __post_init__(self) -> None:
        """Refuse settings that no formula could use, naming the field."""
        if self.rope_type not in ROPE_TYPES:
            known = ", ".join(sorted(ROPE_TYPES))
            raise UnsupportedRope(f"rope_type {_quoted(self.rope_type)} is not known (known: {known})")
        self._check_widths()
        self._check_positive()
        missing = [name for name in REQUIRED.get(self.rope_type, ()) if getattr(self, name) is None]
        if missing:
            raise ConfigError(f"{missing[0]} is missing, and rope_type {_quoted(self.rope_type)} needs it")
        self._check_lists()
        self._check_type()

    def _check_widths(self) -> None:
        if not 1 <= self.head_dim <= MAX_HEAD_DIM:
            raise ConfigError(f"head_dim must be between 1 and {MAX_HEAD_DIM}, not {self.head_dim}")
        width = self.turning_width
        if not 0 < width <= self.head_dim:
            raise ConfigError(f"rotary_dim must be between 2 and head_dim {self.head_dim}, not {width}")
        if width % 2:
            raise ConfigError(f"rotary_dim must be even, since channels turn in pairs, not {width}")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ConfigError(f"layout must be one of {', '.join(LAYOUTS)}, not {_quoted(self.layout)}")

    def _check_positive(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a finite number above 0, not {value:g}")

    def _check_type(self) -> None:
        if self.rope_type in ("dynamic", "ntk_alpha", "qwen_ntk") and self.turning_width == 2:  # noqa: PLR2004
            raise ConfigError(f"rotary_dim 2 is too narrow for rope_type {_quoted(self.rope_type)}")
        if self.rope_type == "yarn" and self.rope_theta == 1:
            raise ConfigError("rope_theta 1 gives every pair the same frequency, which rope_type 'yarn' cannot stretch")
        if self.rope_type == "longrope" and self.original_max_position_embeddings == 1:
            raise ConfigError("original_max_position_embeddings must be above 1 for rope_type 'longrope', not 1")
        low, high = self.low_freq_factor, self.high_freq_factor
        if self.rope_type == "llama3" and low is not None and high is not None and high < low:
            raise ConfigError(f"high_freq_factor {high:g} must not be below low_freq_factor {low:g}")
        share = self.partial_rotary_factor
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(f"partial_rotary_factor must be between 0 and 1, not {share:g}")
        needed = self.rope_type == "yarn" or (self.rope_type == "longrope" and self.attention_factor is None)
        if needed and self.factor is None and None in (self.max_position_embeddings, self._original):
            raise ConfigError(f"factor is missing, and rope_type {_quoted(self.rope_type)} needs it or two contexts")

    @property
    def _original(self) -> int | None:
        return self.original_max_position_embeddings

    def _check_lists(self) -> None:
        for name in ("short_factor", "long_factor"):
            values: tuple[float, ...] | None = getattr(self, name)
            if values is None:
                continue
            if len(values) != self.pairs:
                raise ConfigError(f"{name} must have {self.pairs} entries, one per pair, not {len(values)}")
            if not all(value > 0 and math.isfinite(value) for value in values):
                raise ConfigError(f"{name} must hold only finite numbers above 0")
        section = self.mrope_section
        if section is None:
            return
        if len(section) != len(AXES) or min(section) < 0:
            raise ConfigError(f"mrope_section must have {len(AXES)} counts, one per axis, not {_listed(section)}")
        if sum(section) != self.pairs:
            raise ConfigError(
                f"mrope_section {list(section)} must add up to the {self.pairs} pairs, not {sum(section)}"
            )
        if self.mrope_order == "height-width-time" and section[0] != section[1]:
            raise ConfigError(f"mrope_section {list(section)} must give height and width as many pairs each")

    @property
    def turning_width(self) -> int:
        """Channels that are paired."""
        return self.head_dim if self.rotary_dim is None else self.rotary_dim

    @property
    def pairs(self) -> int:
        """Pairs, and so frequencies, of one head."""
        return self.turning_width // 2

    @property
    def live_pairs(self) -> int:
        """Pairs that really turn; in "proportional" the others stand still, and their channels pass through."""
        if self.rope_type != "proportional" or self.partial_rotary_factor is None:
            return self.pairs
        return int(self.partial_rotary_factor * self.turning_width // 2)

    @property
    def stretching(self) -> dict[str, Any]:
        """The fields that this `rope_type` reads, by their names in a config, each as it is used; absent ones not."""
        used = {name: getattr(self, name) for name in STRETCHING.get(self.rope_type, ())}
        if "factor" in used:
            used["factor"] = self.stretch
        return {name: USUAL.get(name) if value is None else value for name, value in used.items() if _used(name, value)}

    @property
    def stretch(self) -> float:
        """The factor s: as stated, or the ratio of the two context lengths."""
        if self.factor is not None:
            return self.factor
        if self.max_position_embeddings is None or self._original is None:
            return 1.0
        return self.max_position_embeddings / self._original


POSITIVE = (
    *("rope_theta", "factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"),
    *("alpha", "original_max_position_embeddings", "max_position_embeddings", "short_mscale", "long_mscale"),
)
"""Settings that must be above zero where they are given."""

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor", "max_position_embeddings"),
    "ntk_alpha": ("alpha",),
    "qwen_ntk": ("original_max_position_embeddings",),
    "yarn": ("original_max_position_embeddings",),
    "longrope": ("short_factor", "long_factor", "original_max_position_embeddings"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""The settings that a type cannot do without."""


STRETCHING: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "ntk_alpha": ("alpha",),
    "qwen_ntk": ("original_max_position_embeddings",),
    "yarn": (
        *("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate"),
        *("mscale", "mscale_all_dim"),
    ),
    "longrope": (
        *("factor", "original_max_position_embeddings", "short_factor", "long_factor"),
        *("short_mscale", "long_mscale"),
    ),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "proportional": ("factor", "partial_rotary_factor"),
}
"""The fields that each type reads, besides those that all have and `attention_factor`."""

USUAL: Mapping[str, Any] = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True}
"""What a field of these is when it is not given."""


def _used(name: str, value: object) -> bool:
    return value is not None or name in USUAL


def _listed(values: tuple[int, ...]) -> str:
    """A list for an error message; a long one is only counted."""
    return str(list(values)) if len(values) <= 4 else f"{len(values)} of them"  # noqa: PLR2004 - enough to see what is wrong


def _quoted(value: object) -> str:
    text = str(value)
    return f"'{text[:40]}'" + ("…" if len(text) > 40 else "")  # noqa: PLR2004 - enough to find it in the file


# --- Arithmetic in two precisions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbers:
    """The arithmetic of one precision: the same formulas, rounded once or at every step."""

    dtype: type[np.floating[Any]]

    def evens(self, dim: int, pairs: int) -> Floats:
        """2i/d for every pair i."""
        steps: Floats = np.arange(0, 2 * pairs, 2).astype(self.dtype)
        return steps / self.dtype(dim)

    def powers(self, theta: float, dim: int, pairs: int) -> Floats:
        """theta^(2i/d) for every pair i, rounded once: the reciprocals of the plain frequencies."""
        base = np.float64(self.dtype(theta))
        found: Floats = np.power(base, self.evens(dim, pairs).astype(np.float64)).astype(self.dtype)
        return found

    def array(self, values: Any) -> Floats:
        return np.asarray(values, dtype=self.dtype)


_NUMBERS: Mapping[Precision, _Numbers] = {"float64": _Numbers(np.float64), "float32": _Numbers(np.float32)}


# --- The RoPE types -----------------------------------------------------------------------------------------------

RopeType: TypeAlias = Callable[[RopeSettings, int | None, _Numbers], tuple[Floats, float]]
"""(settings, sequence length or None, arithmetic) -> (inv_freq of shape (pairs,), attention factor)."""

ROPE_TYPES: dict[str, RopeType] = {}
"""Every known `rope_type`; filled by `@rope_type`."""


def rope_type(name: str) -> Callable[[RopeType], RopeType]:
    """Register a function as the formula of a `rope_type`."""

    def register(function: RopeType) -> RopeType:
        ROPE_TYPES[name] = function
        return function

    return register


def _plain(settings: RopeSettings, numbers: _Numbers, theta: float | None = None) -> Floats:
    """theta^(-2i/d), the frequencies before any stretching."""
    dim = settings.exponent_dim or settings.turning_width
    return 1 / numbers.powers(theta or settings.rope_theta, dim, settings.pairs)


@rope_type("default")
def default(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """Unstretched: theta^(-2i/d) radians per token (Su et al. 2021, https://arxiv.org/abs/2104.09864, eq. 15)."""
    del length
    return _plain(settings, numbers), 1.0


@rope_type("linear")
def linear(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """Position interpolation: every frequency over the factor (Chen et al. 2023, https://arxiv.org/abs/2306.15595)."""
    del length
    return _plain(settings, numbers) / numbers.dtype(settings.stretch), 1.0


@rope_type("dynamic")
def dynamic(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """NTK-aware scaling that grows with the sequence, and does nothing up to the context length M.

    theta' = theta * (s n / M - (s - 1))^(d / (d - 2)) for a sequence of n > M tokens.
    """
    context = settings.max_position_embeddings or 1
    tokens = max(length or context, context)
    grown = settings.stretch * tokens / context - (settings.stretch - 1)
    return _plain(settings, numbers, _raised(settings, grown)), 1.0


@rope_type("ntk_alpha")
def ntk_alpha(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """HunYuan's fixed NTK scaling: theta' = theta * alpha^(d / (d - 2)), whatever the length."""
    del length
    return _plain(settings, numbers, _raised(settings, settings.alpha or 1.0)), 1.0


@rope_type("qwen_ntk")
def qwen_ntk(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """The first Qwen's NTK scaling, in doubling steps beyond its training length L.

    theta' = theta * alpha^(d / (d - 2)) with alpha = max(2^ceil(log2(n / L) + 1) - 1, 1).
    """
    trained = settings.original_max_position_embeddings or 1
    steps = math.ceil(math.log2(max(length or trained, 1) / trained) + 1)
    return _plain(settings, numbers, _raised(settings, max(2.0**steps - 1, 1.0))), 1.0


def _raised(settings: RopeSettings, grown: float) -> float:
    """Return theta * grown^(d / (d - 2)): a base that turns the slowest pair `grown` times more slowly."""
    dim = settings.turning_width
    try:
        return float(settings.rope_theta * grown ** (dim / (dim - 2)))
    except OverflowError as error:
        raise ConfigError(f"rope_theta overflows when stretched by {grown:g}") from error


@rope_type("yarn")
def yarn(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """YaRN: fast pairs unchanged, slow ones over the factor, a ramp between (https://arxiv.org/abs/2309.00071).

    A pair that turns r times within the original context L is number d ln(L / (2 pi r)) / (2 ln theta). The ramp
    starts at the pair of `beta_fast` turns and ends at that of `beta_slow`. The upper bound d - 1 is beyond the last
    pair d/2 - 1; that is how everyone has it.
    """
    del length
    dim, theta = settings.turning_width, settings.rope_theta
    original = settings.original_max_position_embeddings or 1

    def pair_of(name: str, stated: float | None) -> float:
        turns = stated or USUAL[name]
        wave = original / (turns * 2 * math.pi)
        if not 0 < wave < math.inf:
            raise ConfigError(f"{name} {turns:g} is out of range")
        return float(dim * math.log(wave) / (2 * math.log(theta)))

    low, high = pair_of("beta_fast", settings.beta_fast), pair_of("beta_slow", settings.beta_slow)
    if settings.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # a step instead of a division by zero
    powers = numbers.powers(theta, settings.exponent_dim or dim, settings.pairs)
    index: Floats = np.arange(settings.pairs).astype(numbers.dtype)
    ramp = np.clip((index - low) / (high - low), 0, 1).astype(numbers.dtype)
    kept = 1 - ramp
    stretched = 1 / (settings.stretch * powers)
    return stretched * (1 - kept) + (1 / powers) * kept, _yarn_attention_factor(settings)


def _yarn_attention_factor(settings: RopeSettings) -> float:
    """The stated factor, else m(s, mscale) / m(s, mscale_all_dim) if both are given and not 0, else m(s, 1)."""
    if settings.attention_factor is not None:
        return settings.attention_factor
    if settings.mscale and settings.mscale_all_dim:
        whole = yarn_mscale(settings.stretch, settings.mscale_all_dim)
        return yarn_mscale(settings.stretch, settings.mscale) / whole if whole else math.inf
    return yarn_mscale(settings.stretch)


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    """m(s, k) = 0.1 k ln(s) + 1 for s > 1, else 1 (YaRN paper, section 3.4).

    >>> round(yarn_mscale(4.0), 6)
    1.138629
    """
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


@rope_type("longrope")
def longrope(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """LongRoPE: a divisor per pair, from one list within the original context and another beyond.

    The length of the whole sequence decides, not the position of the token (https://arxiv.org/abs/2402.13753).
    """
    beyond = is_long(settings, length)
    divisors = numbers.array(settings.long_factor if beyond else settings.short_factor)
    powers = numbers.powers(settings.rope_theta, settings.exponent_dim or settings.turning_width, settings.pairs)
    return 1 / (divisors * powers), _longrope_attention_factor(settings, beyond=beyond)


def is_long(settings: RopeSettings, length: int | None) -> bool:
    """Whether a sequence of this many tokens uses the long list of "longrope"; never without a length."""
    original = settings.original_max_position_embeddings
    return length is not None and original is not None and length > original


def _longrope_attention_factor(settings: RopeSettings, *, beyond: bool) -> float:
    """sqrt(1 + ln s / ln L) unless stated; PhiMoE states one per list."""
    stated = settings.long_mscale if beyond else settings.short_mscale
    if stated is None:
        stated = settings.attention_factor
    if stated is not None:
        return stated
    if settings.stretch <= 1:
        return 1.0
    return math.sqrt(1 + math.log(settings.stretch) / math.log(settings.original_max_position_embeddings or math.e))


@rope_type("llama3")
def llama3(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """Llama 3.1's bands by wavelength: short ones kept, long ones over the factor, a blend between.

    With equal factors (Llama 4 Scout) the band between is empty, and nothing is divided by its width.
    """
    del length
    low, high = settings.low_freq_factor or 1.0, settings.high_freq_factor or 1.0
    original, factor = settings.original_max_position_embeddings or 1, settings.stretch
    inv_freq = _plain(settings, numbers)
    wavelength = (1 / inv_freq) * (2 * math.pi)  # a reciprocal first, as torch divides a number by a tensor
    stretched = np.where(wavelength > original / low, inv_freq / numbers.dtype(factor), inv_freq)
    between = (wavelength >= original / high) & (wavelength <= original / low)
    if high > low:
        share = ((1 / wavelength[between]) * original - low) / (high - low)
        kept = stretched[between]
        stretched[between] = (1 - share) * kept / numbers.dtype(factor) + share * kept
    return stretched, 1.0


@rope_type("proportional")
def proportional(settings: RopeSettings, length: int | None, numbers: _Numbers) -> tuple[Floats, float]:
    """Gemma 4's partial rotation: pairs over the whole head, of which only the first k turn.

    The exponent runs over the head (2i / head_dim, not 2i / 2k); the other frequencies are 0, so their channels pass
    through. k = floor(partial_rotary_factor * head_dim / 2).
    """
    del length
    live = settings.live_pairs
    inv_freq = np.zeros(settings.pairs, dtype=numbers.dtype)
    inv_freq[:live] = 1 / numbers.powers(settings.rope_theta, settings.turning_width, live)
    return inv_freq / numbers.dtype(settings.factor or 1.0), 1.0


# --- Frequencies --------------------------------------------------------------------------------------------------


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
    def wavelength(self) -> npt.NDArray[np.float64]:
        """Tokens per full turn, 2 pi / inv_freq; infinite for pairs that stand still."""
        with np.errstate(divide="ignore"):
            return (2 * math.pi) / self.inv_freq.astype(np.float64)

    def angles(self, positions: npt.ArrayLike) -> Floats:
        """Radians that each pair has turned at each position: shape (*positions.shape, pairs)."""
        dtype = _NUMBERS[self.precision].dtype
        return _outer(np.asarray(positions, dtype=np.float64).astype(dtype), self.inv_freq)

    def unfinished(self, context_length: int) -> Ints:
        """The pairs that do not complete one turn within the context: for them every position is unlike any other."""
        return np.flatnonzero(self.wavelength > context_length).astype(np.int64)


def _outer(positions: Floats, inv_freq: Floats) -> Floats:
    return positions[..., np.newaxis] * inv_freq


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
    if precision not in _NUMBERS:
        raise InvalidArgument(f"precision is one of {', '.join(_NUMBERS)}, not {precision!r}")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        inv_freq, factor = ROPE_TYPES[settings.rope_type](settings, sequence_length, _NUMBERS[precision])
    if not np.isfinite(inv_freq).all():
        raise ConfigError(f"rope_theta {settings.rope_theta:g} gives frequencies that are not finite")
    if not 0 < factor < math.inf:
        raise ConfigError(f"attention_factor must be a finite number above 0, and comes to {factor:g}")
    inv_freq = inv_freq.astype(_NUMBERS[precision].dtype)
    inv_freq.setflags(write=False)
    return Frequencies(inv_freq, factor, precision)


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
    x: npt.ArrayLike,
    positions: npt.ArrayLike,
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
    length = _reach(position) if sequence_length is None else sequence_length
    turning = frequencies(settings, length, precision)
    return turn(x, turning.angles(position), settings, turning.attention_factor, inverse=inverse)


def _reach(position: npt.NDArray[Any]) -> int | None:
    return max(int(position.max()) + 1, 1) if position.size else None


def rotate_multimodal(
    x: npt.ArrayLike,
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
    x: npt.ArrayLike, angles: Floats, settings: RopeSettings, attention_factor: float = 1.0, *, inverse: bool = False
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
