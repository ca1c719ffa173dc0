from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from program import Program


def test_without_a_model_it_says_which_one_is_used(run: Program) -> None:
    document = run("use", "--json").ok().document
    assert document["schema"] == "embtool/use@1"
    assert document["model"] == "mini"
    assert document["file"] == str(run.home / "config" / "embtool" / "settings.json")
    assert not Path(document["file"]).exists()
    assert run("use", "--json", env={"EMBTOOL_MODEL": "x"}).ok().document["model"] == "x"


def test_a_local_model_is_kept_by_its_whole_path(run: Program, small: Path) -> None:
    document = run("use", "small/", "--json").ok().document
    assert (document["model"], document["why"]) == (str(small), "saved by `embtool use`")
    elsewhere = Program(run.home, run.home)
    assert elsewhere("row", "id:3", "--json").ok().document["model"] == str(small)
    assert run("use", "--json").ok().document["model"] == str(small)


def test_a_choice_is_forgotten(run: Program) -> None:
    run("use", "small/").ok()
    assert run("use", "--clear", "--json").ok().document["model"] == "mini"
    assert run("use", "--json").ok().document["model"] == "mini"


def test_the_bundled_model_can_be_chosen_by_name(run: Program) -> None:
    run("use", "small/").ok()
    assert run("use", "mini", "--json").ok().document["model"] == "mini"


@pytest.mark.parametrize("name", ["./nowhere", "x.safetensors", ""])
def test_a_mistyped_name_is_not_kept(run: Program, name: str) -> None:
    run("use", "small/").ok()
    answer = run("use", name)
    answer.refused(answer.status)
    assert "small" in run("use", "--json").ok().document["model"]


def test_a_broken_choice_is_one_line_and_can_be_made_anew(run: Program) -> None:
    file = run.home / "config" / "embtool" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    run("row", "id:0").refused(6, "settings.json", "embtool use")
    run("row", "id:0", "-m", "small/").ok()
    run("use", "small/").ok()
    assert run("row", "id:0").ok().out


def test_a_place_that_cannot_be_written(run: Program) -> None:
    (run.home / "config").write_text("a file")
    run("use", "small/").refused(7, "settings.json")


@pytest.mark.skipif(os.name == "nt", reason="needs file names that are not text")
def test_a_path_that_is_not_text_is_kept(run: Program, tmp_path: Path, small: Path) -> None:
    place = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff")
    Path(place).symlink_to(small)
    run("use", place).ok()
    answer = run("row", "id:3", "--json").ok()
    assert answer.document["model"] == place
    assert run("row", "id:3", "-f", "table").ok().out


def test_what_is_no_model_is_not_kept(run: Program, tmp_path: Path) -> None:
    run("use", tmp_path).refused(3, "is not a model")
    assert run("use", "--json").ok().document["model"] == "mini"


def test_a_choice_that_is_gone_says_how_to_forget_it(run: Program, tmp_path: Path, small: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    run("use", copy).ok()
    shutil.rmtree(copy)
    run("row", "id:3").refused(3, "no such file or folder", "embtool use --clear")
