"""Passes over a table, held against numpy in float64 on the whole table at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import on_disk

import embtool.tables.scan
import embtool.tables.spectrum
from embtool.arrays import Bytes
from embtool.tables.spectrum import Axes, gram, point_up, principal_axes, probe_for, sampled_axes
from embtool.tables.statistics import describe_table
from embtool.tables.survey import distances, equal_rows, least, norms, survey
from embtool.tables.table import EmbeddingTable

Doubles = NDArray[np.float64]


def numbers(rows: int, width: int, seed: int = 0) -> Doubles:
    """Make rows of which some directions have much more variance than others, about a mean that is not zero."""
    random = np.random.default_rng(seed)
    scales = 1.5 ** -np.arange(width) * 4 + 0.05
    return random.standard_normal((rows, width)) * scales + random.standard_normal(width)


def odd(folder: Path, dtype: str = "F32") -> tuple[EmbeddingTable, Doubles]:
    """Write a table with a row of zeros, two that are not finite, and three that are the same."""
    values = numbers(700, 24)
    values[5] = 0
    values[6, 3] = np.nan
    values[650, 0] = np.inf
    values[[10, 90, 650 - 1]] = values[10]
    return on_disk(folder, values, dtype)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
def test_a_survey_is_what_numpy_computes(tmp_path: Path, dtype: str) -> None:
    table, held = odd(tmp_path, dtype)
    with table.open() as reader:
        found = survey(table, reader)
    finite = np.isfinite(held).all(axis=1)
    np.testing.assert_allclose(found.norms[finite], np.linalg.norm(held[finite], axis=1), rtol=1e-12)
    assert np.isnan(found.norms[~finite]).all()
    assert found.nonfinite.tolist() == [6, 650]
    assert found.zero.tolist() == [5]
    np.testing.assert_allclose(found.mean, held[finite].mean(axis=0), rtol=1e-12)
    units = held[finite & (np.nan_to_num(held) != 0).any(axis=1)]
    units = units / np.linalg.norm(units, axis=1)[:, None]
    np.testing.assert_allclose(found.mean_unit, units.mean(axis=0), atol=1e-6)
    assert found.finite == 698


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F8_E5M2"])
def test_a_survey_of_a_large_table_is_as_near_as_it_says(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embtool.tables.survey.SERIAL_BYTES", 0)
    monkeypatch.setattr("embtool.tables.survey.SURVEY_NUMBERS", 1 << 14)
    values = numbers(120, 700 if dtype == "F8_E5M2" else 4992)
    for row, factor in {3: 0.0, 4: 2.0**-133, 5: 2.0**-20, 6: 2.0**-70, 7: 2.0**100, 8: np.nan}.items():
        if dtype in ("F32", "BF16") or abs(np.log2(factor or 1)) < 30:
            values[row] *= factor
    values[[10, 90]] = values[11]
    table, held = on_disk(tmp_path, values, dtype)
    finite = np.isfinite(held).all(axis=1)
    with table.open() as reader:
        found, near = survey(table, reader), distances(table, reader, held[20])
        assert [group.tolist() for group in equal_rows(reader, found.norms, found.norms > 0)] == [[10, 11, 90]]
        assert norms(table, reader)[finite].tolist() == found.norms[finite].tolist()
    lengths = np.linalg.norm(held[finite], axis=1)
    np.testing.assert_allclose(found.norms[finite], lengths, rtol=1e-6)
    assert found.zero.tolist() == np.flatnonzero(lengths == 0).tolist()
    assert found.nonfinite.tolist() == np.flatnonzero(~finite).tolist()
    np.testing.assert_allclose(near[finite], np.linalg.norm(held[finite] - held[20], axis=1), rtol=2e-6)
    np.testing.assert_allclose(found.mean, held[finite].mean(axis=0), rtol=1e-6, atol=1e-6)
    units = held[finite][lengths > 0] / lengths[lengths > 0, None]
    np.testing.assert_allclose(found.mean_unit, units.mean(axis=0), rtol=1e-6, atol=1e-9)


def test_equal_rows_are_found_and_no_others(tmp_path: Path) -> None:
    table, _ = odd(tmp_path)
    with table.open() as reader:
        found = survey(table, reader)
        assert [group.tolist() for group in equal_rows(reader, found.norms)] == [[10, 90, 649]]
        among = np.ones(700, np.bool_)
        among[10] = False
        assert [group.tolist() for group in equal_rows(reader, found.norms, among)] == [[90, 649]]
        met = np.zeros(700)  # every length the same: only the bytes can tell
        assert [group.tolist() for group in equal_rows(reader, met)] == [[10, 90, 649]]


@pytest.mark.parametrize("width", [1, 3, 5, 8])
def test_rows_of_any_length_in_bytes_have_keys(tmp_path: Path, width: int) -> None:
    values = np.repeat(np.arange(40.0), 2)[:, None] + np.zeros(width)
    for dtype in ("BF16", "F8_E5M2"):
        table, held = on_disk(tmp_path, values, dtype)
        with table.open() as reader:
            groups = equal_rows(reader, survey(table, reader).norms)
        assert [group.tolist() for group in groups] == [
            np.flatnonzero((held == row).all(axis=1)).tolist() for row in np.unique(held, axis=0)
        ]


def test_the_gram_matrix(tmp_path: Path) -> None:
    table, held = odd(tmp_path)
    finite = held[np.isfinite(held).all(axis=1)]
    basis = np.random.default_rng(1).standard_normal((24, 4)).astype(np.float32)
    with table.open() as reader:
        np.testing.assert_allclose(gram(table, reader), finite.T @ finite, rtol=1e-4, atol=1e-2)
        seen = finite @ basis
        np.testing.assert_allclose(gram(table, reader, basis), seen.T @ seen, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("exact", [True, False])
def test_principal_axes_are_those_of_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:  # noqa: FBT001
    monkeypatch.setattr(embtool.tables.spectrum, "EXACT_WIDTH", 1000 if exact else 10)
    values = numbers(3000, 64)
    values[17, 2] = np.inf
    table, held = on_disk(tmp_path, values, "F32")
    held = held[np.isfinite(held).all(axis=1)]
    centered = held - held.mean(axis=0)
    variances = np.square(np.linalg.svd(centered, compute_uv=False)) / len(held)
    with table.open() as reader:
        axes = principal_axes(table, reader, survey(table, reader, probe_for(table)), 5)
    assert axes is not None
    assert axes.exact is exact
    np.testing.assert_allclose(axes.variances, variances[:5], rtol=1e-4)
    assert axes.total == pytest.approx(variances.sum(), rel=1e-6)
    assert axes.square_sum == pytest.approx(np.square(variances).sum(), rel=1e-4 if exact else 0.3)
    projected = centered @ axes.directions.T
    np.testing.assert_allclose(projected.var(axis=0), variances[:5], rtol=1e-3)
    assert (axes.directions.max(axis=1) == np.abs(axes.directions).max(axis=1)).all()


@pytest.mark.few(1)
@pytest.mark.parametrize("power", [0.5, 2.0])
@pytest.mark.slow
def test_axes_of_a_wide_table_are_near_those_of_numpy(tmp_path: Path, power: float) -> None:
    """Variances that fall off as slowly as those of real tables do, in a table too wide for all of its axes."""
    width = 1100
    random = np.random.default_rng(3)
    values = random.standard_normal((1200, width)) * np.arange(1, width + 1.0) ** (-power / 2) + 0.1
    table, held = on_disk(tmp_path, values, "F32")
    with table.open() as reader:
        axes = principal_axes(table, reader, survey(table, reader, probe_for(table)), 16)
    assert axes is not None
    assert not axes.exact
    variances = np.square(np.linalg.svd(held - held.mean(axis=0), compute_uv=False)) / len(held)
    np.testing.assert_allclose(axes.variances[:3], variances[:3], rtol=0.01)
    np.testing.assert_allclose(axes.variances, variances[:16], rtol=0.08)
    assert (axes.variances <= variances[:16] * (1 + 1e-5)).all()
    assert axes.square_sum == pytest.approx(np.square(variances).sum(), rel=0.05)


def sampled(folder: Path, values: Doubles, most: int = 6) -> tuple[Axes | None, Doubles]:
    table, held = on_disk(folder, values, "F32")
    with table.open() as reader:
        return sampled_axes(table, reader, survey(table, reader), most), held


@pytest.mark.parametrize("power", [0, 300, -300])
def test_a_sample_of_the_rows_tells_the_spectrum_within_the_error_that_it_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: int
) -> None:
    monkeypatch.setattr(embtool.tables.spectrum, "HALF_ROWS", 700)
    values = numbers(6000, 40)
    values[::13] *= 3  # rows are not of one length
    values = values * 2.0 ** (power // 10)
    values[11, 3] = np.nan
    axes, held = sampled(tmp_path, values)
    held = held[np.isfinite(held).all(axis=1)]
    variances = np.square(np.linalg.svd(held - held.mean(axis=0), compute_uv=False)) / len(held)
    assert axes is not None
    assert axes.variance_errors is not None
    assert axes.square_error is not None
    assert (axes.exact, axes.sample) == (False, 1400)
    assert axes.total == pytest.approx(variances.sum(), rel=1e-6)
    assert (np.abs(axes.variances - variances[:6]) < 4 * axes.variance_errors + 0.02 * variances[:6]).all()
    assert (axes.variance_errors < 0.2 * axes.variances).all()
    assert abs(axes.square_sum - np.square(variances).sum()) < 4 * axes.square_error
    assert axes.square_error < 0.15 * axes.square_sum


@pytest.mark.slow
def test_the_error_of_a_sample_is_as_large_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many samples the estimates scatter about the truth as widely as they say, and lean to neither side."""
    monkeypatch.setattr(embtool.tables.spectrum, "HALF_ROWS", 200)
    values = numbers(3000, 20)
    found = []
    for seed in range(60):
        monkeypatch.setattr(embtool.tables.spectrum, "SEED", seed)
        axes, held = sampled(tmp_path, values, 1)
        assert axes is not None
        assert axes.variance_errors is not None
        found.append((axes.square_sum, axes.square_error, axes.variances[0], axes.variance_errors[0]))
    variances = np.square(np.linalg.svd(held - held.mean(axis=0), compute_uv=False)) / len(held)
    squares, square_errors, first, first_errors = np.array(found).T
    for estimates, errors, truth in (
        (squares, square_errors, np.square(variances).sum()),
        (first, first_errors, variances[0]),
    ):
        assert estimates.std() == pytest.approx(errors.mean(), rel=0.35)
        assert abs(estimates.mean() - truth) < 4 * estimates.std() / np.sqrt(len(estimates)) + 0.01 * truth


