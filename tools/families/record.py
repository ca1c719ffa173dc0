"""Record what each architecture is and does: its class's defaults, its tables, its ties, its positions.

Every fact is observed on a model built tiny, saved and run; a default is read from the class.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from families import observe, tiny

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim", "max_position_embeddings")
NAMES: Mapping[str, tuple[str, ...]] = {
    "vocab_size": ("n_vocab",),
    "hidden_size": ("d_model", "n_embd", "n_embed", "dim", "emb_dim", "model_dim"),
    "num_hidden_layers": (
        "decoder_layers",
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_layers",
        "num_decoder_layers",
    ),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "decoder_attention_heads", "decoder_num_attention_heads"),
    "head_dim": ("attention_head_dim", "kv_channels", "d_kv", "d_head"),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len", "max_target_positions", "seq_length"),
}
"""What other classes call the fields of a config."""

STATED = (
    "embedding_size",
    "type_vocab_size",
    "scale_embedding",
    "embedding_multiplier",
    "pad_token_id",
    "global_head_dim",
)
"""Class defaults that matter besides."""


def record(kind: str) -> dict[str, Any]:
    """Return the facts of a model type."""
    kinds = tiny.classes(kind)
    whole, small = tiny.whole(kind), tiny.tiny(kind)
    path = text_path(small)
    text = at(whole, path)
    facts: dict[str, Any] = {}
    if path:
        facts["text"] = ".".join(path)
        facts["text_type"] = text.model_type
    facts["shape"] = [default(text, name) for name in SIZES]
    facts |= {key: stated(text, key) for key in STATED if isinstance(stated(text, key), int | float)}
    model = tiny.build(kinds[0], small)
    seen = observe.run(model)
    tensors = observe.stored(model)
    facts |= tables(kind, kinds, model, seen, tensors)
    facts |= tie(kind, kinds, small)
    facts |= positions(kind, model, seen, tensors, path)
    return {key: value for key, value in facts.items() if value not in (None, [], {}, ()) or key == "tie_at"}


def text_path(config: PreTrainedConfig) -> tuple[str, ...]:
    """Return where the config of the language model stands."""
    wanted = config.get_text_config(decoder=True)
    if wanted is config:
        inner = [path for path, part in parts(config) if path and hasattr(part, "vocab_size")]
        if (hasattr(config, "vocab_size") and hasattr(config, "hidden_size")) or not inner:
            return ()
        return min(inner, key=lambda path: (not re.search("text|decoder|llm|language", ".".join(path)), len(path)))
    return next((path for path, part in parts(config) if part is wanted), ())


def parts(config: PreTrainedConfig, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], PreTrainedConfig]]:
    """Yield a config and all that are nested in it, with their paths."""
    yield path, config
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from parts(value, (*path, name))


def at(config: PreTrainedConfig, path: tuple[str, ...]) -> PreTrainedConfig:
    """Return the part of a config at a path."""
    for name in path:
        config = getattr(config, name)
    return config


def stated(config: PreTrainedConfig, name: str) -> Any:
    """Return a field of a config, or None; a field that differs by layer has no value of its own."""
    try:
        return getattr(config, name, None)
    except Exception:  # noqa: BLE001 - transformers raises a RuntimeError here
        return config.to_dict().get(name)


def default(config: PreTrainedConfig, name: str) -> int | None:
    """Return a size that a class assumes."""
    names = NAMES[name]
    for each in names if name in names else (name, *names):
        value = stated(config, each)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def tables(
    kind: str,
    kinds: list[type[PreTrainedModel]],
    model: PreTrainedModel,
    seen: observe.Run,
    tensors: Mapping[str, torch.Tensor],
) -> dict[str, Any]:
    """Return the names of the tables in saved files of each class, and which classes predict tokens."""
    found: dict[str, Any] = {"input": [], "output": [], "heads": {}}
    for each in dict.fromkeys((kinds[0], *filter(None, [tiny.bare(kind)]), *kinds[1:])):
        if each is not kinds[0]:
            try:
                model = tiny.build(each, tiny.tiny(kind))
                tensors, seen = observe.stored(model), observe.Run()
            except Exception:  # noqa: BLE001 - a head that needs what a tiny config lacks
                continue
        embedding = observe.input_embedding(model, seen)
        try:
            out = model.get_output_embeddings()
        except Exception:  # noqa: BLE001
            out = None
        weight = getattr(out, "weight", None)
        if embedding is None:
            continue
        rows = weight is not None and weight.shape[0] >= min(tiny.VOCABULARY, embedding[1].shape[0]) // 2
        found["heads"][each.__name__] = bool(rows)
        add(found["input"], observe.named(tensors, embedding[1]))
        if rows and not torch.equal(weight, embedding[1]):
            add(found["output"], observe.named(tensors, weight))
        text = model.config.get_text_config(decoder=True)
        if embedding[1].shape[1] not in (default(text, "hidden_size"), stated(text, "embedding_size")):
            found["own_width"] = True
        extra = embedding[1].shape[0] - (
            default(model.config.get_text_config(decoder=True), "vocab_size") or embedding[1].shape[0]
        )
        if extra and "extra_rows_of_input" not in found:
            found["extra_rows_of_input"] = extra
    return found


def add(names: list[str], more: list[str]) -> None:
    """Add the names that are new."""
    names += [name for name in more if name not in names]


def tie(kind: str, kinds: list[type[PreTrainedModel]], small: PreTrainedConfig) -> dict[str, Any]:
    """Return whether the class ties, and the paths of the flags that decide it."""
    first = tied(tiny.build(kinds[0], tiny.tiny(kind)))
    if first is None:
        return {}
    found: dict[str, Any] = {"tied": first}
    deciding = []
    for path, part in parts(small):
        if not isinstance(getattr(part, "tie_word_embeddings", None), bool) or tiny.TOWERS.search(".".join(path)):
            continue
        changed = tiny.tiny(kind)
        other = at(changed, path)
        other.tie_word_embeddings = not other.tie_word_embeddings
        try:
            model = tiny.build(kinds[0], changed)
            if tied(model) != first:
                deciding.append(".".join(path))
                found |= flipped(model)
        except Exception:  # noqa: BLE001 - not every class can be built the other way round
            continue
    if not deciding:
        changed = tiny.tiny(kind)
        flags = [part for path, part in parts(changed) if isinstance(getattr(part, "tie_word_embeddings", None), bool)]
        for part in flags:
            part.tie_word_embeddings = not first
        if len(flags) > 1 and tied(tiny.build(kinds[0], changed)) != first:
            deciding = [".".join(path) for path, part in parts(changed) if any(part is flag for flag in flags)]
            found["tie_by_all"] = True
    if deciding != [""]:
        found["tie_at"] = deciding
    return found


def flipped(model: PreTrainedModel) -> dict[str, Any]:
    """Return the names of the tables of a model that is tied the other way round than its class."""
    tensors, embedding = observe.stored(model), observe.input_embedding(model, observe.run(model))
    names = {} if embedding is None else {"flipped_input": observe.named(tensors, embedding[1])}
    return names | {"flipped_output": observe.named(tensors, model.get_output_embeddings().weight)}


def tied(model: PreTrainedModel) -> bool | None:
    """Return whether a model's tables are one; None where it has no head."""
    embedding = observe.input_embedding(model, observe.Run())
    out = model.get_output_embeddings()
    weight = getattr(out, "weight", None)
    if embedding is None or weight is None:
        return None
    return bool(weight.shape == embedding[1].shape and torch.equal(weight, embedding[1]))


