"""The pages for learners: their stand-ins are what they say, their notebook runs, and their links lead somewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program

import embtool
from embtool.lesson import stand_ins

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(scope="module")
def lookalikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lookalikes")
    for name, make in stand_ins.MODELS.items():
        (folder / name).mkdir()
        make(folder / name)
    return folder


# --- the stand-ins ----------------------------------------------------------------------------------------------------


def test_what_comes_along_need_not_be_made(run: Program) -> None:
    run("learn", "--stand-ins", "qwen3.6-settings").refused(2, "comes with embtool", "-m qwen3.6-settings")


def test_a_thousand_rows_of_the_tuned_model_have_moved(lookalikes: Path) -> None:
    tuned, mini = embtool.open_model(lookalikes / "tuned"), embtool.open_model("mini")
    ids = range(tuned.input_table.shape[0])
    assert len(ids) == len(mini.vocabulary.ids)
    moved = (tuned.input_table.rows(ids) != mini.input_table.rows(ids)).any(axis=1)
    assert int(moved.sum()) == 1000
    assert np.array_equal(tuned.output_table.rows(ids), mini.output_table.rows(ids))


# --- the notebook -----------------------------------------------------------------------------------------------------


def notebook_cells() -> list[dict[str, Any]]:
    book = json.loads((ROOT / "docs" / "embeddings.ipynb").read_text("utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in notebook_cells():
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_the_notebook_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in notebook_cells():
        exec("".join(cell["source"]), names)  # noqa: S102 - its asserts hold embtool against what was computed by hand
    assert names["found"].ids[0] == names["strawberry"]
    assert "Ġstrawberries" in capsys.readouterr().out
