"""`--vector` reads rows of a tensor in a file, written here by safetensors and numpy, and never a pickle."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from program import Program
from safetensors.numpy import save_file
from small_models import table

import embtool
from embtool.errors import EmbtoolError


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Write the small model's own rows as others would bring them."""
    values = table("input").astype(np.float32)
    save_file({"emb": values, "one": values[7].copy()}, tmp_path / "two.safetensors")
    save_file({"a#b": values, "<c:d>#0": values[9].copy()}, tmp_path / "marks.safetensors")
    save_file({"only": values.astype(np.float16)}, tmp_path / "only.safetensors")
    np.save(tmp_path / "rows.npy", values)
    return tmp_path


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("two.safetensors:emb#3", [3]),
        ("two.safetensors:emb#5..7", [5, 6, 7]),
        ("two.safetensors:one", [7]),
        ("two.safetensors:one#0", [7]),
        ("only.safetensors#1e1", [10]),
        ("only.safetensors:only#11", [11]),
        ("rows.npy#4..5", [4, 5]),
        ("marks.safetensors:a#b#6", [6]),
        ("marks.safetensors:<c:d>#0", [9]),
    ],
)
def test_rows_of_a_file_are_queries(run: Program, rows: Path, named: str, expected: list[int]) -> None:
    answer = run(
        "neighbors", "--vector", f"{rows}/{named}", "-k", "1", "-m", "small/", "--metric", "euclidean", "--json"
    )
    assert [query["neighbors"][0]["id"] for query in answer.ok().document["queries"]] == expected


def test_all_rows_of_a_file_are_queries_without_a_number(run: Program, rows: Path) -> None:
    answer = run("neighbors", "--vector", f"{rows}/only.safetensors", "-k", "1", "-m", "small/", "--json").ok()
    named = [query["query"] for query in answer.document["queries"]]
    assert named == [f"only#{row}" for row in range(len(table("input")))]


def test_a_row_of_a_file_is_turned(run: Program, rows: Path) -> None:
    wanted = table("input")[3].astype(np.float32)
    answer = run("rope", "--dim", str(len(wanted)), "--pos", "0", "--vector", f"{rows}/two.safetensors:emb#3", "--json")
    (place,) = answer.ok().document["layers"][0]["positions"]
    np.testing.assert_allclose(place["vector"], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("named", "status", "words"),
    [
        ("two.safetensors", 3, "which one"),
        ("two.safetensors:none#3", 3, "none"),
        ("two.safetensors:emb#100000", 3, "no row 100000 in emb of "),
        ("two.safetensors:emb#x", 3, "#x names no rows of emb of "),
        ("two.safetensors:emb#2..1", 3, "#2..1 names no rows of emb of "),
        ("two.safetensors:emb#-1", 3, "#-1 names no rows of emb of "),
        ("rows.npy#x", 3, "rows.npy"),
        ("two.safetensors:emb#0..99999", 2, "10,000"),
        ("rows.npy#100000", 3, "100000"),
        ("none.npy#3", 3, "none.npy"),
        ("none.safetensors:x", 3, "none.safetensors"),
    ],
)
def test_what_is_not_there_is_refused(run: Program, rows: Path, named: str, status: int, words: str) -> None:
    run("neighbors", "--vector", f"{rows}/{named}", "-m", "small/").refused(status, words)


def test_a_pickle_is_refused_by_name_and_by_content(run: Program, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "sprung",))

    for name in ("x.pt", "x.pth", "x.bin", "x"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap(), protocol=4))
        run("neighbors", "--vector", tmp_path / name, "-m", "small/").refused(6, "never loads")
    run("rope", "--dim", "4", "--pos", "1", "--vector", tmp_path / "x.pt").refused(6, "never loads")
    assert not (tmp_path / "sprung").exists()


def test_numbers_that_are_not_finite_are_refused(run: Program, tmp_path: Path) -> None:
    values = table("input").astype(np.float32)
    values[2, 0] = np.nan
    save_file({"emb": values}, tmp_path / "nan.safetensors")
    run("neighbors", "--vector", f"{tmp_path}/nan.safetensors#1..4", "-m", "small/").refused(6, "row 2 of emb", "NaN")
    run("neighbors", "--vector", f"{tmp_path}/nan.safetensors#3", "-m", "small/").ok()


def test_a_batch_of_one_is_what_is_in_it(run: Program, tmp_path: Path) -> None:
    values = table("input").astype(np.float32)[5:8]
    save_file({"prompt": values[None], "other": values[:2].copy()}, tmp_path / "x.safetensors")
    np.save(tmp_path / "x.npy", values[None])
    for named in ("x.safetensors:prompt", "x.npy"):
        answer = run("neighbors", "--vector", f"{tmp_path}/{named}", "-k", "1", "-m", "small/", "--json").ok()
        assert [query["neighbors"][0]["id"] for query in answer.document["queries"]] == [5, 6, 7]
    refused = run("neighbors", "--vector", f"{tmp_path}/x.safetensors:none", "-m", "small/")
    refused.refused(3, "no tensor none", "other, prompt")


def test_vectors_of_a_file_in_python(rows: Path) -> None:
    found = embtool.read_vectors(f"{rows}/two.safetensors:emb#5..6")
    assert [each.name for each in found] == ["emb#5", "emb#6"]
    np.testing.assert_array_equal(found[1].values, table("input")[6].astype(np.float32))
    assert [each.name for each in embtool.read_vectors(rows / "rows.npy")][:2] == ["vector 0", "vector 1"]
    with pytest.raises(EmbtoolError, match="no such file"):
        embtool.read_vectors(rows / "nowhere.npy")
    (rows / "x.pt").write_bytes(b"")
    with pytest.raises(EmbtoolError, match="pickle"):
        embtool.read_vectors(rows / "x.pt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n1_0 2\n", "line 2 of x.tsv: field 1, '1_0', is not a decimal number"),
        ("0x1p3 2\n", "line 1 of x.tsv: field 1, '0x1p3', is not a decimal number"),
        ("\uff11 2\n", "field 1, '\uff11', is not a decimal number"),
        ("1,5 2,5\n", "field 2, '5 2', is not a decimal number"),
        ("1,,3\n", "field 2 is empty"),
        ("1\t\t3\n", "field 2 is empty"),
        ("1 2\n\nnan 2\n", "line 3 of x.tsv: field 1, 'nan', is NaN or infinity"),
        ("1e999 2\n", "field 1, '1e999', is NaN or infinity"),
        ("query\tv0\tv1\nking\t1\t2_0\n", "line 2 of x.tsv: field 3, '2_0', is not a decimal number"),
        ("v0\tv1\n1\n", "line 2 of x.tsv has 1 cell"),
    ],
)
def test_what_is_no_decimal_number_is_named_by_line_and_field(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.tsv").write_text(text, "utf-8")
    with pytest.raises(EmbtoolError) as told:
        embtool.read_vectors(tmp_path / "x.tsv")
    assert words in told.value.message.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("text", ["1 2.5 -3e0\n", "1, 2.5, -3\n", "1,2.5,-3\n", "1\t2.5\t-3\n", "  1  2.5 -3  \r\n"])
def test_numbers_stand_between_tabs_commas_or_spaces(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.tsv").write_text(text, "utf-8")
    assert [each.values.tolist() for each in embtool.read_vectors(tmp_path / "x.tsv")] == [[1, 2.5, -3]]
