"""What `embtool rope` answers: the angles of every pair at every position, and vectors before and after.

A `Session` holds one run. Here its answer becomes records and documents for machines; `rope_terminal` shows it to a
reader.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embtool.cli.messages import note, warn
from embtool.cli.position import PER_PAIR, layer_document
from embtool.dtypes import Doubles
from embtool.errors import ConfigError, FormatError
from embtool.model import Model
from embtool.output import Column, Group, Listing, count, visible
from embtool.positions import LayerRope
from embtool.rope import (
    AXES,
    Floats,
    Frequencies,
    Precision,
    RopeSettings,
    channel_pairs,
    frequencies,
    mrope_axes,
    multimodal_angles,
    stored_pairs,
    turn,
)

SHIFTS = (0, 1, 10, 100, 1000, 10_000)
"""How far `--relative` moves both positions to show that the dot product stays."""

Place = int | tuple[int, int, int]
"""A position, or three of them."""


@dataclass(frozen=True)
class Subject:
    """Whose settings are shown; `model` is None when they were typed."""

    model: Model | None
    layers: tuple[LayerRope, ...]
    context_length: int | None
    nope_layers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """What the user called the model."""
        return None if self.model is None else self.model.name


@dataclass(frozen=True)
class Source:
    """Numbers that are to be turned: one head of them, or a whole row; `fields` say what they are."""

    fields: Mapping[str, Any]
    values: Doubles


@dataclass(frozen=True)
class Manner:
    """How it is turned.

    Attributes:
        length: Tokens in the whole sequence; None is as many as the positions need.
        precision: The arithmetic.
        inverse: Whether it is turned back.
    """

    length: int | None = None
    precision: Precision = "float64"
    inverse: bool = False


@dataclass(frozen=True)
class Turned:
    """One head at one position: the angles of its pairs, and the vector before and after (None: not known how)."""

    place: Place
    fields: Mapping[str, Any]
    angles: Floats
    vector: Floats | None
    rotated: Floats | None


class Session:
    """One run: every layer type of a subject, every position, every head."""

    def __init__(self, subject: Subject, manner: Manner, places: list[Place], sources: list[Source] | None) -> None:
        self.subject = subject
        self.manner = manner
        self.places = places
        self.sources = sources
        self.named = any("id" in source.fields for source in sources or ())

    def warn(self) -> None:
        """Warn of positions beyond the context, and say what was decided about the file."""
        context, reach, length = self.subject.context_length, self._reach(), self.manner.length
        if context is not None and reach is not None and reach > context:
            warn(f"position {reach - 1} is beyond the context of {count(context)} tokens")
        elif context is not None and length is not None and length > context:
            warn(f"a sequence of {count(length)} tokens is longer than the context of {count(context)}")
        if length is not None and reach is not None and reach > length:
            warn(f"a sequence of {count(length)} tokens has no position {reach - 1}")
        for text in self.subject.notes:
            note(text)

    def _reach(self) -> int | None:
        """Tokens of the sequence that holds every position asked."""
        flat = [number for place in self.places for number in (place if isinstance(place, tuple) else (place,))]
        return max(max(flat) + 1, 1) if flat else None

    def frequencies(self, layer: LayerRope) -> Frequencies:
        """How fast the pairs of a layer type turn, in a sequence of the length given or needed."""
        length = self.manner.length if self.manner.length is not None else self._reach()
        return frequencies(layer.settings, length, self.manner.precision)

    def turned(self, layer: LayerRope, turning: Frequencies) -> Iterator[Turned]:
        """Every position and head of a layer type."""
        settings = layer.settings
        for place in self.places:
            angles = _angles(turning, place, settings)
            for fields, vector in self._vectors(settings):
                rotated = None
                if vector is not None:
                    factor = turning.attention_factor
                    rotated = turn(vector, angles, settings, factor, inverse=self.manner.inverse)
                yield Turned(place, fields, angles, vector, rotated)

    def _vectors(self, settings: RopeSettings) -> Iterator[tuple[Mapping[str, Any], Doubles | None]]:
        """Cut what is turned into heads of this layer type."""
        if settings.layout is None:
            yield {}, None
        elif self.sources is None:
            unit = np.ones(settings.head_dim)
            unit[channel_pairs(settings)[:, 1]] = 0
            yield {}, unit
        elif not self.sources:
            yield {}, np.ones(settings.head_dim)
        else:
            for source in self.sources:
                for head, values in enumerate(_cut(source.values, settings.head_dim)):
                    yield {**source.fields, "head": head}, values

    # --- machine formats and JSON

    def listing(self) -> Listing:
        """Everything, for machines."""
        columns = [Column(key) for key in self._keys()]
        context = {"model": self.subject.name}
        return Listing("rope", columns, self._groups(), "pairs", context=context, line=context, document=self._document)

    def _keys(self) -> tuple[str, ...]:
        if not self.places:
            return ("layer_type", "pair", "dims", "inv_freq", "wavelength")
        who = ("query", "id", "piece", "token", "head") if self.named else (("query", "head") if self.sources else ())
        turned = ("turns", "angle", "cos", "sin", "x", "y", "x_rotated", "y_rotated")
        return ("layer_type", "position", *who, "pair", "dims", "inv_freq", "wavelength", *turned)

    def _groups(self) -> Iterator[Group]:
        for layer in self.subject.layers:
            turning = self.frequencies(layer)
            line = {"layer_type": layer.layer_type}
            if not self.places:
                yield Group(pair_records(layer.settings, turning), line=line)
            for turned in self.turned(layer, turning):
                records = turned_records(layer.settings, turning, turned)
                yield Group(records, line={**line, "position": written(turned.place), **turned.fields})

    def _document(self) -> dict[str, Any]:
        layers = [self._layer_document(layer) for layer in self.subject.layers]
        return {
            "model": self.subject.name,
            "context_length": self.subject.context_length,
            "precision": self.manner.precision,
            "inverse": self.manner.inverse,
            "sequence_length": self.manner.length if self.manner.length is not None else self._reach(),
            "layers": layers,
            "nope_layers": list(self.subject.nope_layers),
            "notes": list(self.subject.notes),
        }

    def _layer_document(self, layer: LayerRope) -> dict[str, Any]:
        turning = self.frequencies(layer)
        return {
            **layer_summary(layer, turning, self.subject.context_length),
            "positions": [
                {
                    "position": list(turned.place) if isinstance(turned.place, tuple) else turned.place,
                    **turned.fields,
                    "angle": modulo(turned.angles),
                    "cos": np.cos(turned.angles),
                    "sin": np.sin(turned.angles),
                    "vector": turned.vector,
                    "rotated": turned.rotated,
                }
                for turned in self.turned(layer, turning)
            ],
        }

    # --- only the distance counts

    def relative(self, m: int, n: int) -> Listing:
        """The dot product of a query at m and a key at n, and of the same two moved together."""
        columns = (
            Column("layer_type", title="layers"),
            Column("m", right=True, show=count),
            Column("n", right=True, show=count),
            Column("distance", right=True, show=count),
            Column("dot", right=True, show=lambda value: f"{value:.9f}"),
        )

        def groups() -> Iterator[Group]:
            for layer in self.subject.layers:
                title = f"query at {count(m)}, key at {count(n)}, and both moved: only their distance counts"
                line = {"layer_type": layer.layer_type}
                yield Group(self._dots(layer, m, n), line=line, title=title, after=[self._dotted(layer)])

        def document() -> dict[str, Any]:
            layers = [
                {
                    **layer_summary(layer, self.frequencies(layer), self.subject.context_length),
                    "positions": [],
                    "relative": self._dots(layer, m, n),
                }
                for layer in self.subject.layers
            ]
            return {"model": self.subject.name, "precision": self.manner.precision, "layers": layers}

        context = {"model": self.subject.name}
        return Listing("rope", columns, groups(), "relative", context=context, line=context, document=document)

    def _dots(self, layer: LayerRope, m: int, n: int) -> list[dict[str, Any]]:
        settings = layer.settings
        query, key = self._pair(settings)
        reach = max(m, n, 0) + max(SHIFTS) + 1
        length = self.manner.length if self.manner.length is not None else reach
        turning = frequencies(settings, length, self.manner.precision)
        records = []
        for shift in SHIFTS:
            at, to = (
                turn(vector, turning.angles(place + shift), settings, turning.attention_factor)
                for vector, place in ((query, m), (key, n))
            )
            dot = float((at.astype(np.float64) * to.astype(np.float64)).sum())
            records.append(
                {"layer_type": layer.layer_type, "m": m + shift, "n": n + shift, "distance": m - n, "dot": dot}
            )
        return records

    def _dotted(self, layer: LayerRope) -> str:
        """What the two vectors are."""
        if not self.sources:
            return f"  both are ones, in all {layer.settings.head_dim} channels of a head"
        named = [str(source.fields.get("token") or source.fields["query"]) for source in (self.sources * 2)[:2]]
        return f"  the query is {visible(named[0])}, the key {visible(named[1])}; heads are added up"

    def _pair(self, settings: RopeSettings) -> tuple[Doubles, Doubles]:
        """The query and the key: two tokens' rows, one for both, or ones; each cut into heads."""
        if not self.sources:
            ones = np.ones((1, settings.head_dim))
            return ones, ones
        query, key = (np.stack(_cut(source.values, settings.head_dim)) for source in (self.sources * 2)[:2])
        if query.shape != key.shape:
            raise FormatError(f"a query of {query.size} numbers and a key of {key.size} have no dot product")
        return query, key


