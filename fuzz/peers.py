"""Targets that read the same bytes with embtool and with another library, and count the ways in which the two differ.

A way has a name, made of who accepts and of what the other says. Every name is explained in DIFFERENCES.md.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from mutate import mixed, octets
from numpy.typing import NDArray
from readers_checkpoint import change_header
from readers_vectors import change_npy
from safetensors import SafetensorError, deserialize
from sources import Memory
from target import Disagreement, target

from embtool.dtypes import DTYPES
from embtool.errors import EmbtoolError, FormatError
from embtool.formats.safetensors import read_header
from embtool.vectors import NPY_MAGIC, parse_vectors

QUOTED = re.compile(
    r"'[^']*'|\"[^\"]*\"|`[^`]*`|[0-9][0-9,]*|(?<=tensor ).*(?= in x\.safetensors)"
    r"|(?<=holds ).*(?=, not vectors)|: its shape.*"
)
"""What differs between two messages of one kind: names, numbers, types."""


def said_by(error: BaseException) -> str:
    """Reduce a message to its kind: without names and numbers."""
    text = str(error).split(": ")[-1] if isinstance(error, EmbtoolError) and "JSON" in str(error) else str(error)
    return QUOTED.sub("_", text.splitlines()[0] if text else "")[:90]


read: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def ours(case: bytes) -> Tensors | EmbtoolError:
    """Read a file with embtool: dtype, shape and bytes of each tensor, or why not."""
    try:
        header = read_header(Memory({"x.safetensors": case}), "x.safetensors")
    except EmbtoolError as error:
        return error
    return {name: (one.dtype.name, one.shape, case[one.start : one.stop]) for name, one in header.items()}


def theirs(case: bytes) -> Tensors | SafetensorError:
    """Read a file with the safetensors library in the same way."""
    try:
        return {name: (one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in read(case)}
    except SafetensorError as error:
        return error


@target(
    "safetensors-peer",
    "the same bytes read by the safetensors library",
    mutate=mixed(change_header, change_header, octets),
)
def compare_safetensors(case: bytes) -> None:
    """Read a header twice; where both accept it, they must see the same tensors."""
    mine, other = ours(case), theirs(case)
    if isinstance(mine, EmbtoolError):
        if isinstance(other, SafetensorError):
            raise mine
        raise Disagreement(f"only the library accepts; embtool: {said_by(mine)}")
    if isinstance(other, SafetensorError):
        unknown = sorted({dtype for dtype, _, _ in mine.values()} - DTYPES.keys())
        raise Disagreement(
            "only embtool accepts; a dtype that neither knows"
            if unknown
            else f"only embtool accepts; library: {said_by(other)}"
        )
    assert mine == other, "both accept, and see different tensors"


@target("npy-peer", "the same npy file read by numpy", mutate=change_npy)
def compare_npy(case: bytes) -> None:
    """Read vectors twice; where both accept them, they must be the same numbers."""
    if not case.startswith(NPY_MAGIC):
        raise FormatError("no npy file")
    other = _loaded(case)
    try:
        mine = np.array([vector.values for vector in parse_vectors(case, file="x")])
    except EmbtoolError as refusal:
        if isinstance(other, Exception):
            raise
        raise Disagreement(f"only numpy accepts; embtool: {said_by(refusal)}") from refusal
    if isinstance(other, Exception):
        raise Disagreement(f"only embtool accepts; numpy: {said_by(other)}")
    assert np.array_equal(mine, np.atleast_2d(other).astype(np.float64)), "both accept, and see different numbers"


def _loaded(case: bytes) -> NDArray[Any] | Exception:
    """Load an array with numpy, or say why not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: NDArray[Any] = np.load(io.BytesIO(case), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - numpy raises many kinds
        return error
    return loaded
