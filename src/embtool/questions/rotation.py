"""Rotary positions, described: whose they are, how fast pairs of channels turn, and heads before and after."""

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from embtool.answers import column, identity, inline, python, token_column, value
from embtool.arguments import check_numbers
from embtool.arrays import Doubles, np
from embtool.configs.config import Config
from embtool.counts import plural
from embtool.errors import ConfigError, InvalidArgument
from embtool.positions import UNKNOWN_LAYOUT, LayerRope, RopeOverride, override
from embtool.positions.overrides import PARTIAL, SCALING, THETA
from embtool.questions.positions import PER_PAIR, LayerRotation, rotation_fields, setting
from embtool.rope import (
    AXES,
    Floats,
    Frequencies,
    Ints,
    Layout,
    Precision,
    RopeSettings,
    channel_pairs,
    mrope_axes,
    multimodal_angles,
    stored_pairs,
    turn,
)
from embtool.tables.token_table import Reading
from embtool.vocabulary import Query, Token

if TYPE_CHECKING:
    from embtool.positioned import Positioned

LARGEST = 2**53
"""The largest position: beyond it neighbouring positions are one number."""

ILLUSTRATION = "a model turns queries and keys inside each head, never a row: a row cut into heads is an illustration"

LAYOUT = "--layout"
"""The origin of a layout that is given."""

Place: TypeAlias = int | tuple[int, int, int]
"""A position, or the three of a token of an image."""

Vectors: TypeAlias = Sequence[Query] | Literal["ones"] | None
"""What is turned: rows, each the `vector` of a query; ones; or None, a unit vector along the first of each pair."""


# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotary:
    """Whose rotation is asked about; `name` is None where its settings were typed, `given` what replaces its own."""

    name: str | None
    layers: tuple[LayerRope, ...]
    context_length: int | None = None
    nope_layers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    given: str | None = None

    def read_places(self, positions: Iterable[Any], vectors: Vectors) -> list[Place]:
        """Return the positions asked for, where it can answer what becomes of vectors there.

        Raises:
            InvalidArgument: a position cannot be meant, or there is none to turn vectors to.
            ConfigError: it is not known which two channels make a pair.
        """
        places = [_place(position) for position in positions]
        if vectors is not None and not places:
            raise InvalidArgument("vectors are turned to positions: name some")
        for layer in self.layers:
            if layer.settings.mrope_section is None and any(isinstance(place, tuple) for place in places):
                raise InvalidArgument(f"three positions need mRoPE, and {self.name or 'this'} has one per token")
            if layer.settings.layout is None and vectors is not None:
                raise ConfigError(
                    f"the family of {self.name} is not known, and so not which two channels make a pair",
                    hint="say which: --layout half or interleaved or interleaved-in-half-out",
                )
        return places


def _place(position: Any) -> Place:
    try:
        numbers = tuple(map(operator.index, numbers_of(position)))
    except TypeError as error:
        raise InvalidArgument(f"a position is a whole number or three, not {position!r}") from error
    beyond = next((number for number in numbers if abs(number) > LARGEST), None)
    if beyond is not None:
        raise InvalidArgument(f"position {beyond} is beyond 2^53")
    if len(numbers) not in (1, len(AXES)):
        raise InvalidArgument(f"a position is a whole number or three, not {position!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def rotary_of(
    model: "Positioned", layout: Layout | None = None, given: RopeOverride | None = None, length: int | None = None
) -> Rotary:
    """Take the rotation of a model, with another layout or other settings where they are given.

    With other settings, a `length` is that of the context which they are meant for.

    Raises:
        NoRope: it has none.
        InvalidArgument: there is no such layout, or what is given is nothing that a formula can use.
    """
    rope = model.rope
    if layout is not None and layout not in get_args(Layout):
        raise InvalidArgument(f"layout is one of {', '.join(get_args(Layout))}, not {layout!r}")
    found = Rotary(model.name, rope.layers, rope.context_length, rope.nope_layers, rope.notes)
    if layout is not None:
        layers = (
            replace(each, settings=replace(each.settings, layout=layout), origins={**each.origins, "layout": LAYOUT})
            for each in rope.layers
        )
        notes = tuple(note for note in rope.notes if note != UNKNOWN_LAYOUT)
        found = replace(found, layers=tuple(layers), notes=notes)
    return found if given is None or given.is_empty else given_to(found, given, model.config, length)


