"""`embtool rope`: how rotary positions turn a vector.

Here is what a person can ask; `rope_session` computes the answer, `rope_terminal` shows it to a reader, `rope_picture`
draws it, `rope_compare` sets two models side by side.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embtool.arithmetic import pool
from embtool.cli import completion
from embtool.cli.batch import Batch
from embtool.cli.explanations import explain_rope
from embtool.cli.messages import note
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions, Texts, TokenOptions, token_fields
from embtool.cli.pictures import drawer
from embtool.cli.position import no_rope
from embtool.cli.reading import read_input
from embtool.cli.rope_compare import compare
from embtool.cli.rope_picture import KINDS, picture_of
from embtool.cli.rope_session import Manner, Place, Session, Source, Subject
from embtool.cli.rope_terminal import Terminal
from embtool.cli.writing import Force, write
from embtool.errors import ConfigError
from embtool.model import Model
from embtool.output import Format, count
from embtool.positions import UNKNOWN_LAYOUT, LayerRope, Rope
from embtool.rope import Layout, RopeSettings, frequencies
from embtool.vectors import parse_vectors
from embtool.vocabulary import Query

MOST_POSITIONS = 10_000
"""Positions in one call: a typing error in a range must not exhaust the memory."""

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
        typer.Option(
            metavar="ones|FILE|-",
            autocompletion=completion.files,
            help="Turn these numbers: ones, or an npy, JSON or TSV file; - is stdin.",
        ),
    ] = None
    inverse: Annotated[bool, typer.Option("--inverse", help="Turn back: undo the rotation of that position.")] = False
    length: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens in the whole sequence; long ones change some RoPE types."),
    ] = None
    precision: Annotated[
        Arithmetic, typer.Option(help="float64 is exact; float32 repeats the rounding of transformers.")
    ] = Arithmetic.FLOAT64

    @property
    def manner(self) -> Manner:
        """How it is turned."""
        return Manner(self.length, self.precision.value, self.inverse)


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
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw the dials of --pos: .svg or .png.")
    ] = None,
    force: Force = False,
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show how rotary positions turn a vector: frequencies, wavelengths, and with --pos the angles.

    Without --pos: how fast each pair of channels turns. With --pos: how far each has turned there, and a vector before
    and after. Without a TOKEN or --vector that vector points along the first channel of each pair, so that what comes
    out is cos and sin. `embtool rope compare A B` sets two models side by side.

    With -o a picture: every pair is a hand on a dial, and a row of dials shows how far each has turned at a position;
    of many pairs and positions some, evenly spaced. .svg needs nothing else, .png needs matplotlib. Angles are printed
    as well if a format is named.
    """
    positions = _positions(rotation.pos)
    draw = drawer(out, KINDS, force=force)
    vector = bool(tokens) or rotation.vector is not None or rotation.relative is not None
    if draw is not None and (vector or not positions):
        raise typer.BadParameter("-o draws how far positions turn: name --pos, and no token, --vector or --relative")
    if tokens and tokens[0] == "compare" and not positions and rotation.relative is None:
        if model.models or len(tokens) != COMPARE:
            raise typer.BadParameter("compare takes two models: embtool rope compare A B")
        one, other = (_of_model(model.open_named(name)) for name in tokens[1:])
        output.emit(compare(one, other, rotation.manner))
        if explain.explain:
            typed = ("-m", str(one.name), *model.reached)
            explain_rope(typed, placed=False, relative=False, layout_known=False).show(output.format)
        return
    _check_options(tokens, rotation, positions)
    subject = _subject(settings, model)
    _check(subject, positions, turns=vector)
    session = Session(subject, rotation.manner, positions, _sources(tokens, rotation.vector, token, subject))
    if rotation.relative is None:
        session.warn()
    if out is not None and draw is not None:
        drawing = picture_of(session)
        write(draw(drawing), out, about=f": {drawing.title}")
    if draw is None or output.asked is not None:
        _answer(session, rotation.relative, output)
    if explain.explain:
        known = all(layer.settings.layout is not None for layer in subject.layers)
        explained = explain_rope(
            _retyped(subject, settings, model),
            placed=bool(positions),
            relative=rotation.relative is not None,
            layout_known=known,
        )
        explained.show(output.format)


def _answer(session: Session, relative: tuple[int, int] | None, output: OutputOptions) -> None:
    """Print what the session computes."""
    if relative is not None:
        output.emit(session.relative(*relative))
        return
    listing = session.listing()
    if output.format is Format.TABLE:
        listing = replace(listing, terminal=Terminal(session).listing())
    output.emit(listing)


