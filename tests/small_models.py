"""Models small enough to read at a glance, written byte by byte with nothing of embtool's own.

Numbers are whole multiples of 1/64 below 4, so every dtype from BF16 up holds them exactly and every sum of products is
the same on every machine: what is printed of them can be compared to the last digit.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = tuple[str, Sequence[int], bytes]
"""A tensor as a safetensors file holds it: dtype, shape, bytes."""

WIDTH = 16
END_OF_TEXT = "<|endoftext|>"
ZERO_ROW = "!"
SPACED = ("strawberry", "raspberry", "cherry", "apple", "king", "queen", "man", "woman", "blue", "green")
BARE = ("king", "berry")
PADDING = 6

KINDS = {
    "fruit": ("strawberry", "raspberry", "cherry", "apple", "berry"),
    "person": ("king", "queen", "man", "woman"),
    "colour": ("blue", "green"),
}
"""Words whose rows are near each other."""


def header(entries: Mapping[str, Any], *, pad: bool = False) -> bytes:
    """Write a header with its length before it; `entries` need not make sense."""
    text = json.dumps(entries, separators=(",", ":")).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write a safetensors file, its tensors one after the other in the order given."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    place = 0
    for name, (dtype, shape, data) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + len(data)]}
        place += len(data)
    return header(entries, pad=True) + b"".join(data for _, _, data in tensors.values())


def bfloat16(values: NDArray[Any]) -> bytes:
    """Write numbers that bfloat16 holds exactly as bfloat16."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    assert not (bits & 0xFFFF).any(), "bfloat16 does not hold these numbers"
    return (bits >> 16).astype("<u2").tobytes()


def float32(values: NDArray[Any]) -> bytes:
    """Write numbers as float32."""
    return np.ascontiguousarray(values, "<f4").tobytes()


