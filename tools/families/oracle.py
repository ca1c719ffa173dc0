"""What was observed of a tiny model, as numbers that a test can hold embtool against without torch."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from families import observe, tiny

TABLES = re.compile(
    r"embed|emb\.|wte|wpe|tok|head|output|shared|decoder|proj|cls|predict|vocab|lm_|\.w\.|position", re.IGNORECASE
)
"""Names that could be those of tables: embtool must choose among all of them."""

LATER = re.compile(r"\.[1-9]\d*\.")
"""Names of what is the same in the first of several: layers, codebooks."""

FEW = 4
"""Pairs whose frequency is kept: the first two, one in the middle, the last."""


TOWERS = ("vision_config", "audio_config", "vq_config", "codec_config", "qformer_config", "perceiver_config")
"""Parts of a config that embtool does not read."""


def of_model(model: PreTrainedModel, *, silent: bool) -> dict[str, Any]:
    """Save a model, run it, and return what was observed."""
    seen = observe.run(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="100GB")
        raw = slim(json.loads(Path(folder, "config.json").read_text()), silent=silent)
        return expected(model, seen, raw, observe.load(folder))


def slim(raw: Any, *, silent: bool) -> Any:
    """Return a config without its other towers, and without a word on tying where it is to be silent."""
    if not isinstance(raw, dict):
        return raw
    gone = {*TOWERS, "vocabulary_map", "id2label", "label2id", *(["tie_word_embeddings"] if silent else [])}
    return {key: slim(value, silent=silent) for key, value in raw.items() if key not in gone}


def further(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return every saved table that a model looks rows up in, those of positions that are 1 × n × width too."""
    tables = [each.weight for each in model.modules() if isinstance(each, nn.Embedding)]
    tables += [
        each for name, each in model.named_parameters() if each.ndim == 3 and each.shape[0] == 1 and "pos" in name
    ]
    names = {name for table in tables for name in observe.named(tensors, table)}
    return sorted(name for name in names if not LATER.search(name))


def expected(
    model: PreTrainedModel, seen: observe.Run, raw: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """Return a model's config, the shapes of its tables, and what it was seen to do."""
    looked_up = further(model, tensors)
    shapes = {
        name: list(value.shape)
        for name, value in tensors.items()
        if value.ndim > 1 and (TABLES.search(name) or name in looked_up) and not LATER.search(name)
    }
    found: dict[str, Any] = {"config": raw, "tensors": shapes, "embeddings": looked_up}
    embedding = observe.input_embedding(model, seen)
    if embedding is not None:
        found["input"] = observe.named(dict(tensors), embedding[1])
        out = getattr(observe.output_embedding(model), "weight", None)
        if out is not None:
            same = out.shape == embedding[1].shape and torch.equal(out, embedding[1])
            found["verdict"] = "tied" if same else "untied"
            if not same:
                found["output"] = observe.named(dict(tensors), out)
    turned: dict[str, Any] = {}
    inverse = observe.frequencies(model)
    for call in seen.turned:
        layer = call.layer.rsplit(".", 1)[-1]
        if tiny.TOWERS.search(call.layer) or not layer.isdigit() or layer in turned:
            continue
        for values in inverse.values():
            way = observe.layouts(call, values)
            if way is not None:
                few = [0, 1, len(values) // 2, len(values) - 1]
                turned[layer] = [
                    way[0],
                    way[1],
                    way[2],
                    len(values),
                    [float(f"{values[place]:.8g}") for place in few if place < len(values)],
                ]
                break
    if turned:
        found["turned"] = turned
    elif seen.failed is None and not seen.turned:
        found["turned"] = {}
    return found
