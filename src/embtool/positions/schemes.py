"""The schemes by which models know the order of their tokens, as values: what they are and what follows from them.

`embtool.positions.reading` makes them from a `Config`; nothing here knows of config files. Formulas stand beside the
code; `docs/positions.md` explains them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from embtool.arguments import checked
from embtool.arrays import ArrayLike, Doubles, np
from embtool.errors import ConfigError, NoRope
from embtool.rope import Floats, Frequencies, Precision, RopeSettings, attention_factor, frequencies, rotate


@dataclass(frozen=True, kw_only=True)
class LayerRope:
    """The rotation of one kind of layer.

    Attributes:
        layer_type: The kind, as the config names it; "all" when every layer with attention rotates alike.
        layers: The layers of this kind, counted from 0; None when the config does not say how many there are.
        settings: How a head turns.
        origins: For every setting where it was read.
    """

    layer_type: str
    layers: tuple[int, ...] | None
    settings: RopeSettings
    origins: Mapping[str, str] = field(repr=False)

    @property
    def layer_count(self) -> int | None:
        """How many layers rotate like this."""
        return None if self.layers is None else len(self.layers)

    @property
    def attention_factor(self) -> float:
        """What cos and sin are multiplied by, in a sequence no longer than the model was first made for."""
        return attention_factor(self.settings)


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """What all schemes have.

    Attributes:
        context_length: The longest sequence the model is made for, in tokens; None is no stated limit.
        origins: For every value where it was read.
        notes: What a reader should know besides: decisions taken, fields of the file that do nothing.
        sum_known: Whether it is known what becomes of a row before the first block: scaled, added to, or neither.
        first_position: The position of the first token.
    """

    kind: ClassVar[str]
    context_length: int | None
    origins: Mapping[str, str] = field(repr=False, default_factory=dict)
    notes: tuple[str, ...] = ()
    sum_known: bool = True
    first_position: int = 0


@checked
@dataclass(frozen=True, kw_only=True)
class Rope(Scheme):
    """Queries and keys are rotated by an angle that grows with the position.

    Attributes:
        layers: One entry per kind of layer that rotates; the first is that of full attention where there are several.
        nope_layers: Attention layers that use no positions.
        layer_counts: How many layers of each type there are; empty when the model does not tell types apart.
        num_hidden_layers: How many layers there are; None when the config does not say.
        layout_known: Whether the family is known, and with it which two channels make a pair.
    """

    kind: ClassVar[str] = "rope"
    layers: tuple[LayerRope, ...]
    nope_layers: tuple[int, ...] = ()
    layer_counts: Mapping[str, int] = field(default_factory=dict)
    num_hidden_layers: int | None = None
    layout_known: bool = True

    def __repr__(self) -> str:
        turning = [f"{layer.layer_type}: {layer.settings.summary}" for layer in self.layers]
        context = [] if self.context_length is None else [f"context {self.context_length:,}"]
        return f"<rope of {'; '.join([*turning, *context])}>"

    @property
    def is_idle(self) -> bool:
        """Whether there are no layers, so that nothing is turned: the settings are a demonstration."""
        return self.num_hidden_layers == 0

    @property
    def settings(self) -> RopeSettings:
        """The settings of the first kind of layer."""
        return self.layers[0].settings

    def layer(self, layer_type: str) -> LayerRope:
        """The rotation of the layers of this type.

        Raises:
            NoRope: No layer of this type rotates.
        """
        for entry in self.layers:
            if entry.layer_type == layer_type:
                return entry
        known = ", ".join(entry.layer_type for entry in self.layers)
        raise NoRope(f"no layers of type '{layer_type}' rotate", hint=f"those that do: {known}")

    def frequencies(self, sequence_length: int | None = None, precision: Precision = "float64") -> Frequencies:
        """How fast each pair of the first kind of layer turns; see `embtool.rope.frequencies`."""
        return frequencies(self.settings, sequence_length, precision)

    def rotate(
        self,
        x: ArrayLike,
        position: ArrayLike,
        *,
        layer_type: str | None = None,
        sequence_length: int | None = None,
        precision: Precision = "float64",
        inverse: bool = False,
    ) -> Floats:
        """Vectors turned to their positions by the first kind of layer, or the one named; see `embtool.rope.rotate`."""
        settings = self.settings if layer_type is None else self.layer(layer_type).settings
        return rotate(x, position, settings, sequence_length=sequence_length, precision=precision, inverse=inverse)


@dataclass(frozen=True, kw_only=True)
class Learned(Scheme):
    """A row of a trained table is added to the token's row.

    Attributes:
        rows: Rows of the table, by the config.
        row_offset: Position p is looked up at row p + row_offset.
    """

    kind: ClassVar[str] = "learned"
    rows: int | None
    row_offset: int

    def row(self, position: int) -> int:
        """The row of the table for a position."""
        return position + self.row_offset


@dataclass(frozen=True, kw_only=True)
class Sinusoidal(Scheme):
    """A fixed pattern of sines and cosines is added to the token's row.

    Attributes:
        width: Channels of a row.
        row_offset: Position p is computed as p + row_offset.
        last_included: Whether the slowest wave is exactly 10,000 times slower than the fastest (XGLM) or a step less.
        alternating: Whether sines and cosines take turns (XLM) or stand in two halves.
    """

    kind: ClassVar[str] = "sinusoidal"
    width: int | None
    row_offset: int = 0
    last_included: bool = False
    alternating: bool = False

    def vectors(self, positions: ArrayLike) -> Doubles:
        """What is added at each position: shape (*positions.shape, width).

        Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762, section 3.5): sines and cosines in turn, as there, or the
        sines first and then the cosines.
        """
        if self.width is None:
            raise ConfigError("hidden_size is missing, and with it the width of the position vectors")
        half = (self.width + 1) // 2
        steps = np.arange(half) / ((half - 1 or 1) if self.last_included else self.width / 2)
        angles = (np.asarray(positions, dtype=np.float64) + self.row_offset)[..., np.newaxis] * 10_000.0**-steps
        halves = np.concatenate([np.sin(angles), np.cos(angles)[..., : self.width - half]], axis=-1)
        if not self.alternating:
            return halves
        order = np.argsort(np.concatenate([np.arange(half) * 2, np.arange(self.width - half) * 2 + 1]))
        return halves[..., order]


@dataclass(frozen=True, kw_only=True)
class Alibi(Scheme):
    """Attention scores are lowered by slope * distance, with one slope per head; nothing is added to rows.

    Attributes:
        slopes: One per head; the first heads look the least far.
        score_scale: What the bias is multiplied by besides (Falcon: 1 / sqrt(head_dim)).
    """

    kind: ClassVar[str] = "alibi"
    slopes: tuple[float, ...]
    score_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class T5Buckets(Scheme):
    """Attention scores get a trained bias per head, looked up by distance, with far distances sharing buckets.

    Attributes:
        buckets: Rows of the bias table.
        max_distance: From here on all distances are one bucket.
        per_layer: Whether every layer has a table, or the first one's is used by all.
    """

    kind: ClassVar[str] = "relative"
    buckets: int
    max_distance: int
    per_layer: bool = False

    def bucket(self, distance: int, *, both_ways: bool) -> int:
        """The bucket of a key that stands `distance` tokens after the query (negative: before it).

        Half of the buckets count single distances, the other half grow logarithmically up to `max_distance`
        (Raffel et al. 2019, https://arxiv.org/abs/1910.10683, section 2.1). An encoder (`both_ways`) has one set for
        each direction; a decoder sees no key after the query.
        """
        buckets, start = (
            (self.buckets // 2, self.buckets // 2 if distance > 0 else 0) if both_ways else (self.buckets, 0)
        )
        away = abs(distance) if both_ways else max(-distance, 0)
        exact = buckets // 2
        if away < exact:
            return start + away
        grown = math.log(away / exact) / math.log(self.max_distance / exact) * (buckets - exact)
        return start + min(exact + int(grown), buckets - 1)


@dataclass(frozen=True, kw_only=True)
class OtherRelative(Scheme):
    """Attention reads the distance between tokens in a way of its own (XLNet, DeBERTa, BERT's relative keys)."""

    kind: ClassVar[str] = "relative"
    scheme: str


@dataclass(frozen=True, kw_only=True)
class NoPositions(Scheme):
    """Nothing tells the model where a token stands, but the order in which it reads.

    Attributes:
        reason: Why.
    """

    kind: ClassVar[str] = "none"
    reason: str


@dataclass(frozen=True, kw_only=True)
class UnknownPositions(Scheme):
    """How the model knows order is not known: neither its family nor its file tells.

    Attributes:
        reason: What is known instead.
    """

    kind: ClassVar[str] = "unknown"
    reason: str


DEFAULT_ALIBI_MAX = 8.0
"""The steepest slope is 2^(-8/heads) (Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3)."""


def alibi_slopes(heads: int, bias_max: float = DEFAULT_ALIBI_MAX) -> tuple[float, ...]:
    """One slope per head: 2^(-8j/n), and for other counts than powers of two every other one of the next power.

    >>> alibi_slopes(4)
    (0.25, 0.0625, 0.015625, 0.00390625)
    """
    lower = 2 ** (heads.bit_length() - 1)
    slopes = [2.0 ** (-bias_max * j / lower) for j in range(1, lower + 1)]
    between = [2.0 ** (-bias_max * j / (2 * lower)) for j in range(1, 2 * lower + 1, 2)]
    return tuple((slopes + between)[:heads])


Positions: TypeAlias = Rope | Learned | Sinusoidal | Alibi | T5Buckets | OtherRelative | NoPositions | UnknownPositions
