"""Write the seeds of every target into corpus/: small files, good ones and hostile ones.

    python fuzz/seeds.py

They are made of what is written here and of the tests' small models, so nothing of anybody's model is among them.
"""

import hashlib
import io
import json
import shutil
import struct
from random import Random
from typing import Any

import gguf_document
import numpy as np
from target import CORPUS, load

load()

import small_models  # noqa: E402 - the tests' folder is on the path only now
from readers_checkpoint import file_of_header  # noqa: E402 - as above
from readers_hub import COMMIT, table_header  # noqa: E402 - as above

FOUR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def text(value: Any) -> bytes:
    """Write a document."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def header(entries: Any) -> bytes:
    """Write a file of a header."""
    return file_of_header(entries, Random(1))


def bare(words: bytes, data: bytes = b"") -> bytes:
    """Put a length before a header."""
    return struct.pack("<Q", len(words)) + words + data


def safetensors() -> list[bytes]:
    """Write good headers of many dtypes, and broken ones."""
    many = {
        f"t{place}": {"dtype": dtype, "shape": [2, 4], "data_offsets": [0, 0]}
        for place, dtype in enumerate(("BF16", "F4", "F6_E2M3", "I64", "F8_E4M3"))
    }
    return [
        header({"__metadata__": {"format": "pt"}, "a": FOUR}),
        header(many),
        header(
            {
                "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]},
                "scalar": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]},
            }
        ),
        header({}),
        bare(b'{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,3]}}   ', b"abc"),
        bare(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"x",
        ),
        bare(b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"),
        bare(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
        bare(b'{"a":' + b"[" * 600 + b"]" * 600 + b"}"),
        struct.pack("<Q", (1 << 63) - 1) + b"{}",
        b"version https://git-lfs.github.com/spec/v1\n",
    ]


def disputed() -> list[bytes]:
    """Write headers about which JSON readers disagree."""
    usual = b'"dtype":"U8","shape":[1],"data_offsets":[0,1]'
    return [
        *(
            bare(b'{"a":{' + usual + b',"x":' + more + b"}}", b"x")
            for more in (b'{"a":1,"a":2}', b"1e999", b"9" * 5000)
        ),
        bare(b'{"a":{' + usual + b',"x":' + b"[" * 200 + b"]" * 200 + b"}}", b"x"),
        bare(b'{"a":["U8",[1],[0,1]]}', b"x"),
        bare(b'{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}', b"x"),
        bare(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'),
        bare(b'{"a":{"dtype":"U8","shape":[9223372036854775808,0],"data_offsets":[0,0]}}'),
        bare(b'{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}'),
        bare(b'{"__metadata__":null,"a":{' + usual + b"}}", b"x"),
    ]


def checkpoints() -> list[bytes]:
    """Describe folders: sharded, packed in several ways, static, hostile."""

    def entry(dtype: str, *shape: int) -> dict[str, Any]:
        return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}

    index = {
        "metadata": {"total_size": 1},
        "weight_map": {"model.embed_tokens.weight": "model-1.safetensors", "lm_head.weight": "model-2.safetensors"},
    }
    mlx = {
        "lm_head.weight": entry("U32", 4, 8),
        "lm_head.scales": entry("F16", 4, 1),
        "lm_head.biases": entry("F16", 4, 1),
    }
    settings = {"model_type": "llama", "hidden_size": 64, "vocab_size": 4, "num_attention_heads": 2}
    folders = (
        {
            "model.safetensors.index.json": index,
            "model-1.safetensors": {"model.embed_tokens.weight": entry("BF16", 4, 8)},
            "model-2.safetensors": {"lm_head.weight": entry("BF16", 4, 8)},
            "config.json": settings,
        },
        {"model.safetensors": mlx, "config.json": {**settings, "quantization": {"group_size": 64, "bits": 4}}},
        {
            "model.safetensors": {"lm_head.weight": entry("F8_E4M3", 4, 8), "lm_head.weight_scale": entry("F32", 4, 1)},
            "config.json": {
                **settings,
                "hidden_size": 8,
                "quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"},
            },
        },
        {
            "model.safetensors": {
                "lm_head.weight": entry("F8_E4M3", 4, 8),
                "lm_head.weight_scale_inv": entry("F32", 1, 1),
            },
            "config.json": {
                **settings,
                "hidden_size": 8,
                "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
            },
        },
        {
            "model.safetensors": {
                "lm_head.weight_packed": entry("U8", 4, 8),
                "lm_head.weight_scale": entry("F8_E4M3", 4, 1),
                "lm_head.weight_scale_2": entry("F32", 1),
            },
            "config.json": {
                **settings,
                "hidden_size": 16,
                "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
            },
        },
        {
            "model.safetensors": {
                "embeddings": entry("F32", 3, 4),
                "mapping": entry("I64", 4),
                "weights": entry("F32", 4),
            }
        },
        {
            "model.safetensors": {
                "model.embed_tokens.embedding": entry("F32", 3, 4),
                "model.embed_tokens.new_embedding": entry("F32", 2, 4),
            }
        },
        {"model.safetensors.index.json": {"weight_map": {"a": "../../etc/passwd"}}},
        {"x.gguf": "GGUF", "x.vec": "2 2\na 1 2\nb 3 4\n", "pytorch_model.bin": "x"},
    )
    return [text(folder) for folder in folders]


def configs() -> list[bytes]:
    """Describe configs of many dialects."""
    base = {
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "max_position_embeddings": 4096,
        "vocab_size": 100,
    }
    yarn = {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 1024,
        "beta_fast": 32,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
    }
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024,
    }
    long = {
        "type": "longrope",
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 1024,
    }
    kinds = (
        "llama",
        "mistral",
        "qwen2",
        "gpt2",
        "bert",
        "bloom",
        "mpt",
        "falcon",
        "t5",
        "xglm",
        "opt",
        "gemma2",
        "gemma3_text",
        "gemma4_text",
        "deepseek_v3",
        "deepseek_v4",
        "glm4_moe",
        "phi3",
        "gptj",
        "gpt_neox",
        "baichuan",
        "chatglm",
        "qwen",
        "modernbert",
        "llama4_text",
        "smollm3",
        "exaone4",
        "hunyuan_v1_dense",
        "qwen2_vl",
        "qwen3_5",
        "ernie4_5_vl_moe",
        "lfm2",
        "bamba",
        "nemotron_h",
        "olmo3",
        "gpt_oss",
        "minimax",
        "mimo_v2_flash",
        "recurrent_gemma",
        "xlnet",
        "deberta-v2",
        "albert",
        "static",
        "unheard-of",
    )
    found = [{"model_type": kind, **base} for kind in kinds]
    found += [
        {"model_type": "llama", **base, "rope_scaling": scaling}
        for scaling in (yarn, llama3, long, {"type": "dynamic", "factor": 2.0}, {"type": "linear", "factor": 2})
    ]
    found += [
        {
            "model_type": "qwen2_vl",
            "text_config": {**base, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        },
        {
            "model_type": "gemma3_text",
            **base,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_theta": 1e4},
            },
            "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        },
        {
            "model_type": "unheard-of",
            **base,
            "rope_parameters": {f"kind{place}": {"rope_theta": 1e4} for place in range(12)},
        },
        {"model_type": "llama", **base, "hidden_size": 1e400, "num_hidden_layers": 10**30},
        {"model_type": "llama4_text", **base, "no_rope_layers": [1, 1, 1, 0]},
        {"model_type": "mpt", **base, "attn_config": {"alibi": True, "alibi_bias_max": 8}},
    ]
    odd = (
        {"beta_fast": 1e-320},
        {"beta_slow": 1e308},
        {"mscale": -1000.0, "mscale_all_dim": 1.0},
        {"factor": 22026.465794806718, "mscale": 1.0, "mscale_all_dim": -1.0},
        {"attention_factor": 1e308},
        {"factor": 5e-324},
    )
    found += [{"model_type": "llama", **base, "rope_scaling": {**yarn, **one}} for one in odd]
    return [
        *(text(one) for one in found),
        b'{"model_type":"llama","model_type":"gpt2"}',
        b"[" * 3000,
        b'{"hidden_size":' + b"9" * 5000 + b"}",
    ]


PIECES = ["<unk>", "<s>", "▁a", "a", "b", "ab", "<0x41>"]


def ggufs() -> list[dict[str, Any]]:
    """Describe GGUF files: every kind of tokenizer, several families, tables of several types."""

    def model(family: str, *more: Any) -> list[Any]:
        return [
            ["general.architecture", 8, family],
            [f"{family}.embedding_length", 4, 32],
            [f"{family}.attention.head_count", 4, 2],
            [f"{family}.block_count", 4, 2],
            [f"{family}.context_length", 4, 512],
            *more,
        ]

    tokens = ["tokenizer.ggml.tokens", 9, [8, PIECES]]
    table = ["token_embd.weight", [len(PIECES), 32], 0, None]
    types = ["tokenizer.ggml.token_type", 9, [5, [2, 3, 1, 1, 1, 1, 6]]]
    scores = ["tokenizer.ggml.scores", 9, [6, [0.0, 0.0, -1.0, -2.0, -3.0, -4.0, 0.0]]]
    merges = ["tokenizer.ggml.merges", 9, [8, ["a b"]]]
    unknown = ["tokenizer.ggml.unknown_token_id", 4, 0]
    charsmap = ["tokenizer.ggml.precompiled_charsmap", 9, [0, [4, 0, 0, 0, 0, 0, 0, 0, 65, 0]]]
    return [
        {
            "metadata": model("llama", ["tokenizer.ggml.model", 8, "llama"], tokens, types, scores, unknown),
            "tensors": [table],
        },
        {
            "metadata": model(
                "qwen2", ["tokenizer.ggml.model", 8, "gpt2"], ["tokenizer.ggml.pre", 8, "qwen2"], tokens, types, merges
            ),
            "tensors": [table],
        },
        {"metadata": model("bert", ["tokenizer.ggml.model", 8, "bert"], tokens, types, unknown), "tensors": [table]},
        {
            "metadata": model("t5", ["tokenizer.ggml.model", 8, "t5"], tokens, types, scores, unknown, charsmap),
            "tensors": [table],
        },
        {
            "metadata": model(
                "llama",
                ["llama.rope.scaling.type", 8, "yarn"],
                ["llama.rope.scaling.factor", 6, 4.0],
                ["llama.rope.scaling.original_context_length", 4, 128],
            ),
            "tensors": [["token_embd.weight", [4, 32], 8, None], ["output.weight", [4, 32], 2, None]],
        },
        {
            "metadata": model("llama"),
            "tensors": [["token_embd.weight", [4, 256], 12, None], ["rope_freqs.weight", [8], 0, None]],
        },
        {
            "metadata": model("phi3"),
            "tensors": [
                ["token_embd.weight", [4, 32], 1, None],
                ["rope_factors_long.weight", [8], 0, None],
                ["rope_factors_short.weight", [8], 0, None],
            ],
        },
        {
            "metadata": model("gemma3", ["gemma3.attention.key_length", 4, 16], ["gemma3.rope.freq_base_swa", 6, 1e4]),
            "tensors": [["token_embd.weight", [4, 32], 30, None]],
        },
        {"metadata": model("qwen2vl", ["qwen2vl.rope.dimension_sections", 9, [5, [2, 3, 3, 0]]]), "tensors": []},
        {
            "metadata": model(
                "deepseek2",
                ["deepseek2.rope.dimension_count", 4, 8],
                ["split.count", 2, 1],
                ["general.alignment", 4, 32],
            ),
            "tensors": [],
        },
        {
            "metadata": [["general.architecture", 8, "llama"], ["llama.attention.head_count", 9, [9, [[4, [1]]]]]],
            "tensors": [],
        },
        {"metadata": model("llama", ["split.count", 9, [4, [1, 2]]]), "tensors": []},
        {"metadata": model("llama", ["llama.rope.dimension_count", 9, [9, [[4, [1, 2]], [4, [3, 4]]]]]), "tensors": []},
        {"version": 3, "entry_count": 1 << 60, "metadata": [], "tensors": []},
        {"version": 50331648, "metadata": [], "tensors": []},
    ]


def tokenizers() -> list[bytes]:
    """Describe tokenizers of every model of the library."""
    added = [
        {
            "id": 6,
            "content": "<s>",
            "special": True,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {piece: place for place, piece in enumerate(["a", "b", "ab", "Ġ", "Ġa", "<unk>"])}
    usual = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "post_processor": None,
    }
    spaces = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}},
    }
    found = (
        {
            **usual,
            "pre_tokenizer": level,
            "decoder": level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"], ["Ġ", "a"]], "unk_token": "<unk>"},
        },
        {
            **usual,
            "normalizer": {"type": "NFC"},
            "post_processor": template,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": r"\s+|\w+"}, "behavior": "Isolated", "invert": False},
                    level,
                ],
            },
            "decoder": level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": ["a b"], "ignore_merges": True},
        },
        {
            **usual,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "ab": 3},
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
            },
        },
        {
            **usual,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [["<unk>", 0.0], ["▁a", -1.0], ["a", -2.0], ["b", -2.5], ["ab", -1.5]],
                "byte_fallback": False,
            },
        },
        {
            **usual,
            "pre_tokenizer": None,
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                ],
            },
            "decoder": {"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {
                "type": "BPE",
                "vocab": {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "<0x41>": 5},
                "merges": [["a", "b"]],
                "byte_fallback": True,
                "unk_token": "<unk>",
            },
        },
        {
            **usual,
            "pre_tokenizer": {"type": "Whitespace"},
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 0, "[UNK]": 2}, "unk_token": "[UNK]"},
        },
        {"model": {"vocab": {"\ud800": 0, "": 1, "a": 1}}, "added_tokens": [{"id": 1, "content": ""}]},
    )
    return [json.dumps(one, separators=(",", ":")).encode() for one in found]


def tokenizer_folders() -> list[bytes]:
    """Describe folders with the older files."""
    added = {"added_tokens_decoder": {"5": {"content": "<s>", "special": True}}, "do_lower_case": False}
    return [
        text(
            {
                "vocab.json": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4},
                "merges.txt": "#version: 0.2\na b\nĠ a\n",
                "tokenizer_config.json": added,
            }
        ),
        text({"vocab.txt": "[PAD]\n[UNK]\n[CLS]\na\n##b\nab\n", "tokenizer_config.json": {"do_lower_case": True}}),
        text({"vocab.txt": "a\r\nb\r\n\n", "tokenizer_config.json": {"added_tokens_decoder": {"9": {"content": "x"}}}}),
        text({"vocab.json": {"a": 4294967296}, "merges.txt": "a\n"}),
        text({"tokenizer.model": "x", "tokenizer_config.json": added}),
        text(
            {
                "x.tiktoken": "YQ== 0\nYg== 1\n",
                "tokenizer_config.json": {"added_tokens_decoder": {"0": {"content": "b"}, "²": {"content": "c"}}},
            }
        ),
    ]


def varint(number: int) -> bytes:
    """Write a number as a protocol buffer does."""
    data = b""
    while number > 127:
        data, number = data + bytes([number & 127 | 128]), number >> 7
    return data + bytes([number])


def field(number: int, value: bytes | float) -> bytes:
    """Write a field of a protocol buffer."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def sentencepieces() -> list[bytes]:
    """Write SentencePiece models: Unigram and BPE, with pieces of every kind."""
    listed = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("▁a", -1.0, 1),
        ("a", -2.0, 1),
        ("b", -3.0, 1),
        ("▁", -4.0, 1),
        ("x", 0.0, 4),
    ]
    pieces = b"".join(
        field(1, field(1, piece.encode()) + field(2, score) + field(3, kind)) for piece, score, kind in listed
    )
    normal = field(3, field(1, b"identity") + field(3, 1) + field(4, 1) + field(5, 1))
    return [pieces + field(2, field(3, kind)) + normal for kind in (1, 2)] + [pieces, normal, b""]


