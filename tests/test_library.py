"""Every command is a method of the library: its `to_dict()` is what the command prints by `--json`.

A command, or a kind of answer, that is added later and is not walked here fails.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from program import Program

import embtool
from embtool import Answer, Model
from embtool.answers import Listing
from embtool.cli import COMMANDS
from embtool.questions import ANSWERS
from embtool.questions.analogy import AnalogyAnswer

Call = Callable[[Model, Model], Answer]


def analogies(model: Model) -> AnalogyAnswer:
    lines = Path("questions.txt").read_text(encoding="utf-8").splitlines()
    return model.analogies(lines, file="questions.txt")


WALK: dict[str, dict[str, Call]] = {
    "calc": {
        "king - man + woman": lambda model, _: model.calc("king - man + woman"),
        "king - man -k 3 --metric dot --include-inputs": lambda model, _: model.calc(
            "king - man", 3, metric="dot", include_inputs=True
        ),
        "--questions questions.txt": lambda model, _: analogies(model),
        "--questions questions.txt --each": lambda model, _: analogies(model).each,
    },
    "check": {
        "A": lambda model, _: model.check(),
        "A --deep": lambda model, _: model.check(deep=True),
        "A --draft-for B": lambda model, other: model.check(draft_for=other),
    },
    "diff": {
        "A B": embtool.diff,
        "A B -k 2 --by id --rank cosine": lambda model, other: embtool.diff(model, other, k=2, by="id", rank="cosine"),
        "A B --vocab -k 2": lambda model, other: embtool.diff(model, other, k=2, vocab=True),
        "A B --neighbors 3 --max-error 0.5": lambda model, other: embtool.diff(
            model, other, neighbors=3, max_error=0.5
        ),
    },
    "info": {"A": lambda model, _: model.info()},
    "input": {
        "king*queen --start 2": lambda model, _: model.input("king queen", start=2),
        "king*queen --against queen*king": lambda model, _: model.compare_inputs("king queen", "queen king"),
    },
    "map": {"king queen cherry": lambda model, _: model.map("king", "queen", "cherry")},
    "neighbors": {
        "king": lambda model, _: model.neighbors("king"),
        "id:270 -k 3 --metric dot --center": lambda model, _: model.neighbors(270, 3, metric="dot", center=True),
    },
    "norms": {
        "": lambda model, _: model.norms(),
        "-k 3 --no-spectrum": lambda model, _: model.norms(k=3, spectrum=False),
    },
    "rope": {
        "": lambda model, _: model.rope_table(),
        "--pos 0 --pos 1000 --precision float32 --length 4000": lambda model, _: model.rope_table(
            [0, 1000], precision="float32", length=4000
        ),
        "--pos 0..1 --token *king --inverse": lambda model, _: model.rope_table(np.arange(2), [" king"], inverse=True),
        "--pos 3 --vector ones --layout interleaved": lambda model, _: model.rope_table(
            [3], vector="ones", layout="interleaved"
        ),
        "--relative 7 3": lambda model, _: model.rope_relative(7, 3),
        "--relative 7 3 --token king --token *queen": lambda model, _: model.rope_relative(7, 3, ["king", " queen"]),
        "compare A B": embtool.compare_rope,
        "--decay 0..16": lambda model, _: embtool.rope_decay(model, 16),
        "--golden -": lambda model, _: embtool.rope_golden(model),
        "--judge trace.json": lambda model, _: embtool.judge_rope(
            model, json.loads(Path("trace.json").read_text()), name="trace.json"
        ),
    },
    "row": {"king": lambda model, _: model.row("king"), "id:5": lambda model, _: model.row(5)},
    "similarity": {
        "king queen cherry": lambda model, _: model.similarity("king", "queen", "cherry"),
        "king cherry --along man --minus woman": lambda model, _: model.projections(
            "king", "cherry", along="man", minus="woman"
        ),
    },
    "tokens": {
        "king*queen": lambda model, _: model.tokens("king queen"),
        "king --special": lambda model, _: model.tokens("king", special=True),
    },
    "undertrained": {"": lambda model, _: model.undertrained()},
    "vocab": {
        "": lambda model, _: model.vocab(),
        "kin": lambda model, _: model.vocab("kin"),
        "--count questions.txt": lambda model, _: model.count("questions.txt"),
    },
}
"""Of each command, command lines (`*` is a blank inside of a word) and what the library is asked instead."""

OF_THE_PROGRAM = {"cache", "learn", "plan", "schema", "use"}
"""What is about the program or this machine, and no question about a model."""


ONLY_PRINTED = {
    "embtool.questions.check:RulesAnswer",  # what the rules are, whatever the model
    "embtool.questions.check:RuleAnswer",
    "embtool.questions.norms:TokenNormsAnswer",
    "embtool.questions.norms:RowNormsAnswer",  # `norms().statistics.norms`
    "embtool.questions.tokens:TextTokens",  # of several texts; a method takes one
    "embtool.questions.vocab:VocabCounts",
}
"""Kinds of answer that no method gives."""


@pytest.fixture
def opened(models: Path) -> tuple[Model, Model]:
    """Two models of one width, A and B on the command lines; new ones, since an answer may say what was read."""
    return embtool.open_model(str(models / "small")), embtool.open_model(str(models / "tuned"))


@pytest.fixture(autouse=True)
def _among_them(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)


def test_every_command_is_walked() -> None:
    assert WALK.keys() | OF_THE_PROGRAM == ANSWERS.keys()
    assert not WALK.keys() & OF_THE_PROGRAM
    assert COMMANDS.keys() - {"export", "view"} <= WALK.keys() | OF_THE_PROGRAM  # their methods write a file


@pytest.mark.parametrize(("command", "line"), [(command, line) for command, lines in WALK.items() for line in lines])
def test_the_library_answers_what_the_command_prints(
    run: Program, opened: tuple[Model, Model], command: str, line: str
) -> None:
    named = dict(zip("AB", (model.name for model in opened), strict=True))
    chosen = () if "A" in line.split() else ("-m", named["A"])
    words = [named.get(word, word).replace("*", " ") for word in line.split()]
    answer = WALK[command][line](*opened)
    assert answer.to_dict() == run(command, *words, *chosen, "--json").document
    if isinstance(answer, Listing):
        assert [*answer.to_records()] == run(command, *words, *chosen, "--jsonl").records


def test_every_kind_of_answer_is_among_them(opened: tuple[Model, Model]) -> None:
    found = {type(ask(*opened)) for lines in WALK.values() for ask in lines.values()}
    named = {f"{kind.__module__}:{kind.__name__}" for kind in found}
    assert named | ONLY_PRINTED == {kind for command in WALK for kind in ANSWERS[command]}
    assert not named & ONLY_PRINTED
