"""Traces of right and wrong engines, made by transformers with known mistakes injected, to measure the judge with.

    python tools/rope_traces.py record --into traces.npz [--seed N] [--small]     needs torch and transformers
    python tools/rope_traces.py judge traces.npz                                  needs embtool

`record` builds the rotary module of each family from a config, changes the config, the module or what it is called
with, and turns random queries by transformers' own functions, in float32, BF16 and float16. `judge` counts how often
`embtool rope --judge` names what was injected. The traces in `tests/data` are those of `--small --doubles 2`, recorded
with transformers 5.24.0 and torch 2.13.0 on a CPU.
"""

import argparse
import copy
import importlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
DEEPSEEK = {
    "rope_type": "yarn",
    "factor": 40.0,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
GPT_OSS = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.02 * pair for pair in range(48)],
    "long_factor": [1.0 + 0.05 * pair * pair for pair in range(48)],
    "original_max_position_embeddings": 4096,
}


def _sizes(model_type: str, heads: int, width: int, context: int, **fields: Any) -> dict[str, Any]:
    """A config of this many heads of this width."""
    sizes = {"hidden_size": heads * width, "num_attention_heads": heads, "num_hidden_layers": 12, "vocab_size": 256}
    sizes |= {"max_position_embeddings": context, "num_key_value_heads": heads, "intermediate_size": 64}
    return {"model_type": model_type, **sizes, **fields}


