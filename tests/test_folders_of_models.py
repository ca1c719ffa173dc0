"""A model in a folder of another: `DIR#text_encoder`, and `hf://org/name#text_encoder` in test_hub_commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from program import Program

from embtool.errors import BadReference, ModelNotFound
from embtool.model import open_model


@pytest.fixture
def pipeline(models: Path, tmp_path: Path) -> Path:
    """Lay out a folder as diffusers does: no config of its own, models and a tokenizer in folders."""
    for name, files in (
        ("text_encoder", ("*.safetensors*", "config.json")),
        ("tokenizer", ("tokenizer*.json",)),
        ("deep/step-5", ("*",)),
    ):
        (tmp_path / "pipe" / name).mkdir(parents=True)
        for pattern in files:
            for file in (models / "small").glob(pattern):
                shutil.copy(file, tmp_path / "pipe" / name)
    (tmp_path / "pipe" / "model_index.json").write_text("{}", encoding="utf-8")
    return tmp_path / "pipe"


def test_a_model_in_a_folder_opens_as_by_its_path(run: Program, pipeline: Path, tmp_path: Path) -> None:
    named = run("neighbors", "king", "-m", f"{pipeline}#deep/step-5", "--json").ok().document
    assert named.pop("model") == f"{pipeline}#deep/step-5"
    plain = run("neighbors", "king", "-m", pipeline / "deep" / "step-5", "--json").ok().document
    assert named == {key: value for key, value in plain.items() if key != "model"}
    info = run("info", f"{pipeline}#text_encoder", "--json").ok().document
    assert info["tables"][0]["file"] == "model-00001-of-00002.safetensors"
    run("export", f"{pipeline}#deep/step-5", "-o", tmp_path / "x.npy").ok()
    with open_model(pipeline / "deep" / "step-5") as model:
        wanted = model.input_table.rows(range(model.input_table.shape[0]))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), wanted)


def test_a_tokenizer_in_a_folder(run: Program, pipeline: Path) -> None:
    model = f"{pipeline}#text_encoder"
    answer = run("neighbors", "king", "-m", model, "--tokenizer", f"{pipeline}#tokenizer", "-k", "1", "--json").ok()
    assert answer.document["queries"][0]["neighbors"][0]["piece"] == "Ġman"


def test_the_folder_around_is_refused_with_what_is_in_it(run: Program, pipeline: Path) -> None:
    named = f"it holds models in folders: {pipeline}#deep/step-5, {pipeline}#text_encoder"
    for line in (("info", pipeline), ("neighbors", "king", "-m", pipeline), ("norms", pipeline)):
        answer = run(*line)
        answer.refused(3)
        assert named in answer.of("hint")
    answer = run("info", f"{pipeline}#nope")
    answer.refused(3, "no folder nope")
    assert named in answer.of("hint")


def test_what_is_no_folder_is_refused(run: Program, pipeline: Path, models: Path) -> None:
    for inner in ("../pipe", "/etc", "a//b", ".", "text_encoder/../tokenizer"):
        with pytest.raises((BadReference, ModelNotFound)):
            open_model(f"{pipeline}#{inner}")
    run("info", f"{models}/small/model-00001-of-00002.safetensors#x").refused(2, "is a file")
    run("info", "mini#x").refused(3, "mini has no folder x")


def test_a_folder_whose_own_name_has_the_sign(run: Program, pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline / "deep" / "step-5", tmp_path / "c#")
    shutil.copytree(pipeline / "deep" / "step-5", tmp_path / "c#sharp")
    assert run("info", f"{tmp_path}/c#sharp", "--json").ok().document["model"] == f"{tmp_path}/c#sharp"
    run("info", f"{tmp_path}/c#").ok()


def test_a_link_out_of_the_folder_around_is_refused(run: Program, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (pipeline / "text_encoder" / "config.json").unlink()
    (pipeline / "text_encoder" / "config.json").symlink_to(tmp_path / "secret.json")
    run("info", f"{pipeline}#text_encoder").refused(7, "outside the model")
