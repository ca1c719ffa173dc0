"""How a model knows the order of its tokens: a `Config` -> one of a few schemes.

Some models add a row of a learned table to each token's row, some a fixed pattern of sines, some bias attention by
distance, some know no order but that of reading; most today rotate queries and keys (`embtool.rope`), a few of them in
some layers only, or differently per kind of layer. `read_positions` tells which, with every value's origin.

The floors inside, lowest first:

    schemes        what each scheme is, and what follows from it
    layers         which kind of layer stands where, and which have no positions
    rope_sources   in which dictionaries a file keeps its RoPE settings, and which wins
    rope_fields    the fields in there -> RopeSettings
    reading        the scheme of a model, put together
    overrides      the rotation of a model with settings that are given instead

What the fields of the many dialects mean, and what was decided where they are ambiguous, is in `docs/positions.md`;
what the files leave out is in `embtool.configs.families`.
"""

from typing import TYPE_CHECKING, Any

from embtool.positions.reading import SCHEMES, read_positions
from embtool.positions.rope_fields import UNKNOWN_LAYOUT
from embtool.positions.schemes import (
    Alibi,
    LayerRope,
    Learned,
    NoPositions,
    OtherRelative,
    Positions,
    Rope,
    Sinusoidal,
    T5Buckets,
    UnknownPositions,
    alibi_slopes,
)

if TYPE_CHECKING:
    from embtool.positions.overrides import Overridden, RopeOverride, override

__all__ = [
    "SCHEMES",
    "UNKNOWN_LAYOUT",
    "Alibi",
    "LayerRope",
    "Learned",
    "NoPositions",
    "OtherRelative",
    "Overridden",
    "Positions",
    "Rope",
    "RopeOverride",
    "Sinusoidal",
    "T5Buckets",
    "UnknownPositions",
    "alibi_slopes",
    "override",
    "read_positions",
]


def __getattr__(name: str) -> Any:
    if name in ("Overridden", "RopeOverride", "override"):
        from embtool.positions import overrides  # noqa: PLC0415 - only where settings are given instead

        return getattr(overrides, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