def _retyped(subject: Subject, settings: SettingsOptions, model: ModelOptions) -> tuple[str, ...]:
    """The options that name this subject again."""
    layout = () if settings.layout is None else ("--layout", settings.layout.value)
    if subject.name is not None:
        return (*layout, "-m", subject.name, *model.reached)
    theta = () if settings.theta is None else ("--theta", repr(settings.theta))
    return (*theta, "--dim", str(settings.dim), *layout)


# --- what is asked ----------------------------------------------------------------------------------------------------

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
TRIPLE = re.compile(r"(-?\d+),(-?\d+),(-?\d+)")
TYPED = {"head_dim": "--dim", "rotary_dim": "--dim", "rope_theta": "--theta"}
"""The options that settings are typed as."""

USUAL = "usual, not stated"
"""The origin of a setting that was not typed."""

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


def _check_options(tokens: Sequence[str] | None, rotation: RotationOptions, places: Sequence[Place]) -> None:
    """Refuse options that contradict each other."""
    if places and rotation.relative is not None:
        raise typer.BadParameter("--relative M N names its positions itself: leave out --pos")
    if (tokens or rotation.vector or rotation.inverse) and not places and rotation.relative is None:
        raise typer.BadParameter("say where the vector stands: --pos N")
    if tokens and rotation.vector is not None:
        raise typer.BadParameter("--vector is what is turned: name no tokens beside it")


def _subject(options: SettingsOptions, model: ModelOptions) -> Subject:
    """Take the settings typed, or those of the model."""
    layout: Layout | None = None if options.layout is None else options.layout.value
    if options.theta is None and options.dim is None:
        subject = _of_model(model.open())
        if layout is None:
            return subject
        notes = tuple(text for text in subject.notes if text != UNKNOWN_LAYOUT)
        return replace(subject, layers=tuple(_laid_out(layer, layout) for layer in subject.layers), notes=notes)
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
        frequencies(typed)
    except ConfigError as error:
        name, _, rest = error.message.partition(" ")
        raise typer.BadParameter(f"{TYPED.get(name, name)} {rest}") from error
    origins = {"head_dim": "--dim", "rope_theta": USUAL if options.theta is None else "--theta"}
    origins |= {"layout": USUAL if layout is None else "--layout"}
    return Subject(None, (LayerRope(layer_type="all", layers=None, settings=typed, origins=origins),), None)


def _laid_out(layer: LayerRope, layout: Layout) -> LayerRope:
    """The same layers with another layout."""
    origins = {**layer.origins, "layout": "--layout"}
    return replace(layer, settings=replace(layer.settings, layout=layout), origins=origins)


def _of_model(model: Model) -> Subject:
    rope = model.positions
    if not isinstance(rope, Rope):
        raise no_rope(model.name, rope)
    return Subject(model, rope.layers, rope.context_length, rope.nope_layers, rope.notes)


def _check(subject: Subject, places: Sequence[Place], *, turns: bool) -> None:
    """Refuse what this subject cannot answer."""
    for layer in subject.layers:
        if layer.settings.mrope_section is None and any(isinstance(place, tuple) for place in places):
            raise typer.BadParameter(f"three positions need mRoPE, and {subject.name or 'this'} has one per token")
        if layer.settings.layout is None and turns:
            raise ConfigError(
                f"the family of {subject.name} is not known, and so not which two channels make a pair",
                hint=f"say which: --layout {' or '.join(PairLayout)}",
            )


def _sources(
    tokens: Sequence[str] | None, vector: str | None, options: TokenOptions, subject: Subject
) -> list[Source] | None:
    """Read the vectors that are to be turned; None for the unit pairs."""
    if tokens:
        return _token_rows(list(tokens), options, subject)
    if vector is None:
        return None
    if vector == "ones":
        return []
    named = parse_vectors(read_input(Path(vector), "--vector"), file=vector)
    return [Source({"query": item.name or f"vector {place}"}, item.values) for place, item in enumerate(named)]


def _token_rows(tokens: list[str], options: TokenOptions, subject: Subject) -> list[Source]:
    """Read the rows of tokens: an illustration, which is said."""
    model = subject.model
    if model is None:
        raise typer.BadParameter("--theta and --dim name no model to look tokens up in")
    table = model.input_table
    queries = Batch(tokens, options, table, model).all()
    note("a model turns queries and keys inside each head, never a row: a row cut into heads is an illustration")

    def source(query: Query) -> Source:
        rows = table.rows(query.ids)
        if len(query.ids) > 1:
            pooled = np.asarray(pool(rows, options.pool or "mean"), np.float64)
            return Source({"query": query.text, **dict.fromkeys(("id", "piece", "token", "bytes"))}, pooled)
        vocabulary = model.vocabulary_if_any
        entry = None if vocabulary is None else vocabulary.token(query.ids[0])
        return Source({"query": query.text, **token_fields(entry, query.ids[0])}, rows[0].astype(np.float64))

    return [source(query) for query in queries]