def test_a_sample_finds_no_axes_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embtool.tables.spectrum, "HALF_ROWS", 64)
    assert sampled(tmp_path, np.ones((300, 4)))[0] is None
    broken = numbers(300, 4)
    broken[30:] = np.nan
    assert sampled(tmp_path, broken)[0] is None


def test_all_axes_of_a_wide_table_are_computed_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embtool.tables.spectrum, "EXACT_WIDTH", 10)
    monkeypatch.setattr(embtool.tables.spectrum, "SAMPLED_NUMBERS", 100)
    monkeypatch.setattr(embtool.tables.spectrum, "HALF_ROWS", 64)
    table, held = on_disk(tmp_path, numbers(3000, 64), "F32")
    variances = np.square(np.linalg.svd(held - held.mean(axis=0), compute_uv=False)) / len(held)
    with table.open() as reader:
        exact, guessed = (describe_table(table, reader, all_rows=all_rows).axes for all_rows in (True, False))
    assert exact is not None
    assert exact.exact
    assert exact.sample is None
    np.testing.assert_allclose(exact.variances, variances[:16], rtol=1e-4)
    assert exact.square_sum == pytest.approx(np.square(variances).sum(), rel=1e-4)
    assert guessed is not None
    assert guessed.sample == 128


def test_there_are_no_axes_where_nothing_varies(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.ones((9, 4)), "F32")
    with table.open() as reader:
        assert principal_axes(table, reader, survey(table, reader), 2) is None


