"""`embtool rope`: how rotary positions turn a vector."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers.machine import to_readable_json
from embtool.answers.text import count, plain_number
from embtool.cli import completion
from embtool.cli.batch import Batch
from embtool.cli.explanations import explain_rope
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions, TokenOptions, TokensAsked
from embtool.cli.pictures import drawer
from embtool.cli.reading import read_input, read_vectors
from embtool.cli.writing import STDOUT, Force, check_free, write
from embtool.drawings.drawing import Drawing, to_png, to_svg
from embtool.errors import ConfigError
from embtool.judge import parse_trace
from embtool.model import Model
from embtool.positions import LayerRope, RopeOverride
from embtool.questions.rope import RopeAnswer, ask_rope
from embtool.questions.rope_compare import compare_rope
from embtool.questions.rope_decay import RopeDecay, ask_decay
from embtool.questions.rope_golden import ask_golden
from embtool.questions.rope_judge import ask_judge
from embtool.questions.rope_picture import picture_of
from embtool.questions.rope_relative import RelativeAnswer, ask_relative
from embtool.questions.rotation import Manner, Place, Rotary, Vectors, given_to, rotary_of, vectors_of
from embtool.rope import Layout, RopeSettings, frequencies

DISAGREES = 1
"""The exit status when an engine does not agree."""

MOST_POSITIONS = 10_000
"""Positions in one call: a typing error in a range must not exhaust the memory."""

PLACE = re.compile(r"-?[0-9]{1,40}")
"""The digits of a position; as it is printed or said, 1,000 or 1e6, it becomes these."""

THREE = re.compile(r"-?[0-9]{1,40}(?:, ?-?[0-9]{1,40}){2}")

TYPED = {"head_dim": "--dim", "rotary_dim": "--dim", "rope_theta": "--theta"}
"""The options that settings are typed as."""

USUAL = "usual, not stated"
"""The origin of a setting that was not typed."""

KINDS: dict[str, Callable[[Drawing], bytes]] = {".svg": to_svg, ".png": to_png}
"""What draws dials, by the end of the file's name."""


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
    decay: Annotated[
        str | None,
        typer.Option("--decay", metavar="A..B", help="What is left of a dot product at these distances."),
    ] = None
    vector: Annotated[
        str | None,
        typer.Option(
            metavar="ones|FILE|-",
            autocompletion=completion.files,
            help="Turn these numbers: ones, an npy, JSON or TSV file, or x.safetensors:TENSOR#ROWS; - is stdin.",
        ),
    ] = None
    inverse: Annotated[bool, typer.Option("--inverse", help="Turn back: undo the rotation of that position.")] = False
    length: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens in the whole sequence; long ones change some RoPE types."),
    ] = None
    precision: Annotated[
        Arithmetic, typer.Option(help="float64 is exact; float32 rounds as transformers does, within 1 ulp.")
    ] = Arithmetic.FLOAT64

    @property
    def manner(self) -> Manner:
        """How it is turned."""
        return Manner(self.length, self.precision.value, self.inverse)


@dataclass(frozen=True)
class SettingsOptions:
    """Settings that are given: in place of a model's own, or with --dim without a model."""

    scaling: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE:N|JSON", help="What if: yarn:4, or a JSON object as engines take it.", rich_help_panel="Model"
        ),
    ] = None
    theta: Annotated[
        float | None, typer.Option(help="What if: the base; with --dim without a model.", rich_help_panel="Model")
    ] = None
    partial: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="What if: the share of a head that turns.", rich_help_panel="Model"),
    ] = None
    dim: Annotated[int | None, typer.Option(help="Channels of a head, without a model.", rich_help_panel="Model")] = (
        None
    )
    layout: Annotated[
        PairLayout | None, typer.Option(help="Which two channels make a pair.", rich_help_panel="Model")
    ] = None

    @property
    def given(self) -> RopeOverride:
        """What takes the place of a model's own settings; a base typed with --dim is no such thing."""
        theta = self.theta if self.dim is None else None
        return RopeOverride(scaling=self.scaling, theta=theta, partial=self.partial)

    @property
    def typed(self) -> tuple[str, ...]:
        """The options that give the same again."""
        shown = (("--scaling", self.scaling), ("--theta", self.theta), ("--partial", self.partial), ("--dim", self.dim))
        layout = () if self.layout is None else ("--layout", self.layout.value)
        return (*(word for option, held in shown if held is not None for word in (option, str(held))), *layout)


@dataclass(frozen=True)
class EngineOptions:
    """What an engine computes, or should."""

    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="Write what an engine must compute, as JSON for its tests; - is stdout.",
            rich_help_panel="Engines",
        ),
    ] = None
    judge: Annotated[
        Path | None,
        typer.Option(
            metavar="TRACE",
            autocompletion=completion.files,
            help="Judge what an engine computed: .npz, .safetensors or JSON; - is stdin. Status 1 if it is wrong.",
            rich_help_panel="Engines",
        ),
    ] = None

    @property
    def is_asked(self) -> bool:
        """Whether it is about an engine."""
        return self.golden is not None or self.judge is not None


