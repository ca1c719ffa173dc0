from __future__ import annotations

import itertools
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from tables import DTYPES, Doubles, on_disk, ranked, scores

from embtool.errors import FormatError
from embtool.tables import candidates, scan
from embtool.tables.candidates import find_candidates
from embtool.tables.metric import METRICS, Metric
from embtool.tables.neighbors import nearest, nearest_each, score_rows
from embtool.tables.scoring import make_scorer
from embtool.tables.survey import mean_row
from embtool.tables.survey import norms as row_lengths
from embtool.tables.table import EmbeddingTable

WHOLE = st.integers(-3, 3).map(float)
"""Numbers whose sums of products are exact in float64, and which tie often."""


Question = tuple[Doubles, Doubles, Metric, str, int, NDArray[np.bool_] | None, tuple[int, ...]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """A table of small whole numbers, and everything that can be asked of it."""
    rows, width = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    values = draw(arrays(np.float64, (rows, width), elements=WHOLE))
    for place in draw(st.lists(st.integers(0, rows - 1), max_size=3)):
        values[place] = draw(st.sampled_from([0.0, np.nan, np.inf, -np.inf]))
    query = draw(arrays(np.float64, width, elements=WHOLE | st.sampled_from([0.1, 1 / 3, 1e-9, 70_000.0])))
    allowed = draw(st.none() | arrays(np.bool_, rows))
    exclude = tuple(draw(st.lists(st.integers(0, rows - 1), max_size=2)))
    metric, dtype = draw(st.sampled_from(METRICS)), draw(st.sampled_from(DTYPES))
    return values, query, metric, dtype, draw(st.integers(1, rows + 2)), allowed, exclude


def without(allowed: NDArray[np.bool_] | None, exclude: tuple[int, ...], rows: int) -> NDArray[np.bool_]:
    mask = np.ones(rows, np.bool_) if allowed is None else allowed.copy()
    mask[list(exclude)] = False
    return mask


def agree(
    ids: NDArray[np.int64], given: Doubles, expected: Doubles, k: int, metric: Metric, mask: NDArray[np.bool_]
) -> None:
    """Hold that an answer is that of a full sort: the same scores in the same order, ties and unscored rows by id."""
    best = ranked(expected, k, metric, mask)
    assert len(ids) == len(best) == len(set(ids.tolist()))
    assert mask[ids].all()
    np.testing.assert_allclose(given, expected[best], rtol=1e-12, atol=1e-300, equal_nan=True)
    np.testing.assert_allclose(given, expected[ids], rtol=1e-12, atol=1e-300, equal_nan=True)
    for (one, other), (left, right) in zip(
        itertools.pairwise(ids.tolist()), itertools.pairwise(given.tolist()), strict=True
    ):
        assert left != right or one < other, "ties are broken by id"


@given(questions())
def test_nearest_is_a_full_sort(folder: Path, question: Question) -> None:
    values, query, metric, dtype, k, allowed, exclude = question
    table, held = on_disk(folder, values, dtype)
    found = nearest(table, query, k, metric=metric, allowed=allowed, exclude=exclude)
    expected = scores(held, query, metric)
    agree(found.ids, found.scores, expected, k, metric, without(allowed, exclude, len(held)))


@given(questions())
def test_with_the_mean_removed_too(folder: Path, question: Question) -> None:
    values, query, metric, dtype, k, allowed, exclude = question
    table, held = on_disk(folder, values, dtype)
    with table.open() as reader:
        mean = mean_row(table, reader)
    finite = held[np.isfinite(held).all(axis=1)]
    np.testing.assert_allclose(mean, finite.mean(axis=0) if len(finite) else 0, rtol=1e-6, atol=1e-9)
    found = nearest(table, query, k, metric=metric, allowed=allowed, exclude=exclude, mean=mean)
    expected = scores(held, query, metric, mean)
    mask = without(allowed, exclude, len(held))
    best = ranked(expected, k, metric, mask)
    np.testing.assert_allclose(found.scores, expected[best], rtol=1e-9, atol=1e-9, equal_nan=True)
    np.testing.assert_allclose(found.scores, expected[found.ids], rtol=1e-9, atol=1e-9, equal_nan=True)


@given(
    st.sampled_from(DTYPES),
    st.sampled_from(METRICS),
    st.integers(0, 2**32),
    st.sampled_from([-120, -76, -70, -64, -62, -30, -6, 0, 0, 0, 6, 40, 62, 63, 64]),
    st.booleans(),
    st.booleans(),
)
def test_numbers_of_any_size_are_ranked_exactly(
    folder: Path,
    dtype: str,
    metric: Metric,
    seed: int,
    exponent: int,
    mixed: bool,  # noqa: FBT001 - drawn, not passed
    centered: bool,  # noqa: FBT001 - as above
) -> None:
    random = np.random.default_rng(seed)
    scale = np.ldexp(1.0, np.clip(exponent, -6, 6) if dtype[1] in "18" else exponent)
    shape = (int(random.integers(1, 60)), int(random.integers(1, 40)))
    values = random.standard_normal(shape) * scale
    if mixed:
        values *= np.ldexp(1.0, random.integers(-60, 1, (shape[0], 1)))
    values[random.integers(shape[0])] = 0
    table, held = on_disk(folder, values, dtype)
    query = random.standard_normal(shape[1]) * scale if random.random() < 0.5 else held[random.integers(shape[0])]
    with table.open() as reader:
        mean = mean_row(table, reader) if centered else None
    expected = scores(held, query, metric, mean)
    others = held[random.integers(shape[0], size=3)]
    alone = nearest(table, query, 9, metric=metric, mean=mean)
    among = nearest_each(table, np.stack([query, *others]), 9, metric=metric, mean=mean)[0]
    for found in (alone, among):
        best = ranked(expected, 9, metric)
        np.testing.assert_allclose(found.scores, expected[best], rtol=1e-9, atol=1e-300, equal_nan=True)
        np.testing.assert_allclose(found.scores, expected[found.ids], rtol=1e-9, atol=1e-300, equal_nan=True)


@given(questions(), st.integers(1, 60), st.integers(1, 3))
def test_no_block_size_loses_a_candidate(folder: Path, question: Question, block: int, queries: int) -> None:
    values, query, metric, dtype, k, allowed, _ = question
    if metric == "cosine" and not query.any():
        query = query + 1
    table, held = on_disk(folder, values, dtype)
    scorer = make_scorer(table.tensor.dtype, np.stack([query] * queries), metric)
    with table.open() as reader:
        found = find_candidates(table, reader, scorer, queries, k, metric=metric, allowed=allowed, block_bytes=block)
    mask = without(allowed, (), len(held))
    best = ranked(scores(held, query, metric), k, metric, mask)
    scored = [row for row in best if np.isfinite(scores(held, query, metric)[row])]
    for ids in found.ids:
        assert set(scored) <= set(ids.tolist())
        assert mask[ids].all()
    finite = np.isfinite(held).all(axis=1)
    assert found.nonfinite.tolist() == np.flatnonzero(~finite & mask).tolist()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingTable, Doubles]:
    """More than one block, with ties, zero rows and rows that are not finite."""
    random = np.random.default_rng(11)
    values = random.standard_normal((140_000, 32))
    values[70_000:70_050] = values[3]
    values[500:503] = 0
    values[80_000] = np.nan
    values[81_000, 7] = np.inf
    return on_disk(tmp_path_factory.mktemp("large"), values, "BF16")


