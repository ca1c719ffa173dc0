"""A hub of many small repositories: of every format, and broken, closed, slow and missing in every way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
from hubstub import HubStub
from small_models import (
    bfloat16,
    config,
    float32,
    header,
    safetensors,
    table,
    tokenizer_json,
    write_bert,
    write_gpt2,
    write_json,
    write_model,
    write_single,
)

HUGE_HEADER = 2_000_000
"""Bytes of the longest header here; the longest that is known has half of it."""

VALUES = table("input")
TIED = {"model.embed_tokens.weight": ("BF16", VALUES.shape, bfloat16(VALUES))}
SPOILED = VALUES.copy()
SPOILED[3] = np.nan


def _huge(folder: Path) -> None:
    data = bfloat16(VALUES)
    entries: dict[str, Any] = {name: {"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]} for name in _many_names()}
    entries["model.embed_tokens.weight"] = {"dtype": "BF16", "shape": VALUES.shape, "data_offsets": [0, len(data)]}
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(header(entries) + data)
    write_json(folder / "config.json", config())


def _many_names() -> list[str]:
    return [f"model.layers.{number}.{'x' * 60}.weight" for number in range(HUGE_HEADER // 130)]


def _only(name: str, content: bytes) -> Callable[[Path], None]:
    """Write a folder of one file."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)

    return write


def _files(**files: bytes) -> Callable[[Path], None]:
    """Write a folder of a config and these files; `__` in a name is a dot."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, content in {"config__json": b'{"model_type": "llama"}', **files}.items():
            (folder / name.replace("__", ".")).write_bytes(content)

    return write


def _tied(**changes: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        given = {"config": config(tie_word_embeddings=True), "tokenizer": tokenizer_json(), **changes}
        write_single(folder, given.pop("tensors", TIED), **given)

    return write


KINDS: dict[str, Callable[[Path], object]] = {
    "sharded": write_model,
    "tied": _tied(),
    "single-precision": _tied(tensors={"model.embed_tokens.weight": ("F32", VALUES.shape, float32(VALUES))}),
    "not-finite": _tied(tensors={"model.embed_tokens.weight": ("F32", SPOILED.shape, float32(SPOILED))}),
    "without-tokenizer": _tied(tokenizer=None),
    "bare": lambda folder: write_single(folder, TIED),
    "gpt2": write_gpt2,
    "bert": write_bert,
    "gguf": _only("m.gguf", gguf_files.small_raw()),
    "model2vec": _tied(tensors={"embeddings": TIED["model.embed_tokens.weight"]}, config={"model_type": "model2vec"}),
    "huge-header": _huge,
    "only-config": _files(),
    "only-tokenizer": _only("tokenizer.json", json.dumps(tokenizer_json()).encode()),
    "nothing": _only("README.md", b"# nothing"),
    "pickle": _files(pytorch_model__bin=b"\x80\x04K\x01."),
    "cut-off": _files(model__safetensors=safetensors(TIED)[:-1]),
    "endless-header": _files(model__safetensors=(1 << 60).to_bytes(8, "little") + b"{}"),
    "no-json": _files(config__json=b"<html>log in</html>", model__safetensors=safetensors(TIED)),
    "deep-json": _files(config__json=b"[" * 100_000),
    "broken-tokenizer": _tied(tokenizer={"model": {"type": "BPE", "vocab": 3}}),
    "strange-numbers": _tied(config={**config(), "max_position_embeddings": 10**40, "hidden_size": -1}),
    "slow": _tied(),
    "failing": _tied(),
    "busy": _tied(),
    "gated": _tied(),
    "private": _tied(),
    "disabled": _tied(),
}
"""What writes a model of each kind; the last ones are what the hub makes of them. `missing` has none."""


def populate(hub: HubStub, folder: Path, count: int) -> list[str]:
    """Put so many repositories on a hub, of every kind in turn; return their names, and some that are not there."""
    for kind, write in KINDS.items():
        write(folder / kind)
    contents = {
        kind: {
            path.relative_to(folder / kind).as_posix(): path for path in (folder / kind).rglob("*") if path.is_file()
        }
        for kind in KINDS
    }
    kinds = [*KINDS, "missing"]
    names = [f"acme/{kinds[number % len(kinds)]}-{number:04}" for number in range(count)]
    for name in names:
        kind = name.removeprefix("acme/").rpartition("-")[0]
        if kind != "missing":
            private, gated, disabled = (kind == flag for flag in ("private", "gated", "disabled"))
            hub.add(name, contents[kind], private=private, gated=gated, disabled=disabled)
    hub.fault("slow", path="/slow-.*/config.json", times=None, bytes_per_second=3000)
    hub.fault("status", path="/failing-", times=None, code=500)
    for name in names:
        if "/busy-" in name:
            hub.fault("status", path=f"{name}/", code=429, headers={"Retry-After": "1"})
    return names