def tiktokens() -> list[bytes]:
    """Write tiktoken's lines."""
    return [b"YQ== 0\nYg== 1\nYWI= 2\n", b"YQ== 0\r\n4p0= 300\r\n\r\n", b"YQ== 0\nYQ== 1\n", b"YQ== " + b"9" * 5000]


def words() -> list[bytes]:
    """Write tables of words."""
    numbers = np.arange(4, dtype="<f4").reshape(2, 2)
    binary = b"2 2\n" + b"a " + numbers[0].tobytes() + b"\nb " + numbers[1].tobytes() + b"\n"
    return [
        *(
            b"2 2\na 1 2\nb 3 4.5e-3\n",
            b"a 1 2\nb c 3 4\n",
            b"a 1e400 -1\nb 2 .5\n",
            binary,
            binary.replace(b"\nb", b"b"),
        ),
        *(
            b"999999999999 3\na 1 2 3\n",
            b"1 65536\nab ",
            "é 1 2\n\u2028 3 4\n".encode(),
            (793_712_314).to_bytes(4, "little") + bytes(8),
        ),
    ]


def vectors() -> list[bytes]:
    """Write vectors in every form."""
    return [
        *npy(),
        *(
            b"[1,2,3]",
            b"[[1,2],[3,4]]",
            b'{"rows":[{"query":"a","values":[1.0,2.0]}]}',
            b'{"values":[1]}\n{"values":[2]}\n',
        ),
        *(
            b"query\tid\tpiece\ttoken\tbytes\tnorm\tv0\tv1\na\t0\ta\ta\t61\t5\t3\t4\n",
            b"a\t0\ta\ta\t61\t5\t3\t4\n",
            b"1 2 3\n4,5,6\n",
            b",",
        ),
    ]


