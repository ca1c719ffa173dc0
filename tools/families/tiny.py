"""Every architecture of an installed transformers that takes token ids, as small as it can be built.

A config of the class's own defaults is cut down by the names of its fields: two heads of the usual width, four layers,
199 tokens. What the names do not tell is said in `CHANGES`.
"""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

VOCABULARY = 199
LAYERS = 4
TOWER_LAYERS = 2
HEADS = 2
INNER = 64
EXPERTS = 4

LARGE = 1 << 21
"""Numbers of a parameter that is no table of a tiny model."""

HEADED = (
    *("CAUSAL_LM", "MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "MASKED_LM"),
    *("PRETRAINING", "TEXT_TO_WAVEFORM", "TEXT_TO_SPECTROGRAM"),
)
"""Kinds of model that predict tokens, the one that is taken first first."""

TOWERS = re.compile(r"vision|image|audio|speech|codec|vq|video|encoder_config$|qformer|perceiver|depth|talker|dit")
"""Parts of a config that are no language model."""

COUNTS: Mapping[str, int] = {
    r"(num|n)_(hidden_)?layers?|n_layers?|(en|de)coder_layers|num_(en|de)coder_layers|num_transformer_layers": LAYERS,
    r"(num_)?(attention_)?heads|num_attention_heads|n_heads?|num_heads|.*coder_attention_heads|.*_num_heads": HEADS,
    r"(num|n)_(local_|routed_|moe_)?experts|moe_num_experts|n_routed_experts": EXPERTS,
    r"n_groups?|topk_group|num_expert_group|num_limited_groups|moe_topk_group": 1,
    r".*intermediate_size|.*ffn_dim|n_inner|d_ff|.*_ff(n)?_(size|dim)|ffn_hidden_size|ffn_intermediate": INNER,
}


def text_takers() -> Iterator[str]:
    """Yield the model types whose classes take token ids."""
    for kind in CONFIG_MAPPING:
        if classes(kind):
            yield kind


def classes(kind: str) -> list[type[PreTrainedModel]]:
    """Return the classes of a model type that take token ids, those that predict tokens first, the bare one last."""
    try:
        config_class = CONFIG_MAPPING[kind]
        name = config_class.__module__.replace(".configuration_", ".modeling_")
        module = importlib.import_module(name)
    except (ImportError, KeyError):
        return []
    values: list[Any] = list(vars(module).values())
    found = [
        each
        for each in values
        if inspect.isclass(each) and issubclass(each, PreTrainedModel) and each.__module__ == module.__name__
        if getattr(each, "config_class", None) is config_class and takes_tokens(each)
    ]
    try:
        both = bool(config_class().is_encoder_decoder)
    except Exception:  # noqa: BLE001 - a class without defaults
        both = False
    return sorted(found, key=lambda each: rank(kind, each, both=both))


def bare(kind: str) -> type[PreTrainedModel] | None:
    """Return the class of a model type without a head, if there is one."""
    name = modeling_auto.MODEL_MAPPING_NAMES.get(kind)
    names = (name,) if isinstance(name, str) else name or ()
    return next((each for each in classes(kind) if each.__name__ in names), None)


def takes_tokens(kind: type[PreTrainedModel]) -> bool:
    """Return whether a class's forward takes token ids."""
    try:
        parameters = inspect.signature(kind.forward).parameters
    except (TypeError, ValueError):
        return False
    return not {"input_ids", "decoder_input_ids"}.isdisjoint(parameters)


def rank(kind: str, each: type[PreTrainedModel], *, both: bool) -> tuple[int, int, str]:
    """Return where a class stands among those of its type; `both` is an encoder with a decoder."""
    for place, task in enumerate(HEADED[3:5] + HEADED if both else HEADED):
        names = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").get(kind)
        if each.__name__ in ((names,) if isinstance(names, str) else names or ()):
            return place, 0, each.__name__
    for place, end in enumerate(
        ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForMaskedLM", "ForPreTraining")
    ):
        if each.__name__.endswith(end):
            return len(HEADED), place, each.__name__
    bare = modeling_auto.MODEL_MAPPING_NAMES.get(kind)
    is_bare = each.__name__ in ((bare,) if isinstance(bare, str) else bare or ())
    return len(HEADED) + (1 if is_bare else 2), 0, each.__name__


def whole(kind: str) -> PreTrainedConfig:
    """Return the config of a class's own defaults."""
    return CONFIG_MAPPING[kind]()


def tiny(kind: str, **changes: Any) -> PreTrainedConfig:
    """Return the smallest config of a type that can be built."""
    config_class = CONFIG_MAPPING[kind]
    values = shrunk(config_class().to_dict(), tower=False)
    values.pop("transformers_version", None)
    merged(values, CHANGES.get(kind, {}))
    merged(values, changes)
    return config_class.from_dict(values)


def merged(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put changes into nested values; None of type `Gone` takes one away."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict) and not key.startswith("rope"):
            merged(values[key], value)
        elif value is GONE:
            values.pop(key, None)
        else:
            values[key] = value


GONE = object()


def shrunk(values: dict[str, Any], *, tower: bool) -> dict[str, Any]:
    """Return the fields of a config, each made small."""
    found = {key: small(key, value, tower=tower) for key, value in values.items()}
    layers = next((values[key] for key in LAYER_KEYS if isinstance(values.get(key), int)), None)
    for key, value in values.items():
        if isinstance(value, list) and len(value) == layers and key not in WHOLE_LISTS:
            del found[key]  # the class writes one of its own for fewer layers
    kinds = values.get("layer_types")
    if isinstance(kinds, list) and kinds and not tower:
        key = next(key for key in LAYER_KEYS if isinstance(values.get(key), int))
        found[key] = max(found[key], 1 + max(map(kinds.index, set(kinds))))  # every kind of layer occurs
    if isinstance(values.get("per_layer_config"), dict):
        count = next((found[key] for key in LAYER_KEYS if isinstance(found.get(key), int)), 0)
        found["per_layer_config"] = {
            key: value for key, value in values["per_layer_config"].items() if int(key) < count
        }
        if not found["per_layer_config"]:
            del found["per_layer_config"]
    heads(values, found, tower=tower)
    return found


LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
WHOLE_LISTS = frozenset({"architectures"})


def heads(values: Mapping[str, Any], found: dict[str, Any], *, tower: bool) -> None:
    """Make the width fit two heads of the width that they had."""
    for width_key in ("hidden_size", "d_model", "n_embd", "dim", "n_embed", "model_dim", "embed_dim", "emb_dim"):
        width = values.get(width_key)
        if not isinstance(width, int):
            continue
        count = next((values[key] for key in HEAD_KEYS if isinstance(values.get(key), int)), None)
        one = width // count if count and not tower and not values.get("head_dim") else INNER // HEADS
        one = min(one + one % 2, 128) if count and width % count == 0 else INNER // HEADS
        found[width_key] = max(HEADS * one, INNER) if not tower else INNER
    for key in ("num_key_value_heads", "n_kv_heads", "num_kv_heads"):
        if isinstance(values.get(key), int):
            many = next((values[each] for each in HEAD_KEYS if isinstance(values.get(each), int)), HEADS)
            found[key] = 1 if values[key] < many else HEADS


HEAD_KEYS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")


def small(key: str, value: Any, *, tower: bool) -> Any:
    """Return one field made small."""
    if isinstance(value, dict) and not key.startswith("rope") and ("model_type" in value or key.endswith("_config")):
        return shrunk(value, tower=tower or bool(TOWERS.search(key)))
    if isinstance(value, list) and key.endswith("_token_id"):
        return [small(f"{key}_{place}_id", each, tower=tower) for place, each in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if re.fullmatch(r".*(_token_id|_token_index|_id|token_idx)", key):
        return value if 0 <= value < VOCABULARY - 60 else (100 + hash_of(key) % 40 if value > 0 else value)
    if re.fullmatch(r"(.*_)?vocab_size(_.*)?|n_vocab|.*vocab_size", key):
        return min(value, VOCABULARY)
    for pattern, count in COUNTS.items():
        if re.fullmatch(pattern, key):
            return min(value, TOWER_LAYERS if count == LAYERS and tower else count) if value else value
    if re.fullmatch(r"num_experts_per_tok(en)?|moe_k|moe_topk|top_k_experts|.*experts_per_tok|moe_top_k", key):
        return min(value, 2)
    if key == "image_size":
        return 56
    return value


def hash_of(key: str) -> int:
    """Return a number for a name, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(key))


_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 128, "mamba_n_groups": 1, "mamba_expand": 2}
_EXPERTS = {"num_experts": EXPERTS, "top_k_experts": 1, "moe_intermediate_size": INNER}

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "align": {"vision_config": {"depth_divisor": 8, "width_coefficient": 0.2, "depth_coefficient": 0.2}},
    "bamba": {**_MAMBA, "attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 500},
    "chameleon": {"vocabulary_map": {"<image>": 150, **{f"IMGIMG{place}Z": place for place in range(4)}}},
    "csm": {"codec_config": {"num_filters": INNER, "upsample_groups": INNER}},
    "dbrx": {"attn_config": {"rope_theta": 500_000.0, "clip_qkv": 8.0, "kv_n_heads": 1}},
    "diffusion_gemma": {"text_config": _EXPERTS},
    "diffusion_gemma_text": _EXPERTS,
    "dory": {"num_hidden_layers": 6, "n_input_layers": 2, "n_recurrent_layers": 2, "n_output_layers": 2},
    "dots1": {"n_routed_experts": EXPERTS, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "emu3": {"vocabulary_map": {"<image>": 150, **{f"<|visual token {place:06d}|>": place for place in range(9)}}},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1, "mask_token_id": 32},
    "fun_asr_nano": {"adaptor_config": {"hidden_size": INNER, "intermediate_size": INNER // 4}},
    "gemma3n_text": {"num_kv_shared_layers": 0, "num_hidden_layers": 5, "activation_sparsity_pattern": [0.0] * 5},
    "gemma4_assistant": {
        "hidden_size_per_layer_input": 0,
        "text_config": {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0},
    },
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": 0}},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gradium_phonon_tts": {"flow_head_config": {"condition_dim": INNER}},
    "granite_docling": {"vision_config": {"out_hidden_size": 128}},
    "granitemoehybrid": _MAMBA,
    "hunyuan_v1_dense": {"head_dim": INNER},
    "hunyuan_v1_moe": {"head_dim": INNER},
    "hunyuan_vl": {"text_config": {"head_dim": INNER}},
    "hunyuan_vl_text": {"head_dim": INNER},
    "inkling2": {"vision_config": {"text_hidden_size": INNER}},
    "inkling2_loop": {"vision_config": {"text_hidden_size": INNER}},
    "kyutai_speech_to_text": {"codec_config": {"num_filters": INNER, "upsample_groups": INNER}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense"] + ["sparse"] * 3, "num_experts_per_tok": 2}},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense"] + ["sparse"] * 3, "num_experts_per_tok": 2},
    "granite4_vision": {"deepstack_layer_map": [[-1, 0]], "spatial_target_layers": [1]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "ministral": {"head_dim": INNER},
    "molmo2": {"adapter_config": {"vision_feature_layer": [1, 0], "vit_layers": [1, 0]}},
    "moonshine_streaming": {"num_key_value_heads": HEADS},
    "muse_spark": {"vision_config": {"num_hidden_layers": 4}},
    "nemo_speechlm": {"head_config": {"audio_hidden_size": INNER}},
    "nemotron": {"head_dim": INNER, "num_key_value_heads": HEADS},
    "pocket_tts": {"flow_head_config": {"condition_dim": INNER}},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": INNER},
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [32, 96], "hidden_size": 128},
    "squeezebert": {"embedding_size": 128, "hidden_size": 128},
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "layer_types": ["mamba", "hybrid", "mamba", "hybrid"],
    },
}
"""What the names of fields do not tell."""


def build(each: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model with random numbers everywhere, also where training starts from ones or zeros."""
    torch.manual_seed(0)
    with torch.no_grad():
        with no_init_weights():
            model = each(config)
        with suppress(AttributeError):  # composites whose parts tie themselves
            model.tie_weights()
        model = model.eval().float()
        unsaved = getattr(model, "_keys_to_ignore_on_save", None) or ()
        for name, parameter in model.named_parameters():
            if name in unsaved:  # sines, which the class computes
                model._init_weights(model.get_submodule(name.rpartition(".")[0]))  # noqa: SLF001 - nothing public does
            elif parameter.numel() > LARGE and "embed_tokens" not in name:
                parameter.fill_(0.05)  # a tower's: nothing is asked of it
            elif parameter.is_floating_point():
                parameter.normal_(1.0 if "norm" in name.lower() and parameter.ndim == 1 else 0.0, 0.1)
    return model
