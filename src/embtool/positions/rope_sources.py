"""Where a config keeps the RoPE settings of each kind of layer, and which place wins.

Old files have `rope_theta` at the top and stretch by `rope_scaling`; new ones have all of it in `rope_parameters`, or
one dictionary per kind of layer in there. Some classes have a dictionary of their own for files without one. The
precedence is that of transformers 5.23.0 (`convert_rope_params_to_dict` in
https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/modeling_rope_utils.py); what was decided
against it is in `docs/positions.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embtool.configs.config import Config
from embtool.configs.families import Family
from embtool.configs.fields import Fields
from embtool.errors import ConfigError

FLAT_KEYS = ("rope_type", "type", "rope_theta", "factor")
"""Fields that show a dictionary to hold settings itself, and not one dictionary per kind of layer."""

MOST_KINDS = 16
"""Kinds of layer with settings of their own. Real models have two or three; each is looked for in all layers."""


@dataclass(frozen=True, kw_only=True)
class RopeSource:
    """Where the settings of one kind of layer are read: dictionaries first, then the top level, then the class.

    Attributes:
        label: The kind of layer, or "all".
        sections: The dictionaries of the file, the one that wins first.
        class_section: The dictionary of the class, where the file has none.
        theta_keys: Names of theta at the top level, the one that wins first.
        theta: The class default.
        overrides: Top-level fields that win over the dictionaries.
        ignored: Fields of the dictionaries that are not read.
    """

    label: str
    sections: tuple[Fields, ...]
    class_section: Mapping[str, Any]
    theta_keys: tuple[str, ...]
    theta: float
    overrides: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RopeSources:
    """The sources of every kind of layer that rotates, and the kinds that the file declares not to."""

    sources: tuple[RopeSource, ...]
    silent: frozenset[str] = frozenset()


def find_sources(config: Config, types: tuple[str, ...]) -> RopeSources:
    """The sources of every kind of layer; `types` are the types that the layers have, or none.

    Raises:
        ConfigError: A dictionary is not an object, or holds nothing for any kind of layer.
    """
    family = config.family
    found = [config.fields.section(key) for key in ("rope_scaling", "rope_parameters")]
    scaling, parameters = (section if section is not None and section.mapping else None for section in found)
    labels = frozenset(types) | frozenset(family.labels)
    winner = scaling or parameters  # a legacy dictionary replaces the new one
    if winner is not None and _is_nested(winner, labels):
        return _nested_sources(config, winner, labels)
    if family.per_layer_type:
        nested = parameters if parameters is not None and _is_nested(parameters, labels) else None
        return RopeSources(_per_type_sources(config, winner if nested is None else scaling, nested))
    source = RopeSource(
        label="all",
        sections=() if winner is None else (winner,),
        class_section=(family.rope_parameters or {}) if winner is None else {},
        theta_keys=family.theta_keys,
        theta=family.rope_theta,
        overrides=frozenset({"original_max_position_embeddings"}),
    )
    return RopeSources((source,))


def _is_nested(section: Fields, labels: frozenset[str]) -> bool:
    """Whether a dictionary holds one dictionary per layer type; null for a type means no positions there."""
    items = section.mapping.items()
    if any(key in labels and (value is None or isinstance(value, Mapping)) for key, value in items):
        return True
    return not any(map(section.has, FLAT_KEYS)) and any(isinstance(value, Mapping) for _, value in items)


def _nested_sources(config: Config, section: Fields, labels: frozenset[str]) -> RopeSources:
    """One dictionary per kind of layer."""
    family = config.family
    # Gemma 3 and its like fill a missing or null layer type with the defaults; to others null is "no positions"
    fills = family.per_layer_type and family.local_theta is not None
    null = frozenset(key for key in labels if key in section.mapping and section.mapping[key] is None)
    sources = []
    first = [label for label in family.labels if label in section.mapping or family.per_layer_type]
    for key in first + [key for key in section.mapping if key not in first]:
        inner = section.section(key) if isinstance(section.mapping.get(key), Mapping) else None
        if inner is not None or (fills and key in family.labels):
            keys, theta = _theta_of(family, key)
            sections = () if inner is None else (inner,)
            sources.append(RopeSource(label=key, sections=sections, class_section={}, theta_keys=keys, theta=theta))
    if len(sources) > MOST_KINDS:
        where, count = ".".join(section.path), len(sources)
        raise ConfigError(f"{config.file}: {where} has settings for {count} kinds of layer, more than {MOST_KINDS}")
    if not sources:
        raise section.error(next(iter(section.mapping)), "an object for at least one layer type")
    return RopeSources(tuple(sources), frozenset() if fills else null)


def _theta_of(family: Family, label: str) -> tuple[tuple[str, ...], float]:
    """The top-level names of theta for a kind of layer, and the class default."""
    if label == family.labels[-1] and family.local_theta is not None:
        return ((family.local_theta_key,) if family.local_theta_key else ()), family.local_theta
    return family.theta_keys, family.rope_theta


def _per_type_sources(config: Config, flat: Fields | None, nested: Fields | None) -> tuple[RopeSource, ...]:
    """Families whose layer types differ, with a flat dictionary or none: it belongs to some of the types only."""
    family = config.family
    own = family.rope_parameters or {}
    sources = []
    for label in family.labels:
        keys, theta = _theta_of(family, label)
        inner = nested.section(label) if nested is not None else None
        sections = tuple(part for part in (flat if takes_flat(config, label) else None, inner) if part is not None)
        compressed = config.family_key == "deepseek_v4" and label == "compress"
        defaults = own.get(label, {}) if not sections else {}
        if compressed:  # DeepSeek-V4 does not lengthen its vectors, unless the file says how much
            types = [section.mapping.get(key) for section in sections for key in ("rope_type", "type")]
            defaults = {"attention_factor": 1.0} if "yarn" in types else {}
        source = RopeSource(
            label=label,
            sections=sections,
            class_section=defaults,
            theta_keys=keys,
            theta=theta,
            # a flat dictionary stretches compressed layers only, but its theta and share are those of the others
            ignored=frozenset({"rope_theta", "partial_rotary_factor"}) if compressed else frozenset(),
        )
        sources.append(source)
    return tuple(sources)


def takes_flat(config: Config, label: str) -> bool:
    """Whether a dictionary without kinds of layer is meant for this kind.

    Gemma 3 and OLMo 3 stretch full attention only, DeepSeek-V4 compressed attention only, ModernBERT both.
    """
    if not config.family.per_layer_type or config.family.theta_keys == ("global_rope_theta",):
        return True
    return label == ("compress" if config.family_key == "deepseek_v4" else config.family.labels[0])