def _angles(turning: Frequencies, place: Place, settings: RopeSettings) -> Floats:
    return multimodal_angles(turning, place, settings) if isinstance(place, tuple) else turning.angles(place)


def _cut(values: Doubles, head_dim: int) -> list[Doubles]:
    """Cut a row into heads."""
    if len(values) % head_dim:
        raise ConfigError(f"a row of {len(values)} numbers does not divide into heads of {head_dim}")
    return list(values.reshape(-1, head_dim))


def written(place: Place) -> int | str:
    """Write a position as it was typed."""
    return ",".join(map(str, place)) if isinstance(place, tuple) else place


def modulo(angles: Floats) -> Doubles:
    """Reduce angles to less than a turn, in radians."""
    return np.asarray(angles, np.float64) % (2 * math.pi)


def _dims(settings: RopeSettings) -> list[str | None]:
    """The channels of each pair: where it is read, and where it is stored if elsewhere."""
    if settings.layout is None:
        return [None] * settings.pairs
    read, stored = channel_pairs(settings).tolist(), stored_pairs(settings).tolist()
    moved = settings.layout == "interleaved-in-half-out"
    return [f"{a},{b}>{c},{d}" if moved else f"{a},{b}" for (a, b), (c, d) in zip(read, stored, strict=True)]


