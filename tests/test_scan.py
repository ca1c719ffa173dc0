"""One pass over a table: what a scorer promises of its scores, how a table is cut into blocks, what is kept."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import DTYPES, Doubles, on_disk, ranked, scores, stored

from embtool.storage.dtypes import DTYPES as KNOWN
from embtool.tables import candidates, kernels, scan, scoring
from embtool.tables.candidates import find_candidates
from embtool.tables.kernels import FLUSHED, KERNELS, ROOT_ERROR, ROUNDING
from embtool.tables.metric import METRICS, Metric
from embtool.tables.neighbors import nearest
from embtool.tables.scoring import Scores, make_scorer
from embtool.tables.survey import norms
from embtool.tables.table import EmbeddingTable, TableReader

WIDTH = 24
RELATIVE = WIDTH * ROUNDING + ROOT_ERROR
MARGIN = 1.01


def rows_of_every_length(random: np.random.Generator, dtype: str) -> Doubles:
    """Rows from very short to as long as the dtype holds, and one of zeros."""
    values = random.standard_normal((40, WIDTH))
    if not dtype.startswith("F8"):
        values *= np.ldexp(1.0, np.resize([0, 0, -3, -9, 6, -20 if dtype == "F16" else -60], 40))[:, None]
    values[-1] = 0
    return values


def never_odd(row: int) -> NDArray[np.float32]:
    pytest.fail(f"row {row} is not odd")


def whole_bytes(data: bytes, rows: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(rows, -1).copy()


# --- Scores and their slack ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("exact_query", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.few(40)
def test_a_score_is_off_by_no_more_than_its_slack_and_the_slack_is_small(
    dtype: str,
    metric: Metric,
    count: int,
    exact_query: bool,  # noqa: FBT001 - a parameter of the test
    centered: bool,  # noqa: FBT001 - as above
) -> None:
    random = np.random.default_rng(count)
    data, held = stored(rows_of_every_length(random, dtype), dtype)
    mean = held[:9].mean(axis=0) * 3 if centered else None
    if mean is not None:
        held[3] = mean.astype(np.float32)
        data = stored(held, dtype)[0]
        held = stored(held, dtype)[1]
    queries = held[:count].copy() if exact_query else random.standard_normal((count, WIDTH)) * 2
    shift = 0.0 if mean is None else float(np.linalg.norm(mean))
    if mean is not None:
        queries[-1] = mean * 1.001
    asked = queries if mean is None else queries - mean
    away = held if mean is None else held - mean
    scorer = make_scorer(KNOWN[dtype], asked, metric, mean)
    lengths, norms = np.linalg.norm(away, axis=1)[:, None], np.linalg.norm(asked, axis=1)
    lost = float(np.linalg.norm(asked - stored(asked, dtype)[1], axis=1).max()) if dtype in KERNELS else 0.0
    per_length = lost + RELATIVE * norms
    for one in getattr(scorer, "_scorers", [scorer]):
        found = one.score(whole_bytes(data, len(held)))
        slack = np.broadcast_to(found.slack, found.values.shape)
        distances = np.linalg.norm(away[:, None] - asked, axis=2)
        with np.errstate(all="ignore"):
            if metric == "cosine":
                exact = away @ asked.T / lengths / norms
                bound = 3 * per_length / norms * (1 + shift / lengths)
            elif metric == "dot":
                exact = away @ asked.T
                bound = (lengths + shift) * per_length + WIDTH * FLUSHED + np.sqrt(WIDTH * FLUSHED) * per_length
            elif isinstance(one, scoring._StoredScorer):
                exact, bound = -distances, lost + RELATIVE * distances + np.sqrt(WIDTH * FLUSHED)
            else:
                exact = -np.square(distances)
                bound = 2 * (lengths + shift) * per_length
                bound = bound + 2 * RELATIVE * (np.square(lengths + shift) + np.square(norms)) + 3 * WIDTH * FLUSHED
        usable = np.isfinite(found.values) & ((lengths > 0) | (metric != "cosine"))
        surely = lengths[:, 0] > max(2 * kernels.SHORTEST, 1e-6 * shift) if metric == "cosine" else lengths[:, 0] >= 0
        assert usable[surely].all(), "only the others are looked at again"
        assert (np.abs(found.values - exact) <= slack)[usable].all()
        assert (slack <= bound * MARGIN)[usable].all()


@pytest.mark.parametrize("kernel", ["bf16", "f16"])
def test_a_query_is_rounded_to_the_nearest_number_of_the_kernel(kernel: Literal["bf16", "f16"]) -> None:
    random = np.random.default_rng(4)
    queries = random.standard_normal((50, WIDTH)) * np.ldexp(1.0, random.integers(-3, 4, (50, 1)))
    asked = queries.astype(np.float32)
    rounded = KNOWN[kernel.upper()].to_float32(kernels.rounded(kernel, asked).view(np.uint8))
    nearest = NEAREST[kernel](asked)
    np.testing.assert_array_equal(np.abs(rounded - queries), np.abs(nearest - queries))


def _bfloat16(values: NDArray[np.float32]) -> Doubles:
    below = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    above = ((values.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    return np.where(np.abs(values - below) <= np.abs(above - values), below, above).astype(np.float64)


NEAREST: dict[str, Any] = {"bf16": _bfloat16, "f16": lambda values: values.astype(np.float16).astype(np.float64)}


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_every_8_bit_float_is_what_the_kernel_sees(dtype: str) -> None:
    kernel, codes = KERNELS[dtype], np.arange(256, dtype=np.uint8)
    assert kernel.widen is not None
    with np.errstate(invalid="ignore"):  # a NaN that signals
        seen = kernel.widen(codes).view(np.float16).astype(np.float64) * 2.0**kernel.exponent
    expected = KNOWN[dtype].to_float32(codes)
    known = np.isfinite(expected) | (dtype == "F8_E5M2")  # the NaN of E4M3 is looked for by itself
    assert np.array_equal(seen[known], expected[known], equal_nan=True)


def test_halves_are_rounded_to_the_even_bfloat16() -> None:
    halves = np.array([[0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF]], np.uint32).view(np.float32)
    assert kernels.rounded("bf16", halves).tolist() == [[0x3F80, 0x3F82, 0x3F81, 0x3F80]]


@pytest.mark.parametrize("dtype", sorted(KERNELS))
def test_a_row_of_the_table_is_asked_for_as_it_is_stored(dtype: str) -> None:
    _, held = stored(np.random.default_rng(2).standard_normal((5, WIDTH)), dtype)
    for asked, kind in ((held[:1], scoring._StoredScorer), (held, scoring._Race)):
        assert isinstance(make_scorer(KNOWN[dtype], asked, "dot"), kind)
    encoded = kernels.StoredQueries.encode(KNOWN[dtype], held)
    assert encoded is not None
    assert encoded.errors.tolist() == [0] * 5
    np.testing.assert_array_equal(encoded.norms, np.linalg.norm(held, axis=1))


def test_a_query_that_its_dtype_holds_badly_is_scored_on_decoded_rows() -> None:
    badly = np.full((1, WIDTH), 1 + 1 / 32)
    assert isinstance(make_scorer(KNOWN["F8_E5M2"], badly * 1e6, "dot"), scoring._DecodedScorer)
    assert isinstance(make_scorer(KNOWN["F16"], badly * 1e6, "dot"), scoring._DecodedScorer)
    assert isinstance(make_scorer(KNOWN["BF16"], badly, "dot", np.zeros(WIDTH)), scoring._DecodedScorer)
    assert isinstance(make_scorer(KNOWN["F32"], badly, "dot"), scoring._DecodedScorer)


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("scale", [2.0**-140, 2.0**-60, 2.0**60, 2.0**120])
def test_an_angle_does_not_depend_on_the_length_of_the_query(dtype: str, scale: float) -> None:
    data, held = stored(np.random.default_rng(1).standard_normal((5, WIDTH)), dtype)
    for count in (1, 2):
        scorer = make_scorer(KNOWN[dtype], held[:count] * scale, "cosine")
        assert scorer.score(whole_bytes(data, 5)).values[0, 0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_very_short_rows_are_ranked_exactly(tmp_path: Path, seed: int) -> None:
    """A kernel loses their squares in float32: cosines of rows of 2^-58 can be off by 1e-4."""
    random = np.random.default_rng(seed)
    query = stored(random.standard_normal(WIDTH), "BF16")[1]
    values = 0.2 * query + 0.03 * random.standard_normal((2000, WIDTH))
    values *= np.ldexp(1.0, np.resize([-57, -59], 2000))[:, None]
    table, held = on_disk(tmp_path, values, "BF16")
    assert nearest(table, query, 3).ids.tolist() == ranked(scores(held, query, "cosine"), 3, "cosine")


def test_a_query_of_zeros_has_no_slack_of_its_own() -> None:
    scorer = make_scorer(KNOWN["BF16"], np.zeros((1, WIDTH)), "cosine")
    assert scorer.score(np.zeros((2, 2 * WIDTH), np.uint8)).slack == pytest.approx(RELATIVE)


def test_many_queries_are_packed_before_threads_ask_for_them() -> None:
    race: Any = make_scorer(KNOWN["BF16"], np.ones((2, WIDTH)), "dot")
    packed, _ = race._scorers
    assert "_packed" in vars(packed)


class _Timed:
    """A scorer that takes a time by a clock of the test."""

    def __init__(self, clock: list[float], takes: float) -> None:
        self.clock = clock
        self.takes = takes
        self.asked = 0
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def score(self, block: NDArray[np.uint8]) -> Scores:
        self.asked += 1
        self.clock[0] += self.takes * len(block)
        return Scores(np.full((len(block), 1), self.takes), 0.0)


@pytest.mark.parametrize("times", [(3.0, 1.0, 2.0), (1.0, 2.0, 3.0), (2.0, 3.0, 1.0)])
def test_the_fastest_way_gets_the_blocks(times: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ways = [_Timed(clock, takes) for takes in times]
    race = scoring._Race(ways)
    assert [way.prepared for way in ways] == [1, 1, 1]
    blocks = [np.zeros((size, 1), np.uint8) for size in (9, 1, 4, 2, 7, 3, 5, 8, 6, *[5] * 11)]
    answers = [race.score(block).values[0, 0] for block in blocks]
    assert answers == [*times * 3, *[1.0] * 11]


# --- Blocks -------------------------------------------------------------------------------------------------------


class _Memory:
    """Bytes to read from, and what was read of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def read_into(self, start: int, buffer: memoryview) -> None:
        self.reads.append((start, len(buffer)))
        buffer[:] = self.data[start : start + len(buffer)]