def given_to(rotary: Rotary, given: RopeOverride, config: Config | None, length: int | None) -> Rotary:
    """Return a rotation with the settings that are given."""
    made = override(rotary.layers, rotary.context_length, config, given, length)
    return replace(
        rotary,
        layers=made.layers,
        context_length=made.context_length,
        notes=(*rotary.notes, *made.notes),
        given=given.written,
    )


@dataclass(frozen=True)
class Manner:
    """How it is turned: in a sequence of `length` tokens (None: as many as needed), or back where `inverse`."""

    length: int | None = None
    precision: Precision = "float64"
    inverse: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise InvalidArgument(f"precision is one of {', '.join(get_args(Precision))}, not {self.precision!r}")
        if self.length is not None and self.length < 1:
            raise InvalidArgument(f"length is 1 token or more, not {self.length}")


def vectors_of(
    model: "Positioned", tokens: Sequence[str | int | Query], vector: Any = None, reading: Reading | None = None
) -> Vectors:
    """Return what is turned: the rows of tokens; numbers, (width,) or (vectors, width); "ones"; or None.

    Raises:
        InvalidArgument: two of these are named, or the numbers are no vectors.
        UnknownToken: one is no token.
    """
    if len(tokens) and vector is not None:
        raise InvalidArgument("a vector is what is turned: name no tokens beside it")
    if len(tokens):
        asked, reading = model.token_table(), reading or Reading()
        queries = [asked.one(token, reading) for token in tokens]
        return [replace(query, vector=asked.vector(query, reading)) for query in queries]
    if vector is None or (isinstance(vector, str) and vector == "ones"):
        return None if vector is None else "ones"
    numbers = np.atleast_2d(check_numbers(vector, "a vector"))
    if numbers.ndim > 2:  # noqa: PLR2004 - vectors, and their numbers
        raise InvalidArgument("a vector is an array of numbers, (width,) or (vectors, width), or ones")
    return [Query(f"vector {place}", vector=each) for place, each in enumerate(numbers)]


def numbers_of(place: Place) -> tuple[int, ...]:
    """Return the one or three numbers of a position."""
    return place if isinstance(place, tuple) else (place,)


# --- numbers for a reader ---------------------------------------------------------------------------------------------

TINY, BIG, VAST = 1e-3, 1e4, 1e12
"""Where a number is rather written with an exponent, with fewer decimals, or with an exponent again."""

LEAST_TURN = 1e-4
"""The smallest number of turns that is written as a number."""


def rounded(held: float) -> str:
    """Round a number of turns, always to as many decimals, so that decimal points stand below each other."""
    if 0 < abs(held) < LEAST_TURN:
        return f"<{LEAST_TURN:.4f}" if held > 0 else f">-{LEAST_TURN:.4f}"
    return f"{held:,.4f}" if abs(held) < VAST else f"{held:.2e}"


def component(held: float) -> str:
    """Round a component of a vector; no minus before what rounds to zero."""
    return f"{held:.2e}" if abs(held) >= BIG else f"{round(held, 4) + 0.0:.4f}"


def tokens_per_turn(held: float) -> str:
    """Round a wavelength."""
    return f"{held:,.2f}" if held < BIG else f"{held:,.0f}" if held < VAST else f"{held:.2e}"


def degrees(held: float) -> str:
    """Round an angle in radians, in degrees."""
    return f"{round(math.degrees(held), 1) % 360:.1f}°"


def modulo(angles: Floats) -> Doubles:
    """Reduce angles to less than a turn, in radians."""
    return np.asarray(angles, np.float64) % (2 * math.pi)


