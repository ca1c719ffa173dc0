"""Models in folders of a folder: they are named, and opened where they are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from program import Program
from small_models import safetensors, tokenizer_json, write_json
from sources import Memory

from embtool.errors import BadReference, EmbtoolError, LocalFailure, ModelNotFound
from embtool.formats.folders import hint_of_folders, models_below
from embtool.model import open_model
from embtool.storage.source import Below
from embtool.tables.table_roles import role_of
from embtool.tables.unknown_tables import hint_of_candidates

TABLE = np.arange(14, dtype="<f4").reshape(7, 2)


def write_model(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model_type": "clip_text_model", "vocab_size": 7, "hidden_size": 2})
    write_json(folder / "tokenizer.json", tokenizer_json())
    content = safetensors({"text_model.embeddings.token_embedding.weight": ("F32", (7, 2), TABLE.tobytes())})
    (folder / "model.safetensors").write_bytes(content)


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Write a pipeline as diffusers does."""
    write_model(tmp_path / "text_encoder")
    write_model(tmp_path / "unet")
    (tmp_path / "tokenizer").mkdir()
    write_json(tmp_path / "tokenizer" / "tokenizer.json", tokenizer_json())
    (tmp_path / "model_index.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("command", [("info",), ("check",), ("row", "id:1", "-m"), ("norms",)])
def test_a_folder_of_folders_names_them(run: Program, pipeline: Path, command: tuple[str, ...]) -> None:
    run(*command, pipeline).refused(3, f"{pipeline}#text_encoder, {pipeline}#unet")


def test_one_of_them_is_opened(run: Program, pipeline: Path) -> None:
    name = f"{pipeline}#text_encoder"
    document = run("row", "-m", name, "id:3", "--json").ok().document
    assert (document["model"], document["rows"][0]["values"]) == (name, TABLE[3].tolist())
    assert run("info", name, "--json").ok().document["tables"][0]["shape"] == [7, 2]
    assert run("neighbors", "-m", name, "id:3", "-k", "2", "--json").ok().document["queries"]
    run("tokens", "-m", f"{pipeline}#tokenizer", "a").ok()
    run("row", "-m", f"{pipeline}#unet", "id:1", "--tokenizer", f"{pipeline}#tokenizer").ok()


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("#", BadReference), ("#..", BadReference), ("#../x", BadReference), ("#/", BadReference),
        ("#a\\b", BadReference),
        ("#nothing", ModelNotFound), ("#text_encoder/model.safetensors", ModelNotFound),
    ],
)  # fmt: skip
def test_what_is_no_folder_of_it_is_refused(pipeline: Path, end: str, kind: type[EmbtoolError]) -> None:
    with pytest.raises(kind):
        open_model(f"{pipeline}{end}")


def test_a_file_has_no_folders(pipeline: Path) -> None:
    with pytest.raises(BadReference, match="is a file"):
        open_model(f"{pipeline}/text_encoder/model.safetensors#x")
    with pytest.raises(ModelNotFound, match="no such file or folder"):
        open_model(f"{pipeline}/none#x")


def test_a_name_that_has_the_mark_in_it_is_a_name(tmp_path: Path) -> None:
    write_model(tmp_path / "a#b")
    assert open_model(str(tmp_path / "a#b")).input_table.shape == (7, 2)
    assert open_model(tmp_path / "a#b").input_table.shape == (7, 2)


def test_the_cache_of_the_hub_itself(tmp_path: Path) -> None:
    """Files of a snapshot are links to blobs; so are those of its folders."""
    cached = tmp_path / "models--org--name"
    commit = cached / "snapshots" / ("a" * 40)
    write_model(commit / "text_encoder")
    (cached / "blobs").mkdir()
    for place in list((commit / "text_encoder").iterdir()):
        place.rename(cached / "blobs" / place.name)
        place.symlink_to(Path("../../../blobs") / place.name)
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(cached).input_table
    below = f"snapshots/{'a' * 40}/text_encoder"
    assert caught.value.hint == f"it has models in folders, name one: {cached}#{below}"
    for reference in (f"{cached}#{below}", f"{commit}#text_encoder", str(commit / "text_encoder")):
        assert open_model(reference).input_table[2].tolist() == TABLE[2].tolist()
    (tmp_path / "secret.json").write_text("{}")
    (commit / "text_encoder" / "config.json").unlink()
    (commit / "text_encoder" / "config.json").symlink_to(tmp_path / "secret.json")
    for reference in (f"{commit}#text_encoder", str(commit / "text_encoder")):
        with pytest.raises(LocalFailure, match="outside the model"):
            _ = open_model(reference).config


