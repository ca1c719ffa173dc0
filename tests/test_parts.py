"""A question cut by rows and put together again is answered as it is in one piece, to the last tie."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import on_disk, ranked, scores
from test_neighbors import Question, questions

import embtool
from embtool.errors import InvalidArgument
from embtool.tables.metric import METRICS, Metric
from embtool.tables.neighbors import Neighbors


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def cuts(draw: st.DrawFn, rows: int) -> list[range]:
    """Ranges that hold each row once: neighbours, or every n-th."""
    if draw(st.booleans()):
        step = draw(st.integers(1, rows))
        return [range(first, rows, step) for first in range(step)]
    places = sorted({0, rows, *draw(st.lists(st.integers(0, rows), max_size=3))})
    return [range(first, stop) for first, stop in itertools.pairwise(places)]


def same(one: Neighbors, other: Neighbors) -> None:
    for field in dataclasses.fields(Neighbors):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@given(questions(), st.data())
def test_parts_merged_are_the_whole(folder: Path, question: Question, data: st.DataObject) -> None:
    values, query, metric, dtype, k, allowed, exclude = question
    table, held = on_disk(folder, values, dtype)
    parts = data.draw(st.composite(cuts)(len(held)))
    whole = embtool.nearest(table, query, k, metric=metric, allowed=allowed, exclude=exclude)
    found = [
        embtool.nearest(table, query, k, metric=metric, allowed=allowed, exclude=exclude, ids=part) for part in parts
    ]
    for part, each in zip(parts, found, strict=True):
        assert set(each.ids.tolist()) <= set(part)
    same(embtool.merge_neighbors(data.draw(st.permutations(found)), k, metric=metric), whole)


@given(questions(), st.data())
def test_a_graph_of_parts_is_the_graph(folder: Path, question: Question, data: st.DataObject) -> None:
    values, _, metric, dtype, k, _, _ = question
    table, held = on_disk(folder, values, dtype)
    whole = embtool.nearest_graph(table, k, metric=metric)
    places = sorted({0, len(held), *data.draw(st.lists(st.integers(0, len(held)), max_size=2))})
    asking = [range(first, stop) for first, stop in itertools.pairwise(places)]
    looked = data.draw(st.composite(cuts)(len(held)))
    parts = [embtool.nearest_graph(table, k, metric=metric, rows=rows, ids=ids) for rows in asking for ids in looked]
    merged = embtool.merge_graphs(data.draw(st.permutations(parts)))
    assert merged.rows == whole.rows == range(len(held))
    for name in ("ids", "scores", "classes"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), name)


@pytest.mark.parametrize("metric", METRICS)
def test_a_graph_is_a_full_sort_for_each_row(folder: Path, metric: Metric) -> None:
    values = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [2, 2], [np.nan, 1], [-1, 0], [1, 0]], np.float64)
    table, held = on_disk(folder, values, "F32")
    graph = embtool.nearest_graph(table, 5, metric=metric)
    for row, vector in enumerate(held):
        there = graph.ids[row][graph.ids[row] >= 0]
        if not np.isfinite(vector).all():
            assert not len(there)
            continue
        mask = np.ones(len(held), np.bool_)
        mask[row] = False
        expected = scores(held, vector, metric)
        best = list(ranked(expected, 5, metric, mask))
        scored = int(np.isfinite(expected[best]).sum())
        assert there.tolist()[:scored] == best[:scored]
        assert len(there) == len(best)
        assert np.isnan(graph.scores[row][scored:]).all()
    edges = graph.edges()
    assert {name: len(column) for name, column in edges.items()} == dict.fromkeys(edges, int((graph.ids >= 0).sum()))
    assert edges["row"].tolist() == np.repeat(np.arange(len(held)), (graph.ids >= 0).sum(axis=1)).tolist()
    assert edges["rank"][:5].tolist() == [1, 2, 3, 4, 5]


def test_a_real_table_in_four_parts() -> None:
    """Of 32,000 rows, many with scores so near that a kernel cannot tell them apart."""
    model = embtool.open_model()
    table = model.input_table
    quarters = [range(first, first + 8000) for first in range(0, 32000, 8000)]
    for token in ("king", 0, 31_999):
        vector = model.row(token)[0].values
        parts = [embtool.nearest(table, vector, 40, ids=part) for part in quarters]
        same(embtool.merge_neighbors(parts, 40), embtool.nearest(table, vector, 40))
    rows = range(100, 140)
    graph = embtool.merge_graphs([embtool.nearest_graph(table, 5, rows=rows, ids=part) for part in quarters])
    whole = embtool.nearest_graph(table, 5, rows=rows)
    assert np.array_equal(graph.ids, whole.ids)
    assert np.array_equal(graph.scores, whole.scores)
    arrived = pickle.loads(pickle.dumps(graph))  # noqa: S301 - its own
    assert np.array_equal(arrived.ids, graph.ids)


def test_what_is_no_part_is_refused(folder: Path) -> None:
    table, _ = on_disk(folder, np.arange(12, dtype=np.float64).reshape(6, 2) + 1, "F32")
    for ids in (range(-1, 3), range(7), range(5, 8)):
        with pytest.raises(InvalidArgument, match="ids is a range of rows 0 to 5"):
            embtool.nearest(table, np.ones(2), ids=ids)
        with pytest.raises(InvalidArgument):
            embtool.nearest_graph(table, rows=ids)
    with pytest.raises(InvalidArgument):
        embtool.nearest(table, np.ones(2), ids=[1, 2])  # type: ignore[arg-type]
    nothing = embtool.nearest(table, np.ones(2), ids=range(3, 3))
    assert (len(nothing.ids), len(embtool.merge_neighbors([nothing]).ids)) == (0, 0)
    half = embtool.nearest(table, np.ones(2), ids=range(3))
    with pytest.raises(InvalidArgument, match="overlap"):
        embtool.merge_neighbors([half, half])
    with pytest.raises(InvalidArgument):
        embtool.merge_neighbors([half], 0)
    graphs = [embtool.nearest_graph(table, 2, rows=range(first, first + 2)) for first in (0, 2, 4)]
    for wrong in ([], [graphs[0], graphs[2]], [graphs[0], graphs[0]], [graphs[0], embtool.nearest_graph(table, 3)]):
        with pytest.raises(InvalidArgument):
            embtool.merge_graphs(wrong)