def npy() -> list[bytes]:
    """Write npy files, good ones and hostile ones."""
    found = []
    for array in (
        np.arange(2.0),
        np.arange(4, dtype="<f4").reshape(2, 2),
        np.arange(2, dtype=">f8"),
        np.arange(3, dtype="u1"),
        np.zeros((2, 0)),
    ):
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version=(1, 0))
        found.append(file.getvalue())
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asfortranarray(np.arange(6.0).reshape(2, 3)), version=(2, 0))
    found.append(file.getvalue())
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 0), }\n"
    return [*found, b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head]


def indexes() -> list[bytes]:
    """Describe indexes of tokenizers."""
    facts = [
        ["ids", [0, 1, 2]],
        ["added", {"2": ["<s>", True]}],
        ["traits", [{"type": "ByteLevel"}, None, 0, True, False]],
    ]
    return [
        text({"tokens": [[0, "a"], [1, "Ġb"], [2, "<s>"]], "facts": facts}),
        text({"tokens": [], "facts": [["traits", 5], ["added", []]]}),
    ]


def answers() -> list[bytes]:
    """Describe answers of servers."""
    metadata = {"x-repo-commit": COMMIT, "x-linked-etag": '"' + "0" * 64 + '"', "x-linked-size": "100"}
    whole = {
        **metadata,
        "x-linked-etag": hashlib.sha256(b"a" * 100).hexdigest(),
        "content-length": "100",
        "location": "https://cdn.example/x",
    }
    ranged = {
        "content-range": "bytes 0-9/100",
        "content-length": "10",
        "etag": '"abc"',
        "content-type": "application/octet-stream",
    }
    return [
        text(
            {
                "status": 206,
                "start": 0,
                "stop": 10,
                "headers": {**metadata, **ranged, "location": "https://cdn.example/x"},
            }
        ),
        text({"status": 200, "start": 0, "stop": 100, "headers": {**metadata, "content-length": "100"}}),
        text(
            {
                "status": 206,
                "start": 5,
                "stop": 10,
                "size": 100,
                "headers": {"x-repo-commit": COMMIT, **ranged, "content-range": "bytes 5-9/100", "content-length": "5"},
            }
        ),
        text({"status": 429, "headers": {"retry-after": "30", "ratelimit": '"api";r=0;t=120'}}),
        text({"status": 302, "headers": {**metadata, "location": "http://[::1"}}),
        text({"status": 404, "headers": {"x-error-code": "EntryNotFound", "x-error-message": "no"}}),
        text({"status": 200, "start": 0, "stop": 100, "whole": "a" * 100, "headers": whole}),
    ]


