"""The RoPE types: settings -> inverse frequencies and the attention factor, one function each.

The arithmetic is that of `Numbers`: the same formulas, rounded once (float64) or at every step (float32).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from embtool.arrays import np
from embtool.errors import ConfigError
from embtool.rope.settings import USUAL, Floats, Precision, RopeSettings


@dataclass(frozen=True)
class Numbers:
    """The arithmetic of one precision: the same formulas, rounded once or at every step."""

    precision: Precision

    @property
    def dtype(self) -> "type[np.floating[Any]]":
        """The type of a number."""
        return np.float64 if self.precision == "float64" else np.float32

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
        """Numbers as an array of this precision."""
        return np.asarray(values, dtype=self.dtype)


NUMBERS: Mapping[Precision, Numbers] = {"float64": Numbers("float64"), "float32": Numbers("float32")}


RopeType: TypeAlias = Callable[[RopeSettings, int | None, Numbers], tuple[Floats, float]]
"""(settings, sequence length or None, arithmetic) -> (inv_freq of shape (pairs,), attention factor)."""

ROPE_TYPES: dict[str, RopeType] = {}
"""Every known `rope_type`; filled by `@rope_type`."""


def rope_type(name: str) -> Callable[[RopeType], RopeType]:
    """Register a function as the formula of a `rope_type`."""

    def register(function: RopeType) -> RopeType:
        ROPE_TYPES[name] = function
        return function

    return register


def _plain(settings: RopeSettings, numbers: Numbers, theta: float | None = None) -> Floats:
    """theta^(-2i/d), the frequencies before any stretching."""
    dim = settings.exponent_dim or settings.turning_width
    return 1 / numbers.powers(theta or settings.rope_theta, dim, settings.pairs)


@rope_type("default")
def default(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
    """Unstretched: theta^(-2i/d) radians per token (Su et al. 2021, https://arxiv.org/abs/2104.09864, eq. 15)."""
    del length
    return _plain(settings, numbers), 1.0


@rope_type("linear")
def linear(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
    """Position interpolation: every frequency over the factor (Chen et al. 2023, https://arxiv.org/abs/2306.15595)."""
    del length
    return _plain(settings, numbers) / numbers.dtype(settings.stretch), 1.0


@rope_type("dynamic")
def dynamic(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
    """NTK-aware scaling that grows with the sequence, and does nothing up to the context length M.

    theta' = theta * (s n / M - (s - 1))^(d / (d - 2)) for a sequence of n > M tokens.
    """
    context = settings.max_position_embeddings or 1
    tokens = max(length or context, context)
    grown = settings.stretch * tokens / context - (settings.stretch - 1)
    return _plain(settings, numbers, _raised(settings, grown)), 1.0


@rope_type("ntk_alpha")
def ntk_alpha(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
    """HunYuan's fixed NTK scaling: theta' = theta * alpha^(d / (d - 2)), whatever the length."""
    del length
    return _plain(settings, numbers, _raised(settings, settings.alpha or 1.0)), 1.0


@rope_type("qwen_ntk")
def qwen_ntk(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
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
def yarn(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
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
def longrope(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
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
def llama3(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
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
def proportional(settings: RopeSettings, length: int | None, numbers: Numbers) -> tuple[Floats, float]:
    """Gemma 4's partial rotation: pairs over the whole head, of which only the first k turn.

    The exponent runs over the head (2i / head_dim, not 2i / 2k); the other frequencies are 0, so their channels pass
    through. k = floor(partial_rotary_factor * head_dim / 2).
    """
    del length
    live = settings.live_pairs
    inv_freq = np.zeros(settings.pairs, dtype=numbers.dtype)
    inv_freq[:live] = 1 / numbers.powers(settings.rope_theta, settings.turning_width, live)
    return inv_freq / numbers.dtype(settings.factor or 1.0), 1.0
