from __future__ import annotations

import json
from pathlib import Path

import pytest

from embtool.errors import FormatError, LocalFailure
from embtool.settings import choose_model, save_model, saved_model, settings_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("EMBTOOL_MODEL", raising=False)
    return tmp_path


def test_the_order_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_model()[0] == "mini"
    save_model("saved")
    assert choose_model() == ("saved", "saved by `embtool use`")
    monkeypatch.setenv("EMBTOOL_MODEL", "  named ")
    assert choose_model() == ("named", "from EMBTOOL_MODEL")
    monkeypatch.setenv("EMBTOOL_MODEL", " ")
    assert choose_model()[0] == "saved"
    save_model(None)
    assert choose_model()[0] == "mini"


@pytest.mark.parametrize("name", ["org/name@main", " spaces ", "é🍓", "\udcff", 'quo"te\\'])
def test_any_name_is_kept_as_it_is(name: str) -> None:
    path = save_model(name)
    assert saved_model() == name
    assert path == settings_file()
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 99_999, b'{"model": 3}'])
def test_a_broken_file_is_named_with_the_way_out(content: bytes) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_bytes(content)
    with pytest.raises(FormatError, match=r"settings\.json") as caught:
        saved_model()
    assert "embtool use" in str(caught.value.hint)
    save_model("better")
    assert saved_model() == "better"


@pytest.mark.parametrize("content", [{}, [], {"model": None}, {"other": 1}])
def test_a_file_without_a_choice_is_no_choice(content: object) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text(json.dumps(content))
    assert saved_model() is None


def test_a_place_that_cannot_be_written(home: Path) -> None:
    (home / "config").write_text("a file")
    with pytest.raises(LocalFailure, match="cannot write"):
        save_model("x")
    assert saved_model() is None