def hub() -> dict[str, list[bytes]]:
    """Describe what is read back from the cache of fetched parts, and the hub's list of files."""
    listing = {
        "sha": COMMIT,
        "siblings": [
            {"rfilename": "config.json", "size": 10},
            {"rfilename": "../x"},
            {"rfilename": "a/b.bin", "size": None},
        ],
    }
    about = {
        "content": "c" * 40,
        "start": "0",
        "stop": "16",
        "dtype": "F32",
        "shape": "[4]",
        "tensor": "t",
        "crc32": "0" * 8,
        "sealed": "0" * 12,
    }
    kept = {
        "ref": {"revision": "main", "commit": COMMIT},
        "record": {"file": "x", "etag": "0" * 64, "size": 3},
        "listing": {"x": 3, "y": None},
        "about": {"model": "a", "file": "x"},
    }
    return {
        "listing": [text(listing), b'{"sha":1}'],
        "sidecars": [text(kept), text({"ref": "[" * 2000, "record": "{", "listing": []})],
        "ranges": [
            text({"heads": {"0-10.range": 10, "0-100.range": 100}, "rows": {"0-10.range": 10, "5-10.range": 5}}),
            text({"heads": {"0-9999999999999999999.range": 0}, "rows": {"0-10.range": "x"}}),
        ],
        "tablefile": [
            table_header(about),
            table_header({**about, "shape": "[[]]"}),
            struct.pack("<Q", 1 << 62) + b"{}",
        ],
        "journal": [
            text({"slots": [{"sequence": 1, "bitmap": 1}, {"sequence": 2, "bitmap": 3}]}),
            text({"slots": [{"sequence": 7, "bitmap": 65535}, {"checksum": 1}]}),
            text({"slots": [{"sequence": (1 << 64) - 1}, {}], "cut": 5}),
        ],
    }


