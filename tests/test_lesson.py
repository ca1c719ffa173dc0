"""The lesson itself: what is asked fits the model, what is answered is what the ordinary commands say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import llama, vocabulary_of, write
from program import Program
from small_models import END_OF_TEXT, bfloat16, config, table, tokenizer_json, write_single

from embtool.answers.text import shell
from embtool.errors import FormatError
from embtool.lesson import (
    STEPS,
    Done,
    Outcome,
    Question,
    Subject,
    forget,
    judge,
    progress_file,
    read_progress,
    save_progress,
)
from embtool.lesson.parts import Kind, understood
from embtool.model import open_model
from embtool.questions.positions import in_words

MODELS = ("mini", "small/", "gpt2/", "bert/", "bare/")


def questions(subject: Subject) -> Iterator[tuple[int, Question, Outcome]]:
    for step in STEPS:
        for question in step.make(subject):
            yield step.number, question, question.find()


def subject(name: str, run: Program) -> Subject:
    return Subject(open_model(name if name == "mini" else run.folder / name.rstrip("/")))


def test_the_steps_are_numbered_and_named_apart() -> None:
    assert [step.number for step in STEPS] == list(range(1, 9))
    assert len({step.name for step in STEPS}) == 8
    assert [step.recall is None for step in STEPS] == [True] + [False] * 7


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.few(2)
def test_every_command_shown_runs(name: str, run: Program) -> None:
    document = run("learn", "--json", "-m", name).ok().document
    shown = {
        command for step in document["steps"] for question in step["questions"] for command in question["commands"]
    }
    assert len(shown) >= 7
    for command in sorted(shown):
        program, *arguments = shlex.split(command)
        assert program == "embtool"
        assert run(*arguments, "--json").ok().document["schema"].startswith("embtool/"), command


@pytest.mark.parametrize("name", MODELS)
def test_every_question_has_an_answer_of_its_kind(name: str, run: Program) -> None:
    for number, question, outcome in questions(subject(name, run)):
        assert question.commands, (number, question.ask)
        assert question.written(outcome)
        if question.kind is Kind.CHOICE:
            assert isinstance(outcome.answer, int)
            assert len(set(question.choices)) == len(question.choices) > outcome.answer
        elif question.kind is Kind.OPEN:
            assert isinstance(outcome.answer, str)
        else:
            assert isinstance(outcome.answer, int | float | str)


def found(run: Program, name: str, number: int) -> list[dict[str, Any]]:
    document = run("learn", str(number), "--json", "-m", name).ok().document
    (step,) = document["steps"]
    assert step["number"] == number
    entries: list[dict[str, Any]] = step["questions"]
    return entries


def asked(run: Program, command: str) -> Any:
    return run(*shlex.split(command)[1:], "--json").ok().document


@pytest.mark.parametrize("name", ["mini", "small/", "gpt2/"])
def test_the_answers_are_those_of_the_commands(name: str, run: Program) -> None:
    width, next_door = found(run, name, 1)
    assert width["answer"] == len(asked(run, width["commands"][0])["rows"][0]["values"])
    assert next_door["answer"] == pytest.approx(asked(run, next_door["commands"][0])["cosine"][0][1])

    nearest, together = found(run, name, 2)
    assert together["answer"] == pytest.approx(asked(run, together["commands"][0])["cosine"][0][1])
    cosines = asked(run, nearest["commands"][0])["cosine"][0][1:]
    assert nearest["answer"] == cosines.index(max(cosines))

    length, near = found(run, name, 3)
    assert length["answer"] == pytest.approx(asked(run, length["commands"][0])["rows"][1]["norm"])
    assert near["answer"] == pytest.approx(asked(run, near["commands"][0])["queries"][0]["neighbors"][0]["score"])

    shared, equal, *_ = found(run, name, 4)
    pairs = asked(run, shared["commands"][0])["pairs"]
    assert shared["answer"] == sum(pair["rows_equal"] is True for pair in pairs) == len(pairs)
    assert equal["answer"] >= sum(pair["inputs_equal"] is True for pair in pairs)
    assert (equal["answer"] == len(pairs)) == (name == "small/"), "only a learned table changes what is read"

    large, tied, *both = found(run, name, 5)
    info = asked(run, large["commands"][0])
    unit = {"GB": 1e9, "MB": 1e6, "kB": 1e3}[large["unit"]]
    if name == "mini":  # told on the settings of a large model
        assert large["answer"] * unit == info["by_config"]["bytes"] == 248_320 * 5_120 * 2
        assert both[0]["answer"] == pytest.approx(2 * large["answer"])
        assert tied["choices"][tied["answer"]] == "two tables"
        return
    assert large["answer"] * unit == pytest.approx(info["tables"][0]["bytes"])
    verdict = {"tied": 0, "untied": 1, "no output table": 2}[info["tied"]["verdict"]]
    assert tied["answer"] == verdict
    assert len(both) == (verdict == 1)


@pytest.mark.parametrize("name", ["mini", "small/", "gpt2/"])
def test_the_turns_are_those_of_rope(name: str, run: Program) -> None:
    *others, fast, slow, dot = found(run, name, 6)
    assert len(others) == 2, "what is added comes before what is turned, on every model"
    whose = {name if name == "small/" else "qwen3.6-settings"}
    assert {shlex.split(question["commands"][0])[-1] for question in (fast, slow, dot)} == whose
    records = run(*shlex.split(fast["commands"][0])[1:], "--jsonl").ok().records
    assert fast["answer"] == pytest.approx(records[0]["turns"])
    assert slow["answer"] == pytest.approx(records[-1]["turns"])
    dots = [record["dot"] for record in run(*shlex.split(dot["commands"][0])[1:], "--jsonl").ok().records]
    assert dots == pytest.approx([dots[0]] * len(dots))
    assert dot["choices"][dot["answer"]] == "stays"


def test_a_learned_table_is_asked_about(run: Program) -> None:
    rows, alike, *_ = found(run, "gpt2/", 6)
    document = asked(run, rows["commands"][0])
    assert rows["answer"] == next(entry["shape"][0] for entry in document["tables"] if entry["role"] == "position")
    assert alike["answer"] == pytest.approx(asked(run, alike["commands"][0])["cosine"][0][1])


def test_the_untrained_row_is_one_that_no_text_reads(run: Program) -> None:
    assert subject("gpt2/", run).untrained[1] is not None
    row, kind = subject("bare/", run).untrained
    assert kind is None
    norms = subject("bare/", run).norms
    assert norms[row] == norms[norms > 0].min()


def test_words_are_the_models_own_where_the_usual_ones_are_not_tokens(tmp_path: Path) -> None:
    document = tokenizer_json()
    document["model"]["vocab"] = {
        piece.replace("strawberr", "aaawberr").replace("king", "kkng").replace("pod", "ppd"): identity
        for piece, identity in document["model"]["vocab"].items()
    }
    document["model"]["merges"] = []
    tensors = {"model.embed_tokens.weight": ("BF16", table("input").shape, bfloat16(table("input")))}
    write_single(tmp_path / "own", tensors, config=config(tie_word_embeddings=True), tokenizer=document)
    other = Subject(open_model(tmp_path / "own"))
    row, others = other.company
    assert len({row, *others}) == 5
    for _, question, outcome in questions(other):
        assert question.written(outcome)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_type": "bloom", "n_head": 4}, "ALiBi"),
        ({"model_type": "t5", "num_heads": 4, "relative_attention_num_buckets": 32}, "learned number for the distance"),
        ({"model_type": "mamba"}, "has no positions"),
        ({"model_type": "xglm", "attention_heads": 4, "max_position_embeddings": 64}, "waves"),
        ({"model_type": "never-heard-of"}, "do not say"),
    ],
)
@pytest.mark.few(3)
def test_every_way_of_knowing_order_is_told(settings: dict[str, Any], words: str, tmp_path: Path, run: Program) -> None:
    tensors = {"model.embed_tokens.weight": ("BF16", table("input").shape, bfloat16(table("input")))}
    described = {"vocab_size": len(table("input")), "hidden_size": 16, "d_model": 16, **settings}
    write_single(tmp_path / "x", tensors, config=described, tokenizer=tokenizer_json())
    printed = " ".join(run("learn", "all", "-f", "table", "-m", tmp_path / "x").ok().text.split())
    assert words in printed
    assert "5 inputs" in printed if words != "waves" else "cosine 0.9" in printed


def test_a_tokenizer_that_cannot_split_still_names_rows(run: Program, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    words = vocabulary_of(run.folder / "small" / "tokenizer.json")
    rows = np.random.default_rng(0).normal(size=(len(words["tokenizer.ggml.tokens"]), 64))
    write(
        tmp_path / "q8.gguf",
        {"token_embd.weight": (rows, gguf.GGMLQuantizationType.Q8_0)},
        settings=llama(),
        vocabulary={**words, "tokenizer.ggml.pre": "never-heard-of"},
    )
    document = run("learn", "all", "--json", "-m", tmp_path / "q8.gguf").ok().document
    steps = [step["questions"] for step in document["steps"]]
    assert "strawberry" in steps[0][0]["commands"][0]
    assert "No text can be cut" in steps[3][0]["told"][0]
    for command in {command for step in steps for question in step for command in question["commands"]}:
        run(*shlex.split(command)[1:], "--json").ok()


def test_a_table_too_small_for_a_lesson_is_refused(tmp_path: Path, run: Program) -> None:
    write_single(tmp_path / "one", {"model.embed_tokens.weight": ("BF16", (1, 16), bfloat16(table("input")[:1]))})
    run("learn", "all", "--json", "-m", tmp_path / "one").refused(6, "has 1 rows")


def test_only_a_config_teaches_steps_1_5_and_6(run: Program) -> None:
    for number, least in ((1, 1), (5, 2), (6, 5)):
        questions = found(run, "only-config/", number)
        assert len(questions) >= least
        assert all(
            "only-config/" in question["commands"][0] for question in (questions[0], questions[-1])[number == 6 :]
        )
    for number in (2, 3, 4, 7, 8):
        first = found(run, "only-config/", number)[0]
        assert any("only-config/ has no weights here" in told for told in first["told"])


def test_a_config_that_is_named_itself_is_its_folder(run: Program) -> None:
    for number in (1, 5, 6):
        of_file, of_folder = (found(run, name, number) for name in ("only-config/config.json", "only-config/"))
        assert [question["answer"] for question in of_file] == [question["answer"] for question in of_folder]
    shown = found(run, "only-config/config.json", 5)[0]["commands"][0]
    assert shown == "embtool info only-config/config.json"
    assert run(*shlex.split(shown)[1:], "--json").ok().document["by_config"]


def test_who_may_be_taken_for_the_nearest_is_near() -> None:
    """Where the usual words are no tokens, the others to choose from are words near the row, and one that is not."""
    asked_of = Subject(open_model("mini-gpt2"))
    row, others = asked_of.company
    cosines = sorted(asked_of.cosine(row, other) for other in others)
    assert cosines[0] < 0.3
    assert cosines[1] > 0.5
    words = asked_of.vocabulary
    assert words is not None
    assert all(token is not None and words.is_word(token) for token in map(words.token, others))


def test_the_published_settings_give_the_published_sizes(run: Program) -> None:
    width, begins = found(run, "qwen3.6-settings", 1)
    assert width["answer"] == 5_120
    assert begins["answer"] * 1e6 == pytest.approx(70_135 * 10_240)
    large, _, both = found(run, "qwen3.6-settings", 5)
    assert (large["shown"], both["shown"]) == ("2.54 GB", "5.09 GB")


def test_weights_that_are_not_there_and_no_sizes_are_refused_at_the_door(tmp_path: Path, run: Program) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "never-heard-of"}')
    for number in "12345":
        answer = run("learn", number, "-f", "table", "-m", tmp_path / "bare")
        answer.refused(3, "no *.safetensors")
        assert answer.text == "", "before anything is asked"


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "\u202eback", "[red]"])
def test_names_of_strangers_are_escaped(hostile: str, tmp_path: Path, run: Program) -> None:
    folder = tmp_path / hostile
    tensors = {"model.embed_tokens.weight": ("BF16", table("input").shape, bfloat16(table("input")))}
    added = {END_OF_TEXT: True, f"[unused{hostile}]": False}
    write_single(folder, tensors, config=config(), tokenizer=tokenizer_json(added))
    printed = run("learn", "all", "-f", "table", "-m", folder).ok().text
    assert printed.replace("\n", "").isprintable()


# --- guesses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "answer", "guess", "right", "words"),
    [
        (Kind.COUNT, 4, "4", True, "Exactly"),
        (Kind.COUNT, 4, "3", False, "1 too few"),
        (Kind.COUNT, 4, "9", False, "5 too many"),
        (Kind.TURNS, 0.0001, "100", False, "Too high: it has hardly moved"),
        (Kind.TURNS, 0.0001, "0.3", False, "Too high: it has hardly moved"),
        (Kind.TURNS, 0.5, "3", False, "Too high: it has not gone round once"),
        (Kind.TURNS, 159.15, "159", True, "exact"),
        (Kind.TURNS, 159.15, "10", False, "low, by a factor of 15.9"),
        (Kind.NUMBER, 2.54, "4", False, "57 % too high"),
        (Kind.NUMBER, 2.54, "1.5", False, "41 % too low"),
        (Kind.NUMBER, 128, "128", True, "Exactly"),
        (Kind.NUMBER, 32000, "about 32k", True, "Exactly"),
        (Kind.NUMBER, 32000, "32,000", True, "Exactly"),
        (Kind.COSINE, 0.9, "0,9", True, "0.00 off"),
        (Kind.NUMBER, 100.0, "101", True, "exact"),
        (Kind.NUMBER, 100, "120", True, "Close"),
        (Kind.NUMBER, 100, "1000", False, "high, by a factor of 10"),
        (Kind.NUMBER, 100, "4", False, "low, by a factor of 25"),
        (Kind.NUMBER, 100, "-100", False, "Far"),
        (Kind.NUMBER, 0.0, "3", False, "Far"),
        (Kind.NUMBER, 100, "", None, "No guess"),
        (Kind.COSINE, 0.5, "0.45", True, "0.05 off"),
        (Kind.COSINE, 0.5, ".9", False, "0.40 too high"),
        (Kind.COSINE, 0.5, "-1", False, "1.50 too low"),
        (Kind.CHOICE, 1, "b", True, "Yes"),
        (Kind.CHOICE, 1, "2", True, "Yes"),
        (Kind.CHOICE, 1, "Sou", True, "Yes"),
        (Kind.CHOICE, 1, "a", False, "Not"),
        (Kind.CHOICE, 1, "", None, "No guess"),
    ],
)
def test_guesses_are_compared(kind: Kind, answer: float, guess: str, *, right: bool | None, words: str) -> None:
    choices = ("north", "south") if kind is Kind.CHOICE else ()
    question = Question("?", lambda: Outcome(answer), kind=kind, choices=choices, slack=0.02 * (kind is Kind.TURNS))
    verdict = judge(question, question.find(), guess)
    assert verdict.right is right
    assert words in verdict.text


def test_a_small_part_of_a_turn_may_be_guessed_as_none() -> None:
    question = Question("?", lambda: Outcome(0.0001), kind=Kind.TURNS, slack=0.02)
    assert judge(question, question.find(), "0").right is True
    assert judge(question, question.find(), "0.5").right is False


@pytest.mark.parametrize(("kind", "guess"), [(Kind.NUMBER, "many"), (Kind.CHOICE, "z"), (Kind.CHOICE, "9")])
def test_what_is_no_guess_is_asked_again(kind: Kind, guess: str) -> None:
    assert not understood(Question("?", lambda: Outcome(0), kind=kind, choices=("north", "south")), guess)


def test_who_chooses_wrong_is_told_why() -> None:
    for step in STEPS:
        if step.recall is None:
            continue
        recall, outcome = step.recall, step.recall.find()
        assert len(recall.choices) == len(recall.remarks) == len(set(recall.remarks)) or step.number == 7
        for place, remark in enumerate(recall.remarks):
            verdict = judge(recall, outcome, "abc"[place])
            assert verdict.right is (place == outcome.answer)
            assert verdict.lines == (() if verdict.right else (remark,))
            assert len(remark) > 20


@pytest.mark.parametrize(
    ("explained", "ideas"),
    [
        ("a banana", 0),
        ("I do not know", 0),
        ("The id is the address of a row.", 1),
        ("The id says which row to look up, and that row was learned in training.", 2),
        (
            (
                "An id picks a row of a table. Its numbers come from training, so similar words point the same way. "
                "It says nothing of the order, so a position is added, or queries and keys are rotated."
            ),
            5,
        ),
        ("id = index into a table; trained; neighbours are alike; no idea of its place; RoPE turns it", 5),
    ],
)
@pytest.mark.few(2)
def test_an_explanation_is_answered_by_the_ideas_that_it_names(explained: str, ideas: int) -> None:
    (question,) = STEPS[6].make(Subject(open_model("mini")))
    verdict = judge(question, question.find(), explained)
    assert f"names {ideas} of 5 ideas" in verdict.text
    assert [line.startswith("✓") for line in verdict.lines].count(True) == ideas
    assert verdict.right is (ideas >= 4)
    assert judge(question, question.find(), " ").right is None


def test_the_models_own_explanation_names_every_idea() -> None:
    for name in ("mini", "mini-gpt2", "qwen3.6-settings"):
        (question,) = STEPS[6].make(Subject(open_model(name)))
        answer = question.find().answer
        assert "names 5 of 5" in judge(question, question.find(), str(answer)).text, answer


@pytest.mark.parametrize("text", [" pod", "it's", 'say "no"', "a$b", "back\\slash", "!", "id:3", "é", "two words"])
def test_a_command_line_can_be_typed(text: str) -> None:
    assert shlex.split(shell(["row", text, "-m", "x/"])) == ["embtool", "row", text, "-m", "x/"]


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("embtool.lesson.progress.user_state_path", lambda _: tmp_path / "state")
    return tmp_path / "state"


def test_progress_is_kept_and_forgotten(state: Path) -> None:
    assert read_progress() == {}
    save_progress({1: Done("mini", 1, 2)})
    save_progress({**read_progress(), 3: Done("é", 0, 0)})
    assert read_progress() == {1: Done("mini", 1, 2), 3: Done("é", 0, 0)}
    assert [path.name for path in state.iterdir()] == ["lesson.json"], "nothing else is left behind"
    forget()
    assert read_progress() == {}
    forget()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"steps": 3}',
        '{"steps": {"one": {}}}',
        '{"steps": {"1": {"model": 1, "right": 1, "asked": 1}}}',
        "[" * 99999,
    ],
)
def test_a_damaged_file_is_refused_and_can_be_reset(content: str, state: Path) -> None:
    state.mkdir()
    progress_file().write_text(content)
    with pytest.raises(FormatError, match="not the progress"):
        read_progress()
    forget()
    assert read_progress() == {}


def test_a_model_without_layers_is_told_on_others_where_order_matters(run: Program) -> None:
    """The bundled model's config names RoPE, for demonstration, and no layers."""
    model = open_model("mini")
    assert model.rope.is_idle
    assert "nothing is turned either" in in_words(model.positions)
    shared, equal = found(run, "mini", 4)
    assert "mini has no blocks" in shared["told"][0]
    assert 0 < equal["answer"] < shared["answer"], "who stands where it stood stays what it was"
    told = " ".join(line for entry in found(run, "mini", 6) for line in entry["told"])
    assert "128" not in told
    assert "mini-gpt2, which comes with embtool" in told
    assert "64 of 256 channels turn, theta 10,000,000, in 16 of 64 layers, for texts of up to 262,144 tokens" in told


