"""`embtool rope`: how rotary positions turn a vector."""

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import pool
from embtool.cli.batch import Batch
from embtool.cli.dials import dial
from embtool.cli.messages import note, warn
from embtool.cli.options import ModelOptions, OutputOptions, Texts, TokenOptions, token_fields
from embtool.cli.position import PER_PAIR, closing, layer_document, layer_lines, no_rope, ranges, setting
from embtool.dtypes import Doubles
from embtool.errors import ConfigError, FormatError, LocalFailure
from embtool.model import Model
from embtool.output import Column, Format, Group, Listing, abridge, count, visible
from embtool.positions import LayerRope, Rope
from embtool.rope import (
    AXES,
    Floats,
    Frequencies,
    Layout,
    RopeSettings,
    channel_pairs,
    frequencies,
    mrope_axes,
    multimodal_angles,
    stored_pairs,
    turn,
)
from embtool.source import SMALL_FILE_LIMIT
from embtool.vectors import parse_vectors
from embtool.vocabulary import Query

MOST_POSITIONS = 10_000
"""Positions in one call: a typing error in a range must not exhaust the memory."""

SHOWN_PAIRS = 12
"""Pairs shown on a terminal; of more, the first, middle and last ones. Machine formats have all."""

DIALS_WIDTH = 45
"""Columns of a terminal of 80 that are left for dials side by side; of more positions, the ends and the middle."""

SHIFTS = (0, 1, 10, 100, 1000, 10_000)
"""How far `--relative` moves both positions to show that the dot product stays."""

BAR = 16
"""Characters of the bar of the longest wavelength."""

GAP = 3
"""Columns between two columns of a table."""

LONGEST_NAME = 40
"""Characters of a model's name in a title."""

ELLIPSIS = "…"

COMPARE = 3
"""Words of `rope compare A B`."""


class PairLayout(StrEnum):
    """Which two channels make a pair."""

    HALF = "half"
    INTERLEAVED = "interleaved"
    INTERLEAVED_IN_HALF_OUT = "interleaved-in-half-out"


class Arithmetic(StrEnum):
    """How numbers are rounded."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class RotationOptions:
    """What is turned, where to, and how."""

    pos: Annotated[
        list[str] | None,
        typer.Option("--pos", metavar="N|A..B|T,H,W", help="A position, a range, or the three of an image patch."),
    ] = None
    relative: Annotated[
        tuple[int, int] | None,
        typer.Option("--relative", metavar="M N", help="Show that the dot product depends on M - N only."),
    ] = None
    vector: Annotated[
        str | None,
        typer.Option(metavar="ones|FILE|-", help="Turn these numbers: ones, or an npy, JSON or TSV file; - is stdin."),
    ] = None
    inverse: Annotated[bool, typer.Option("--inverse", help="Turn back: undo the rotation of that position.")] = False
    length: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens in the whole sequence; long ones change some RoPE types."),
    ] = None
    precision: Annotated[
        Arithmetic, typer.Option(help="float64 is exact; float32 repeats the rounding of transformers.")
    ] = Arithmetic.FLOAT64


@dataclass(frozen=True)
class SettingsOptions:
    """Settings that need no model."""

    theta: Annotated[float | None, typer.Option(help="The base, without a model.", rich_help_panel="Model")] = None
    dim: Annotated[int | None, typer.Option(help="Channels of a head, without a model.", rich_help_panel="Model")] = (
        None
    )
    layout: Annotated[
        PairLayout | None, typer.Option(help="Which two channels make a pair.", rich_help_panel="Model")
    ] = None


def run(
    tokens: Texts = None,
    *,
    rotation: RotationOptions,
    settings: SettingsOptions,
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Show how rotary positions turn a vector: frequencies, wavelengths, and with --pos the angles.

    Without --pos: how fast each pair of channels turns. With --pos: how far each has turned there, and a vector before
    and after. Without a TOKEN or --vector that vector points along the first channel of each pair, so that what comes
    out is cos and sin. `embtool rope compare A B` sets two models side by side.
    """
    positions = _positions(rotation.pos)
    if tokens and tokens[0] == "compare" and not positions and rotation.relative is None:
        if model.models or len(tokens) != COMPARE:
            raise typer.BadParameter("compare takes two models: embtool rope compare A B")
        output.emit(_compare(_of_model(model.open_named(tokens[1])), _of_model(model.open_named(tokens[2])), rotation))
        return
    if (tokens or rotation.vector) and not positions and rotation.relative is None:
        raise typer.BadParameter("say where the vector stands: --pos N")
    if tokens and rotation.vector is not None:
        raise typer.BadParameter("--vector is what is turned: name no tokens beside it")
    subject = _subject(settings, model)
    heads = _heads(tokens, rotation.vector, token, subject)
    session = _Session(subject, rotation, positions, heads)
    if rotation.relative is not None:
        output.emit(session.relative(*rotation.relative))
        return
    session.warn()
    output.emit(session.listing(on_terminal=output.format is Format.TABLE))


