"""That the dot product of a rotated query and a rotated key depends on the distance between them only."""

from collections.abc import Iterator
from dataclasses import dataclass

from embtool.answers import Block, Listing, column, context, python, records, value
from embtool.answers.fields import columns_of, record_of
from embtool.answers.text import brief, count
from embtool.arrays import np
from embtool.errors import FormatError
from embtool.questions.rotation import LayerFrequencies, Manner, Rotary, Vectors, cut, frequency_fields, illustration
from embtool.rope import Precision, frequencies, turn

SHIFTS = (0, 1, 10, 100, 1000, 10_000)
"""How far both positions are moved to show that the dot product stays."""


@dataclass(frozen=True)
class Moved:
    """A query and a key at two positions."""

    layer_type: str = column("the kind of layer", title="layers")
    m: int = column("where the query stands", right=True, show=count)
    n: int = column("where the key stands", right=True, show=count)
    distance: int = column("m - n", right=True, show=count)
    dot: float = column("their dot product", right=True, show=lambda held: f"{held:.9f}")


@dataclass(frozen=True)
class RelativeLayer(LayerFrequencies):
    """The rotation of one kind of layer, and dot products under it."""

    positions: tuple[int, ...] = value("none: see relative")
    relative: tuple[Moved, ...] = value("a query and a key, and both moved together")


@dataclass(frozen=True, repr=False, eq=False)
class RelativeAnswer(Listing[Moved]):
    """The dot product of a query at m and a key at n, and of the same two moved together."""

    command = "rope"

    model: str | None = context("the model, as it was named; null where settings were typed")
    precision: Precision = value("the arithmetic: float64, or float32 as in transformers")
    layers: tuple[RelativeLayer, ...] = value("each kind of layer that rotates")
    moved: tuple[Moved, ...] = records("the dot products", in_document=False)
    vectors: Vectors = python(default=None)
    notes: tuple[str, ...] = python(default=())

    def blocks(self) -> Iterator[Block]:
        """Yield each kind of layer."""
        for layer in self.layers:
            first = layer.relative[0]
            title = f"query at {count(first.m)}, key at {count(first.n)}, and both moved: only their distance counts"
            told = f"both are ones, in all {layer.head_dim} channels of a head"
            if self.vectors is not None and self.vectors != "ones":
                pair = (*self.vectors, *self.vectors)[:2]
                query, key = (each.text if each.token is None else each.token.text for each in pair)
                told = f"the query is {brief(query)}, the key {brief(key)}; heads are added up"
            yield Block(title, columns_of(Moved), [record_of(each) for each in layer.relative], after=[f"  {told}"])


def ask_relative(
    rotary: Rotary, m: int, n: int, vectors: Vectors = None, manner: Manner | None = None
) -> RelativeAnswer:
    """Show that the dot product of a query at m and a key at n depends on m - n only.

    The first two vectors are the query and the key; a single one is both, and without any both are ones.

    Raises:
        InvalidArgument: a position cannot be meant.
        ConfigError: it is not known which two channels make a pair.
        FormatError: the two differ in length.
    """
    manner = manner or Manner()
    vectors = "ones" if vectors is None else vectors
    rotary.read_places((m, n), vectors)
    length = manner.length if manner.length is not None else max(m, n, 0) + max(SHIFTS) + 1
    layers = []
    for layer in rotary.layers:
        settings = layer.settings
        described = frequency_fields(
            layer, frequencies(settings, manner.length, manner.precision), rotary.context_length
        )
        if vectors == "ones":
            query = key = np.ones((1, settings.head_dim))
        else:
            query, key = (cut(each, settings.head_dim) for each in (*vectors, *vectors)[:2])
        if query.shape != key.shape:
            raise FormatError(f"a query of {query.size} numbers and a key of {key.size} have no dot product")
        turning = frequencies(settings, length, manner.precision)
        relative = []
        for shift in SHIFTS:
            at, to = (
                turn(each, turning.angles(place + shift), settings, turning.attention_factor).astype(np.float64)
                for each, place in ((query, m), (key, n))
            )
            relative.append(Moved(layer.layer_type, m + shift, n + shift, m - n, float((at * to).sum())))
        layers.append(RelativeLayer(**described, positions=(), relative=tuple(relative)))
    moved = tuple(each for layer in layers for each in layer.relative)
    return RelativeAnswer(rotary.name, manner.precision, tuple(layers), moved, vectors, illustration(vectors))
