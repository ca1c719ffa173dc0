"""Answers travel: they pickle small, turn into flat records and into Arrow, and mean the same where they arrive."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_models import KINDS
from test_library import WALK

import embtool
from embtool import Answer
from embtool.answers import Card, Listing, plain
from embtool.answers.arrow import columns_of, fitted, schema_of, table_of
from embtool.cli.schema import kinds_of
from embtool.errors import EmbtoolError, InvalidArgument
from embtool.questions import ANSWERS
from embtool.questions.check import CheckAnswer, explain_rule, list_rules
from embtool.questions.norms import ask_row_norms

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SUMMED_UP = {"CheckAnswer", "RuleAnswer", "InfoAnswer", "NormsAnswer", "UseAnswer", "RopeGolden"}
"""Kinds of answer that are one thing, or have one record that sums them up."""


@pytest.fixture(scope="module")
def answers(models: Path) -> list[Answer]:
    """An answer of every kind that the library gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(models)
        pair = embtool.open_model(str(models / "small")), embtool.open_model(str(models / "tuned"))
        found = [ask(*pair) for lines in WALK.values() for ask in lines.values()]
        norms = ask_row_norms(pair[0].token_table())
        return [
            *found,
            list_rules(),
            explain_rule("nonfinite-rows"),
            norms,
            pair[0].row(5),
            embtool.open_model().info(),
        ]


def sent(held: Any) -> Any:
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(held))  # noqa: S301 - its own


def scalars(held: object) -> Iterator[object]:
    yield from held if isinstance(held, list) else [held]


@pytest.mark.slow
def test_an_answer_arrives_as_it_left(answers: list[Answer]) -> None:
    for answer in answers:
        arrived = sent(answer)
        assert type(arrived) is type(answer)
        for shown in (Answer.to_dict, type(answer).to_records, repr, type(answer)._repr_html_):
            assert shown(arrived) == shown(answer), answer
        if isinstance(answer, Card | CheckAnswer):
            assert arrived.to_record() == answer.to_record()
        assert (arrived.notes, arrived.warnings) == (answer.notes, answer.warnings)


@pytest.mark.slow
def test_a_pickle_is_about_as_large_as_the_document(answers: list[Answer]) -> None:
    mini = embtool.open_model()
    of_32000_rows = [
        mini.norms(),
        mini.row("king"),
        embtool.diff(mini, mini),
        mini.info(),
        mini.check(),
        mini.input("king"),
    ]
    for answer in (*answers, *of_32000_rows):
        printed = max(len(json.dumps(answer.to_dict())), len(json.dumps(plain(answer.to_records()))))
        assert len(pickle.dumps(answer)) < 2 * printed + 2000, type(answer)


def test_what_stayed_says_so(answers: list[Answer]) -> None:
    (norms,) = [answer for answer in answers if type(answer).__name__ == "NormsAnswer"][:1]
    assert norms.statistics.norms.shape  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="statistics of NormsAnswer is as large as a table, and stayed"):
        _ = sent(norms).statistics
    with pytest.raises(AttributeError, match="nothing of NormsAnswer does not exist"):
        _ = norms.nothing  # type: ignore[attr-defined]
    assert not hasattr(norms, "__array__")


def test_records_are_flat(answers: list[Answer]) -> None:
    for answer in answers:
        records = answer.to_records()
        records += [answer.to_record()] if isinstance(answer, Card | CheckAnswer) else []
        for record in records:
            for held in record.values():
                for each in scalars(held):
                    assert each is None or type(each) in (bool, int, float, str), (answer, held)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_answers_about_models_of_every_kind_travel(models: Path, tmp_path: Path) -> None:
    """Of damaged models, too, with numbers that are not finite, and under a name that is no text."""
    travelled = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(models)
        for kind, write in KINDS.items():
            folder = tmp_path / f"{kind}-\udcff"
            write(folder)
            for ask in (ask for lines in WALK.values() for ask in lines.values()):
                with contextlib.suppress(EmbtoolError):
                    answer = ask(embtool.open_model(folder), embtool.open_model(folder))
                    travels(answer)
                    travelled += 1
    assert travelled > 10 * len(KINDS)


def travels(answer: Answer) -> None:
    """Hold that an answer means the same where it arrives, in JSON and in Parquet."""
    document, records = answer.to_dict(), answer.to_records()
    printed = [json.dumps(each, allow_nan=False) for each in (document, plain(records))]
    pickled = pickle.dumps(answer)
    assert len(pickled) < 2 * max(map(len, printed)) + 2000, answer
    arrived = pickle.loads(pickled)  # noqa: S301 - its own
    assert (arrived.to_dict(), arrived.to_records()) == (document, records)
    file = io.BytesIO()
    pq.write_table(answer.to_arrow(), file)
    back = pq.read_table(file)
    assert back.schema.equals(answer.to_arrow().schema)
    assert back.schema.metadata == answer.to_arrow().schema.metadata
    rows = [{key: fitted(each.get(key), back.schema.field(key).type) for key in back.column_names} for each in records]
    assert back.to_pylist() == rows
    for name, held in ((name, held) for row in records for name, held in row.items() if held is not None):
        assert fitted(held, back.schema.field(name).type) is not None, name