# --- what is asked ----------------------------------------------------------------------------------------------------

Place = int | tuple[int, int, int]
"""A position, or three of them."""

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
TRIPLE = re.compile(r"(-?\d+),(-?\d+),(-?\d+)")
LARGEST = 2**53
"""The largest position: beyond it neighbouring positions are one number."""


def _positions(texts: Sequence[str] | None) -> list[Place]:
    """Read every --pos."""
    places: list[Place] = []
    for text in texts or ():
        numbers = [int(number) for number in re.findall(r"-?\d{1,17}", text)]
        if any(abs(number) > LARGEST for number in numbers):
            raise typer.BadParameter(f"--pos {text} is beyond 2^53")
        if RANGE.fullmatch(text):
            first, last = numbers
            if last < first or last - first >= MOST_POSITIONS:
                raise typer.BadParameter(f"--pos {text} is not a range of 1 to {count(MOST_POSITIONS)} positions")
            places += range(first, last + 1)
        elif TRIPLE.fullmatch(text):
            places.append((numbers[0], numbers[1], numbers[2]))
        elif re.fullmatch(r"-?\d+", text):
            places.append(numbers[0])
        else:
            raise typer.BadParameter(f"--pos is a position, a range A..B or three positions T,H,W, not {text!r}")
    if len(places) > MOST_POSITIONS:
        raise typer.BadParameter(f"--pos names more than {count(MOST_POSITIONS)} positions")
    return places


@dataclass(frozen=True)
class _Subject:
    """Whose settings are shown; `model` is None when they were typed."""

    model: Model | None
    layers: tuple[LayerRope, ...]
    context_length: int | None
    nope_layers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        return None if self.model is None else self.model.name


def _subject(options: SettingsOptions, model: ModelOptions) -> _Subject:
    """Take the settings typed, or those of the model."""
    layout: Layout | None = None if options.layout is None else options.layout.value
    if options.theta is None and options.dim is None:
        subject = _of_model(model.open())
        if layout is None:
            return subject
        changed = (replace(layer, settings=replace(layer.settings, layout=layout)) for layer in subject.layers)
        return replace(subject, layers=tuple(changed))
    if model.models:
        raise typer.BadParameter("--theta and --dim need no model: leave out -m")
    if options.dim is None:
        raise typer.BadParameter("--theta needs --dim, the channels of a head")
    try:
        typed = RopeSettings(
            head_dim=options.dim,
            rope_theta=10_000.0 if options.theta is None else options.theta,
            layout="half" if layout is None else layout,
        )
    except ConfigError as error:
        raise typer.BadParameter(error.message) from error
    return _Subject(None, (LayerRope(layer_type="all", layers=None, settings=typed, origins={}),), None)


def _of_model(model: Model) -> _Subject:
    rope = model.positions
    if not isinstance(rope, Rope):
        raise no_rope(model.name, rope)
    return _Subject(model, rope.layers, rope.context_length, rope.nope_layers, rope.notes)


@dataclass(frozen=True)
class _Source:
    """Numbers that are to be turned: one head of them, or a whole row; `fields` say what they are."""

    fields: Mapping[str, Any]
    values: Doubles


def _heads(
    tokens: Sequence[str] | None, vector: str | None, options: TokenOptions, subject: _Subject
) -> list[_Source] | None:
    """Read the vectors that are to be turned; None for the unit pairs."""
    if tokens:
        return _token_rows(list(tokens), options, subject)
    if vector is None:
        return None
    if vector == "ones":
        return []
    named = parse_vectors(_read(vector), file=vector)
    return [_Source({"query": item.name or f"vector {place}"}, item.values) for place, item in enumerate(named)]


