"""`embtool input`, run as a person would."""

from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from program import Program
from small_models import table

from embtool import open_model
from embtool.answers.schema import schema_of
from embtool.errors import InvalidArgument
from embtool.questions.input import InputAnswer, InputComparison


def test_gpt2_adds_rows_for_positions(run: Program) -> None:
    document = run("input", "-m", "gpt2/", " king queen", "--json").ok().document
    assert document["schema"] == "embtool/input@1"
    assert (document["position_kind"], document["scale"]) == ("learned", 1.0)
    rows = document["rows"]
    assert [(row["position"], row["token"]) for row in rows] == [(0, " king"), (1, " queen")]
    expected = table("input", rows=rows[0]["id"] + 1)[rows[0]["id"]] + table("position", rows=32)[0]
    assert rows[0]["values"] == expected.tolist()
    assert rows[0]["norm"] == pytest.approx(np.linalg.norm(expected))
    assert rows[0]["position_norm"] == pytest.approx(np.linalg.norm(table("position", rows=32)[0]))
    assert -1 <= rows[0]["cosine"] <= 1


def test_rotary_models_read_rows_as_they_are_and_say_what_awaits_them(run: Program) -> None:
    answer = run("input", "-m", "small/", " king queen", "--json").ok()
    rows = answer.document["rows"]
    assert answer.document["position_kind"] == "rope"
    assert rows[1]["position_norm"] is None
    assert rows[1]["cosine"] == 1
    assert rows[1]["angle"] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert any("nothing is added" in line for line in answer.of("note"))


def test_tsv_holds_every_number(run: Program) -> None:
    head, *lines = run("input", "-m", "small/", " king queen").ok().cells
    assert head[:9] == ["position", "id", "piece", "token", "bytes", "token_norm", "position_norm", "norm", "cosine"]
    assert head[9:] == [f"v{i}" for i in range(16)]
    assert len(lines) == 2


def test_a_table_says_it_plainly(run: Program) -> None:
    shown = " ".join(run("input", "-m", "small/", " king queen", "-f", "table").ok().text.split())
    assert "the first block reads the rows as they are" in shown
    assert "→" in shown
    learned = run("input", "-m", "bert/", "king", "-f", "table").ok().text
    assert "row p of the position table is added for position p" in learned
    assert "row 0 of the token-type table" in learned
    assert "LayerNorm" in learned


def test_the_same_words_in_another_order(run: Program) -> None:
    answer = run("input", "-m", "gpt2/", "king queen", "--against", "queen king", "--json").ok()
    pairs = {pair["token"]: pair for pair in answer.document["pairs"]}
    king = pairs[" king"]
    assert (king["position"], king["position_against"]) == (0, 1)
    assert king["rows_equal"] is True
    assert king["inputs_equal"] is False
    assert king["distance"] > 0
    assert any("a space before them" in line for line in answer.of("note"))
    assert len(answer.document["rows"]) == len(answer.document["against"]["rows"]) == 2


def test_for_rotary_models_the_order_shows_in_the_angles(run: Program) -> None:
    document = run("input", "-m", "small/", " king queen", "--against", " queen king", "--json").ok().document
    assert all(pair["inputs_equal"] for pair in document["pairs"])
    shown = run("input", "-m", "small/", " king queen", "--against", " queen king", "-f", "table").ok().text
    assert "turned in A" in shown


def test_a_token_that_the_other_text_lacks_stands_alone(run: Program) -> None:
    document = run("input", "-m", "small/", " king queen", "--against", " king", "--json").ok().document
    alone = next(pair for pair in document["pairs"] if pair["piece"] == "Ġqueen")
    assert (alone["position"], alone["position_against"], alone["rows_equal"]) == (1, None, None)


def test_npy(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    assert run("input", "-m", "gpt2/", " king queen", "--npy", file).ok().out == b""
    rows = np.load(file)
    document = run("input", "-m", "gpt2/", " king queen", "--json").ok().document
    assert rows.dtype == np.float32
    assert rows.tolist() == [row["values"] for row in document["rows"]]


def test_stdin_start_and_jsonl(run: Program) -> None:
    records = run("input", "-m", "gpt2/", "-", "--start", "5", "--jsonl", stdin=b" king queen\n").ok().records
    assert [record["position"] for record in records] == [5, 6]
    assert records[0]["position_kind"] == "learned"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("-m", "gpt2/", ""), 2, "the text is empty"),
        (("-m", "gpt2/", " king", "--start", "32"), 3, "position 32 has no row in wpe.weight: it holds 32 positions"),
        (("-m", "bare/", "king"), 6, "config.json"),
        (("-m", "only-config/", "king"), 3, "only-config"),
        (("-m", "gpt2/", "king", "--against", "queen", "--npy", "x"), 2, "leave out --against"),
        (("-m", "gpt2/", "king", "--npy", "no-such-folder/x.npy"), 7, "cannot write"),
    ],
)
def test_refusals(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("input", *arguments).refused(status, words)


@pytest.mark.parametrize("name", ["small", "gpt2", "bert"])
def test_the_library_gives_the_documents_of_the_command(run: Program, models: Path, name: str) -> None:
    model = open_model(models / name)
    one, both = model.input(" king queen", start=2), model.compare_inputs("king queen", "queen king")
    answers = {
        (" king queen", "--start", "2"): one.to_dict(),
        ("king queen", "--against", "queen king"): both.to_dict(),
    }
    for arguments, document in answers.items():
        printed = run("input", "-m", f"{name}/", *arguments, "--json").ok().document
        assert {**document, "model": f"{name}/"} == printed
        Draft202012Validator(schema_of([InputAnswer, InputComparison], "input")).validate(printed)
    assert [token.values.tolist() for token in one] == [row["values"] for row in one.to_dict()["rows"]]
    assert one[0].position == 2


@pytest.mark.parametrize(("text", "start"), [("", 0), (" king", -1)])
def test_wrong_arguments(models: Path, text: str, start: int) -> None:
    with pytest.raises(InvalidArgument):
        open_model(models / "gpt2").input(text, start=start)


def test_a_first_word_that_is_split_otherwise_is_told(run: Program) -> None:
    told = "'pod' begins the text without a space before it, and is 2 tokens so; inside a text it is 1 token"
    bare = run("input", "pod restarts node", "-m", "mini", "-f", "table", env={"COLUMNS": "300"}).ok().text
    assert f'{told}: embtool input " pod restarts node"' in bare
    for text in (" pod restarts node", "the pod restarts", "king"):
        assert "begins the text" not in run("input", text, "-m", "mini", "-f", "table").ok().text
