"""Record the ids that llama.cpp itself gives texts: `tests/data/llama_vocabularies.json.gz`.

    python tools/record_llama_vocabularies.py FOLDER     # with llama.cpp's libraries; wants tokenizers, sentencepiece

Small vocabularies are trained of the texts, one of each kind, and written as GGUF files for every way in which
llama.cpp reads them. What is recorded are the files' keys and the ids, so that the test needs nothing of this.
"""

import ctypes
import gzip
import io
import json
import string
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from gguf_files import llama, write

from embtool.vocabulary.cuts import CUTS, LONG_CUTS, WITHOUT_BYTES
from embtool.vocabulary.protobuf import parse_model

TARGET = Path(__file__).parent.parent / "tests" / "data" / "llama_vocabularies.json.gz"

VOCAB_ONLY = 72
"""Where that switch stands in the parameters of a model, in llama.cpp 0.5.0."""

# ruff: noqa: RUF001 - characters that look alike are what is recorded
TEXTS = [
    "",
    " ",
    "  ",
    "   x",
    "\n",
    "\n\n\n",
    "\r\n",
    "\t\n ",
    " \n \n",
    "Hello world",
    " Hello  World",
    "It's I'M You'Re we'LL",
    "Hello, y'all! How are you 😁 ?我想在apple工作1314151天～",
    "w048 7tuijk dsdfhu",
    "нещо на Български ΟΔΥΣΣΕΥΣ",
    "3",
    "33",
    "333",
    "4444",
    "55555",
    "666666",
    "7777777",
    "88888888",
    "in 2024, 1,234,567.89",
    "١٢٣ ４５６ ½ ²",
    "naïve café Schön İstanbul",
    "e\u0301 A\u030a a\u0323\u0302",
    "日本語カナかな 한국어 각",
    "\u1112\u1161\u11ab",
    "مرحبا שלום สวัสดี नमस्ते दुनिया",
    "def f(x):\n    return x + 1\n",
    "for (int i = 0; i < 10; ++i) { a[i] += b->c; }",
    "\tif x:\n\t\ty()\n",
    "a\n\nb \n c",
    "https://a.b/c?d=e&f#g",
    "foo_bar fooBar FOO C++ $100 ^_^ ~`|",
    "...!!!???---",
    "``x'' “y” don’t l'été — …",
    "<s>",
    "</s> a",
    "a <unk> b",
    "hi <mask> there",
    "[MASK] [CLS]",
    "a<|endoftext|>b",
    "<|fim_prefix|>x<|im_end|>",
    "x<0x0A>",
    "▁ a▁",
    "Ġ Ċ",
    "\x00a\x01b\x7f",
    "a\x0bb\x0cc\x85d",
    "a\xa0b\u200bc\u3000d\u2028e",
    "\ufeff\ufffd\U0001f600👨\u200d👩🏽",
    "=" * 21,
    " " * 9 + "x" + " " * 5,
    "\n" * 11,
    "x²+y²=z² ①②③ Ⅳ™",
    "ß ẞ ŉ ﬁ ㈱ ｶ",
    "the cat sat on the mat",
    "The Cat THE CAT",
    "\u0301",
    "<sentinel:3> IMGIMGABZ",
    "A1B2 1a2b3c",
    "fooBarBAZqux ÉcoleÉCOLE ПриВет ǅungla",
    "x́ÀB'LL y'Re don'T",
    "天气abc天氣 ABC天d",
]