def _read(vector: str) -> bytes:
    if vector == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise typer.BadParameter("--vector - reads stdin, and nothing is piped in")
        return sys.stdin.buffer.read(SMALL_FILE_LIMIT)
    try:
        with Path(vector).open("rb") as file:
            return file.read(SMALL_FILE_LIMIT)
    except OSError as error:
        raise LocalFailure(f"cannot read {vector}: {error.strerror or error}") from error


def _token_rows(tokens: list[str], options: TokenOptions, subject: _Subject) -> list[_Source]:
    """Read the rows of tokens: an illustration, which is said."""
    model = subject.model
    if model is None:
        raise typer.BadParameter("--theta and --dim name no model to look tokens up in")
    table = model.input_table
    queries = Batch(tokens, options, table, lambda: model.vocabulary_if_any).all()
    note("a model turns queries and keys inside each head, never a row: a row cut into heads is an illustration")

    def source(query: Query) -> _Source:
        rows = table.rows(query.ids)
        if len(query.ids) > 1:
            pooled = np.asarray(pool(rows, options.pool or "mean"), np.float64)
            return _Source({"query": query.text, **dict.fromkeys(("id", "piece", "token", "bytes"))}, pooled)
        vocabulary = model.vocabulary_if_any
        entry = None if vocabulary is None else vocabulary.token(query.ids[0])
        return _Source({"query": query.text, **token_fields(entry, query.ids[0])}, rows[0].astype(np.float64))

    return [source(query) for query in queries]


# --- the answer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turned:
    """One head at one position: the angles of its pairs, and the vector before and after (None: not known how)."""

    place: Place
    fields: Mapping[str, Any]
    angles: Floats
    vector: Floats | None
    rotated: Floats | None


