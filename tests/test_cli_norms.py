"""`embtool norms` and the statistics behind it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from program import Program
from small_models import PADDING, ZERO_ROW, safetensors, table, texts

from embtool.model import open_model
from embtool.tables.statistics import describe_table, extremes, standing, sum_up


def lengths() -> list[float]:
    found: list[float] = np.linalg.norm(table("input"), axis=1).tolist()
    return found


def test_the_statistics_are_those_of_numpy(run: Program) -> None:
    document = run("norms", "-m", "small/", "--json").ok().document
    assert document["schema"] == "embtool/norms@1"
    rows = table("input")
    norms = np.array(lengths())
    norm = document["norm"]
    assert norm["mean"] == pytest.approx(norms.mean())
    assert norm["deviation"] == pytest.approx(norms.std())
    assert norm["percentiles"]["75"] == pytest.approx(np.percentile(norms, 75))
    assert (norm["least"], norm["greatest"]) == (0, pytest.approx(norms.max()))
    assert document["mean_row"]["norm"] == pytest.approx(np.linalg.norm(rows.mean(axis=0)))
    centered = rows - rows.mean(axis=0)
    share = 1 - np.square(centered).sum() / np.square(rows).sum()
    assert document["mean_row"]["share"] == pytest.approx(share)
    units = rows[norms > 0] / norms[norms > 0][:, None]
    cosines = units @ units.T
    pairs = cosines[~np.eye(len(units), dtype=bool)]
    assert document["average_cosine"] == pytest.approx(pairs.mean(), abs=1e-6)
    variances = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    assert document["spectrum"]["effective_rank"] == pytest.approx(variances.sum() ** 2 / np.square(variances).sum())
    assert document["spectrum"]["shares"] == pytest.approx((variances[::-1] / variances.sum()).tolist(), abs=1e-6)
    assert document["zero"] == {"count": 1, "ids": [texts().index(ZERO_ROW)]}
    same = [place for place, text in enumerate(texts()) if text == "�"]
    assert document["duplicates"] == {"groups": 1, "rows": 128, "largest": [{"count": 128, "ids": same[:20]}]}


def test_the_shortest_and_longest_rows_are_named(run: Program) -> None:
    document = run("norms", "-m", "small/", "-k", "3", "--json").ok().document
    order = np.argsort(lengths(), kind="stable").tolist()
    assert [record["id"] for record in document["shortest"]] == order[:3]
    assert [record["id"] for record in document["longest"]] == order[::-1][:3]
    assert document["shortest"][0]["token"] == ZERO_ROW
    shown = run("norms", "-m", "small/", "-k", "3", "-f", "table").ok().text
    assert "1: ! id" in shown
    assert "█" in shown


def test_where_a_token_stands(run: Program) -> None:
    cells = run("norms", "small/", "--token", " king", "--token", "id:0").ok().cells
    assert cells[0] == ["query", "id", "piece", "token", "bytes", "norm", "percentile", "shorter"]
    norms = lengths()
    king = norms[texts().index(" king")]
    assert float(cells[1][5]) == pytest.approx(king, rel=1e-6)
    assert int(cells[1][7]) == sum(norm < king * (1 - 1e-6) for norm in norms)
    assert float(cells[1][6]) == pytest.approx(100 * int(cells[1][7]) / len(norms))


def test_every_row_can_be_listed(run: Program) -> None:
    records = run("norms", "--list", "-m", "small/", "--jsonl").ok().records
    assert [record["norm"] for record in records] == pytest.approx(lengths(), rel=1e-6, abs=1e-12)
    assert len(records) == len(texts()) + PADDING


def test_one_flat_line_of_tsv(run: Program) -> None:
    heads, values = run("norms", "-m", "small/", "--no-spectrum").ok().cells
    line = dict(zip(heads, values, strict=True))
    assert (line["rows"], line["width"], line["zero"]) == (str(len(lengths())), "16", "1")
    assert line["effective_rank"] == ""
    assert float(line["p50"]) == pytest.approx(np.median(lengths()))


def test_identical_and_broken_rows_are_counted(tmp_path: Path, run: Program) -> None:
    rows = np.random.default_rng(0).standard_normal((30, 4)).astype("<f4")
    rows[[3, 9, 12]] = rows[3]
    rows[[20, 21]] = rows[20]
    rows[5] = np.nan
    rows[[7, 8]] = 0
    (tmp_path / "x.safetensors").write_bytes(safetensors({"embed_tokens.weight": ("F32", rows.shape, rows.tobytes())}))
    document = run("norms", "-m", tmp_path / "x.safetensors", "--json").ok().document
    assert document["duplicates"]["largest"] == [{"count": 3, "ids": [3, 9, 12]}, {"count": 2, "ids": [20, 21]}]
    assert document["nonfinite"] == {"count": 1, "ids": [5]}
    assert document["zero"]["ids"] == [7, 8]
    shown = run("norms", "-m", tmp_path / "x.safetensors", "-f", "table").ok().text
    assert "5 rows in 2 groups" in shown


def test_a_table_without_a_finite_row(tmp_path: Path, run: Program) -> None:
    rows = np.full((3, 4), np.inf, "<f4")
    (tmp_path / "x.safetensors").write_bytes(safetensors({"embed_tokens.weight": ("F32", rows.shape, rows.tobytes())}))
    document = run("norms", "-m", tmp_path / "x.safetensors", "--json").ok().document
    assert (document["norm"], document["average_cosine"], document["spectrum"]) == (None, None, None)
    assert "no row is finite" in run("norms", "-m", tmp_path / "x.safetensors", "-f", "table").ok().text


def test_library_functions(small: Path) -> None:
    chosen = open_model(small).input_table
    with chosen.open() as reader:
        found = describe_table(chosen, reader, spectrum=False)
    assert found.effective_rank is None
    assert len(found.leading_shares) == 0
    assert sum_up(np.array([np.nan])) is None
    assert standing(np.nan, found.norms) is None
    shortest, longest = extremes(np.array([2.0, np.nan, 1, 2, 1]), 3)
    assert (shortest.tolist(), longest.tolist()) == ([2, 4, 0], [0, 3, 2])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [(("--token", "king", "--list"), 2, "name no tokens"), (("--token", "king queen", "--pool", "mean"), 2, "one row")],
)
def test_norms_refuses(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("norms", *arguments, "-m", "small/").refused(status, words)


def test_every_row_and_a_count_exclude_each_other(run: Program) -> None:
    run("norms", "small/", "--list", "-k", "2").refused(2, "leave out -k")
    assert len(run("norms", "small/", "--list").ok().cells) == 1 + 326


def test_the_shortest_and_longest_of_those_that_match(run: Program) -> None:
    listed = run("norms", "--list", "-m", "small/", "--jsonl").ok().records
    words = sorted((row["norm"], row["id"]) for row in listed if row["token"] and re.search("^ [a-z]", row["token"]))
    document = run("norms", "--only", "^ [a-z]", "-k", "3", "--no-spectrum", "-m", "small/", "--json").ok().document
    assert [row["id"] for row in document["shortest"]] == [row for _, row in words[:3]]
    assert document["chosen"]["rows"] == len(words)
    assert document["chosen"]["norm"]["greatest"] == words[-1][0]
    whole = run("norms", "--no-spectrum", "-m", "small/", "--json").ok().document
    assert document["norm"] == whole["norm"]
    assert "chosen" not in whole
    some = run("norms", "--list", "--only", "^ [a-z]", "-m", "small/", "--jsonl").ok().records
    assert sorted((row["norm"], row["id"]) for row in some) == words
    shown = run("norms", "--only", "^ [a-z]", "-m", "small/", "-f", "table").ok().text
    assert f"{len(words)} rows chosen" in shown


def test_rows_of_a_category(run: Program) -> None:
    for category in ("padding", "byte"):
        found = run("vocab", "--category", category, "-m", "small/", "--jsonl").ok().records
        listed = run("norms", "--list", "--category", category, "-m", "small/", "--jsonl").ok().records
        assert [row["id"] for row in listed] == [row["id"] for row in found]
        assert listed
    run("norms", "--only", "[", "-m", "small/").refused(2, "'[' is not a regular expression")
    shown = run("norms", "--only", "^no such$", "-m", "small/", "-f", "table").ok().text
    assert "no row matches" in shown
    assert "no row is finite" not in shown
    run("norms", "--only", "x", "-m", "bare/").refused(3, "tokenizer")
    run("norms", "--only", "x", "--token", "king", "-m", "small/").refused(2, "--only")
    assert run("norms", "--only", "^no such$", "-m", "small/", "--json").ok().document["chosen"] == {
        "rows": 0,
        "norm": None,
    }


def test_all_rows_is_about_the_spectrum_of_the_table(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    for others in (("--list",), ("--token", "king"), ("--no-spectrum",)):
        run("norms", "-m", "small/", "--all-rows", *others).refused(2, "--all-rows is about the spectrum")
    monkeypatch.setattr("embtool.tables.spectrum.SAMPLED_NUMBERS", 1)
    monkeypatch.setattr("embtool.tables.spectrum.HALF_BYTES", 1)
    sampled = run("norms", "-m", "small/", "--json").ok().document["spectrum"]
    every = run("norms", "-m", "small/", "--json", "--all-rows").ok().document["spectrum"]
    assert (sampled["sample"], sampled["exact"], len(sampled["share_errors"])) == (128, False, 16)
    assert (every["sample"], every["exact"], every["rank_error"], every["share_errors"]) == (None, True, None, None)
    assert abs(sampled["effective_rank"] - every["effective_rank"]) < 5 * sampled["rank_error"]
    assert b"from a sample of 128 rows" in run("norms", "-m", "small/", "-f", "table").ok().out