@pytest.mark.few(1)
@pytest.mark.parametrize("metric", METRICS)
def test_threads_and_blocks_do_not_change_a_result(
    large: tuple[EmbeddingTable, Doubles], metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, held = large
    query = held[3] * 0.7
    alone = nearest(table, query, 60, metric=metric)
    monkeypatch.setattr(scan, "SERIAL_BYTES", 0)
    monkeypatch.setattr(scan, "_cpus", lambda: 5)
    threaded = nearest(table, query, 60, metric=metric)
    each = nearest_each(table, np.stack([held[9], query, held[3]]), 60, metric=metric)
    expected = scores(held, query, metric)
    for found in (alone, threaded, each[1]):
        assert found.ids.tolist() == ranked(expected, 60, metric)
        np.testing.assert_allclose(found.scores, expected[found.ids], rtol=1e-12)
        assert found.nonfinite == 2
    if metric == "cosine":
        assert alone.ids[:51].tolist() == [3, *range(70_000, 70_050)]
        assert alone.zero == 3


@pytest.mark.slow
def test_a_scan_visits_every_row_once(large: tuple[EmbeddingTable, Doubles], monkeypatch: pytest.MonkeyPatch) -> None:
    table, held = large
    monkeypatch.setattr(scan, "SERIAL_BYTES", 0)
    for threads, block in ((1, 64), (3, 100_000), (4, 1 << 30)):
        monkeypatch.setattr(scan, "_cpus", lambda threads=threads: threads)
        seen = np.zeros(len(held), np.int64)

        def visit(_: None, first: int, stored: NDArray[np.uint8], seen: NDArray[np.int64] = seen) -> None:
            seen[first : first + len(stored)] += 1

        with table.open() as reader:
            scan.scan(reader, lambda: None, visit, block_bytes=block)
        assert (seen == 1).all()


def test_an_error_in_a_thread_ends_the_scan(
    large: tuple[EmbeddingTable, Doubles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SERIAL_BYTES", 0)
    monkeypatch.setattr(scan, "_cpus", lambda: 3)

    def visit(_: None, first: int, stored: NDArray[np.uint8]) -> None:
        raise FormatError(f"{first} {len(stored)}")

    with large[0].open() as reader, pytest.raises(FormatError):
        scan.scan(reader, lambda: None, visit, block_bytes=1000)


def test_norms_and_mean(large: tuple[EmbeddingTable, Doubles]) -> None:
    table, held = large
    with table.open() as reader:
        norms, mean = row_lengths(table, reader), mean_row(table, reader)
    finite = np.isfinite(held).all(axis=1)
    np.testing.assert_allclose(norms[finite], np.linalg.norm(held[finite], axis=1), rtol=1e-5)
    assert not np.isfinite(norms[~finite]).any()
    np.testing.assert_allclose(mean, held[finite].mean(axis=0), atol=1e-12)


def test_a_query_holds_no_copy_of_the_table(large: tuple[EmbeddingTable, Doubles]) -> None:
    table, held = large
    tracemalloc.start()
    try:
        nearest(table, held[3], 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < scan.BLOCK_BYTES * 4 < table.tensor.nbytes * 4


@pytest.mark.parametrize("metric", METRICS)
def test_nan_of_e4m3_hides_no_row(tmp_path: Path, metric: Metric) -> None:
    values = np.random.default_rng(8).standard_normal((40, 6))
    values[10:30, 2] = np.nan
    table, held = on_disk(tmp_path, values, "F8_E4M3")
    for query in (held[0], np.ones(6) / 3):
        best = ranked(scores(held, query, metric), 5, metric)
        alone = nearest(table, query, 5, metric=metric)
        among = nearest_each(table, np.stack([held[1], query]), 5, metric=metric)[1]
        for found in (alone, among):
            assert found.ids.tolist() == best
            assert found.nonfinite == 20


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_rows_and_rows_that_are_not_finite(tmp_path: Path, metric: Metric, dtype: str) -> None:
    values = np.array([[1.0, 0], [0, 0], [np.nan, 1], [2, 0], [0, 0], [1, np.inf], [-1, 1]])
    table, _ = on_disk(tmp_path, values, dtype)
    found = nearest(table, np.array([2.0, 0]), 9, metric=metric)
    lost = 1 if dtype == "F8_E4M3" else 2  # E4M3 has no infinity
    assert len(found.ids) == 7
    assert found.nonfinite == lost
    assert np.isnan(found.scores[-lost:]).all()
    if metric == "cosine":
        assert found.ids[:2].tolist() == [0, 3]
        assert found.ids[-lost - 2 : -lost].tolist() == [1, 4]
        assert np.isnan(found.scores[-lost - 2 :]).all()
        assert found.zero == 2
        assert np.isfinite(found.scores[: -lost - 2]).all()
    else:
        assert found.ids[0] == 3
        assert np.isfinite(found.scores[:-lost]).all()
    assert set(found.ids[-lost:].tolist()) <= {2, 5}


def test_a_row_beyond_float32_is_not_finite_and_never_first(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.array([[1.0, 0], [1e300, 0], [-1e300, 5]]), "F64")
    for metric in METRICS:
        found = nearest(table, np.array([1.0, 0]), 3, metric=metric)
        assert found.ids.tolist() == [0, 1, 2]
        assert found.nonfinite == 2


def test_a_zero_query_has_an_angle_to_nothing(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.array([[1.0, 0], [0, 2], [0, 0]]), "F32")
    found = nearest(table, np.zeros(2), 2, exclude=(1,))
    assert found.ids.tolist() == [0, 2]
    assert np.isnan(found.scores).all()
    assert nearest(table, np.zeros(2), 1, metric="euclidean").ids.tolist() == [2]


def test_with_the_mean_removed_a_zero_row_has_a_direction(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.array([[0.0, 0], [4, 0], [2, 3], [2, -3]]), "F32")
    mean = np.array([2.0, 0])
    found = nearest(table, np.array([2.0, 9]), 4, mean=mean)
    assert found.ids.tolist() == [2, 0, 1, 3]
    assert found.scores.tolist() == [1, 0, 0, -1]
    assert found.zero == 0


@pytest.mark.parametrize(
    ("vector", "word"),
    [
        (np.zeros(3), "3 numbers"),
        (np.zeros((2, 2)), "one vector is wanted, not an array of 2 × 2"),
        (np.array([1, np.nan]), "NaN"),
        (np.array([1, -np.inf]), "NaN or infinity"),
        (np.array([1, 1e39]), "float32"),
    ],
)
def test_a_vector_that_cannot_be_asked_for(tmp_path: Path, vector: Doubles, word: str) -> None:
    table, _ = on_disk(tmp_path, np.ones((2, 2)), "F32")
    with pytest.raises(FormatError, match=word):
        nearest(table, vector)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("query", [[1 + 2**-20, 1.0], [70_000.0, 1e-3], [1e-6, 2e-6], [3e38, -3e38]])
def test_a_query_that_the_dtype_of_the_table_cannot_hold(tmp_path: Path, dtype: str, query: list[float]) -> None:
    values = np.random.default_rng(5).standard_normal((200, 2)) * 3
    table, held = on_disk(tmp_path, values, dtype)
    for metric in METRICS:
        expected = scores(held, np.array(query), metric)
        found = nearest(table, np.array(query), 20, metric=metric)
        np.testing.assert_allclose(found.scores, expected[ranked(expected, 20, metric)], rtol=1e-12)


def test_an_empty_table_answers_nothing(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.empty((0, 3)), "F32")
    assert nearest(table, np.ones(3)).ids.tolist() == []
    assert nearest_each(table, np.empty((0, 3))) == []


def test_a_list_of_ids_masks_and_excludes(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.array([[float(place), 1] for place in range(9)]), "F32")
    allowed = np.zeros(9, np.bool_)
    allowed[[1, 4, 8]] = True
    assert nearest(table, np.array([8.0, 1]), 9, allowed=allowed, exclude=(8,)).ids.tolist() == [4, 1]
    assert allowed[8], "the mask of the caller is not touched"


def test_scores_of_equal_rows_are_equal() -> None:
    row = np.random.default_rng(6).standard_normal(1000)
    rows = np.random.default_rng(7).standard_normal((300, 1000))
    rows[::7] = row
    for metric in METRICS:
        assert len(set(score_rows(rows, row * 0.3, metric)[::7].tolist())) == 1


@pytest.mark.parametrize("k", [1, 3, 10**30])
def test_any_number_of_rows_can_be_asked_for(tmp_path: Path, k: int) -> None:
    table, _ = on_disk(tmp_path, np.array([[1.0, 0], [0, 1], [1, 1]]), "F32")
    for metric in METRICS:
        assert len(nearest(table, np.array([1.0, 0]), k, metric=metric).ids) == min(k, 3)
    assert len(nearest(table, np.zeros(2), k).ids) == min(k, 3)


def test_a_row_has_a_cosine_of_one_to_itself() -> None:
    rows = np.random.default_rng(9).standard_normal((500, 7))
    assert all(score_rows(row[None], row, "cosine")[0] == 1 for row in rows)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_a_broken_row_hides_no_other(
    tmp_path: Path, metric: Metric, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of NaN has neither score nor slack: it must not raise the floor above the others."""
    monkeypatch.setattr(candidates, "PRUNE_AT", 0)
    values = np.random.default_rng(5).integers(-64, 64, (40, 30)) / 16
    values[[7, 39], 0] = np.nan
    table, held = on_disk(tmp_path, values, dtype)
    for k in (1, 3, 20, 38, 40):
        for queries in (held[:1], held[:5]):
            for query, found in zip(queries, nearest_each(table, queries, k, metric=metric), strict=True):
                expected = ranked(scores(held, query, metric), 40, metric)
                whole = [row for row in expected if row not in (7, 39)]
                assert found.ids.tolist() == [*whole, 7, 39][:k]
