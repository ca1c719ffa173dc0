"""Rows of 16 bits, compared as they are stored: held against float64, and their slack against the error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import on_disk

from embtool.tables.pairs import compare_rows
from embtool.tables.table_diff import Moved, align_by_id, compare_tables

ROWS, WIDTH = 400, 96


def two(folder: Path, dtype: str, change: float, seed: int = 0) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    before = random.standard_normal((ROWS, WIDTH))
    after = before + random.standard_normal((ROWS, WIDTH)) * change * random.random((ROWS, 1))
    after[::7] = before[::7]
    tables = []
    for name, values in (("a", before), ("b", after)):
        (folder / name).mkdir()
        tables.append(on_disk(folder / name, values, dtype))
    return tuple(tables)


def figures(left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    one, other = left, right
    lengths, others = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    distance = np.linalg.norm(one - other, axis=1)
    return distance, distance / lengths, (one * other).sum(axis=1) / lengths / others


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("change", [1.0, 0.01, 0.001])
def test_figures_are_off_by_no_more_than_their_slack(tmp_path: Path, dtype: str, change: float) -> None:
    (a, left), (b, right) = two(tmp_path, dtype, change)
    found = compare_tables(a, b, align_by_id(ROWS, ROWS), block_bytes=1000)
    distance, relative, cosine = figures(left, right)
    assert (found.same == (left == right).all(axis=1)).all()
    assert found.same.sum() >= ROWS // 7
    changed = ~found.same
    assert ((found.slack > 0) == (changed if dtype != "F32" else False)).all()
    assert (np.abs(found.cosine - cosine)[changed] <= found.slack[changed] + 1e-15).all()
    for mine, theirs in ((found.distance, distance), (found.relative, relative)):
        np.testing.assert_allclose(mine[changed], theirs[changed], rtol=max(found.share, 1e-12))


@pytest.mark.parametrize("by", list(Moved))
@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_the_rows_that_are_told_are_exact_and_in_the_order_of_exact_figures(
    tmp_path: Path, dtype: str, by: Moved
) -> None:
    (a, left), (b, right) = two(tmp_path, dtype, 0.01)
    found = compare_tables(a, b, align_by_id(ROWS, ROWS), exact=lambda rough: rough.near(by, 20))
    distance, relative, cosine = figures(left, right)
    wanted = {Moved.DISTANCE: distance, Moved.RELATIVE: relative, Moved.COSINE: 1 - cosine}[by]
    told = found.farthest(by, 20)
    best = np.argsort(-wanted, kind="stable")[:20]
    assert told.tolist() == best.tolist()
    assert not found.slack[told].any()
    np.testing.assert_allclose(found.distance[told], distance[told], rtol=1e-12)
    np.testing.assert_allclose(found.cosine[told], cosine[told], rtol=1e-12)


def test_rows_that_moved_alike_are_told_by_id(tmp_path: Path) -> None:
    """Every row is scaled by the same number, so that all figures tie but for rounding."""
    random = np.random.default_rng(1)
    before = random.integers(1, 64, (ROWS, WIDTH)).astype(np.float64)
    for name in "ab":
        (tmp_path / name).mkdir()
    a, _ = on_disk(tmp_path / "a", before, "BF16")
    b, _ = on_disk(tmp_path / "b", before * 1.5, "BF16")
    found = compare_tables(a, b, align_by_id(ROWS, ROWS), exact=lambda rough: rough.near(Moved.RELATIVE, 5))
    assert found.near(Moved.RELATIVE, 5).tolist() == list(range(ROWS))
    assert found.farthest(Moved.RELATIVE, 5).tolist() == list(range(5))


def test_rows_that_no_kernel_can_compare_are_compared_all_the_same(tmp_path: Path) -> None:
    """Zeros, NaN, numbers at both ends of BF16, and two ways to write zero."""
    before = np.random.default_rng(2).standard_normal((12, WIDTH))
    after = before * 1.25
    before[0], after[1] = 0, 0
    before[2, 3] = after[3, 3] = np.nan
    before[4], after[4] = 2.0**-120, 2.0**-121
    before[5], after[5] = 2.0**100, 2.0**101
    before[6], after[6] = 0.0, -0.0
    after[7, 0] = np.inf
    before[8] = after[8] = 2.0**-130
    after[8, 0] = 2.0**-131
    for name in "ab":
        (tmp_path / name).mkdir()
    a, left = on_disk(tmp_path / "a", before, "BF16")
    b, right = on_disk(tmp_path / "b", after, "BF16")
    found = compare_tables(a, b, align_by_id(12, 12), block_bytes=3 * WIDTH * 2)
    exact = compare_rows(left.astype(np.float32), right.astype(np.float32))
    assert np.flatnonzero(found.same).tolist() == [6]
    assert np.flatnonzero(found.broken_a).tolist() == [2]
    assert np.flatnonzero(found.broken_b).tolist() == [3, 7]
    for mine, theirs in ((found.distance, exact.distance), (found.relative, exact.relative)):
        np.testing.assert_allclose(mine, theirs, rtol=found.share)
    np.testing.assert_allclose(found.cosine, exact.cosine, atol=1e-6)
    assert np.isnan(found.cosine[[0, 1, 2, 3, 7]]).all()


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_a_row_is_compared_alike_however_many_beside_it_are_the_same(tmp_path: Path, dtype: str, share: float) -> None:
    """Rows that are the same stand between others, some of which differ in their last number alone."""
    random = np.random.default_rng(3)
    before = random.integers(1, 64, (ROWS, WIDTH)).astype(np.float64)
    after = before.copy()
    after[:, -1] *= 1.5
    same = random.permutation(ROWS) < share * ROWS
    after[same] = before[same]
    before[5] = after[5] = np.nan
    for name in "ab":
        (tmp_path / name).mkdir()
    a, left = on_disk(tmp_path / "a", before, dtype)
    b, right = on_disk(tmp_path / "b", after, dtype)
    same[5] = True
    for roughly in (True, False):
        found = compare_tables(a, b, align_by_id(ROWS, ROWS), roughly=roughly, block_bytes=WIDTH * 150)
        assert (found.same == same).all()
        assert (found.distance[same] == 0).all()
        assert (found.cosine[same] == 1).all()
        exact = compare_rows(left[~same].astype(np.float32), right[~same].astype(np.float32))
        np.testing.assert_allclose(found.distance[~same], exact.distance, rtol=max(found.share, 1e-12))
        np.testing.assert_allclose(found.cosine[~same], exact.cosine, atol=max(found.share, 1e-12))