def pair_records(settings: RopeSettings, turning: Frequencies) -> list[dict[str, Any]]:
    """Describe each pair: its channels, radians per token, tokens per turn (None for a pair that stands still)."""
    waves = [wave if math.isfinite(wave) else None for wave in turning.wavelength.tolist()]
    columns = zip(_dims(settings), turning.inv_freq.tolist(), waves, strict=True)
    return [
        {"pair": pair, "dims": dims, "inv_freq": inv_freq, "wavelength": wave}
        for pair, (dims, inv_freq, wave) in enumerate(columns)
    ]


def turned_records(settings: RopeSettings, turning: Frequencies, turned: Turned) -> list[dict[str, Any]]:
    """Describe each pair at a position: how far it has turned, and its two channels before and after."""
    exact = np.asarray(turned.angles, np.float64)
    columns: dict[str, list[Any]] = {
        "turns": (exact / (2 * math.pi)).tolist(),
        "angle": modulo(turned.angles).tolist(),
        "cos": np.cos(turned.angles).tolist(),
        "sin": np.sin(turned.angles).tolist(),
    }
    if turned.vector is None or turned.rotated is None:
        columns |= dict.fromkeys(("x", "y", "x_rotated", "y_rotated"), [None] * settings.pairs)
    else:
        read, stored = channel_pairs(settings), stored_pairs(settings)
        columns |= {
            "x": turned.vector[read[:, 0]].tolist(),
            "y": turned.vector[read[:, 1]].tolist(),
            "x_rotated": turned.rotated[stored[:, 0]].tolist(),
            "y_rotated": turned.rotated[stored[:, 1]].tolist(),
        }
    pairs = pair_records(settings, turning)
    return [{**pair, **{key: values[i] for key, values in columns.items()}} for i, pair in enumerate(pairs)]


def layer_summary(layer: LayerRope, turning: Frequencies, context_length: int | None) -> dict[str, Any]:
    """Describe a layer type by the keys of `rope@1`, without positions."""
    settings = layer.settings
    return {
        **layer_document(layer),
        "attention_factor": turning.attention_factor,
        "mrope_axes": None if settings.mrope_section is None else [AXES[axis] for axis in mrope_axes(settings)],
        **{name: settings.stretching[name] for name in PER_PAIR if name in settings.stretching},
        "precision": turning.precision,
        "inv_freq": turning.inv_freq,
        "wavelength": turning.wavelength,
        "unfinished_pairs": None if context_length is None else turning.unfinished(context_length),
    }