class _Session:
    """One run: every layer type of a subject, every position, every head."""

    def __init__(
        self, subject: _Subject, options: RotationOptions, places: list[Place], sources: list[_Source] | None
    ) -> None:
        self.subject = subject
        self.options = options
        self.places = places
        self.sources = sources
        self.named = bool(sources) and "id" in (sources or [_Source({}, np.empty(0))])[0].fields
        for layer in subject.layers:
            if layer.settings.mrope_section is None and any(isinstance(place, tuple) for place in places):
                raise typer.BadParameter(f"three positions need mRoPE, and {subject.name or 'this'} has one per token")
            if layer.settings.layout is None and (sources is not None or options.relative is not None):
                raise ConfigError(
                    f"the family of {subject.name} is not known, and so not which two channels make a pair",
                    hint=f"say which: --layout {' or '.join(PairLayout)}",
                )

    def warn(self) -> None:
        """Warn of positions beyond the context, and say what was decided about the file."""
        context, reach, length = self.subject.context_length, self._reach(), self.options.length
        if context is not None and reach is not None and reach > context:
            warn(f"position {reach - 1} is beyond the context of {count(context)} tokens")
        elif context is not None and length is not None and length > context:
            warn(f"a sequence of {count(length)} tokens is longer than the context of {count(context)}")
        for text in self.subject.notes:
            note(text)

    def _reach(self) -> int | None:
        """Tokens of the sequence that holds every position asked."""
        flat = [number for place in self.places for number in (place if isinstance(place, tuple) else (place,))]
        return max(max(flat) + 1, 1) if flat else None

    def frequencies(self, layer: LayerRope) -> Frequencies:
        """How fast the pairs of a layer type turn, in a sequence of the length given or needed."""
        length = self.options.length if self.options.length is not None else self._reach()
        return frequencies(layer.settings, length, self.options.precision.value)

    def turned(self, layer: LayerRope, turning: Frequencies) -> Iterator[_Turned]:
        """Every position and head of a layer type."""
        settings = layer.settings
        for place in self.places:
            angles = _angles(turning, place, settings)
            for fields, vector in self._vectors(settings):
                rotated = None
                if vector is not None:
                    factor = turning.attention_factor
                    rotated = turn(vector, angles, settings, factor, inverse=self.options.inverse)
                yield _Turned(place, fields, angles, vector, rotated)

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

    def listing(self, *, on_terminal: bool) -> Listing:
        """Everything, for machines; and for a reader what fits a screen."""
        columns = [Column(key) for key in self._keys()]
        context = {"model": self.subject.name}
        listing = Listing(
            "rope", columns, self._groups(), "pairs", context=context, line=context, document=self._document
        )
        return replace(listing, terminal=_Terminal(self).listing()) if on_terminal else listing

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
                yield Group(records, line={**line, "position": _written(turned.place), **turned.fields})

    def _document(self) -> dict[str, Any]:
        layers = [self._layer_document(layer) for layer in self.subject.layers]
        return {
            "model": self.subject.name,
            "context_length": self.subject.context_length,
            "precision": self.options.precision.value,
            "inverse": self.options.inverse,
            "sequence_length": self.options.length if self.options.length is not None else self._reach(),
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
                    "angle": _modulo(turned.angles),
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
            return {"model": self.subject.name, "precision": self.options.precision.value, "layers": layers}

        context = {"model": self.subject.name}
        return Listing("rope", columns, groups(), "relative", context=context, line=context, document=document)

    def _dots(self, layer: LayerRope, m: int, n: int) -> list[dict[str, Any]]:
        settings = layer.settings
        query, key = self._pair(settings)
        reach = max(m, n, 0) + max(SHIFTS) + 1
        length = self.options.length if self.options.length is not None else reach
        turning = frequencies(settings, length, self.options.precision.value)
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


def _written(place: Place) -> int | str:
    return ",".join(map(str, place)) if isinstance(place, tuple) else place


def _modulo(angles: Floats) -> Doubles:
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


def turned_records(settings: RopeSettings, turning: Frequencies, turned: _Turned) -> list[dict[str, Any]]:
    """Describe each pair at a position: how far it has turned, and its two channels before and after."""
    exact = np.asarray(turned.angles, np.float64)
    columns: dict[str, list[Any]] = {
        "turns": (exact / (2 * math.pi)).tolist(),
        "angle": _modulo(turned.angles).tolist(),
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


# --- for a reader -----------------------------------------------------------------------------------------------------


class _Terminal:
    """The same for a reader: rounded, abridged, with a dial for every turn."""

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.subject = session.subject

    def listing(self) -> Listing:
        """What fits a screen: frequencies; one position; or several side by side."""
        places = self.session.places
        if not places:
            columns, groups = self._frequency_columns(), self._frequencies()
        elif len(places) > 1 and self.session.sources is None:
            columns, groups = self._side_columns(), self._side_by_side()
        else:
            columns, groups = self._turn_columns(), self._turns()
        return Listing("rope", columns, groups, "pairs")

    def _title(self, layer: LayerRope, place: Place | None = None, what: str = "") -> str:
        """The model, the kind of layer, and what is turned where."""
        parts = [abridge(self.subject.name, LONGEST_NAME) if self.subject.name is not None else "RoPE"]
        parts += [] if layer.layer_type == "all" else [layer.layer_type]
        parts += [f"{count(layer.layer_count)} layers"] if layer.layer_count else []
        parts += [] if place is None else [_placed(place)]
        return "   ".join([*parts, what] if what else parts)

    def _remarks(self, layer: LayerRope, turning: Frequencies, legend: str) -> list[str]:
        """What the table does not show."""
        found = layer_lines(layer, turning)
        if layer.settings.mrope_section is not None:
            found.append("for text the three positions t, h, w are one")
        found += [*self._passing(layer, turning), *self._context(turning)]
        if self.subject.nope_layers and layer is self.subject.layers[-1]:
            found.append(f"layers without positions: {ranges(self.subject.nope_layers)}")
        found += [legend, f"computed in {turning.precision}"]
        return closing(found)

    def _passing(self, layer: LayerRope, turning: Frequencies) -> list[str]:
        settings = layer.settings
        found = []
        if settings.layout is not None and settings.turning_width < settings.head_dim:
            paired = set(channel_pairs(settings).ravel().tolist())
            rest = [channel for channel in range(settings.head_dim) if channel not in paired]
            found.append(f"channels {ranges(rest)} pass through unrotated")
        still = np.flatnonzero(turning.inv_freq == 0).tolist()
        if still:
            found.append(f"pairs {ranges(still)} stand still: their channels pass through unrotated")
        return found

    def _context(self, turning: Frequencies) -> list[str]:
        context = self.subject.context_length
        waves = turning.wavelength[np.isfinite(turning.wavelength)]
        if context is None or not len(waves):
            return []
        found = [f"context {count(context)} tokens, longest wavelength {_tokens(float(waves.max()))}"]
        unfinished = turning.unfinished(context)
        unfinished = unfinished[turning.inv_freq[unfinished] > 0].tolist()
        if not unfinished:
            return [*found, "every pair completes a turn within the context"]
        never = "never completes" if len(unfinished) == 1 else "never complete"
        noun = "pair" if len(unfinished) == 1 else "pairs"
        return [*found, f"{noun} {ranges(unfinished)} {never} a turn within the context"]

    # without a position

    def _frequency_columns(self) -> list[Column]:
        context = self.subject.context_length
        return [
            Column("pair", right=True, style="dim"),
            Column("dims", show=_text),
            Column("inv_freq", right=True, show=_number),
            Column("wavelength", right=True, show=_tokens),
            *([Column("in_context", title="in context", right=True, show=_rounded)] if context else []),
            Column("bar", title="", style="cyan", show=_text),
        ]

    def _frequencies(self) -> Iterator[Group]:
        legend = "inv_freq: radians per token; wavelength: tokens per turn"
        if self.subject.context_length:
            legend += "; in context: turns"
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            records = pair_records(layer.settings, turning)
            longest = max((record["wavelength"] for record in records if record["wavelength"]), default=1.0)
            for record in records:
                wave = record["wavelength"]
                record["in_context"] = None if wave is None else (self.subject.context_length or 0) / wave
                share = math.log1p(wave) / math.log1p(longest) if wave else 0.0
                record["bar"] = "█" * max(1, round(BAR * share)) if wave else "stands still"
            yield Group(_shorten(records), title=self._title(layer), after=self._remarks(layer, turning, legend))

    # at one position

    def _turn_columns(self) -> list[Column]:
        first = [Column("pair", right=True, style="dim"), Column("dims", show=_text)]
        turned = [Column("angle", right=True, show=_degrees), Column("dial", title="", style="cyan", show=_text)]
        if self.session.sources is None:
            return [
                *first,
                Column("wavelength", right=True, show=_tokens),
                Column("turns", right=True, show=_rounded),
                *turned,
                Column("cos", right=True, show=_component),
                Column("sin", right=True, show=_component),
            ]
        vector = [Column(key, right=True, show=_component) for key in ("x", "y")]
        rotated = [Column(key, right=True, show=_component, style="bold") for key in ("x_rotated", "y_rotated")]
        return [*first, *turned, *vector, *rotated]

    def _turns(self) -> Iterator[Group]:
        legend = "wavelength: tokens per turn" if self.session.sources is None else "x and y are the channels of a pair"
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            remarks = self._remarks(layer, turning, legend)
            for turned in self.session.turned(layer, turning):
                records = turned_records(layer.settings, turning, turned)
                for record in records:
                    record["dial"] = dial(record["angle"]) if record["inv_freq"] else ""
                yield Group(
                    _shorten(records), title=self._title(layer, turned.place, self._what(turned)), after=remarks
                )
                remarks = []  # once per layer type

    def _what(self, turned: _Turned) -> str:
        """Which vector it is, and which way it is turned."""
        parts = []
        if turned.fields:
            name = turned.fields.get("token") or turned.fields["query"]
            parts.append(f"{abridge(visible(str(name)), LONGEST_NAME // 2)}, head {turned.fields['head']}")
        if self.session.options.inverse:
            parts.append("turned back")
        return ", ".join(parts)

    # at several positions

    def _side_columns(self) -> list[Column]:
        shown = [
            Column(f"dial {place}", title=place, right=True, show=_text, style="cyan") for place in self._shown_places()
        ]
        return [
            Column("pair", right=True, style="dim"),
            Column("dims", show=_text),
            Column("wavelength", right=True, show=_tokens),
            *shown,
        ]

    def _shown_places(self) -> list[str]:
        """As many positions as fit side by side."""
        written = [str(_written(place)) for place in self.session.places]
        most = DIALS_WIDTH // (max(map(len, written)) + GAP)
        return _ends(written, max(most, 3))

    def _left_out(self) -> str:
        rest = len(self.session.places) - len(self._shown_places())
        return f"; {count(rest)} more positions in JSON and TSV" if rest else ""

    def _side_by_side(self) -> Iterator[Group]:
        for layer in self.subject.layers:
            turning = self.session.frequencies(layer)
            records = pair_records(layer.settings, turning)
            for turned in self.session.turned(layer, turning):
                key = f"dial {_written(turned.place)}"
                for record, angle in zip(records, _modulo(turned.angles).tolist(), strict=True):
                    record[key] = dial(angle) if record["inv_freq"] else ""
            legend = f"wavelength: tokens per turn; → is no turn{self._left_out()}"
            yield Group(_shorten(records), title=self._title(layer), after=self._remarks(layer, turning, legend))


def _ends(items: Sequence[Any], most: int) -> list[Any]:
    """Cut a sequence to its first, middle and last items."""
    if len(items) <= most:
        return list(items)
    part, extra = divmod(most, 3)
    first, middle = part + extra, (len(items) - part) // 2
    return [*items[:first], *items[middle : middle + part], *items[-part:]]


def _shorten(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first, middle and last pairs, with a line of dots where some are left out."""
    kept = _ends(records, SHOWN_PAIRS)
    if len(kept) == len(records):
        return kept
    gap = {key: ELLIPSIS if key == "pair" else "" for record in records[:1] for key in record}
    result = kept[:1]
    for before, after in pairwise(kept):
        if after["pair"] != before["pair"] + 1:
            result.append(gap)
        result.append(after)
    return result


def _text(value: Any) -> str:
    return str(value)


def _placed(place: Place) -> str:
    if isinstance(place, int):
        return f"position {count(place)}"
    return ", ".join(f"{axis} {count(number)}" for axis, number in zip(AXES, place, strict=True))


TINY, BIG, VAST = 1e-3, 1e4, 1e12
"""Where a number is rather written with an exponent, without decimals, or with an exponent again."""


def _number(value: Any) -> str:
    """Round for reading; the line of dots stays empty."""
    if isinstance(value, str):
        return value
    return f"{value:,.4f}" if TINY <= abs(value) < VAST or value == 0 else f"{value:.2e}"


def _rounded(value: Any) -> str:
    """Round a number of turns: the fewer, the more decimals."""
    if isinstance(value, str):
        return value
    if 0 < abs(value) < TINY:
        return f"{value:.1e}"
    return f"{value:,.1f}" if abs(value) >= 1 / TINY else f"{value:.4f}"


def _component(value: Any) -> str:
    """Round a component of a vector; no minus before what rounds to zero."""
    if isinstance(value, str):
        return value
    return f"{value:.2e}" if abs(value) >= BIG else f"{round(value, 4) + 0.0:.4f}"


def _tokens(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if value < BIG else f"{value:,.0f}" if value < VAST else f"{value:.2e}"


def _degrees(value: Any) -> str:
    return value if isinstance(value, str) else f"{math.degrees(value):.1f}°"


# --- two models -------------------------------------------------------------------------------------------------------

COMPARED = (
    *("layer_count", "rope_type", "rope_theta", "head_dim", "rotary_dim", "layout", "rotated_part", "direction"),
    *("attention_factor", "mrope_section", "context_length", "longest_wavelength", "unfinished_pairs"),
)
"""The settings that are set side by side."""


def _compare(one: _Subject, other: _Subject, options: RotationOptions) -> Listing:
    """Set the settings and wavelengths of two models side by side."""
    described = [[_summary(subject, layer, options) for layer in subject.layers] for subject in (one, other)]
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


def _compared_on_terminal(one: _Subject, other: _Subject, sides: list[list[dict[str, Any]]]) -> Listing:
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
        kept = [record for record in records if record not in waves] + _ends(waves, SHOWN_PAIRS)
        shown = [record | {side: _side(record["field"], record[side]) for side in ("a", "b")} for record in kept]
        kind = "" if records[0]["layer_type"] == "all" else f"   {records[0]['layer_type']}"
        groups.append(Group(shown, title=f"A: {names[0]}   B: {names[1]}{kind}"))
    return Listing("rope-compare", columns, groups, "fields")


def _summary(subject: _Subject, layer: LayerRope, options: RotationOptions) -> dict[str, Any]:
    turning = frequencies(layer.settings, options.length, options.precision.value)
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
        return _tokens(value) if "wavelength" in field else setting(value)
    return count(value) if isinstance(value, int) else value
