"""The man pages in man/ are those of the program, complete, and in order for man."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import manual
import pytest
from help_page import options_in_help
from program import Program
from reference import Command, program

from embtool.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = manual.pages()
ALONE = [one for top in program().commands for one in top.walk() if not one.commands]
GROFF, MAN = shutil.which("groff"), shutil.which("man")


def plain(text: str) -> str:
    """What a reader sees of a page: no requests, fonts or escapes."""
    text = re.sub(r"^\.(\S+) ?", "", text, flags=re.MULTILINE)
    for written, sign in {r"\fB": "", r"\fI": "", r"\fP": "", r"\-": "-", r"\(aq": "'", r"\&": ""}.items():
        text = text.replace(written, sign)
    return text


def test_the_pages_are_up_to_date() -> None:
    assert {path.name: path.read_text("utf-8") for path in manual.MAN.iterdir()} == PAGES


def test_there_is_a_page_for_every_command() -> None:
    assert PAGES.keys() == {"embtool.1"} | {f"embtool-{name}.1" for name in COMMANDS}
    for name, (_, summary) in COMMANDS.items():
        assert f"embtool-{name}(1)\n{summary.split('. ')[0].split('? ')[0]}" in plain(PAGES["embtool.1"])


@pytest.mark.parametrize("command", ALONE, ids=lambda one: one.name)
def test_every_option_of_a_command_is_on_its_page(command: Command, run: Program) -> None:
    words = command.name.split()
    text = plain(PAGES[f"embtool-{words[0]}.1"])
    terms = " ".join(re.findall(r"^--?\w.*$", text, re.MULTILINE))
    assert options_in_help(run, *words) <= set(re.findall(r"--?[a-z][a-z-]*", terms))
    assert f"embtool {' '.join(words)}" in text


@pytest.mark.skipif(GROFF is None, reason="groff is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_complain_about(name: str) -> None:
    done = subprocess.run(
        [str(GROFF), "-Tutf8", "-Kutf8", "-man", "-ww", "-z"],
        input=PAGES[name].encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


@pytest.mark.skipif(MAN is None, reason="man is not installed")
@pytest.mark.parametrize("name", ["embtool.1", "embtool-neighbors.1", "embtool-cache.1"])
def test_man_shows_a_page_in_80_columns(name: str) -> None:
    done = subprocess.run(
        [str(MAN), "--warnings=w", "-E", "UTF-8", "-l", str(manual.MAN / name)],
        env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
    assert "NAME\n       embtool" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_install_puts_them_where_man_looks() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["shared-data"]["man"] == "share/man/man1"
    assert "/man" in build["sdist"]["include"]


def test_signs_that_mean_something_to_man_are_escaped() -> None:
    assert manual.escape(".x") == r"\&.x"
    assert manual.escape("'x' a\\b -k") == r"\&\(aqx\(aq a\eb \-k"
    assert list(manual._text("First. Then `a-b` ends.")) == ["First.", r"Then \fBa\-b\fP ends."]