def test_the_records_of_a_listing_are_its_json_lines(answers: list[Answer]) -> None:
    for answer in answers:
        if isinstance(answer, Listing):
            assert answer.to_records() == list(answer.each_record())
        else:
            assert isinstance(answer, Card)
            assert answer.to_records() == [answer.to_record()]


def test_every_kind_of_answer_has_columns(answers: list[Answer]) -> None:
    kinds = {kind for command in ANSWERS for kind in kinds_of(command)}
    assert {type(answer) for answer in answers} <= kinds
    for kind in kinds:
        names = [column.key for column in columns_of(kind)]
        assert names
        assert len(set(names)) == len(names)
        if kind.__name__ in SUMMED_UP:
            assert columns_of(kind, summary=True)
        else:
            with pytest.raises(InvalidArgument, match="none that sums it up"):
                columns_of(kind, summary=True)


def test_arrow_holds_every_value(answers: list[Answer]) -> None:
    """What a table gives back is what the records say; a key that a record leaves out is null."""
    for answer in answers:
        for summary in (False, True):
            if summary and type(answer).__name__ not in SUMMED_UP:
                with pytest.raises(InvalidArgument):
                    answer.to_arrow(summary=True)
                with pytest.raises(InvalidArgument):
                    answer.to_record()
                continue
            table = answer.to_arrow(summary=summary)
            records = [answer.to_record()] if summary else answer.to_records()
            assert table.num_rows == len(records)
            back = table.to_pylist()
            for record, row in zip(records, back, strict=True):
                assert record.keys() <= row.keys(), answer
                for key, held in row.items():
                    text = table.schema.field(key).type == pa.string()
                    said = record.get(key)
                    assert held == (said if not text or said is None or isinstance(said, str) else json.dumps(said)), (
                        key
                    )


def test_the_schema_is_the_same_whatever_was_found(models: Path) -> None:
    """Nullable columns, a version, and the same types for an answer of nothing."""
    model = embtool.open_model(str(models / "small"))
    nothing, something = model.vocab("no such token at all"), model.vocab("kin")
    assert not len(nothing)
    assert nothing.to_arrow().schema.equals(something.to_arrow().schema, check_metadata=True)
    assert all(field.nullable for field in something.to_arrow().schema)
    metadata = model.check().to_arrow(summary=True).schema.metadata
    assert metadata[b"embtool:schema"] == b"embtool/check@1"
    assert metadata[b"embtool:records"] == b"record@1"
    assert metadata[b"embtool:version"].decode() == embtool.__version__
    assert model.check().to_arrow().schema.metadata[b"embtool:records"] == b"records@1"


def test_what_a_column_cannot_hold_is_null_and_loses_nothing_else() -> None:
    schema = pa.schema(
        [("n", pa.int64()), ("x", pa.float64()), ("b", pa.bool_()), ("t", pa.string()), ("l", pa.list_(pa.int64()))]
    )
    strange: list[dict[str, Any]] = [
        {"n": 10**30, "x": 10**400, "b": 1, "t": ["a", 1], "l": [1, 2**63, None]},
        {"n": "7", "x": "1", "b": "true", "t": "\ud800\x1b", "l": 5},
        {"n": True, "x": True, "b": True, "t": None, "l": []},
        {"n": -(2**63), "x": 3, "b": False, "t": "", "l": None},
    ]
    assert table_of(strange, schema).to_pylist() == [
        {"n": None, "x": None, "b": None, "t": '["a", 1]', "l": [1, None, None]},
        {"n": None, "x": None, "b": None, "t": "\\ud800\x1b", "l": None},
        {"n": None, "x": None, "b": True, "t": None, "l": []},
        {"n": -(2**63), "x": 3.0, "b": False, "t": "", "l": None},
    ]
    assert fitted(None, pa.string()) is None


def test_errors_stand_beside_answers() -> None:
    (info,) = kinds_of("info")
    schema = schema_of(info, summary=True, failures=True, asked="x")
    assert schema.names[-3:] == ["error", "hint", "status"]
    failure = {"model": "org/gone", "error": "no such repository", "hint": None, "status": 3}
    (row,) = table_of([failure], schema).to_pylist()
    assert {key: held for key, held in row.items() if held is not None} == {k: v for k, v in failure.items() if v}
    assert schema.metadata[b"asked"] == b"x"


def test_an_error_arrives_as_it_left() -> None:
    def kinds(kind: type[EmbtoolError]) -> Iterator[type[EmbtoolError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from kinds(each)

    for kind in kinds(EmbtoolError):
        error = kind("a message", hint="a hint")
        error.message = "changed"
        arrived = sent(error)
        assert (type(arrived), str(arrived), arrived.hint, arrived.exit_status) == (
            kind,
            "changed",
            "a hint",
            kind.exit_status,
        )


def test_numbers_of_a_row_travel_in_full(models: Path) -> None:
    model = embtool.open_model(str(models / "small"))
    (numbers,) = model.row("king").to_arrow().column("values").to_pylist()
    assert np.array_equal(numbers, model["king"])


def test_without_pyarrow_it_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(EmbtoolError, match="pyarrow, which is not installed") as caught:
        embtool.open_model(str(models / "small")).info().to_arrow()
    assert "embtool[parquet]" in str(caught.value.hint)
