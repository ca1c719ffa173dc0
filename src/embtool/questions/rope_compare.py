"""The rotary settings and wavelengths of two models side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from embtool.answers import Block, Column, Listing, column, plain, python, records, value
from embtool.answers.fields import record_of
from embtool.answers.text import abridge, count, ranges
from embtool.arguments import checked
from embtool.positions import LayerRope
from embtool.questions.positions import setting
from embtool.questions.rope import LONGEST_NAME, SHOWN_PAIRS, ends
from embtool.questions.rotation import (
    LayerFrequencies,
    Manner,
    Rotary,
    frequency_fields,
    rotary_of,
    tokens_per_turn,
)
from embtool.rope import Precision, frequencies

if TYPE_CHECKING:
    from embtool.model import Model

COMPARED = (
    *("layer_count", "rope_type", "rope_theta", "head_dim", "rotary_dim", "layout", "rotated_part", "direction"),
    *("attention_factor", "mrope_section", "context_length", "longest_wavelength", "unfinished_pairs"),
)
"""The settings that are set side by side."""

SHOWN = (
    Column("field", title=""),
    Column("a", title="A", right=True),
    Column("b", title="B", right=True),
    Column("equal", title="", show=lambda equal: "" if equal else "differs", style="yellow", worth=8, whole=True),
)


@dataclass(frozen=True)
class ComparedLayer(LayerFrequencies):
    """The rotation of one kind of layer, with what it is compared by."""

    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    longest_wavelength: float | None = value("tokens for a turn of the slowest pair that turns")


@dataclass(frozen=True)
class ComparedModel:
    """One of two models."""

    model: str | None = value("the model, as it was named")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    layers: tuple[ComparedLayer, ...] = value("each kind of layer that rotates")


@dataclass(frozen=True)
class ComparedField:
    """One setting of both."""

    layer_type: str = column("the kind of layer; of both, where they differ")
    field: str = column("the setting, or wavelength[i] for pair i")
    a: Any = column("that of the first model; null where it lacks it")
    b: Any = column("that of the other one")
    equal: bool = column("whether they are the same")


@dataclass(frozen=True, repr=False, eq=False)
class RopeComparison(Listing[ComparedField]):
    """Every setting of two models; `differences` are those that are not equal."""

    command = "rope-compare"
    line_types: ClassVar[Mapping[str, Any]] = {"model_a": str, "model_b": str}

    models: tuple[ComparedModel, ComparedModel] = value("the two models")
    differences: tuple[ComparedField, ...] = value("the settings that differ")
    fields: tuple[ComparedField, ...] = records("every setting", in_document=False)
    sides: tuple[tuple[ComparedField, ...], ...] = python()

    def line(self) -> dict[str, Any]:
        """Return what stands on every JSON line beside the record."""
        return {"model_a": self.models[0].model, "model_b": self.models[1].model}

    def blocks(self) -> Iterator[Block]:
        """Yield a table for each kind of layer, with the first, middle and last wavelengths."""
        names = [abridge(str(model.model), LONGEST_NAME) for model in self.models]
        for side in self.sides:
            waves = [each for each in side if each.field.startswith("wavelength")]
            kept = [*(each for each in side if each not in waves), *ends(waves, SHOWN_PAIRS)]
            records = [
                {**record_of(each), "a": _written(each.field, each.a), "b": _written(each.field, each.b)}
                for each in kept
            ]
            kind = "" if side[0].layer_type == "all" else f"   {side[0].layer_type}"
            left_out = len(waves) - min(len(waves), sum(each in waves for each in kept))
            more = [f"  {left_out} more wavelengths: -f tsv has all"] if left_out else []
            yield Block(f"A: {names[0]}   B: {names[1]}{kind}", SHOWN, records, after=more)


@checked
def compare_rope(
    a: "Model", b: "Model", *, length: int | None = None, precision: Precision = "float64"
) -> RopeComparison:
    """Set the rotary settings and wavelengths of two models side by side.

    Args:
        a: a model.
        b: another one.
        length: tokens of the sequence, on which some types depend.
        precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.

    Raises:
        NoRope: one has no rotary positions.
    """
    models = tuple(_described(rotary_of(model), Manner(length, precision)) for model in (a, b))
    sides = tuple(tuple(_side_by_side(*layers)) for layers in zip_longest(*(model.layers for model in models)))
    fields = tuple(each for side in sides for each in side)
    return RopeComparison((models[0], models[1]), tuple(each for each in fields if not each.equal), fields, sides)


def _described(rotary: Rotary, manner: Manner) -> ComparedModel:
    def describe(layer: LayerRope) -> ComparedLayer:
        turning = frequencies(layer.settings, manner.length, manner.precision)
        waves = turning.wavelength[np.isfinite(turning.wavelength)]
        return ComparedLayer(
            **frequency_fields(layer, turning, rotary.context_length),
            context_length=rotary.context_length,
            longest_wavelength=float(waves.max()) if len(waves) else None,
        )

    return ComparedModel(rotary.name, rotary.context_length, tuple(map(describe, rotary.layers)))


def _side_by_side(a: ComparedLayer | None, b: ComparedLayer | None) -> Iterator[ComparedField]:
    """Yield every field of two kinds of layers; one that a model lacks is None."""
    layer_type = " / ".join(dict.fromkeys(side.layer_type for side in (a, b) if side is not None))
    one, other = ({} if side is None else _compared(side) for side in (a, b))
    for key in {**one, **other}:
        yield ComparedField(layer_type, key, one.get(key), other.get(key), one.get(key) == other.get(key))


def _compared(layer: ComparedLayer) -> Mapping[str, Any]:
    waves = {f"wavelength[{pair}]": wave for pair, wave in enumerate(plain(layer.wavelength))}
    return {**{key: plain(getattr(layer, key)) for key in COMPARED}, **waves}


def _written(field: str, held: Any) -> str | None:
    """Write a value for a reader."""
    if isinstance(held, list):
        return (ranges(held) or "none") if field == "unfinished_pairs" else ", ".join(map(str, held))
    if isinstance(held, float):
        return tokens_per_turn(held) if "wavelength" in field else setting(held)
    return count(held) if isinstance(held, int) else held
