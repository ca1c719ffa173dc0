"""What a person meets who types something wrong, or asks for help: plain words, and the way out."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from help_page import on_terminal, options_in_help
from program import Answer, Program
from small_models import BERT_WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing

from embtool.cli import COMMANDS
from embtool.cli.help import EXAMPLES, FORMS
from embtool.references import bundled_folder

MINI = ("-m", "mini")

REFUSED = {
    "a number that is none": (("neighbors", "king", "-k", "abc"), "-k/--top is a whole number from 1, not 'abc'"),
    "a number too small": (("neighbors", "king", "-k", "-3"), "-k/--top is a whole number from 1, not '-3'"),
    "a format": (
        ("row", "king", "--format", "yaml"),
        "-f/--format is table, markdown, json, jsonl, tsv or csv, not 'yaml'",
    ),
    "a base": (("rope", "--theta", "big", "--dim", "8"), "--theta is a number, not 'big'"),
    "a metric": (("calc", "king", "--metric", "x"), "--metric is cosine, dot or euclidean, not 'x'"),
    "two letters swapped": (("neighbors", "king", "--tpo", "3"), "did you mean --top? embtool neighbors --help"),
    "one model for two": (("diff", "-m", "mini"), "embtool diff A B"),
    "two models for one": (("norms", "mini", "-m", "mini"), "embtool norms MODEL"),
    "a credential": (("neighbors", "--token", "king", *MINI), "the hub's credential is --hub-token"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_usage_is_told_in_plain_words(run: Program, case: str) -> None:
    arguments, words = REFUSED[case]
    run(*arguments, stdin=b"").refused(2, words)


@pytest.mark.parametrize(
    ("line", "status", "meant"),
    [
        ("neighbors small/ -k 2", 3, "a model is named with -m: embtool neighbors -k 2 -m small/"),
        ("norms king", 5, "a token is named with --token: embtool norms --token king"),
        ("rope king --pos 5", 5, "a token is named with --token: embtool rope --token king --pos 5"),
        ("info king", 5, "info takes a model; the row of a token: embtool row king"),
        ("info smal", 5, "did you mean ./small?"),
        ("diff small/ king", 5, "diff takes a model; the row of a token: embtool row king"),
        ("learn 2 king", 5, "learn takes a model; the row of a token: embtool row king"),
        ("neighbors small/", 3, "a model is named with -m: embtool neighbors TOKEN... -m small/"),
        ("similarity king small/", 3, "a model is named with -m: embtool similarity TOKEN... -m small/"),
        ("calc small/ - king", 3, "a model is named with -m: embtool calc TOKEN... -m small/"),
        ("calc king-man+woman", 3, 'put spaces around + and -: embtool calc "king - man + woman"'),
    ],
)
@pytest.mark.few(4)
def test_a_model_for_a_token_and_a_token_for_a_model(run: Program, line: str, status: int, meant: str) -> None:
    answer = run(*line.split(), env={"HF_HUB_OFFLINE": "1"})
    answer.refused(status)
    assert meant in answer.errors


@pytest.mark.parametrize("line", ["rope compare small/ nosuch", "diff small/ nosuch"])
def test_a_name_that_is_neither_a_model_nor_a_token_gets_no_command_line(run: Program, line: str) -> None:
    answer = run(*line.split(), env={"HF_HUB_OFFLINE": "1"})
    answer.refused(5)
    assert "embtool row" not in answer.errors
    assert "--token" not in answer.errors


@pytest.mark.parametrize("line", ["vocab --variants", "export -o e.npy --rows", "undertrained --reference"])
def test_pooling_is_advised_only_where_there_is_some(run: Program, tmp_path: Path, line: str) -> None:
    answer = Program(run.home, tmp_path)(*line.split(), "nosuchxyz", "-m", "mini")
    answer.refused(3, "tokens:")
    assert "--pool" not in answer.errors
    assert "--pool mean" in run("row", "nosuchxyz", "-m", "mini").errors


@pytest.mark.parametrize("command", ["info", "check", "norms", "undertrained", "rope", "learn"])
def test_commands_about_models_take_one_either_way(run: Program, command: str) -> None:
    named, by_option, by_default = (
        run(command, *words, "--json", env={"EMBTOOL_MODEL": model})
        for words, model in ((("small/",), "tied/"), (("-m", "small/"), "tied/"), ((), "small/"))
    )
    assert named.out == by_option.out == by_default.out
    assert named.document["model"] == "small/"


def test_a_group_without_a_command_shows_its_commands(run: Program) -> None:
    answer = run("cache")
    assert (answer.status, answer.out) == (2, b"")
    for word in ("ls", "rm", "path", "verify"):
        assert f" {word} " in answer.errors


def test_help_is_a_word_too(run: Program) -> None:
    assert run("help").ok().text == run("--help").ok().text
    assert run("help", "row").ok().text == run("row", "--help").ok().text
    assert run("help", "cache", "ls").ok().text == run("cache", "ls", "--help").ok().text
    run("help", "nope").refused(2, "nope")
    assert "help" not in COMMANDS


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("cache", "ls")])
def test_a_help_screen_is_clean(run: Program, command: tuple[str, ...]) -> None:
    text = on_terminal(run, *command, "--help") if command in ((), ("rope",)) else run(*command, "--help").ok().text
    assert not re.search(r"<bool>|<str>|<int|list\[|\.\.\.\]\.\.\.", text)
    assert "interleaved-in-half-out" in text or command != ("rope",)
    panels = re.findall(r"─ ([A-Z]\w+) ─", text)
    assert "Hub" not in panels[:-1]


def test_options_of_the_hub_are_still_there(run: Program) -> None:
    assert {"--revision", "--offline", "--hub-token", "--max-bytes", "--dry-run", "-m"} <= options_in_help(run, "row")


RUN = [
    (name, example)
    for name, examples in EXAMPLES.items()
    for example in (each.line for each in examples)
    if not name.startswith(("cache", "learn", "use"))
]


@pytest.mark.few(1)
@pytest.mark.parametrize(("name", "example"), RUN)
def test_the_examples_of_the_help_screens_run(tmp_path: Path, name: str, example: str) -> None:
    run = Program(tmp_path / "home", tmp_path)
    (tmp_path / "home").mkdir()
    before, _, after = example.rpartition(" | ")
    printed = None
    if before:
        shell = shutil.which("bash") or pytest.skip("no bash")
        printed = subprocess.run([shell, "-c", before], capture_output=True, check=True).stdout
    words = shlex.split(after)
    assert words[0] == "embtool"
    if "tuned" in words[1:] and "learn" not in words:
        run("learn", "--stand-ins", "tuned").ok()  # which the example before it has made
    run(*words[1:], stdin=printed).ok()
    for flag in ("-h", "--help") if name not in FORMS else ("-h",):
        shown = " ".join(run(*name.split(), flag, env={"COLUMNS": "120"}).ok().text.split())
        assert " ".join(example.split()) in shown


@pytest.mark.parametrize("command", ["neighbors", "row", "rope", "calc", "vocab", "diff", "export", "check", "map"])
def test_commands_with_many_options_have_examples(command: str) -> None:
    assert len(EXAMPLES[command]) == 3


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_the_short_help_begins_with_examples_and_fits_a_small_terminal(run: Program, name: str) -> None:
    lines = run(*name.split(), "-h", env={"COLUMNS": "80"}).ok().text.rstrip("\n").split("\n")
    assert len(lines) < 24
    assert all(len(line) <= 80 for line in lines)
    assert (lines[0][:2], lines[1][:8]) == ("# ", "embtool ") or "|" in lines[1] or "$(" in lines[1]
    assert "--help" in " ".join(lines[-2:])


def test_the_short_help_of_a_part_of_a_command_is_its_own(run: Program) -> None:
    compare = run("rope", "compare", "-h").ok().text
    assert "Usage: embtool rope compare A B\n" in compare
    assert "--length" in compare
    assert "--pos" not in compare
    cache = run("cache", "-h").ok().text
    assert "Usage: embtool cache COMMAND\n" in cache
    assert all(re.search(rf"^{word} +[A-Z]", cache, re.MULTILINE) for word in ("ls", "rm", "path", "verify"))


@pytest.mark.parametrize("command", [(), ("neighbors",), ("cache",), ("cache", "ls")])
@pytest.mark.few(2)
def test_help_has_boxes_on_a_terminal_only(run: Program, command: tuple[str, ...]) -> None:
    answer = run(*command, "--help", env={"COLUMNS": "80"}).ok()
    assert not set("╭│╰─") & set(answer.text)
    assert not re.search(r" +$", answer.text, re.MULTILINE)
    assert "Options:\n" in answer.text
    assert "╭─ Options" in on_terminal(run, *command, "--help")


def test_the_flagship_example_is_about_words(run: Program) -> None:
    answer = run(*shlex.split(EXAMPLES["calc"][0].line)[1:], *MINI, "--json").ok()
    assert answer.document["queries"][0]["neighbors"][0]["piece"] == "Ġqueen"
    assert answer.errors == ""


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_word_is_the_word(run: Program) -> None:
    answer = run("neighbors", "king", *MINI, "--json").ok()
    assert answer.document["queries"][0]["bytes"] == b" king".hex()
    assert answer.errors == ""
    bare = run("neighbors", "king", "--exact", *MINI, "--json").ok()
    assert bare.document["queries"][0]["bytes"] == b"king".hex()


def test_what_has_no_whole_word_form_is_told_once(run: Program) -> None:
    (told,) = run("similarity", "king", "!", "queen", *MINI).ok().of("note") or [""]
    assert told in ("", "'!': no token with a space before it, so the text is taken as typed")
    assert run("similarity", "king", "queen", *MINI).ok().errors == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("odd", "king", " queen", "pod"), 'embtool similarity king " queen" pod'),
        (("analogy", "q.txt", "--spaced", "--answers"), "embtool calc --questions q.txt --each"),
        (("neighbors", "king", "--minus", "man", "--plus", "woman"), "embtool calc king - man + woman"),
        (("neighbors", "--plus=king", "--minus=man", "-k", "3"), "embtool calc king - man -k 3"),
    ],
)
def test_what_moved_is_answered_with_the_command_to_type(run: Program, typed: tuple[str, ...], meant: str) -> None:
    answer = run(*typed)
    assert (answer.status, answer.out) == (2, b"")
    assert "now" in answer.of("error")[0]
    assert answer.of("hint") == [meant]


@pytest.mark.few(1)
@pytest.mark.parametrize(("typed", "meant"), [("'king'", "'king'"), ("king,", "'king'"), ('" king"', "' king'")])
def test_marks_around_a_word_are_named(run: Program, typed: str, meant: str) -> None:
    run("neighbors", typed, *MINI).refused(3, f"quotes and commas are part of the text; did you mean {meant}")


def test_what_is_near_comes_before_what_can_be_pooled(run: Program) -> None:
    run("neighbors", "strawbery", *MINI).refused(3, "hint: near: strawberry; ", "--pool mean")
    assert "quotes" not in run("neighbors", "strawbery", *MINI).errors


def test_a_row_of_padding_is_told(run: Program) -> None:
    assert run("neighbors", "id:31990", *MINI).ok().of("note") == ["row 31990 has no token: it is padding"]
    assert run("neighbors", "id:5", *MINI).ok().of("note") == []


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("info", "nope"), ("row", "id:1", "-m", "my/nope"), ("info", "nope", "mini")])
def test_a_mistyped_folder_is_named_as_one(run: Program, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments, "--offline")
    name = next(word for word in arguments if "nope" in word)
    (told,) = answer.of("hint")
    assert told.startswith(f"there is no file or folder {name!r} here, so it was taken for a repository of the hub; ")


def test_no_file_of_questions(run: Program) -> None:
    run("calc", "--questions", "none.txt", *MINI).refused(3, "no such file: none.txt")


def bare_config(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(bundled_folder() / "config.json", folder)
    return folder


def test_a_forgotten_upload_is_an_error(run: Program, tmp_path: Path) -> None:
    folder = bare_config(tmp_path / "m")
    answer = run("check", folder, "--json")
    assert answer.status == 1
    assert [found["rule"] for found in answer.document["findings"]] == ["missing-table"]
    assert "no weights" in answer.document["findings"][0]["message"]
    assert run("check", folder, "--select", "missing-table").status == 1
    run("check", folder, "--ignore", "missing-table").ok()


def skipped(answer: Answer) -> list[str]:
    assert "nothing found" not in answer.text
    return answer.of("warning")


def test_a_selected_rule_that_is_skipped_is_named(run: Program, tmp_path: Path) -> None:
    folder = bare_config(tmp_path / "m")
    table = ("-f", "table")
    told = skipped(run("check", folder, "--select", "missing-shard", *table).ok())
    assert told == ["missing-shard was not looked at: the weights are not there"]
    told = skipped(run("check", "mini", "--select", "zero-rows,moved-token", *table).ok())
    assert sorted(told) == [
        "moved-token was not looked at: only with --base",
        "zero-rows was not looked at: only with --deep",
    ]
    assert run("check", "mini", "--deep", "--select", "zero-rows").of("warning") == []
    assert run("check", folder, "--ignore", "missing-table").of("warning") == []


def test_the_default_of_a_family_is_told_as_one(run: Program) -> None:
    tied = run("info", "bert/", "--json").ok().document["tied"]
    assert tied == {"config": True, "stored": "input", "verdict": "no output table", "origin": "class default of bert"}
    text = run("info", "bert/", "-f", "table").ok().text
    assert "config does not say, the family's default is tied; stored: input" in text
    assert "config says tied" in run("info", "tied/", "-f", "table").ok().text


def test_what_the_tokenizer_would_put_around_a_text(run: Program, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(run.folder / "bert", folder)
    ids = {word: place for place, word in enumerate(BERT_WORDS)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token=BERT_WORDS[1]))
    marks = [(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = run("input", "straw", "-m", folder, "--tsv").ok().of("note")
    assert told[-1] == "the tokenizer would put [CLS] … [SEP] around it, and the positions would move: --special"
    assert any(line.endswith("which is in the sum") for line in told)
    told = run("input", "straw", "--special", "-m", folder, "--tsv").ok().of("note")
    assert not any("would put" in line for line in told)
    told = run("input", " king", "-m", "gpt2/", "--tsv").ok().of("note")
    assert not any("would put" in line for line in told)


BROKEN = {
    "config.json": ("info", "check", "rope"),
    "tokenizer.json": ("info", "check", "tokens king -m"),
    "model.safetensors.index.json": ("info", "row id:3 -m", "norms"),
    "model-00001-of-00002.safetensors": ("info", "row id:3 -m", "norms"),
}


@pytest.mark.parametrize("file", BROKEN)
def test_what_does_not_parse_is_named_with_its_model(file: str, run: Program, tmp_path: Path, small: Path) -> None:
    shutil.copytree(small, tmp_path / "bad")
    text = b"{"
    header = len(text).to_bytes(8, "little") + text
    (tmp_path / "bad" / file).write_bytes(header if file.endswith(".safetensors") else text)
    for command in BROKEN[file]:
        answer = run(*command.split(), tmp_path / "bad")
        assert answer.status == (1 if command == "check" else 6)  # a finding of check, and a warning of info
        assert f"{file} of {tmp_path / 'bad'} is not JSON" in answer.text + answer.errors
    both = run("diff", "small/", tmp_path / "bad").refused(6) if file != "config.json" else None
    assert both is None or f"of {tmp_path / 'bad'}" in both


def test_a_broken_generation_config_is_a_finding_of_check(run: Program, tmp_path: Path, small: Path) -> None:
    shutil.copytree(small, tmp_path / "bad")
    (tmp_path / "bad" / "generation_config.json").write_text("{")
    answer = run("check", tmp_path / "bad")
    assert answer.status == 1
    assert f"generation_config.json of {tmp_path / 'bad'} is not JSON" in answer.text
    (tmp_path / "bad" / "generation_config.json").write_text("{}")
    assert run("check", tmp_path / "bad").ok().of("warning") == []


@pytest.mark.parametrize("name", ["mini", "small/", "bert/"])
@pytest.mark.slow
def test_the_counts_of_the_vocabulary_are_those_of_its_lines(run: Program, name: str) -> None:
    listed = run("vocab", "-m", name, "--tsv", "--no-header").ok().text.count("\n")
    *counted, everything = run("vocab", "--counts", "-m", name, "--json").ok().document["counts"]
    assert sum(each["tokens"] for each in counted) == everything["tokens"] == listed
    rows = run("info", name, "--json").ok().document["tables"][0]["shape"][0]
    assert listed == rows


def test_readings_that_were_not_taken_are_told_on_demand(run: Program) -> None:
    told = ["'king' is read as ' king', id 1830; as typed it is id 3723, with --exact"]
    asked = ("neighbors", "king", "strawberry", " queen", "-k", "1", *MINI)
    assert run(*asked, "--verbose").ok().of("note") == told
    assert run(*asked).ok().of("note") == []
    assert run("neighbors", "-k", "1", "--verbose", *MINI, stdin=b"king\nstrawberry\n").ok().of("note") == told
    assert run("norms", "mini", "--token", "king", "--verbose").ok().of("note") == told
    assert run("calc", "king", "+", "strawberry", "--verbose", *MINI).ok().of("note") == told
    assert run("calc", "king", "+", "strawberry", "--verbose", "--exact", *MINI).of("note") == []
