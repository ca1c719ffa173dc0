"""`embtool learn`: the list, the script, and a walk at a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Self

import pytest
from program import Program

from embtool.lesson import STEPS, Done, save_progress

PATIENCE = 100


def test_the_steps_are_listed(run: Program) -> None:
    header, *lines = run("learn").ok().cells
    assert header == ["number", "name", "title", "asks", "done", "done_on", "right", "asked"]
    assert [line[0] for line in lines] == [str(number) for number in range(1, 9)]
    assert {line[4] for line in lines} == {"false"}


def test_without_a_terminal_the_script_is_printed(run: Program) -> None:
    answer = run("learn", "all", "-m", "small/").ok()
    for step in STEPS:
        assert f"{step.number} of 8   {step.title}" in answer.text
    assert answer.text.count("Answer: ") >= 15
    assert answer.errors == ""
    assert run("learn").ok().cells[1][4] == "false", "reading the script is no progress"


def test_one_step_by_number_or_name(run: Program) -> None:
    assert run("learn", "5", "-m", "small/").ok().text == run("learn", "table", "-m", "small/").ok().text
    run("learn", "9").refused(2, "'9'", "1 to 8")


def test_the_model_is_chosen_as_everywhere(run: Program) -> None:
    answer = run("learn", "5", env={"EMBTOOL_MODEL": "small/"}).ok()
    assert answer.of("note") == ["model small/ (from EMBTOOL_MODEL)"]
    assert "embtool info small/" in answer.text


def test_the_list_is_of_a_model_that_there_is(run: Program) -> None:
    assert "on small/" in run("learn", "-f", "table", "-m", "small/").ok().text
    for named in (("nowhere/",), ("-m", "nowhere/")):
        run("learn", "-f", "table", *named).refused(3, "no such file or folder: nowhere/")


def test_lines_for_machines(run: Program) -> None:
    header, *lines = run("learn", "6", "--tsv", "-m", "small/").ok().cells
    assert [line[header.index("step")] for line in lines] == ["6"] * len(lines)
    assert len(run("learn", "6", "--jsonl", "-m", "small/").ok().records) == len(lines)


def test_progress_is_reset_even_where_it_is_damaged(run: Program) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embtool.lesson.progress.user_state_path", lambda _: run.home)
        (run.home / "lesson.json").write_text("{")
        run("learn").refused(6, "not the progress", "embtool learn --reset")
        assert run("learn", "--reset").ok().cells[1][4] == "false"
        assert not (run.home / "lesson.json").exists()


# --- at a terminal ----------------------------------------------------------------------------------------------------

pty = pytest.importorskip("pty", reason="a terminal of our own")


class Terminal:
    """A program at a terminal of its own: what it shows, and what is typed."""

    def __init__(self, run: Program, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        env = {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", **(env or {})}
        self.process = run.start(*arguments, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.seen = ""
        self.passed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with self.process, contextlib.suppress(OSError):
            os.close(self.master)

    def wait(self, words: str, then: str = "") -> None:
        """Wait until these words are shown, after those waited for before; then type something."""
        end = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert time.monotonic() < end, (words, self.seen)
            assert self._more() or words in self.seen, (words, self.seen)
        self.passed, self.seen = self.seen.split(words, 1)
        if then:
            self.type(then)

    def _more(self) -> bool:
        if not select.select([self.master], [], [], 1)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode()
        return bool(data)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Wait for the end, and give the exit status."""
        while self._more():
            pass
        return self.process.wait(PATIENCE)


def test_a_step_is_walked_and_kept(run: Program) -> None:
    with Terminal(run, "learn", "1", "-m", "small/") as screen:
        screen.wait("How many numbers")
        screen.wait("a number> ", "lots\n")
        screen.wait("A number, please")
        screen.wait("a number> ", "16\n")
        screen.wait("Exactly.")
        screen.wait("$ embtool row")
        screen.wait("Answer: 16 numbers")
        screen.wait("-1 to 1> ", "\n")
        screen.wait("Answer: ")
        screen.wait("1 of 1 guesses")
        screen.wait("Next: step 2, What the numbers say.")
        screen.wait("Enter goes on, q leaves> ", "\n")
        screen.wait("2 of 8")
        screen.wait("do you remember?")
        screen.wait("a to c> ", "a\n")
        screen.wait("Not this one.")
        screen.wait("A higher id would then be more of something.")
        screen.wait("a to d> ", "q\n")
        screen.wait("embtool learn 2 -m small/")
        assert screen.end() == 0
    listed = run("learn").ok().cells
    assert listed[1][4:] == ["true", "small/", "1", "1"]
    assert listed[2][4] == "false"
    assert run("learn", "--reset").ok().cells[1][4] == "false"