FAMILIES: Mapping[str, dict[str, Any]] = {
    "llama": _sizes("llama", 4, 128, 8192, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
    "llama-3.1": _sizes("llama", 4, 128, 131072, rope_parameters={**LLAMA3, "rope_theta": 500000.0}),
    "qwen2": _sizes("qwen2", 4, 128, 32768, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    "qwen3-yarn": _sizes("qwen3", 4, 128, 131072, head_dim=128, rope_parameters={**YARN, "rope_theta": 1000000.0}),
    "gemma2": _sizes("gemma2", 4, 128, 8192, head_dim=256, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
    "gemma3": _sizes(
        "gemma3_text",
        4,
        128,
        131072,
        head_dim=128,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "phi3": _sizes(
        "phi3",
        4,
        96,
        131072,
        original_max_position_embeddings=4096,
        pad_token_id=0,
        rope_parameters={**LONGROPE, "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
    ),
    "gpt-neox": _sizes(
        "gpt_neox",
        4,
        96,
        2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    ),
    "gptj": {
        "model_type": "gptj",
        "n_embd": 1024,
        "n_head": 4,
        "n_layer": 4,
        "n_positions": 2048,
        "rotary_dim": 64,
        "vocab_size": 256,
    },
    "glm": _sizes(
        "glm",
        4,
        128,
        131072,
        head_dim=128,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    ),
    "deepseek-v3": _sizes(
        "deepseek_v3",
        4,
        192,
        163840,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        rope_parameters={**DEEPSEEK, "rope_theta": 10000.0},
    ),
    "gpt-oss": _sizes("gpt_oss", 4, 64, 131072, head_dim=64, rope_parameters={**GPT_OSS, "rope_theta": 150000.0}),
    "qwen2-vl": _sizes(
        "qwen2_vl_text",
        4,
        128,
        32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [16, 24, 24]},
    ),
    "cohere": _sizes("cohere", 4, 128, 8192, rope_parameters={"rope_type": "default", "rope_theta": 8000000.0}),
    "stablelm-linear": _sizes(
        "stablelm",
        4,
        64,
        16384,
        rope_parameters={
            "rope_type": "linear",
            "factor": 4.0,
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
        },
    ),
    "smollm3": _sizes("smollm3", 4, 128, 65536, rope_parameters={"rope_type": "default", "rope_theta": 5000000.0}),
}
"""What each family is recorded with: settings of published models, their layers made narrow."""

SILENT = {"smollm3": 3}
"""A layer that does not turn, of families that have some."""

PLACES = (0, 1, 2, 5, 17, 60, 129, 300, 1025, 2047, 5003, 8191, 20011, 32767, 77777, 131071)
"""Positions that are recorded, as far as the context reaches."""

FEW_PLACES = (1, 5, 60, 300, 1025, 2047, 8191, 20011, 131071)
"""Those of a small recording."""

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Made:
    """An engine: its config, and how it departs from what transformers does with it."""

    config: dict[str, Any]
    kind: str = "all"
    turns: bool = True
    shift: int = 0
    power: float = 1.0
    backwards: bool = False
    layout: str | None = None
    axes: tuple[int, int, int] = (0, 1, 2)
    rounds: str | None = None
    length: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Change = Callable[[Made], Made | None]


def _parameters(made: Made) -> dict[str, Any] | None:
    """The RoPE dictionary of the kind of layer."""
    found = made.config.get("rope_parameters")
    return None if found is None else found if made.kind == "all" else found[made.kind]


def _patched(made: Made, **fields: Any) -> Made:
    """Change the RoPE dictionary; None takes a field out."""
    config = copy.deepcopy(made.config)
    changed = Made(**{**vars(made), "config": config})
    inside = _parameters(changed)
    assert inside is not None
    for key, value in fields.items():
        if value is None:
            inside.pop(key, None)
        else:
            inside[key] = value
    if "original_max_position_embeddings" in fields and "original_max_position_embeddings" in config:
        config["original_max_position_embeddings"] = fields["original_max_position_embeddings"]
    return changed


def _with(made: Made, **fields: Any) -> Made:
    return Made(**{**vars(made), **fields})


def _injections(family: str) -> dict[str, Change]:
    """Every mistake that this family's engine can make, by the names embtool gives them."""
    config = FAMILIES[family]
    inside = _parameters(Made(config, kind=_kind(family))) or {}
    rope_type, context = inside.get("rope_type", "default"), config.get("max_position_embeddings", 2048)
    found: dict[str, Change] = {
        "position-off-by-one": lambda made: _with(made, shift=1),
        "layer-not-turned": lambda made: _with(made, turns=False),
        "direction": lambda made: _with(made, backwards=True),
        "angles-rounded": lambda made: _with(made, rounds="both"),
        "layout": lambda made: _with(made, layout="other"),
    }
    if inside:
        other = 10000.0 if inside["rope_theta"] != 10000.0 else 500000.0  # noqa: PLR2004 - as they are written
        found["theta"] = lambda made: _patched(made, rope_theta=other)
    return found | _of_the_type(family, rope_type, context) | _of_the_width(family, inside)


def _of_the_type(family: str, rope_type: str, context: int) -> dict[str, Change]:
    """Mistakes about how frequencies are stretched."""
    found: dict[str, Change] = {}
    if rope_type != "default":
        found["scaling-ignored"] = lambda made: _patched(made, rope_type="default")
    if rope_type in ("yarn", "llama3"):
        linear = {"rope_type": "linear", "attention_factor": None}
        found["positions-scaled"] = lambda made: _patched(made, **linear)
    if rope_type in ("yarn", "llama3", "longrope"):
        found["original-context"] = lambda made: _patched(made, original_max_position_embeddings=context)
    if rope_type == "longrope":
        found["longrope-list"] = lambda made: _with(made, length=1)
    if family in ("qwen3-yarn", "phi3", "gpt-oss"):
        found["attention-factor-missing"] = lambda made: _with(made, power=0.0)
        found["attention-factor-squared"] = lambda made: _with(made, power=2.0)
    if family == "gemma3":
        found["layer-type"] = lambda made: _with(made, kind="sliding_attention")
    return found


def _of_the_width(family: str, inside: Mapping[str, Any]) -> dict[str, Change]:
    """Mistakes about which channels turn, and by which position."""
    found: dict[str, Change] = {}
    share = inside.get("partial_rotary_factor", 1.0)
    if share < 1:
        found["partial-ignored"] = lambda made: _patched(made, partial_rotary_factor=1.0)
        found["partial-twice"] = lambda made: _patched(made, partial_rotary_factor=share * share)
    if family == "gptj":
        found["partial-ignored"] = lambda made: _with(made, config={**made.config, "rotary_dim": 256})
        found["partial-twice"] = lambda made: _with(made, config={**made.config, "rotary_dim": 16})
    if "mrope_section" in inside:
        found["mrope-sections"] = lambda made: _with(made, axes=(0, 2, 1))
    return found


def _kind(family: str) -> str:
    return "full_attention" if family == "gemma3" else "all"


# --- record -----------------------------------------------------------------------------------------------------------


class _Engine:
    """Turns queries with the functions of transformers."""

    def __init__(self, made: Made) -> None:
        from record_rope_oracle import _rotary_class  # noqa: PLC0415 - needs transformers, as this does
        from transformers import AutoConfig  # noqa: PLC0415 - only this command needs it

        config = copy.deepcopy(made.config)
        self.made = made
        self.rotary: Any = None
        self.config = AutoConfig.for_model(config.pop("model_type"), **config)
        if made.config["model_type"] == "gptj":
            self.module: Any = importlib.import_module("transformers.models.gptj.modeling_gptj")
            return
        found = _rotary_class(self.config)
        assert found is not None
        self.module, rotary_class = found
        self.rotary = rotary_class(config=self.config)

    def turn(self, queries: Any, positions: np.ndarray) -> Any:
        """The queries (n, head_dim) at their positions (n,) or (n, 3), in their own precision."""
        import torch  # noqa: PLC0415 - only this command needs it

        made = self.made
        if not made.turns:
            return queries
        places = torch.from_numpy(positions + made.shift)
        if self.rotary is None:
            return self._gptj(queries, places)
        if places.ndim > 1:
            places = places[:, list(made.axes)]
        with torch.no_grad():
            cos, sin = self._waves(queries, places)
        if made.power != 1:
            grown = self._scaling()
            cos, sin = ((wave.float() * grown ** (made.power - 1)).to(queries.dtype) for wave in (cos, sin))
        if made.backwards:
            sin = -sin
        return self._apply(queries, cos, sin)

    def _scaling(self) -> float:
        return float(getattr(self.rotary, "attention_scaling", 1.0))

    def _waves(self, queries: Any, places: Any) -> tuple[Any, Any]:
        """Cos and sin of the module, (n, channels)."""
        import torch  # noqa: PLC0415 - only this command needs it

        made, arguments = self.made, {} if self.made.kind == "all" else {"layer_type": self.made.kind}
        multimodal = hasattr(self.rotary, "mrope_section") or "mrope_section" in (_parameters(made) or {})
        asked = places.T[:, None, :] if places.ndim > 1 else places[None]
        if multimodal and places.ndim == 1:
            asked = places[None, None].expand(3, 1, -1)
        if made.rounds is not None:
            return self._rounded(queries, places)
        if made.length is not None:  # a sequence of another length has other frequencies: each token alone
            parts = []
            for place in places:
                self.rotary(queries[None, :1], torch.zeros(1, 1, dtype=torch.long))
                short = self.rotary.inv_freq.clone()
                angles = torch.cat([place.float() * short] * 2)
                parts.append(angles)
            angles = torch.stack(parts)
            grown = self._scaling()
            return (angles.cos() * grown).to(queries.dtype), (angles.sin() * grown).to(queries.dtype)
        cos, sin = self.rotary(queries[None], asked, **arguments)
        return self._sections(cos, places), self._sections(sin, places)

    def _sections(self, wave: Any, places: Any) -> Any:
        """One row for each token: Qwen2-VL has three, of which each section takes its own."""
        import torch  # noqa: PLC0415 - only this command needs it

        del places
        if wave.ndim == 3:  # noqa: PLR2004 - a batch of one
            return wave[0]
        section = (_parameters(self.made) or {})["mrope_section"] * 2
        return torch.cat([part[axis % 3] for axis, part in enumerate(wave.split(section, dim=-1))], dim=-1)[0]

    def _rounded(self, queries: Any, places: Any) -> tuple[Any, Any]:
        """Angles in BF16, as of a model that was cast whole."""
        import torch  # noqa: PLC0415 - only this command needs it

        name = "inv_freq" if self.made.kind == "all" else f"{self.made.kind}_inv_freq"
        low = places.to(torch.bfloat16)
        if low.ndim > 1:
            section = (_parameters(self.made) or {})["mrope_section"]
            axes = [axis for axis, count in enumerate(section) for _ in range(count)]
            low = low[:, axes]
        else:
            low = low[:, None]
        self.rotary(
            queries[None], places.T[:, None, :] if places.ndim > 1 else self._asked(places), **self._arguments()
        )
        angles = low * getattr(self.rotary, name).to(torch.bfloat16)
        angles = angles.repeat_interleave(2, dim=-1) if self._interleaves() else torch.cat([angles, angles], dim=-1)
        grown = self._scaling()
        return (angles.float().cos() * grown).to(queries.dtype), (angles.float().sin() * grown).to(queries.dtype)

    def _arguments(self) -> dict[str, str]:
        return {} if self.made.kind == "all" else {"layer_type": self.made.kind}

    def _asked(self, places: Any) -> Any:
        return (
            places[None, None].expand(3, 1, -1) if "mrope_section" in (_parameters(self.made) or {}) else places[None]
        )

    def _interleaves(self) -> bool:
        return bool(self.made.config["model_type"] == "cohere")

    def _apply(self, queries: Any, cos: Any, sin: Any) -> Any:
        """The family's own rotation, or that of another family."""
        import torch  # noqa: PLC0415 - only this command needs it

        kind = self.made.config["model_type"]
        cos = torch.cat([cos, cos], dim=-1) if kind == "gpt_oss" and cos.shape[-1] * 2 == queries.shape[-1] else cos
        sin = torch.cat([sin, sin], dim=-1) if kind == "gpt_oss" and sin.shape[-1] * 2 == queries.shape[-1] else sin
        width = cos.shape[-1]
        q, rest = queries[None, None, :, :width], queries[:, width:]
        interleaved = kind in ("cohere", "glm")
        if self.made.layout == "other" or kind in ("gpt_oss", "qwen2_vl_text"):
            half = self._interleaves()
            pairs = [wave[:, ::2] if half else wave[:, : width // 2] for wave in (cos, sin)]
            if self.made.layout == "other" and not interleaved and kind != "deepseek_v3":
                source = importlib.import_module("transformers.models.cohere.modeling_cohere")
                wide = [pair.repeat_interleave(2, dim=-1) for pair in pairs]
            else:
                source = importlib.import_module("transformers.models.llama.modeling_llama")
                wide = [torch.cat([pair, pair], dim=-1) for pair in pairs]
            turned = source.apply_rotary_pos_emb(q, q, wide[0][None], wide[1][None])[0]
        else:
            apply = getattr(self.module, "apply_rotary_pos_emb_interleave", None) or self.module.apply_rotary_pos_emb
            turned = apply(q, q, cos[None], sin[None])[0]
        return torch.cat([turned[0, 0], rest], dim=-1)

    def _gptj(self, queries: Any, places: Any) -> Any:
        """GPT-J's own table and rotation."""
        import torch  # noqa: PLC0415 - only this command needs it

        made, width = self.made, self.made.config["rotary_dim"]
        table = self.module.create_sinusoidal_positions(int(places.max()) + 1, width)
        rows = table[places]
        if made.rounds is not None:
            speeds = (1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))).to(torch.bfloat16)
            angles = (places.to(torch.bfloat16)[:, None] * speeds).float()
            rows = torch.cat([angles.sin(), angles.cos()], dim=-1)
        sin, cos = (half.to(queries.dtype) for half in rows.split(width // 2, dim=-1))
        if made.backwards:
            sin = -sin
        q = queries[None, :, None, :width]
        if made.layout == "other":
            source = importlib.import_module("transformers.models.llama.modeling_llama")
            wide = [torch.cat([wave, wave], dim=-1)[None] for wave in (cos, sin)]
            turned = source.apply_rotary_pos_emb(q.transpose(1, 2), q.transpose(1, 2), *wide)[0].transpose(1, 2)
        else:
            turned = self.module.apply_rotary_pos_emb(q, sin[None], cos[None])
        return torch.cat([turned[0, :, 0], queries[:, width:]], dim=-1)


def _head_dim(config: Mapping[str, Any]) -> int:
    if config["model_type"] == "deepseek_v3":
        return int(config["qk_rope_head_dim"])
    heads, hidden = (
        config.get("num_attention_heads", config.get("n_head")),
        config.get("hidden_size", config.get("n_embd")),
    )
    return int(config.get("head_dim", hidden // heads))


def _cases(family: str, dice: random.Random, doubles: int) -> Iterator[tuple[tuple[str, ...], Made]]:
    """Every engine of a family: right, with each mistake, and with some pairs of them."""
    right = Made(FAMILIES[family], kind=_kind(family))
    injections = _injections(family)
    yield (), right
    for name, change in injections.items():
        made = change(right)
        if made is not None:
            yield (name,), made
    pairs = [pair for pair in itertools.combinations(injections, 2) if "layer-not-turned" not in pair]
    for one, other in dice.sample(pairs, min(doubles, len(pairs))):
        first = injections[one](right)
        made = None if first is None else injections[other](first)
        if made is not None:
            yield (one, other), made


def record(into: Path, seed: int, doubles: int, *, small: bool) -> None:
    """Record the traces of every family; a small recording has fewer positions, and one precision for each mistake."""
    import torch  # noqa: PLC0415 - only this command needs them
    import transformers  # noqa: PLC0415

    dice = random.Random(seed)  # noqa: S311 - a sample
    numbers = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for family, config in FAMILIES.items():
        context = int(config.get("max_position_embeddings", config.get("n_positions", 0)))
        places = np.array([place for place in (FEW_PLACES if small else PLACES) if place < context])
        if family == "qwen2-vl":
            places = np.stack([places, places // 3 + 7, places // 5 + 13], axis=1)
        arrays[f"{family}/positions"] = places
        right = Made(config, kind=_kind(family))
        changed = {name: change(right) for name, change in _injections(family).items()}
        alone = {name: made for name, made in changed.items() if made is not None}
        shared = numbers.standard_normal((len(places), _head_dim(config)))
        for case, (mistakes, made) in enumerate(_cases(family, dice, doubles)):
            one = (dice.choice(PRECISIONS),)
            for precision in PRECISIONS if not mistakes or (len(mistakes) == 1 and not small) else one:
                drawn = shared if small else numbers.standard_normal(shared.shape)
                queries = torch.from_numpy(drawn).to(getattr(torch, precision))
                key = f"{family}/{case}/{precision}"
                before = f"{family}/{precision}/before" if small else f"{key}/before"
                try:
                    turned = _Engine(made).turn(queries, places)
                except Exception as error:  # noqa: BLE001 - an injection that transformers refuses is no trace
                    print(f"{key} {mistakes}: {type(error).__name__}: {error}")
                    continue
                off = float((turned.float() - _Engine(right).turn(queries, places).float()).abs().max())
                same = (
                    []
                    if len(mistakes) == 1
                    else [[name] for name, single in alone.items() if _alike(single, made, queries, places, turned)]
                )
                arrays |= {before: _packed(queries), f"{key}/after": _packed(turned)}
                entry = {"key": key, "family": family, "mistakes": mistakes, "precision": precision}
                entries.append({**entry, "off": off, "same": same, "before": before})
    about = {"transformers": transformers.__version__, "torch": torch.__version__, "families": FAMILIES}
    about |= {"traces": entries, "kinds": {family: _kind(family) for family in FAMILIES}}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(into, **arrays)  # type: ignore[arg-type]  # names of arrays, not of options
    print(f"{len(entries)} traces of {len(FAMILIES)} families")


def _packed(values: Any) -> np.ndarray:
    """Keep numbers in their own precision; those in BF16 as the upper half of a float32."""
    import torch  # noqa: PLC0415 - only this command needs it

    if values.dtype == torch.bfloat16:
        upper: np.ndarray = (values.float().numpy().view(np.uint32) >> 16).astype(np.uint16)
        return upper
    return np.asarray(values.numpy())


def unpacked(values: np.ndarray) -> np.ndarray:
    """Read numbers that were kept in their own precision."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def _alike(alone: Made, both: Made, queries: Any, places: np.ndarray, turned: Any) -> bool:
    """Whether one mistake alone turns as two do: one of them then hides the other."""
    return alone == both or bool((_Engine(alone).turn(queries, places) == turned).all())


# --- judge ------------------------------------------------------------------------------------------------------------

VISIBLE = {"float32": 1e-3, "bfloat16": 0.12, "float16": 0.02}
"""How far queries of about 1 must be off to be called wrong in each precision."""


def judge(file: Path) -> None:
    """Count how often the judge names what was injected."""
    from embtool.configs.config import parse_config  # noqa: PLC0415 - only this command needs embtool
    from embtool.judge import trace_of  # noqa: PLC0415
    from embtool.positions import Rope, read_positions  # noqa: PLC0415
    from embtool.questions.rope_judge import ask_judge  # noqa: PLC0415
    from embtool.questions.rotation import Rotary  # noqa: PLC0415

    with np.load(file) as arrays:
        about = json.loads(bytes(arrays["about"]))
        tally: Counter[tuple[int, str]] = Counter()
        for entry in about["traces"]:
            family, mistakes = entry["family"], set(entry["mistakes"])
            rope = read_positions(parse_config(about["families"][family]))
            assert isinstance(rope, Rope)
            rotary = Rotary(family, rope.layers, rope.context_length, rope.nope_layers)
            kind = about["kinds"][family]
            held = {
                "positions": arrays[f"{family}/positions"],
                "before": unpacked(arrays[entry["before"]]),
                "after": unpacked(arrays[f"{entry['key']}/after"]),
                **({} if kind == "all" else {"layer_type": kind}),
            }
            found = ask_judge(rotary, trace_of(held), entry["key"], rope)
            named = {each.mistake for each in found.found}
            visible = not mistakes or entry["off"] > VISIBLE[entry["precision"]]
            also = [set(each) for each in found.equally]
            how = (
                "right"
                if named == mistakes
                else "right, one hides the other"
                if any(named == set(each) for each in entry["same"])
                else "not visible"
                if not visible and found.agrees
                else "among equals"
                if mistakes in also
                else "wrong"
            )
            tally[len(mistakes), how] += 1
            if how in ("wrong", "among equals"):
                right = found.hypotheses[0]
                print(
                    f"{entry['key']}: {sorted(mistakes)} -> {sorted(named)} {found.verdict} equally {also} "
                    f"off {entry['off']:.3g}, right worst {right.worst}"
                )
        for (number, how), count in sorted(tally.items()):
            print(f"{number} mistakes, {how}: {count}")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="Record traces of right and wrong engines, and judge them.")
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="make them with an installed transformers")
    recorder.add_argument("--into", type=Path, required=True, metavar="FILE")
    recorder.add_argument("--seed", type=int, default=0)
    recorder.add_argument("--doubles", type=int, default=12, help="pairs of mistakes for each family")
    recorder.add_argument("--small", action="store_true", help="few positions, one precision for each mistake")
    judged = commands.add_parser("judge", help="count how often the judge names what was injected")
    judged.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.into, arguments.seed, arguments.doubles, small=arguments.small)
    else:
        judge(arguments.file)


if __name__ == "__main__":
    main()