def positions(
    kind: str, model: PreTrainedModel, seen: observe.Run, tensors: Mapping[str, torch.Tensor], path: tuple[str, ...]
) -> dict[str, Any]:
    """Return how a model knows order, as far as it was seen."""
    found: dict[str, Any] = {}
    text = at(model.config, path)
    if seen.failed:
        found["failed"] = seen.failed
        part = language_part(model, text)
        if part is not None:
            model, seen = part, observe.run(part)
            found["failed_part"] = seen.failed
    rope = getattr(at(tiny.whole(kind), path), "rope_parameters", None)
    width = stated(text, "qk_rope_head_dim")
    turned = [call for call in seen.turned if not tiny.TOWERS.search(call.layer)]
    if turned:
        found |= turning(model, turned, text)
        found["rope"] = rope
        found["latent"] = bool(width) and any(f"pairs {width // 2}" in way for way in found["ways"])
    kinds = getattr(at(tiny.whole(kind), path), "layer_types", None)
    if kinds and len(set(kinds)) > 1:
        found["layer_types"] = kinds
    embedding = observe.input_embedding(model, seen)
    if embedding is None:
        return found
    added = observe.first_sum(seen, *embedding, dict(tensors), text)
    if added is not None:
        if added.added and added.added[0][0] in tensors:
            found["position_rows"] = tensors[added.added[0][0]].shape[-2]
        found["sum"] = [added.scale, [list(each) for each in added.added], added.norm, added.fits]
    tables = [
        name for name in tensors if re.search(r"(pos_|position|wpe)\w*(\.weight)?$", name) and tensors[name].ndim > 1
    ]
    found["position_tables"] = [name for name in tables if not tiny.TOWERS.search(name)]
    return found