def test_rows_and_sums_of_what_is_added_are_drawn(run: Program) -> None:
    _, equal = found(run, "mini-gpt2", 4)
    title, head, *lines = equal["drawing"]
    assert "of 64 channels" in title
    assert head.split() == ["[0]", "[1]", "[2]", "[3]"]
    row, first, sum_of_first, second, sum_of_second = (np.array(line.split()[-4:], float) for line in lines)
    assert row + first == pytest.approx(sum_of_first, abs=0.0015)
    assert row + second == pytest.approx(sum_of_second, abs=0.0015)


def test_both_worlds_stand_side_by_side(run: Program) -> None:
    *_, dot = found(run, "mini", 6)
    title, head, *lines = dot["drawing"]
    assert "added: mini-gpt2" in title
    assert "turned: qwen3.6-settings" in title
    assert head.split()[:1] == head.split()[5:6] == ["apart"]
    table = open_model("mini-gpt2").tables.find("position")
    for line in lines:
        apart, *cosines, again, one, other = line.split()
        assert apart == again
        assert one == other, "the dot product knows the distance only"
        for start, cosine in zip((12, 64), cosines, strict=True):
            a, b = table.rows([start, start + int(apart)]).astype(float)
            assert float(cosine) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=0.0006)
    records = run("rope", "--relative", "8", "7", "-m", "qwen3.6-settings", "--jsonl").ok().records
    assert float(lines[0].split()[-1]) == pytest.approx(records[0]["dot"], abs=0.0006)


