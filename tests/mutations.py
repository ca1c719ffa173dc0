"""Healthy models of several families, and for every rule of `embtool check` what breaks one, and what nearly does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_models import (
    BERT_WORDS,
    END_OF_TEXT,
    WIDTH,
    Tensor,
    added_token,
    config,
    digits,
    float32,
    pieces,
    safetensors,
    tokenizer_json,
    write_json,
    write_single,
)

START = "<|im_start|>"
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.content }}<|endoftext|>{% endfor %}"
ROWS = len(pieces()) + 2
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


def numbers(kind: str, rows: int = ROWS) -> NDArray[np.float64]:
    """Make rows of which no two are alike."""
    return np.stack([digits(f"{kind} {row}", 30) for row in range(rows)]) / 64 + 0.5


def tensor(values: NDArray[np.float64]) -> Tensor:
    return ("F32", values.shape, float32(values))


def write_llama(folder: Path, changes: dict[str, Tensor] | None = None, **settings: Any) -> None:
    """Write a healthy chat model: sharded, untied, with a template and without padding."""
    folder.mkdir(parents=True)
    settings = {"vocab_size": ROWS, "eos_token_id": ROWS - 2, "bos_token_id": ROWS - 2, **settings}
    write_json(folder / "config.json", config(**settings))
    write_json(folder / "tokenizer.json", tokenizer_json({END_OF_TEXT: True, START: True}))
    write_json(folder / "tokenizer_config.json", {"chat_template": TEMPLATE})
    write_json(folder / "generation_config.json", {"eos_token_id": [ROWS - 2, ROWS - 1], "pad_token_id": -1})
    tensors = {INPUT: tensor(numbers("input")), OUTPUT: tensor(numbers("output")), **(changes or {})}
    weight_map = {}
    for place, (name, written) in enumerate(tensors.items()):
        (folder / f"part-{place}.safetensors").write_bytes(safetensors({name: written}))
        weight_map[name] = f"part-{place}.safetensors"
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})


def write_tied(folder: Path) -> None:
    settings = config(vocab_size=ROWS, tie_word_embeddings=True)
    tokenizer = tokenizer_json({END_OF_TEXT: True, START: True})
    write_single(folder, {INPUT: tensor(numbers("input"))}, config=settings, tokenizer=tokenizer)


def write_gpt2(folder: Path) -> None:
    rows = len(pieces()) + 1
    tensors = {"wte.weight": tensor(numbers("input", rows)), "wpe.weight": tensor(numbers("position", 32))}
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": rows,
        "n_embd": WIDTH,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 32,
        "eos_token_id": rows - 1,
    }
    write_single(folder, tensors, config=settings, tokenizer=tokenizer_json())


def write_bert(folder: Path) -> None:
    values = numbers("input", len(BERT_WORDS))
    values[0] = 0  # the padding token's, as it is initialised
    tensors = {
        "embeddings.word_embeddings.weight": tensor(values),
        "embeddings.position_embeddings.weight": tensor(numbers("position", 8)),
    }
    settings = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(BERT_WORDS),
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "pad_token_id": 0,
    }
    write_single(folder, tensors, config=settings)
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n", encoding="utf-8")


# --- adapters ---

PEFT = "base_model.model."
IDS = [ROWS - 1, 3]


def factors(rows: int = ROWS, rank: int = 2) -> dict[str, Tensor]:
    """Make LoRA's two matrices for the input table, and for a layer."""
    module, layer = f"{PEFT}model.embed_tokens", f"{PEFT}model.layers.0.self_attn.q_proj"
    return {
        f"{module}.lora_embedding_A": tensor(numbers("A", rows)[:, :rank].T),
        f"{module}.lora_embedding_B": tensor(numbers("B", WIDTH)[:, :rank]),
        f"{layer}.lora_A.weight": tensor(numbers("layer A", rank)),
        f"{layer}.lora_B.weight": tensor(numbers("layer B", WIDTH)[:, :rank]),
    }