def main() -> None:
    """Write all seeds anew."""
    described = ggufs()
    found = {
        "safetensors": safetensors(),
        "safetensors-peer": [*safetensors(), *disputed()],
        "checkpoint": checkpoints(),
        "config": configs(),
        "gguf": [gguf_document.encode(one) for one in described],
        "gguf-fields": [text(one) for one in described],
        "gguf-splitting": [text(one) for one in described[:4]],
        "static": words(),
        "tokenizer": tokenizers(),
        "splitting": tokenizers(),
        "tokenizer-files": [*tokenizer_folders(), byte_level()],
        "sentencepiece": sentencepieces(),
        "tiktoken": tiktokens(),
        "index": indexes(),
        "vectors": vectors(),
        "npy-peer": npy(),
        "answers": answers(),
        **hub(),
    }
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name, cases in found.items():
        folder = CORPUS / name
        folder.mkdir(parents=True)
        for number, case in enumerate(cases):
            (folder / f"{number:02d}").write_bytes(case)


def byte_level() -> bytes:
    """Describe the folder of a byte-level tokenizer with a piece for each byte."""
    pieces = {piece: place for place, piece in enumerate(small_models.byte_characters().values())}
    return text({"vocab.json": pieces, "merges.txt": "#version: 0.2\n", "tokenizer_config.json": {}})


if __name__ == "__main__":
    main()
