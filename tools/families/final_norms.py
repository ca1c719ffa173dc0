"""Record the last norm of every model that predicts tokens: `python -m families.final_norms`.

Each class is built tiny, with an epsilon of its own in every field that names one, and run. The norm is the module
whose output is what the output table reads; what it does is told by its numbers. Where that is no norm of what the last
block gives, the recording has the reason instead: nothing stands between the two, or more than a norm does.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from families import observe, tiny

RECORDING = Path(__file__).parents[2] / "src" / "embtool" / "tables" / "final_norms.json"

SHORT = 0.003
"""The root mean square of a vector in which epsilons from 1e-6 on can be told from each other."""

NEAR = 1e-4
"""How far apart two numbers may be that are one, in float32."""


OF_A_BLOCK = re.compile(r"\.\d+(\.|$)")
"""What the name of a module has that is one of a list, or inside of it."""

NONE_FOLLOWS = "its last block ends with a norm of its own, and no other follows"
MORE_FOLLOWS = "its head does more to a vector than a norm does"

_SECTIONS = {"rope_theta": 10_000.0, "rope_type": "default"}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"num_experts_per_tok": 2},
    "glm46v": {"text_config": {"rope_parameters": {**_SECTIONS, "mrope_section": [16, 24, 24]}}},
    "glm4v": {"text_config": {"rope_parameters": {**_SECTIONS, "mrope_section": [16, 24, 24]}}},
    "glm4v_moe": {"text_config": {"rope_parameters": {**_SECTIONS, "mrope_section": [4, 6, 6]}, "head_dim": 64}},
    "glm_image": {"text_config": {"rope_parameters": {**_SECTIONS, "mrope_section": [16, 24, 24]}}},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "helium": {"head_dim": 32},
    "opt": {"word_embed_proj_dim": 128},
    "step3p7": {"text_config": {"sliding_window": 16}},
    "xlstm": {"embedding_dim": 256},
    "zamba2": {"mamba_headdim": 40, "attention_hidden_size": 320, "hybrid_layer_ids": [1, 3]},
}
"""What a class needs beside `tiny.CHANGES` to be run."""


def epsilons(config: PreTrainedConfig) -> Iterator[tuple[PreTrainedConfig, str]]:
    """Yield the fields of a config, and of those inside of it, that name an epsilon."""
    for key, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            yield from epsilons(value)
        elif "eps" in key and isinstance(value, float):
            yield config, key


def final_norm(each: type[PreTrainedModel], config: PreTrainedConfig) -> dict[str, Any] | None:
    """Return what the last norm of a class is; None where none was seen."""
    keys: dict[float, str] = {}
    for place, (part, key) in enumerate(epsilons(config)):
        value = 0.01 + 0.003 * place
        setattr(part, key, value)
        keys[value] = key
    model = tiny.build(each, config).eval()
    head = observe.output_embedding(model)
    if head is None:
        return None
    calls: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]] = []
    after_block: list[nn.Module] = []
    read: list[torch.Tensor] = []
    for name, module in model.named_modules():
        if module is head:
            module.register_forward_pre_hook(lambda _, given: read.append(given[0].detach()))
            continue
        if OF_A_BLOCK.search(name):
            module.register_forward_hook(lambda *_: after_block.clear())
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, *_: after_block.append(module))
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, given, out, name=name: (
                    calls.append((name, module, given[0].detach(), out.detach()))
                    if given and isinstance(given[0], torch.Tensor) and isinstance(out, torch.Tensor)
                    else None
                )
            )
    model(**observe.inputs(model, observe.TOKENS))
    if not read:
        return None
    last = read[-1].reshape(-1, read[-1].shape[-1])[-1]
    stored = observe.stored(model)
    for name, module, given, out in reversed(calls):
        made = out.reshape(-1, out.shape[-1])[-1]
        if made.shape != last.shape or not made.any():
            continue
        scale = float((last @ made) / (made @ made))
        if not torch.allclose(made * scale, last, atol=NEAR, rtol=NEAR):
            continue
        found = described(module, given.reshape(-1, given.shape[-1])[-1], keys, stored)
        if found is not None and OF_A_BLOCK.search(name):
            return {"none": NONE_FOLLOWS}
        if found is not None and after_block:
            return {"none": MORE_FOLLOWS}
        if found is not None:
            return {**found, **({} if abs(scale - 1) < NEAR else {"scaled": True})}
    return None


def described(
    module: nn.Module, given: torch.Tensor, keys: dict[float, str], stored: dict[str, torch.Tensor]
) -> dict[str, Any] | None:
    """Return what a norm does, by the numbers; None where it is none of those known."""
    own = {name: value.detach() for name, value in module.named_parameters() if value.shape == given.shape}
    weight, bias = own.get("weight", torch.ones_like(given)), own.get("bias", torch.zeros_like(given))
    given = SHORT * (torch.randn_like(given) + 1)  # so short that the epsilon is seen, and not around 0
    made = module(given[None, None])[0, 0]
    for eps in (*keys, 1e-5, 1e-6, 1e-8, 1e-12):
        for kind, center in (("rms", torch.zeros(())), ("layer", given.mean())):
            unit = (given - center) / torch.sqrt((given - center).square().mean() + eps)
            for plus_one in (False, True):
                if torch.allclose(unit * (weight + plus_one) + bias, made, atol=NEAR, rtol=NEAR):
                    names = [observe.named(stored, own[name]) for name in own]
                    return {
                        "kind": kind,
                        **({"plus_one": True} if plus_one else {}),
                        **dict(zip(own, names, strict=True)),
                        **({"eps_key": keys[eps]} if eps in keys else {"eps": eps}),
                    }
    return None


def quiet() -> None:
    """Keep transformers and torch from talking, and from taking all processors."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def recorded(kind: str) -> tuple[str, Any]:
    """Return what the last norm of a model type is, or why that is not known."""
    failure = "no class that predicts tokens"
    for each in tiny.classes(kind):
        try:
            found = final_norm(each, tiny.tiny(kind, **CHANGES.get(kind, {})))
        except Exception as error:  # noqa: BLE001 - whatever a class does when it is made small
            failure = f"{each.__name__}: {type(error).__name__}: {error}".split("\n")[0][:160]
            continue
        if found is not None:
            return kind, found
        failure = f"{each.__name__}: no last norm" if "no class" in failure else failure
    return kind, failure


