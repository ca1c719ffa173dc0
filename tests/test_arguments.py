"""What public functions are given: whatever it is, an answer comes back or an error of embtool's."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import WIDTH

import embtool
from embtool.answers import Answer
from embtool.arguments import checked
from embtool.errors import EmbtoolError, InvalidArgument
from embtool.positions import Rope

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    float("nan"),
    float("inf"),
    1j,
    "",
    "cos",
    "\ud800",
    "\0",
    b"x",
    [],
    [1],
    ["a"],
    [None],
    [[1, 2], [3]],
    range(3),
    {1: 2},
    object(),
    len,
    np.float32(2),
    np.int8(-1),
    np.array("x"),
    np.array(3),
    np.array([1, 2]),
    np.ones((2, WIDTH)),
    np.full(WIDTH, np.nan),
]


@pytest.fixture
def model(models: Path) -> embtool.Model:
    return embtool.open_model(models / "small")


def sensible(model: embtool.Model, name: str) -> Any:
    """Return what can be meant by an argument that has no default."""
    head = model.rope.settings.head_dim
    return {
        "a": model,
        "b": model,
        "table": model.input_table,
        "vectors": [np.ones(WIDTH)],
        "vector": np.ones(WIDTH),
        "query": "king",
        "token": "king",
        "key": "king",
        "text": "the king",
        "other": "a queen",
        "piece": "Ġking",
        "expression": "king - man + woman",
        "questions": ["a b c d"],
        "texts": ["a"],
        "data": b"a",
        "path": "x.npy",
        "m": 3,
        "n": 5,
        "most": 3,
        "ids": [1],
        "identity": 3,
        "place": 3,
        "position": 3,
        "x": np.ones(head),
        "name": "input",
        "layer_type": "x",
        "along": "king",
    }[name]


METHODS = [
    f"{kind.__name__}.{name}"
    for kind in (embtool.Model, embtool.EmbeddingTable, embtool.Vocabulary, Rope)
    for name, _ in inspect.getmembers(kind, inspect.isfunction)
    if (not name.startswith("_") or name == "__getitem__") and name != "close"
]
FUNCTIONS = ["diff", "compare_rope", "nearest", "open_model", "Filters", "Search"]


def public(model: embtool.Model, name: str) -> Callable[..., Any]:
    """Return a function that a program can call, or a method of a part of a model."""
    kind, _, method = name.rpartition(".")
    parts = {"Model": model, "EmbeddingTable": model.input_table, "Vocabulary": model.vocabulary, "Rope": model.rope}
    function: Callable[..., Any] = getattr(parts[kind] if kind else embtool, method)
    return function


@pytest.mark.parametrize("name", METHODS + FUNCTIONS)
@pytest.mark.few(15)
def test_whatever_is_given_there_is_an_answer_or_an_error_by_name(
    model: embtool.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    function = public(model, name)
    parameters = inspect.signature(function).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    given = {each.name: sensible(model, each.name) for each in needed}
    for parameter in parameters:
        for odd in ODD:
            rest = ("king", odd) if any(each.kind is each.VAR_POSITIONAL for each in parameters) else ()
            named = {} if parameter.kind is parameter.VAR_POSITIONAL else {parameter.name: odd}
            with contextlib.suppress(EmbtoolError):
                answer = function(*rest, **{**given, **named})
                if isinstance(answer, Answer) and not (isinstance(answer, Sequence) and len(answer) > 100):
                    assert answer.to_dict()
                    repr(answer)


WRONG: dict[str, Callable[[embtool.Model], Any]] = {
    "k is a whole number": lambda model: model.neighbors("king", k=2.5),  # type: ignore[arg-type]
    "k is at least 1": lambda model: embtool.nearest(model.input_table, np.ones(WIDTH), 0),
    "metric is one of": lambda model: embtool.nearest(model.input_table, np.ones(WIDTH), metric="cos"),  # type: ignore[arg-type]
    "a vector is an array of numbers": lambda model: embtool.nearest(model.input_table, "king"),  # type: ignore[arg-type]
    "allowed is a truth value": lambda model: embtool.nearest(
        model.input_table, np.ones(WIDTH), allowed=np.ones(3, np.bool_)
    ),
    "b is a Model, not None": lambda model: embtool.diff(model, None),  # type: ignore[arg-type]
    "each is a text or a whole number": lambda model: model.similarity("king", None),  # type: ignore[arg-type]
    "a position is finite": lambda model: model.rope.rotate(np.ones(model.rope.settings.head_dim), np.inf),
    "precision is one of": lambda model: model.rope.frequencies(precision="half"),  # type: ignore[arg-type]
    "exact is True or False": lambda model: model.row("king", exact="yes"),  # type: ignore[arg-type]
    "percent is a number": lambda model: model.undertrained(percent=float("inf")),
    "a list of token ids": lambda model: model.input_table.rows("12"),  # type: ignore[arg-type]
    "a token id is a whole number": lambda model: model.input_table.rows([1.0]),  # type: ignore[list-item]
    "only is a text": lambda _: embtool.Filters(only=3),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("words", WRONG)
def test_what_makes_no_sense_is_a_value_error_of_embtools_own(model: embtool.Model, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        WRONG[words](model)
    assert isinstance(caught.value, ValueError)


def test_whole_numbers_of_numpy_are_whole_numbers(model: embtool.Model) -> None:
    assert model.row(np.int64(5)).to_dict() == model.row(5).to_dict()  # type: ignore[arg-type]
    assert len(model.neighbors("king", k=np.int8(3))) == 3  # type: ignore[arg-type]
    assert model.neighbors(np.int64(5), k=3).to_dict() == model.neighbors(5, k=3).to_dict()  # type: ignore[arg-type]


def test_an_annotation_that_is_not_understood_is_an_error_of_the_first_call() -> None:
    @checked
    def odd(value: lambda: 3) -> None:  # type: ignore[valid-type]
        del value

    with pytest.raises(TypeError, match="no annotation"):
        odd(3)