@dataclass(frozen=True)
class PictureOptions:
    """The file that a picture goes into."""

    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Draw the dials of --pos, or --decay: .svg or .png.", readable=False
        ),
    ] = None
    force: Force = False


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL | compare A B", autocompletion=completion.models, help="The model, or two to compare."
        ),
    ] = None,
    *,
    tokens: TokensAsked = None,
    rotation: RotationOptions,
    settings: SettingsOptions,
    engine: EngineOptions,
    picture: PictureOptions,
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show how rotary positions turn a vector: frequencies, wavelengths, and with --pos the angles.

    Without --pos: how fast each pair of channels turns. With --pos: how far each has turned there, and a vector before
    and after. Without --token or --vector that vector points along the first channel of each pair, so that what comes
    out is cos and sin. `embtool rope compare A B` sets two models side by side.

    --scaling, --theta and --partial take the place of the model's own settings: what if it were stretched? `embtool
    rope compare MODEL --scaling yarn:4` sets it beside itself. --decay tells what is left of a dot product with
    distance. --golden writes what an engine must compute, --judge tells whether it did, or which mistake it makes.

    With -o a picture: every pair is a hand on a dial, and a row of dials shows how far each has turned at a position;
    of many pairs and positions some, evenly spaced. .svg needs nothing else, .png needs resvg-py. Angles are printed
    as well if a format is named.
    """
    places = _places(rotation.pos)
    draw = drawer(picture.out, KINDS, model.run, force=picture.force)
    check_free(engine.golden, force=picture.force)
    named, others = (names[0] if names else None), (names or [])[1:]
    if named == "compare":
        _compare(others, rotation, settings, model, output, explain)
        return
    if others:
        raise typer.BadParameter("one model is asked; two: embtool rope compare A B")
    _check_options(tokens, rotation, places, engine, draws=draw is not None)
    rotary, opened = _asked(settings, named, model, rotation.length)
    if engine.is_asked:
        _answer_engine(engine, (rotary, opened), rotation.manner, model, output)
        return
    if any(layer.settings.mrope_section is not None for layer in rotary.layers):
        places = _places(rotation.pos, axes=True)
    answer = _answer(rotary, rotation, places, _vectors(tokens, rotation.vector, token, opened))
    if draw is not None and not isinstance(answer, RelativeAnswer):
        drawing = answer.drawing() if isinstance(answer, RopeDecay) else picture_of(answer)
        draw(drawing, drawing.title)
    output.emit(answer, only_notes=draw is not None and output.asked is None)
    if explain.explain:
        typed = settings.typed if rotary.name is None else (*settings.typed, "-m", rotary.name, *model.reached)
        known = all(layer.settings.layout is not None for layer in rotary.layers)
        explained = explain_rope(typed, placed=bool(places), relative=rotation.relative is not None, layout_known=known)
        explained.show(output.format)


def _answer_engine(
    engine: EngineOptions,
    asked: tuple[Rotary, Model | None],
    manner: Manner,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Write golden numbers, or judge a trace."""
    rotary, opened = asked
    rope = None if opened is None else opened.rope
    if engine.golden is not None:
        golden = ask_golden(rotary, 0 if rope is None else rope.first_position, manner)
        text = f"{to_readable_json(golden.to_dict(), 'ascii')}\n"
        output.emit(golden, only_notes=True)
        if str(engine.golden) == STDOUT:
            print(text, end="")  # noqa: T201 - the answer
        else:
            write(text.encode(), engine.golden, model.run)
    if engine.judge is not None:
        name = str(engine.judge)
        trace = parse_trace(read_input(engine.judge, "--judge"), file=name)
        judged = ask_judge(rotary, trace, name, rope, length=manner.length)
        output.emit(judged)
        if not judged.agrees:
            raise typer.Exit(DISAGREES)


def _compare(
    names: Sequence[str],
    rotation: RotationOptions,
    settings: SettingsOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Set two models side by side, or one as it is and with the settings that are given."""
    given = settings.given
    if settings.dim is not None or settings.layout is not None:
        raise typer.BadParameter("rope compare sets two models side by side: it takes no --dim and no --layout")
    named = [*names, *(model.models or ())]
    if len(named) == 1 and not given.is_empty:
        one, other = model.open_named(named[0]), model.open_named(named[0])
    else:
        one, other = model.two(names, "embtool rope compare A B")
    manner = rotation.manner
    output.emit(compare_rope(one, other, override=given, length=manner.length, precision=manner.precision))
    if explain.explain:
        typed = ("-m", one.name, *model.reached)
        explain_rope(typed, placed=False, relative=False, layout_known=False).show(output.format)


def _places(texts: Sequence[str] | None, *, axes: bool = False) -> list[Place]:
    """Read every --pos; where tokens have positions along three `axes`, 5,100,200 could be one number or three."""
    places: list[Place] = []
    for text in texts or ():
        ends = [plain_number(end) for end in text.split("..")]
        are_numbers = all(map(PLACE.fullmatch, ends))
        if are_numbers and len(ends) == len("AB"):
            first, last = map(int, ends)
            if last < first or last - first >= MOST_POSITIONS:
                raise typer.BadParameter(f"--pos {text} is not a range of 1 to {count(MOST_POSITIONS)} positions")
            places += range(first, last + 1)
        elif are_numbers and len(ends) == 1 and axes and THREE.fullmatch(text):
            apart = text.replace(",", ", ")
            raise typer.BadParameter(f"--pos {text} is one number or three positions: {ends[0]}, or '{apart}'")
        elif are_numbers and len(ends) == 1:
            places.append(int(ends[0]))
        elif THREE.fullmatch(text):
            time, height, width = map(int, text.split(","))
            places.append((time, height, width))
        else:
            raise typer.BadParameter(f"--pos is a position, a range A..B or three positions T,H,W, not {text!r}")
    if len(places) > MOST_POSITIONS:
        raise typer.BadParameter(f"--pos names more than {count(MOST_POSITIONS)} positions")
    return places


def _answer(
    rotary: Rotary, rotation: RotationOptions, places: Sequence[Place], vectors: Vectors
) -> RopeAnswer | RelativeAnswer | RopeDecay:
    """Turn what is asked: over distances, from one place to another, or at each position."""
    if rotation.relative is not None:
        return ask_relative(rotary, *rotation.relative, vectors, rotation.manner)
    if rotation.decay is None:
        return ask_rope(rotary, places, vectors, rotation.manner)
    ends = [plain_number(end) for end in rotation.decay.split("..")]
    if len(ends) != len("AB") or not all(map(PLACE.fullmatch, ends)):
        raise typer.BadParameter(f"--decay is a range of distances A..B, such as 0..4096, not {rotation.decay!r}")
    return ask_decay(rotary, int(ends[0]), int(ends[1]), rotation.manner)


def _check_options(
    tokens: Sequence[str] | None,
    rotation: RotationOptions,
    places: Sequence[Place],
    engine: EngineOptions,
    *,
    draws: bool,
) -> None:
    """Refuse options that contradict each other."""
    turned = tokens or places or rotation.vector is not None or rotation.relative is not None or rotation.inverse
    if rotation.decay is not None and turned:
        raise typer.BadParameter("--decay chooses distances itself: name no position, token or vector beside it")
    if engine.is_asked and (draws or turned or rotation.decay is not None):
        raise typer.BadParameter("--golden and --judge choose positions and queries themselves: leave out others")
    if engine.golden is not None and engine.judge is not None:
        raise typer.BadParameter("--golden writes what --judge computes itself: one of both")
    plain = rotation.decay is not None or (places and rotation.vector is None and rotation.relative is None)
    if draws and (tokens or not plain):
        raise typer.BadParameter(
            "-o draws how far positions turn, or --decay: name --pos, and no token, --vector or --relative"
        )
    if places and rotation.relative is not None:
        raise typer.BadParameter("--relative M N names its positions itself: leave out --pos")
    if (tokens or rotation.vector or rotation.inverse) and not places and rotation.relative is None:
        raise typer.BadParameter("say where the vector stands: --pos N")
    if tokens and rotation.vector is not None:
        raise typer.BadParameter("--vector is what is turned: name no tokens beside it")


def _asked(
    options: SettingsOptions, named: str | None, model: ModelOptions, length: int | None
) -> tuple[Rotary, Model | None]:
    """Take the settings typed, or those of the model with what is given."""
    layout: Layout | None = None if options.layout is None else options.layout.value
    if options.dim is None:
        opened = model.open(named)
        return rotary_of(opened, layout, options.given, length), opened
    if named or model.models:
        raise typer.BadParameter("--dim needs no model: leave it out")
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
    rotary = Rotary(None, (LayerRope(layer_type="all", layers=None, settings=typed, origins=origins),))
    return (rotary if options.given.is_empty else given_to(rotary, options.given, None, length)), None


def _vectors(tokens: Sequence[str] | None, vector: str | None, options: TokenOptions, model: Model | None) -> Vectors:
    """Read the vectors that are to be turned; None for the unit pairs."""
    if tokens:
        if model is None:
            raise typer.BadParameter("--dim names no model to look tokens up in")
        queries = Batch(list(tokens), options, model.token_table()).all()
        return vectors_of(model, queries, reading=options.reading)
    if vector is None or vector == "ones":
        return None if vector is None else "ones"
    return read_vectors(Path(vector))
