"""Rotary positions: settings -> inverse frequencies -> rotated vectors, in pure numpy.

RoPE takes the channels of a query or key two by two, reads each pair as a point in a plane, and turns it by an angle
that grows with the token's position: `position * inv_freq[i]`. Early pairs turn fast, late ones slowly, like the hands
of a clock. Because both query and key are turned, their dot product depends only on how far apart they stand.

A `RopeSettings` says everything that matters; `frequencies` computes the angles per token by its `rope_type`, `rotate`
turns a vector. Formulas stand beside the code; `docs/positions.md` explains them.

Two precisions: "float64" is exact to about 1e-9 at any position of a real context; "float32" follows the arithmetic of
transformers on a CPU step by step, its powers of theta within 1 ulp, which is visible at large positions (see
`docs/positions.md`, "Precision").

The floors inside, lowest first:

    settings       what decides how a head is rotated, checked
    formulas       the RoPE types: settings -> inverse frequencies
    rotation       angles, and vectors turned by them

To add a RoPE type: one function under `@rope_type("name")` in `formulas`, its fields in `STRETCHING` and `REQUIRED` of
`settings`.
"""

from embtool.arrays import Ints
from embtool.rope.formulas import ROPE_TYPES, is_long, yarn_mscale
from embtool.rope.rotation import (
    Frequencies,
    attention_factor,
    channel_pairs,
    frequencies,
    mrope_axes,
    multimodal_angles,
    rotate,
    rotate_multimodal,
    stored_pairs,
    turn,
)
from embtool.rope.settings import (
    AXES,
    LAYOUTS,
    MROPE_ORDERS,
    STRETCHING,
    USUAL,
    Floats,
    Layout,
    Precision,
    RopeSettings,
)

__all__ = [
    "AXES",
    "LAYOUTS",
    "MROPE_ORDERS",
    "ROPE_TYPES",
    "STRETCHING",
    "USUAL",
    "Floats",
    "Frequencies",
    "Ints",
    "Layout",
    "Precision",
    "RopeSettings",
    "attention_factor",
    "channel_pairs",
    "frequencies",
    "is_long",
    "mrope_axes",
    "multimodal_angles",
    "rotate",
    "rotate_multimodal",
    "stored_pairs",
    "turn",
    "yarn_mscale",
]