# --- what is answered -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two channels that turn together."""

    pair: int = column("which pair, the fastest first", right=True, style="dim")
    dims: str | None = column("its channels, and where they are stored if elsewhere", whole=True)
    inv_freq: float = column(
        "radians per token",
        right=True,
        show=lambda held: f"{held:,.4f}" if TINY <= abs(held) < VAST or held == 0 else f"{held:.2e}",
    )
    wavelength: float | None = column(
        "tokens per turn; null for a pair that stands still", right=True, show=tokens_per_turn
    )


@dataclass(frozen=True)
class HeadOf:
    """What a head was cut from."""

    query: str = column("what was typed")
    id: int | None = identity()
    token: Token | None = token_column()
    head: int = column("which part of the row, from 0")


@dataclass(frozen=True)
class Turn:
    """How far a pair has turned at a position, and its two channels before and after."""

    turns: float = column("how often it has been round", right=True, show=rounded)
    angle: float = column("how far it has turned, in radians, less than a turn", right=True, show=degrees)
    cos: float = column(right=True, show=component)
    sin: float = column(right=True, show=component)
    x: float | None = column("the pair's first channel before", right=True, show=component)
    y: float | None = column("its second one", right=True, show=component)
    x_rotated: float | None = column("the first channel after", right=True, show=component, style="bold")
    y_rotated: float | None = column("its second one", right=True, show=component, style="bold")


@dataclass(frozen=True)
class TurnedHead:
    """One head at one position: the angles of its pairs, and the vector before and after (None: not known how)."""

    position: Place = value("a position, or the three of a token of an image")
    source: HeadOf | None = inline()
    angle: Doubles = value("how far each pair has turned, in radians, less than a turn")
    cos: Floats = value("a number for each pair")
    sin: Floats = value("a number for each pair")
    vector: Floats | None = value("the head before; null where it is not known which channels make a pair")
    rotated: Floats | None = value("the head after")
    angles: Floats = python()

    def turns(self, settings: RopeSettings, *, inverse: bool) -> Iterator[Turn]:
        """Yield what each pair does."""
        exact = np.asarray(self.angles, np.float64)
        columns: list[Sequence[float | None]] = [
            each.tolist() for each in (exact / (2 * math.pi), self.angle, self.cos, self.sin)
        ]
        if self.vector is None or self.rotated is None:
            columns += [[None] * settings.pairs] * 4
        else:
            before, after = _channels(settings, inverse=inverse)
            columns += [self.vector[before[:, side]].tolist() for side in (0, 1)]
            columns += [self.rotated[after[:, side]].tolist() for side in (0, 1)]
        return (Turn(*each) for each in zip(*columns, strict=True))


class Turns(Sequence[TurnedHead]):
    """Every head at every position, each turned when it is asked for: there can be very many."""

    def __init__(
        self, settings: RopeSettings, turning: Frequencies, places: Sequence[Place], vectors: Vectors, *, inverse: bool
    ) -> None:
        self.settings, self.turning, self.places, self.inverse = settings, turning, places, inverse
        self.heads = list(_heads(settings, vectors, inverse=inverse))

    def __len__(self) -> int:
        return len(self.places) * len(self.heads)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        place, head = divmod(range(len(self))[at], len(self.heads))
        where, (source, vector) = self.places[place], self.heads[head]
        angles = angles_at(where, self.turning, self.settings)
        rotated = None
        if vector is not None:
            rotated = turn(vector, angles, self.settings, self.turning.attention_factor, inverse=self.inverse)
        return TurnedHead(where, source, modulo(angles), np.cos(angles), np.sin(angles), vector, rotated, angles)


def angles_at(place: Place, turning: Frequencies, settings: RopeSettings) -> Floats:
    """Return how far each pair has turned at a position, in radians: (pairs,)."""
    return multimodal_angles(turning, place, settings) if isinstance(place, tuple) else turning.angles(place)


def _channels(settings: RopeSettings, *, inverse: bool) -> tuple[Ints, Ints]:
    """Return where each pair stands before and after."""
    read, stored = channel_pairs(settings), stored_pairs(settings)
    return (stored, read) if inverse else (read, stored)


