"""What decides how a head is rotated: `RopeSettings`, checked when made, and which fields each type reads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from embtool.arrays import Reals
from embtool.errors import ConfigError, UnsupportedRope

Floats: TypeAlias = Reals
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
        rope_type: How the frequencies are stretched; a key of `STRETCHING`.
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
        if self.rope_type not in STRETCHING:
            known = ", ".join(sorted(STRETCHING))
            raise UnsupportedRope(f"rope_type {_quoted(self.rope_type)} is not known (known: {known})")
        self._check_widths()
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a finite number above 0, not {value:g}")
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
            few = len(section) <= 4  # noqa: PLR2004 - enough to see what is wrong
            found = str(list(section)) if few else f"{len(section)} of them"
            raise ConfigError(f"mrope_section must have {len(AXES)} counts, one per axis, not {found}")
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
        return {
            name: USUAL.get(name) if value is None else value
            for name, value in used.items()
            if value is not None or name in USUAL
        }

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
    "default": (),
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
"""The types that are known, and the fields that each reads, besides those that all have and `attention_factor`."""

USUAL: Mapping[str, Any] = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True}
"""What a field of these is when it is not given."""


def _quoted(value: object) -> str:
    text = str(value)
    return f"'{text[:40]}'" + ("…" if len(text) > 40 else "")  # noqa: PLR2004 - enough to find it in the file