def delta(rows: int = len(IDS)) -> dict[str, Tensor]:
    """Make the rows of single tokens."""
    name = f"{PEFT}model.embed_tokens.token_adapter.trainable_tokens_delta"
    return {name: tensor(numbers("delta", max(rows, 1))[:rows])}


def write_adapter(folder: Path, changes: dict[str, Tensor] | None = None, **settings: Any) -> None:
    """Write a healthy adapter: LoRA on the input table and on a layer."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 2, "lora_alpha": 4}
    write_json(folder / "adapter_config.json", {**known, **settings})
    (folder / "adapter_model.safetensors").write_bytes(safetensors(factors() if changes is None else changes))


def adapter(changes: dict[str, Tensor] | None = None, **settings: Any) -> Callable[[Path], None]:
    return lambda folder: write_adapter(folder, changes, **settings)


# --- what breaks them ---


def edit(file: Path, **changes: Any) -> None:
    write_json(file, json.loads(file.read_text()) | changes)


def put(folder: Path, name: str, values: NDArray[np.float64]) -> None:
    """Replace a tensor of the model."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    (folder / index["weight_map"][name]).write_bytes(safetensors({name: tensor(values)}))


def changed(name: str, change: Callable[[NDArray[np.float64]], None], kind: str = "input") -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        values = numbers(kind)
        change(values)
        put(folder, name, values)

    return mutate


def set_row(row: int, value: Any) -> Callable[[NDArray[np.float64]], None]:
    def change(values: NDArray[np.float64]) -> None:
        values[row] = value if not callable(value) else value(values)

    return change


def in_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", **changes)


def add_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(added_token(ROWS, "<tool>", special=False))
    write_json(folder / "tokenizer.json", tokenizer)


def add_rows(count: int) -> Callable[[Path], None]:
    """Make both tables larger than the vocabulary."""

    def mutate(folder: Path) -> None:
        edit(folder / "config.json", vocab_size=ROWS + count)
        for name, kind in ((INPUT, "input"), (OUTPUT, "output")):
            put(folder, name, numbers(kind, ROWS + count))

    return mutate


def put_tensor(name: str, written: Tensor, beside: dict[str, Tensor] | None = None) -> Callable[[Path], None]:
    """Write a tensor of any dtype and shape in the place of a table, and others beside it."""

    def mutate(folder: Path) -> None:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        shard = index["weight_map"][name]
        tensors = {name: written, **(beside or {})}
        (folder / shard).write_bytes(safetensors(tensors))
        index["weight_map"] |= dict.fromkeys(tensors, shard)
        write_json(folder / "model.safetensors.index.json", index)

    return mutate


def flat(count: int) -> Tensor:
    return ("F32", (count,), bytes(4 * count))


def in_file(file: str, **changes: Any) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        path = folder / file
        edit(path, **changes) if path.is_file() else write_json(path, changes)

    return mutate


