from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import WIDTH, bfloat16, safetensors, table, texts, write_single
from sources import Memory

import embtool
from embtool.errors import (
    BadReference,
    ConfigError,
    EmbtoolError,
    FileNotInModel,
    InvalidArgument,
    LocalFailure,
    ModelNotFound,
    NoVocabulary,
    TableNotFound,
    UnsupportedFormat,
)
from embtool.model import Model, open_model
from embtool.questions.info import ask_info


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "cache"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_api_of_the_contract(small: Path) -> None:
    model = embtool.open_model(small)
    assert model.input_table.shape == table("input").shape
    token = model.vocabulary.find("strawberry")
    assert (token.piece, token.text) == ("Ġstrawberry", " strawberry")
    row = model.input_table.rows([token.id])
    assert row.dtype == np.float32
    assert np.array_equal(row, table("input")[[token.id]])
    found = embtool.nearest(model.input_table, row, k=3)
    assert found.ids[0] == token.id
    assert np.array_equal(model.output_table.rows([0]), table("output")[[0]])


def test_opening_reads_nothing(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    opened: list[str] = []
    real = os.open

    def watched(path: str | Path, *rest: int) -> int:
        opened.append(str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", watched)
    model = open_model(small)
    assert opened == []
    assert model.config is not None
    assert [Path(path).name for path in opened] == ["config.json"]


@pytest.mark.parametrize("name", ["small", "tied", "gpt2", "bert"])
def test_info_reads_headers_only(models: Path, name: str) -> None:
    source = Memory(files_of(models / name))
    ask_info(Model(source))
    shards = {file: content for file, content in source.contents.items() if file.endswith(".safetensors")}
    assert {read.file for read in source.reads} >= shards.keys()
    for read in source.reads:
        if read.file in shards:
            header = 8 + int.from_bytes(shards[read.file][:8], "little")
            assert read.start == 0 or read.stop <= header, "a read of more than the beginning"
    assert source.cost.bytes == sum(read.stop - read.start for read in source.reads)


def test_info_of_a_large_table_reads_a_few_kilobytes() -> None:
    rows = 200_000
    content = safetensors({"model.embed_tokens.weight": ("F32", (rows, WIDTH), bytes(rows * WIDTH * 4))})
    source = Memory({"model.safetensors": content})
    ask_info(Model(source))
    assert source.cost.bytes < 200_000 < len(content)


def test_a_row_is_read_by_its_bytes(small: Path) -> None:
    source = Memory(files_of(small))
    model = Model(source)
    assert model.input_table.role == "input"
    source.reads.clear()
    model.input_table.rows([7, 8])
    (read,) = source.reads
    assert read.stop - read.start == 2 * WIDTH * 2


@pytest.mark.parametrize(
    "reference", ["{}", "{}/", "{}/model.safetensors.index.json", "{}/model-00001-of-00002.safetensors", "{}/../small"]
)
def test_every_way_to_name_a_local_model(small: Path, reference: str) -> None:
    model = open_model(reference.format(small))
    assert model.name == reference.format(small)
    assert model.input_table.shape == table("input").shape
    assert model.config is not None
    assert model.vocabulary.find("king").text == " king"


def test_a_home_folder_is_found(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(models))
    monkeypatch.setenv("USERPROFILE", str(models))
    assert open_model("~/small").input_table.role == "input"


def test_a_link_to_a_model_is_a_model(small: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(small)
    (tmp_path / "one.safetensors").symlink_to(small / "model-00001-of-00002.safetensors")
    assert open_model(tmp_path / "link").vocabulary
    assert open_model(tmp_path / "one.safetensors").input_table.shape == table("input").shape


REFUSED: dict[str, type[EmbtoolError]] = {
    "": BadReference,
    "/nowhere": ModelNotFound,
    "./nowhere": ModelNotFound,
    "../nowhere": ModelNotFound,
    "nowhere/": ModelNotFound,
    "~/nowhere": ModelNotFound,
    "~no-such-user/x": ModelNotFound,
    "a/b/c": ModelNotFound,
    "C:\\models\\x": ModelNotFound,
    "x.safetensors": ModelNotFound,
    "org/x.safetensors": ModelNotFound,
    "model.safetensors.index.json": ModelNotFound,
    "pytorch_model.bin": ModelNotFound,
    "x\0y/": ModelNotFound,
    "./" + "x" * 5000: ModelNotFound,
}


@pytest.mark.parametrize("reference", REFUSED)
def test_a_path_that_does_not_exist_is_never_sent_to_the_hub(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(REFUSED[reference]):
        open_model(reference)


def test_a_pickle_is_refused_by_its_name_and_never_opened(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "x.pt", "x.pth", "x.ckpt"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
        with pytest.raises(UnsupportedFormat, match="pickle") as caught:
            open_model(tmp_path / name)
        assert caught.value.hint
        folder = tmp_path / f"only {name}"
        folder.mkdir()
        (tmp_path / name).rename(folder / name)
        with pytest.raises(UnsupportedFormat, match=name):
            _ = open_model(folder).checkpoint


@pytest.mark.parametrize(("file", "word"), [("tf_model.h5", "Keras"), ("model.onnx", "ONNX")])
def test_a_foreign_format_is_refused_by_its_name(tmp_path: Path, file: str, word: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(UnsupportedFormat, match=word):
        _ = open_model(tmp_path).checkpoint


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnsupportedFormat, match=r"notes\.txt is not a model"):
        open_model(tmp_path / "notes.txt")


def test_code_beside_a_model_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "modeling_evil.py").write_text("raise SystemExit('run')")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.")
    config = {"model_type": "llama", "auto_map": {"AutoModel": "modeling_evil.Evil"}, "vocab_size": 326}
    (tmp_path / "config.json").write_text(json.dumps(config))
    values = table("input")
    content = safetensors({"model.embed_tokens.weight": ("BF16", values.shape, bfloat16(values))})
    (tmp_path / "model.safetensors").write_bytes(content)
    events: list[str] = []

    def audit(event: str, arguments: Any) -> None:
        if event in ("import", "pickle.find_class", "exec", "os.system") and armed:
            events.append(f"{event} {arguments!r}")

    armed = False
    sys.addaudithook(audit)
    model = open_model(tmp_path)
    ask_info(model)
    armed = True
    ask_info(open_model(tmp_path))
    model.input_table.rows([1])
    armed = False
    assert not [event for event in events if "evil" in event or "pickle" in event or "system" in event]


def test_a_folder_with_a_part_of_a_model(models: Path) -> None:
    config, words, bare, empty = (
        open_model(models / f"{name}") for name in ("only-config", "only-tokenizer", "bare", "empty")
    )
    assert config.rope.layers
    with pytest.raises(TableNotFound, match=r"no \*\.safetensors"):
        _ = config.tables
    with pytest.raises(NoVocabulary):
        _ = config.vocabulary
    assert words.vocabulary.find("king").text == " king"
    assert words.config is None
    with pytest.raises(ConfigError, match=r"config\.json"):
        _ = words.positions
    assert bare.config is None
    assert bare.vocabulary_if_any is None
    assert bare.input_table.shape == (len(texts()) + 6, WIDTH)
    with pytest.raises(FileNotInModel, match="it is not a model"):
        ask_info(empty)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 200_000, b'{"vocab_size": "x"}'])
def test_a_broken_config_is_named(small: Path, content: bytes) -> None:
    model = Model(Memory({**files_of(small), "config.json": content}))
    card = ask_info(model)
    (broken,) = card.to_dict()["broken"]
    assert broken["part"] == "config"
    assert "config.json" in broken["message"]
    assert broken["status"] == card.status == 6
    assert [table.role for table in card.tables] == ["input", "output"]
    assert card.vocabulary is not None
    with pytest.raises(EmbtoolError, match=r"config\.json"):
        _ = model.positions


def test_a_config_of_another_size_does_not_win_over_the_tensor(small: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 64}
    model = Model(Memory({**files_of(small), "config.json": json.dumps(config).encode()}))
    card = ask_info(model)
    assert card.to_dict()["tables"][0]["shape"] == [326, WIDTH]


@pytest.mark.skipif(os.name == "nt", reason="needs pipes in folders")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(LocalFailure, match="not a regular file"):
        ask_info(open_model(tmp_path))


def test_hostile_headers_cost_little() -> None:
    for shape in ([1 << 40, 0], [1 << 61, 0], [0, 1 << 40]):
        content = safetensors({"model.embed_tokens.weight": ("F32", shape, b"")})
        card = ask_info(Model(Memory({"model.safetensors": content, "vocab.txt": b"[UNK]\nking\n"})))
        assert card.to_dict()["tables"][0]["shape"] == shape


def test_a_shard_that_is_cut_is_named(small: Path) -> None:
    files = files_of(small)
    files["model-00002-of-00002.safetensors"] = files["model-00002-of-00002.safetensors"][:-1]
    card = ask_info(Model(Memory(files)))
    (broken,) = card.to_dict()["broken"]
    assert "model-00002-of-00002.safetensors of memory is truncated" in broken["message"]
    assert card.status == 6
    assert [table.role for table in card.tables] == ["input"]
    assert card.vocabulary is not None


def test_what_a_notebook_shows_of_a_model() -> None:
    model = open_model("mini")
    assert repr(model) == "<model 'mini'>"
    assert repr(model.tables) == "<tables of 'mini': input, output>"
    assert repr(model.input_table) == "<input table 'model.embed_tokens.weight' of 'mini': 32,000 × 128 BF16>"


def test_rows_are_asked_for_by_a_list() -> None:
    table: Any = open_model("mini").input_table
    with pytest.raises(InvalidArgument, match=r"a list of token ids is wanted, such as \[3, 5\], not 5"):
        table.rows(5)


@pytest.mark.parametrize("name", ["small", "small/tokenizer.json", "renamed.json"])
def test_the_tokenizer_can_be_elsewhere(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_single(
        tmp_path / "bare", {"model.embed_tokens.weight": ("F32", (320, 16), np.ones((320, 16), "<f4").tobytes())}
    )
    shutil.copytree(models / "small", tmp_path / "small")
    shutil.copy(models / "small" / "tokenizer.json", tmp_path / "renamed.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoVocabulary):
        _ = open_model("bare").vocabulary
    model = open_model("bare", tokenizer=name)
    assert model.vocabulary.find("king") == open_model("small").vocabulary.find("king")
    assert model.neighbors("king", k=1)[0].id is not None
    with pytest.raises(ModelNotFound):
        _ = open_model("bare", tokenizer="./nowhere").vocabulary


def test_parts_of_a_model_say_what_they_are(models: Path) -> None:
    model = open_model(models / "small")
    assert repr(model.source) == f"<files of {str(models / 'small')!r}>"
    assert repr(model.checkpoint).startswith("<safetensors checkpoint of ")
    assert "0x" not in repr(model.source) + repr(model.checkpoint) + repr(model.vocabulary) + repr(model.tables)


def test_a_model_shows_itself_as_a_card(models: Path, tmp_path: Path) -> None:
    card = open_model(models / "small")._repr_html_()
    assert "model.embed_tokens.weight" in card
    (tmp_path / "<b>").mkdir()
    assert open_model(tmp_path / "<b>")._repr_html_().startswith("&lt;model")