def test_which_are_named_and_in_what_order() -> None:
    files = [
        "config.json",
        "0_Transformer/model.safetensors",
        "1_Pooling/config.json",
        "b/x.gguf",
        "blobs/x.safetensors",
    ]
    source = Memory(dict.fromkeys([*files, "0_Transformer/deeper/model.safetensors"], b""), "m/")
    assert models_below(source) == ["0_Transformer", "b"]
    assert hint_of_folders(source) == "it has models in folders, name one: m#0_Transformer, m#b"
    many = Memory(dict.fromkeys([f"checkpoint-{number}/model.safetensors" for number in range(9)], b""), "m")
    assert str(hint_of_folders(many)).endswith("m#checkpoint-5 and 3 more")
    assert models_below(Memory({"1_Pooling/config.json": b"", "x.safetensors": b""})) == ["1_Pooling"]
    assert hint_of_folders(Memory({"x.safetensors": b""})) is None


def test_a_folder_of_any_source() -> None:
    config = json.dumps({"model_type": "llama"}).encode()
    whole = Memory({"a/config.json": config, "a/b.txt": b"12345", "ab/c.txt": b""})
    below = Below(whole, "a", "whole#a")
    assert below.files() == ("b.txt", "config.json")
    assert (below.has("b.txt"), below.has("c.txt"), below.size("b.txt")) == (True, False, 5)
    assert (below.read_file("config.json"), below.head("b.txt", 2)) == (config, b"12")
    assert below.read_ranges("b.txt", [(1, 3), (0, 1)]) == [b"23", b"1"]
    assert below.path("b.txt") is None
    assert below.cost is whole.cost
    assert (below.revision, below.commit) == (None, None)
    below.close()


def test_onnx_in_a_folder_is_named(run: Program, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "llama", "vocab_size": 7, "hidden_size": 2})
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    run("row", "-m", tmp_path, "id:1").refused(3, "onnx/model.onnx is of ONNX")


# --- a pipeline's tokenizer, and tables under other names -------------------------------------------------------------


@pytest.mark.parametrize("number", ["", "_2"])
def test_a_text_encoder_finds_the_tokenizer_beside_it(run: Program, pipeline: Path, number: str) -> None:
    for part in ("text_encoder", "tokenizer"):
        if number:
            (pipeline / part).rename(pipeline / f"{part}{number}")
    folder = pipeline / f"text_encoder{number}"
    (folder / "tokenizer.json").unlink()
    for name in (folder, f"{pipeline}#text_encoder{number}"):
        found = run("info", name, "--json").ok().document["vocabulary"]
        assert found["file"] == f"../tokenizer{number}/tokenizer.json"
    (pipeline / "model_index.json").unlink()
    assert "file" not in run("info", folder, "--json").ok().document["vocabulary"]
    (pipeline / "model_index.json").write_text("{}")
    (pipeline / "tokenizer2").mkdir()
    (pipeline / f"tokenizer{number}" / "tokenizer.json").unlink()
    run("tokens", "a", "-m", folder).refused(3)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("bert/embeddings/word_embeddings/weight:0", "input"),
        ("bert/embeddings/position_embeddings/embeddings:0", "position"),
        ("bert/embeddings/token_type_embeddings/embeddings:0", "token_type"),
        ("transformer/wte/weight:0", "input"),
        ("shared/embedding", "input"),
        ("model/wte", "input"),
        ("model/wpe", "position"),
        ("tokens_embed.weight", "input"),
        ("positions_embed.weight", "position"),
        ("lm_head.weight", "output"),
        ("encoder/layer.0/embed.weight", None),
        ("model/h0/attn/c_attn/w", None),
    ],
)
def test_names_of_other_programs(name: str, role: str | None, tmp_path: Path) -> None:
    assert role_of(name) == role
    (tmp_path / "model.safetensors").write_bytes(safetensors({name: ("F32", (7, 2), TABLE.tobytes())}))
    stored = open_model(tmp_path).tables.stored
    assert [table.role for table in stored] == ([role] if role else [])


@pytest.mark.parametrize(
    ("shapes", "tokens", "expected"),
    [
        ({"tok_emb.weight": (300, 16), "pos_emb.weight": (32, 16), "fc.weight": (48, 16)}, None, ["tok_emb.weight"]),
        ({"E": (300, 16), "W": (16, 16), "U": (16, 300)}, None, ["E"]),
        ({"a": (64, 16), "b": (300, 16), "c": (310, 16)}, 302, ["c", "b"]),
        ({"vocab": (10, 16)}, None, []),
        ({"x.0.tok_emb": (300, 16), "m.q_proj.lora_B.weight": (300, 2)}, None, []),
        ({"tok_emb": (300,), "token": (0, 4)}, None, []),
    ],
)
def test_which_tensors_look_like_a_table(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], tokens: int | None, expected: list[str]
) -> None:
    tensors = {name: ("F32", shape, bytes(4 * int(np.prod(shape)))) for name, shape in shapes.items()}
    (tmp_path / "x.safetensors").write_bytes(safetensors(tensors))
    tables = open_model(tmp_path / "x.safetensors").alone.tables
    found = tables.candidates(*(() if tokens is None else (tokens,)))
    assert [tensor.name for tensor in found] == expected
    assert (hint_of_candidates(found) is None) == (not expected)