def in_tokenizer(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        change(tokenizer)
        write_json(folder / "tokenizer.json", tokenizer)

    return mutate


def together(*mutations: Callable[[Path], None]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        for each in mutations:
            each(folder)

    return mutate


def prefixed(prefix: str) -> Callable[[Path], None]:
    """Put something before the name of every tensor."""

    def mutate(folder: Path) -> None:
        renamed = {f"{prefix}{INPUT}": "part-0.safetensors", f"{prefix}{OUTPUT}": "part-1.safetensors"}
        for (name, shard), kind in zip(renamed.items(), ("input", "output"), strict=True):
            (folder / shard).write_bytes(safetensors({name: tensor(numbers(kind))}))
        write_json(folder / "model.safetensors.index.json", {"weight_map": renamed})

    return mutate


def copied(file: str, to: str) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / to).write_bytes((folder / file).read_bytes())

    return mutate


def written(file: str, content: bytes) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return mutate


def same_output(folder: Path) -> None:
    """Tie the tables, and store the second one all the same."""
    edit(folder / "config.json", tie_word_embeddings=True)
    put(folder, OUTPUT, numbers("input"))


def as_unigram(*, twice: bool) -> Callable[[dict[str, Any]], None]:
    """Write the vocabulary as a list of pieces, of which the last is the first again, or not."""

    def change(tokenizer: dict[str, Any]) -> None:
        names = [*pieces()[:-1], pieces()[0] if twice else pieces()[-1]]
        vocabulary = [[name, -float(place)] for place, name in enumerate(names)]
        tokenizer["model"] = {"type": "Unigram", "unk_id": 1, "vocab": vocabulary}

    return change


def shift_added(tokenizer: dict[str, Any]) -> None:
    tokenizer["added_tokens"][0]["id"], tokenizer["added_tokens"][1]["id"] = ROWS - 1, ROWS - 2


def write_older(shift: int) -> Callable[[Path], None]:
    """Write vocab.json beside tokenizer.json, its ids turned round or shifted."""

    def mutate(folder: Path) -> None:
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        last = len(vocabulary) - 1
        moved = {piece: identity + shift if shift else last - identity for piece, identity in vocabulary.items()}
        write_json(folder / "vocab.json", moved)

    return mutate


def nest_config(vocab_size: int) -> Callable[[Path], None]:
    """Put the language model's config below text_config, with a vocab_size at the top too."""

    def mutate(folder: Path) -> None:
        text = json.loads((folder / "config.json").read_text())
        outer = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "vocab_size": vocab_size}
        ids = {key: text.pop(key) for key in ("eos_token_id", "bos_token_id")}
        write_json(folder / "config.json", {**outer, **ids, "tie_word_embeddings": False, "text_config": text})

    return mutate


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}

PAD = "[PAD]"

PARAMS = {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "head_dim": 8, "vocab_size": ROWS, "rope_theta": 10000.0}

NF4: dict[str, Tensor] = {
    f"{OUTPUT}.{end}": ("U8", (4,), bytes(4)) for end in ("absmax", "quant_map", "quant_state.bitsandbytes__nf4")
}

