from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from program import Program
from small_models import WIDTH, bfloat16, config, table, texts, tokenizer_json, write_single

from embtool.answers.text import unescape

KING = texts().index(" king")


def test_the_keys_of_the_contract(run: Program) -> None:
    document = run("row", "king", "-m", "small/", "--json").ok().document
    assert {key: document[key] for key in ("schema", "model", "table", "tensor", "dtype")} == {
        "schema": "embtool/row@1",
        "model": "small/",
        "table": "input",
        "tensor": "model.embed_tokens.weight",
        "dtype": "BF16",
    }
    (row,) = document["rows"]
    assert (row["query"], row["id"], row["piece"], row["token"], row["bytes"]) == (
        "king",
        KING,
        "Ġking",
        " king",
        "206b696e67",
    )
    assert row["values"] == table("input")[KING].tolist()
    assert row["norm"] == pytest.approx(np.linalg.norm(table("input")[KING]))


def test_every_machine_format_is_whole(run: Program) -> None:
    expected = table("input")[[KING, 0]]
    arguments = ("row", "king", "!", "-m", "small/")
    assert np.array_equal([record["values"] for record in run(*arguments, "--jsonl").ok().records], expected)
    head, *lines = run(*arguments, "--tsv").ok().cells
    assert head[6:] == [f"v{place}" for place in range(WIDTH)]
    assert np.array_equal([[float(cell) for cell in line[6:]] for line in lines], expected)
    assert [unescape(line[3]) for line in lines] == [" king", "!"]
    text = run(*arguments, "--csv", "--no-header").ok().text
    assert np.array_equal([[float(cell) for cell in line.split(",")[6:]] for line in text.splitlines()], expected)


def test_binary_formats(run: Program, tmp_path: Path) -> None:
    expected = table("input")[[3, 4]].astype("<f4")
    assert run("row", "id:3..4", "-m", "small/", "--raw").ok().out == expected.tobytes()
    run("row", "id:3..4", "-m", "small/", "--npy", tmp_path / "x.npy").ok()
    assert np.array_equal(np.load(tmp_path / "x.npy"), expected)
    piped = np.load(io.BytesIO(run("row", "id:3..4", "-m", "small/", "--npy", "-").ok().out))
    assert piped.dtype == np.float32
    assert np.array_equal(piped, expected)


def test_a_failed_run_leaves_no_file(run: Program, tmp_path: Path) -> None:
    run("row", "queenx", "-m", "small/", "--npy", tmp_path / "x.npy").refused(3)
    assert not (tmp_path / "x.npy").exists()


def test_the_other_tables(run: Program) -> None:
    output = run("row", "id:7", "--table", "output", "-m", "small/", "--json").ok().document
    assert output["rows"][0]["values"] == table("output")[7].tolist()
    same = run("row", "id:7", "--table", "lm_head.weight", "-m", "small/", "--json").ok().document
    assert same["rows"] == output["rows"]
    tied = run("row", "id:7", "--table", "output", "-m", "tied/", "--json").ok()
    assert tied.document["rows"][0]["values"] == table("input")[7].tolist()
    assert "one table" in tied.of("note")[0]
    position = run("row", "id:7", "--table", "position", "-m", "gpt2/", "--json").ok().document
    assert position["rows"][0]["values"] == table("position")[7].tolist()


def test_a_row_of_the_position_table_is_no_token(run: Program) -> None:
    (row,) = run("row", "id:7", "--table", "position", "-m", "gpt2/", "--json").ok().document["rows"]
    assert [row[key] for key in ("id", "piece", "token", "bytes")] == [7, None, None, None]


def test_pools(run: Program) -> None:
    parts = table("input")[[texts().index(" king"), 0]]
    for how, expected in {"mean": parts.mean(0), "sum": parts.sum(0), "first": parts[0], "last": parts[1]}.items():
        answer = run("row", " king!", "--pool", how, "-m", "small/", "--json").ok()
        (row,) = answer.document["rows"]
        assert row["values"] == expected.tolist()
        assert row["id"] is None
        assert "2 tokens" in answer.of("note")[0]
    (ranged,) = run("row", "id:0..3", "--pool", "sum", "-m", "small/", "--json").ok().document["rows"]
    assert ranged["values"] == table("input")[:4].sum(0).tolist()
    (single,) = run("row", "king", "--pool", "sum", "-m", "small/", "--json").ok().document["rows"]
    assert single["id"] == KING


def test_padding_rows_and_models_without_a_tokenizer(run: Program) -> None:
    for model in ("small/", "bare/"):
        (row,) = run("row", "id:325", "-m", model, "--json").ok().document["rows"]
        assert [row[key] for key in ("id", "piece", "token", "bytes")] == [325, None, None, None]
    assert "no token" in run("row", "id:325", "-m", "small/", "-f", "table").ok().text


def test_a_person_sees_something(run: Program) -> None:
    text = run("row", "king", "-m", "small/", "-f", "table").ok().text
    for word in ("␣king", "row 289", "norm", "3.6197", "326 rows", "…", "█"):
        assert word in text


def test_numbers_that_are_not_finite(run: Program, tmp_path: Path) -> None:
    values = table("input").astype("<f4")
    values[5, 2], values[5, 3], values[6] = np.nan, -np.inf, np.inf
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, values.tobytes())}
    write_single(tmp_path / "m", tensors, config=config(), tokenizer=tokenizer_json())
    arguments = ("row", "id:5..6", "-m", tmp_path / "m")
    rows = run(*arguments, "--json").ok().document["rows"]
    assert rows[0]["values"][2:4] == [None, None]
    assert [row["norm"] for row in rows] == [None, None]
    assert run(*arguments, "--tsv").ok().cells[1][8:10] == ["", ""]
    assert "2 of 16 numbers are NaN or infinite" in run(*arguments, "-f", "table").ok().text
    raw = np.frombuffer(run(*arguments, "--raw").ok().out, "<f4").reshape(2, -1)
    assert np.array_equal(raw, values[5:7], equal_nan=True)
    assert run("row", "id:5..6", "--pool", "mean", "-m", tmp_path / "m", "-f", "table").ok().of("warning") == []


def test_a_model_of_one_file_named_by_it(run: Program, tmp_path: Path) -> None:
    values = table("input")
    tensors = {"model.embed_tokens.weight": ("BF16", values.shape, bfloat16(values))}
    write_single(tmp_path / "m", tensors, tokenizer=tokenizer_json())
    (row,) = run("row", "king", "-m", tmp_path / "m" / "model.safetensors", "--json").ok().document["rows"]
    assert row["id"] == KING
