"""Write what the tests hold `--through-norm` against: `python -m families.final_norms_oracle`.

Toy checkpoints of transformers, of which the tables, the norm and the config are kept, and what the model's own last
norm and output layer make of vectors that stand for those of its last block.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import torch

from families import final_norms, observe, tiny

ORACLE = Path(__file__).parents[2] / "tests" / "data" / "final_norms.json.gz"

KINDS = {
    "llama": "LlamaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "cohere": "CohereForCausalLM",
    "nemotron": "NemotronForCausalLM",
    "gptj": "GPTJForCausalLM",
    "olmo": "OlmoForCausalLM",
    "opt": "OPTForCausalLM",
    "helium": "HeliumForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "dots1": "Dots1ForCausalLM",
    "xglm": "XGLMForCausalLM",
}
"""Root mean square, with a weight of 0 for 1, with a mean and a bias, without a bias, with both, with a bias of the
output layer, without any weight; then others, to be sure."""

ROWS, VECTORS = 96, 2


def toy(kind: str, name: str) -> dict[str, Any]:
    """Return a checkpoint and what its own modules make of vectors."""
    torch.manual_seed(len(kind))
    each = next(each for each in tiny.classes(kind) if each.__name__ == name)
    config = tiny.tiny(kind, vocab_size=ROWS, **final_norms.CHANGES.get(kind, {}))
    for part, key in final_norms.epsilons(config):
        setattr(part, key, 0.02)
    model = tiny.build(each, config).eval()
    for parameter in model.parameters():
        parameter.data = (parameter.data * 32).round() / 32  # short to write, and exact
    head = observe.output_embedding(model)
    assert head is not None
    inner: list[torch.nn.Module] = []
    for module in model.modules():
        if not list(module.children()) and module is not head:
            module.register_forward_hook(lambda module, *_: inner.append(module))
    model(**observe.inputs(model, observe.TOKENS))
    norm = next(module for module in reversed(inner) if "Norm" in type(module).__name__)
    vectors = torch.randn(VECTORS, head.weight.shape[1]) + 0.3
    seen: list[torch.Tensor] = []
    head.register_forward_hook(lambda _, __, out: seen.append(out))
    head(norm(vectors[None]))
    kept = {
        key: value.tolist()
        for key, value in observe.stored(model).items()
        if ".h." not in key and ".layers." not in key and value.numel() <= ROWS * vectors.shape[1]
    }
    if any("lm_head" in key for key in kept):
        kept = {key: value for key, value in kept.items() if len(value) != ROWS or "lm_head" in key}
    return {"config": config.to_dict(), "tensors": kept, "vectors": vectors.tolist(), "scores": seen[-1][0].tolist()}


def main() -> int:
    """Write the toys."""
    final_norms.quiet()
    found = {kind: toy(kind, name) for kind, name in KINDS.items()}
    with gzip.GzipFile(ORACLE, "wb", mtime=0) as file:
        file.write(json.dumps(found, default=str).encode())
    print({kind: sorted(each["tensors"]) for kind, each in found.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
