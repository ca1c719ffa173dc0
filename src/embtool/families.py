"""What is known of the families of language models: the facts a config file leaves out.

A config file states what its model does differently; the rest is in the code of its class. This module is that rest,
as data: one row of `SHAPES` holds the sizes that a class assumes, one entry of `FAMILIES` says how the class knows
order. `embtool.config` and `embtool.positions` read them; nothing is computed here.

The figures are those of the configuration and modeling classes of transformers 5.23.0
(https://github.com/huggingface/transformers/tree/v5.23.0/src/transformers/models); where that release is known to be
wrong or silent, `docs/positions.md` says what was decided instead.

To add a family: add its row to `SHAPES`, and to `FAMILIES` an entry with whatever differs from `Family()`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

PositionKind = Literal["rope", "learned", "alibi", "relative", "sinusoidal", "none"]
"""The `kind` of a position scheme, as `embtool info` names it."""

Layout = Literal["half", "interleaved", "interleaved-in-half-out"]
"""Which two channels make a pair, and where the turned pair is stored."""

HALF: Layout = "half"
INTERLEAVED: Layout = "interleaved"
IN_HALF_OUT: Layout = "interleaved-in-half-out"


class Shape(NamedTuple):
    """The sizes that a model class assumes where the file is silent; None where the class has no such default."""

    vocab_size: int | None
    hidden_size: int | None
    num_hidden_layers: int | None
    num_attention_heads: int | None
    head_dim: int | None
    max_position_embeddings: int | None


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Which kind of layer stands where, when the file does not list `layer_types`.

    Every `period`-th layer is of type `at`, the others of type `elsewhere`. `first` counts from layer 0 (0, 3, 6, ...)
    where the usual count ends each group (2, 5, 8, ...). `key` is the config field that overrides the period.
    """

    period: int
    at: str = "full_attention"
    elsewhere: str = "sliding_attention"
    key: str | None = None
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one family of models knows order, as far as its config file does not say it.

    Attributes:
        kind: The position scheme.
        layout: The pairing of channels; None is "not known".
        rope_theta: What the class assumes when the file has no theta.
        local_theta: The same for sliding-window layers, where they have a theta of their own.
        theta_keys: The top-level fields that hold theta, the one that wins first.
        local_theta_key: The field that holds `local_theta`.
        partial_rotary_factor: The share of a head that turns, when the file does not say.
        honours_partial: Whether rope_type "default" reads `partial_rotary_factor` at all. Most classes ignore it.
        partial_keys: The top-level fields that hold the share, the one that wins first.
        rotary_dim_key: Whether a `rotary_dim` in the file is obeyed.
        rotary_dim: Channels that turn when the file does not say, in families that count them so.
        latent: Multi-head latent attention: only the separate `qk_rope_head_dim` channels of a head turn.
        qk_rope_head_dim: Their number when the file does not say.
        rotated_part: Which end of a head turns.
        clockwise: Turns the other way round.
        mrope: How three positions share the frequencies; None is one position per token.
        mrope_section: Frequencies per axis when the file does not say.
        pattern: The layer types when the file does not list them.
        per_layer_type: Whether layer types have RoPE settings of their own.
        labels: The names of these settings, where they are not names of layer types.
        nope: The rule that leaves layers without positions: "no_rope_layers" reads that list, "full_attention" exempts
            those layers when the model has a sliding window.
        rope_parameters: The whole RoPE dictionary of the class, used when the file has none.
        row_offset: Learned tables: position p is row p + offset; "padding" is padding_idx + 1.
        extra_rows: Whether a learned table has `row_offset` more rows than `max_position_embeddings`.
        embedding_scale: The rule that multiplies a row after the lookup.
        embedding_norm: The norm that follows the lookup, by its name in the checkpoint.
        odd_rotary_dim: Whether an odd rotary width is rounded up to whole pairs, as GLM-4 MoE classes do.
        dynamic_ntk: What rope_type "dynamic" means here, where it is not what it says: a fixed `alpha`, or the first
            Qwen's doubling steps.
        global_head_dim: Channels of a head in full-attention layers, where they have more, when the file does not say.
        sliding_window: The sliding window of the class, which a file with null switches off.
    """

    kind: PositionKind = "rope"
    layout: Layout | None = HALF
    rope_theta: float = 10_000.0
    local_theta: float | None = None
    theta_keys: tuple[str, ...] = ("rope_theta",)
    local_theta_key: str | None = None
    partial_rotary_factor: float | None = None
    honours_partial: bool = False
    partial_keys: tuple[str, ...] = ("partial_rotary_factor",)
    rotary_dim_key: bool = False
    rotary_dim: int | None = None
    latent: bool = False
    qk_rope_head_dim: int = 64
    rotated_part: Literal["first", "last"] = "first"
    clockwise: bool = False
    mrope: Literal["sectioned", "interleaved", "height-width-time"] | None = None
    mrope_section: tuple[int, ...] | None = None
    pattern: Pattern | None = None
    per_layer_type: bool = False
    labels: tuple[str, ...] = ("full_attention", "sliding_attention")
    nope: Literal["no_rope_layers", "full_attention"] | None = None
    rope_parameters: Mapping[str, Any] | None = None
    row_offset: int | Literal["padding"] = 0
    extra_rows: bool = False
    embedding_scale: Literal["sqrt", "sqrt_rounded", "embedding_multiplier", "scale_emb", "scale_embedding"] | None = (
        None
    )
    embedding_norm: str | None = None
    odd_rotary_dim: bool = False
    dynamic_ntk: Literal["alpha", "qwen"] | None = None
    global_head_dim: int | None = None
    sliding_window: int | None = None


SHAPES: Mapping[str, Shape] = {
    # model_type: vocab_size, hidden_size, num_hidden_layers, num_attention_heads, head_dim, max_position_embeddings
    "afmoe": Shape(200_192, 2048, 32, 16, 128, 16_384),
    "albert": Shape(30_000, 4096, 12, 64, None, 512),
    "apertus": Shape(131_072, 4096, 32, 32, None, 65_536),
    "arcee": Shape(32_000, 2560, 32, 32, None, 4096),
    "aria_text": Shape(32_000, 4096, 32, 32, None, 2048),
    "bamba": Shape(128_000, 4096, 32, 32, None, 262_144),
    "bart": Shape(50_265, 1024, 12, 16, None, 1024),
    "bert": Shape(30_522, 768, 12, 12, None, 512),
    "bert-generation": Shape(50_358, 1024, 24, 16, None, 512),
    "big_bird": Shape(50_358, 768, 12, 12, None, 4096),
    "bigbird_pegasus": Shape(96_103, 1024, 16, 16, None, 4096),
    "biogpt": Shape(42_384, 1024, 24, 16, None, 1024),
    "bitnet": Shape(128_256, 2560, 30, 20, None, 2048),
    "blenderbot": Shape(8008, 2560, 24, 32, None, 128),
    "blenderbot-small": Shape(50_265, 512, 8, 16, None, 512),
    "bloom": Shape(250_880, 64, 2, 8, None, None),
    "camembert": Shape(30_522, 768, 12, 12, None, 512),
    "chameleon": Shape(65_536, 4096, 32, 32, None, 4096),
    "codegen": Shape(50_400, 4096, 28, 16, None, 2048),
    "cohere": Shape(256_000, 8192, 40, 64, None, 8192),
    "cohere2": Shape(256_000, 8192, 40, 64, None, 8192),
    "cohere2_moe": Shape(256_000, 8192, 40, 64, 128, 8192),
    "convbert": Shape(30_522, 768, 12, 12, None, 512),
    "ctrl": Shape(246_534, 1280, 48, 16, None, 256),
    "cwm": Shape(128_256, 6144, 64, 48, 128, 131_072),
    "data2vec-text": Shape(30_522, 768, 12, 12, None, 512),
    "dbrx": Shape(32_000, 2048, 24, 16, None, 2048),
    "deberta": Shape(50_265, 768, 12, 12, None, 512),
    "deberta-v2": Shape(128_100, 1536, 24, 24, None, 512),
    "deepseek_v2": Shape(102_400, 4096, 32, 32, None, 2048),
    "deepseek_v3": Shape(129_280, 7168, 61, 128, None, 4096),
    "deepseek_v32": Shape(129_280, 7168, 61, 128, 64, 163_840),
    "deepseek_v4": Shape(129_280, 4096, 43, 64, 512, 1_048_576),
    "diffllama": Shape(32_000, 2048, 16, 32, None, 2048),
    "distilbert": Shape(30_522, 768, 6, 12, None, 512),
    "doge": Shape(32_768, 1024, 32, 8, None, 2048),
    "dots1": Shape(152_064, 4608, 62, 32, None, 2048),
    "electra": Shape(30_522, 256, 12, 4, None, 512),
    "ernie": Shape(30_522, 768, 12, 12, None, 512),
    "ernie4_5": Shape(103_424, 1024, 18, 16, 128, 131_072),
    "ernie4_5_moe": Shape(103_424, 2560, 28, 20, None, 131_072),
    "ernie4_5_vl_moe_text": Shape(103_424, 2560, 28, 20, None, 131_072),
    "esm": Shape(None, 768, 12, 12, None, 1026),
    "eurobert": Shape(128_256, 768, 12, 12, None, 8192),
    "exaone4": Shape(102_400, 4096, 32, 32, None, 2048),
    "exaone_moe": Shape(102_400, 4096, 32, 32, None, 2048),
    "falcon": Shape(65_024, 4544, 32, 71, None, 2048),
    "falcon_h1": Shape(128_000, 4096, 32, 32, None, 8192),
    "falcon_mamba": Shape(50_280, 768, 32, None, None, None),
    "flex_olmo": Shape(100_352, 4096, 32, 32, None, 4096),
    "gemma": Shape(256_000, 3072, 28, 16, 256, 8192),
    "gemma2": Shape(256_000, 2304, 26, 8, 256, 8192),
    "gemma3_text": Shape(262_208, 2304, 26, 8, 256, 131_072),
    "gemma3n_text": Shape(262_400, 2048, 35, 8, 256, 32_768),
    "gemma4_text": Shape(262_144, 2304, 30, 8, 256, 131_072),
    "glm": Shape(151_552, 4096, 40, 32, 128, 131_072),
    "glm4": Shape(151_552, 4096, 40, 32, 128, 131_072),
    "glm4_moe": Shape(151_552, 4096, 46, 96, None, 131_072),
    "glm4_moe_lite": Shape(154_880, 2048, 47, 20, None, 202_752),
    "glm4v_text": Shape(151_552, 4096, 40, 32, None, 32_768),
    "glm4v_moe_text": Shape(151_424, 4096, 46, 96, None, 65_536),
    "glm_moe_dsa": Shape(154_880, 6144, 78, 64, 64, 202_752),
    "gpt2": Shape(50_257, 768, 12, 12, None, 1024),
    "gpt_bigcode": Shape(50_257, 768, 12, 12, None, 1024),
    "gpt_neo": Shape(50_257, 2048, 24, 16, None, 2048),
    "gpt_neox": Shape(50_432, 6144, 44, 64, None, 2048),
    "gpt_neox_japanese": Shape(32_000, 2560, 32, 32, None, 2048),
    "gpt_oss": Shape(201_088, 2880, 36, 64, 64, 131_072),
    "gptj": Shape(50_400, 4096, 28, 16, None, 2048),
    "granite": Shape(32_000, 4096, 32, 32, None, 2048),
    "granitemoe": Shape(32_000, 4096, 32, 32, None, 2048),
    "granitemoehybrid": Shape(32_000, 4096, 32, 32, None, 2048),
    "granitemoeshared": Shape(32_000, 4096, 32, 32, None, 2048),
    "helium": Shape(48_000, 2560, 24, 20, 128, 4096),
    "hunyuan_v1_dense": Shape(290_943, 4096, 32, 32, None, 2048),
    "hunyuan_v1_moe": Shape(290_943, 4096, 32, 32, None, 2048),
    "ibert": Shape(30_522, 768, 12, 12, None, 512),
    "jamba": Shape(65_536, 4096, 32, 32, None, 262_144),
    "jetmoe": Shape(32_000, 2048, 12, 32, 128, 4096),
    "laguna": Shape(100_352, 2048, 40, 48, 128, 131_072),
    "lfm2": Shape(65_536, 2560, 32, 32, None, 128_000),
    "lfm2_moe": Shape(65_536, 2048, 32, 32, None, 128_000),
    "llama": Shape(32_000, 4096, 32, 32, None, 2048),
    "llama4_text": Shape(202_048, 5120, 48, 40, 128, 131_072),
    "longcat_flash": Shape(131_072, 6144, 28, 64, 64, 131_072),
    "longformer": Shape(30_522, 768, 12, 12, None, 512),
    "longt5": Shape(32_128, 512, 6, 8, 64, None),
    "mamba": Shape(50_280, 768, 32, None, None, None),
    "mamba2": Shape(32_768, 4096, 64, 128, 64, None),
    "marian": Shape(58_101, 1024, 12, 16, None, 1024),
    "mbart": Shape(50_265, 1024, 12, 16, None, 1024),
    "mellum": Shape(98_304, 2304, 28, 32, 128, 131_072),
    "mimo_v2_flash": Shape(152_576, 4096, 48, 64, 192, 131_072),
    "minicpm3": Shape(73_448, 2560, 62, 40, None, 32_768),
    "minimax": Shape(32_000, 4096, 32, 32, None, 131_072),
    "minimax_m2": Shape(200_064, 3072, 62, 48, 128, 196_608),
    "minimax_m3_vl_text": Shape(200_064, 6144, 60, 64, 128, 524_288),
    "ministral": Shape(32_000, 4096, 32, 32, None, 131_072),
    "ministral3": Shape(131_072, 4096, 34, 32, 128, 262_144),
    "mistral": Shape(32_000, 4096, 32, 32, None, 131_072),
    "mistral4": Shape(131_072, 4096, 36, 32, None, 1_048_576),
    "mixtral": Shape(32_000, 4096, 32, 32, None, 131_072),
    "mllama_text_model": Shape(128_256, 4096, 40, 32, None, 131_072),
    "mobilebert": Shape(30_522, 512, 24, 4, None, 512),
    "modernbert": Shape(50_368, 768, 22, 12, None, 8192),
    "modernbert-decoder": Shape(50_368, 768, 22, 12, None, 8192),
    "mpnet": Shape(30_527, 768, 12, 12, None, 512),
    "mpt": Shape(50_368, 2048, 24, 16, None, 2048),
    "mt5": Shape(250_112, 512, 8, 6, 64, None),
    "mvp": Shape(50_267, 1024, 12, 16, None, 1024),
    "nanochat": Shape(50_304, 768, 12, 6, None, 2048),
    "nemotron": Shape(256_000, 6144, 32, 48, None, 4096),
    "nemotron_h": Shape(131_072, 4096, None, 32, 128, 4096),
    "nomic_bert": Shape(30_528, 768, 12, 12, 64, 2048),
    "olmo": Shape(50_304, 4096, 32, 32, None, 2048),
    "olmo2": Shape(50_304, 4096, 32, 32, None, 2048),
    "olmo3": Shape(50_304, 4096, 32, 32, None, 2048),
    "olmo_hybrid": Shape(100_352, 3840, 32, 30, None, 65_536),
    "olmoe": Shape(50_304, 2048, 16, 16, None, 4096),
    "openai-gpt": Shape(40_478, 768, 12, 12, None, 512),
    "openai_privacy_filter": Shape(200_064, 640, 8, 14, 64, 131_072),
    "opt": Shape(50_272, 768, 12, 12, None, 2048),
    "pegasus": Shape(50_265, 1024, 12, 16, None, 1024),
    "pegasus_x": Shape(96_103, 1024, 16, 16, None, 16_384),
    "persimmon": Shape(262_144, 4096, 36, 64, None, 16_384),
    "phi": Shape(51_200, 2048, 24, 32, None, 2048),
    "phi3": Shape(32_064, 3072, 32, 32, None, 4096),
    "phi4_multimodal": Shape(200_064, 3072, 32, 32, None, 131_072),
    "phimoe": Shape(32_064, 4096, 32, 32, None, 131_072),
    "plbart": Shape(50_005, 768, 6, 12, None, 1024),
    "qwen2": Shape(151_936, 4096, 32, 32, None, 32_768),
    "qwen2_5_omni_text": Shape(152_064, 3584, 28, 28, None, 32_768),
    "qwen2_5_vl_text": Shape(152_064, 8192, 80, 64, None, 32_768),
    "qwen2_moe": Shape(151_936, 2048, 24, 16, None, 32_768),
    "qwen2_vl_text": Shape(152_064, 8192, 80, 64, None, 32_768),
    "qwen3": Shape(151_936, 4096, 32, 32, 128, 32_768),
    "qwen3_5_text": Shape(248_320, 4096, 32, 16, 256, 32_768),
    "qwen3_5_moe_text": Shape(248_320, 2048, 40, 16, 256, 32_768),
    "qwen3_moe": Shape(151_936, 2048, 24, 32, None, 32_768),
    "qwen3_next": Shape(151_936, 2048, 48, 16, 256, 32_768),
    "qwen3_omni_moe_text": Shape(3584, 2048, 28, 28, None, 32_768),
    "qwen3_vl_text": Shape(151_936, 4096, 32, 32, 128, 128_000),
    "qwen3_vl_moe_text": Shape(151_936, 2048, 24, 16, None, 128_000),
    "recurrent_gemma": Shape(256_000, 2560, 26, 10, None, None),
    "reformer": Shape(320, 256, None, 12, None, 4096),
    "rembert": Shape(250_300, 1152, 32, 18, None, 512),
    "roberta": Shape(50_265, 768, 12, 12, None, 512),
    "roberta-prelayernorm": Shape(50_265, 768, 12, 12, None, 512),
    "roformer": Shape(50_000, 768, 12, 12, None, 1536),
    "rwkv": Shape(50_277, 4096, 32, None, None, None),
    "seed_oss": Shape(155_136, 4096, 64, 80, 128, 524_288),
    "smollm3": Shape(128_256, 2048, 36, 16, None, 32_768),
    "solar_open": Shape(196_608, 4096, 48, 64, 128, 131_072),
    "squeezebert": Shape(30_522, 768, 12, 12, None, 512),
    "stablelm": Shape(50_304, 2560, 32, 32, None, 4096),
    "starcoder2": Shape(49_152, 3072, 30, 24, None, 4096),
    "switch_transformers": Shape(32_128, 768, 12, 12, 64, None),
    "t5": Shape(32_128, 512, 6, 8, 64, None),
    "t5_gemma_module": Shape(256_000, 2304, 26, 8, 256, 8192),
    "t5gemma2_decoder": Shape(262_208, 2304, 26, 8, 256, 131_072),
    "trocr": Shape(50_265, 1024, 12, 16, None, 512),
    "umt5": Shape(250_112, 512, 8, 6, 64, None),
    "vaultgemma": Shape(256_000, 2304, 26, 8, 256, 8192),
    "whisper": Shape(51_865, 384, 4, 6, None, 448),
    "xglm": Shape(256_008, 1024, 24, 16, None, 2048),
    "xlm": Shape(30_145, 2048, 12, 16, None, 512),
    "xlm-roberta": Shape(30_522, 768, 12, 12, None, 512),
    "xlm-roberta-xl": Shape(250_880, 2560, 36, 32, None, 514),
    "xlnet": Shape(32_000, 1024, 24, 16, None, None),
    "xlstm": Shape(50_304, 4096, 32, 8, None, None),
    "xmod": Shape(30_522, 768, 12, 12, None, 512),
    "youtu": Shape(128_256, 2048, 32, 16, None, 131_072),
    "zamba": Shape(32_000, 3712, 76, 16, None, 4096),
    "zamba2": Shape(32_000, 2560, 54, 32, None, 4096),
    "zaya": Shape(262_272, 2048, 40, 8, 128, 131_072),
}

TIED: frozenset[str] = frozenset(
    (
        *("albert", "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt", "blenderbot"),
        *("blenderbot-small", "bloom", "camembert", "cohere", "cohere2", "cohere2_moe", "convbert", "ctrl"),
        *("data2vec-text", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "ernie4_5"),
        *("ernie4_5_moe", "ernie4_5_vl_moe_text", "esm", "falcon", "falcon_mamba", "gemma", "gemma2"),
        *("gemma3_text", "gemma3n_text", "gemma4_text", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox_japanese"),
        *("ibert", "jetmoe", "lfm2", "lfm2_moe", "longformer", "longt5", "mamba", "marian", "mbart"),
        *("minicpm3", "mobilebert", "modernbert", "modernbert-decoder", "mpnet", "mpt", "mt5", "mvp"),
        *("nomic_bert", "openai-gpt", "opt", "pegasus", "pegasus_x", "plbart", "qwen2_5_omni_text"),
        *("qwen3_vl_moe_text", "recurrent_gemma", "roberta", "roberta-prelayernorm", "roformer", "smollm3"),
        *("squeezebert", "starcoder2", "switch_transformers", "t5", "t5_gemma_module", "t5gemma2_decoder"),
        *("trocr", "umt5", "vaultgemma", "whisper", "xglm", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet"),
        *("xmod", "youtu", "zamba", "zamba2", "zaya"),
    )
)
"""Families whose class ties the output table to the input table when the file does not say; the others do not."""

PLAIN = Family()
"""RoPE over the whole head, half layout, theta 10,000: most families."""

UNKNOWN = Family(
    layout=None,
    honours_partial=True,
    rotary_dim_key=True,
    theta_keys=("rope_theta", "rotary_emb_base", "rope_embedding_base"),
    partial_keys=("partial_rotary_factor", "rotary_pct"),
)
"""A family that is not in the table: read by the common field names; which channels pair up is not known."""


def _rope(**settings: Any) -> Mapping[str, Any]:
    return MappingProxyType(settings)


_LLAMA3 = {"factor": 8.0, "original_max_position_embeddings": 8192, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_YARN = {"beta_fast": 32.0, "beta_slow": 1.0}

_GPT_OSS = _rope(rope_type="yarn", factor=32.0, truncate=False, original_max_position_embeddings=4096, **_YARN)
_MINISTRAL3 = _rope(
    rope_type="yarn",
    rope_theta=1e6,
    factor=16.0,
    original_max_position_embeddings=16_384,
    mscale=1.0,
    mscale_all_dim=1.0,
    **_YARN,
)
_MISTRAL4 = _rope(
    rope_type="yarn",
    rope_theta=10_000.0,
    factor=128.0,
    original_max_position_embeddings=8192,
    mscale=1.0,
    mscale_all_dim=1.0,
    **_YARN,
)
_GEMMA4 = _rope(
    sliding_attention={"rope_type": "default", "rope_theta": 10_000.0},
    full_attention={"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
)
_LAGUNA = _rope(
    full_attention={"rope_type": "default", "rope_theta": 500_000.0, "partial_rotary_factor": 0.5},
    sliding_attention={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
)
_MELLUM = _rope(
    full_attention={"rope_type": "default", "rope_theta": 500_000.0},
    sliding_attention={"rope_type": "default", "rope_theta": 10_000.0},
)
_ZAYA = _rope(
    hybrid={"rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5},
    hybrid_sliding={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
)

_EVERY_4TH_FULL = Pattern(period=4, key="full_attention_interval", elsewhere="linear_attention")
_SLIDING_4 = Pattern(period=4, key="sliding_window_pattern")
_SLIDING_6 = Pattern(period=6, key="sliding_window_pattern")
_MODERNBERT = Pattern(period=3, key="global_attn_every_n_layers", first=True)

_GEMMA3 = Family(
    rope_theta=1e6,
    local_theta=10_000.0,
    local_theta_key="rope_local_base_freq",
    pattern=_SLIDING_6,
    per_layer_type=True,
    embedding_scale="sqrt_rounded",
)
_MODERN_BERT = Family(
    rope_theta=160_000.0,
    local_theta=10_000.0,
    theta_keys=("global_rope_theta",),
    local_theta_key="local_rope_theta",
    pattern=_MODERNBERT,
    per_layer_type=True,
    embedding_norm="norm",
)
_QWEN3_5 = Family(
    partial_rotary_factor=0.25,
    honours_partial=True,
    mrope="interleaved",
    mrope_section=(11, 11, 10),
    pattern=_EVERY_4TH_FULL,
)
_DEEPSEEK_V3 = Family(layout=IN_HALF_OUT, latent=True)
_MINIMAX_M2 = Family(rope_theta=5e6, honours_partial=True, rotary_dim_key=True)
_HALF_HEAD = Family(partial_rotary_factor=0.5, honours_partial=True)
_GLM = Family(layout=INTERLEAVED, partial_rotary_factor=0.5, honours_partial=True)
_QWEN2_VL = Family(rope_theta=1e6, mrope="sectioned", mrope_section=(16, 24, 24))
_QWEN3_VL = Family(rope_theta=5e5, mrope="interleaved", mrope_section=(24, 20, 20))
_GEMMA = Family(embedding_scale="sqrt_rounded")
_GRANITE = Family(embedding_scale="embedding_multiplier")
_LEARNED = Family(kind="learned")
_BERT = Family(kind="learned", embedding_norm="LayerNorm")
_ROBERTA = Family(kind="learned", row_offset="padding", embedding_norm="LayerNorm")
_BART = Family(
    kind="learned",
    row_offset=2,
    extra_rows=True,
    embedding_scale="scale_embedding",
    embedding_norm="layernorm_embedding",
)
_SINUSOIDAL = Family(kind="sinusoidal", embedding_scale="scale_embedding")
_T5 = Family(kind="relative")
_NONE = Family(kind="none")

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(
        (
            *("llama", "arcee", "aria_text", "chameleon", "dbrx", "diffllama", "doge", "dots1", "eurobert", "falcon"),
            *("jetmoe", "ministral", "mistral", "olmo", "olmo2", "olmoe"),
            *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "starcoder2", "zamba2"),
        ),
        PLAIN,
    ),
    # The bundled model and its kin: a static embedding table with RoPE settings to look at, defined by this project.
    "embtool_static": Family(partial_rotary_factor=1.0, honours_partial=True),
    # RoPE, half layout, a theta of their own
    "apertus": Family(rope_theta=1.2e7, rope_parameters=_rope(rope_type="llama3", rope_theta=1.2e7, **_LLAMA3)),
    "bitnet": Family(rope_theta=500_000.0),
    "cwm": Family(
        rope_theta=1e6, rope_parameters=_rope(rope_type="llama3", rope_theta=1e6, **{**_LLAMA3, "factor": 16.0})
    ),
    "hunyuan_v1_dense": Family(dynamic_ntk="alpha"),
    "hunyuan_v1_moe": Family(dynamic_ntk="alpha"),
    "flex_olmo": Family(rope_theta=500_000.0),
    "gpt_oss": Family(rope_theta=150_000.0, rope_parameters=_GPT_OSS),
    "ministral3": Family(rope_parameters=_MINISTRAL3),
    "mixtral": Family(rope_theta=1e6),
    "mllama_text_model": Family(rope_theta=500_000.0),
    "nanochat": Family(clockwise=True),
    "nomic_bert": Family(rope_theta=1000.0, theta_keys=("rope_theta", "rotary_emb_base"), embedding_norm="LayerNorm"),
    "phimoe": Family(rope_theta=1e6),
    # RoPE, half layout, part of the head
    "bamba": _HALF_HEAD,
    "glm4_moe": Family(partial_rotary_factor=0.5, honours_partial=True, odd_rotary_dim=True),
    "glm4v_moe_text": Family(
        partial_rotary_factor=0.5,
        honours_partial=True,
        mrope="sectioned",
        mrope_section=(8, 12, 12),
        odd_rotary_dim=True,
    ),
    "gpt_neox": Family(
        partial_rotary_factor=0.25, honours_partial=True, partial_keys=("rotary_pct",), theta_keys=("rotary_emb_base",)
    ),
    "gpt_neox_japanese": Family(
        partial_rotary_factor=1.0, honours_partial=True, partial_keys=("rotary_pct",), theta_keys=("rotary_emb_base",)
    ),
    "minimax_m2": _MINIMAX_M2,
    "minimax_m3_vl_text": _MINIMAX_M2,
    "nemotron": _HALF_HEAD,
    "persimmon": _HALF_HEAD,
    "phi": _HALF_HEAD,
    "phi3": Family(partial_rotary_factor=1.0, honours_partial=True),
    "phi4_multimodal": Family(partial_rotary_factor=1.0, honours_partial=True),
    "qwen": Family(
        partial_rotary_factor=1.0,
        honours_partial=True,
        partial_keys=("rotary_pct",),
        theta_keys=("rotary_emb_base",),
        dynamic_ntk="qwen",
    ),
    "recurrent_gemma": Family(partial_rotary_factor=0.5, honours_partial=True, embedding_scale="sqrt_rounded"),
    "solar_open": Family(rope_theta=1e6, partial_rotary_factor=1.0, honours_partial=True),
    "stablelm": Family(
        partial_rotary_factor=0.25, honours_partial=True, partial_keys=("partial_rotary_factor", "rope_pct")
    ),
    # RoPE, interleaved pairs
    "chatglm": Family(layout=INTERLEAVED, partial_rotary_factor=0.5, honours_partial=True),
    "codegen": Family(layout=INTERLEAVED, rotary_dim_key=True, rotary_dim=64, honours_partial=True),
    "cohere": Family(layout=INTERLEAVED, rope_theta=500_000.0),
    "cohere2": Family(layout=INTERLEAVED, pattern=_SLIDING_4, nope="full_attention", sliding_window=4096),
    "cohere2_moe": Family(layout=INTERLEAVED, pattern=_SLIDING_4, nope="full_attention", sliding_window=4096),
    "ernie4_5": Family(layout=INTERLEAVED, rope_theta=500_000.0),
    "ernie4_5_moe": Family(layout=INTERLEAVED, rope_theta=500_000.0),
    "ernie4_5_vl_moe_text": Family(
        layout=INTERLEAVED, rope_theta=500_000.0, mrope="height-width-time", mrope_section=(22, 22, 20)
    ),
    "glm": _GLM,
    "glm4": _GLM,
    "glm4v_text": Family(
        layout=INTERLEAVED,
        partial_rotary_factor=1.0,
        honours_partial=True,
        mrope="sectioned",
        mrope_section=(8, 12, 12),
    ),
    "gptj": Family(layout=INTERLEAVED, rotary_dim_key=True, rotary_dim=64, honours_partial=True),
    "helium": Family(layout=INTERLEAVED, rope_theta=100_000.0),
    "llama4_text": Family(layout=INTERLEAVED, rope_theta=500_000.0, nope="no_rope_layers"),
    "openai_privacy_filter": Family(layout=INTERLEAVED, rope_theta=150_000.0, rope_parameters=_GPT_OSS),
    "roformer": Family(layout=INTERLEAVED, embedding_norm="LayerNorm"),
    # RoPE on a separate part of each head (latent attention)
    "deepseek_v2": Family(layout=INTERLEAVED, latent=True),
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v32": _DEEPSEEK_V3,
    "glm4_moe_lite": Family(layout=IN_HALF_OUT, latent=True, honours_partial=True),
    "glm_moe_dsa": _DEEPSEEK_V3,
    "longcat_flash": Family(layout=IN_HALF_OUT, latent=True, rope_theta=1e7),
    "minicpm3": Family(latent=True, qk_rope_head_dim=32, embedding_scale="scale_emb"),
    "mistral4": Family(layout=IN_HALF_OUT, latent=True, rope_parameters=_MISTRAL4),
    "youtu": _DEEPSEEK_V3,
    # RoPE on the last part of each head
    "deepseek_v4": Family(
        layout=INTERLEAVED,
        rotated_part="last",
        partial_rotary_factor=64 / 512,
        honours_partial=True,
        local_theta=160_000.0,
        local_theta_key="compress_rope_theta",
        per_layer_type=True,
        labels=("main", "compress"),
    ),
    # Three positions per token
    "qwen2_5_omni_text": _QWEN2_VL,
    "qwen2_5_vl_text": _QWEN2_VL,
    "qwen2_vl_text": _QWEN2_VL,
    "qwen3_omni_moe_text": Family(rope_theta=1e6, mrope="interleaved", mrope_section=(24, 20, 20)),
    "qwen3_vl_moe_text": _QWEN3_VL,
    "qwen3_vl_text": _QWEN3_VL,
    # RoPE on some of the layers
    "afmoe": Family(
        pattern=Pattern(period=4, key="global_attn_every_n_layers"), nope="full_attention", sliding_window=1024
    ),
    "exaone4": Family(pattern=_SLIDING_4, nope="full_attention", sliding_window=4096),
    "exaone_moe": Family(pattern=_SLIDING_4, nope="full_attention", sliding_window=4096),
    "lfm2": Family(rope_theta=1e6),
    "lfm2_moe": Family(rope_theta=1e6),
    "minimax": Family(
        rope_theta=1e6,
        rotary_dim_key=True,
        pattern=Pattern(period=2, elsewhere="linear_attention", first=True),
    ),
    "olmo_hybrid": Family(pattern=Pattern(period=4, elsewhere="linear_attention")),
    "qwen3_5_moe_text": _QWEN3_5,
    "qwen3_5_text": _QWEN3_5,
    "qwen3_next": Family(partial_rotary_factor=0.25, honours_partial=True, pattern=_EVERY_4TH_FULL),
    "smollm3": Family(rope_theta=2e6, nope="no_rope_layers"),
    # Different RoPE per layer type
    "gemma3_text": _GEMMA3,
    "gemma3n_text": Family(
        rope_theta=1e6,
        local_theta=10_000.0,
        local_theta_key="rope_local_base_freq",
        pattern=Pattern(period=5),
        per_layer_type=True,
        embedding_scale="sqrt_rounded",
    ),
    "gemma4_text": Family(
        pattern=Pattern(period=6),
        per_layer_type=True,
        global_head_dim=512,
        rope_parameters=_GEMMA4,
        embedding_scale="sqrt_rounded",
    ),
    "laguna": Family(
        pattern=Pattern(period=1),
        partial_rotary_factor=1.0,
        honours_partial=True,
        per_layer_type=True,
        rope_parameters=_LAGUNA,
    ),
    "mellum": Family(
        pattern=Pattern(period=1),
        partial_rotary_factor=1.0,
        honours_partial=True,
        per_layer_type=True,
        rope_parameters=_MELLUM,
    ),
    "mimo_v2_flash": Family(
        odd_rotary_dim=True,
        rope_theta=5e6,
        local_theta=10_000.0,
        local_theta_key="swa_rope_theta",
        partial_rotary_factor=0.334,
        honours_partial=True,
        per_layer_type=True,
    ),
    "modernbert": _MODERN_BERT,
    "modernbert-decoder": _MODERN_BERT,
    "olmo3": Family(
        rope_theta=500_000.0,
        local_theta=500_000.0,
        local_theta_key="rope_theta",
        pattern=_SLIDING_4,
        per_layer_type=True,
    ),
    "t5gemma2_decoder": _GEMMA3,
    "zaya": Family(
        pattern=Pattern(period=1, at="hybrid"),
        partial_rotary_factor=0.5,
        honours_partial=True,
        per_layer_type=True,
        labels=("hybrid", "hybrid_sliding"),
        rope_parameters=_ZAYA,
    ),
    # RoPE, and rows scaled after the lookup
    "falcon_h1": _GRANITE,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "granite": _GRANITE,
    "granitemoe": _GRANITE,
    "granitemoehybrid": _GRANITE,
    "granitemoeshared": _GRANITE,
    "minicpm": Family(layout=None, honours_partial=True, embedding_scale="scale_emb"),
    "t5_gemma_module": _GEMMA,
    "vaultgemma": _GEMMA,
    # A learned table, added to the token row
    "albert": _BERT,
    "bart": _BART,
    "bert": _BERT,
    "bert-generation": _BERT,
    "big_bird": _BERT,
    "bigbird_pegasus": Family(kind="learned", embedding_scale="scale_embedding", embedding_norm="layernorm_embedding"),
    "biogpt": Family(kind="learned", row_offset=2, extra_rows=True, embedding_scale="scale_embedding"),
    "blenderbot": Family(kind="learned", embedding_scale="scale_embedding"),
    "blenderbot-small": Family(kind="learned", embedding_scale="scale_embedding", embedding_norm="layernorm_embedding"),
    "camembert": _ROBERTA,
    "convbert": _BERT,
    "data2vec-text": _ROBERTA,
    "deberta": _BERT,
    "deberta-v2": _BERT,
    "distilbert": _BERT,
    "electra": _BERT,
    "ernie": _BERT,
    "esm": Family(kind="learned", row_offset="padding"),
    "gpt2": _LEARNED,
    "gpt_bigcode": _LEARNED,
    "gpt_neo": Family(kind="learned", honours_partial=True, rotary_dim_key=True, rotary_dim=64),
    "ibert": _ROBERTA,
    "longformer": _ROBERTA,
    "mbart": _BART,
    "mobilebert": _BERT,
    "mpnet": _ROBERTA,
    "mvp": _BART,
    "openai-gpt": _LEARNED,
    "opt": Family(kind="learned", row_offset=2, extra_rows=True),
    "plbart": _BART,
    "reformer": _LEARNED,
    "rembert": _BERT,
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "squeezebert": _BERT,
    "trocr": _BART,
    "whisper": Family(kind="learned", embedding_scale="scale_embedding"),
    "xlm": _BERT,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _ROBERTA,
    "xmod": _ROBERTA,
    # A fixed table of sines and cosines, added to the token row
    "ctrl": Family(kind="sinusoidal", embedding_scale="sqrt"),
    "marian": _SINUSOIDAL,
    "pegasus": _SINUSOIDAL,
    "pegasus_x": _SINUSOIDAL,
    "xglm": Family(kind="sinusoidal", row_offset=2, embedding_scale="scale_embedding"),
    # A bias on the scores of attention, by distance
    "baichuan": PLAIN,
    "bloom": Family(kind="alibi", embedding_norm="word_embeddings_layernorm"),
    "longt5": _T5,
    "mpt": Family(kind="alibi"),
    "mt5": _T5,
    "switch_transformers": _T5,
    "t5": _T5,
    "umt5": _T5,
    "xlnet": _T5,
    # No positions at all
    "falcon_mamba": _NONE,
    "jamba": _NONE,
    "mamba": _NONE,
    "mamba2": _NONE,
    "nemotron_h": _NONE,
    "rwkv": _NONE,
    "static": _NONE,  # word2vec, GloVe, fastText
    "xlstm": _NONE,
    "zamba": _NONE,
}

SAME_AS: Mapping[str, str] = {
    # Names in files whose code is not part of transformers, and the family they are built like.
    "kimi_k2": "deepseek_v3",
    "nemotron-nas": "llama",
    "phi4mm": "phi4_multimodal",
    "internlm3": "llama",
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
}

TEXT_TYPES: Mapping[str, str] = {
    # The language model inside a composite one, when the nested config does not name its own model_type.
    "aria": "aria_text",
    "aya_vision": "cohere2",
    "deepseek_vl_v2": "deepseek_v2",
    "ernie4_5_vl_moe": "ernie4_5_vl_moe_text",
    "fuyu": "persimmon",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "glm4v": "glm4v_text",
    "glm4v_moe": "glm4v_moe_text",
    "idefics2": "mistral",
    "idefics3": "llama",
    "internvl": "qwen2",
    "kimi_k25": "deepseek_v3",
    "llama4": "llama4_text",
    "llava": "llama",
    "llava_next": "llama",
    "llava_next_video": "llama",
    "llava_onevision": "qwen2",
    "minicpmv4_6": "qwen3_5_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
    "mistral3": "mistral",
    "mllama": "mllama_text_model",
    "multi_modality": "llama",
    "paligemma": "gemma",
    "qwen2_5_omni": "qwen2_5_omni_text",
    "qwen2_5_omni_thinker": "qwen2_5_omni_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen2_audio": "qwen2",
    "qwen2_vl": "qwen2_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_omni_moe": "qwen3_omni_moe_text",
    "qwen3_omni_moe_thinker": "qwen3_omni_moe_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "smolvlm": "llama",
    "t5gemma": "t5_gemma_module",
    "t5gemma2": "t5gemma2_decoder",
    "video_llava": "llama",
    "vipllava": "llama",
    "voxtral": "llama",
}

TIED_COMPOSITES: Mapping[str, bool] = {
    # What the outer class assumes about tying, where that is not what its language model assumes.
    "aya_vision": True,
    "gemma3": True,
    "gemma3n": True,
    "gemma4": True,
    "internvl": True,
    "llava": False,
    "llava_next": False,
    "mistral3": True,
    "paligemma": True,
}

NESTING: tuple[tuple[str, ...], ...] = (
    # Where composite files keep the config of their language model, in the order tried. Never searched recursively:
    # vision and audio parts have a hidden_size and a rope_theta of their own.
    ("text_config",),
    ("thinker_config", "text_config"),
    ("llm_config",),
    ("language_config",),
    ("decoder",),
    ("generator",),
    ("text_encoder",),
)

EMBEDDING_SIZES: Mapping[str, int] = {"albert": 128, "electra": 128, "mobilebert": 128, "rembert": 256}
"""Width of a row where the class makes it narrower than `hidden_size`."""

TOKEN_TYPES: Mapping[str, int] = {
    # Rows of the token-type table when the file does not say.
    **dict.fromkeys(("albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "electra", "ernie"), 2),
    **dict.fromkeys(
        ("ibert", "longformer", "mobilebert", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm"), 2
    ),
    **dict.fromkeys(("roformer", "squeezebert", "xlm-roberta", "xmod"), 2),
    "xlm-roberta-xl": 1,
}

SCALES_EMBEDDING: Mapping[str, bool] = {"bigbird_pegasus": True, "biogpt": True, "xglm": True}
"""Families whose class default of `scale_embedding` is true."""

EMBEDDING_MULTIPLIERS: Mapping[str, float] = {"minicpm3": 12.0}
"""The multiplier of families that scale rows by a number of the config, when the file does not say; else 1."""
