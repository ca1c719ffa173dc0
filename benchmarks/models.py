"""Model folders of real sizes, with random rows, for measuring: made in a temporary folder, never kept.

The rows are normally distributed, so that a ranking has as few easy decisions as possible. The tokenizer is byte-level
with as many entries as the table has tokens, and ` strawberry` is one of them.
"""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK_ROWS = 4096
WORD = " strawberry"
SPARE = 243
"""Rows without a token, as in Qwen3.6."""


@dataclass(frozen=True)
class Size:
    """The shape of a model's table, and how its numbers are stored."""

    name: str
    rows: int
    width: int
    dtype: str
    model_type: str

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self.rows * self.width * {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1}[self.dtype]


SIZES = (
    Size("gpt2", 50_257, 768, "F32", "gpt2"),
    Size("llama3", 128_256, 4_096, "BF16", "llama"),
    Size("qwen3.6", 248_320, 5_120, "BF16", "qwen3_5_text"),
)


def keep_bytecode(folder: Path) -> None:
    """Let the processes to come keep compiled modules in a folder, as what is installed has them beside it.

    In a checkout, or where PYTHONDONTWRITEBYTECODE is set, each would compile the program anew and be measured by that.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")


def write_model(folder: Path, size: Size, seed: int = 0) -> Path:
    """Write a model folder: config, tokenizer, one shard with the input table."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": size.model_type,
        "vocab_size": size.rows,
        "hidden_size": size.width,
        "num_hidden_layers": 4,
        "num_attention_heads": size.width // 128,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(size.rows - SPARE)))
    entry = {"dtype": size.dtype, "shape": [size.rows, size.width], "data_offsets": [0, size.nbytes]}
    header = json.dumps({"model.embed_tokens.weight": entry}).encode()
    header += b" " * (-len(header) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for block in _blocks(size, seed):
            file.write(block)
    return folder


def _blocks(size: Size, seed: int) -> Iterator[bytes]:
    generator = np.random.default_rng(seed)
    for first in range(0, size.rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, size.rows - first)
        rows = generator.standard_normal((count, size.width), dtype=np.float32) * np.float32(0.02)
        if size.dtype == "F32":
            yield rows.tobytes()
        elif size.dtype == "F16":
            yield rows.astype("<f2").tobytes()
        elif size.dtype == "BF16":
            yield (rows.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:  # any codes but NaN
            yield (generator.integers(0, 0x7F, rows.shape, np.uint8) | (rows < 0).astype(np.uint8) << 7).tobytes()


def _tokenizer(tokens: int) -> dict[str, object]:
    """Make a byte-level BPE tokenizer in which every merge is a real one: bytes, pairs, then longer pieces."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    spelled = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + place) for place, byte in enumerate(others)}
    pieces = [spelled[byte] for byte in range(256)]
    merges: list[list[str]] = []
    word = "".join(spelled[byte] for byte in WORD.encode())
    seen = set(pieces)

    def add(left: str, right: str) -> None:
        if left + right not in seen and len(pieces) < tokens:
            merges.append([left, right])
            seen.add(left + right)
            pieces.append(left + right)

    for stop in range(1, len(word)):
        add(word[:stop], word[stop])
    bases = list(pieces)
    for left in bases:
        for right in pieces[:256]:
            add(left, right)
    for left in list(pieces[len(bases) :]):
        for right in pieces[0x61:0x7B]:
            add(left, right)
        if len(pieces) >= tokens:
            break
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {piece: identity for identity, piece in enumerate(pieces)},
            "merges": merges,
        },
    }