def memory(rows: int, row_bytes: int) -> _Memory:
    return _Memory(b"??" + bytes(place % 251 for place in range(rows * row_bytes)))


def reader_of(rows: int, row_bytes: int, held: _Memory | None = None, *, cost: int = 0) -> TableReader:
    return TableReader(held or memory(rows, row_bytes), 2, row_bytes, rows, cost)


class _Blocks:
    """What was visited: the first row of each block, and its bytes."""

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.data = b""

    @staticmethod
    def visit(blocks: _Blocks, first: int, block: NDArray[np.uint8]) -> None:
        blocks.firsts.append(first)
        blocks.data += block.tobytes()


@pytest.mark.parametrize(
    ("block_bytes", "cost", "rows"),
    [(12, 0, 3), (13, 0, 3), (4, 0, 1), (1, 0, 1), (1000, 0, 10), (40, 10, 4), (40, 2, 10), (40, 100, 1)],
)
def test_a_block_has_as_many_rows_as_fit(block_bytes: int, cost: int, rows: int) -> None:
    held = memory(10, 4)
    (seen,) = scan.scan(reader_of(10, 4, held, cost=cost), _Blocks, _Blocks.visit, block_bytes=block_bytes)
    assert seen.firsts == list(range(0, 10, rows))
    assert seen.data == held.data[2:]
    assert held.reads == [(2 + 4 * first, 4 * min(rows, 10 - first)) for first in seen.firsts]


