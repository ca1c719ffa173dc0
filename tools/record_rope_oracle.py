"""Record what transformers computes for RoPE, as the figures that the tests compare with.

    python tools/record_rope_oracle.py record CONFIG_FOLDER... --into oracle.json     needs torch and transformers
    python tools/record_rope_oracle.py pack oracle.json...                            needs numpy only

`record` builds the rotary module of each model from its config (no weights), and writes its inverse frequencies, its
attention scaling, and a fixed query rotated at a few positions. `pack` writes the part of such files that the tests
read to `tests/data`: configs cut down to the fields that embtool looks at, and the numbers as float32 arrays.

The figures in `tests/data` were recorded with transformers 5.23.0 and torch 2.13.0 on a CPU.
"""

import argparse
import importlib
import inspect
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent / "tests" / "data"

QUERY_SEED = 0
"""The query is numpy.random.RandomState(0).standard_normal(head_dim), rounded to float32."""

MULTIMODAL_POSITION = (5, 7, 11)
"""Three different small primes, so that no axis can be taken for another."""

POSITIONS = (0, 1, 1000)
"""Recorded for every model, with the last position of its context."""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


FIELDS = words(
    """
    model_type architectures text_config thinker_config language_config attn_config vocab_size padded_vocab_size
    hidden_size d_model n_embd embedding_size word_embed_proj_dim num_hidden_layers n_layer n_layers num_layers
    decoder_layers num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads head_dim
    kv_channels d_kv d_head qk_rope_head_dim global_head_dim max_position_embeddings n_positions n_ctx seq_length
    max_seq_len max_target_positions tie_word_embeddings type_vocab_size pad_token_id dtype torch_dtype
    embedding_multiplier scale_emb scale_embedding position_embedding_type alibi alibi_bias_max learned_pos_emb
    relative_attention relative_attention_num_buckets relative_attention_max_distance rope_scaling rope_parameters
    rope_theta rope_local_base_freq swa_rope_theta compress_rope_theta rotary_emb_base rotary_pct rotary_dim rotary
    rope_ratio partial_rotary_factor original_max_position_embeddings rope_interleave use_dynamic_ntk layer_types
    sliding_window sliding_window_pattern no_rope_layers no_rope_layer_interval full_attention_interval
    hybrid_layer_pattern compress_ratios full_attn_idxs block_types global_attn_every_n_layers per_layer_config
    cross_attention_layers layer_rope_theta
    """
)
"""The fields of a config file that embtool reads, of those that occur in the recorded files."""

WHOLE = words("rope_scaling rope_parameters architectures per_layer_config")
"""Fields that are kept with all that is inside them."""


# --- record -------------------------------------------------------------------------------------------------------


def query(width: int) -> np.ndarray:
    """The fixed vector that is rotated."""
    return np.random.RandomState(QUERY_SEED).standard_normal(width).astype(np.float32)


def record(folder: Path) -> dict[str, Any]:
    """What transformers makes of one config folder."""
    import transformers  # noqa: PLC0415 - only this command needs it

    entry: dict[str, Any] = {"source_dir": folder.parent.name}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a refusal of any kind is what is recorded
        return {**entry, "refused": f"{type(error).__name__}: {error}"}
    text = config.get_text_config(decoder=True)
    entry |= {"model_type": config.model_type, "text_model_type": text.model_type}
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"):
        entry[name] = _attribute(text, name)
    entry["top_tie_word_embeddings"] = _attribute(config, "tie_word_embeddings")
    entry["rope_parameters"] = _attribute(text, "rope_parameters")
    kinds = _attribute(text, "layer_types")
    if isinstance(kinds, list):
        entry["layer_type_counts"] = dict(Counter(kinds))
    found = _rotary_class(text)
    if found is not None and entry["rope_parameters"]:
        module, rotary_class = found
        try:
            entry["layer_types"] = _layers(text, module, rotary_class(config=text))
        except Exception as error:  # noqa: BLE001 - one model's failure is a finding, and must not end the recording
            entry["rotary_error"] = f"{type(error).__name__}: {error}"
    return entry