def language_part(model: PreTrainedModel, text: PreTrainedConfig) -> nn.Module | None:
    """Return the module that reads tokens, of a model that needs more than tokens."""
    for module in model.modules():
        if (
            module is not model
            and isinstance(module, PreTrainedModel)
            and tiny.takes_tokens(type(module))
            and getattr(module, "config", None) is text
        ):
            return module
    return None


def turning(model: PreTrainedModel, turned: list[observe.Call], text: PreTrainedConfig) -> dict[str, Any]:
    """Return the layout, the width, the end and the direction of what turns, and the layers."""
    ways: dict[str, Any] = {}
    for name, inverse in observe.frequencies(model).items():
        for call in turned:
            way = observe.layouts(call, inverse)
            if way is not None:
                turn = f"{way[0]} {way[1]} {'clockwise ' if way[2] else ''}{way[3]}"
                key = f"{turn} of {call.before.shape[-1]} pairs {len(inverse)}"
                ways.setdefault(key, set()).add(call.layer.rsplit(".", 1)[-1])
        del name
    return {
        "ways": {key: sorted(value) for key, value in ways.items()},
        "turning_layers": sorted({call.layer for call in turned}),
        "layers": getattr(text, "num_hidden_layers", None),
    }


# --- Experiments: one field changed, and what that does ---------------------------------------------------------------


def experiments(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fields do that the defaults do not show: scales, padded positions, the share of a head that turns."""
    found: dict[str, Any] = {}
    path = tuple(facts["text"].split(".")) if facts.get("text") else ()
    scale, added = (facts.get("sum") or [1.0, []])[:2]
    if "scale_embedding" in facts:
        found["scale_embedding_is_read"] = seen_scale(
            kind, path, "scale_embedding", not facts["scale_embedding"]
        ) not in (scale, None)
    if "embedding_multiplier" in facts:
        found["embedding_multiplier_is_read"] = near(seen_scale(kind, path, "embedding_multiplier", 1.7), 1.7)
    if added and added[0][1] and added[0][1] == (facts.get("pad_token_id") or 0) + 1:
        moved = observed_sum(kind, path, "pad_token_id", 7)
        found["padded_positions"] = bool(moved and moved.fits and moved.added and moved.added[0][1] == 8)
    if scale not in (1.0, None):
        model = tiny.build(tiny.classes(kind)[0], tiny.tiny(kind))
        embedding = observe.input_embedding(model, observe.Run())
        module = dict(model.named_modules())[embedding[0]] if embedding else None
        found["rounded_scale"] = module is not None and "embed_scale" in dict(module.named_buffers())
        found["tiny_width"] = int(embedding[1].shape[-1]) if embedding else None
    if facts.get("turning_layers") and facts.get("rope"):
        found["honours_partial"] = honours_partial(kind, path)
    return found


def near(one: float | None, other: float) -> bool:
    """Return whether two numbers are nearly the same."""
    return one is not None and abs(one - other) < 1e-3


def observed_sum(kind: str, path: tuple[str, ...], field: str, value: Any) -> observe.Sum | None:
    """Return what the first block reads with one field changed."""
    config = tiny.tiny(kind)
    setattr(at(config, path), field, value)
    try:
        model = tiny.build(tiny.classes(kind)[0], config)
    except Exception:  # noqa: BLE001
        return None
    seen, tensors = observe.run(model), observe.stored(model)
    embedding = observe.input_embedding(model, seen)
    return None if embedding is None else observe.first_sum(seen, *embedding, tensors, at(config, path))


def seen_scale(kind: str, path: tuple[str, ...], field: str, value: Any) -> float | None:
    """Return what rows are multiplied by with one field changed."""
    found = observed_sum(kind, path, field, value)
    return found.scale if found is not None and found.fits else None


def honours_partial(kind: str, path: tuple[str, ...]) -> bool | None:
    """Return whether `partial_rotary_factor` is read by the default kind of RoPE."""
    config = tiny.tiny(kind)
    text = at(config, path)
    rope = text.rope_parameters
    change = {"rope_type": "default", "partial_rotary_factor": 0.5}
    nested = any(isinstance(value, dict) for value in rope.values())
    half, whole = ({**change, "partial_rotary_factor": share} for share in (0.5, 1.0))
    sizes = []
    for values in (half, whole):
        text.rope_parameters = (
            {key: {**value, **values} for key, value in rope.items()} if nested else {**rope, **values}
        )
        try:
            model = tiny.build(tiny.classes(kind)[0], config)
        except Exception:  # noqa: BLE001
            return None
        sizes.append(
            sorted(len(value) for name, value in observe.frequencies(model).items() if not tiny.TOWERS.search(name))
        )
    return sizes[0] != sizes[1]
