"""What is found under the name of another file: one list, in every reader, whatever the name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from pyarrow import feather, parquet
from small_models import safetensors

from embtool.errors import EmbtoolError
from embtool.model import open_model
from embtool.storage.impostors import IMPOSTORS, seems
from embtool.storage.source import Folder
from embtool.vector_files import read_vectors
from embtool.vocabulary import read_vocabulary, read_vocabulary_file


def zipped(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(name, b"x" * 40)
    return made.getvalue()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    made = io.BytesIO()
    write(made)
    return made.getvalue()


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        file.addfile(tarfile.TarInfo("x"), io.BytesIO())
    return made.getvalue()


def sqlite() -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (x)")
    try:
        return database.serialize()
    finally:
        database.close()


GENSIM = "gensim.models.keyedvectors"
TABLE = pa.table({"x": [1, 2, 3]})

MADE: dict[str, tuple[bytes, str]] = {
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
    "a page": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "HTML"),
    "a page of an old server": (b"\n <HTML><BODY>404</BODY></HTML>", "HTML"),
    "an error of a store": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
    "an error in JSON": (b'{"error":"Repository not found"}', "error in JSON"),
    "an error in words": (b"Entry not found", "server's error"),
    "GGML": (b"lmgg" + bytes(60), "GGML"),
    "GGJT": (b"tjgg\3\0\0\0" + bytes(60), "GGML"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="m" version="11">', "OpenVINO"),
    "ONNX of torch": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80\x01", "ONNX"),
    "ONNX of a converter": (b"\x08\x07\x12\x08skl2onnx\x1a\x031.5\x22\x07ai.onnx:", "ONNX"),
    "msgpack": (b"\x82\xa6params\x81\xa5model\x80", "msgpack"),
    "torch, zipped": (zipped("archive/data.pkl"), "pickle"),
    "torch, zipped by another name": (zipped("pytorch_model/data.pkl"), "pickle"),
    "npz": (zipped("arr_0.npy"), "npz"),
    "npz of numpy": (written(lambda file: np.savez(file, a=np.zeros(3))), "npz"),
    "Keras": (zipped("metadata.json"), "Keras"),
    "zip": (zipped("readme.txt"), "zip"),
    "gzip": (gzip.compress(b"a 1 2 3\n" * 9), "gzip"),
    "bzip2": (bz2.compress(b"a 1 2 3\n" * 9), "bzip2"),
    "xz": (lzma.compress(b"a 1 2 3\n" * 9), "xz"),
    "tar": (tar(), "tar"),
    "npy": (written(lambda file: np.save(file, np.zeros((3, 2), np.float32))), "npy"),
    "gensim's own": (
        b"\x80\x04\x95\x9a\0\0\0\0\0\0\0\x8c\x1a" + GENSIM.encode() + b"\x94\x8c\x0cKeyedVectors\x94\x93.",
        "gensim",
    ),
    "gensim's own, older": (b"\x80\x02c" + GENSIM.encode() + b"\nKeyedVectors\nq\0)\x81.", "gensim"),
    "fastText's own": (struct.pack("<ii12i", 793712314, 12, 100, 5, 5, 5, 5, 1, 2, 1, 2000, 3, 6, 100), "fastText"),
    "fastText's first": (struct.pack("<12id", 100, 5, 5, 5, 5, 1, 2, 1, 2000, 3, 6, 100, 1e-4) + bytes(9), "fastText"),
    "finalfusion": (b"FiFu" + bytes(60), "finalfusion"),
    "SQLite": (sqlite(), "SQLite"),
    "Arrow": (written(lambda file: feather.write_feather(TABLE, file)), "Arrow"),
    "Parquet": (written(lambda file: parquet.write_table(TABLE, file)), "Parquet"),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(60), "TensorFlow Lite"),
    "zeros": (bytes(4096), "empty"),
    **{f"a pickle of protocol {protocol}": (pickle.dumps({"a": [1]}, protocol), "pickle") for protocol in range(6)},
}


@pytest.mark.parametrize("case", MADE)
@pytest.mark.parametrize("name", ["x.safetensors", "x.gguf", "x.vec", "x.bin", "x.pt", "x.txt", "x"])
@pytest.mark.few(80)
def test_a_file_is_called_what_it_is_whatever_its_name(tmp_path: Path, case: str, name: str) -> None:
    content, word = MADE[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(tmp_path / name).input_table
    assert word in caught.value.message
    assert caught.value.message.count("pickle") == 0 or "pickle" in seems(content)  # type: ignore[operator]
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("case", MADE)
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "weights.bin"])
@pytest.mark.few(40)
def test_so_is_a_file_of_a_folder(tmp_path: Path, case: str, name: str) -> None:
    content, word = MADE[case]
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(tmp_path).input_table
    assert word in f"{caught.value.message} ({caught.value.hint})"


def test_the_command_line_says_it_in_one_line(run: Program, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MADE["gensim's own"][0])
    run("info", tmp_path / "model.bin").refused(6, "save_word2vec_format")
    (tmp_path / "llama.gguf").write_bytes(MADE["GGML"][0])
    run("info", tmp_path / "llama.gguf").refused(6, "convert_llama_ggml_to_gguf.py")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_what_gensim_saves_is_known(tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models", reason="what gensim writes is the measure here: pip install gensim")
    vectors = models.KeyedVectors(3)
    vectors.add_vectors(["a", "b"], np.ones((2, 3), np.float32))
    vectors.save(str(tmp_path / "x.model"))
    with pytest.raises(EmbtoolError, match="gensim"):
        open_model(tmp_path / "x.model")


def test_a_bin_is_not_called_what_it_is_not(tmp_path: Path) -> None:
    floats = np.arange(64, dtype="<f4").tobytes()
    (tmp_path / "tokenizer.bin").write_bytes(struct.pack("<i", 27) + floats)
    with pytest.raises(EmbtoolError) as caught:
        open_model(tmp_path / "tokenizer.bin")
    assert "pickle" not in caught.value.message
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(tmp_path).input_table
    assert "pickle" not in caught.value.message


def test_word_vectors_in_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "analogy.bin").write_bytes(
        b"2 2\n" + b"a " + struct.pack("<2f", 1, 2) + b"b " + struct.pack("<2f", 3, 4)
    )
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(tmp_path).input_table
    assert caught.value.hint == f"name the file: {tmp_path}/analogy.bin"
    assert open_model(tmp_path / "analogy.bin").input_table[1].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", ["model.bin", "blob"])
def test_a_sound_file_opens_under_any_name(tmp_path: Path, name: str) -> None:
    table = np.arange(6, dtype="<f4").reshape(3, 2)
    (tmp_path / name).write_bytes(safetensors({"wte.weight": ("F32", (3, 2), table.tobytes())}))
    assert open_model(tmp_path / name).input_table[:].tolist() == table.tolist()


def test_what_is_right_is_not_on_the_list() -> None:
    bundled = open_model("mini")
    for file in bundled.source.files():
        assert seems(bundled.source.head(file, 4096)) is None, file
    for begin in (
        b"the 0.418 0.24968\n",
        b"400000 50\nthe 0.1",
        b"<unk>\n<s>\n",
        b"<html>\n",
        b"[PAD]\n",
        b"!\n",
        b'{"a": 1}',
    ):
        assert seems(begin) is None or begin == b"<html>\n"
    for length in range(8, 70_000, 7):  # the length of a header of safetensors
        assert seems(length.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}') is None


def test_the_list_is_quick_on_hostile_bytes() -> None:
    for begin in (b"PK\3\4", b"\x80\4", b"\xde\0\1\xa1", b"\x08\1\x12\x7f", b"<?xml", b" " * 9):
        for filler in (b"a", b"\0", b" ", b"/", b"."):
            seems(begin + filler * 100_000)


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_at(content: bytes) -> None:
    assert seems(content) in {None, *(kind.what for kind in IMPOSTORS)}


def test_a_tokenizer_that_is_a_pointer_does_not_hide_the_tables(tmp_path: Path) -> None:
    table = np.arange(6, dtype="<f4").reshape(3, 2)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 3, "hidden_size": 2}))
    content = safetensors({"model.embed_tokens.weight": ("F32", (3, 2), table.tobytes())})
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "tokenizer.json").write_bytes(MADE["a pointer"][0])
    assert open_model(tmp_path).input_table[:].tolist() == table.tolist()


# --- every reader of a model's files


TABLES = safetensors({"model.embed_tokens.weight": ("F32", (3, 2), bytes(24))})
CONFIG = json.dumps({"model_type": "llama", "vocab_size": 3, "hidden_size": 2}).encode()
MARIAN = b'{"tokenizer_class": "MarianTokenizer"}'


def split(folder: Path) -> object:
    return read_vocabulary(Folder(folder)).encode("a")


def opened(folder: Path) -> object:
    return open_model(folder).input_table, open_model(folder).config


def parsed(file: str) -> Callable[[Path], object]:
    return lambda folder: read_vectors(folder / file)


def named(file: str) -> Callable[[Path], object]:
    return lambda folder: read_vocabulary_file(Folder(folder), file).encode("a")


LISTS = {"vocab.txt": b"[UNK]\na\n"}
MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model.v3", "x.tiktoken")

READERS: dict[str, tuple[str, dict[str, bytes], Callable[[Path], object]]] = {
    **{
        f"{file} as a tokenizer": (file, {}, split)
        for file in (*MODELS, "tokenizer.json", "vocab.txt", "tekken.json", "rwkv_vocab.txt")
    },
    **{
        f"{file} of a class": (file, {"tokenizer_config.json": b'{"tokenizer_class": "T5Tokenizer"}'}, split)
        for file in (*MODELS, "vocab.txt")
    },
    **{f"{file} by its name": (file, {}, named(file)) for file in (*MODELS, "tokenizer.json", "vocab.txt")},
    "vocab.json": ("vocab.json", {"merges.txt": b""}, split),
    "merges.txt": ("merges.txt", {"vocab.json": b'{"a": 0}'}, split),
    "source.spm": (
        "source.spm",
        {"target.spm": b"x", "vocab.json": b'{"a": 0, "<unk>": 1}', "tokenizer_config.json": MARIAN},
        split,
    ),
    **{
        f"{file} beside a list": (file, LISTS, split)
        for file in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    },
    "config.json": ("config.json", {"model.safetensors": TABLES}, opened),
    "params.json": ("params.json", {"consolidated.safetensors": TABLES}, opened),
    **{
        f"{file} of a model": (file, {"config.json": CONFIG}, opened)
        for file in ("model.safetensors", "model.safetensors.index.json", "model.gguf", "x.vec", "weights.bin")
    },
    "adapter_config.json": ("adapter_config.json", {"adapter_model.safetensors": TABLES}, opened),
    **{f"{file} of vectors": (file, {}, parsed(file)) for file in ("x.npy", "x.json", "x.tsv", "x.bin", "x.csv", "x")},
}


@pytest.mark.parametrize("case", MADE)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.few(120)
def test_every_reader_calls_it_what_it_is(tmp_path: Path, reader: str, case: str) -> None:
    file, others, read = READERS[reader]
    content, word = MADE[case]
    if content.startswith(b"\x93NUMPY") and "vectors" in reader:
        pytest.skip("an array is what this reader takes")
    for name, data in {**others, file: content}.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EmbtoolError) as caught:
        read(tmp_path)
    assert word in f"{caught.value.message} ({caught.value.hint})"
    assert file in caught.value.message
    assert "\n" not in caught.value.message


OF_TOKENIZERS = [
    reader
    for reader, (file, _, read) in READERS.items()
    if read is not opened and "vectors" not in reader and file not in ("merges.txt", "source.spm")
]


@pytest.mark.parametrize("reader", OF_TOKENIZERS)
def test_an_empty_file_of_a_tokenizer_is_called_so(tmp_path: Path, reader: str) -> None:
    """But for merges, of which there may be none; an empty vocab.txt was read as one without words."""
    file, others, read = READERS[reader]
    for name, data in {**others, file: b""}.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EmbtoolError) as caught:
        read(tmp_path)
    assert re.search(f"{re.escape(file)}.* is empty: it has no bytes", caught.value.message)


def test_a_vocabulary_may_begin_with_the_word_error(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"error": 0, "a": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert [token.piece for token in read_vocabulary(Folder(tmp_path))] == ["error", "a"]
