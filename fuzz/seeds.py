"""The first cases of every target: documents and texts in seeds.jsonl, and files as the tests write them."""

import io
import json
import struct
from collections.abc import Callable, Iterable

import numpy as np
import small_models

from embtool.hub.tablefile import make_header
from fuzz import ROOT, gguf_document

ABOUT = {"content": "c" * 40, "start": "0", "stop": "16"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def listed(name: str) -> Iterable[bytes]:
    """Return the cases of a target in seeds.jsonl: texts as they are, anything else as JSON."""
    for line in (ROOT / "fuzz" / "seeds.jsonl").read_text(encoding="utf-8").splitlines():
        seed = json.loads(line)
        if name in seed["targets"]:
            case = seed["case"]
            text = case if isinstance(case, str) else json.dumps(case, ensure_ascii=False, separators=(",", ":"))
            yield text.encode()


def safetensors() -> Iterable[bytes]:
    """Write headers: of many dtypes, and those about which JSON readers disagree."""
    types = {"BF16": 4, "F4": 1, "I64": 16, "F8_E4M3": 2, "U8": 2}
    yield small_models.safetensors({name: (name, (2,), bytes(size)) for name, size in types.items()}, {"format": "pt"})
    yield small_models.safetensors({"a": ("F32", (2, 2), bytes(16)), "b": ("F32", (0, 4), b"")})
    usual = b'"dtype":"U8","shape":[1],"data_offsets":[0,1]'
    for more in (b'{"a":1,"a":2}', b"1e999", b"9" * 5000, b"[" * 200 + b"]" * 200):
        head = b'{"a":{' + usual + b',"x":' + more + b"}}"
        yield struct.pack("<Q", len(head)) + head + b"x"
    yield struct.pack("<Q", (1 << 63) - 1) + b"{}"


def configs() -> Iterable[bytes]:
    """Read the configs of published models that the tests compare with transformers."""
    cases = json.loads((ROOT / "tests" / "data" / "rope_oracle.json").read_text(encoding="utf-8"))["cases"].values()
    return [described for case in cases if len(described := json.dumps(case["config"]).encode()) < 1000]


def sentencepieces() -> Iterable[bytes]:
    """Write SentencePiece models: Unigram and BPE, with pieces of every kind."""
    kinds, pieces = {"<unk>": 2, "<s>": 3, "▁a": 1, "a": 1, "b": 1, "▁": 1, "c": 5, "x": 4}, b""
    for score, (piece, kind) in enumerate(kinds.items()):
        data = piece.encode()
        message = bytes((10, len(data))) + data + b"\x15" + struct.pack("<f", -score) + bytes((24, kind))
        pieces += bytes((10, len(message))) + message
    normal = b"\x1a\x10\x0a\x08identity\x18\x01\x20\x01\x28\x01"
    return [pieces + bytes((18, 2, 24, kind)) + normal for kind in (1, 2)]


def npys() -> Iterable[bytes]:
    """Write npy files of both versions, of numbers and of what is no vector."""
    arrays = [np.ones((2, 2), kind) for kind in (">f4", "<f2", "<i8", "<c8", "|b1", "<U1")]
    columns, empty, scalar = np.asfortranarray(np.ones((2, 3))), np.zeros((2, 0)), np.float64(1)
    for array in (np.arange(2.0), *arrays, columns, empty, scalar):
        for version in (1, 2):
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asanyarray(array), version=(version, 0))
            yield file.getvalue()


WRITTEN: dict[str, Callable[[], Iterable[bytes]]] = {
    "safetensors": safetensors,
    "config": configs,
    "gguf": lambda: (gguf_document.encode(json.loads(case)) for case in listed("gguf-fields")),
    "static": lambda: [b"2 2\na " + bytes(8) + b"\nb " + struct.pack("<2f", 2, 3) + b"\n"],
    "sentencepiece": sentencepieces,
    "vectors": npys,
    "npy-peer": npys,
    "tablefile": lambda: [make_header(ABOUT, None, 16) + bytes(16), bytes(8) + b"{}"],
}


def seeds(name: str) -> Iterable[bytes]:
    """Return the first cases of a target."""
    yield from listed(name)
    yield from WRITTEN.get(name.replace("safetensors-peer", "safetensors"), list)()
