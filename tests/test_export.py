"""`embtool export`, its files read back by the tools they are for."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from program import Program
from safetensors.numpy import load_file
from small_models import (
    END_OF_TEXT,
    PADDING,
    bfloat16,
    config,
    float32,
    safetensors,
    table,
    texts,
    tokenizer_json,
    write_single,
)

from embtool.answers.text import unescape
from embtool.errors import LocalFailure
from embtool.model import open_model
from embtool.storage.replacing import whole
from embtool.tables.export import PROJECTOR_LIMIT, WRITERS

ROWS = len(texts()) + PADDING
INPUT = "model.embed_tokens.weight"
VALUES = table("input").astype(np.float32)

HOSTILE = {"\x1b[31m\u202e": True, "a b\u2003c\n": False, '"quoted",': False, " ": False, "tab\there\\": False}
"""Added tokens that would break a line, a cell or a label."""


def write_hostile(folder: Path) -> None:
    tokenizer = tokenizer_json({END_OF_TEXT: True, **HOSTILE})
    rows = len(texts()) + len(HOSTILE) + 2
    values = np.random.default_rng(0).standard_normal((rows, 4)).astype("<f4")
    write_single(
        folder, {INPUT: ("F32", values.shape, values.tobytes())}, config=config(vocab_size=rows), tokenizer=tokenizer
    )


def export(run: Program, path: Path, *arguments: str | Path, model: str | Path = "small/") -> list[str]:
    answer = run("export", model, "-o", path, *arguments).ok()
    assert answer.out == b""
    return answer.of("note")


def test_npy_opens_in_numpy_with_names_beside_it(run: Program, tmp_path: Path) -> None:
    notes = export(run, tmp_path / "x.npy")
    found = np.load(tmp_path / "x.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES)
    assert f"{ROWS} rows of 16 numbers from {INPUT}" in notes
    lines = (tmp_path / "x.tokens.tsv").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "id\tpiece\ttoken\tbytes\tcategory"
    assert len(lines) == ROWS + 2
    assert lines[1 + texts().index(" king")].split("\t")[1:3] == ["Ġking", " king"]
    assert lines[ROWS].split("\t") == [str(ROWS - 1), "", "", "", "padding"]


def test_npz_opens_in_numpy(run: Program, tmp_path: Path) -> None:
    export(run, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as archive:
        np.testing.assert_array_equal(archive["vectors"], VALUES)
        assert archive["ids"].tolist() == list(range(ROWS))
        assert archive["pieces"][texts().index(" king")].decode() == "Ġking"
        assert archive["pieces"][-1] == b""


def test_safetensors_keeps_the_stored_numbers(run: Program, tmp_path: Path) -> None:
    export(run, tmp_path / "x.safetensors", "--rows", "id:3..5", "--rows", "id:9")
    content = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header[INPUT]["dtype"] == "BF16"
    assert content[8 + length :] == bfloat16(table("input")[[3, 4, 5, 9]])
    assert json.loads(header["__metadata__"]["ids"]) == [[3, 5], [9, 9]]
    export(run, tmp_path / "y.safetensors", "--table", "wpe.weight", model="gpt2/")
    np.testing.assert_array_equal(load_file(tmp_path / "y.safetensors")["wpe.weight"], table("position", rows=32))


def test_an_exported_table_is_a_model_again(run: Program, tmp_path: Path) -> None:
    export(run, tmp_path / "x.safetensors", "--table", "output")
    document = run("diff", "small/", tmp_path / "x.safetensors", "--table", "output", "--json").ok().document
    assert document["rows"]["same"] == ROWS


def test_csv_opens_with_python(run: Program, tmp_path: Path) -> None:
    write_hostile(tmp_path / "model")
    export(run, tmp_path / "x.csv", model=tmp_path / "model")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    assert head[:5] == ["id", "piece", "token", "bytes", "category"]
    written = open_model(tmp_path / "model").input_table.rows(range(len(lines)))
    np.testing.assert_array_equal(np.array([line[5:] for line in lines], np.float32), written)
    pieces = [unescape(line[1]) for line in lines]
    assert pieces[len(texts()) : -2] == list(HOSTILE)
    assert "\x1b" not in (tmp_path / "x.csv").read_text(encoding="utf-8")


def test_word2vec_text_opens_in_gensim(run: Program, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models")
    write_hostile(tmp_path / "model")
    export(run, tmp_path / "x.w2v", model=tmp_path / "model")
    keyed = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "x.w2v"))
    written = open_model(tmp_path / "model").input_table.rows(range(len(keyed)))
    np.testing.assert_array_equal(keyed.vectors, written)
    assert len(set(keyed.index_to_key)) == len(written)
    np.testing.assert_array_equal(keyed["Ġking"], written[texts().index(" king")])
    assert keyed.index_to_key[-1] == f"id:{len(written) - 1}"
    assert not any(character.isspace() for key in keyed.index_to_key for character in key)


def labels_that_the_projector_keeps(content: str) -> list[list[str]]:
    """Read metadata as the projector does: lines that are blank, or blank but for tabs, are dropped."""
    lines = [line for line in content.split("\n") if line.strip()]
    return [line.split("\t") for line in lines]


def test_the_projector_keeps_every_label(run: Program, tmp_path: Path) -> None:
    write_hostile(tmp_path / "model")
    export(run, tmp_path / "x", "-f", "projector", model=tmp_path / "model")
    head, *labels = labels_that_the_projector_keeps((tmp_path / "x" / "metadata.tsv").read_text(encoding="utf-8"))
    tensors = (tmp_path / "x" / "tensors.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    assert head == ["token", "piece", "id", "category"]
    assert len(labels) == len(tensors)
    assert all(len(label) == 4 and all(cell.strip() for cell in label) for label in labels)
    assert [int(label[2]) for label in labels] == list(range(len(labels)))
    described = json.loads((tmp_path / "x" / "projector_config.json").read_text())["embeddings"][0]
    assert described["tensorShape"] == [len(tensors), 4]
    assert (tmp_path / "x" / described["tensorPath"]).is_file()
    assert (tmp_path / "x" / described["metadataPath"]).is_file()
    np.testing.assert_array_equal(
        np.array([line.split("\t") for line in tensors], np.float32),
        open_model(tmp_path / "model").input_table.rows(range(len(tensors))),
    )


def test_the_projector_has_a_limit(run: Program, tmp_path: Path) -> None:
    values = np.zeros((PROJECTOR_LIMIT + 1, 1), "<f4")
    (tmp_path / "m.safetensors").write_bytes(
        safetensors({"embed_tokens.weight": ("F32", values.shape, values.tobytes())})
    )
    arguments = ("export", tmp_path / "m.safetensors", "-f", "projector", "-o", tmp_path / "x")
    run(*arguments).refused(2, "--sample")
    run(*arguments, "--sample", "50").ok()
    ids = [line.split("\t")[2] for line in (tmp_path / "x" / "metadata.tsv").read_text().split("\n")[1:-1]]
    assert len(ids) == 50
    run(*arguments, "--sample", "50", "--force").ok()
    assert ids == [line.split("\t")[2] for line in (tmp_path / "x" / "metadata.tsv").read_text().split("\n")[1:-1]]


def test_parquet_opens_in_pyarrow_and_duckdb(run: Program, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_hostile(tmp_path / "model")
    export(run, tmp_path / "x.parquet", model=tmp_path / "model")
    found = parquet.read_table(tmp_path / "x.parquet")
    assert found.column_names == ["id", "piece", "token", "bytes", "category", "norm", "vector"]
    written = open_model(tmp_path / "model").input_table.rows(range(found.num_rows))
    np.testing.assert_array_equal(np.array(found["vector"].to_pylist(), np.float32), written)
    np.testing.assert_allclose(np.array(found["norm"].to_pylist()), np.linalg.norm(written, axis=1), rtol=1e-6)
    assert found["piece"].to_pylist()[len(texts()) : -2] == list(HOSTILE)
    assert found["bytes"].to_pylist()[texts().index(" king")] == b" king"
    assert found["piece"].to_pylist()[-1] is None
    duckdb = pytest.importorskip("duckdb")
    query = f"select id, token from '{tmp_path / 'x.parquet'}' where piece = 'Ġking'"  # noqa: S608 - of this test
    assert duckdb.sql(query).fetchall() == [(texts().index(" king"), " king")]


def test_parquet_holds_the_nearest_rows_as_embedding_atlas_reads_them(run: Program, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(run, tmp_path / "x.parquet", "--only", "^ ", "--neighbors", "4")
    found = parquet.read_table(tmp_path / "x.parquet")
    rows = np.array(found["vector"].to_pylist(), np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    far = 1 - (rows / np.where(lengths > 0, lengths, 1)) @ (rows / np.where(lengths > 0, lengths, 1)).T
    far[:, lengths[:, 0] == 0] = far[lengths[:, 0] == 0] = 2
    np.fill_diagonal(far, -1)
    for place, near in enumerate(found["neighbors"].to_pylist()):
        assert near["ids"][0] == place
        assert near["distances"][0] == 0
        assert len(set(near["ids"])) == len(near["ids"]) == 5
        np.testing.assert_allclose(near["distances"][1:], np.sort(far[place])[1:5], atol=1e-6)
        np.testing.assert_allclose(near["distances"][1:], far[place][near["ids"][1:]], atol=1e-6)
    run("export", "small/", "-o", tmp_path / "x.csv", "--neighbors", "4").refused(2, "Parquet")
    assert not (tmp_path / "x.csv").exists()
    export(run, tmp_path / "y.parquet", "--rows", "id:3..5", "--neighbors", "400")
    assert [len(near["ids"]) for near in parquet.read_table(tmp_path / "y.parquet")["neighbors"].to_pylist()] == [3] * 3


def test_a_row_with_one_number_that_is_not_finite_has_no_neighbours(run: Program, tmp_path: Path) -> None:
    """Nor is it one, but of rows that have no others; no list is shorter, since readers make a matrix of them."""
    parquet = pytest.importorskip("pyarrow.parquet")
    values = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    values[2, 0], values[4, 3] = np.inf, np.nan
    (tmp_path / "x.safetensors").write_bytes(safetensors({INPUT: ("F32", values.shape, values.tobytes())}))
    export(run, tmp_path / "x.parquet", "--neighbors", "3", model=tmp_path / "x.safetensors")
    near = parquet.read_table(tmp_path / "x.parquet")["neighbors"].to_pylist()
    assert [len(each["ids"]) for each in near] == [4] * 6
    for row in (2, 4):
        assert near[row]["distances"] == [0, 2, 2, 2]
    for row in (0, 1, 3, 5):
        assert not {2, 4} & set(near[row]["ids"])


def test_parquet_without_pyarrow_says_how_to_get_it(
    run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    run("export", "small/", "-o", tmp_path / "x.parquet").refused(7, "needs pyarrow", "pip install 'embtool[parquet]'")
    assert list(tmp_path.glob("*.parquet*")) == []


def test_rows_are_chosen(run: Program, tmp_path: Path) -> None:
    def ids(*arguments: str) -> list[int]:
        export(run, tmp_path / "x.npz", "--force", *arguments)
        with np.load(tmp_path / "x.npz") as archive:
            found: list[int] = archive["ids"].tolist()
            np.testing.assert_array_equal(archive["vectors"], VALUES[found])
            return found

    assert ids("--rows", " king", "--rows", "id:2") == [2, texts().index(" king")]
    assert ids("--only", "^ king$") == [texts().index(" king")]
    assert ids("--no-padding", "--no-special") == list(range(len(texts()) - 1))
    assert len(ids("--sample", "10")) == 10
    assert ids("--sample", "10") == ids("--sample", "10")


def test_chunks_make_no_difference(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(run, tmp_path / "one.csv")
    export(run, tmp_path / "one.npy")
    monkeypatch.setattr("embtool.tables.export.CHUNK_BYTES", 500)
    export(run, tmp_path / "two.csv")
    export(run, tmp_path / "two.npy")
    for suffix in ("csv", "npy", "tokens.tsv"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_position_tables_have_ids_for_names(run: Program, tmp_path: Path) -> None:
    export(run, tmp_path / "x.csv", "--table", "position", model="gpt2/")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[4][:5] == ["3", "", "", "", "row"]
    assert len(lines) == 33


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_is_left_where_writing_fails(
    run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    run("export", "small/", "-f", kind, "-o", tmp_path / "out" / "x").refused(7, "cannot write", "No space left")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def interrupt(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    (tmp_path / "x").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "x") as file:
        interrupt(file)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"before"
    with pytest.raises(LocalFailure, match="cannot write"), whole(tmp_path / "none" / "x"):
        pass


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("-o", "x.foo"), 2, "format is one of"),
        (("-o", "x", "-f", "nonsense"), 2, "not nonsense"),
        (("-o", "config.json", "-f", "npy"), 2, "there already"),
        (("-o", "x.npy", "--only", "no such token anywhere"), 2, "no row is left"),
        (("-o", "x.npy", "--only", "["), 2, "regular expression"),
        (("-o", "x.npy", "--rows", "id:99999"), 3, "no row 99999"),
        (("-o", "no/such/folder/x.npy"), 7, "cannot write"),
        ((), 2, "--output"),
    ],
)
def test_export_refuses(run: Program, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    folder: Any = tmp_path / "model"
    tensors = {INPUT: ("F32", (ROWS, 16), float32(table("input")))}
    write_single(folder, tensors, config=config(), tokenizer=tokenizer_json())
    Program(run.home, folder)("export", ".", *arguments).refused(status, words)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
