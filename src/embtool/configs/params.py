"""params.json, the config of Meta's and Mistral's own files -> a `Config`.

Its weights are those of the original code, which turns neighbouring channels as one complex number: pairs are
interleaved, where the same model converted for transformers has halves.
"""

import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from embtool.configs.config import NOT_IN_FILE, Config, parse_config
from embtool.errors import ConfigError
from embtool.storage.impostors import seems
from embtool.storage.source import CONFIG_LIMIT, MOST_VALUES, Source, is_overfull

PARAMS = "params.json"

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "head_dim": "head_dim",
        "vocab_size": "vocab_size",
        "rope_theta": "rope_theta",
        "max_position_embeddings": "max_position_embeddings",
        "max_seq_len": "max_position_embeddings",
        "sliding_window": "sliding_window",
        "tied_embeddings": "tie_word_embeddings",
    }
)
"""What its fields are called in config.json."""

YARN: Mapping[str, str] = MappingProxyType(
    {
        "factor": "factor",
        "original_max_position_embeddings": "original_max_position_embeddings",
        "beta": "beta_fast",
        "alpha": "beta_slow",
    }
)
"""What the fields of its section `yarn` are called in config.json."""

THETA = 10_000.0
"""What Meta's first models turned by, whose params.json names no theta."""


def translate(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Write what it says as config.json would; vocab_size -1 says that the tokenizer knows."""
    stated = {key: value for key, value in raw.items() if key in FIELDS and value is not None}
    if stated.get("vocab_size") == -1:
        del stated["vocab_size"]
    found = {FIELDS[key]: value for key, value in stated.items()}
    yarn = raw.get("yarn")
    if raw.get("use_scaled_rope") is True:  # Meta's one switch
        factor, high = raw.get("rope_scaling_factor"), raw.get("high_freq_factor")
        scaled = {"factor": 8.0 if factor is None else factor, "high_freq_factor": 4.0 if high is None else high}
        usual = {"rope_type": "llama3", "low_freq_factor": 1.0, "original_max_position_embeddings": 8192}
        found["rope_scaling"] = {**usual, **scaled}
    elif isinstance(yarn, Mapping):  # Mistral's section
        unscaled = {"attention_factor": 1.0} if yarn.get("apply_scale") is False else {}
        said = {YARN[key]: value for key, value in yarn.items() if key in YARN}
        found["rope_scaling"] = {"rope_type": "yarn", **said, **unscaled}
    return found


def read_params(source: Source) -> Config | None:
    """Read a config from params.json; None where there is none.

    Raises:
        ConfigError: it is not a JSON object, or a field that is read has a value of the wrong type.
    """
    if not source.has(PARAMS):
        return None
    data = source.read_file(PARAMS, CONFIG_LIMIT)
    if (other := seems(data)) is not None:
        raise ConfigError(f"{PARAMS} is not JSON: it looks like {other}")
    if is_overfull(data):
        raise ConfigError(f"{PARAMS} holds more than {MOST_VALUES:,} values")
    try:
        raw = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{PARAMS} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{PARAMS} is not a JSON object")
    found = translate(raw)
    found.setdefault("rope_theta", THETA)
    spelled = {FIELDS[key]: key for key in raw if key in FIELDS} | {"model_type": PARAMS}
    config = parse_config({"model_type": "mistral", "architectures": [], **found}, file=PARAMS, spelled=spelled)
    family = dataclasses.replace(config.family, layout="interleaved")
    origins = {**config.origins, "layout": "the original code, which turns neighbouring channels"}
    if "rope_theta" not in raw:
        origins["rope_theta"] = "the original code's default"
    unstated: dict[str, Any] = {name: None for name in ("vocab_size", "max_position_embeddings") if name not in found}
    origins |= dict.fromkeys(unstated, NOT_IN_FILE)
    return dataclasses.replace(
        config, family=family, model_type=None, raw=raw, origins=MappingProxyType(origins), **unstated
    )