FP8: Tensor = (
    "F8_E4M3",
    (ROWS, WIDTH),
    b"".join(bytes([1 + row % 100, 1 + row // 100, *range(3, 1 + WIDTH)]) for row in range(ROWS)),
)

QUANTISED = in_config(quantization_config={"quant_method": "fp8"})


def write_gguf(folder: Path, *, eos: int = ROWS - 2, twice: bool = False, template: str = TEMPLATE) -> None:
    """Write a healthy GGUF file of the same model; or one whose last two tokens are the same."""
    from gguf_files import llama, vocabulary_of, write  # noqa: PLC0415 - the module is skipped where gguf is not there

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", tokenizer_json({END_OF_TEXT: True, START: True}))
    vocabulary = vocabulary_of(folder / "tokenizer.json")
    (folder / "tokenizer.json").unlink()
    if twice:
        vocabulary["tokenizer.ggml.tokens"][-1] = vocabulary["tokenizer.ggml.tokens"][-2]
        template = ""
    ids = {"tokenizer.ggml.eos_token_id": eos, "tokenizer.ggml.bos_token_id": ROWS - 2}
    tables = {
        "token_embd.weight": (numbers("input").astype("f4"), None),
        "output.weight": (numbers("output").astype("f4"), None),
    }
    settings = llama(**{"embedding_length": WIDTH, "attention.head_count": 2, "rope.dimension_count": 8})
    extra = {"tokenizer.chat_template": template} if template else {}
    write(folder / "model.gguf", tables, settings=settings, vocabulary={**vocabulary, **ids, **extra})


def rewritten(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write_gguf(folder, **changes)


def drop_output(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    del index["weight_map"][OUTPUT]
    (folder / "part-1.safetensors").unlink()
    write_json(folder / "model.safetensors.index.json", index)


def rename_input(folder: Path) -> None:
    values = tensor(numbers("input"))
    (folder / "part-1.safetensors").unlink()
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"something.weight": "part-0.safetensors"}})
    (folder / "part-0.safetensors").write_bytes(safetensors({"something.weight": values}))


def cut(folder: Path) -> None:
    file = folder / "part-1.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def other_template(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", {"chat_template": [{"name": "x", "template": "<|user|>"}]})


def swap_first(tokenizer: dict[str, Any]) -> None:
    """Exchange the ids of two tokens that llama.cpp does not look at."""
    vocabulary = tokenizer["model"]["vocab"]
    first, second = pieces()[:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def rename_most(tokenizer: dict[str, Any]) -> None:
    """Leave fewer tokens as they are than vLLM wants to be shared."""
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {
        piece if identity < 80 else f"{piece}一": identity for piece, identity in vocabulary.items()
    }


def head(offsets: NDArray[np.int64], marks: NDArray[np.bool_], rows: int = 40) -> Callable[[Path], None]:
    """Make a draft head of a model: an output table of its own, and the maps into its target's vocabulary."""

    def mutate(folder: Path) -> None:
        maps: dict[str, Tensor] = {
            "d2t": ("I64", offsets.shape, offsets.astype("<i8").tobytes()),
            "t2d": ("BOOL", marks.shape, marks.tobytes()),
        }
        put_tensor(OUTPUT, tensor(numbers("output", rows)), maps)(folder)
        edit(folder / "config.json", draft_vocab_size=rows)

    return mutate


HEALTHY: dict[str, Callable[[Path], None]] = {
    "llama": write_llama,
    "tied": write_tied,
    "gpt2": write_gpt2,
    "bert": write_bert,
    "gguf": write_gguf,
    "adapter": write_adapter,
}

MUTATIONS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "missing-shard": ("llama", lambda folder: (folder / "part-1.safetensors").unlink()),
    "damaged-shard": ("llama", cut),
    "missing-table": ("llama", rename_input),
    "tokens-beyond-table": ("llama", add_tokens),
    "padding-rows": ("llama", add_rows(1)),
    "vocab-size": ("llama", in_config(vocab_size=ROWS + 4)),
    "table-width": ("llama", in_config(hidden_size=32)),
    "position-rows": ("gpt2", in_config(n_positions=64)),
    "tied-but-different": ("llama", in_config(tie_word_embeddings=True)),
    "untied-but-identical": ("llama", lambda folder: put(folder, OUTPUT, numbers("input"))),
    "stored-twice": ("llama", same_output),
    "missing-output-table": ("llama", drop_output),
    "flat-table": ("llama", put_tensor(INPUT, flat(100))),
    "empty-table": ("llama", put_tensor(OUTPUT, ("F32", (0,), b""))),
    "transposed-table": ("llama", put_tensor(OUTPUT, tensor(numbers("output").T))),
    "cut-table": (
        "llama",
        put_tensor(INPUT, tensor(numbers("input")[:, : WIDTH // 2]), {"model.norm.weight": flat(WIDTH)}),
    ),
    "unread-table": (
        "llama",
        together(put_tensor(OUTPUT, ("U8", (100, 1), bytes(100)), NF4), in_config(quantization_config={"bits": 4})),
    ),
    "lost-quantization": ("llama", together(put_tensor(OUTPUT, FP8), QUANTISED)),
    "odd-prefix": ("llama", prefixed("_orig_mod.")),
    "stray-weights": ("llama", copied("part-0.safetensors", "consolidated.safetensors")),
    "rival-weights": ("llama", copied("part-0.safetensors", "model.safetensors")),
    "output-shape": ("llama", lambda folder: put(folder, OUTPUT, numbers("output", ROWS - 8))),
    "damaged-config": ("llama", written("config.json", b"{")),
    "damaged-tokenizer": ("llama", written("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\n")),
    "damaged-small-file": ("llama", written("generation_config.json", b"<html>")),
    "foreign-tokenizer": ("llama", add_rows(ROWS)),
    "vocab-sizes-differ": ("llama", nest_config(ROWS + 64)),
    "duplicate-token": ("llama", in_tokenizer(as_unigram(twice=True))),
    "gguf-duplicate-token": ("gguf", rewritten(twice=True)),
    "added-id": ("llama", in_tokenizer(shift_added)),
    "late-token": ("llama", together(add_rows(1), in_file("special_tokens_map.json", pad_token=PAD))),
    "tokenizers-differ": ("llama", write_older(0)),
    "special-id": ("llama", in_config(eos_token_id=ROWS + 99)),
    "template-token": ("llama", other_template),
    "eos-differs": (
        "llama",
        together(in_config(eos_token_id=ROWS - 1), in_file("generation_config.json", eos_token_id=ROWS - 2)),
    ),
    "bos-differs": ("llama", in_file("generation_config.json", bos_token_id=ROWS - 1)),
    "pad-differs": (
        "llama",
        together(in_config(pad_token_id=3), in_file("tokenizer_config.json", pad_token=START)),
    ),
    "turn-end": ("llama", lambda folder: _turn_end(folder, 0)),
    "ordinary-eos": (
        "llama",
        together(in_config(eos_token_id=5), in_file("generation_config.json", eos_token_id=5)),
    ),
    "rope-invalid": ("llama", in_config(rope_scaling={"rope_type": "unheard", "factor": 2.0})),
    "rope-conflict": ("llama", in_config(rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    "rope-ignored": ("llama", in_config(partial_rotary_factor=0.5)),
    "rope-unused": ("gpt2", in_config(rope_theta=10000.0)),
    "rope-unknown-key": ("llama", in_config(rope_scaling={**YARN, "beta_fasst": 64})),
    "rope-factor": ("llama", in_config(rope_scaling={**YARN, "factor": 8.0})),
    "params-differ": ("llama", lambda folder: write_json(folder / "params.json", {**PARAMS, "rope_theta": 500000.0})),
    "nonfinite-rows": ("llama", changed(OUTPUT, set_row(7, np.nan), "output")),
    "zero-rows": ("llama", changed(INPUT, set_row(7, 0.0))),
    "identical-rows": ("llama", changed(INPUT, set_row(7, lambda values: values[9]))),
    "untrained-special": ("llama", changed(INPUT, set_row(ROWS - 1, 0.0))),
    "shrunk-table": ("llama", lambda _: None),
    "moved-token": ("llama", lambda _: None),
    "positions-differ": ("llama", lambda _: None),
    "context-differs": ("llama", lambda _: None),
    "tying-differs": ("llama", lambda _: None),
    "new-token-rows": ("llama", lambda _: None),
    "adapter-rows": ("adapter", adapter(factors(ROWS + 3))),
    "adapter-module": (
        "adapter",
        adapter({name.replace("model.embed_tokens", "transformer.wte"): each for name, each in factors().items()}),
    ),
    "adapter-ids": ("adapter", adapter(factors() | delta(), trainable_token_indices=[*IDS, 5])),
    "adapter-names": (
        "adapter",
        adapter({name.replace(".weight", ".default.weight"): each for name, each in factors().items()}),
    ),
    "adapter-empty": (
        "adapter",
        adapter(factors() | {f"{PEFT}model.layers.0.self_attn.q_proj.lora_B.weight": ("F32", (0,), b"")}),
    ),
    "adapter-copies": (
        "adapter",
        adapter(
            {
                f"{PEFT}model.embed_tokens.{end}": tensor(numbers("input"))
                for end in ("weight", "original_module.weight")
            }
        ),
    ),
    "adapter-tying": ("adapter", lambda _: None),
    "adapter-base": ("adapter", adapter(base_model_name_or_path="/home/someone/model")),
    "draft-llama-cpp": ("llama", in_file("tokenizer_config.json", add_bos_token=True)),
    "draft-vocab-size": ("llama", in_config(vocab_size=ROWS + 64)),
    "draft-tokens": ("llama", in_tokenizer(swap_first)),
    "draft-intersection": ("llama", in_tokenizer(rename_most)),
    "draft-head": ("llama", head(np.arange(40), np.arange(ROWS) < 40)),
}
"""For every rule the healthy model it is tried on, and what is done to it."""


def _turn_end(folder: Path, place: int) -> None:
    """Add <|im_end|>, and end turns with it in the template; it ends a text where `place` says so."""
    tokens = {END_OF_TEXT: True, START: True, "<|im_end|>": True}
    add_rows(1)(folder)
    write_json(folder / "tokenizer.json", tokenizer_json(tokens))
    write_json(folder / "tokenizer_config.json", {"chat_template": TEMPLATE.replace(END_OF_TEXT, "<|im_end|>")})
    edit(folder / "config.json", eos_token_id=ROWS - 2 + place)
    edit(folder / "generation_config.json", eos_token_id=[ROWS - 2, ROWS - 2 + place])


NEAR: dict[str, Callable[[Path], None]] = {
    "missing-shard": written("notes.txt", b"part-9.safetensors"),
    "missing-output-table": together(drop_output, in_config(tie_word_embeddings=True)),
    "flat-table": put_tensor(INPUT, tensor(numbers("input")), {"model.embed_tokens.bias": flat(100)}),
    "empty-table": put_tensor(OUTPUT, tensor(numbers("output")), {"lm_head.bias": ("F32", (0,), b"")}),
    "transposed-table": put_tensor(OUTPUT, tensor(numbers("output")), {"model.fc.weight": tensor(numbers("output").T)}),
    "cut-table": put_tensor(
        INPUT, tensor(numbers("input")), {"model.layers.0.mlp.weight": tensor(numbers("input")[:, : WIDTH // 2])}
    ),
    "unread-table": in_config(quantization_config={"bits": 4}),
    "lost-quantization": together(
        put_tensor(OUTPUT, FP8, {"lm_head.weight_scale": ("F32", (1,), b"\0\0\x80?")}), QUANTISED
    ),
    "odd-prefix": prefixed("base."),
    "stray-weights": copied("part-0.safetensors", "part-0.safetensors.bak"),
    "rival-weights": copied("part-0.safetensors", "consolidated.safetensors"),
    "output-shape": add_rows(8),
    "damaged-config": in_config(unheard_of=None),
    "damaged-tokenizer": in_tokenizer(lambda tokenizer: tokenizer.update(unheard_of=None)),
    "damaged-small-file": written("README.md", b"<html>"),
    "foreign-tokenizer": add_rows(100),
    "vocab-sizes-differ": nest_config(ROWS),
    "duplicate-token": in_tokenizer(as_unigram(twice=False)),
    "gguf-duplicate-token": rewritten(),
    "added-id": in_tokenizer(lambda tokenizer: tokenizer["added_tokens"][0].update(special=False)),
    "late-token": together(add_rows(1), in_file("special_tokens_map.json", pad_token=END_OF_TEXT)),
    "tokenizers-differ": write_older(3),
    "template-token": lambda folder: write_json(
        folder / "tokenizer_config.json",
        {"chat_template": "<s>[INST] <<SYS>> <think>{{ '<|' + role }} [/INST]"},
    ),
    "eos-differs": in_file("tokenizer_config.json", eos_token=END_OF_TEXT),
    "bos-differs": in_file("tokenizer_config.json", bos_token={"content": END_OF_TEXT}),
    "pad-differs": together(in_config(pad_token_id=ROWS - 1), in_file("tokenizer_config.json", pad_token=START)),
    "turn-end": lambda folder: _turn_end(folder, 2),
    "ordinary-eos": in_config(eos_token_id=[ROWS - 2, ROWS - 1]),
    "rope-unknown-key": in_config(rope_scaling={**YARN, "beta_fast": 64, "attention_factor": 1.0}),
    "rope-factor": in_config(rope_scaling=YARN),
    "params-differ": lambda folder: write_json(folder / "params.json", {**PARAMS, "vocab_size": -1}),
    "stored-twice": in_config(tie_word_embeddings=False),
    "zero-rows": changed(INPUT, set_row(7, lambda values: values[7] * 0.01)),
    "untrained-special": changed(INPUT, set_row(ROWS - 1, lambda values: values[ROWS - 1] * 0.01)),
    "identical-rows": changed(INPUT, set_row(7, lambda values: values[9] * 1.01)),
    "shrunk-table": lambda _: None,
    "moved-token": lambda _: None,
    "positions-differ": lambda _: None,
    "context-differs": lambda _: None,
    "tying-differs": lambda _: None,
    "new-token-rows": lambda _: None,
    "adapter-rows": adapter(factors() | delta(), trainable_token_indices=IDS),
    "adapter-module": lambda _: None,
    "adapter-ids": adapter(factors() | delta(), trainable_token_indices={"embed_tokens": IDS, "lm_head": [1]}),
    "adapter-names": adapter(factors(), adapter_name="default"),
    "adapter-empty": adapter(factors() | {f"{PEFT}model.norm.bias": flat(3)}),
    "adapter-copies": adapter({f"{PEFT}model.embed_tokens.weight": tensor(numbers("input"))}),
    "adapter-tying": adapter(factors(), ensure_weight_tying=True),
    "adapter-base": adapter(base_model_name_or_path="gpt2"),
    "draft-llama-cpp": in_file("tokenizer_config.json", add_bos_token=False),
    "draft-vocab-size": in_config(hidden_act="silu"),
    "draft-tokens": in_tokenizer(lambda tokenizer: tokenizer.update(version="1.0")),
    "draft-intersection": in_tokenizer(swap_first),
    "draft-head": head(np.arange(40), np.isin(np.arange(ROWS), np.arange(0, 80, 2))),
}
"""For a rule what is done to the same model that is near the mutation, and sound."""


def write_base(change: Callable[[Path], None] = lambda _: None, **settings: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_llama(folder, **settings)
        change(folder)
        return folder

    return write


def other_ids(folder: Path) -> None:
    write_json(folder / "tokenizer.json", tokenizer_json({START: True, END_OF_TEXT: True}))


def without_start(folder: Path) -> None:
    """Leave a token out: its row is padding then."""
    write_json(folder / "tokenizer.json", tokenizer_json({END_OF_TEXT: True}))


def tied_base(folder: Path) -> Path:
    write_tied(folder)
    return folder


BASES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Path]]] = {
    "shrunk-table": (write_base(add_rows(8)), write_base(in_config(hidden_act="silu"))),
    "moved-token": (write_base(other_ids), write_base(without_start)),
    "positions-differ": (
        write_base(rope_theta=500000.0),
        write_base(rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    ),
    "context-differs": (write_base(max_position_embeddings=4096), write_base()),
    "tying-differs": (write_base(same_output), write_base(drop_output)),
    "new-token-rows": (
        write_base(without_start),
        write_base(together(without_start, changed(INPUT, set_row(ROWS - 1, 1.0)))),
    ),
    "adapter-rows": (write_base(), write_base()),
    "adapter-module": (write_base(), write_base(prefixed("base."))),
    "adapter-tying": (tied_base, tied_base),
}
"""For every rule about the base a base with which it finds something, and one with which it does not."""


def write_target(folder: Path) -> Path:
    write_llama(folder)
    return folder


TARGETS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Path]]] = {
    name: (write_target, write_target) for name in MUTATIONS if name.startswith("draft-")
}
"""For every rule that compares with a target: the target for its mutation, and that for what is near and sound."""

TOGETHER = {"draft-intersection": {"draft-tokens", "draft-llama-cpp"}}
"""Rules that find something in a mutation of another, because they must."""