def test_rows_at_the_end_of_float32_have_axes(tmp_path: Path) -> None:
    table, held = on_disk(tmp_path, np.full((9, 4), 3e38) * np.arange(9)[:, None] / 9, "F32")
    with table.open() as reader:
        axes = principal_axes(table, reader, survey(table, reader), 1)
    assert axes is not None
    np.testing.assert_allclose(axes.directions, [[0.5] * 4], rtol=1e-6)
    np.testing.assert_allclose(axes.variances, 4 * held[:, 0].var(), rtol=1e-6)


def test_distances_to_a_point(tmp_path: Path) -> None:
    table, held = odd(tmp_path)
    point = held[3]
    with table.open() as reader:
        near = distances(table, reader, point)
    with np.errstate(invalid="ignore"):
        away = np.where(np.asarray(np.isfinite(held).all(axis=1))[:, None], held, np.nan) - point
        np.testing.assert_allclose(near, np.linalg.norm(away, axis=1), rtol=1e-12)
    assert np.isnan(near[[6, 650]]).all()


def test_sums_do_not_depend_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = on_disk(tmp_path, numbers(5000, 33), "F32")
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(embtool.tables.scan, "SERIAL_BYTES", 0)
        monkeypatch.setattr(embtool.tables.scan, "MOST_THREADS", threads)
        with table.open() as reader:
            found.append((survey(table, reader), gram(table, reader)))
    for other, moment in found[1:]:
        assert other.mean.tolist() == found[0][0].mean.tolist()
        assert other.mean_unit.tolist() == found[0][0].mean_unit.tolist()
        assert moment.tolist() == found[0][1].tolist()


