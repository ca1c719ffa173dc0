"""What is known of the families of language models: the facts a config file leaves out.

A config file states what its model does differently; the rest is in the code of its class. What can be seen by
building and running that is recorded (`embtool.configs.architectures`); this module makes a `Family` of a recording,
and says what none can say: the dialects of older files, families whose code is not in transformers, and what was
decided where transformers is wrong or silent (`docs/positions.md`). `embtool.configs.config` and `embtool.positions`
read it; nothing is computed here.

To add a family that transformers knows: `make families`. To add another: `DECIDED`, and its sizes in `SHAPES`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from embtool.configs.architectures import Shape, architecture, recorded_types

PositionKind = Literal["rope", "learned", "alibi", "relative", "sinusoidal", "none", "unknown"]
"""The `kind` of a position scheme, as `embtool info` names it."""

Layout = Literal["half", "interleaved", "interleaved-in-half-out"]
"""Which two channels make a pair, and where the turned pair is stored."""

HALF: Layout = "half"
INTERLEAVED: Layout = "interleaved"
IN_HALF_OUT: Layout = "interleaved-in-half-out"


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
        nope: The rule that leaves layers without positions: "no_rope_layers" reads that list, "layer_rope_theta" a list
            in which they have 0, "cross_attention_layers" one that names them; "full_attention" exempts those layers
            when the model has a sliding window.
        theta_by_layer: Whether theta is that of `layer_rope_theta`, where the file has it.
        stacked: Whether the model has other stacks of layers than its config counts, all of which turn.
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
        before: What becomes of rows before anything is added: normalized, or shifted by a trained bias and scale.
        first_position: The position of the first token.
        last_included: Sinusoidal tables: whether the slowest wave is exactly 10,000 times slower than the fastest.
        alternating_sines: Sinusoidal tables: whether sines and cosines take turns.
        trained_frequencies: The tensor that the frequencies are multiplied by, e to its power, in each layer.
        sum_known: Whether it was seen what becomes of a row before the first block.
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
    nope: Literal["no_rope_layers", "layer_rope_theta", "cross_attention_layers", "full_attention"] | None = None
    stacked: bool = False
    theta_by_layer: bool = False
    rope_parameters: Mapping[str, Any] | None = None
    row_offset: int | Literal["padding"] = 0
    extra_rows: bool = False
    embedding_scale: (
        Literal["sqrt", "sqrt_rounded", "embedding_multiplier", "scale_emb", "scale_embedding", "token_dropout"] | None
    ) = None
    embedding_norm: str | None = None
    odd_rotary_dim: bool = False
    dynamic_ntk: Literal["alpha", "qwen"] | None = None
    global_head_dim: int | None = None
    sliding_window: int | None = None
    before: Literal["normalized", "shifted"] | None = None
    first_position: int = 0
    last_included: bool = False
    alternating_sines: bool = False
    trained_frequencies: str | None = None
    sum_known: bool = True


SHAPES: Mapping[str, Shape] = {
    "t5_gemma_module": Shape(256_000, 2304, 26, 8, 256, 8192),
    "zamba": Shape(32_000, 3712, 76, 16, None, 4096),
}
"""Sizes that classes assume which transformers does not have, or could not be built."""

TIED: frozenset[str] = frozenset(
    (
        "ernie4_5_vl_moe_text",
        "ibert",
        "qwen2_5_omni_text",
        "qwen3_vl_moe_text",
        "t5_gemma_module",
        "t5gemma2_decoder",
        "zamba",
    )
)
"""Families that tie the output table to the input table when the file does not say, where that was not recorded."""

UNKNOWN = Family(
    kind="unknown",
    layout=None,
    honours_partial=True,
    rotary_dim_key=True,
    sum_known=False,
    theta_keys=("rope_theta", "rotary_emb_base", "rope_embedding_base"),
    partial_keys=("partial_rotary_factor", "rotary_pct"),
)
"""A family that is not in the table: read by the common field names; which channels pair up is not known."""


_EVERY_4TH_FULL = Pattern(period=4, key="full_attention_interval", elsewhere="linear_attention")
_SLIDING_4 = Pattern(period=4, key="sliding_window_pattern")
_SLIDING_6 = Pattern(period=6, key="sliding_window_pattern")
_MODERNBERT = Pattern(period=3, key="global_attn_every_n_layers", first=True)

DECIDED: Mapping[str, Mapping[str, Any]] = {
    **{name: {} for name in ("zamba2", "baichuan")},
    "embtool_static": {"partial_rotary_factor": 1.0, "honours_partial": True},
    **{name: {"pattern": None} for name in ("cwm", "gemma2")},
    **{name: {"dynamic_ntk": "alpha"} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe")},
    **{name: {"nope": "layer_rope_theta", "theta_by_layer": True} for name in ("granite_swa", "granitemoe_swa")},
    "glm_image_text": {"honours_partial": True, "sum_known": False},
    "hunyuan_vl_text": {"dynamic_ntk": "alpha", "sum_known": False},  # it runs with images only
    "ministral3": {"rope_theta": 10_000.0},
    "nomic_bert": {"theta_keys": ("rope_theta", "rotary_emb_base")},
    "glm4_moe": {"odd_rotary_dim": True},
    "glm4v_moe_text": {
        "partial_rotary_factor": 0.5,
        "honours_partial": True,
        "mrope": "sectioned",
        "mrope_section": (8, 12, 12),
        "odd_rotary_dim": True,
    },
    **{
        name: {"theta_keys": ("rotary_emb_base",), "partial_keys": ("rotary_pct",)}
        for name in ("gpt_neox", "gpt_neox_japanese")
    },
    **{name: {"rotary_dim_key": True} for name in ("minimax_m2", "minimax_m3_vl_text", "minimax")},
    "qwen": {
        "theta_keys": ("rotary_emb_base",),
        "partial_rotary_factor": 1.0,
        "honours_partial": True,
        "partial_keys": ("rotary_pct",),
        "dynamic_ntk": "qwen",
    },
    "recurrent_gemma": {"pattern": None, "embedding_scale": "sqrt_rounded"},
    "stablelm": {"partial_keys": ("partial_rotary_factor", "rope_pct")},
    "chatglm": {"layout": INTERLEAVED, "partial_rotary_factor": 0.5, "honours_partial": True},
    **{
        name: {"layout": INTERLEAVED, "honours_partial": True, "rotary_dim_key": True, "rotary_dim": 64}
        for name in ("codegen", "gptj")
    },
    **{
        name: {"pattern": _SLIDING_4, "sliding_window": 4096}
        for name in ("cohere2", "cohere2_moe", "exaone4", "exaone_moe")
    },
    "ernie4_5_vl_moe_text": {"layout": INTERLEAVED, "mrope": "height-width-time", "mrope_section": (22, 22, 20)},
    "glm4v_text": {
        "layout": INTERLEAVED,
        "partial_rotary_factor": 1.0,
        "honours_partial": True,
        "mrope": "sectioned",
        "mrope_section": (8, 12, 12),
    },
    "llama4_text": {"pattern": None, "nope": "no_rope_layers"},
    "roformer": {"layout": INTERLEAVED, "embedding_norm": "LayerNorm"},
    "minicpm3": {"qk_rope_head_dim": 32, "embedding_scale": "scale_emb"},
    "mistral4": {
        "partial_rotary_factor": None,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 128.0,
            "original_max_position_embeddings": 8192,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
        },
    },
    "deepseek_v4": {
        "local_theta": 160_000.0,
        "local_theta_key": "compress_rope_theta",
        "partial_rotary_factor": 0.125,
        "latent": False,
        "labels": ("main", "compress"),
        "rope_parameters": None,
    },
    **{
        name: {"mrope": "sectioned", "mrope_section": (16, 24, 24)}
        for name in ("qwen2_5_omni_text", "qwen2_5_vl_text", "qwen2_vl_text")
    },
    **{
        name: {"mrope": "interleaved", "mrope_section": (24, 20, 20)}
        for name in ("qwen3_omni_moe_text", "qwen3_vl_moe_text", "qwen3_vl_text")
    },
    "afmoe": {"pattern": Pattern(period=4, key="global_attn_every_n_layers"), "sliding_window": 1024},
    **{
        name: {"mrope": "interleaved", "mrope_section": (11, 11, 10), "pattern": _EVERY_4TH_FULL}
        for name in ("qwen3_5_moe_text", "qwen3_5_text")
    },
    "qwen3_next": {"pattern": _EVERY_4TH_FULL},
    "smollm3": {"nope": "no_rope_layers"},
    "gemma3_text": {
        "rope_theta": 1_000_000.0,
        "local_theta": 10_000.0,
        "local_theta_key": "rope_local_base_freq",
        "pattern": _SLIDING_6,
        "rope_parameters": None,
    },
    "gemma3n_text": {
        "rope_theta": 1_000_000.0,
        "local_theta": 10_000.0,
        "local_theta_key": "rope_local_base_freq",
        "rope_parameters": None,
    },
    **{name: {"global_head_dim": 512} for name in ("gemma4_text", "gemma4_unified_text", "embedding_gemma2_text")},
    **{name: {"pattern": Pattern(period=1)} for name in ("laguna", "mellum")},
    "mimo_v2_flash": {
        "rope_theta": 5_000_000.0,
        "local_theta": 10_000.0,
        "local_theta_key": "swa_rope_theta",
        "partial_rotary_factor": 0.334,
        "rope_parameters": None,
        "odd_rotary_dim": True,
    },
    **{
        name: {
            "rope_theta": 160_000.0,
            "local_theta": 10_000.0,
            "theta_keys": ("global_rope_theta",),
            "local_theta_key": "local_rope_theta",
            "pattern": _MODERNBERT,
            "rope_parameters": None,
        }
        for name in ("modernbert", "modernbert-decoder")
    },
    "olmo3": {
        "rope_theta": 500_000.0,
        "local_theta": 500_000.0,
        "local_theta_key": "rope_theta",
        "pattern": _SLIDING_4,
        "rope_parameters": None,
    },
    "t5gemma2_decoder": {
        "rope_theta": 1_000_000.0,
        "local_theta": 10_000.0,
        "local_theta_key": "rope_local_base_freq",
        "pattern": _SLIDING_6,
        "per_layer_type": True,
        "embedding_scale": "sqrt_rounded",
    },
    "zaya": {"pattern": Pattern(period=1, at="hybrid"), "before": "shifted", "sum_known": True},
    "granitemoehybrid": {"embedding_scale": "embedding_multiplier"},
    "minicpm": {"layout": None, "honours_partial": True, "embedding_scale": "scale_emb"},
    "t5_gemma_module": {"embedding_scale": "sqrt_rounded"},
    "bigbird_pegasus": {"embedding_norm": "layernorm_embedding"},
    "blenderbot-small": {"before": "normalized", "kind": "learned", "embedding_scale": "scale_embedding"},
    "esm": {"row_offset": "padding", "embedding_scale": "token_dropout"},
    "gpt_neo": {"honours_partial": True, "rotary_dim_key": True, "rotary_dim": 64},
    **{
        name: {"kind": "learned", "row_offset": "padding", "embedding_norm": "LayerNorm"}
        for name in ("ibert", "longformer", "xmod")
    },
    "mobilebert": {"kind": "learned", "embedding_norm": "LayerNorm"},
    "mpnet": {"row_offset": "padding"},
    "opt": {"kind": "learned", "row_offset": 2, "extra_rows": True},
    "reformer": {"kind": "learned"},
    "pegasus": {"kind": "sinusoidal"},
    "bloom": {"kind": "alibi", "embedding_norm": "word_embeddings_layernorm"},
    **{
        name: {"kind": "relative"}
        for name in ("longt5", "mt5", "switch_transformers", "t5", "umt5", "xlnet", "udop", "pop2piano")
    },
    "mpt": {"kind": "alibi"},
    **{
        name: {"kind": "none"}
        for name in (
            "falcon_mamba",
            "jamba",
            "mamba",
            "mamba2",
            "nemotron_h",
            "rwkv",
            "static",
            "xlstm",
            "zamba",
            "kimi_linear",
            "glm5_next",
            "glm5_next_text",
        )
    },
    "xlm": {"alternating_sines": True},
    "mllama_text_model": {"nope": "cross_attention_layers"},
    **{name: {"stacked": True} for name in ("hrm_text", "dory")},
    **{name: {"nope": "layer_rope_theta"} for name in ("muse_glimmer_text", "muse_spark_text")},
    "flint": {"nope": "full_attention"},
    "mistral_large4_text": {"latent": True, "trained_frequencies": "rotary_emb.alpha", "nope": "no_rope_layers"},
    **{
        name: {"sum_known": False}
        for name in (
            "cohere_compass_text",
            "deepseek_ocr2_text",
            "gradium_phonon_tts",
            "iquestcoder",
            "jais2",
            "moshi",
            "pocket_tts",
            "unlimited_ocr_text",
            "molmo2_text",
        )
    },
    "exaone": {"sum_known": False, "rope_theta": 500_000.0},
    "sarvam_moe": {"sum_known": False, "rope_theta": 8_000_000.0, "partial_rotary_factor": 1.0},
    "lara_mini": {"stacked": True, "sum_known": False},
    "sarvam_mla": {"layout": IN_HALF_OUT, "latent": True, "sum_known": False},
    "moonshine": {
        "layout": INTERLEAVED,
        "partial_rotary_factor": 0.9,
        "honours_partial": True,
        "odd_rotary_dim": True,
        "sum_known": False,
    },
}
"""What is said of families beside what was seen of them: the names of older files, families that transformers does not
have or that could not be built and run, and what was decided against it, by the fields of `Family`."""

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
    # The language model inside a composite one that was not recorded, when its own config does not name it.
    "deepseek_vl_v2": "deepseek_v2",
    "gemma3n": "gemma3n_text",
    "multi_modality": "llama",
    "qwen2_5_omni": "qwen2_5_omni_text",
    "qwen3_omni_moe": "qwen3_omni_moe_text",
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


TIED_INSIDE = frozenset({"vision-encoder-decoder", "speech-encoder-decoder"})
"""Composites whose decoder ties itself, by its own config; what the whole file says is not read."""


# --- What was decided, or else what was seen --------------------------------------------------------------------------


@functools.cache
def family_of(key: str) -> Family:
    """Return what is known of a family: what was decided of it, what was seen of it, or `UNKNOWN`."""
    recorded = architecture(key)
    recorded_family = None if recorded is None else recorded.family
    seen = {name: _SEEN[name](value) if name in _SEEN else value for name, value in (recorded_family or {}).items()}
    if recorded_family is None and key not in DECIDED:
        return UNKNOWN
    return Family(**{**seen, **DECIDED.get(key, {})})


_SEEN: Mapping[str, Any] = {"pattern": lambda value: Pattern(**value), "labels": tuple}
"""How the fields of a recorded family are read, where they are not what they are written as."""


def known_families() -> tuple[str, ...]:
    """List the families of which it is known how they know positions, in alphabetical order."""
    return tuple(name for name in sorted({*DECIDED, *recorded_types()}) if family_of(name) is not UNKNOWN)


def shape_of(key: str) -> Shape:
    """Return the sizes that a class assumes; all None where it is not known."""
    recorded = architecture(key)
    if recorded is not None and recorded.shape is not None:
        return recorded.shape
    return SHAPES.get(key, Shape(None, None, None, None, None, None))


def text_type_of(top: str) -> str:
    """Return the type of the language model inside a composite one, when its own config does not name it."""
    recorded = architecture(top)
    if top in TEXT_TYPES:
        return TEXT_TYPES[top]
    return top if recorded is None or recorded.text_type is None else recorded.text_type


def nesting_of(top: str | None) -> tuple[tuple[str, ...], ...]:
    """Return where a config keeps its language model, the place that is tried first first."""
    recorded = architecture(top) if top else None
    return (recorded.text, *NESTING) if recorded is not None and recorded.text else NESTING


def is_tied(top: str | None, key: str) -> bool | None:
    """Return whether the classes tie the output table to the input table when the file does not say; None: not known.

    `top` is the type of the whole model, `key` that of the language model inside.
    """
    outer, inner = (architecture(name) if name else None for name in (top, key))
    decided_inside = outer is not None and outer.text and outer.tie_at and () not in outer.tie_at
    if outer is not None and outer.tied is not None and not decided_inside:
        return outer.tied
    if inner is not None and inner.tied is not None:
        return inner.tied
    if outer is not None and outer.tied is not None:
        return outer.tied
    return True if key in TIED else False if key in SHAPES else None
