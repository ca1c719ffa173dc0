"""Completion: what the program offers, and what real shells make of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hostile import HOSTILE, dangers
from program import Program
from small_models import tokenizer_json, write_json

from embtool.cli import COMMANDS, shells
from embtool.cli.shells import quote_for_bash, split_line

ASKED = "_EMBTOOL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def needs(shell: str) -> str:
    """Find a shell, or skip the test."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def ask(run: Program, *words: str, env: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Ask as zsh does: the values offered, each with its help text; the program says nothing else."""
    return [(value, about) for value, _, about in (line.partition("\t") for line in reply(run, *words, env=env)[1:])]


def reply(run: Program, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
    asked = {ASKED: "complete_zsh", "_TYPER_COMPLETE_ARGS": "\n".join(("embtool", *words))}
    answer = run(env={**asked, **(env or {})})
    assert (answer.status, answer.errors) == (0, "")
    assert answer.text.endswith("\n")
    return answer.text.removesuffix("\n").split("\n")


def values(run: Program, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
    return [value for value, _ in ask(run, *words, env=env)]


@pytest.fixture
def bin_path(tmp_path: Path) -> str:
    """A search path on which `embtool` is this program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "embtool"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m embtool "$@"\n')
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def in_shell(run: Program, command: list[str], bin_path: str, **more: str) -> list[str]:
    """Run a shell's script; it may say nothing on stderr."""
    env = run.environment({"PATH": bin_path, "LC_ALL": "C.UTF-8", **more})
    done = subprocess.run(command, cwd=run.folder, env=env, capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def in_bash(run: Program, line: str, bin_path: str) -> list[str]:
    """Complete a line as bash does: the words that readline would put in place of the last one."""
    script = r"""
        compopt() { echo "option ${@: -1}"; }
        eval "$(_EMBTOOL_COMPLETE=source_bash embtool)"
        COMP_POINT=${#COMP_LINE}
        read -ra COMP_WORDS <<<"$COMP_LINE"
        [[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _embtool_completion embtool
        printf '%s\n' "${COMPREPLY[@]}"
    """
    return in_shell(run, [needs("bash"), "--norc", "-c", script], bin_path, COMP_LINE=line)


# --- what is offered --------------------------------------------------------------------------------------------------


def test_commands_with_what_they_answer(run: Program) -> None:
    assert ask(run, "neigh") == [("neighbors", COMMANDS["neighbors"][1])]
    assert set(values(run, "")) >= set(COMMANDS)
    assert set(values(run, "cache", "")) == {"ls", "rm", "path", "verify"}


def test_options_and_their_values(run: Program) -> None:
    assert ("--metric", "How nearness is measured; cosine unless said, dot behind a norm.") in ask(
        run, "neighbors", "--m"
    )
    assert values(run, "neighbors", "--metric", "") == ["cosine", "dot", "euclidean"]
    assert values(run, "neighbors", "--metric=co") == ["cosine"]
    assert values(run, "row", "-f", "js") == ["json", "jsonl"]
    assert values(run, "row", "--table", "") == ["input", "output", "position"]
    assert values(run, "row", "--pool", "") == ["mean", "sum", "first", "last"]
    assert values(run, "learn", "")[:9] == [*"12345678", "all"]
    assert values(run, "learn", "pos") == ["position"]
    assert values(run, "schema", "n") == ["neighbors", "norms"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_completes_its_options(run: Program, command: str) -> None:
    words = (command, "ls") if command == "cache" else (command,)
    assert "--help" in values(run, *words, "-")


def test_tokens_by_text_in_the_form_that_works(run: Program) -> None:
    offered = dict(ask(run, "row", "-m", "small/", "straw"))
    assert "strawberry" in offered
    assert "␣strawberry" in offered["strawberry"]
    for text in offered:
        assert run("row", "-m", "small/", text).status == 0
    assert values(run, "row", "-m", "small/", "--exact", "straw") == []
    assert " strawberry" in values(run, "row", "-m", "small/", " straw")
    assert values(run, "row", "-m", "small/", "king")[0] == "king"


def test_tokens_by_their_forms(run: Program) -> None:
    small = ("row", "-m", "small/")
    assert values(run, *small, "i")[-1] == "id:"
    (identity,) = {record["id"] for record in run(*small, " king", "--jsonl").ok().records}
    assert ("id:" + str(identity), "␣king") in ask(run, *small, f"id:{identity}")
    assert "piece:Ġking" in values(run, *small, "piece:Ġki")
    assert values(run, *small, "bytes:206b696e67") == ["bytes:206b696e67"]
    assert values(run, *small, "id:x") == values(run, *small, "bytes:zz") == []


def test_the_default_model_is_asked_and_few_tokens_are_offered(run: Program) -> None:
    offered = values(run, "neighbors", "straw")
    assert offered[:1] == ["straw"]
    assert "strawberry" in offered
    assert 3 < len(values(run, "neighbors", "s")) <= 50
    assert "strawberry" in values(run, "neighbors", "straw", env={"EMBTOOL_MODEL": "small/"})
    assert "strawberry" in values(run, "calc", "king", "-", "man", "+", "strawb")


def test_models_bundled_and_cached(run: Program, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--acme--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "models--acme--empty").mkdir()
    (tmp_path / "hub" / "models--acme--tiny" / "refs").mkdir()
    (tmp_path / "hub" / "models--acme--tiny" / "refs" / "main").write_text("0" * 40)
    write_json(snapshot / "tokenizer.json", tokenizer_json())
    own = tmp_path / "own" / "v1" / "hub" / "x" / "models--acme--own"
    own.mkdir(parents=True)
    env = {"HF_HUB_CACHE": str(tmp_path / "hub"), "EMBTOOL_CACHE": str(tmp_path / "own")}
    assert reply(run, "info", "", env=env)[0] == "models"
    assert values(run, "info", "", env=env) == ["mini", "mini-gpt2", "qwen3.6-settings", "acme/own", "acme/tiny"]
    assert values(run, "row", "-m", "acme/", env=env) == ["acme/own", "acme/tiny"]
    assert values(run, "cache", "rm", "", env=env) == ["acme/own"]
    assert "strawberry" in values(run, "row", "-m", "acme/tiny", "straw", env=env)
    assert reply(run, "neighbors", "--vector", "")[0] == "files"


# --- strings of strangers, and a machine that does not help -----------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_hostile_reaches_a_shell(run: Program, tmp_path: Path, shell: str) -> None:
    added = {f"q{text}": False for text in HOSTILE.values()} | {"q$(touch pwned)`x`": False}
    (tmp_path / "hostile").mkdir()
    write_json(tmp_path / "hostile" / "tokenizer.json", tokenizer_json(added))
    line = f"row -m {tmp_path / 'hostile'} q".split(" ")
    sent = " ".join(["embtool", *line]) if shell == "bash" else "\n".join(["embtool", *line])
    env = {ASKED: f"complete_{shell}", "_TYPER_COMPLETE_ARGS": sent, "_TYPER_COMPLETE_WORD_TO_COMPLETE": "q"}
    answer = run(env=env)
    assert (answer.status, answer.errors) == (0, "")
    assert "touch" in answer.text
    assert dangers(answer.text.replace("\t", "")) == set()
    if shell == "bash":
        assert r"q\$\(touch\ pwned\)\`x\`" in answer.text.split("\n")


def test_a_broken_model_or_home_is_silent(run: Program, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_bytes(b"{\xff")
    assert reply(run, "row", "-m", str(broken), "straw") == [""]
    assert values(run, "row", "-m", "nowhere/at-all", "straw") == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    nowhere = {name: str(blocked) for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    assert "strawberry" in values(run, "row", "straw", env=nowhere)
    assert values(run, "info", "", env=nowhere) == ["mini", "mini-gpt2", "qwen3.6-settings"]


def test_a_large_tokenizer_is_offered_only_once_it_is_indexed(run: Program, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "tokenizer.json").write_text(json.dumps(tokenizer_json()) + " " * (3 << 20))
    assert values(run, "row", "-m", f"{tmp_path}/large", "straw") == []
    run("vocab", "straw", "-m", f"{tmp_path}/large").ok()
    assert "strawberry" in values(run, "row", "-m", f"{tmp_path}/large", "straw")


def test_commands_load_nothing_heavy(run: Program) -> None:
    code = "import sys, embtool.cli as c; s = c.run([]); assert s == 0; sys.exit('numpy' in sys.modules)"
    asked = {ASKED: "complete_fish", "_TYPER_COMPLETE_ARGS": "embtool\nneigh"}
    env = run.environment(asked)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"neighbors" in done.stdout


# --- real shells ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("embtool neigh", ["neighbors"]),
        ("embtool neighbors --metric=co", ["cosine"]),
        ("embtool row -m small/ straw", ["strawberry"]),
        ("embtool row -m small/ ' strawb", [" strawberry"]),
        (r"embtool row -m small/ \ strawb", [r"\ strawberry"]),
        ("embtool row -m small/ piece:Ġking", ["Ġking"]),
        ("embtool info tu", ["tuned"]),
    ],
)
def test_bash(run: Program, bin_path: str, line: str, wanted: list[str]) -> None:
    offered = [found for found in in_bash(run, line, bin_path) if not found.startswith("option ")]
    assert set(wanted) <= set(offered)
    assert len(offered) < 12


@pytest.mark.slow
def test_bash_offers_a_hidden_folder_only_where_a_dot_is_typed(run: Program, bin_path: str, tmp_path: Path) -> None:
    for name in (".hidden", "shown"):
        (tmp_path / "here" / name).mkdir(parents=True)
    here = Program(run.home, tmp_path / "here")
    assert "shown" in "".join(in_bash(here, "embtool row -m ", bin_path))
    assert ".hidden" not in "".join(in_bash(here, "embtool row -m ", bin_path))
    assert ".hidden" in "".join(in_bash(here, "embtool row -m .h", bin_path))


def test_fish(run: Program, bin_path: str) -> None:
    fish = needs("fish")

    def complete(line: str) -> list[str]:
        script = '_EMBTOOL_COMPLETE=source_fish embtool | source; complete -C "$LINE"'
        return in_shell(run, [fish, "--no-config", "-c", script], bin_path, LINE=line)

    assert complete("embtool neigh") == [f"neighbors\t{COMMANDS['neighbors'][1]}"]
    assert "strawberry" in [line.partition("\t")[0] for line in complete("embtool row -m small/ straw")]
    assert any("strawberry" in line for line in complete("embtool row -m small/ ' straw"))
    assert any(line.startswith("tuned/") for line in complete("embtool info tu"))


def test_zsh(run: Program, bin_path: str) -> None:
    zsh = needs("zsh")

    def complete(line: str) -> str:
        script = r"""
            zmodload zsh/zpty; zpty z "TERM=dumb zsh -f"
            say() { zpty -w z "$1"; }
            say "PS1=; unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -d $HOME/dump"
            say 'source <(_EMBTOOL_COMPLETE=source_zsh embtool); bindkey "^I" complete-word'
            say 'fin() { print -r -- "<<$BUFFER>>"; BUFFER=; zle accept-line }; zle -N fin; bindkey "^X" fin'
            say 'print ready-$((1+1))'; zpty -r z all '*ready-2*'
            zpty -w -n z "$LINE"$'\t'; zpty -w -n z $'\x18'
            zpty -r z all '*<<*>>*'; print -r -- "$all"; zpty -d z
        """
        return "\n".join(in_shell(run, [zsh, "-f", "-c", script], bin_path, LINE=line))

    assert "<<embtool neighbors >>" in complete("embtool neigh")
    assert "<<embtool row -m small/ strawberry >>" in complete("embtool row -m small/ strawberry")
    assert "<<embtool row -m small/ ' strawberry' >>" in complete("embtool row -m small/ ' strawberry")


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_our_own(run: Program, shell: str) -> None:
    shown = run.outside(env={ASKED: f"source_{shell}"}).ok()
    assert (shown.errors, "complete_" in shown.text) == ("", True)
    assert "eval " not in shown.text


@pytest.mark.parametrize("shell", ["pwsh", "powershell", "tcsh", None])
@pytest.mark.parametrize("asked", ["--install-completion", "--show-completion"])
def test_other_shells_are_refused(run: Program, monkeypatch: pytest.MonkeyPatch, shell: str | None, asked: str) -> None:
    monkeypatch.setattr(shells, "shell_name", lambda: shell)
    run(asked).refused(2, "bash, zsh, fish", shell or "unknown")


@pytest.mark.parametrize("asked", ["complete_pwsh", "source_powershell"])
def test_a_shell_that_is_not_known_gets_no_answer(run: Program, asked: str) -> None:
    assert run.outside(env={ASKED: asked, "_TYPER_COMPLETE_ARGS": "embtool row s"}).text == ""


def test_quoting() -> None:
    assert quote_for_bash("a b$c", "") == r"a\ b\$c"
    assert quote_for_bash("a'b", "'") is None
    assert quote_for_bash('a"$', '"') == r"a\"\$"
    assert quote_for_bash("a!", '"') is None
    assert split_line("embtool  row a\\'b ") == (["embtool", "row", "a'b", ""], "", "")
