"""The rotary settings and frequencies of two models side by side, or of one as it is and with settings given."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from embtool.answers import Block, Column, Listing, column, plain, python, records, value
from embtool.answers.fields import columns_of, record_of
from embtool.answers.text import abridge, count, ranges
from embtool.arguments import checked
from embtool.arrays import np
from embtool.positions import LayerRope, Learned, Rope, RopeOverride
from embtool.questions.positions import setting, written_row
from embtool.questions.rope import LONGEST_NAME, SHOWN_PAIRS, ends
from embtool.questions.rotation import (
    LayerFrequencies,
    Manner,
    Rotary,
    frequency_fields,
    rotary_of,
    rounded,
    tokens_per_turn,
)
from embtool.rope import Precision, frequencies, rotate

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

QUERY = "1/sqrt(head_dim) in every channel"
"""The fixed query that both turn."""

TURNED_AT = (1 << 10, 1 << 13, 1 << 15, 1 << 17)
"""Positions at which it is turned, beside the two contexts: those that engineers publish."""

SAME = 1e-6
"""Relative difference of two frequencies that are one, whatever rounded them."""


@dataclass(frozen=True)
class ComparedLayer(LayerFrequencies):
    """The rotation of one kind of layer, with what it is compared by."""

    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    longest_wavelength: float | None = value("tokens for a turn of the slowest pair that turns")


@dataclass(frozen=True)
class ComparedModel:
    """One of two models."""

    model: str | None = value("the model, as it was named")
    kind: str = value("how it knows positions: rope, or learned where a table stands beside a model that rotates")
    given: str | None = value("the options whose settings take the place of the model's own")
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


@dataclass(frozen=True)
class ComparedPair:
    """What becomes of one pair from the first model to the second."""

    layer_type: str = value("the kind of layer; of both, where they differ")
    pair: int = column("which pair, the fastest first", right=True, style="dim")
    wavelength_a: float | None = column(
        "tokens per turn in the first; null where it does not turn",
        title="A: wavelength",
        right=True,
        show=tokens_per_turn,
    )
    wavelength_b: float | None = column("in the second", title="B: wavelength", right=True, show=tokens_per_turn)
    slower: float | None = column(
        "how many times slower it turns in the second", right=True, show=lambda held: f"{held:.4g}×"
    )
    change: str | None = column(
        "untouched; slowed, as much as any pair; ramp, between these two; faster", style="yellow", whole=True
    )
    turns_a: float | None = column(
        "turns within the context of the first", title="A: turns", right=True, show=rounded, worth=0
    )
    turns_b: float | None = column(
        "turns within that of the second", title="B: turns", right=True, show=rounded, worth=0
    )


@dataclass(frozen=True)
class ComparedTurn:
    """The fixed query at one position, turned by both."""

    layer_type: str = column("the kind of layer; of both, where they differ", title="layers")
    position: int = column("where it stands", right=True, show=count)
    cosine: float = column("between the two turned vectors; 1 is the same", right=True, show=lambda held: f"{held:.6f}")


@dataclass(frozen=True, repr=False, eq=False)
class RopeComparison(Listing[ComparedField]):
    """Every setting of two models; `differences` are those that are not equal."""

    command = "rope-compare"
    line_types: ClassVar[Mapping[str, Any]] = {"model_a": str, "model_b": str}

    models: tuple[ComparedModel, ComparedModel] = value("the two models")
    differences: tuple[ComparedField, ...] = value("the settings that differ")
    pairs: tuple[ComparedPair, ...] = value("what becomes of each pair from the first to the second")
    query: str = value("what both turn for the cosines")
    cosines: tuple[ComparedTurn, ...] = value("how alike the fixed query is when both have turned it, by position")
    fields: tuple[ComparedField, ...] = records("every setting", in_document=False)
    sides: tuple[tuple[ComparedField, ...], ...] = python()
    notes: tuple[str, ...] = value("what a reader should know besides", default=())

    def line(self) -> dict[str, Any]:
        """Return what stands on every JSON line beside the record."""
        return {"model_a": self.models[0].model, "model_b": self.models[1].model}

    def blocks(self) -> Iterator[Block]:
        """Yield for each kind of layer its settings and its pairs; then the cosines."""
        names = [abridge(str(model.model), LONGEST_NAME) for model in self.models]
        named = "   ".join(
            f"{letter}: {name}{f' with {model.given}' if model.given else ''}"
            for letter, name, model in zip("AB", names, self.models, strict=True)
        )
        for side in self.sides:
            shown = [
                {**record_of(each), "a": _written(each.field, each.a), "b": _written(each.field, each.b)}
                for each in side
                if not each.field.startswith("wavelength")
            ]
            kind = "" if side[0].layer_type == "all" else f"   {side[0].layer_type}"
            yield Block(f"{named}{kind}", SHOWN, shown)
            pairs = [pair for pair in self.pairs if pair.layer_type == side[0].layer_type]
            if pairs:
                yield self._pairs(pairs)
        if self.cosines:
            shown = [record_of(each) for each in self.cosines]
            columns = [each for each in columns_of(ComparedTurn) if len(self.sides) > 1 or each.key != "layer_type"]
            yield Block("a fixed query, turned by both", columns, shown, after=[f"  the query is {self.query}"])

    def _pairs(self, pairs: Sequence[ComparedPair]) -> Block:
        """Return the pairs of one kind of layer: the first, middle and last ones, and which went which way."""
        ways = {way: [pair.pair for pair in pairs if pair.change == way] for way in dict.fromkeys(CHANGES)}
        told = "; ".join(f"{way}: {ranges(those)}" for way, those in ways.items() if those)
        kept = ends(pairs, SHOWN_PAIRS)
        left_out = len(pairs) - len(kept)
        after = [f"  pairs {told}"] if told else []
        after += [f"  {left_out} more pairs: --json has all"] if left_out else []
        after.append("  wavelength: tokens per turn; turns: within the context of each")
        return Block("pair by pair", columns_of(ComparedPair), [record_of(pair) for pair in kept], after=after)


CHANGES = ("untouched", "ramp", "slowed", "faster")
"""What can become of a pair, the fastest pairs first."""


@checked
def compare_rope(
    a: "Model",
    b: "Model",
    *,
    override: RopeOverride | None = None,
    length: int | None = None,
    precision: Precision = "float64",
) -> RopeComparison:
    """Set the rotary settings and frequencies of two models side by side.

    Args:
        a: a model.
        b: another one, or the same again for an `override`.
        override: settings that take the place of those of `b`.
        length: tokens of the sequence, on which some types depend; with an override also its context.
        precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.

    Raises:
        NoRope: neither has rotary positions, or one has neither these nor a learned table.
        InvalidArgument: the override is nothing that a formula can use.
    """
    rotaries = [_rotary(a, b, None), _rotary(b, a, override, length)]
    notes = list(dict.fromkeys(note for rotary in rotaries if rotary.given for note in rotary.notes))
    notes += [
        f"{model.name} adds a row of a learned table ({written_row(model.positions)}) and turns nothing: "
        "only the contexts compare"
        for model in (a, b)
        if isinstance(model.positions, Learned)
    ]
    manner = Manner(length, precision)
    models = tuple(_described(rotary, manner) for rotary in rotaries)
    sides = tuple(tuple(_side_by_side(models, layers)) for layers in zip_longest(*(model.layers for model in models)))
    fields = tuple(each for side in sides for each in side)
    both = list(zip(*(model.layers for model in models), strict=False))
    contexts = [model.context_length for model in models]
    turned, cannot = _turned(both, contexts, manner)
    return RopeComparison(
        models=(models[0], models[1]),
        differences=tuple(each for each in fields if not each.equal),
        pairs=tuple(pair for layers in both for pair in _pairs(*layers)),
        query=QUERY,
        cosines=tuple(turned),
        fields=fields,
        sides=sides,
        notes=(*notes, *cannot),
    )


def _rotary(model: "Model", beside: "Model", given: RopeOverride | None, length: int | None = None) -> Rotary:
    """Take the rotation of a model; none where it has a learned table beside a model that rotates."""
    if isinstance(model.positions, Learned) and isinstance(beside.positions, Rope) and given is None:
        return Rotary(model.name, (), model.positions.context_length)
    return rotary_of(model, None, given, length)


def _described(rotary: Rotary, manner: Manner) -> ComparedModel:
    def describe(layer: LayerRope) -> ComparedLayer:
        turning = frequencies(layer.settings, manner.length, manner.precision)
        waves = turning.wavelength[np.isfinite(turning.wavelength)]
        return ComparedLayer(
            **frequency_fields(layer, turning, rotary.context_length),
            context_length=rotary.context_length,
            longest_wavelength=float(waves.max()) if len(waves) else None,
        )

    kind = "rope" if rotary.layers else "learned"
    return ComparedModel(rotary.name, kind, rotary.given, rotary.context_length, tuple(map(describe, rotary.layers)))


def _name(layers: Sequence[ComparedLayer | None]) -> str:
    return " / ".join(dict.fromkeys(side.layer_type for side in layers if side is not None))


def _side_by_side(models: Sequence[ComparedModel], layers: Sequence[ComparedLayer | None]) -> Iterator[ComparedField]:
    """Yield every field of two kinds of layers; one that a model lacks is None."""
    sides: list[Mapping[str, Any]] = []
    for model, layer in zip(models, layers, strict=True):
        if layer is not None and model.layers:
            waves = {f"wavelength[{pair}]": wave for pair, wave in enumerate(plain(layer.wavelength))}
            sides.append({**{key: plain(getattr(layer, key)) for key in COMPARED}, **waves})
        else:
            sides.append({} if model.layers else {"context_length": model.context_length})
    one, other = sides
    for key in {**one, **other}:
        yield ComparedField(_name(layers), key, one.get(key), other.get(key), one.get(key) == other.get(key))


# --- pairs and positions ----------------------------------------------------------------------------------------------


def _pairs(a: ComparedLayer, b: ComparedLayer) -> Iterator[ComparedPair]:
    """Yield what becomes of each pair; a pair that only one has did not change."""
    rates = [
        one / other if one and other else None
        for one, other in zip(a.inv_freq.tolist(), b.inv_freq.tolist(), strict=False)
    ]
    most = max((rate for rate in rates if rate is not None), default=1.0)
    for pair, (one, other) in enumerate(zip_longest(plain(a.wavelength), plain(b.wavelength))):
        rate = rates[pair] if pair < len(rates) else None
        turns = (
            None if wave is None or side.context_length is None else side.context_length / wave
            for wave, side in ((one, a), (other, b))
        )
        yield ComparedPair(_name((a, b)), pair, one, other, rate, _change(rate, most), *turns)


def _change(rate: float | None, most: float) -> str | None:
    """Name what became of a pair that turns `rate` times slower, where the most is `most`."""
    if rate is None:
        return None
    if math.isclose(rate, 1, rel_tol=SAME):
        return "untouched"
    if rate < 1:
        return "faster"
    return "slowed" if math.isclose(rate, most, rel_tol=SAME) else "ramp"


def _turned(
    both: Sequence[tuple[ComparedLayer, ...]], contexts: Sequence[int | None], manner: Manner
) -> tuple[list[ComparedTurn], list[str]]:
    """Turn the fixed query by both, in a sequence that ends where it stands, and say where that cannot be."""
    known = [context for context in contexts if context is not None]
    places = sorted({*TURNED_AT, *known})
    places = [place for place in places if not known or place <= max(known)]
    found, cannot = [], []
    for a, b in both:
        if a.head_dim != b.head_dim:
            cannot.append(f"no cosines: heads of {a.head_dim} and {b.head_dim} channels turn no query that both have")
            continue
        if a.layout is None or b.layout is None:
            cannot.append("no cosines: it is not known which two channels make a pair")
            continue
        query = np.full(a.head_dim, 1 / math.sqrt(a.head_dim))
        for place in places:
            length = manner.length if manner.length is not None else place + 1
            one, other = (
                rotate(query, place, side.layer.settings, sequence_length=length, precision=manner.precision).astype(
                    np.float64
                )
                for side in (a, b)
            )
            cosine = float(one @ other / math.sqrt(one @ one) / math.sqrt(other @ other))
            found.append(ComparedTurn(_name((a, b)), place, min(cosine, 1.0)))
    return found, list(dict.fromkeys(cannot))


def _written(field: str, held: Any) -> str | None:
    """Write a value for a reader."""
    if isinstance(held, list):
        return (ranges(held) or "none") if field == "unfinished_pairs" else ", ".join(map(str, held))
    if isinstance(held, float):
        return tokens_per_turn(held) if "wavelength" in field else setting(held)
    return count(held) if isinstance(held, int) else held