def test_an_error_in_a_pass_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embtool.tables.scan, "SERIAL_BYTES", 0)
    table, _ = on_disk(tmp_path, numbers(5000, 33), "F32")

    def visit(_: Any, first: int, __: Bytes) -> None:
        raise ZeroDivisionError(first)

    with table.open() as reader, pytest.raises(ZeroDivisionError):
        embtool.tables.scan.scan_in_order(reader, lambda: None, visit)


@pytest.mark.parametrize("rows", [1, 2, 7, 9])
def test_every_row_is_visited_once(tmp_path: Path, rows: int) -> None:
    table, _ = on_disk(tmp_path, np.arange(float(rows))[:, None], "F32")
    seen: list[int] = []
    with table.open() as reader:
        embtool.tables.scan.scan_in_order(
            reader, lambda: None, lambda _, first, block: seen.extend(range(first, first + len(block))), block_bytes=8
        )
    assert seen == list(range(rows))


def test_directions_point_up() -> None:
    assert point_up(np.array([[1.0, -2], [0.5, 0.2], [0, 0]])).tolist() == [[-1, 2], [0.5, 0.2], [0, 0]]


@pytest.mark.parametrize("count", [0, 1, 3, 7, 50, 60])
def test_the_least_are_sorted_and_ties_go_by_place(count: int) -> None:
    values = np.random.default_rng(3).integers(0, 9, 50).astype(np.float64)
    assert least(values, count).tolist() == sorted(range(50), key=lambda place: (values[place], place))[:count]
    assert least(np.zeros(0), count).tolist() == []
