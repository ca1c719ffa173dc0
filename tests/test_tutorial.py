"""The pages for learners: their stand-ins are what they say, their notebook runs, and their links lead somewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embtool
from embtool.lesson import stand_ins
from embtool.positions import Learned, Rope

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
REAL = ROOT.parent / "shared" / "real" / "configs"


@pytest.fixture(scope="module")
def lookalikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lookalikes")
    for name, make in stand_ins.MODELS.items():
        (folder / name).mkdir()
        make(folder / name)
    return folder


# --- the stand-ins ----------------------------------------------------------------------------------------------------


def test_the_gpt2_like_model_adds_a_row_for_each_of_1024_places(lookalikes: Path) -> None:
    model = embtool.open_model(lookalikes / "gpt2-like")
    assert isinstance(model.positions, Learned)
    assert model.positions.context_length == 1024
    assert model.tables.tying.verdict == "tied"
    table = model.tables.find("position")
    found = embtool.nearest(table, table.rows([500])[0], k=3, exclude=[500])
    assert set(found.ids.tolist()) <= {498, 499, 501, 502}


def test_its_token_rows_are_those_of_the_bundled_model(lookalikes: Path) -> None:
    ids = range(0, 32_000, 997)
    copied, original = (embtool.open_model(name).input_table.rows(ids) for name in (lookalikes / "gpt2-like", "mini"))
    assert np.array_equal(copied, original)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real configs are not beside the project")
def test_the_settings_said_to_be_those_of_qwen36_are(lookalikes: Path, tmp_path: Path) -> None:
    real = json.loads((REAL / "qwen3.6-27b-nvfp4" / "config.json").read_text("utf-8"))
    del real["quantization_config"]  # that copy is quantised; the settings asked here are not touched by it
    (tmp_path / "config.json").write_text(json.dumps(real), encoding="utf-8")
    said, true = (embtool.open_model(folder) for folder in (lookalikes / "qwen3.6-settings", tmp_path))
    assert isinstance(said.positions, Rope)
    assert isinstance(true.positions, Rope)
    assert said.positions.layers[0].layers == true.positions.layers[0].layers
    assert said.positions.settings == true.positions.settings
    assert said.positions.context_length == true.positions.context_length
    assert said.config is not None
    assert true.config is not None
    for name in ("vocab_size", "hidden_size", "head_dim", "num_attention_heads"):
        assert getattr(said.config, name) == getattr(true.config, name), name


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
