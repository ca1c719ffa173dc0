"""Tables of any dtype on disk, and what their nearest rows are by a full sort in float64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from small_models import safetensors

from embtool.formats.safetensors import open_file
from embtool.storage.source import Folder
from embtool.tables.metric import Metric
from embtool.tables.table import EmbeddingTable

Doubles = NDArray[np.float64]

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
DTYPES = (*FLOATS, "BF16", "F8_E4M3", "F8_E5M2")


def e4m3(code: int) -> float:
    """Read one byte of E4M3 as the OCP specification words it: bias 7, no infinities, S.1111.111 is NaN."""
    sign, exponent, mantissa = code >> 7, (code >> 3) & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return math.nan
    value = math.ldexp(mantissa, -9) if exponent == 0 else math.ldexp(8 + mantissa, exponent - 10)
    return -value if sign else value


BYTES = np.arange(256, dtype=np.uint8)
EIGHT_BITS = {
    "F8_E4M3": np.array([e4m3(code) for code in range(256)]),
    "F8_E5M2": (BYTES.astype("<u2") << 8).view("<f2").astype(np.float64),
}
"""What each byte stands for; E5M2 is the upper half of a float16."""


def stored(values: Doubles, dtype: str) -> tuple[bytes, Doubles]:
    """Write numbers in a dtype, each as one near it; give the bytes and the numbers that they now are in float32."""
    with np.errstate(over="ignore"):
        if dtype in FLOATS:
            written = values.astype(FLOATS[dtype])
            return written.tobytes(), written.astype(np.float32).astype(np.float64)
        if dtype == "BF16":
            bits = np.ascontiguousarray(values, "<f4").view("<u4") & 0xFFFF0000
            return (bits >> 16).astype("<u2").tobytes(), bits.view("<f4").astype(np.float64)
    numbers = EIGHT_BITS[dtype]
    known = np.flatnonzero(np.isfinite(numbers))
    codes = known[np.abs(numbers[known] - values[..., None]).argmin(-1)].astype(np.uint8)
    for odd in (np.nan, np.inf, -np.inf):
        same = np.isnan(numbers) if math.isnan(odd) else numbers == odd
        if same.any():
            codes[np.isnan(values) if math.isnan(odd) else values == odd] = np.flatnonzero(same)[0]
    return codes.tobytes(), numbers[codes]


def on_disk(folder: Path, values: Doubles, dtype: str) -> tuple[EmbeddingTable, Doubles]:
    """Write a table of a dtype; give it, and the numbers it holds."""
    data, held = stored(values, dtype)
    (folder / "x.safetensors").write_bytes(
        safetensors({"odd": ("U8", (1,), b"!"), "e.weight": (dtype, values.shape, data)})
    )
    checkpoint = open_file(Folder(folder), "x.safetensors")
    return EmbeddingTable("input", checkpoint.tensor("e.weight"), checkpoint), held


def scores(rows: Doubles, query: Doubles, metric: Metric, mean: Doubles | None = None) -> Doubles:
    """Score rows in float64; NaN where there is no score."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    wide, vector = np.where(finite[:, None], rows, 0), query
    if mean is not None:
        wide, vector = wide - mean, query - mean
    found = np.sqrt(np.square(wide - vector).sum(axis=1)) if metric == "euclidean" else (wide * vector).sum(axis=1)
    if metric == "cosine":
        lengths = np.sqrt(np.square(wide).sum(axis=1) * np.square(vector).sum())
        found = np.divide(found, lengths, out=np.full(len(rows), np.nan), where=lengths > 0)
    return np.where(finite, found, np.nan)


def ranked(found: Doubles, k: int, metric: Metric, allowed: NDArray[np.bool_] | None = None) -> list[int]:
    """Sort all rows by score, ties by id, those without one last; give the first k."""
    ids = np.arange(len(found)) if allowed is None else np.flatnonzero(allowed)
    order = np.lexsort((ids, found[ids] if metric == "euclidean" else -found[ids]))
    best: list[int] = ids[order][:k].tolist()
    return best
