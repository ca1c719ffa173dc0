"""Adapters: the rows that a loader would use, as peft itself looks them up (`tools/record_adapters.py`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embtool import open_model
from embtool.model import Model

RECORDED = Path(__file__).parent / "data" / "adapters.npz"
FILES = np.load(RECORDED)
CASES = sorted({(name, base) for name, base, _ in (key.split("/") for key in FILES.files) if base})


def write(place: Path, key: str) -> Path:
    """Write the files that peft saved: of a base, or of an adapter."""
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES.files:
        if name.startswith(key) and "." in name:
            (place / name.rpartition("/")[2]).write_bytes(FILES[name].tobytes())
    return place


def write_pair(place: Path, adapter: str, base: str) -> tuple[Path, Path]:
    return write(place / "adapter", f"{adapter}/{base}/"), write(place / "base", f"{base}//")


def opened(place: Path, adapter: str, base: str) -> Model:
    files, below = write_pair(place, adapter, base)
    return open_model(files, base=below)


def settings_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return found


def last_place(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a number of BF16 can be off by where a sum was rounded the other way."""
    return (np.abs(rows) * 2.0**-7 + 1e-30).astype(np.float32)


@pytest.mark.parametrize("role", ["input", "output"])
@pytest.mark.parametrize(("adapter", "base"), CASES)
def test_rows_are_those_that_peft_looks_up(tmp_path: Path, adapter: str, base: str, role: str) -> None:
    table = opened(tmp_path, adapter, base).tables.find(role)
    expected = FILES[f"{adapter}/{base}/{role}"]
    found = np.asarray(table)
    assert found.shape == expected.shape
    if base == "half":
        assert (np.abs(found - expected) <= last_place(expected)).all()
        assert (found == expected).mean() > 0.97
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(table.rows([5, 0, 23]), found[[5, 0, 23]])
