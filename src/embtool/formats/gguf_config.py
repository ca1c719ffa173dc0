"""The metadata of a GGUF file as a `Config`: `llama.embedding_length` is what config.json calls `hidden_size`.

llama.cpp has its own names for families and fields (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md,
"Standardized key-value pairs"). They are translated here into those of config.json, with every field's own key kept as
its name, so that what is read of a family, and how its positions work, is said once, in `embtool.configs.families` and
`embtool.positions`.

In one thing a GGUF file differs from the model it was made of: for some families the converter reorders the channels
of queries and keys, so that pairs stand side by side. Which layout llama.cpp expects is decided by its
`llama_model_rope_type` (https://github.com/ggml-org/llama.cpp/blob/master/src/llama-model.cpp); `INTERLEAVED` names the
architectures for which it is pairs of neighbours.

To add an architecture: a row in `MODEL_TYPES` if config.json calls it something else; its name in `INTERLEAVED` or
`HALVES`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from embtool.arrays import np
from embtool.configs.config import Config, parse_config
from embtool.configs.families import UNKNOWN, Family, Layout, family_of
from embtool.errors import ConfigError

Tensors = Callable[[str], list[float] | None]
"""Reads a small tensor by name; None where there is none."""

MOST_FACTORS = 1 << 15
"""Numbers of a tensor of factors: one per pair of a head, of which the widest known has 256."""

MODEL_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "gptneox": "gpt_neox",
        "starcoder": "gpt_bigcode",
        "modern-bert": "modernbert",
        "nomic-bert": "nomic_bert",
        "nomic-bert-moe": "nomic_bert",
        "qwen2moe": "qwen2_moe",
        "qwen2vl": "qwen2_vl_text",
        "qwen3moe": "qwen3_moe",
        "qwen3next": "qwen3_next",
        "qwen3vl": "qwen3_vl_text",
        "qwen3vlmoe": "qwen3_vl_moe_text",
        "qwen35": "qwen3_5_text",
        "qwen35moe": "qwen3_5_moe_text",
        "phi2": "phi",
        "gemma3": "gemma3_text",
        "gemma3n": "gemma3n_text",
        "gemma4": "gemma4_text",
        "gemma-embedding": "gemma3_text",
        "command-r": "cohere",
        "cohere2moe": "cohere2_moe",
        "deepseek2": "deepseek_v2",
        "deepseek32": "deepseek_v32",
        "deepseek4": "deepseek_v4",
        "glm4moe": "glm4_moe",
        "glm-dsa": "glm_moe_dsa",
        "t5encoder": "t5",
        "exaone-moe": "exaone_moe",
        "granitehybrid": "granitemoehybrid",
        "ernie4_5-moe": "ernie4_5_moe",
        "falcon-h1": "falcon_h1",
        "hunyuan-moe": "hunyuan_v1_moe",
        "hunyuan-dense": "hunyuan_v1_dense",
        "gpt-oss": "gpt_oss",
        "lfm2moe": "lfm2_moe",
        "minimax-m2": "minimax_m2",
        "mimo2": "mimo_v2_flash",
        "mistral3": "ministral3",
        **dict.fromkeys(("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), "rwkv"),
        "llama4": "llama4_text",
        "llama-embed": "llama",
    }
)
"""llama.cpp's names of architectures, where config.json's `model_type` is another."""

INTERLEAVED = frozenset(
    {
        *("llama", "llada", "llama4", "deci", "baichuan", "starcoder", "internlm2", "minicpm", "xverse", "command-r"),
        *("cohere2", "cohere2moe", "olmo", "arctic", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32"),
        *("deepseek4", "plm", "chatglm", "granite", "granitemoe", "granitehybrid", "chameleon", "bailingmoe"),
        *("neo-bert", "smollm3", "arcee", "ernie4_5", "ernie4_5-moe", "mistral3", "mistral4", "llama-embed"),
        *("maincoder", "glm-dsa", "glm4"),
    }
)
"""Architectures whose pairs are neighbours in a GGUF file (LLAMA_ROPE_TYPE_NORM)."""

HALVES = frozenset(
    {
        *("falcon", "falcon-h1", "grok", "dbrx", "jina-bert-v3", "modern-bert", "nomic-bert", "nomic-bert-moe"),
        *("eurobert", "stablelm", "bitnet", "qwen", "qwen2", "dream", "qwen2moe", "qwen3", "qwen3moe", "llada-moe"),
        *("rnd1", "olmo2", "olmoe", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "gemma", "gemma2"),
        *("gemma3", "gemma3n", "gemma4", "gemma-embedding", "starcoder2", "openelm", "gptneox", "codeshell", "orion"),
        *("nemotron", "exaone", "exaone4", "exaone-moe", "minicpm3", "bailingmoe2", "dots1", "hunyuan-moe", "jais2"),
        *("gpt-oss", "hunyuan-dense", "hunyuan_vl", "lfm2", "lfm2moe", "smallthinker", "seed_oss", "grovemoe"),
        *("apertus", "minimax-m2", "cogvlm", "pangu-embedded", "afmoe", "qwen3next", "mimo2", "step35", "glm4moe"),
        *("qwen2vl", "paddleocr", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"),
    }
)
"""Architectures whose pairs are half a head apart (LLAMA_ROPE_TYPE_NEOX, MROPE and IMROPE)."""

ENCODERS = frozenset(
    {"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"}
    | {"gemma-embedding", "t5encoder"}
)
"""Architectures that predict no tokens: one table is all they have."""

SIZES: Mapping[str, str] = MappingProxyType(
    {
        "vocab_size": "vocab_size",
        "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "attention.layer_norm_epsilon": "layer_norm_eps",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.sliding_window": "sliding_window",
        "attention.relative_buckets_count": "relative_attention_num_buckets",
    }
)
"""Keys below `{architecture}.` and the fields they are."""

SCALING: Mapping[str, str] = MappingProxyType(
    {
        "factor": "factor",
        "original_context_length": "original_max_position_embeddings",
        "yarn_beta_fast": "beta_fast",
        "yarn_beta_slow": "beta_slow",
        "alpha": "alpha",
    }
)
"""Keys below `{architecture}.rope.scaling.` and the fields they are."""

ALWAYS_ALIBI = frozenset({"jais", "refact", "jina-bert-v2"})
"""Architectures that bias attention by distance and are no family of transformers."""

DEFAULT_THETA = 10_000.0
"""What llama.cpp takes for the base of the rotations where a file does not say."""

INPUT, OUTPUT = "token_embd.weight", "output.weight"
FREQUENCY_FACTORS = "rope_freqs.weight"
LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"

LLAMA3_FACTORS = ((8.0, 1.0, 4.0, 8192), (32.0, 1.0, 4.0, 8192), (16.0, 1.0, 4.0, 8192), (8.0, 1.0, 4.0, 4096))
"""factor, low_freq_factor, high_freq_factor and original context of the models that publish a `rope_type` of llama3: a
GGUF file holds only what they come to, in `rope_freqs.weight`."""

FACTOR_ERROR = 1e-4
"""Relative difference of two lists of factors that are one: they are stored as float32."""

YARN_LOG = 0.1
"""llama.cpp's `yarn_log_multiplier` is a tenth of config.json's `mscale_all_dim`."""

BAICHUAN_ALIBI_LAYERS = 40
"""Baichuan's 13B model has ALiBi, its 7B model rotates; llama.cpp tells them apart by their layers."""