def digits(name: str, reach: int, width: int = WIDTH) -> NDArray[np.float64]:
    """Derive `width` whole numbers from -reach to reach from a name."""
    stream = b"".join(hashlib.sha256(f"{name} {block}".encode()).digest() for block in range(-(-width // 32)))
    return np.array([byte % (2 * reach + 1) - reach for byte in stream[:width]], np.float64)


def row_of(text: str, kind: str, width: int = WIDTH) -> NDArray[np.float64]:
    """Make the row of a token: the direction of its kind, if it has one, and something of its own."""
    words = next((kind for kind, words in KINDS.items() if text.strip() in words), None)
    shared = np.zeros(width) if words is None else digits(f"{kind} {words}", 90, width)
    return (shared + digits(f"{kind} {text}", 30, width)) / 64


@cache
def byte_characters() -> Mapping[int, str]:
    """Give the character of each byte in GPT-2's spelling (https://github.com/openai/gpt-2, encoder.py)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    spelled = {byte: chr(byte) for byte in shown} | {byte: chr(0x100 + place) for place, byte in enumerate(hidden)}
    return MappingProxyType(spelled)


def spell(text: str) -> str:
    """Spell text as a byte-level tokenizer does."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in text.encode())


@cache
def merges() -> tuple[tuple[str, str], ...]:
    """List the merges that make a token of each word, its beginnings being tokens too."""
    found: dict[tuple[str, str], None] = {}
    for word in [*(f" {word}" for word in SPACED), *BARE]:
        piece = spell(word)
        for length in range(1, len(piece)):
            found[piece[:length], piece[length]] = None
    return tuple(found)


@cache
def pieces() -> tuple[str, ...]:
    """List every piece in the order of its id: the bytes, then the merged ones."""
    return (*byte_characters().values(), *(left + right for left, right in merges()))


def added_token(identity: int, content: str, *, special: bool) -> dict[str, Any]:
    """Describe an added token as tokenizer.json does."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": identity, "content": content, **flags, "special": special}


def tokenizer_json(added: Mapping[str, bool] | None = None) -> dict[str, Any]:
    """Describe a byte-level BPE tokenizer; `added` are texts of added tokens and whether each is special."""
    vocabulary = {piece: identity for identity, piece in enumerate(pieces())}
    added = {END_OF_TEXT: True} if added is None else added
    bytelevel = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(len(vocabulary) + place, content, special=special)
            for place, (content, special) in enumerate(added.items())
        ],
        "normalizer": None,
        "pre_tokenizer": bytelevel,
        "post_processor": None,
        "decoder": bytelevel,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges()],
        },
    }


@cache
def texts() -> tuple[str, ...]:
    """List what each token of the plain tokenizer stands for, in the order of ids."""
    byte = {character: byte for byte, character in byte_characters().items()}
    decoded = [bytes(byte[character] for character in piece).decode("utf-8", "replace") for piece in pieces()]
    return (*decoded, END_OF_TEXT)


def table(kind: str, width: int = WIDTH, rows: int | None = None) -> NDArray[np.float64]:
    """Make a table whose rows belong to the plain tokenizer's tokens, one of them zero, and some to none."""
    names = [*texts(), *(f"padding {place}" for place in range(PADDING))]
    made = np.stack([row_of(name, kind, width) for name in names])
    made[names.index(ZERO_ROW)] = 0
    return made[:rows]


def config(**settings: Any) -> dict[str, Any]:
    """Describe a small Llama."""
    rows = len(texts()) + PADDING
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": rows,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        **settings,
    }


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")


def write_model(folder: Path, *, tokenizer: dict[str, Any] | None = None, **settings: Any) -> Path:
    """Write the small model: sharded, BF16, untied, with an index, a tokenizer and a config."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config(**settings))
    write_json(folder / "tokenizer.json", tokenizer_json() if tokenizer is None else tokenizer)
    shards = {
        "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": table("input")},
        "model-00002-of-00002.safetensors": {"model.norm.weight": np.ones(WIDTH), "lm_head.weight": table("output")},
    }
    weight_map: dict[str, str] = {}
    for shard, tensors in shards.items():
        written = {name: ("BF16", values.shape, bfloat16(values)) for name, values in tensors.items()}
        (folder / shard).write_bytes(safetensors(written, {"format": "pt"}))
        weight_map |= dict.fromkeys(tensors, shard)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)
    return folder


def write_single(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model of one file, with a config and a tokenizer if they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    if config is not None:
        write_json(folder / "config.json", config)
    if tokenizer is not None:
        write_json(folder / "tokenizer.json", tokenizer)
    return folder


def write_gpt2(folder: Path) -> None:
    """Write a GPT-2 as it was published first: vocab.json, merges.txt, a learned position table."""
    values = table("input", rows=len(pieces()) + 1)
    positions = table("position", rows=32)
    tensors = {
        "wte.weight": ("F32", values.shape, float32(values)),
        "wpe.weight": ("F32", positions.shape, float32(positions)),
    }
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": len(values),
        "n_embd": WIDTH,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 32,
    }
    write_single(folder, tensors, config=settings)
    write_json(folder / "vocab.json", {piece: identity for identity, piece in enumerate(pieces())})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges()), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    entry = added_token(len(pieces()), END_OF_TEXT, special=True)
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {str(entry.pop("id")): entry}})


BERT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "straw", "##berry", "strawberry", "king", "a", "##s")


def write_bert(folder: Path) -> None:
    """Write a BERT that has only vocab.txt."""
    values = table("input", rows=len(BERT_WORDS))
    positions = table("position", rows=8)
    tensors = {
        "embeddings.word_embeddings.weight": ("F32", values.shape, float32(values)),
        "embeddings.position_embeddings.weight": ("F32", positions.shape, float32(positions)),
        "embeddings.token_type_embeddings.weight": ("F32", (2, WIDTH), float32(positions[:2])),
    }
    settings = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(values),
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
    }
    write_single(folder, tensors, config=settings)
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n", encoding="utf-8")
