"""Record the rows that peft itself looks up in tiny models with adapters: `tests/data/adapters.npz`.

    python tools/record_adapters.py     # wants torch, transformers and peft

Each adapter is saved by peft, loaded again onto a fresh base, and asked: the rows of its input table are what the
embedding gives for every id, those of its output table what the head gives for unit vectors. The files that were saved
are kept beside the answers, byte by byte.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, TrainableTokensConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

TARGET = Path(__file__).parent.parent / "tests" / "data" / "adapters.npz"

ROWS, WIDTH = 24, 8


def llama(*, tied: bool, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Make a tiny Llama."""
    torch.manual_seed(1)
    settings = LlamaConfig(
        vocab_size=ROWS, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(settings).to(dtype)


def gpt2() -> GPT2LMHeadModel:
    """Make a tiny GPT-2."""
    torch.manual_seed(1)
    settings = GPT2Config(vocab_size=ROWS, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=16, eos_token_id=2)
    return GPT2LMHeadModel(settings)


@dataclass
class Case:
    """An adapter: the base it is made for, its settings, and rows that the base is given before."""

    base: str
    settings: Any
    rows: int = ROWS
    load: dict[str, Any] = field(default_factory=dict)


BASES: dict[str, Callable[[], Any]] = {
    "untied": lambda: llama(tied=False),
    "tied": lambda: llama(tied=True),
    "half": lambda: llama(tied=False, dtype=torch.bfloat16),
    "gpt2": gpt2,
}

EMBED, HEAD, BOTH = ["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]

CASES = {
    "lora": Case("untied", LoraConfig(r=3, lora_alpha=6, target_modules=EMBED)),
    "lora-both": Case("untied", LoraConfig(r=2, lora_alpha=5, target_modules=BOTH)),
    "rslora": Case("untied", LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=[*EMBED, "q_proj"])),
    "dora": Case("untied", LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=BOTH)),
    "pattern": Case(
        "untied",
        LoraConfig(
            r=2, lora_alpha=4, target_modules=BOTH, rank_pattern={"lm_head": 3}, alpha_pattern={"embed_tokens": 9}
        ),
    ),
    "tied-lora": Case("tied", LoraConfig(r=2, lora_alpha=4, target_modules=EMBED)),
    "tied-ensured": Case("tied", LoraConfig(r=2, lora_alpha=4, target_modules=EMBED, ensure_weight_tying=True)),
    "half-lora": Case("half", LoraConfig(r=2, lora_alpha=4, target_modules=BOTH)),
    "saved": Case("untied", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=BOTH)),
    "saved-tied": Case("tied", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=EMBED)),
    "saved-ensured": Case(
        "tied", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=EMBED, ensure_weight_tying=True)
    ),
    "resized": Case("untied", LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=BOTH), rows=ROWS + 3),
    "tokens": Case("untied", LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=[5, 3, 20])),
    "tokens-tied": Case("tied", LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=[5, 3, 20])),
    "tokens-named": Case(
        "untied",
        LoraConfig(
            r=2, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [7, 8], "lm_head": [9, 1, 2]}
        ),
    ),
    "tokens-half": Case("half", LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=[5, 3])),
    "tokens-alone": Case("tied", TrainableTokensConfig(token_indices=[0, 23], target_modules=EMBED)),
    "plain": Case("untied", LoraConfig(r=2, target_modules=["q_proj"])),
    "gpt2": Case("gpt2", LoraConfig(r=2, lora_alpha=8, target_modules=["wte", "c_attn"])),
    "prompt": Case("untied", PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")),
}


def scatter(model: torch.nn.Module) -> None:
    """Give every weight of an adapter a value, as if it had been trained: B of LoRA begins as zeros."""
    torch.manual_seed(2)
    for name, weight in model.named_parameters():
        if "magnitude" in name:
            weight.data *= 1 + 0.25 * torch.rand_like(weight)
        elif weight.requires_grad:
            weight.data.copy_(torch.randn(weight.shape) / 4)  # in place: tied ones share their numbers


def rows_of(model: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Ask for every row of both tables, float32 (rows, width)."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = whole.get_output_embeddings()
    kind = next(whole.parameters()).dtype
    with torch.no_grad():
        read = whole.get_input_embeddings()(torch.arange(rows)[None])[0]
        spoken = head(torch.eye(WIDTH, dtype=kind)[None])[0].T
    return read.float().numpy(), spoken.float().numpy()


def record(name: str, case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the files of an adapter, and the rows that peft looks up with it; of a base its files once."""
    base, folder = Path(case.base), Path("adapters")
    model = BASES[case.base]()
    if not base.exists():
        model.save_pretrained(base)
        for file in ("config.json", "model.safetensors"):
            yield f"{case.base}//{file}", np.frombuffer((base / file).read_bytes(), np.uint8)
    model = type(model).from_pretrained(base, dtype=model.dtype)
    if case.rows != ROWS:
        model.resize_token_embeddings(case.rows, mean_resizing=False)
    adapted = get_peft_model(model, case.settings)
    scatter(adapted)
    adapted.save_pretrained(folder / name)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        yield f"{name}/{case.base}/{file}", np.frombuffer((folder / name / file).read_bytes(), np.uint8)
    fresh = type(model).from_pretrained(base, dtype=model.dtype)
    if case.rows != ROWS:
        fresh.resize_token_embeddings(case.rows, mean_resizing=False)
    read, spoken = rows_of(PeftModel.from_pretrained(fresh, folder / name), case.rows)
    yield f"{name}/{case.base}/input", read
    yield f"{name}/{case.base}/output", spoken


def main() -> None:
    """Record every case."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):  # so that adapters name their base shortly
        found = dict(pair for name, case in CASES.items() for pair in record(name, case))
    np.savez_compressed(TARGET, allow_pickle=False, **found)
    print(f"{TARGET}: {len(CASES)} adapters, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