class Library:
    """llama.cpp's own library."""

    def __init__(self, folder: Path) -> None:
        for pattern in ("libggml-base.*", "libggml.*"):
            ctypes.CDLL(str(next(folder.glob(pattern))), mode=ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(str(next(folder.glob("libllama.*"))))
        self._log: list[bytes] = []
        listener = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._listener = listener(lambda _, line, __: self._log.append(line))
        self._library.llama_log_set(self._listener, None)

    def ids(self, file: Path) -> list[list[list[int]]]:
        """Split the texts, each without and with what is put around it."""
        library = self._library

        class Parameters(ctypes.Structure):
            _fields_ = (("data", ctypes.c_ubyte * 256),)

        library.llama_model_default_params.restype = Parameters
        library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
        library.llama_model_load_from_file.restype = library.llama_model_get_vocab.restype = ctypes.c_void_p
        library.llama_model_get_vocab.argtypes = library.llama_model_free.argtypes = [ctypes.c_void_p]
        parameters = library.llama_model_default_params()
        parameters.data[VOCAB_ONLY] = 1
        model = library.llama_model_load_from_file(str(file).encode(), parameters)
        if not model:
            raise ValueError(b"".join(self._log[-4:]).decode())
        words = ctypes.c_void_p(library.llama_model_get_vocab(model))

        def split(text: str, *, special: bool) -> list[int]:
            data = text.encode()
            found = (ctypes.c_int32 * (len(data) + 8))()
            count = library.llama_tokenize(
                words, data, len(data), found, len(found), ctypes.c_bool(special), ctypes.c_bool(1)
            )
            return list(found[:count])

        try:
            return [[split(text, special=special) for text in TEXTS] for special in (False, True)]
        finally:
            library.llama_model_free(model)


SPECIAL = {"<unk>": 2, "<s>": 3, "</s>": 3, "<mask>": 3, "<|endoftext|>": 1, "<|fim_prefix|>": 1, "<|im_end|>": 4}
"""Tokens behind the trained ones, and their types: some are not of the type that their names speak of."""


def trained_bytes() -> dict[str, Any]:
    """Train BPE of bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=640, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return merged(tokenizer, "gpt2", {})


def trained_characters() -> dict[str, Any]:
    """Train BPE of characters, as Gemma 4 has it, with tokens for bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    trainer = trainers.BpeTrainer(vocab_size=520, show_progress=False)
    spaced = [text.replace(" ", "▁") for text in TEXTS if "\x00" not in text]
    tokenizer.train_from_iterator(spaced * 3, trainer)
    return merged(tokenizer, "gemma4", {"\n\n": 1, "\n\n\n": 1, **{f"<0x{byte:02X}>": 6 for byte in range(256)}})


def merged(tokenizer: Tokenizer, model: str, more: Mapping[str, int]) -> dict[str, Any]:
    """Describe BPE by the keys of a file."""
    state = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(state["vocab"], key=state["vocab"].__getitem__)
    listed = {**dict.fromkeys(pieces, 1), **more, **SPECIAL}
    return described(model, listed, merges=[" ".join(pair) for pair in state["merges"]])


def described(model: str, listed: Mapping[str, int], **keys: Any) -> dict[str, Any]:
    """Describe a vocabulary by the keys of a file."""
    places = {piece: place for place, piece in enumerate(listed)}
    roles = {"bos": "<s>", "eos": "</s>", "unknown": "<unk>"}
    named = {f"{role}_token_id": places[piece] for role, piece in roles.items() if piece in places}
    return {"model": model, "tokens": list(listed), "token_type": list(listed.values()), **named, **keys}


def trained_pieces(kind: str) -> dict[str, Any]:
    """Train a SentencePiece model."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in TEXTS if text.strip() and "\x00" not in text] * 3),
        model_writer=written,
        model_type=kind,
        vocab_size=900 if kind == "bpe" else 520,
        byte_fallback=kind == "bpe",
        normalization_rule_name="identity" if kind == "bpe" else "nmt_nfkc",
        remove_extra_whitespaces=kind != "bpe",
        user_defined_symbols=["<mask>"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    model = parse_model(written.getvalue(), kind)
    listed = {**dict(zip(model.pieces, model.types, strict=True)), "<|endoftext|>": 3}
    keys: dict[str, Any] = {"scores": [*(float(score) for score in model.scores), 0.0]}
    if kind != "bpe":
        keys |= {"precompiled_charsmap": list(model.characters), "remove_extra_whitespaces": True}
    return described("llama" if kind == "bpe" else "t5", listed, **keys)


def words() -> dict[str, Any]:
    """List pieces of BERT's kind: every character, some beginnings and words."""
    characters = sorted(
        {each for text in TEXTS for each in (*text, *text.lower()) if each.isprintable() and each != " "}
    )
    listed = {**dict.fromkeys(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), 3)}
    for each in characters:
        listed |= {f"▁{each}": 1, each: 1}
    known = (
        "hello",
        "world",
        "the",
        "cat",
        "Cat",
        "sat",
        "on",
        "mat",
        "naive",
        "cafe",
        "schon",
        "schön",
        "Schön",
        "nai",
    )
    listed |= {f"▁{word}": 1 for word in known} | {"llo": 1, "rld": 1, "ing": 1}
    listed = {piece: kind for piece, kind in listed.items() if piece not in ("▁", "▁▁")}
    places = {piece: place for place, piece in enumerate(listed)}
    return described(
        "bert", listed, bos_token_id=places["[CLS]"], seperator_token_id=places["[SEP]"], unknown_token_id=1
    )


