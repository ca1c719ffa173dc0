"""Hold embtool against models that transformers built: the same tables, ties, rotations and sums, or what differs."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from embtool import open_model
from embtool.errors import EmbtoolError
from embtool.model import Model
from embtool.positions import NoPositions, Rope
from embtool.rope import rotate
from embtool.tables.sequence import read_sequence, sequence_tables
from families import observe, tiny

ROPE_VARIANTS: dict[str, dict[str, Any]] = {
    "theta": {"rope_theta": 31_337.0, "rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024,
    },
    "partial": {"rope_type": "default", "partial_rotary_factor": 0.5},
}

TRUE_ALARMS = {("partial", "rope-ignored"), ("theta", "rope-ignored")}
"""Findings that a variant deserves: a family whose default RoPE ignores the share of a head is told one."""


class Judge:
    """The comparisons of one saved model, and those that disagree."""

    def __init__(
        self, kind: str, variant: str, model: PreTrainedModel, seen: observe.Run, *, silent: bool = False
    ) -> None:
        self.kind, self.variant, self.built, self.seen, self.silent = kind, variant, model, seen, silent
        self.count = 0
        self.wrong: list[str] = []
        self.undecided: list[str] = []

    def say(self, what: str, agrees: bool, told: object, truth: object) -> None:
        """Count a comparison."""
        self.count += 1
        if not agrees:
            self.wrong.append(f"{self.kind:24} {self.variant:8} {what:10} embtool {told!s:.90} | model {truth!s:.110}")

    def all(self) -> None:
        """Compare everything that can be."""
        with tempfile.TemporaryDirectory() as folder:
            self.built.save_pretrained(folder, max_shard_size="100GB")
            if self.silent:
                file = Path(folder, "config.json")
                file.write_text(json.dumps(without_tie(json.loads(file.read_text()))))
            self.tensors = observe.load(folder)
            try:
                with open_model(folder) as model:
                    model.info().to_dict()
                    self.say("info", True, "", "")
                    self.tables(model)
                    self.positions(model)
                    self.first_block(model)
                    self.checks(model)
            except EmbtoolError as error:
                self.say("refused", False, f"{type(error).__name__}: {error}", "transformers runs it")

    def tables(self, model: Model) -> None:
        """The input table, the output table and whether they are one."""
        embedding = observe.input_embedding(self.built, self.seen)
        if embedding is None:
            return
        names = observe.named(self.tensors, embedding[1])
        stored = {table.role: table for table in model.tables.stored}
        told = stored.get("input")
        if names:
            self.say("input", told is not None and told.tensor.name in names, told and told.tensor.name, names[:3])
            if told is not None and told.tensor.name in names:
                row = np.asarray(told.rows([5])[0])
                self.say("row", bool((row == embedding[1][5].float().numpy()).all()), row[:2], embedding[1][5][:2])
        out = self.built.get_output_embeddings()
        weight = None if out is None else getattr(out, "weight", None)
        if out is None or weight is None:
            if not any(
                type(part).__name__ == "Linear" and part.weight.shape == embedding[1].shape
                for part in self.built.modules()
            ):
                self.say(
                    "tying", model.tables.tying.verdict == "no output table", model.tables.tying.verdict, "no head"
                )
            return
        tied = weight is embedding[1] or bool(weight.shape == embedding[1].shape and torch.equal(weight, embedding[1]))
        truth = "tied" if tied else "untied"
        self.say("tying", model.tables.tying.verdict == truth, model.tables.tying.verdict, truth)
        if not tied:
            head = observe.named(self.tensors, weight)
            told = stored.get("output")
            self.say(
                "output",
                not head or (told is not None and told.tensor.name in head),
                told and told.tensor.name,
                head[:2],
            )

    def positions(self, model: Model) -> None:
        """How the model knows order: by turning, and which layers, or by adding."""
        try:
            told = model.positions
        except EmbtoolError as error:
            self.say("positions", False, error, "transformers runs it")
            return
        turned = [
            call
            for call in self.seen.turned
            if call.layer and not tiny.TOWERS.search(call.layer.replace("encoder_config", ""))
        ]
        if turned:
            self.say("kind", told.kind in {"rope", "unknown"}, told.kind, "rope")
        elif self.seen.failed is None and isinstance(told, Rope):
            self.say("kind", not any(entry.layers for entry in told.layers), "rope", "nothing turns")
        if isinstance(told, Rope) and turned:
            self.rotations(told, turned)

    def rotations(self, told: Rope, turned: list[observe.Call]) -> None:
        """Every observed rotation against embtool's."""
        layers: dict[int, list[observe.Call]] = {}
        for call in turned:
            part = call.layer.rsplit(".", 1)[-1]
            if part.isdigit():
                layers.setdefault(int(part), []).append(call)
        for index, calls in layers.items():
            entries = [entry for entry in told.layers if entry.layers is None or index in entry.layers]
            if not entries:
                self.say("layers", False, f"layer {index} does not turn", "it turns")
                continue
            ok = None
            for entry in entries:
                if not told.layout_known:
                    self.undecided.append("layout")
                    ok = True
                    break
                ok = ok or any(same_turn(call, entry.settings, told.first_position) for call in calls)
            shape = tuple(calls[0].before.shape)
            self.say(
                "rotation",
                bool(ok),
                f"layer {index} {entries[0].settings.layout} {entries[0].settings.rotary_dim}",
                f"{shape} differs",
            )
        if self.seen.failed is None and layers:
            silent = {index for entry in told.layers for index in entry.layers or ()} - set(layers)
            self.say("layers", not silent, f"{sorted(silent)} turn", f"only {sorted(layers)} do")

    def first_block(self, model: Model) -> None:
        """The sum that the first block reads."""
        embedding = observe.input_embedding(self.built, self.seen)
        stored = {table.role: table for table in model.tables.stored}
        if embedding is None or "input" not in stored:
            return
        try:
            told = read_sequence(
                observe.TOKENS,
                sequence_tables(model.tables, model.positions, model.config),
                model.positions,
                model.config,
            )
        except EmbtoolError as error:
            if self.seen.failed is None:
                self.say("sum", isinstance(model.positions, NoPositions), error, "it runs")
            return
        wanted = observe.entrances(self.seen, embedding[0], told.rows.shape[-1])
        if not wanted:
            return
        if told.notes or model.positions.kind == "unknown" or not model.positions.sum_known:
            self.undecided.append("sum")
            return
        near = min(float(np.abs(each - told.rows).max()) for each in wanted)
        self.say(
            "sum",
            near < observe.CLOSE * 5,
            f"off by {near:.3g}; {model.positions.kind}, scale {told.scale:.3g}",
            observe.first_sum(self.seen, *embedding, self.tensors, self.built.config),
        )

    def checks(self, model: Model) -> None:
        """No alarm on a sound model."""
        for found in model.check(deep=True):
            sound = found.severity == "info" or (self.variant, found.rule) in TRUE_ALARMS
            self.say("check", sound, f"{found.rule} {found.severity}", found.message)


