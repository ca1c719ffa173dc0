"""GGUF files for tests: well-formed ones by the gguf library's own writer, others byte by byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

gguf = pytest.importorskip("gguf", reason="the gguf library writes these files: pip install gguf")

ALIGNMENT = 32


def text(value: bytes) -> bytes:
    """Write a string as GGUF has it: its length, then its bytes."""
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    """Write an entry of the metadata."""
    return text(key) + struct.pack("<I", kind) + value


def strings(values: Sequence[bytes]) -> bytes:
    """Write an array of strings, without its type."""
    return struct.pack("<IQ", 8, len(values)) + b"".join(map(text, values))


def tensor(name: bytes, shape: Sequence[int], kind: int, offset: int) -> bytes:
    """Describe a tensor; `shape` is in rows and columns."""
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def raw(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """Write a GGUF file byte by byte; nothing of it need make sense."""
    counted = counts if counts is not None else (len(tensors), len(entries))
    header = b"GGUF" + struct.pack("<IQQ", version, *counted) + b"".join(entries) + b"".join(tensors)
    return header + b"\0" * (-len(header) % ALIGNMENT) + data


def small_raw() -> bytes:
    """Write a small well-formed file: a table of 4 × 32 numbers and its tokens."""
    entries = [
        entry(b"general.architecture", 8, text(b"llama")),
        entry(b"llama.embedding_length", 4, struct.pack("<I", 32)),
        entry(b"llama.attention.head_count", 4, struct.pack("<I", 2)),
        entry(b"tokenizer.ggml.model", 8, text(b"llama")),
        entry(b"tokenizer.ggml.tokens", 9, strings([b"<unk>", b"a", b"b", b"ab"])),
    ]
    return raw(entries, [tensor(b"token_embd.weight", (4, 32), 0, 0)], np.arange(128, dtype="<f4").tobytes())


def write(
    path: Path,
    tables: Mapping[str, tuple[NDArray[Any], Any]],
    *,
    architecture: str = "llama",
    settings: Mapping[str, Any] | None = None,
    vocabulary: Mapping[str, Any] | None = None,
) -> Path:
    """Write a file with the library: `tables` are numbers and the type they are stored in (None: as they are)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {**(settings or {}), **(vocabulary or {})}.items():
        _add(
            writer,
            key if "." in key and not key.startswith(("rope.", "attention.")) else f"{architecture}.{key}",
            value,
        )
    for name, (values, kind) in tables.items():
        if kind is None:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values.astype(np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: Any) -> None:
    """Add an entry in the type that llama.cpp's converter gives it."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def llama(**changes: Any) -> dict[str, Any]:
    """Describe a small Llama by the keys below `llama.`."""
    return {
        "context_length": 2048,
        "embedding_length": 64,
        "block_count": 2,
        "attention.head_count": 4,
        "rope.freq_base": 10000.0,
        "rope.dimension_count": 16,
        **changes,
    }


def vocabulary_of(tokenizer: Path) -> dict[str, Any]:
    """Describe a tokenizer.json by the keys that llama.cpp's converter writes for its kind."""
    state = json.loads(tokenizer.read_text("utf-8"))
    model = {"type": "Unigram" if isinstance(state["model"]["vocab"], list) else "BPE", **state["model"]}
    added = {token["id"]: token for token in state["added_tokens"]}
    if model["type"] == "Unigram":
        pieces, scores = [piece for piece, _ in model["vocab"]], [score for _, score in model["vocab"]]
    else:
        pieces, scores = _by_id(model["vocab"]), [-float(place) for place in range(len(model["vocab"]))]
    for identity in sorted(added):
        if identity >= len(pieces):
            pieces.append(added[identity]["content"])
            scores.append(0.0)
    types = [_type(identity, piece, added, model) for identity, piece in enumerate(pieces)]
    described: dict[str, Any] = {"tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": types}
    if model["type"] == "Unigram":
        return {
            **described,
            "tokenizer.ggml.model": "t5",
            "tokenizer.ggml.scores": scores,
            "tokenizer.ggml.unknown_token_id": model["unk_id"],
            "tokenizer.ggml.add_space_prefix": True,
            "tokenizer.ggml.remove_extra_whitespaces": True,
        }
    if model["type"] == "BPE" and model.get("byte_fallback"):
        return {
            **described,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.scores": scores,
            "tokenizer.ggml.unknown_token_id": model["vocab"][model["unk_token"]],
        }
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return {**described, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": merges}


def _by_id(vocabulary: Mapping[str, int]) -> list[str]:
    return [piece for piece, _ in sorted(vocabulary.items(), key=lambda item: item[1])]


def _type(identity: int, piece: str, added: Mapping[int, Any], model: Mapping[str, Any]) -> int:
    if identity in added:
        unknown = added[identity]["content"] == model.get("unk_token")
        return int(gguf.TokenType.UNKNOWN if unknown else gguf.TokenType.CONTROL)
    if model.get("byte_fallback") and piece.startswith("<0x") and len(piece) == 6:
        return int(gguf.TokenType.BYTE)
    return int(gguf.TokenType.NORMAL)
