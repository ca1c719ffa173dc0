"""Rules about RoPE settings that no program reads, or that contradict the context."""

from collections.abc import Iterator, Mapping
from typing import Any

from embtool.configs.config import Config
from embtool.positions import Rope
from embtool.questions.check.rule import Found, Severity, rule, some
from embtool.questions.check.subject import Subject
from embtool.rope import STRETCHING

SECTIONS = ("rope_scaling", "rope_parameters")

ALWAYS = frozenset(
    {"rope_type", "type", "rope_theta", "partial_rotary_factor", "attention_factor", "mrope_section"}
    | {"mrope_interleaved", "original_max_position_embeddings", "factor", "rope_theta_scaling", "llama_4_scaling_beta"}
    | {"max_position_embeddings", "attn_factor", "rope_pct", "rotary_dim", "apply_yarn_scaling", "mrope_order"}
)
"""Keys that are read, or known to be harmless, whatever the type."""

LARGEST = 1e12
"""No context is as long, and no factor as large."""

NEARLY = 0.01
"""Relative difference of a factor and the ratio of two contexts that are one."""


def _sections(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield the dictionaries of RoPE settings: where each stands, what it holds, its type."""
    assert subject.config is not None
    for key in SECTIONS:
        section = subject.config.text.get(key)
        if not isinstance(section, Mapping):
            continue
        nested = {name: inner for name, inner in section.items() if isinstance(inner, Mapping)}
        for name, inner in nested.items() or [("", section)]:
            kind = inner.get("rope_type", inner.get("type"))
            yield f"{key}.{name}" if name else key, inner, kind if isinstance(kind, str) else "default"


@rule(
    "rope-unknown-key",
    Severity.WARNING,
    "every key among the RoPE settings is one that programs read",
    "A misspelt key is passed over in silence, and the default takes the place of what was meant.",
    advice="correct the key, or take it out; `embtool rope` shows which settings are used",
    threads=(
        "deepseek-ai/DeepSeek-R1#684",
        "QwenLM/Qwen2.5-Omni#373",
    ),
    needs=("positions",),
)
def rope_unknown_key(subject: Subject, config: Config) -> Iterator[Found]:
    if not isinstance(subject.positions, Rope) or subject.is_gguf:
        return
    for where, section, _ in _sections(subject):
        unknown = [key for key in section if key not in KNOWN]
        if unknown:
            message = f"{some(f'{where}.{key}' for key in unknown)} in {config.file}: no program reads that"
            yield Found(message, file=config.file, field=f"{where}.{unknown[0]}")


KNOWN = ALWAYS.union(*STRETCHING.values())
"""Keys that some type reads."""


@rule(
    "rope-factor",
    Severity.WARNING,
    "the factor of YaRN is the ratio of the two contexts",
    "Some programs stretch by the factor, some by the ratio of max_position_embeddings to the original context: they "
    "turn by other angles.",
    advice="set max_position_embeddings to factor × original_max_position_embeddings",
    measured="the two are the same in every YaRN config looked at, published (DeepSeek-V3 40, DeepSeek-V4 16, gpt-oss "
    "32, Kimi K2 32, Ministral 3 16, Mistral Large 4 2,048) or made for tests (eight of them), and may differ by 1 %. "
    "Other types are not held to it: the ratio is 16 where llama3's factor is 8 (Llama 3.1), 1,280 where it is 16 "
    "(Llama 4)",
    threads=(
        "huggingface/transformers#38224",
        "QwenLM/Qwen3#1424",
        "NVIDIA/Megatron-LM#1418",
    ),
    needs=("positions",),
)
def rope_factor(subject: Subject, config: Config) -> Iterator[Found]:
    if subject.is_gguf:
        return
    length = config.max_position_embeddings
    for where, section, kind in _sections(subject):
        inside = section.get("original_max_position_embeddings")
        original = _number(config.text.get("original_max_position_embeddings") if inside is None else inside)
        factor = _number(section.get("factor"))
        if kind != "yarn" or not length or "max_position_embeddings" not in config.text:
            continue
        if original is not None and factor is not None and abs(length / original - factor) > NEARLY * factor:
            ratio = f"max_position_embeddings {length:,} is {length / original:.4g} × the original {original:,.0f}"
            message = f"{where}.factor is {factor:g}, and {ratio}"
            yield Found(message, file=config.file, field=f"{where}.factor")


def _number(value: object) -> float | None:
    """Return a number that a context or a factor can be; None for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < LARGEST
    return float(value) if usable and isinstance(value, int | float) else None