def same_turn(call: observe.Call, settings: Any, start: int) -> bool:
    """Return whether embtool turns a vector as the model did."""
    before, after = call.before.double().numpy(), call.after.double().numpy()
    width = before.shape[-1]
    if settings.rotary_dim == width or (settings.rotary_dim or 0) > width:
        settings = replace(settings, head_dim=width, rotated_part="first")
    elif settings.head_dim != width:
        settings = replace(settings, head_dim=width)
    axis = next((axis for axis in (-2, -3) if before.ndim >= 3 and before.shape[axis] == len(observe.TOKENS)), None)
    if axis is None:
        return False
    places = np.arange(len(observe.TOKENS))
    if axis == -3:
        places = places[:, None]
    mine = rotate(before, places + start, settings, sequence_length=len(observe.TOKENS))
    return bool(np.allclose(mine, after, rtol=1e-4, atol=2e-4))


def without_tie(raw: Any) -> Any:
    """Return a config without a word on tying, at any depth."""
    if isinstance(raw, dict):
        return {key: without_tie(value) for key, value in raw.items() if key != "tie_word_embeddings"}
    return raw


def ties(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """Yield every part of a config that says something on tying."""
    if "tie_word_embeddings" in config.to_dict():
        yield config
    for name in getattr(config, "sub_configs", {}):
        inner = getattr(config, name, None)
        if isinstance(inner, PreTrainedConfig):
            yield from ties(inner)


def variants(kind: str) -> Iterator[tuple[str, PreTrainedModel, bool]]:
    """Yield a type's models: as it is, silent on tying, tied the other way round, without a head, turned otherwise."""
    first, bare = tiny.classes(kind)[0], tiny.bare(kind)
    makers: dict[str, Callable[[], PreTrainedModel | None]] = {
        "main": lambda: tiny.build(first, tiny.tiny(kind)),
        "silent": lambda: tiny.build(first, tiny.tiny(kind)),
        "flipped": lambda: flipped(kind, first),
        "bare": lambda: None if bare in (None, first) else tiny.build(bare, tiny.tiny(kind)),
        **{name: partial(turning, kind, first, values) for name, values in ROPE_VARIANTS.items()},
    }
    for name, make in makers.items():
        try:
            model = make()
        except Exception as error:
            if name == "main":
                raise
            print(f"{kind:24} {name:8} not built: {type(error).__name__}: {error!s:.100}")
            continue
        if model is not None:
            yield name, model, name == "silent"


def flipped(kind: str, first: type[PreTrainedModel]) -> PreTrainedModel | None:
    """Build a type tied the other way round than its class."""
    config = tiny.tiny(kind)
    flags = list(ties(config))
    wanted = not flags[0].tie_word_embeddings if flags else None
    for part in flags:
        part.tie_word_embeddings = wanted
    return tiny.build(first, config) if flags else None


def turning(kind: str, first: type[PreTrainedModel], values: dict[str, Any]) -> PreTrainedModel | None:
    """Build a type with other RoPE settings than its class."""
    config = tiny.tiny(kind)
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None)
    if not isinstance(rope, dict) or not rope:
        return None
    if "original_max_position_embeddings" in values and getattr(text, "max_position_embeddings", None):
        values = {**values, "original_max_position_embeddings": int(text.max_position_embeddings / values["factor"])}
    text.rope_parameters = turned_otherwise(rope, values)
    return tiny.build(first, config)


def turned_otherwise(rope: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the RoPE settings of a config with others in their place."""
    if any(isinstance(value, dict) for value in rope.values()):
        return {
            key: turned_otherwise(value, values) if isinstance(value, dict) else value for key, value in rope.items()
        }
    return {**{key: value for key, value in rope.items() if key != "type"}, **values}


def compare(kind: str, only: str | None = None) -> Iterator[Judge]:
    """Yield what was compared of every variant of a type."""
    for name, model, silent in variants(kind):
        if only is None or name == only:
            judge = Judge(kind, name, model, observe.run(model), silent=silent)
            judge.all()
            yield judge