def _attribute(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception as error:  # noqa: BLE001 - Gemma 4 refuses one answer for settings that differ per layer
        return f"<{type(error).__name__}>"


def _rotary_class(text: Any) -> tuple[Any, Any] | None:
    """The rotary module of the text model, in the modeling file beside the config class."""
    name = type(text).__module__.replace(".configuration_", ".modeling_")
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    classes = [
        member
        for label, member in inspect.getmembers(module, inspect.isclass)
        if label.endswith("RotaryEmbedding") and member.__module__ == name and "Vision" not in label
    ]
    classes.sort(key=lambda member: ("Text" not in member.__name__, len(member.__name__)))
    return (module, classes[0]) if classes else None


def _layers(text: Any, module: Any, rotary: Any) -> dict[str, Any]:
    kinds = sorted(text.rope_parameters) if _nested(text.rope_parameters) else ["all"]
    return {kind: _layer(text, module, rotary, kind) for kind in kinds}


def _nested(parameters: Mapping[str, Any]) -> bool:
    return bool(parameters) and all(isinstance(value, Mapping) for value in parameters.values())


def _layer(text: Any, module: Any, rotary: Any, kind: str) -> dict[str, Any]:
    prefix = "" if kind == "all" else f"{kind}_"
    inv_freq = getattr(rotary, f"{prefix}inv_freq").float().tolist()
    model = _Rotation(module, rotary, kind)
    width = _head_dim(text, kind)
    context = _attribute(text, "max_position_embeddings")
    positions = [*POSITIONS, *([context - 1] if isinstance(context, int) and context > 1 else [])]
    entry: dict[str, Any] = {
        "rope_type": rotary.rope_type if kind == "all" else rotary.rope_type[kind],
        "rotary_dim": 2 * len(inv_freq),
        "inv_freq": inv_freq,
        "attention_scaling": float(getattr(rotary, f"{prefix}attention_scaling", 1.0)),
        "vector_length": width,
        "rotated_q": {str(position): model.rotate(query(width), position).tolist() for position in positions},
        **_layout(model, width, len(inv_freq)),
    }
    for key, position in _beyond(text, entry["rope_type"]).items():
        model.rotate(query(width), position)  # the module changes its frequencies by the length it sees
        entry[key] = getattr(rotary, f"{prefix}inv_freq").float().tolist()
    if hasattr(rotary, "mrope_section"):
        entry["mrope_example"] = {
            "position_t_h_w": list(MULTIMODAL_POSITION),
            "rotated_q": model.rotate(query(width), MULTIMODAL_POSITION).tolist(),
            "axis_of_frequency": _axes(model, width, entry),
        }
    return entry


def _head_dim(text: Any, kind: str) -> int:
    per_layer = getattr(text, "per_layer_config", None)
    if per_layer and kind in (_attribute(text, "layer_types") or ()):
        text = per_layer[kind]
    stated = _attribute(text, "head_dim")
    return int(stated) if isinstance(stated, int) else int(text.hidden_size // text.num_attention_heads)


def _beyond(text: Any, rope_type: str) -> dict[str, int]:
    """Positions at which types that look at the length of the sequence change."""
    if rope_type == "longrope":
        return {"inv_freq_long": int(text.rope_parameters["original_max_position_embeddings"])}
    if rope_type == "dynamic":
        return {f"inv_freq_at_{n}x": n * int(text.max_position_embeddings) - 1 for n in (2, 4)}
    return {}


class _Rotation:
    """A model's own rotation of one vector, channels beyond the rotary width appended as its attention does."""

    def __init__(self, module: Any, rotary: Any, kind: str) -> None:
        self.module = module
        self.rotary = rotary
        self.arguments = {} if kind == "all" else {"layer_type": kind}

    def rotate(self, vector: np.ndarray, position: int | tuple[int, int, int]) -> np.ndarray:
        """The vector at a position, or at three."""
        import torch  # noqa: PLC0415 - only this command needs it

        q = torch.from_numpy(vector)[None, None, None, :]
        positions = torch.tensor(position).reshape(-1, 1, 1)
        multimodal = hasattr(self.rotary, "mrope_section")
        positions = positions.expand(3, 1, 1) if multimodal else positions[0]
        with torch.no_grad():
            made = self.rotary(q[0], positions, **self.arguments)
            turned = self._apply(q, made)
        return np.asarray(turned.flatten(), np.float64)

    def _apply(self, q: Any, made: Any) -> Any:
        import torch  # noqa: PLC0415 - only this command needs it

        if not isinstance(made, tuple):  # Llama 4 and DeepSeek-V2 return complex numbers
            return self.module.apply_rotary_emb(q, q, made)[0]
        cos, sin = made
        apply = getattr(self.module, "apply_rotary_pos_emb_interleave", None) or self.module.apply_rotary_pos_emb
        if "q" not in inspect.signature(apply).parameters:  # DeepSeek-V4 rotates one tensor, and its last channels
            return apply(q, cos, sin)
        width = min(cos.shape[-1], q.shape[-1])
        try:
            return apply(q, q, cos, sin)[0]
        except RuntimeError:
            turned = apply(q[..., :width], q[..., :width], cos, sin)[0]
            return torch.cat([turned, q[..., width:]], dim=-1)


def _layout(model: _Rotation, width: int, pairs: int) -> dict[str, str]:
    """Which channels pair up, seen from where two unit vectors go at position 1."""
    units = np.eye(width, dtype=np.float32)
    start = next(c for c in range(width) if not np.allclose(model.rotate(units[c], 1), model.rotate(units[c], 0)))
    first, second = model.rotate(units[start], 1), model.rotate(units[min(start + 1, width - 1)], 1)
    reached = frozenset(int(c) - start for c in np.flatnonzero(np.abs(second) > 1e-6))  # noqa: PLR2004 - rounding
    names = {
        frozenset({1, 1 + pairs}): f"half split (i, i+{pairs})",
        frozenset({0, 1}): "interleaved pairs (2i, 2i+1)",
        frozenset({0, pairs}): f"pairs read interleaved (2i, 2i+1), written half-split (i, i+{pairs})",
    }
    layout = names.get(reached, f"unknown {sorted(reached)}")
    partner = start + (1 if layout.startswith("interleaved") else pairs)
    direction = "counter-clockwise" if first[partner] > 0 else "clockwise (conjugate)"
    return {"layout": layout, "direction": direction}


def _axes(model: _Rotation, width: int, entry: dict[str, Any]) -> str:
    """Which of the three positions each frequency follows: the one that moves its first channel."""
    step = 2 if entry["layout"].startswith("interleaved") else 1
    still = model.rotate(query(width), (0, 0, 0))
    axes = ["?"] * len(entry["inv_freq"])
    for axis, name in enumerate("thw"):
        position = tuple(1000 if other == axis else 0 for other in range(3))
        moved = model.rotate(query(width), (position[0], position[1], position[2])) != still
        for pair in range(len(axes)):
            if moved[pair * step]:
                axes[pair] = name
    return "".join(axes)


# --- pack ---------------------------------------------------------------------------------------------------------


def pack(files: Iterable[Path]) -> None:
    """Write what the tests need of recorded files to `tests/data`."""
    cases: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    made_with: dict[str, str] = {}
    for file in files:
        recorded = json.loads(file.read_text())
        made_with |= {key: recorded[key] for key in ("transformers", "torch") if key in recorded}
        for name, entry in recorded["models"].items():
            config = json.loads((file.parent / entry["source_dir"] / name / "config.json").read_text())
            cases[name] = {"config": _slim(config), "expected": _expected(entry)}
            arrays |= _arrays(name, entry)
    origin = f"computed by transformers {made_with.get('transformers')} and torch {made_with.get('torch')} on a CPU"
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in sorted(cases.items()))
    (DATA / "rope_oracle.json").write_text(f'{{"origin": {json.dumps(origin)}, "cases": {{\n{lines}\n}}}}\n')
    with zipfile.ZipFile(DATA / "rope_oracle.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key in sorted(arrays):
            # a fixed date, so that the same figures make the same file
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w") as member:
                np.lib.format.write_array(member, arrays[key])


def _slim(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config cut down to the fields that embtool reads."""
    kept = {key: value for key, value in config.items() if key in FIELDS}
    return {key: _slim(value) if isinstance(value, dict) and key not in WHOLE else value for key, value in kept.items()}


KEPT = (
    *("refused", "text_model_type", "text_config_path", "vocab_size", "hidden_size", "num_hidden_layers"),
    *("num_attention_heads", "max_position_embeddings", "tie_word_embeddings", "top_tie_word_embeddings", "head_dim"),
    *("layer_type_counts", "nope_layers", "alibi_slopes", "rotary_error"),
)


def _expected(entry: Mapping[str, Any]) -> dict[str, Any]:
    expected = {key: entry[key] for key in KEPT if key in entry}
    for key in ("refused", "rotary_error"):
        if key in expected:
            expected[key] = str(expected[key]).split(":", 1)[0]
    tensors = entry.get("tensors") or {}
    expected |= {key: tensors[key] for key in ("input_embedding_scale", "position_tensors") if tensors.get(key)}
    expected["layers"] = {kind: _scalars(layer) for kind, layer in entry.get("layer_types", {}).items()}
    return expected


def _scalars(layer: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("rope_type", "rotary_dim", "attention_scaling", "layout", "direction", "vector_length")
    kept = {key: layer[key] for key in (*keys, "long_if_seq_len_greater_than") if key in layer}
    if "mrope_example" in layer:
        kept["axes"] = layer["mrope_example"]["axis_of_frequency"]
    return kept


def _arrays(name: str, entry: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for kind, layer in entry.get("layer_types", {}).items():
        for key in ("inv_freq", "inv_freq_long", "inv_freq_at_2x", "inv_freq_at_4x"):
            if key in layer:
                arrays[f"{name}/{kind}/{key}"] = np.array(layer[key], np.float32)
        for position, values in layer["rotated_q"].items():
            arrays[f"{name}/{kind}/rotated/{position}"] = np.array(values, np.float32)
        if "mrope_example" in layer:
            arrays[f"{name}/{kind}/multimodal"] = np.array(layer["mrope_example"]["rotated_q"], np.float32)
    return arrays


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description="Record and pack the figures that the RoPE tests compare with.")
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="compute them with an installed transformers")
    recorder.add_argument("folders", nargs="+", type=Path, metavar="CONFIG_FOLDER")
    recorder.add_argument("--into", type=Path, required=True, metavar="FILE")
    packer = commands.add_parser("pack", help="write recorded figures to tests/data")
    packer.add_argument("files", nargs="+", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.files)
        return
    import torch  # noqa: PLC0415 - only this command needs them
    import transformers  # noqa: PLC0415

    models = {folder.name: record(folder) for folder in arguments.folders}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    arguments.into.write_text(json.dumps({**versions, "models": models}))


if __name__ == "__main__":
    main()