@pytest.mark.parametrize(("block_bytes", "cost", "rows"), [(4, 0, 2), (5, 0, 2), (1, 0, 1), (99, 0, 9), (9, 3, 3)])
@pytest.mark.parametrize(("serial", "cpus"), [(1 << 30, 1), (0, 1), (0, 3)])
def test_the_parts_of_an_ordered_scan_are_always_the_same(
    block_bytes: int, cost: int, rows: int, serial: int, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SERIAL_BYTES", serial)
    monkeypatch.setattr(scan, "_cpus", lambda: cpus)
    held = memory(67, 2)
    parts = scan.scan_in_order(reader_of(67, 2, held, cost=cost), _Blocks, _Blocks.visit, block_bytes=block_bytes)
    edges = [67 * part // 8 for part in range(9)]
    assert [part.firsts for part in parts] == [list(range(edges[at], edges[at + 1], rows)) for at in range(8)]
    assert b"".join(part.data for part in parts) == held.data[2:]


@pytest.mark.parametrize("visit_all", [scan.scan, scan.scan_in_order])
def test_a_table_without_rows_is_never_visited(visit_all: Any) -> None:
    visit_all(reader_of(0, 4), lambda: None, lambda *_: pytest.fail("there is no block"))


@pytest.mark.parametrize("visit_all", [scan.scan, scan.scan_in_order])
def test_a_small_table_is_read_by_one_thread(visit_all: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_cpus", lambda: 4)
    monkeypatch.setattr(scan, "ThreadPoolExecutor", lambda _: pytest.fail("a thread costs more than it brings"))
    monkeypatch.setattr(scan, "SERIAL_BYTES", 40)
    visit_all(reader_of(10, 4), lambda: None, lambda *_: None)


@pytest.mark.parametrize("visit_all", [scan.scan, scan.scan_in_order])
@pytest.mark.parametrize(("cpus", "threads"), [(3, 3), (8, 8), (64, 8)])
def test_no_more_threads_than_help(visit_all: Any, cpus: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def pool(count: int) -> ThreadPoolExecutor:
        asked.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(scan, "_cpus", lambda: cpus)
    monkeypatch.setattr(scan, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(scan, "SERIAL_BYTES", 39)
    visit_all(reader_of(10, 4), lambda: None, lambda *_: None)
    assert asked == [threads]


def test_an_ordered_scan_ends_with_an_error_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_cpus", lambda: 2)
    monkeypatch.setattr(scan, "SERIAL_BYTES", 0)

    def visit(_: None, first: int, __: NDArray[np.uint8]) -> None:
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        scan.scan_in_order(reader_of(8, 4), lambda: None, visit)


def test_ids_are_cut_into_parts() -> None:
    assert [part.tolist() for part in scan.in_parts(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]


# --- Norms, candidates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_every_dtype(tmp_path: Path, dtype: str) -> None:
    values = rows_of_every_length(np.random.default_rng(3), dtype)
    values[5, 2] = np.nan
    table, held = on_disk(tmp_path, values, dtype)
    with table.open() as reader:
        found = norms(table, reader)
    assert found.dtype == np.float64
    assert np.isnan(found[5])
    others = np.arange(len(held)) != 5
    np.testing.assert_allclose(found[others], np.linalg.norm(held[others], axis=1), rtol=1e-5)


def test_norms_of_rows_beyond_float32_are_infinite(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.array([[3.0, 4], [1e300, 0]]), "F64")
    with table.open() as reader:
        assert norms(table, reader).tolist() == [5, np.inf]


@pytest.fixture(scope="module")
def random_table(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingTable, Doubles]:
    return on_disk(tmp_path_factory.mktemp("random"), np.random.default_rng(1).standard_normal((20_000, 16)), "BF16")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("metric", METRICS)
def test_a_pass_finds_few_rows_more_than_are_asked_for(
    random_table: tuple[EmbeddingTable, Doubles],
    metric: Metric,
    count: int,
    k: int,
    masked: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, held = random_table
    allowed = np.random.default_rng(2).random(len(held)) < 0.5 if masked else None
    scorer = make_scorer(table.tensor.dtype, held[:count], metric)
    best = [ranked(scores(held, query, metric), k, metric, allowed) for query in held[:count]]
    for prune_at in (candidates.PRUNE_AT, 0):
        monkeypatch.setattr(candidates, "PRUNE_AT", prune_at)
        with table.open() as reader:
            found = find_candidates(table, reader, scorer, count, k, metric=metric, allowed=allowed, block_bytes=5000)
        for ids, expected in zip(found.ids, best, strict=True):
            assert set(expected) <= set(ids.tolist())
            assert len(ids) <= k + 2


def collect(
    k: int, batches: list[list[float]], *, allowed: NDArray[np.bool_] | None = None, slack: float = 0.25
) -> candidates._Collector:
    """Collect scores for one query; no row may be looked at again."""
    collector = candidates._Collector(1, k, "dot", never_odd, allowed, zeros=False)
    first = 0
    for batch in batches:
        collector.add(first, Scores(np.array(batch)[:, None], slack))
        collector.take()
        first += len(batch)
    return collector


def test_the_floor_is_what_k_rows_surely_reach() -> None:
    collector = collect(3, [[5.0, 1.0], [4.0]])
    collector.prune()
    assert collector.floor.tolist() == [0.75]
    assert collector.split()[0].tolist() == [0, 1, 2]
    collector = collect(2, [[5.0, 1.0], [4.0, 3.6, 3.4]])
    collector.prune()
    assert collector.floor.tolist() == [3.75]
    assert collector.split()[0].tolist() == [0, 2, 3]
    assert collector.count == 3


def test_without_k_rows_there_is_no_floor() -> None:
    collector = collect(3, [[5.0, 1.0]])
    collector.prune()
    assert collector.floor.tolist() == [-np.inf]
    assert collector.count == 2


def test_rows_that_are_not_allowed_are_neither_kept_nor_looked_at() -> None:
    collector = collect(1, [[9.0, 1.0, 2.0, 8.0]] * 3, allowed=np.array([False, True, True, False] * 3))
    assert collector.split()[0].tolist() == [1, 2, 5, 6, 9, 10]
    collector.prune()
    assert collector.split()[0].tolist() == [2, 6, 10]


@pytest.mark.parametrize("masked", [False, True])
def test_what_is_collected_stays_within_a_limit(
    random_table: tuple[EmbeddingTable, Doubles],
    masked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    table, held = random_table
    allowed = np.ones(len(held), np.bool_) if masked else None
    collector = candidates._Collector(1, 10, "dot", never_odd, allowed, zeros=False)
    scorer = make_scorer(table.tensor.dtype, held[:1], "dot")
    kept: list[int] = []
    waited: list[int] = []

    def visit(_: None, first: int, block: NDArray[np.uint8]) -> None:
        collector.add(first, scorer.score(block))
        kept.append(sum(len(ids) for ids, *_ in collector.found))
        waited.append(collector.rows_waiting)

    with table.open() as reader:
        scan.scan(reader, lambda: None, visit, block_bytes=5000)
    assert max(waited) < candidates.ROWS_WAITING
    assert max(kept) <= candidates.PRUNE_AT + 4 * 10
    assert len(candidates._merge([collector]).ids[0]) < 13


def test_a_few_very_good_rows_first_leave_little_to_collect() -> None:
    """Of many rows at once those below the k best of these alone are not taken up."""
    falling = np.arange(20_000.0, 0, -1)
    collector = collect(2, [falling.tolist()])
    assert collector.count == 2


def test_what_is_collected_is_counted_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "PRUNE_AT", 0)
    collector = collect(2, [[first, first + 0.3, first + 0.6] for first in range(50)])
    assert sum(len(ids) for ids, *_ in collector.found) <= 4 * 2
    assert collector.count == sum(len(ids) for ids, *_ in collector.found)


def test_rows_that_tie_with_the_floor_are_kept() -> None:
    falling = [9.0, 7.0, 7.0, *np.arange(6, 0, -0.0001).tolist()]
    collector = collect(2, [falling, [7.0, 6.9]], slack=0.0)
    assert collector.split()[0].tolist() == [0, 1, 2, len(falling)]


def test_a_cosine_of_exactly_zero_is_not_believed() -> None:
    """A kernel also says 0 of a row whose products were too small for it: it is kept, whatever the others score."""
    rows = {0: np.ones(2, np.float32), 1: np.zeros(2, np.float32), 2: np.array([np.nan, 1], np.float32)}
    collector = candidates._Collector(1, 1, "cosine", rows.__getitem__, None, zeros=True)
    collector.add(0, Scores(np.array([[0.0], [0.0], [np.nan], [0.9], [0.5]]), 0.1))
    found = candidates._merge([collector])
    assert found.ids[0].tolist() == [0, 3]
    assert (found.zero.tolist(), found.nonfinite.tolist()) == ([1], [2])


def test_what_threads_found_is_put_together() -> None:
    parts = [collect(2, [[1.0, 5.0]]) for _ in range(3)]
    for place, part in enumerate(parts):
        part.zero, part.nonfinite = [20 - place, 30 - place], [10 - place]
    found = candidates._merge(parts)
    assert found.zero.tolist() == [18, 19, 20, 28, 29, 30]
    assert found.nonfinite.tolist() == [8, 9, 10]
    assert found.ids[0].tolist() == [1, 1, 1]
