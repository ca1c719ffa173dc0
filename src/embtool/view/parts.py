"""How numbers and names stand in the page: as JSON, and many of a kind as base64 of little-endian bytes."""

import base64
from typing import Any

from embtool.answers.text import fixed, shell, title_of
from embtool.arrays import AnyArray, Bytes, Doubles, Floats, np
from embtool.vocabulary import Token

Json = dict[str, Any]

DECIMALS = 10_000
"""A score is carried as a whole number of these parts: as many digits as commands print."""

NO_SCORE = -(1 << 15)
"""Carried for a score that does not exist."""

STEPS = {8: 1 / 127, 4: 0.3352, 2: 0.9957}
"""The step between two carried numbers. Of 8 bits, in lengths of the longest number of a row; of fewer, in standard
deviations of a row, that loses least of normal ones (Max 1960, https://doi.org/10.1109/TIT.1960.1057548, table II)."""


def packed(values: AnyArray, kind: str) -> str:
    """Write numbers as base64 of a little-endian type of numpy's."""
    return base64.b64encode(np.ascontiguousarray(values).astype(f"<{kind}").tobytes()).decode()


def printed_parts(values: AnyArray) -> "np.ndarray[Any, np.dtype[np.int16]]":
    """Return scores as commands print them, in parts of `DECIMALS`."""
    parts = [round(float(fixed(value)) * DECIMALS) if np.isfinite(value) else NO_SCORE for value in values.ravel()]
    return np.array(parts, np.int64).clip(NO_SCORE, -NO_SCORE - 1).astype(np.int16).reshape(values.shape)


def coded(rows: AnyArray, bits: int) -> tuple[Bytes, Floats]:
    """Round rows, (n, width), to whole numbers of so many bits: uint8 (n, bytes), and the step of each row, (n,).

    A number is (code - middle) × step, where the middle is 128 of 8 bits, and half of the largest code of fewer.
    """
    wide = np.where(np.isfinite(rows), rows, 0).astype(np.float64)
    reach = np.abs(wide).max(axis=1, initial=0) if bits == 8 else np.sqrt(np.square(wide).mean(axis=1))  # noqa: PLR2004
    step = np.where(reach > 0, reach, 1) * STEPS[bits]
    middle = middle_of(bits)
    codes = np.rint(wide / step[:, None] + middle).clip(0, (1 << bits) - 1).astype(np.uint8)
    each = 8 // bits
    missing = -codes.shape[1] % each
    grouped = np.pad(codes, ((0, 0), (0, missing))).reshape(len(codes), -1, each)
    found: Bytes = np.zeros(grouped.shape[:2], np.uint8)
    for place in range(each):
        found |= grouped[..., place] << np.uint8(bits * place)
    return found, step.astype(np.float32)


def middle_of(bits: int) -> float:
    """Return the code of zero."""
    return 128.0 if bits == 8 else ((1 << bits) - 1) / 2  # noqa: PLR2004 - a byte


def decoded(codes: Bytes, steps: Floats, bits: int, width: int) -> Doubles:
    """Return what the page makes of carried rows again: float64 (n, width)."""
    each = 8 // bits
    parts = [(codes >> np.uint8(bits * place)) & np.uint8((1 << bits) - 1) for place in range(each)]
    numbers = np.stack(parts, axis=-1).reshape(len(codes), -1)[:, :width].astype(np.float64)
    found: Doubles = (numbers - middle_of(bits)) * steps[:, None]
    return found


def shades(values: AnyArray) -> Bytes:
    """Return numbers as bytes to be drawn: 128 is zero, and nearly all fit between the ends."""
    wide = np.where(np.isfinite(values), values, 0).astype(np.float64)
    reach = float(np.percentile(np.abs(wide), 99)) if wide.size else 0.0
    return np.rint(wide / (reach or 1.0) * 127 + 128).clip(0, 255).astype(np.uint8)


def name_of(identity: int, token: Token | None) -> str:
    """Return a row's name for a reader, as commands show it: no character that a page or a person would obey."""
    return f"id:{identity}" if token is None else title_of(token.text, token.bytes)


def typed(command: tuple[str, ...]) -> str:
    """Write a command line as it can be typed."""
    return shell(command)
