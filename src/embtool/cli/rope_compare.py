"""`embtool rope compare A B`: the settings and wavelengths of two models side by side."""

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from embtool.cli.position import ranges, setting
from embtool.cli.rope_session import Manner, Subject, layer_summary
from embtool.cli.rope_terminal import LONGEST_NAME, SHOWN_PAIRS, ends, tokens_per_turn
from embtool.output import Column, Group, Listing, abridge, count
from embtool.positions import LayerRope
from embtool.rope import frequencies

COMPARED = (
    *("layer_count", "rope_type", "rope_theta", "head_dim", "rotary_dim", "layout", "rotated_part", "direction"),
    *("attention_factor", "mrope_section", "context_length", "longest_wavelength", "unfinished_pairs"),
)
"""The settings that are set side by side."""


def compare(one: Subject, other: Subject, manner: Manner) -> Listing:
    """Set the settings and wavelengths of two models side by side."""
    described = [[_summary(subject, layer, manner) for layer in subject.layers] for subject in (one, other)]
    columns = tuple(Column(key) for key in ("layer_type", "field", "a", "b", "equal"))
    sides = [list(_side_by_side(a, b)) for a, b in zip_longest(*described)]
    records = [record for side in sides for record in side]

    def document() -> dict[str, Any]:
        subjects = zip((one, other), described, strict=True)
        return {
            "models": [
                {"model": subject.name, "context_length": subject.context_length, "layers": layers}
                for subject, layers in subjects
            ],
            "differences": [record for record in records if not record["equal"]],
        }

    names = {"model_a": one.name, "model_b": other.name}
    terminal = _compared_on_terminal(one, other, sides)
    groups = [Group(records)]
    return Listing("rope-compare", columns, groups, "fields", line=names, document=document, terminal=terminal)


def _compared_on_terminal(one: Subject, other: Subject, sides: list[list[dict[str, Any]]]) -> Listing:
    """The same for a reader: a table per kind of layer, with the first, middle and last wavelengths."""
    columns = (
        Column("field", title=""),
        Column("a", title="A", right=True),
        Column("b", title="B", right=True),
        Column("equal", title="", show=lambda equal: "" if equal else "differs", style="yellow"),
    )
    names = [abridge(str(subject.name), LONGEST_NAME) for subject in (one, other)]
    groups = []
    for records in sides:
        waves = [record for record in records if record["field"].startswith("wavelength")]
        kept = [record for record in records if record not in waves] + ends(waves, SHOWN_PAIRS)
        shown = [record | {side: _side(record["field"], record[side]) for side in ("a", "b")} for record in kept]
        kind = "" if records[0]["layer_type"] == "all" else f"   {records[0]['layer_type']}"
        groups.append(Group(shown, title=f"A: {names[0]}   B: {names[1]}{kind}"))
    return Listing("rope-compare", columns, groups, "fields")


def _summary(subject: Subject, layer: LayerRope, manner: Manner) -> dict[str, Any]:
    turning = frequencies(layer.settings, manner.length, manner.precision)
    summary = layer_summary(layer, turning, subject.context_length)
    waves = turning.wavelength[np.isfinite(turning.wavelength)]
    unfinished = summary["unfinished_pairs"]
    return {
        **summary,
        "context_length": subject.context_length,
        "longest_wavelength": float(waves.max()) if len(waves) else None,
        "unfinished_pairs": None if unfinished is None else [int(pair) for pair in unfinished],
        "wavelength": [wave if math.isfinite(wave) else None for wave in turning.wavelength.tolist()],
    }


def _side_by_side(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Every field of two layer types; one that a model lacks is null."""
    a, b = a or {}, b or {}
    names = [str(side["layer_type"]) for side in (a, b) if side]
    layer_type = " / ".join(dict.fromkeys(names))
    for key in COMPARED:
        yield _field(layer_type, key, a.get(key), b.get(key))
    for pair, (one, other) in enumerate(zip_longest(a.get("wavelength", ()), b.get("wavelength", ()))):
        yield _field(layer_type, f"wavelength[{pair}]", one, other)


def _field(layer_type: str, key: str, a: Any, b: Any) -> dict[str, Any]:
    return {"layer_type": layer_type, "field": key, "a": a, "b": b, "equal": a == b}


def _side(field: str, value: Any) -> str | None:
    """Write a value for a reader."""
    if isinstance(value, list):
        return (ranges(value) or "none") if field == "unfinished_pairs" else ", ".join(map(str, value))
    if isinstance(value, float):
        return tokens_per_turn(value) if "wavelength" in field else setting(value)
    return count(value) if isinstance(value, int) else value