def _heads(
    settings: RopeSettings, vectors: Vectors, *, inverse: bool
) -> Iterator[tuple[HeadOf | None, Doubles | None]]:
    """Cut what is turned into heads."""
    if settings.layout is None:
        yield None, None
    elif vectors is None or vectors == "ones":
        head = np.ones(settings.head_dim)
        if vectors is None:
            head[_channels(settings, inverse=inverse)[0][:, 1]] = 0
        yield None, head
    else:
        for query in vectors:
            for place, head in enumerate(cut(query, settings.head_dim)):
                yield HeadOf(query.text, query.id, query.token, place), head


def cut(query: Query, head_dim: int) -> Doubles:
    """Cut a row into heads: (heads, head_dim)."""
    values = np.asarray(query.vector, np.float64)
    if len(values) % head_dim:
        raise ConfigError(f"a row of {plural(len(values), 'number')} does not divide into heads of {head_dim}")
    return values.reshape(-1, head_dim)


@dataclass(frozen=True)
class LayerFrequencies(LayerRotation):
    """The rotation of one kind of layer, pair by pair."""

    mrope_axes: tuple[str, ...] | None = value("which of the three positions each pair follows")
    per_pair: dict[str, Any] = inline()
    precision: Precision = value("the arithmetic")
    inv_freq: Floats = value("radians per token, a number for each pair")
    wavelength: Doubles = value("tokens for one turn, a number for each pair; null for a pair that stands still")
    unfinished_pairs: Ints | None = value("the pairs that do not complete a turn within the context")
    turning: Frequencies = python()

    def pairs(self, *, inverse: bool = False) -> list[Pair]:
        """List its pairs."""
        settings = self.layer.settings
        dims: list[str | None] = [None] * settings.pairs
        if settings.layout is not None:
            before, after = (each.tolist() for each in _channels(settings, inverse=inverse))
            moved = settings.layout == "interleaved-in-half-out"
            dims = [f"{a},{b}>{c},{d}" if moved else f"{a},{b}" for (a, b), (c, d) in zip(before, after, strict=True)]
        waves = (wave if math.isfinite(wave) else None for wave in self.wavelength.tolist())
        return [Pair(*each) for each in zip(range(settings.pairs), dims, self.inv_freq.tolist(), waves, strict=True)]


def frequency_fields(layer: LayerRope, turning: Frequencies, context_length: int | None) -> dict[str, Any]:
    """Return the fields of a `LayerFrequencies`."""
    settings = layer.settings
    return {
        **rotation_fields(layer, turning),
        "mrope_axes": None if settings.mrope_section is None else tuple(AXES[axis] for axis in mrope_axes(settings)),
        "per_pair": {name: settings.stretching[name] for name in PER_PAIR if name in settings.stretching},
        "precision": turning.precision,
        "inv_freq": turning.inv_freq,
        "wavelength": turning.wavelength,
        "unfinished_pairs": None if context_length is None else turning.unfinished(context_length),
        "turning": turning,
    }


@dataclass(frozen=True)
class TurnedLayer(LayerFrequencies):
    """The same, with every head at every position."""

    positions: Sequence[TurnedHead] = value("every head at every position")


def given_settings(layer: LayerFrequencies) -> str:
    """Say which settings of a kind of layer were given, each as it is used and by which option."""
    held = {
        **layer.layer.settings.stretching,
        "rope_theta": layer.rope_theta,
        "attention_factor": layer.attention_factor,
    }
    held |= {"rope_type": layer.rope_type, "rotary_dim": layer.rotary_dim, "mrope_section": layer.mrope_section}
    words = []
    for name, origin in layer.origins.items():
        if origin in (SCALING, THETA, PARTIAL) and name in held and held[name] is not None:
            shown = setting(held[name]) if isinstance(held[name], int | float) else held[name]
            words.append(f"{name} {'a number per pair' if name in PER_PAIR else shown} ({origin})")
    return ", ".join(words) or "nothing of this kind of layer"


def illustration(vectors: Vectors) -> tuple[str, ...]:
    """Return what is to be said where rows of tokens are turned."""
    rows_of_tokens = vectors is not None and vectors != "ones" and any(query.ids for query in vectors)
    return (ILLUSTRATION,) if rows_of_tokens else ()
