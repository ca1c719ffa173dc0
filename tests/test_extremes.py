"""Rows of any length, from 1e-40 to 1e38: the answer is that of long double, however many queries came together."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from program import Program
from tables import DTYPES, Doubles, on_disk

import embtool
from embtool.errors import EmbtoolError, InvalidArgument
from embtool.tables.arithmetic import combine
from embtool.tables.metric import METRICS, Metric
from embtool.tables.neighbors import nearest, nearest_each, score_rows
from embtool.tables.sequence import cosines
from embtool.tables.statistics import describe_table
from embtool.tables.survey import distances, mean_row, norms, survey
from embtool.tables.table import EmbeddingTable
from embtool.tables.table_diff import align_by_id, compare_tables
from embtool.tables.undertrained import (
    UNUSED_NAMES,
    Indicator,
    Kind,
    Reference,
    find_reference,
    rank_untrained,
    untrained_scores,
)
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.entries import MemoryEntries, Traits
from embtool.vocabulary.spelling import WORDS

EXPONENTS = {
    "F64": (-40, 38),
    "F32": (-40, 38),
    "BF16": (-38, 38),
    "F16": (-6, 4),
    "F8_E4M3": (-2, 2),
    "F8_E5M2": (-4, 4),
}
"""Powers of ten that rows of a dtype can have."""

Long = NDArray[np.longdouble]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Doubles, str, int]:
    dtype = draw(st.sampled_from(DTYPES))
    rows, width = draw(st.integers(2, 60)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    least, most = EXPONENTS[dtype]
    least, most = sorted(draw(st.tuples(st.integers(least, most), st.integers(least, most))))
    values = random.standard_normal((rows, width)) * 10.0 ** random.integers(least, most + 1, (rows, 1))
    if draw(st.booleans()):  # ties, and rows without a score
        values[random.integers(rows)] = values[0]
        values[random.integers(rows)] = random.choice([0.0, np.nan, np.inf])
    return np.clip(values, -3e38, 3e38), dtype, draw(st.integers(1, 40))


def oracle(held: Doubles, query: Doubles, metric: Metric, mean: Doubles | None) -> Long:
    with np.errstate(all="ignore"):
        rows, vector = held.astype(np.longdouble), query.astype(np.longdouble)
        if mean is not None:
            rows, vector = rows - mean, vector - mean
        if metric == "euclidean":
            found: Long = -np.sqrt(np.square(rows - vector).sum(axis=1))
        else:
            found = (rows * vector).sum(axis=1)
        if metric == "cosine":
            lengths = np.sqrt(np.square(rows).sum(axis=1)) * np.sqrt(np.square(vector).sum())
            found = np.where(lengths > 0, found / lengths, np.nan)
    return np.where(np.isfinite(held).all(axis=1), found, np.nan)


@given(tables(), st.sampled_from(METRICS), st.booleans())
def test_many_queries_are_answered_like_one_and_like_long_double(
    folder: Path,
    asked: tuple[Doubles, str, int],
    metric: Metric,
    center: bool,  # noqa: FBT001 - drawn
) -> None:
    values, dtype, count = asked
    table, held = on_disk(folder, values, dtype)
    places = [place for place in range(len(held)) if np.isfinite(held[place]).all()]
    queries = [held[places[each % len(places)]] for each in range(count)] if places else []
    with table.open() as reader:
        mean = mean_row(table, reader) if center else None
    together = nearest_each(table, queries, 5, metric=metric, mean=mean)
    for query, found in zip(queries, together, strict=True):
        alone = nearest(table, query, 5, metric=metric, mean=mean)
        assert found.ids.tolist() == alone.ids.tolist(), "how many queries come together changes nothing"
        np.testing.assert_array_equal(found.scores, alone.scores)
        expected = oracle(held, query, metric, mean)
        best = np.lexsort((np.arange(len(held)), np.where(np.isnan(expected), np.inf, -expected)))[: len(found.ids)]
        sign = -1 if metric == "euclidean" else 1
        terms = np.abs(held[best]).astype(np.longdouble).max(axis=1, initial=0) * np.abs(query).max(initial=0) + 1e-300
        room = 1e-12 * (1.0 if metric == "cosine" else terms * held.shape[1])  # float64's own rounding of a sum
        if metric == "euclidean":
            room = 1e-12 * (np.abs(held[best]).max(axis=1, initial=0) + np.abs(query).max(initial=0))
        if mean is None:
            given_scores = np.where(np.isnan(found.scores), np.nan, sign * found.scores)
            wanted = expected[best]
            assert (np.isnan(given_scores) == np.isnan(wanted)).all()
            close = np.abs(given_scores - wanted) <= room
            assert (close | np.isnan(wanted)).all()


@given(tables())
def test_norms_of_any_length(folder: Path, asked: tuple[Doubles, str, int]) -> None:
    values, dtype, _ = asked
    table, held = on_disk(folder, values, dtype)
    with np.errstate(all="ignore"):
        expected = np.sqrt(np.square(held.astype(np.longdouble)).sum(axis=1))
    finite = np.isfinite(held).all(axis=1)
    with table.open() as reader:
        found, surveyed = norms(table, reader), survey(table, reader).norms
        apart = distances(table, reader, held[finite][0]) if finite.any() else None
    for lengths in (found, surveyed):
        np.testing.assert_allclose(lengths[finite], expected[finite].astype(np.float64), rtol=2e-6, atol=1e-44)
    if apart is not None:
        assert np.isfinite(apart[finite]).all()


def test_rows_at_both_ends_of_float32_are_far_apart_and_not_lost(folder: Path) -> None:
    here = folder / "here"
    there = folder / "there"
    here.mkdir(exist_ok=True)
    there.mkdir(exist_ok=True)
    one, _ = on_disk(here, np.full((2, 4), 3e38), "F32")
    other, _ = on_disk(there, np.full((2, 4), -3e38), "F32")
    found = compare_tables(one, other, align_by_id(2, 2))
    np.testing.assert_allclose(found.distance, 12e38, rtol=1e-6)
    np.testing.assert_allclose(found.cosine, -1.0)


@pytest.mark.parametrize("metric", ["cos", "Dot", "", None, 3, ["cosine"]])
def test_a_metric_that_is_none_is_refused(folder: Path, metric: object) -> None:
    table, held = on_disk(folder, np.eye(3), "F32")
    with pytest.raises(InvalidArgument, match="metric is one of cosine, dot, euclidean"):
        nearest(table, held[0], metric=metric)  # type: ignore[arg-type]


@given(
    k=st.one_of(st.integers(-5, 0), st.floats(), st.booleans(), st.text(), st.none()),
    vector=st.just(None) | st.text() | st.lists(st.floats() | st.text(), max_size=4),
)
def test_nonsense_is_an_error_of_ours_and_a_value_error(folder: Path, k: object, vector: object) -> None:
    table, held = on_disk(folder, np.eye(3), "F32")
    with pytest.raises(InvalidArgument) as caught:
        nearest(table, held[0], k)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    with contextlib.suppress(EmbtoolError):
        nearest(table, vector)  # type: ignore[arg-type]
    for ids in ([k] if not isinstance(k, int) or isinstance(k, bool) or k < 0 else [[1.5]], "abc", 3):
        with pytest.raises(EmbtoolError):
            table.rows(ids)  # type: ignore[arg-type]


def test_a_table_of_more_rows_than_any_vocabulary_is_refused_at_once(run: Program, tmp_path: Path) -> None:
    rows = 1 << 31
    header = json.dumps({"wte.weight": {"dtype": "F8_E4M3", "shape": [rows, 1], "data_offsets": [0, rows]}})
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + rows)
    tokens = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens))
    for command in ("neighbors id:0 --only a", "undertrained", "norms", "row id:5", "map id:0 id:1"):
        run(*command.split(), "-m", tmp_path).refused(6, "rows: a table has at most")
    run("info", tmp_path).ok()
    run("vocab", "-m", tmp_path).ok()
    assert "no vocabulary has so many" in run("check", tmp_path).text


def test_a_long_piece_is_no_name_of_an_unused_token() -> None:
    assert UNUSED_NAMES.fullmatch("<|reserved_special_token_3|>")
    words = {"<" + "unused" * (1 << 16): 0, "<unused7>": 1}
    entries = MemoryEntries(
        {place: piece for piece, place in words.items()}, {}, Traits(WORDS, None, None, faithful=True, composes=False)
    )
    vocabulary = Vocabulary("x", lambda: entries, lambda: None)
    assert find_reference(vocabulary, 2, {Kind.NAMES}).ids == [1]


def scaled_alike(folder: Path, dtype: str, width: int, exponent: int) -> list[EmbeddingTable]:
    """Write a table, and the same one times a power of two that its dtype holds."""
    values = np.random.default_rng(width).integers(-9, 10, (60, width)) / 4.0
    values[7] = 0
    tables = []
    for name, scale in (("one", 0), ("other", exponent)):
        (folder / name).mkdir()
        tables.append(on_disk(folder / name, np.ldexp(values, scale), dtype)[0])
    return tables


@pytest.mark.few(8)
@pytest.mark.parametrize("width", [6, 1030])
@pytest.mark.parametrize("exponent", [-120, -62, -30, 30, 62, 100])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_statistics_know_no_scale(tmp_path: Path, dtype: str, width: int, exponent: int) -> None:
    plain, far = scaled_alike(tmp_path, dtype, width, exponent)
    with plain.open() as reader:
        one, near = describe_table(plain, reader), distances(plain, reader, np.ones(width))
    with far.open() as reader:
        two, away = describe_table(far, reader), distances(far, reader, np.ldexp(np.ones(width), exponent))
    assert one.axes is not None
    assert two.axes is not None
    np.testing.assert_array_equal(two.norms, np.ldexp(one.norms, exponent))
    np.testing.assert_allclose(away, np.ldexp(near, exponent), rtol=1e-5)
    np.testing.assert_allclose(two.axes.variances, np.ldexp(one.axes.variances, 2 * exponent), rtol=1e-3)
    for name in ("mean_share", "average_cosine", "effective_rank", "leading_shares"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("exponent", [-140, -62, 62, 124])
def test_differences_know_no_scale(tmp_path: Path, exponent: int) -> None:
    random = np.random.default_rng(0)
    values = random.integers(-6, 7, (30, 4)) / 1.0
    other = np.where(random.random((30, 4)) < 0.3, -values, values)
    found = []
    for scale in (0, exponent):
        tables = []
        for name, rows in (("a", values), ("b", other)):
            (tmp_path / f"{name}{scale}").mkdir()
            tables.append(on_disk(tmp_path / f"{name}{scale}", np.ldexp(rows, scale), "F32")[0])
        found.append(compare_tables(tables[0], tables[1], align_by_id(30, 30)))
    one, two = found
    np.testing.assert_allclose(two.distance, np.ldexp(one.distance, exponent), rtol=1e-12)
    np.testing.assert_allclose(two.cosine, one.cosine, rtol=1e-12)
    np.testing.assert_allclose(two.relative, one.relative, rtol=1e-12)


@pytest.mark.parametrize("exponent", [-140, -62, 62, 120])
def test_expressions_and_cosines_know_no_scale(exponent: int) -> None:
    rows = np.random.default_rng(5).standard_normal((3, 8))
    far = np.ldexp(rows, exponent)
    np.testing.assert_allclose(combine(far, [1, -1, 1]), combine(rows, [1, -1, 1]), rtol=1e-12)
    np.testing.assert_allclose(cosines(far, far[::-1]), cosines(rows, rows[::-1]), rtol=1e-12)
    np.testing.assert_allclose(score_rows(far, far[0], "cosine"), score_rows(rows, rows[0], "cosine"), rtol=1e-12)


@pytest.mark.parametrize("exponent", [-100, 100])
def test_what_is_undertrained_knows_no_scale(tmp_path: Path, exponent: int) -> None:
    plain, far = scaled_alike(tmp_path, "F32", 6, exponent)
    reference = Reference(dict.fromkeys((3, 5, 7), Kind.PADDING))
    for indicator in Indicator:
        with plain.open() as one, far.open() as two:
            near, away = (untrained_scores(*pair, indicator, reference) for pair in ((plain, one), (far, two)))
        np.testing.assert_array_equal(rank_untrained(near, 60), rank_untrained(away, 60), str(indicator))


EVIL = (
    "a",
    "1",
    ".",
    "-",
    "_",
    ",",
    "a.",
    "1,",
    "a-",
    "vision_",
    "<unused",
    "<|",
    "\\u002",
    " :",
    "0x",
    '"',
    "\\",
    "[0",
)


def patterns() -> dict[str, re.Pattern[Any]]:
    """List the expressions that embtool's modules keep by name."""
    names = [module.name for module in pkgutil.walk_packages(embtool.__path__, "embtool.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    values = [value for module in modules for value in vars(module).values()]
    return {repr(value.pattern): value for value in values if isinstance(value, re.Pattern)}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", patterns().values(), ids=lambda pattern: repr(pattern.pattern)[:40])
def test_no_expression_takes_long_over_a_long_text(pattern: re.Pattern[Any]) -> None:
    """One whose steps grow with the square of the length would need hours for these, and run into the time limit."""
    for evil in EVIL:
        text = evil * (1 << 19) + "!"
        given: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
        pattern.fullmatch(given)
        pattern.match(given)