def read_config(
    metadata: Mapping[str, Any], file: str, shapes: Mapping[str, tuple[int, ...]], tensors: Tensors
) -> Config:
    """Read the config of a GGUF file; `shapes` are its tensors', by name, and `tensors` reads the small ones.

    Raises:
        ConfigError: a key is missing, or has a value of the wrong type.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise ConfigError(f"{file} has no general.architecture: nothing says what its keys are called")
    translation = _Translation(metadata, file, architecture, shapes, tensors)
    config = parse_config(translation.document(), file=file, spelled=translation.spelled)
    layout: Layout | None = None
    if architecture in INTERLEAVED:
        layout = "interleaved"
    elif architecture in HALVES:
        layout = "half"
    family, origins = config.family, dict(config.origins)
    if family is UNKNOWN and layout is not None:
        family = Family()
    if family.kind == "rope" and family is not UNKNOWN:
        family = dataclasses.replace(family, layout=layout or family.layout, **_NO_ASSUMPTIONS)
        if layout is not None:
            origins["layout"] = f"llama.cpp's layout of {architecture}"
    return dataclasses.replace(
        config, family=family, family_known=family.layout is not None, origins=MappingProxyType(origins)
    )


_NO_ASSUMPTIONS: dict[str, Any] = {
    "rotary_dim_key": True,
    "partial_keys": (),
    "partial_rotary_factor": None,
    "rotary_dim": None,
    "rope_parameters": None,
}
"""llama.cpp assumes nothing of a family where a file is silent: the whole head turns, and nothing is stretched."""


class _Translation:
    """Writes a config.json out of metadata, noting for each field the key it came from."""

    def __init__(
        self,
        metadata: Mapping[str, Any],
        file: str,
        architecture: str,
        shapes: Mapping[str, tuple[int, ...]],
        tensors: Tensors,
    ) -> None:
        self.metadata = metadata
        self.file = file
        self.architecture = architecture
        self.shapes = shapes
        self.tensors = tensors
        self.model_type = MODEL_TYPES.get(architecture, architecture)
        self.family = family_of(self.model_type)
        self.raw: dict[str, Any] = {"model_type": self.model_type}
        self.spelled: dict[str, str] = {"model_type": "general.architecture"}

    def document(self) -> Mapping[str, Any]:
        """Write the config."""
        for key, field in SIZES.items():
            self._copy(key, field)
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if "vocab_size" not in self.raw and tokens is not None and not isinstance(tokens, str | int | float):
            self._set("vocab_size", len(tokens), "tokenizer.ggml.tokens")
        for name, size in zip(("vocab_size", "hidden_size"), self.shapes.get(INPUT, ()), strict=False):
            if name not in self.raw:  # never what the class assumes: the table itself says better
                self._set(name, size, f"the shape of {INPUT}")
        self._heads()
        if self.architecture in ENCODERS:  # elsewhere llama.cpp predicts with the input table where no other is there
            self._set("tie_word_embeddings", value=False, origin="an encoder has no output table")
        elif OUTPUT in self.shapes:
            self._set("tie_word_embeddings", value=False, origin=f"{OUTPUT} is there")
        else:
            self._set("tie_word_embeddings", value=True, origin=f"{OUTPUT} is not there")
        self._rope()
        # What single families read.
        scale = "scale_emb" if self.family.embedding_scale == "scale_emb" else "embedding_multiplier"
        self._copy("embedding_scale", scale)
        bias = self.value("attention.max_alibi_bias")
        if self.model_type == "mpt":
            self.raw["attn_config"] = {"alibi": bool(bias), **({"alibi_bias_max": bias} if bias else {})}
        if self.architecture in ALWAYS_ALIBI:
            self.raw["alibi"] = True
        if self.model_type == "baichuan" and self.raw.get("num_hidden_layers") == BAICHUAN_ALIBI_LAYERS:
            self.raw["model_max_length"] = self.raw.pop("max_position_embeddings", None)
        return self.raw

    def value(self, key: str) -> Any:
        """Return the value of a key below the architecture's name.

        Raises:
            ConfigError: it is an array of arrays, which no key of a model has.
        """
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, list):
            raise ConfigError(f"{self.file}: {self.architecture}.{key} must not be an array of arrays")
        return value.tolist() if isinstance(value, np.ndarray) else value

    def number(self, key: str) -> float | None:
        """Return the value of a key that is computed with here.

        Raises:
            ConfigError: it is no finite number.
        """
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{self.file}: {self.architecture}.{key} must be a number")
        return value

    def _copy(self, key: str, field: str) -> None:
        value = self.value(key)
        if isinstance(value, list):  # one for each layer: the config has no word for that
            value = value[0] if value and all(item == value[0] for item in value) else None
        self._set(field, value, f"{self.architecture}.{key}")

    def _set(self, field: str, value: Any, origin: str) -> None:
        if value is not None:
            self.raw[field] = value
            self.spelled[field] = origin

    def _heads(self) -> None:
        heads = self.value("attention.head_count")
        if isinstance(heads, list):
            heads = max(heads, default=None)
        self._set("num_attention_heads", heads, f"{self.architecture}.attention.head_count")
        width = self.raw.get("hidden_size")
        divides = type(width) is int and type(heads) is int and heads > 0 and width % heads == 0
        if "head_dim" not in self.raw and divides:  # llama.cpp's own default, whatever the class assumes
            prefix = self.architecture
            self._set("head_dim", width // heads, f"{prefix}.embedding_length / {prefix}.attention.head_count")
        sliding = self.value("attention.key_length_swa")
        if sliding is not None and self.family.global_head_dim is not None:
            self._set("global_head_dim", self.raw.get("head_dim"), self.spelled.get("head_dim", ""))
            self._set("head_dim", sliding, f"{self.architecture}.attention.key_length_swa")

    def _rope(self) -> None:
        """Set theta, the width that turns, and what the frequencies are stretched by."""
        theta = self.family.theta_keys[0] if self.family.theta_keys else "rope_theta"
        if self.family.kind == "rope":
            self._set(theta, DEFAULT_THETA, "llama.cpp's default")
        self._copy("rope.freq_base", theta)
        if self.family.local_theta_key is not None:
            self._copy("rope.freq_base_swa", self.family.local_theta_key)
        if self.family.latent:
            self._copy("rope.dimension_count", "qk_rope_head_dim")
            self.raw.pop("head_dim", None)
        elif self.value("rope.dimension_count") not in (self.raw.get("head_dim"), self.raw.get("global_head_dim")):
            self._copy("rope.dimension_count", "rotary_dim")
        section = self._scaling()
        sections = self.value("rope.dimension_sections")
        if self.family.mrope is not None and isinstance(sections, list) and any(sections):
            self.spelled["rope_scaling.mrope_section"] = f"{self.architecture}.rope.dimension_sections"
            section = {**section, "mrope_section": sections[:3]}
        if section:
            section.setdefault("rope_type", "default")
        sliding = self.value("rope.freq_base_swa")
        if sliding is not None and self.family.per_layer_type and self.family.local_theta_key is None:
            # The family has no other place for a second theta: the rotations of both kinds of layer are set.
            full, local = self.family.labels[:2]
            base = f"{self.architecture}.rope.freq_base"
            for name in section:
                self.spelled[f"rope_parameters.{full}.{name}"] = self.spelled.get(f"rope_scaling.{name}", name)
            self.spelled |= {
                f"rope_parameters.{full}.rope_theta": base,
                f"rope_parameters.{local}.rope_theta": f"{base}_swa",
            }
            self.raw["rope_parameters"] = {
                full: {"rope_type": "default", "rope_theta": self.raw[theta], **section},
                local: {"rope_type": "default", "rope_theta": sliding},
            }
        elif section:
            self.raw["rope_scaling"] = section

    def _scaling(self) -> dict[str, Any]:
        """Read the type and the numbers of the stretching, from keys or from the tensors of factors."""
        factors = self.tensors(FREQUENCY_FACTORS)
        if factors is not None:
            self.spelled |= {f"rope_scaling.{name}": FREQUENCY_FACTORS for name in ("rope_type", *_FIELDS_OF_FACTORS)}
            return self._from_factors(factors)
        kind = self.value("rope.scaling.type")
        long, short = self.tensors(LONG_FACTORS), self.tensors(SHORT_FACTORS)
        if kind in (None, "none", "linear") and long is None and self.value("rope.scaling.factor") in (None, 0, 1):
            return {}
        section: dict[str, Any] = {"rope_type": "longrope" if long is not None else kind or "linear"}
        self.spelled["rope_scaling.rope_type"] = f"{self.architecture}.rope.scaling.type"
        for key, field in SCALING.items():
            value = self.value(f"rope.scaling.{key}")
            if value is not None:
                section[field] = value
                self.spelled[f"rope_scaling.{field}"] = f"{self.architecture}.rope.scaling.{key}"
        if long is not None:
            section |= {"long_factor": long, "short_factor": short if short is not None else long}
            self.spelled |= {"rope_scaling.long_factor": LONG_FACTORS, "rope_scaling.short_factor": SHORT_FACTORS}
        # What cos and sin are multiplied by.
        stated = self.number("rope.scaling.attn_factor")
        if stated is None:
            stated = self.number("rope.scaling.yarn_attn_factor")
        logarithm = self.number("rope.scaling.yarn_log_multiplier")
        factor = self.number("rope.scaling.factor") or 0
        if section["rope_type"] == "longrope" and stated is not None:
            section["attention_factor"] = stated
        elif section["rope_type"] == "yarn" and stated is not None and factor > 0:
            section["attention_factor"] = stated * (YARN_LOG * math.log(factor) + 1)
        elif logarithm:
            section["mscale"] = section["mscale_all_dim"] = logarithm / YARN_LOG
        return section

    def _from_factors(self, factors: list[float]) -> dict[str, Any]:
        """Return the llama3 settings that come to these factors, else the factors themselves.

        Frequencies divided by a factor each are what longrope does, with the same factors at every length.
        """
        theta, pairs = self.number("rope.freq_base") or DEFAULT_THETA, len(factors)
        for factor, low, high, original in LLAMA3_FACTORS:
            # What llama3 divides each frequency by: 1 for short waves, `factor` for long ones, a ramp between. As
            # llama.cpp's converter does when it writes `rope_freqs.weight` (convert_hf_to_gguf.py).
            with np.errstate(all="ignore"):  # of a theta that makes no waves, which is refused with the settings
                waves = 2 * np.pi * np.float64(theta) ** (2 * np.arange(pairs) / (2 * pairs))
                smooth = (original / waves - low) / (high - low)
                between = 1 / ((1 - smooth) / factor + smooth)
            made = np.where(waves < original / high, 1.0, np.where(waves > original / low, factor, between))
            if np.allclose(made, factors, rtol=FACTOR_ERROR, atol=0):
                return {
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": original,
                }
        length = self.raw.get("max_position_embeddings") or 1 << 17
        return {
            "rope_type": "longrope",
            "long_factor": factors,
            "short_factor": factors,
            "attention_factor": 1.0,
            "original_max_position_embeddings": length,
        }


_FIELDS_OF_FACTORS = (
    *("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    *("long_factor", "short_factor", "attention_factor"),
)