def test_hands_point_where_rope_says(run: Program) -> None:
    *_, slow, _ = found(run, "mini", 6)
    _, head, *lines = slow["drawing"]
    pairs = [int(word) for word in head.replace("pair", "").split()[1:]]
    places = [line.split()[0].replace(",", "") for line in lines]
    assert places[0] == "0"
    assert places[-1] == "1000"
    for place, line in zip(places, lines, strict=True):
        records = run("rope", "--pos", place, "-m", "qwen3.6-settings", "--jsonl").ok().records
        angles = {record["pair"]: record["angle"] for record in records}
        assert line.split()[1:] == ["→↗↑↖←↙↓↘"[round(angles[pair] / (np.pi / 4)) % 8] for pair in pairs]


def test_a_direction_is_what_similarity_along_measures(run: Program) -> None:
    farthest, doubt = found(run, "mini", 8)
    reach = {item["query"]: item["projection"] for item in asked(run, farthest["commands"][0])["items"]}
    assert farthest["choices"][farthest["answer"]] == max(farthest["choices"], key=lambda word: reach[word])
    drawn = {line.split()[0]: float(line.split()[1]) for line in farthest["drawing"][1:]}
    assert drawn == pytest.approx(reach, abs=0.006)
    cosines = {item["query"]: item["cosine"] for item in asked(run, doubt["commands"][0])["items"]}
    assert doubt["answer"] == pytest.approx(cosines["dogs"])
    assert f"{cosines['dog']:.2f}" in doubt["told"][0]
    reach = {item["query"]: item["projection"] for item in asked(run, doubt["commands"][1])["items"]}
    assert {line.split()[0]: float(line.split()[1]) for line in doubt["drawing"][1:]} == pytest.approx(reach, abs=0.006)
    assert reach["a"] < reach["one"] < min(reach["two"], reach["three"]) < reach["many"]


def test_a_model_without_the_words_of_a_direction_is_told_on_another(run: Program) -> None:
    farthest, _ = found(run, "small/", 8)
    assert "small/ has no single token" in farthest["told"][0]
    assert farthest["commands"][0].endswith("-m mini")


def test_king_and_queen_are_far_from_a_pod_and_near_each_other(run: Program) -> None:
    nearest, together = found(run, "mini", 2)
    assert nearest["choices"][nearest["answer"]] == "␣Pod", "a capital makes another row, and the nearest"
    assert together["answer"] > 0.7
    assert "0.09 and 0.08" in together["told"][0]
    assert any("queen" in line for line in together["drawing"])