@pytest.mark.slow
def test_nobody_is_asked_to_remember_what_was_not_learned(run: Program) -> None:
    with Terminal(run, "learn", "6", "-m", "small/") as screen:
        screen.wait("a number> ")
        assert "do you remember?" not in screen.passed
        screen.type("q\n")
        screen.wait("Until next time")


@pytest.mark.slow
def test_a_cosine_is_from_minus_1_to_1(run: Program) -> None:
    with Terminal(run, "learn", "1", "-m", "small/") as screen:
        screen.wait("a number> ", "\n")
        screen.wait("-1 to 1> ", "99.11\n")
        screen.wait("A number from -1 to 1, please")
        screen.wait("-1 to 1> ", "-1\n")
        screen.wait("Answer: ")


def test_recall_comes_first_and_the_last_step_is_open(run: Program) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.environment().items():
            patch.setenv(name, value)
        save_progress({6: Done("small/", 1, 1)})
    with Terminal(run, "learn", "7", "-m", "small/") as screen:
        screen.wait("do you remember?")
        screen.wait("> ", "stays\n")
        screen.wait("Yes.")
        screen.wait("an empty line ends.")
        screen.wait("> ", "An id is an address.\n")
        screen.wait("> ", "\n")
        screen.wait("By its words yours names 1 of 5 ideas.")
        screen.wait("✓ address")
        screen.wait("· learned")
        screen.wait("Step 7 done: 1 of 2")
        screen.wait("Next: step 8")
        screen.wait("Enter goes on", "q\n")
        screen.wait("Until next time")
        assert screen.end() == 0


@pytest.mark.slow
def test_the_last_step_ends_the_walk(run: Program) -> None:
    with Terminal(run, "learn", "8", "-m", "small/") as screen:
        screen.wait("a to d> ", "one\n")
        screen.wait("-1 to 1> ", "\n")
        screen.wait("That was the last step")
        assert screen.end() == 0


def test_right_and_wrong_are_of_two_colours(run: Program) -> None:
    with Terminal(run, "learn", "1", "-m", "small/", env={"NO_COLOR": ""}) as screen:
        screen.wait("a number> ", "16\n")
        screen.wait("\x1b[32m  Exactly.")
        screen.wait("-1 to 1> ", "-1\n")
        screen.wait("\x1b[33m")
        screen.wait("too low.")


def control_d(screen: Terminal) -> None:
    screen.type("\x04")


def letter_q(screen: Terminal) -> None:
    screen.type("q\n")


def control_c(screen: Terminal) -> None:
    """Interrupt; again if that came between the prompt and the reading, where Python does not notice it."""
    for _ in range(30):
        time.sleep(0.2)
        screen.process.send_signal(signal.SIGINT)
        if select.select([screen.master], [], [], 2)[0]:
            return


@pytest.mark.few(1)
@pytest.mark.parametrize(("leave", "status"), [(control_d, 0), (letter_q, 0), (control_c, 130)])
def test_leaving_in_the_middle_is_polite(leave: Callable[[Terminal], None], status: int, run: Program) -> None:
    with Terminal(run, "learn", "all", "-m", "small/") as screen:
        screen.wait("a number> ")
        leave(screen)
        screen.wait("Until next time.")
        assert screen.end() == status
        assert "Traceback" not in screen.seen
    assert run("learn").ok().cells[1][4] == "false"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_the_script_goes_into_a_pipe_whole_or_cut(run: Program) -> None:
    with run.start("learn", "all", "-m", "small/", stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert re.search(rb"1 of 8", process.stdout.read(200))
        process.stdout.close()
        assert process.wait(PATIENCE) in (0, 141)


def test_the_list_of_steps_is_about_the_model_that_is_named(run: Program) -> None:
    for named in (("small/",), ("-m", "small/")):
        shown = run("learn", *named, "-f", "table").ok().text
        assert "on small/" in shown
        assert "next: embtool learn 1 -m small/" in shown
    run("learn", "./nosuch").refused(3, "./nosuch")


def test_the_list_of_steps_cuts_no_title(run: Program) -> None:
    for width in ("40", "50", "60", "80"):
        shown = run("learn", "-f", "table", env={"COLUMNS": width}).ok().text
        assert "…" not in shown
        assert {"address", "guess"} <= set(shown.split())
