"""The program as a whole: statuses, streams, pipes, signals, and strings of strangers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import HOSTILE, dangers
from hub_fixtures import wait_until
from program import Program, is_almighty
from small_models import (
    END_OF_TEXT,
    bfloat16,
    config,
    safetensors,
    table,
    tokenizer_json,
    write_json,
    write_model,
    write_single,
)

from embtool import __version__
from embtool.cli import COMMANDS, _load
from embtool.cli.typer_internals import shell_name

posix = pytest.mark.skipif(os.name == "nt", reason="signals, /dev/full and closed streams as POSIX has them")
FORMATS = ("table", "json", "jsonl", "tsv", "csv")

INPUT = "model.embed_tokens.weight"


def bf16() -> tuple[str, tuple[int, ...], bytes]:
    values = table("input")
    return "BF16", values.shape, bfloat16(values)


# --- what it says of itself -------------------------------------------------------------------------------------------


def test_version(run: Program) -> None:
    assert run("--version").ok().text == f"embtool {__version__}\n"
    assert run.outside("--version").ok().text == f"embtool {__version__}\n"


def test_help_names_every_command(run: Program) -> None:
    text = run("--help").ok().text
    for name in COMMANDS:
        assert f" {name} " in text
    assert "embtool neighbors strawberry" in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_words_of_a_help_page_are_all_shown_and_break_where_the_terminal_ends(command: str) -> None:
    words = _load(command).help
    assert "\n" not in words.replace("\n\n", "")
    assert not re.search(r"\[[a-z/@#]", words), "rich would take this for markup and show nothing"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Program, command: str) -> None:
    for flag in ("--help", "-h"):
        answer = run(command, flag).ok()
        assert f"embtool {command}" in answer.text
        assert "--help" in answer.text
        assert answer.err == b""


# --- bad input --------------------------------------------------------------------------------------------------------


def no_files(folder: Path) -> None:
    folder.mkdir()


def files(**contents: bytes) -> Callable[[Path], None]:
    """Make what writes these files; in a name, __ is a dot."""

    def write(folder: Path) -> None:
        folder.mkdir()
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_bytes(content)

    return write


def truncated(folder: Path) -> None:
    write_model(folder)
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])


def index_of(shard: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        write_json(folder / "model.safetensors.index.json", {"weight_map": {INPUT: shard}})

    return write


def unknown_dtype(folder: Path) -> None:
    write_single(folder, {INPUT: ("F128", (2, 1), bytes(32))}, tokenizer=tokenizer_json())


def three_dimensions(folder: Path) -> None:
    write_single(folder, {INPUT: ("F32", (2, 2, 2), bytes(32))}, tokenizer=tokenizer_json())


def no_table(folder: Path) -> None:
    write_single(folder, {"model.norm.weight": ("F32", (4,), bytes(16))}, tokenizer=tokenizer_json())


def fewer_rows(folder: Path) -> None:
    write_single(folder, {INPUT: ("F32", (3, 2), bytes(24))}, tokenizer=tokenizer_json())


BAD: dict[str, tuple[Callable[[Path], object] | None, list[str], int, tuple[str, ...]]] = {
    "no such folder": (None, ["row", "king", "-m", "./nowhere"], 3, ("./nowhere",)),
    "no such file": (None, ["row", "king", "-m", "x.safetensors"], 3, ("x.safetensors",)),
    "an empty name": (None, ["row", "king", "-m", ""], 2, ("empty",)),
    "an empty folder": (no_files, ["row", "id:1", "-m", "bad/"], 3, ("bad/", "safetensors")),
    "info of an empty folder": (no_files, ["info", "bad/"], 3, ("bad/", "not a model")),
    "no weights": (None, ["row", "id:1", "-m", "only-config/"], 3, ("only-config/", "safetensors")),
    "no weights but a tokenizer": (None, ["neighbors", "king", "-m", "only-tokenizer/"], 3, ("safetensors",)),
    "no tokenizer": (None, ["neighbors", "king", "-m", "bare/"], 3, ("no tokenizer", "'king'", "id:70135")),
    "no tokenizer to split": (None, ["tokens", "king", "-m", "bare/"], 3, ("bare/", "no tokenizer")),
    "no tokenizer to filter by": (None, ["neighbors", "id:1", "--no-special", "-m", "bare/"], 3, ("no tokenizer",)),
    "no table": (no_table, ["row", "king", "-m", "bad/"], 3, ("bad/", "input table")),
    "no output table": (None, ["row", "king", "-m", "bare/", "--table", "output"], 3, ("bare/", "output table")),
    "no such table": (None, ["row", "king", "-m", "small/", "--table", "middle"], 3, ("small/", "middle")),
    "an unknown dtype": (unknown_dtype, ["row", "id:1", "-m", "bad/"], 6, (INPUT, "model.safetensors", "F128")),
    "three dimensions": (three_dimensions, ["row", "id:1", "-m", "bad/"], 6, (INPUT, "2 × 2 × 2")),
    "a truncated shard": (
        truncated,
        ["row", "id:1", "-m", "bad/"],
        6,
        ("model-00001-of-00002.safetensors", "truncated"),
    ),
    "norms of a truncated shard": (truncated, ["norms", "bad/"], 6, ("truncated",)),
    "an empty shard": (files(model__safetensors=b""), ["info", "bad/"], 6, ("model.safetensors", "0 bytes")),
    "a missing shard": (index_of("x.safetensors"), ["info", "bad/"], 3, ("x.safetensors",)),
    "a shard outside": (index_of("../small/model-00001-of-00002.safetensors"), ["info", "bad/"], 6, ("outside",)),
    "a shard at the root": (index_of("/etc/passwd"), ["row", "id:1", "-m", "bad/"], 6, ("outside", "/etc/passwd")),
    "a pickle": (files(pytorch_model__bin=b"\x80\4."), ["info", "bad/"], 6, ("pytorch_model.bin", "pickle")),
    "a pickle by its name": (files(x__pt=b"\x80\4."), ["info", "bad/x.pt"], 6, ("x.pt", "pickle")),
    "a pickle in disguise": (files(model__safetensors=b"\x80\4]" + bytes(99)), ["info", "bad/"], 6, ("pickle",)),
    "a broken config": (files(config__json=b"{"), ["info", "bad/"], 6, ("config.json",)),
    "a broken tokenizer": (files(tokenizer__json=b"{"), ["tokens", "a", "-m", "bad/"], 6, ("tokenizer.json",)),
    "an unknown token": (None, ["row", "strawbery", "-m", "small/"], 3, ("'strawbery'", "near: strawberry")),
    "several tokens": (None, ["neighbors", "kingmaker", "-m", "small/"], 3, ("'king' + 'm'", "--pool mean")),
    "an unknown token among others": (None, ["row", "king", "queenx", "-m", "small/"], 3, ("queenx",)),
    "an unknown token to compare": (None, ["similarity", "king", "queenx", "-m", "small/"], 3, ("queenx",)),
    "an unknown token to subtract": (None, ["calc", "king", "-", "manx", "-m", "small/"], 3, ("manx",)),
    "an id out of range": (None, ["row", "id:326", "-m", "small/"], 3, ("no row 326", INPUT, "0 to 325")),
    "an id out of range among others": (None, ["row", "id:0", "id:999", "-m", "small/"], 3, ("no row 999",)),
    "a range out of range": (None, ["neighbors", "id:320..330", "-m", "small/"], 3, ("0 to 325",)),
    "a negative id": (None, ["row", "id:-1", "-m", "small/"], 3, ("-1",)),
    "a token without a row": (fewer_rows, ["row", "king", "-m", "bad/"], 3, ("no row", "0 to 2")),
    "an id that is none": (None, ["row", "id:x", "-m", "small/"], 3, ("'id:x'",)),
    "bytes that are none": (None, ["row", "bytes:xyz", "-m", "small/"], 3, ("bytes:xyz",)),
    "an unknown piece": (None, ["row", "piece:Ġkingdom", "-m", "small/"], 3, ("Ġkingdom",)),
    "an empty token": (None, ["row", "", "-m", "small/"], 3, ("empty",)),
    "the guess is forbidden": (None, ["row", "strawberry", "--exact", "-m", "small/"], 3, ("strawberry",)),
    "an unknown command": (None, ["neighbours"], 2, ("neighbours",)),
    "an unknown option": (None, ["row", "king", "--nothing"], 2, ("--nothing",)),
    "an unknown format": (None, ["row", "king", "-f", "xml"], 2, ("xml",)),
    "two formats": (None, ["row", "king", "-m", "small/", "--json", "--tsv"], 2, ("json", "tsv")),
    "an unknown pool": (None, ["row", "king", "-m", "small/", "--pool", "max"], 2, ("max", "mean")),
    "an unknown metric": (None, ["neighbors", "king", "--metric", "manhattan"], 2, ("manhattan",)),
    "no result wanted": (None, ["neighbors", "king", "-k", "0"], 2, ("-k",)),
    "a number of results that is none": (None, ["neighbors", "king", "-k", "many"], 2, ("-k",)),
    "a broken expression": (
        None,
        ["neighbors", "king", "-m", "small/", "--only", "("],
        2,
        ("only is not a regular expression",),
    ),
    "two ways to write": (None, ["row", "king", "-m", "small/", "--raw", "--npy", "x"], 2, ("--raw", "--npy")),
    "one token to compare": (None, ["similarity", "king", "-m", "small/"], 2, ("two",)),
    "a vector and a token": (None, ["neighbors", "king", "-m", "small/", "--vector", "x"], 2, ("--vector",)),
    "no such vector": (
        None,
        ["neighbors", "-m", "small/", "--vector", "nowhere.npy"],
        3,
        ("no such file: nowhere.npy",),
    ),
    "a place that cannot be written": (None, ["row", "king", "-m", "small/", "--npy", "no/x.npy"], 7, ("no/x.npy",)),
    "a direction of a zero row": (None, ["calc", "!", "+", "king", "-m", "small/"], 6, ("no direction",)),
    "-man with a model": (None, ["neighbors", "king", "-man", "-m", "small/"], 2, ("-man", "calc … - man")),
    "-woman": (None, ["neighbors", "king", "-woman", "-m", "small/"], 2, ("-w", "calc … - woman")),
    "-king": (None, ["neighbors", "queen", "-king", "-m", "small/"], 2, ("-k", "calc … - king")),
    "a forgotten choice and another": (None, ["use", "--clear", "small/"], 2, ("--clear",)),
    "a choice that does not exist": (None, ["use", "./nowhere"], 3, ("./nowhere",)),
}


@pytest.mark.parametrize("form", ["table", "json", "tsv"])
@pytest.mark.parametrize("case", BAD)
@pytest.mark.few(90)
def test_bad_input_is_one_line_and_the_contracts_status(case: str, form: str, tmp_path: Path, models: Path) -> None:
    make, arguments, status, words = BAD[case]
    if make is not None:
        make(tmp_path / "bad")
    for name in ("small", "bare", "only-config", "only-tokenizer"):
        (tmp_path / name).symlink_to(models / name)
    (tmp_path / "home").mkdir()
    run = Program(tmp_path / "home", tmp_path)
    chosen = ["-f", form] if arguments and arguments[0] in COMMANDS and "-f" not in arguments else []
    if "--json" in arguments:
        chosen = []
    message = run(*arguments, *chosen).refused(status, *words)
    assert not message.endswith(".")
    assert message[0] == message[0].lower() or message.startswith(tuple(words))


def test_an_option_glued_to_a_word_offline(run: Program) -> None:
    answer = run.outside("neighbors", "king", "-man")
    assert answer.status in (3, 5)
    answer.refused(answer.status, "calc … - man")


def test_an_error_in_debug_mode_shows_where_it_was(run: Program) -> None:
    answer = run("row", "king", "-m", "./nowhere", env={"EMBTOOL_DEBUG": "1"})
    assert answer.status == 3
    assert "Traceback" in answer.errors
    assert answer.of("error") == ["no such file or folder: ./nowhere"]


@pytest.mark.few(1)
@posix
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_pipe_in_the_place_of_a_file(run: Program, tmp_path: Path, file: str) -> None:
    write_single(tmp_path / "m", {INPUT: bf16()}, config=config(), tokenizer=tokenizer_json())
    (tmp_path / "m" / file).unlink()
    os.mkfifo(tmp_path / "m" / file)
    run.outside("info", tmp_path / "m").refused(7, file, "not a regular file")


@posix
@pytest.mark.skipif(is_almighty(), reason="root may read everything; .ci/run has a run without that")
def test_a_file_that_may_not_be_read(run: Program, tmp_path: Path) -> None:
    write_single(tmp_path / "m", {INPUT: bf16()}, tokenizer=tokenizer_json())
    (tmp_path / "m" / "model.safetensors").chmod(0)
    run("row", "king", "-m", tmp_path / "m").refused(7, "model.safetensors", "ermission")
    (tmp_path / "m").chmod(0)
    run("row", "king", "-m", tmp_path / "m").refused(7)
    (tmp_path / "m").chmod(0o700)


# --- which model ------------------------------------------------------------------------------------------------------


def test_the_order_in_which_a_model_is_chosen(run: Program) -> None:
    bundled = run("row", "id:0")
    assert any("mini" in line for line in bundled.of("note"))
    run("use", "tied/").ok()
    saved = run("row", "id:0", "--json").ok()
    assert saved.document["model"] == str(run.folder / "tied")
    assert saved.of("note") == [f"model {run.folder / 'tied'} (saved by `embtool use`)"]
    named = run("row", "id:0", "--json", env={"EMBTOOL_MODEL": "gpt2/"}).ok()
    assert named.document["model"] == "gpt2/"
    assert named.of("note") == ["model gpt2/ (from EMBTOOL_MODEL)"]
    typed = run("row", "id:0", "--json", "-m", "small/", env={"EMBTOOL_MODEL": "gpt2/"}).ok()
    assert typed.document["model"] == "small/"
    assert typed.err == b""
    run("use", "--clear").ok()
    assert "mini" in run("row", "id:0").of("note")[0]


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.few(1)
@posix
@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_that_goes_away_ends_it_silently(run: Program, form: str) -> None:
    many = ["id:5..60", "-k", "300"]
    with run.start("neighbors", *many, "-m", "small/", "-f", form) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


HELP = (
    ["--help"],
    ["neighbors", "--help"],
    ["cache", "--help"],
    ["help"],
    ["--version"],
    pytest.param(
        ["--show-completion", "bash"],
        marks=pytest.mark.skipif(
            shell_name() != "bash", reason="the script is shown in bash only: not started from it"
        ),
    ),
)
UNHEARD: tuple[list[str], ...] = ([], ["cache"], ["neighbors", "--nosuch"], ["--show-completion", "-f", "table"])


@pytest.mark.few(1)
@posix
@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_that_nobody_reads_ends_silently(run: Program, arguments: list[str]) -> None:
    """It was status 1, which typer and rich make of a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        answer = run.outside(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (answer.status, answer.err) == (141, b"")


@pytest.mark.few(1)
@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_on_a_full_disk_is_one_line(run: Program, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        run.outside(*arguments, stdout=full).refused(7, "no space left")


@pytest.mark.few(1)
@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", UNHEARD, ids=" ".join)
def test_complaints_that_nobody_reads_do_not_hide_the_status(run: Program, arguments: list[str]) -> None:
    assert run.outside(*arguments).status == 2
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("wb") as full:
        assert [run.outside(*arguments, stderr=stream).status for stream in (full, writing)] == [2, 2]
    os.close(writing)


def test_a_wrong_option_beside_completion_is_wrong_usage(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embtool.cli.shells.shell_name", lambda: "bash")  # whatever the tests were started from
    run("--show-completion", "-f", "table").refused(2, "no such option: -f")


@pytest.mark.few(1)
@posix
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(run: Program, form: str) -> None:
    arguments = ["neighbors", "id:3", "-k", "3"] if form in ("table", "tsv") else ["row", "id:0..325"]
    with Path("/dev/full").open("wb") as full:
        answer = run.outside(*arguments, "-m", "small/", "-f", form, stdout=full)
    answer.refused(7, "no space left")


@pytest.mark.few(1)
@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", [["--raw"], ["--npy", "-"], ["--npy", "/dev/full"]])
def test_a_full_disk_for_numbers(run: Program, option: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        run.outside("row", "id:0..325", "-m", "small/", *option, stdout=full).refused(7)


@pytest.mark.few(1)
@posix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobody(run: Program, closed: str) -> None:
    command = f"exec {sys.executable} -m embtool neighbors king queenx -m small/ {closed}"
    for script, status in ((command, 3), (command.replace("queenx", "queen"), 0)):
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=run.folder, env=run.environment(), capture_output=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr + done.stdout
        assert b"embtool:" not in done.stdout


@pytest.mark.few(2)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("arguments", [["row", "king"], ["neighbors", " king"], ["info"], ["tokens", " naïve 東京"]])
def test_every_encoding_of_a_terminal(run: Program, encoding: str, arguments: list[str]) -> None:
    model = ["small/"] if arguments == ["info"] else ["-m", "small/"]
    answer = run.outside(*arguments, *model, "-f", "table", env={"PYTHONIOENCODING": encoding}).ok()
    text = answer.out.decode(encoding)
    assert answer.err.decode(encoding).isprintable() or "\n" in answer.errors
    if encoding == "ascii" and arguments[0] != "tokens":
        assert "\\u" not in text
        assert "\\x" not in text.replace("\\x0", "").replace("\\x1", "")


@pytest.mark.parametrize("form", FORMATS)
def test_twenty_columns_are_enough(run: Program, form: str) -> None:
    for arguments in (
        ["neighbors", "king", "-m"],
        ["row", "king", "-m"],
        ["info"],
        ["similarity", "king", "queen", "man", "-m"],
    ):
        narrow = run(*arguments, "small/", "-f", form, env={"COLUMNS": "20"}).ok()
        if form != "table":
            assert narrow.out == run(*arguments, "small/", "-f", form, env={"COLUMNS": "200"}).ok().out


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_no_colour_goes_into_a_pipe(run: Program, env: dict[str, str]) -> None:
    for form in FORMATS:
        assert b"\x1b" not in run("neighbors", "king", "-m", "small/", "-f", form, env=env).ok().out


def test_colour_can_be_forced(run: Program) -> None:
    answer = run("neighbors", "king", "-m", "small/", "-f", "table", env={"FORCE_COLOR": "1", "NO_COLOR": ""})
    assert b"\x1b[" in answer.ok().out
    assert b"\x1b" not in run("neighbors", "king", "-m", "small/", "--json", env={"FORCE_COLOR": "1"}).ok().out


@posix
def test_a_terminal_gets_a_table(run: Program) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with run.start("neighbors", "king", "-m", "small/", stdout=theirs, stdin=theirs, env={"TERM": "dumb"}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert process.wait(30) == 0
    os.close(ours)
    assert b"nearest by cosine" in shown
    assert b"\t" not in shown
    assert b"\x1b" not in shown


# --- waiting and ending -----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_it_waits_for_a_line(run: Program, sent: signal.Signals, status: int) -> None:
    with run.start("neighbors", "-m", "small/", "--jsonl", "-k", "1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"king\n")
        process.stdin.flush()
        assert b'"queen"' not in process.stdout.readline()
        process.send_signal(sent)
        assert process.wait(10) == status
        noise = process.stderr.read()
        assert b"Traceback" not in noise
        assert b"Fatal" not in noise


def test_each_line_is_answered_before_the_next_is_written(run: Program) -> None:
    for command in ("neighbors", "row"):
        with run.start(command, "-m", "small/", "--jsonl", *(["-k", "1"] if command == "neighbors" else [])) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for word in ("king", "queen", " man"):
                process.stdin.write(f"{word}\n".encode())
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["query"] == word
            process.stdin.close()
            assert process.wait(10) == 0


@posix
def test_strict_ends_at_once_though_the_pipe_stays_open(run: Program) -> None:
    with run.start("neighbors", "-m", "small/", "--strict") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"queenx\n")
        process.stdin.flush()
        assert process.wait(10) == 3
        noise = process.stderr.read()
        assert b"queenx" in noise
        assert b"Fatal" not in noise


BATCH = ("neighbors", "row")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", BATCH)
def test_a_bad_line_is_reported_and_the_rest_goes_on(run: Program, command: str, form: str) -> None:
    lines = b"king\nqueenx\n\nid:999\n man\r\nid:3..4\nid:5..9999\n"
    answer = run(command, "-m", "small/", "-f", form, stdin=lines)
    assert answer.status == 3
    assert len(answer.of("error")) == 3
    for line, word in zip(answer.of("error"), ("'queenx'", "999", "id:5..9999"), strict=True):
        assert word in line
    typed = run(command, "king", " man", "id:3..4", "-m", "small/", "-f", form).ok()
    if form != "jsonl":
        assert answer.out == typed.out
        return
    failed = [record for record in answer.records if "error" in record]
    assert [record for record in answer.records if "error" not in record] == typed.records
    assert [(record["query"], record["status"]) for record in failed] == [
        ("queenx", 3),
        ("id:999", 3),
        ("id:5..9999", 3),
    ]


def test_strict_stops_at_the_first_bad_line(run: Program) -> None:
    answer = run("neighbors", "-m", "small/", "--jsonl", "-k", "1", "--strict", stdin=b"queenx\nking\n")
    answer.refused(3, "queenx")


@pytest.mark.parametrize("stdin", [b"", b"\n\n\r\n", None])
@pytest.mark.parametrize("command", [*BATCH, "similarity"])
@pytest.mark.parametrize("form", ["tsv", "json"])
def test_nothing_to_read_is_wrong_usage(run: Program, command: str, stdin: bytes | None, form: str) -> None:
    for dash in ([], ["-"]):
        run(command, *dash, "-m", "small/", "-f", form, stdin=stdin).refused(2, "no TOKEN given")


def test_lines_that_are_no_text_are_reported(run: Program) -> None:
    answer = run("row", "-m", "small/", "--json", stdin=b"\xff\xfe\n\0\n king\n")
    assert answer.status in (0, 3)
    assert [row["query"] for row in answer.document["rows"]][-1] == " king"
    assert not dangers(answer.errors)


def test_many_lines_make_few_notes(run: Program) -> None:
    answer = run("neighbors", "-m", "small/", "--jsonl", "-k", "1", stdin=b"strawberry\n" * 1200).ok()
    assert len(answer.records) == 1200
    assert len(answer.of("note")) < 10


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks what a process has loaded")
def test_a_long_run_can_be_interrupted(run: Program, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((40_000, 64)).astype("<f2")
    write_single(tmp_path / "m", {INPUT: ("F16", values.shape, values.tobytes())})
    with run.start(
        "neighbors", "id:0..39999", "-k", "40000", "-m", tmp_path / "m", stdout=subprocess.DEVNULL
    ) as process:
        # Not while modules are loaded: a file that a stopped import leaves open is a warning, which is an error here.
        wait_until(lambda: has_loaded(process.pid, "numkong"))
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert b"Traceback" not in err


def has_loaded(pid: int, library: str) -> bool:
    """Tell whether a process has a shared library loaded."""
    return library in Path(f"/proc/{pid}/maps").read_text()


# --- strings of strangers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A model whose tokens, tensors, shards, config and folder bear hostile names."""
    names = [text for name, text in HOSTILE.items() if name != "nul"]
    folder = tmp_path_factory.mktemp("hostile") / "m\x1b[31m\u202e[red]\n\x9b"
    rows = len(tokenizer_json({})["model"]["vocab"]) + len(names)
    values = np.ones((rows, 4)) + np.arange(rows)[:, None] % 7
    tensors = {INPUT: ("F32", values.shape, values.astype("<f4").tobytes())}
    for place, text in enumerate(names):
        tensors[f"{text}.{place}.relative_attention_bias.weight"] = ("F32", (1, 1), bytes(4))
    write_single(
        folder,
        tensors,
        config=config(
            architectures=[HOSTILE["clipboard"]], model_type=HOSTILE["colour"], vocab_size=rows, hidden_size=4
        ),
        tokenizer=tokenizer_json(dict.fromkeys(names, False)),
    )
    return folder, names


@pytest.mark.few(1)
@pytest.mark.parametrize("form", FORMATS)
def test_no_command_prints_a_stranger_raw(hostile: tuple[Path, list[str]], form: str, tmp_path: Path) -> None:
    folder, names = hostile
    (tmp_path / "home").mkdir()
    run = Program(tmp_path / "home", folder.parent)
    rows = len(tokenizer_json({})["model"]["vocab"])
    every = [f"id:{rows}..{rows + len(names) - 1}"]
    model = f"./{folder.name}"
    asked: list[list[str]] = [
        ["info", model],
        ["info", model, model],
        ["row", *every, "-m", model],
        ["neighbors", *every, "-m", model, "-k", "40"],
        ["similarity", *every, "-m", model],
        ["tokens", "".join(names), "-m", model],
        ["tokens", *names, "-m", model],
        ["row", f"piece:{names[0]}", "-m", model],
        ["row", "id:0", "--table", names[0], "-m", model],
        ["row", "id:0", "--table", f"{names[0]}.0.relative_attention_bias.weight", "-m", model],
        ["use", model],
        ["row", "id:0"],
        ["info", f"{model}/no\x1b[31m/"],
    ]
    if form == "table":  # what is refused is refused alike in every format
        asked += [
            [*arguments]
            for name in names
            for arguments in (
                ["row", f"{name}x", "-m", model],
                ["row", f"id:{name}", "-m", model],
                ["row", f"bytes:{name}", "-m", model],
                ["neighbors", "id:0", "--only", f"({name}", "-m", model],
                ["neighbors", "-m", model, "--vector", f"x{name}"],
                ["row", "id:0", f"--{name}", "-m", model],
                [name],
            )
        ]
    for arguments in asked:
        chosen = [] if arguments[0] not in COMMANDS else ["-f", form]
        answer = run(*arguments, *chosen)
        out, err = answer.out.decode(), answer.errors
        assert not dangers(out.replace("\t", " ") if form == "tsv" else out), arguments
        assert not dangers(err), arguments
        if form in ("json", "jsonl"):
            assert out.isascii()
    lines = run("row", *every, "-m", model, "-f", "jsonl").ok().records
    assert [line["token"] for line in lines] == names


def test_a_hostile_header_does_not_fill_the_terminal(run: Program, tmp_path: Path) -> None:
    name = "n" * 200_000
    write_single(tmp_path / "m", {f"{name}.embed_tokens.weight": ("F32", (1, 1, 1), bytes(4))})
    assert len(run("row", "id:0", "-m", tmp_path / "m").refused(6)) < 3000


def test_markup_in_an_expression_is_text(run: Program) -> None:
    answer = run("tokens", HOSTILE["markup"], "-m", "small/", "-f", "table").ok()
    assert "[" in answer.text


def test_a_token_of_a_megabyte(run: Program, tmp_path: Path) -> None:
    write_single(tmp_path / "m", {INPUT: bf16()}, tokenizer=tokenizer_json({"w" * 1_000_000: False, END_OF_TEXT: True}))
    row = "id:319"
    assert len(run("neighbors", row, "-k", "1", "-m", tmp_path / "m", "-f", "table").ok().out) < 5000
    assert run("row", row, "-m", tmp_path / "m", "--json").ok().document["rows"][0]["token"] == "w" * 1_000_000


def test_the_program_can_be_run_in_a_thread(run: Program) -> None:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(run("--version").status))
    thread.start()
    thread.join()
    assert answers == [0]


def test_a_file_on_disk_that_is_replaced_while_asked(tmp_path: Path, run: Program) -> None:
    write_single(tmp_path / "m", {INPUT: bf16()}, tokenizer=tokenizer_json())
    first = run("row", "king", "-m", tmp_path / "m", "--tsv").ok().out
    content = safetensors({INPUT: ("BF16", (326, 16), bytes(326 * 16 * 2))})
    (tmp_path / "m" / "model.safetensors").write_bytes(content)
    assert run("row", "king", "-m", tmp_path / "m", "--tsv").ok().out != first


def test_without_a_command_the_help_is_shown_and_nothing_is_answered(run: Program) -> None:
    answer = run()
    assert (answer.status, answer.out) == (2, b"")
    assert "neighbors" in answer.errors
    assert "Usage" in answer.errors