SHOWN = string.printable[:95]


def world() -> dict[str, Any]:
    """List tokens of RWKV's kind: every byte, and some longer ones."""
    escapes = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
    single = [escapes.get(byte, chr(byte) if chr(byte) in SHOWN else f"\\x{byte:02x}") for byte in range(256)]
    return described(
        "rwkv", {"<s>": 3, **dict.fromkeys([*single, "the", " the", " cat", "日本", "\\n\\n", "  ", "ll"], 1)}
    )


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give the ways in which a file is read: its name, the vocabulary's, and the keys beside it."""
    for pre in {**CUTS, **LONG_CUTS}:
        if pre not in WITHOUT_BYTES and pre not in (
            "glm5",
            "o200k",
        ):  # newer than the library, and not one of its names
            yield f"pre {pre}", "bytes", {"pre": pre}
    yield "no pre", "bytes", {}
    yield "asked", "bytes", {"pre": "gpt-2", "add_bos_token": True, "add_eos_token": True}
    yield "not asked", "bytes", {"pre": "llama-bpe", "add_bos_token": False}
    yield "mask", "bytes", {"pre": "jina-v2-code", "add_bos_token": True, "add_eos_token": True}
    yield "gemma4", "characters", {}
    for pre in ("granite-embed-multi-311m", "sarvam-moe"):
        yield pre, "characters", {"model": "gpt2", "pre": pre}
    yield "llama", "llama", {}
    yield "llama without space", "llama", {"add_space_prefix": False, "add_bos_token": False, "add_eos_token": True}
    yield "phi", "llama", {"general.name": "Phi-3 mini"}
    yield "t5", "t5", {}
    yield "t5 with space", "t5", {"add_space_prefix": True, "add_bos_token": True}
    yield "bert", "bert", {}
    yield "bert cased", "bert", {"normalizer.lowercase": False}
    yield "bert with accents", "bert", {"normalizer.strip_accents": False}
    yield "rwkv", "rwkv", {}


def file_of(folder: Path, keys: Mapping[str, Any]) -> Path:
    """Write a file of these keys of `tokenizer.ggml`."""
    named = {key if key.startswith("general.") else f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    if "tokenizer.ggml.precompiled_charsmap" in named:
        named["tokenizer.ggml.precompiled_charsmap"] = bytes(named["tokenizer.ggml.precompiled_charsmap"])
    rows = np.ones((len(keys["tokens"]), 64), np.float32)
    return write(
        folder / "v.gguf",
        {"token_embd.weight": (rows, None)},
        settings=llama(**{"feed_forward_length": 64, "attention.layer_norm_rms_epsilon": 1e-5}),
        vocabulary=named,
    )


def main() -> None:
    """Write the file."""
    library = Library(Path(sys.argv[1]))
    vocabularies = {
        "bytes": trained_bytes(), "characters": trained_characters(), "llama": trained_pieces("bpe"),
        "t5": trained_pieces("unigram"), "bert": words(), "rwkv": world(),
    }  # fmt: skip
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, base, keys in cases():
            recorded[name] = {
                "base": base,
                "keys": keys,
                "ids": library.ids(file_of(Path(folder), vocabularies[base] | keys)),
            }
    document = {"texts": TEXTS, "vocabularies": vocabularies, "cases": recorded}
    TARGET.write_bytes(gzip.compress(json.dumps(document, ensure_ascii=False).encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
