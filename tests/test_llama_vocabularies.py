"""Vocabularies of GGUF files, held against ids of llama.cpp's own library: tools/record_llama_vocabularies.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import llama, write

from embtool import open_model

DATA = Path(__file__).parent / "data" / "llama_vocabularies.json.gz"
KNOWN: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))


@pytest.mark.few(12)
@pytest.mark.parametrize("name", KNOWN["cases"])
def test_texts_are_split_as_llama_cpp_splits_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embtool.vocabulary.confined.SECONDS", 600)  # some are split in a process of their own
    case = KNOWN["cases"][name]
    keys = {**KNOWN["vocabularies"][case["base"]], **case["keys"]}
    named = {key if key.startswith("general.") else f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    if "precompiled_charsmap" in keys:
        named["tokenizer.ggml.precompiled_charsmap"] = bytes(keys["precompiled_charsmap"])
    rows = np.ones((len(keys["tokens"]), 64), np.float32)
    write(tmp_path / "v.gguf", {"token_embd.weight": (rows, None)}, settings=llama(), vocabulary=named)
    words = open_model(tmp_path / "v.gguf").vocabulary
    for special, each in zip((False, True), case["ids"], strict=True):
        found = {text: [token.id for token in words.encode(text, special=special)] for text in KNOWN["texts"]}
        assert found == dict(zip(KNOWN["texts"], each, strict=True))
