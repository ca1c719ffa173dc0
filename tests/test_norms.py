"""The lengths of rows are kept, and a kept file never answers for another table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_models import WIDTH, bfloat16, write_single

from embtool.model import open_model
from embtool.storage.cache import cache_root
from embtool.storage.kept import put_sealed
from embtool.tables import norms
from embtool.tables.norms import row_norms


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(norms, "KEPT_BYTES", 1)
    return cache_root()


def model(folder: Path, factor: float = 1.0) -> Path:
    rows = np.arange(10.0)[:, None] * np.ones(WIDTH) * factor
    write_single(folder, {"model.embed_tokens.weight": ("BF16", rows.shape, bfloat16(rows))})
    return folder


def expected(factor: float = 1.0) -> list[float]:
    return [row * factor * WIDTH**0.5 for row in range(10)]


def kept_files(cache: Path) -> list[Path]:
    return [path for path in (cache / "v1" / "norms").rglob("*") if path.is_file()]


def test_norms_are_those_of_the_rows(tmp_path: Path, cache: Path) -> None:
    assert row_norms(open_model(model(tmp_path / "m")).input_table) == pytest.approx(expected(), rel=1e-6)
    assert len(kept_files(cache)) == 1


def test_kept_norms_are_read_and_not_computed_again(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    row_norms(open_model(folder).input_table)
    (kept,) = kept_files(cache)
    put_sealed(kept, np.full(10, 7.0).tobytes())
    assert row_norms(open_model(folder).input_table).tolist() == [7.0] * 10


def test_a_file_that_was_written_anew_has_new_norms(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    row_norms(open_model(folder).input_table)
    model(folder, 2.0)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert row_norms(open_model(folder).input_table) == pytest.approx(expected(2.0), rel=1e-6)
    assert len(kept_files(cache)) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not numbers at all", b"\x80\x04pickle"])
def test_a_damaged_file_is_passed_over(tmp_path: Path, cache: Path, damage: bytes) -> None:
    folder = model(tmp_path / "m")
    row_norms(open_model(folder).input_table)
    (kept,) = kept_files(cache)
    kept.write_bytes(damage)
    assert row_norms(open_model(folder).input_table) == pytest.approx(expected(), rel=1e-6)


def test_norms_of_another_number_of_rows_are_passed_over(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    row_norms(open_model(folder).input_table)
    (kept,) = kept_files(cache)
    put_sealed(kept, np.zeros(9).tobytes())
    assert row_norms(open_model(folder).input_table) == pytest.approx(expected(), rel=1e-6)


def test_a_cache_that_cannot_be_written_costs_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cache
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "file" / "below"))
    assert row_norms(open_model(model(tmp_path / "m")).input_table) == pytest.approx(expected(), rel=1e-6)