def default(kind: str, found: dict[str, Any]) -> dict[str, float]:
    """Return the epsilon of the class, where the file does not say it."""
    if "eps_key" not in found:
        return {}
    parts = [part for part, key in epsilons(tiny.whole(kind)) if key == found.get("eps_key")]
    return {"default": getattr(parts[0], found["eps_key"])} if parts else {}


def with_parts(known: dict[str, Any]) -> dict[str, Any]:
    """Return a recording with the language models of those in it, and with those whose language model is in it."""
    found = dict(known)
    for kind in transformers.CONFIG_MAPPING:
        try:
            part = tiny.whole(kind).get_text_config(decoder=True).model_type
        except Exception:  # noqa: BLE001 - a class without defaults
            continue
        for one, other in ((kind, part), (part, kind)):
            if one in found and other in transformers.CONFIG_MAPPING:
                found.setdefault(other, found[one])
    return found


def main() -> int:
    """Write the recording: of the types named, the others stay; of all, where none is named."""
    kinds = sys.argv[1:] or sorted(transformers.CONFIG_MAPPING)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), quiet) as pool:
        seen = dict(pool.map(recorded, kinds))
    for kind, found in seen.items():
        if isinstance(found, str):
            print(f"{kind}: {found}", flush=True)
    known = json.loads(RECORDING.read_text())["types"] if sys.argv[1:] and RECORDING.exists() else {}
    known |= {kind: {**found, **default(kind, found)} for kind, found in seen.items() if not isinstance(found, str)}
    known = with_parts(known)
    lines = ",\n".join(f" {json.dumps(kind)}: {json.dumps(found)}" for kind, found in sorted(known.items()))
    RECORDING.write_text(f'{{\n"transformers": {json.dumps(transformers.__version__)},\n"types": {{\n{lines}\n}}\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
