"""What a built model does, by running it: which tables it reads, what its first block gets, how its queries turn."""

import importlib
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

TOKENS = (5, 9, 17, 33, 60, 71, 90)
CLOSE = 2e-5
TURNS = re.compile(r"apply.*(rotary|rope)|^rotary_|rotate_q|apply_pos", re.IGNORECASE)


@dataclass
class Call:
    """A vector before and after it was turned, and the layer that did it."""

    before: torch.Tensor
    after: torch.Tensor
    layer: str


@dataclass
class Run:
    """What was seen while a model read `TOKENS`."""

    looked_up: list[tuple[str, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    norms: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    blocks: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    turned: list[Call] = field(default_factory=list)
    failed: str | None = None


def stored(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the tensors as a saved file has them, by name."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="100GB")
        return load(folder)


def load(folder: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a folder, by name."""
    return {
        name: value for file in sorted(Path(folder).glob("*.safetensors")) for name, value in load_file(file).items()
    }


def input_embedding(model: PreTrainedModel, seen: Run) -> tuple[str, torch.Tensor] | None:
    """Return the path and the numbers of the table that token ids are looked up in."""
    try:
        found = model.get_input_embeddings()
    except NotImplementedError:
        found = None
    modules = dict(model.named_modules())
    if isinstance(found, nn.Embedding):
        looked = {name for name, *_ in seen.looked_up if name in modules and modules[name].weight is found.weight}
        own = [name for name, *_ in seen.looked_up if name.endswith("encoder.embed_tokens") and name in modules]
        if not looked and own:  # nothing is tied: the shared table is never looked at
            return own[0], modules[own[0]].weight.detach()
        path = next(iter(sorted(looked)), None) or next(name for name, each in modules.items() if each is found)
        return path, found.weight.detach()
    wanted = torch.tensor(TOKENS)
    for name, ids, _ in seen.looked_up:
        if name in modules and ids.shape[-1] == len(TOKENS) and torch.equal(ids.reshape(-1)[-len(TOKENS) :], wanted):
            return name, modules[name].weight.detach()
    rows = getattr(model.config.get_text_config(decoder=True), "vocab_size", None)
    for name, module in modules.items():
        if (
            isinstance(module, nn.Embedding)
            and rows
            and module.num_embeddings >= rows
            and re.search("word|token|embed_tokens|wte", name)
        ):
            return name, module.weight.detach()
    return None


def named(tensors: Mapping[str, torch.Tensor], wanted: torch.Tensor) -> list[str]:
    """Return the names under which a saved file has these numbers."""
    wanted = wanted.detach().to(torch.float32)
    return [
        name for name, value in tensors.items() if value.shape == wanted.shape and torch.equal(value.float(), wanted)
    ]


def run(model: PreTrainedModel, tokens: tuple[int, ...] = TOKENS) -> Run:
    """Let a model read tokens, and watch."""
    seen, handles, place = Run(), [], {"at": ""}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            handles.append(module.register_forward_hook(looking(seen, name)))
        elif "norm" in type(module).__name__.lower() or isinstance(module, nn.LayerNorm):
            handles.append(module.register_forward_pre_hook(norming(seen, name)))
        if isinstance(module, nn.ModuleList):
            for index, block in enumerate(module):
                handles.append(
                    block.register_forward_pre_hook(entering(seen, f"{name}.{index}", place), with_kwargs=True)
                )
    with watched(model, seen, place):
        try:
            model(**inputs(model, tokens))
        except Exception as error:  # noqa: BLE001 - whatever a class needs besides tokens
            seen.failed = f"{type(error).__name__}: {error}"[:200]
    for handle in handles:
        handle.remove()
    return seen


def inputs(model: PreTrainedModel, tokens: tuple[int, ...]) -> dict[str, Any]:
    """Return what a model is called with."""
    ids = torch.tensor([tokens])
    known = inspect.signature(model.forward).parameters
    found: dict[str, Any] = {"input_ids": ids} if "input_ids" in known else {}
    if "decoder_input_ids" in known:
        found["decoder_input_ids"] = ids
    if "input_features" in known and "input_ids" not in known:
        bins = getattr(model.config, "num_mel_bins", 80)
        found["input_features"] = torch.randn(1, bins, 2 * getattr(model.config, "max_source_positions", 1500))
    if "pixel_values" in known and "input_ids" not in known:
        found["pixel_values"] = torch.randn(1, 3, 56, 56)
    if "use_cache" in known:
        found["use_cache"] = False
    return found


def looking(seen: Run, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], result: torch.Tensor) -> None:
        if args and torch.is_tensor(args[0]) and torch.is_tensor(result):
            seen.looked_up.append((name, args[0].detach().clone(), result.detach().clone()))

    return hook


def norming(seen: Run, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and torch.is_tensor(args[0]):
            seen.norms.append((name, args[0].detach().clone()))

    return hook


def entering(seen: Run, name: str, place: dict[str, str]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        place["at"] = name
        given = [value for value in (*args, *kwargs.values()) if torch.is_tensor(value) and value.is_floating_point()]
        if given:
            seen.blocks.append((name, given[0].detach().clone()))

    return hook


@contextmanager
def watched(model: PreTrainedModel, seen: Run, place: dict[str, str]) -> Iterator[None]:
    """Watch every function that turns vectors, in every module that the model's classes come from."""
    modules = {
        importlib.import_module(type(part).__module__)
        for part in model.modules()
        if "transformers.models" in type(part).__module__
    }
    changed = []
    for module in modules:
        for name, function in list(vars(module).items()):
            if callable(function) and not isinstance(function, type) and TURNS.search(name):
                changed.append((module, name, function))
                setattr(module, name, turning(seen, place, function))
    try:
        yield
    finally:
        for module, name, function in changed:
            setattr(module, name, function)


def turning(seen: Run, place: dict[str, str], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if torch.is_tensor(value) and value.is_floating_point()]
        before = given[0].detach().clone() if given else None
        result = function(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) else result
        caller = type(inspect.currentframe().f_back.f_locals.get("self")).__name__  # type: ignore[union-attr]
        if "Indexer" in caller:  # it chooses which tokens the attention looks at, by queries of its own
            return result
        if before is not None and torch.is_tensor(first) and first.shape == before.shape:
            seen.turned.append(Call(before, first.detach().clone(), place["at"]))
        return result

    return call


def output_embedding(model: PreTrainedModel) -> nn.Module | None:
    """Return the module that predicts tokens, if the class has one and tells it."""
    try:
        return model.get_output_embeddings()
    except Exception:  # noqa: BLE001 - some classes point at a module that they do not have
        return None


# --- Rotation -----------------------------------------------------------------------------------------------------


def layouts(call: Call, inverse: np.ndarray, first: int = 0) -> tuple[str, str, bool, int] | None:
    """Return the layout, the end of a head, the direction and the first position that make `after` of `before`.

    `inverse` are the inverse frequencies; None where none of the ways fits.
    """
    before, after = call.before.double().numpy(), call.after.double().numpy()
    pairs, width = len(inverse), before.shape[-1]
    if 2 * pairs > width or np.ptp(before, axis=-1).max() < CLOSE:  # what is the same in all channels tells no layout
        return None
    axis = next((axis for axis in (-2, -3) if before.ndim >= 3 and before.shape[axis] == len(TOKENS)), None)
    if axis is None:
        return None
    if axis == -3:
        before, after = before.swapaxes(-2, -3), after.swapaxes(-2, -3)
    for start in (first, 1, 2):
        angles = (np.arange(len(TOKENS)) + start)[:, None] * inverse[None, :]
        for end in ("first", "last"):
            part = slice(0, 2 * pairs) if end == "first" else slice(width - 2 * pairs, width)
            x, y = before[..., part], after[..., part]
            for layout in ("half", "interleaved", "interleaved-in-half-out"):
                for clockwise in (False, True):
                    mine = turned(x, -angles if clockwise else angles, layout)
                    grown = (mine * y).sum() / (mine * mine).sum()  # the attention factor
                    if np.allclose(grown * mine, y, rtol=1e-4, atol=1e-4 * float(np.abs(y).max())):
                        return layout, end, clockwise, start
    return None


def turned(x: np.ndarray, angles: np.ndarray, layout: str) -> np.ndarray:
    """Return vectors turned pair by pair; which channels make a pair is the layout."""
    half = x.shape[-1] // 2
    one, two = (x[..., :half], x[..., half:]) if layout == "half" else (x[..., 0::2], x[..., 1::2])
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = one * cos - two * sin, two * cos + one * sin
    if layout == "interleaved":
        return np.stack([a, b], axis=-1).reshape(x.shape)
    return np.concatenate([a, b], axis=-1)


def frequencies(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """Return the inverse frequencies of the model's language part, by the name of their buffer."""
    return {
        name: value.double().numpy()
        for name, value in model.named_buffers()
        if "inv_freq" in name and "original" not in name and value.ndim == 1
    }


# --- First block --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sum:
    """What a row becomes before the first block: scaled, added to, normalized."""

    scale: float
    added: tuple[tuple[str, int], ...]
    norm: str | None
    fits: bool


def entrances(seen: Run, path: str, width: int) -> list[np.ndarray]:
    """Return what the first blocks, and norms before them, read beside the table at `path`."""
    stack = path.rsplit(".", 1)[0].split(".")
    read = (*(each for each in seen.blocks if each[0].endswith(".0")), *seen.norms)
    fits = [(name, rows) for name, value in read if (rows := first_rows(value, width)) is not None]
    fits.sort(key=lambda entry: -common(stack, entry[0].split(".")))
    return [rows for _, rows in fits]


def first_rows(value: torch.Tensor, width: int) -> np.ndarray | None:
    """Return the row of each token in what a part of a model reads; None where it reads something else.

    Rows may be followed by those of padding (Longformer), or each be there several times (hyper-connections).
    """
    if value.ndim > 3 and value.shape[-3] == len(TOKENS):
        value = value[..., 0, :]
    if value.ndim < 2 or value.shape[-2] < len(TOKENS) or value.shape[-1] != width:
        return None
    found: np.ndarray = value[..., : len(TOKENS), :].double().numpy().reshape(-1, len(TOKENS), width)[-1]
    return found


def first_sum(
    seen: Run, path: str, weight: torch.Tensor, tensors: dict[str, torch.Tensor], config: PreTrainedConfig
) -> Sum | None:
    """Return how what the first block, or a norm before it, reads is made of the rows of the table at `path`."""
    ids = next((ids for name, ids, _ in seen.looked_up if name == path and ids.shape[-1] == len(TOKENS)), None)
    if ids is None:
        return None
    rows = weight[ids.reshape(-1)].double().numpy()
    width = rows.shape[-1]
    stack = path.rsplit(".", 1)[0].split(".")
    same = [
        (name, value) for name, value in seen.blocks if value.shape[-2:] == (len(TOKENS), width) and name.endswith(".0")
    ]
    same.sort(key=lambda entry: -common(stack, entry[0].split(".")))
    candidates: list[tuple[str | None, torch.Tensor]] = [(None, same[0][1])] if same else []
    early = [(name, value) for name, value in seen.norms if value.shape[-2:] == (len(TOKENS), width)]
    early.sort(key=lambda entry: -common(stack, entry[0].split(".")))
    candidates += [(name.rsplit(".", 1)[-1], value) for name, value in early[:2]]
    for norm, value in candidates:
        wanted = value.double().numpy().reshape(-1, len(TOKENS), width)[-1]
        found = fitted(rows, wanted, tensors, config)
        if found is not None:
            return Sum(found[0], found[1], norm, fits=True)
    return Sum(1.0, (), None, fits=False) if candidates else None


def common(one: list[str], two: list[str]) -> int:
    """Return how many parts two paths share at their beginning."""
    return next((place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def fitted(
    rows: np.ndarray, wanted: np.ndarray, tensors: dict[str, torch.Tensor], config: PreTrainedConfig
) -> tuple[float, tuple[tuple[str, int], ...]] | None:
    """Return the scale and the stored rows whose sum with the scaled rows is what is wanted."""
    width = rows.shape[-1]
    scale = float((rows * wanted).sum() / (rows * rows).sum())
    if np.allclose(rows * scale, wanted, rtol=1e-4, atol=CLOSE):
        return scale, ()
    tables = {
        name: value.double().numpy().reshape(-1, width)
        for name, value in tensors.items()
        if value.ndim in (2, 3) and value.shape[-1] == width and value.numel() // width <= 4096
    }
    places = {
        name: value for name, value in tables.items() if len(value) >= len(TOKENS) and re.search(r"pos|wpe", name)
    }
    ones = {
        name: value
        for name, value in tables.items()
        if re.search(r"type|segment|task|lang|cross|bias|position_ids", name) or len(value) <= 4
    }
    for scale in dict.fromkeys(
        (
            1.0,
            width**0.5,
            *(
                float(getattr(config, key))
                for key in ("embedding_multiplier", "embed_scale")
                if isinstance(getattr(config, key, None), (int, float))
            ),
        )
    ):
        rest = wanted - rows * scale
        if np.abs(rest - rest[0]).max() < CLOSE:
            for name, value in ones.items():
                for row, number in enumerate(value):
                    if np.allclose(number, rest[0], atol=CLOSE):
                        return scale, ((name, row),)
        for name, value in places.items():
            for offset in range(min(len(value) - len(TOKENS) + 1, 12)):
                left = rest - value[offset : offset + len(TOKENS)]
                if np.abs(left).max() < CLOSE:
                    return scale, ((name, offset),)
                if np.abs(left - left[0]).max() < CLOSE:
                    for other, single in ones.items():
                        for row, number in enumerate(single):
                            if np.allclose(number, left[0], atol=CLOSE):
                                return scale, ((name, offset), (other, row))
                    return scale, ((name, offset), ("?", 0))
        for last in (False, True):
            for offset in range(4):
                for order in ("halves", "pairs"):
                    if np.allclose(sines(len(TOKENS), width, offset, last=last, order=order), rest, atol=1e-4):
                        return scale, ((f"sinusoid {'last' if last else 'plain'} {order}", offset),)
    return None


def sines(count: int, width: int, offset: int, *, last: bool, order: str) -> np.ndarray:
    """Return a sinusoidal table, in two halves or in pairs."""
    half = width // 2
    steps = np.arange(half) / ((half - 1) if last else half)
    angles = (np.arange(count) + offset)[:, None] * 10_000.0**-steps
    parts = [np.sin(angles), np.cos(angles)]
    return np.concatenate(parts, -1) if order == "halves" else np.stack(parts, -1).reshape(count, width)
