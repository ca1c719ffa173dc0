"""`--explain`: what was computed, the formula, and a command to try next, which runs."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from program import Answer, Program
from small_models import bfloat16, config, float32, table, tokenizer_json, write_single

CASES: dict[str, tuple[list[str], str]] = {
    "info": (["info", "small/"], "norms -m small/"),
    "info-two": (["info", "missing/", "gpt2/"], "norms -m gpt2/"),
    "info-config": (["info", "only-config/"], "rope -m only-config/"),
    "info-tokenizer": (["info", "only-tokenizer/"], "tokens hello -m only-tokenizer/"),
    "row": (["row", "strawberry", "-m", "small/"], "neighbors strawberry -m small/"),
    "row-output": (["row", " king", "--table", "output", "-m", "small/"], 'neighbors " king" --table output -m small/'),
    "row-position": (["row", "id:3", "--table", "position", "-m", "gpt2/"], "neighbors id:3 --table position"),
    "row-range": (["row", "id:3..5", "-m", "small/"], "neighbors id:3 -m small/"),
    "row-pooled": (["row", " king queen", "--pool", "mean", "-m", "small/"], "neighbors id:"),
    "row-zero": (["row", "!", "-m", "small/"], "neighbors '!' -m small/"),
    "neighbors": (["neighbors", "king", "-m", "small/"], "neighbors king --center -m small/"),
    "neighbors-dot": (["neighbors", "king", "--metric", "dot", "-m", "small/"], "neighbors king --center"),
    "neighbors-centered": (["neighbors", "king", "--center", "-m", "small/"], "neighbors king --metric dot"),
    "rope": (["rope", "-m", "small/"], "rope --pos 1000 -m small/"),
    "rope-pos": (["rope", "--pos", "5", "-m", "small/"], "rope --relative 7 3 -m small/"),
    "rope-token": (["rope", "small/", "--token", " king", "--pos", "5"], "rope --relative 7 3 -m small/"),
    "rope-relative": (["rope", "--relative", "9", "2", "-m", "small/"], "rope --pos 1000 -m small/"),
    "rope-typed": (["rope", "--theta", "500000", "--dim", "8", "--pos", "4"], "--theta 500000.0 --dim 8"),
    "rope-compare": (["rope", "compare", "small/", "tied/"], "rope --pos 1000 -m small/"),
    "input": (["input", " king queen", "-m", "gpt2/"], 'input " king queen" --against " queen king" -m gpt2/'),
    "input-rope": (["input", "king", "-m", "small/"], "rope --pos 1000 -m small/"),
    "input-against": (["input", "king", "--against", "berry", "-m", "gpt2/"], "info gpt2/"),
    "input-types": (["input", "king", "-m", "bert/"], "info bert/"),
    "similarity": (["similarity", "king", "queen", "-m", "small/"], "neighbors king -m small/"),
    "similarity-odd": (["similarity", "king", "queen", "cherry", "-m", "small/"], "neighbors king -m small/"),
    "similarity-along": (["similarity", "king", "--along", "queen", "-m", "small/"], "neighbors king -m small/"),
    "similarity-pooled": (["similarity", " king queen", "king", "--pool", "sum", "-m", "small/"], "neighbors id:"),
    "calc": (["calc", "king", "-", "cherry", "-m", "small/"], "calc id:289 - id:280 --include-inputs -m small/"),
    "calc-inputs": (["calc", "king", "-", "cherry", "--include-inputs", "-m", "small/"], "--no-normalize -m small/"),
    "map": (["map", "king", "queen", "cherry", "-m", "small/"], "similarity id:"),
    "map-one": (["map", "king", "--neighbors", "3", "-m", "small/"], "neighbors king -m small/"),
    "norms": (["norms", "small/"], "neighbors id:0 --center -m small/"),
    "norms-token": (["norms", "small/", "--token", "king"], "neighbors king --center -m small/"),
    "diff": (["diff", "tied/", "tuned/"], "neighbors id:"),
    "diff-none": (["diff", "tied/", "tied/"], "info tied/ tied/"),
    "tokens": (["tokens", "king", "-m", "small/"], "row id:"),
    "tokens-two": (["tokens", "king", "queen", "-m", "small/"], "vocab --counts -m small/"),
    "tokens-only": (["tokens", "king", "-m", "only-tokenizer/"], "vocab --counts -m only-tokenizer/"),
    "undertrained": (["undertrained", "-m", "small/"], "row id:"),
    "undertrained-none": (["undertrained", "--percent", "0", "-m", "small/"], "norms -m small/"),
}


EVERY = [case for case in CASES if "-" not in case or case == "rope-pos"]
"""A case of each command."""


def follow(answer: Answer) -> str:
    (line,) = [line for line in answer.of("note") if line.startswith("try next: embtool ")]
    return line.removeprefix("try next: embtool ").rpartition(" (")[0]


@pytest.mark.parametrize("case", CASES)
def test_what_is_tried_next_runs(case: str, run: Program) -> None:
    arguments, expected = CASES[case]
    answer = run(*arguments, "--explain", "--json")
    assert answer.status in (0, 3)
    assert expected in follow(answer)
    run(*shlex.split(follow(answer)), "--json").ok()


@pytest.mark.parametrize("case", EVERY)
@pytest.mark.parametrize("form", ["json", "jsonl", "tsv", "csv"])
@pytest.mark.few(34)
def test_machine_formats_hold_the_result_and_nothing_else(case: str, form: str, run: Program) -> None:
    arguments, _ = CASES[case]
    plain, explained = (run(*arguments, *more, "-f", form).ok() for more in ((), ("--explain",)))
    assert explained.out == plain.out
    said = [line.partition(":")[0] for line in explained.of("note")[-3:]]
    assert said == ["computed", "formula", "try next"]


@pytest.mark.parametrize("case", EVERY)
def test_a_table_is_followed_by_its_explanation(case: str, run: Program) -> None:
    arguments, expected = CASES[case]
    plain, explained = (run(*arguments, *more, "-f", "table").ok() for more in ((), ("--explain",)))
    assert explained.text.startswith(plain.text)
    below = explained.text.removeprefix(plain.text)
    assert [line for line in below.splitlines() if line and line[0] != " "] == [
        "what was computed",
        "formula",
        "try next",
    ]
    assert f"$ embtool {expected}" in below
    assert explained.errors == plain.errors


def test_numbers_on_stdout_stay_numbers(run: Program) -> None:
    plain, explained = (run("row", "king", "--raw", *more, "-m", "small/").ok() for more in ((), ("--explain",)))
    assert explained.out == plain.out
    assert "computed: " in explained.errors


def test_the_way_to_the_model_is_repeated(run: Program) -> None:
    assert "--offline" in follow(run("row", "king", "--offline", "--explain", "--json", "-m", "small/").ok())


def test_the_formula_is_that_of_the_model(run: Program) -> None:
    def formula(*arguments: str) -> str:
        answer = run(*arguments, "--explain", "--json").ok()
        return next(line for line in answer.of("note") if line.startswith("formula: "))

    assert formula("input", "king", "-m", "gpt2/").endswith("table[id] + positions[p]")
    assert formula("input", "king", "-m", "bert/").endswith("table[id] + positions[p] + types[0]")
    assert formula("input", "king", "-m", "small/").endswith("input = table[id]")
    assert "‖a - b‖" in formula("neighbors", "king", "--metric", "euclidean", "-m", "small/")
    assert "reference rows" in formula("undertrained", "--indicator", "distance", "-m", "small/")


def test_a_row_that_is_not_finite_leads_elsewhere(tmp_path: Path, run: Program) -> None:
    rows = table("input").astype(np.float32)
    rows[5, 0] = np.nan
    tensors = {"model.embed_tokens.weight": ("F32", rows.shape, float32(rows))}
    write_single(tmp_path / "nan", tensors, config=config(), tokenizer=tokenizer_json())
    answer = run("row", "id:5", "--explain", "--json", "-m", tmp_path / "nan").ok()
    assert follow(answer).startswith("norms ")
    run(*shlex.split(follow(answer)), "--json").ok()


def test_lines_of_stdin_are_explained_once(run: Program) -> None:
    answer = run("row", "--explain", "--json", "-m", "small/", stdin=b"nonsense\nking\n")
    assert answer.status == 3
    assert follow(answer) == "neighbors king -m small/"


def test_names_of_strangers_are_escaped(tmp_path: Path, run: Program) -> None:
    tensors = {"model.embed_tokens.weight": ("BF16", table("input").shape, bfloat16(table("input")))}
    write_single(tmp_path / "\x1b[31mred", tensors, config=config(), tokenizer=tokenizer_json())
    for form in ("table", "tsv"):
        answer = run("row", "king", "--explain", "-f", form, "-m", tmp_path / "\x1b[31mred").ok()
        assert "\x1b" not in answer.text + answer.errors


def test_an_analogy_test_is_explained(run: Program, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("king queen cherry strawberry\n", encoding="utf-8")
    answer = run("calc", "--questions", tmp_path / "q.txt", "-m", "small/", "--explain", "--json").ok()
    assert f"calc --questions {tmp_path / 'q.txt'} --each -m small/" in follow(answer)
    run(*shlex.split(follow(answer)), "--json").ok()
    lines = run("calc", "-", "-m", "small/", "--explain", "--json", stdin=b"nonsense + x\nking - queen\n")
    assert lines.status == 3
    assert follow(lines) == "norms -m small/"
