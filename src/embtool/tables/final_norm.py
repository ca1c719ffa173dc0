"""The last norm of a model: what its last block's vectors pass before the output table turns them into scores.

What the classes of transformers do is recorded in `final_norms.json` (`tools/families/final_norms.py`): every type that
predicts tokens was built tiny and run, and the norm told by its numbers. Of a type that is not recorded nothing is
guessed: whether a weight of 0 means 1, as in Gemma, does not show in a file. In GGUF it does, since converters write
what is multiplied.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embtool.arrays import Doubles, Floats, np
from embtool.configs.config import Config
from embtool.errors import ConfigError, FormatError, TableNotFound
from embtool.storage.checkpoint import Checkpoint
from embtool.tables.table import EmbeddingTable

RECORDING = "final_norms.json"

GGUF_WEIGHT, GGUF_BIAS = "output_norm.weight", "output_norm.bias"

EPSILONS = {"rms_norm_eps": "rms", "layer_norm_eps": "layer"}
"""What a GGUF file calls the epsilon tells the kind."""

IN_A_LAYER = re.compile(r"\.\d+\.")
"""What the name of a norm inside of a block has."""

TOWER = re.compile(r"vis|image|audio|speech|video|encoder\.|connector|projector|merger|resampler|mtp|nextn")
"""What the name of a norm has that is not the language model's."""

MOST_EPSILON = 1.0
"""An epsilon beyond this is none."""


@dataclass(frozen=True)
class FinalNorm:
    """A last norm, ready to be applied.

    Attributes:
        name: the tensor of its weight, or what it is where it has none.
        kind: `rms` divides by the root of the mean square, `layer` subtracts the mean first.
        eps: what is added under the root.
        weight: what is multiplied by, float64 (width,); None is nothing.
        bias: what is added, float64 (width,); None is nothing.
    """

    name: str
    kind: str
    eps: float
    weight: Doubles | None
    bias: Doubles | None

    def apply(self, vectors: Floats | Doubles) -> Doubles:
        """Return vectors, (width,) or (n, width), as the norm makes them: float64.

        Raises:
            FormatError: they are not as wide as the norm.
        """
        wide = np.asarray(vectors, np.float64)
        if self.weight is not None and wide.shape[-1] != len(self.weight):
            raise FormatError(f"the vector has {wide.shape[-1]:,} numbers, {self.name} has {len(self.weight):,}")
        if self.kind == "layer":
            wide = wide - wide.mean(axis=-1, keepdims=True)
        unit = wide / np.sqrt(np.square(wide).mean(axis=-1, keepdims=True) + self.eps)
        made: Doubles = unit if self.weight is None else unit * self.weight
        return made if self.bias is None else made + self.bias


@functools.cache
def recorded_norms() -> Mapping[str, Mapping[str, Any]]:
    """Return what was recorded, by the type of model."""
    text = Path(__file__).with_name(RECORDING).read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = json.loads(text)["types"]
    return found


def find_final_norm(checkpoint: Checkpoint, config: Config | None, model: str) -> FinalNorm:
    """Find the last norm of a model.

    Raises:
        ConfigError: it is not known what the norm of this type does, or none is last, or the config's epsilon is none.
        TableNotFound: the checkpoint has no such tensor.
    """
    if config is None:
        raise ConfigError(f"{model} has no config.json: nothing says what its final norm is")
    if GGUF_WEIGHT in checkpoint.names:
        key = next((key for key in EPSILONS if config.raw.get(key) is not None), None)
        if key is None:
            raise ConfigError(f"{model} does not say the epsilon of its final norm")
        bias = _read(checkpoint, GGUF_BIAS) if GGUF_BIAS in checkpoint.names else None
        return FinalNorm(GGUF_WEIGHT, EPSILONS[key], _epsilon(config, key, None), _read(checkpoint, GGUF_WEIGHT), bias)
    # What is recorded of its types: of its language model first, which any other can be put into.
    types = [kind for kind in (config.model_type, config.top_model_type, config.family_key) if kind]
    found = [recorded_norms()[kind] for kind in types if kind in recorded_norms()]
    if not found:
        named = repr(config.top_model_type or types[0]) if types else "no model_type"
        raise ConfigError(f"{model} has {named}: what its final norm does is not known")
    if "none" in found[0]:
        raise ConfigError(f"{model} has no final norm to apply: {found[0]['none']}")
    names = {
        part: _named(checkpoint, [name for each in found for name in each.get(part, ())], model)
        for part in ("weight", "bias")
        if part in found[0]
    }
    norm = found[0]
    weight, bias = (_read(checkpoint, names[part]) if part in names else None for part in ("weight", "bias"))
    if weight is not None and norm.get("plus_one"):
        weight = weight + 1
    eps = norm["eps"] if "eps_key" not in norm else _epsilon(config, norm["eps_key"], norm.get("default"))
    return FinalNorm(names.get("weight", f"a {norm['kind']} norm without weights"), norm["kind"], eps, weight, bias)


def _named(checkpoint: Checkpoint, recorded: Sequence[str], model: str) -> str:
    """Find a tensor by the names that it was recorded under, or by what they end in.

    Raises:
        TableNotFound: there is none, or several.
    """
    for name in recorded:
        if name in checkpoint.names:
            return name
    parts = {tuple(name.split(".")[at:]) for name in recorded for at in range(len(name.split(".")) - 1)}
    # The longest end of a name first, none shorter than a module and its weight.
    for end in (".".join(each) for each in sorted(parts, key=lambda each: (-len(each), each))):
        found = [name for name in checkpoint.names if name.endswith(f".{end}") or name == end]
        outside = [name for name in found if not IN_A_LAYER.search(name)]
        of_text = [name for name in outside if not TOWER.search(name)]
        if len(of_text or outside) == 1:
            return (of_text or outside)[0]
    norms = [name for name in checkpoint.names if "norm" in name and not IN_A_LAYER.search(name)]
    raise TableNotFound(
        f"{model} has no tensor {' or '.join(dict.fromkeys(recorded))}, its final norm",
        hint=f"norms outside of its blocks: {', '.join(norms[:5]) or 'none'}",
    )


def _read(checkpoint: Checkpoint, name: str) -> Doubles:
    """Read a tensor of one row: float64 (width,).

    Raises:
        FormatError: it is not finite, or not one row.
    """
    tensor = checkpoint.tensor(name)
    if len(tensor.shape) != 1:
        raise FormatError(f"{name} has the shape {' × '.join(map(str, tensor.shape))}: a norm has one number a channel")
    row = EmbeddingTable("tensor", replace(tensor, shape=(1, *tensor.shape)), checkpoint).rows([0])[0]
    if not np.isfinite(row).all():
        raise FormatError(f"{name} holds NaN or infinity")
    values: Doubles = row.astype(np.float64)
    return values


def _epsilon(config: Config, key: str, default: float | None) -> float:
    """Read the epsilon, from the language model's part of a config or the whole of it.

    Raises:
        ConfigError: it is no small number, or neither the file nor the class has one.
    """
    value = next((part[key] for part in (config.text, config.raw) if part.get(key) is not None), default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_EPSILON:
        told = "is missing" if value is None else f"is {value!r:.40}, not a small number"
        raise ConfigError(f"{config.file}: {key} {told}")
    return float(value)
