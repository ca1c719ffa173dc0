"""The sequence that the first block of a model reads: what each token means, and where it stands.

A token's row is looked up, in some families multiplied or normalized, and in some a row for its position is added: a
trained one, or a pattern of sines. A model with rotary positions adds nothing: its first block reads the rows, and
turns queries and keys later, by angles that depend on the position. `read_sequence` computes what is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embtool.arrays import Doubles, np
from embtool.configs.config import Config
from embtool.errors import TableNotFound, TokenIdOutOfRange
from embtool.positions import Learned, Positions, Sinusoidal
from embtool.tables.table import EmbeddingTable
from embtool.tables.table_roles import Tables


@dataclass(frozen=True, eq=False)
class InputSequence:
    """What the first block reads, and what it is made of.

    Attributes:
        ids: Token ids, in order.
        positions: Where each stands; the first one is 0 unless asked otherwise.
        token_rows: The rows of the tokens, scaled, or what else becomes of them first: float64 (n, width).
        position_rows: What is added for the position: float64 (n, width), or None where nothing is.
        token_type_row: What is added to every token for its type 0, as BERT does, and for its task 0, as ERNIE does:
            float64 (width,), or None.
        rows: The sum: float64 (n, width).
        scale: What the rows of the tokens were multiplied by.
        position_kind: How the model knows order.
        followed_by: The norm that the model applies next, by its name in the checkpoint; not applied here.
        notes: What a reader should know besides.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    token_rows: Doubles
    position_rows: Doubles | None
    token_type_row: Doubles | None
    rows: Doubles
    scale: float
    position_kind: str
    followed_by: str | None
    notes: tuple[str, ...] = ()

    @property
    def token_norms(self) -> Doubles:
        """Lengths of the scaled token rows."""
        return _norms(self.token_rows)

    @property
    def position_norms(self) -> Doubles | None:
        """Lengths of what is added for the positions."""
        return None if self.position_rows is None else _norms(self.position_rows)

    @property
    def norms(self) -> Doubles:
        """Lengths of the sums."""
        return _norms(self.rows)

    @property
    def cosines(self) -> Doubles:
        """Cosine of each token's row and its sum: 1 where the position changed nothing; NaN for a row of zeros."""
        return cosines(self.token_rows, self.rows)


def cosines(a: Doubles, b: Doubles) -> Doubles:
    """Cosine of each row of one matrix and the same row of another; NaN where one is zero, exactly 1 for equal rows."""
    lengths = _norms(a) * _norms(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Doubles = np.clip((a * b).sum(axis=-1) / lengths, -1, 1)
    equal: Doubles = np.where((a == b).all(axis=-1) & (lengths > 0), 1.0, found)
    return equal


def _norms(rows: Doubles) -> Doubles:
    found: Doubles = np.sqrt((rows * rows).sum(axis=-1))
    return found


@dataclass(frozen=True)
class SequenceTables:
    """The tables that the input is made of; a model has those of its family."""

    tokens: EmbeddingTable
    positions: EmbeddingTable | None = None
    types: tuple[EmbeddingTable, ...] = ()


def sequence_tables(
    tables: Tables, positions: Positions, config: Config | None, tokens: EmbeddingTable | None = None
) -> SequenceTables:
    """Find the tables that the input is made of: that of its tokens, and those that are added to its rows.

    Raises:
        TableNotFound: there is no input table.
    """
    stored = {table.role: table for table in tables.stored}
    added = positions.kind in (Learned.kind, Sinusoidal.kind)
    tasks = config is not None and bool(config.fields.boolean("use_task_id"))
    types = (stored.get(role) for role in ("token_type", *(["task_type"] if tasks else [])))
    return SequenceTables(
        tables.find("input") if tokens is None else tokens,
        stored.get("position") if added else None,
        tuple(table for table in types if table is not None),
    )


def read_sequence(
    ids: Sequence[int], tables: SequenceTables, positions: Positions, config: Config | None, *, start: int = 0
) -> InputSequence:
    """Put together what the first block reads for these tokens.

    Args:
        ids: Token ids, in order.
        tables: The model's tables.
        positions: How the model knows order.
        config: For the scale of the rows and the norm that follows; None is no scale and no norm.
        start: The position of the first token.

    Raises:
        TokenIdOutOfRange: A token has no row, or a position has none in a learned table.
        TableNotFound: The model adds a learned table for positions, and none is stored.
    """
    start += positions.first_position
    places = tuple(range(start, start + len(ids)))
    of_rows = None if config is None else config.embedding_scale
    scale = 1.0 if of_rows is None else of_rows.in_dtype(tables.tokens.tensor.dtype.name)
    token_rows = tables.tokens.rows(list(ids)).astype(np.float64) * scale
    before = None if config is None else BEFORE.get(config.family.before or "")
    if before is not None:
        token_rows = before(token_rows, tables.tokens)
    sequence = InputSequence(
        ids=tuple(ids),
        positions=places,
        token_rows=token_rows,
        position_rows=None,
        token_type_row=None,
        rows=token_rows,
        scale=scale,
        position_kind=positions.kind,
        followed_by=None if config is None else config.embedding_norm,
    )
    added = _position_rows(places, tables, positions)
    if added is not None and added.shape[1] != token_rows.shape[1]:
        widths = f"rows of {token_rows.shape[1]} numbers are projected to {added.shape[1]} before the position is added"
        return replace(sequence, notes=(f"{widths}: the sum is not shown",))
    if added is not None:
        sequence = replace(sequence, position_rows=added, rows=sequence.rows + added)
    singles = [table for table in tables.types if table.shape[0] and table.shape[1] == token_rows.shape[1]]
    if singles:
        type_row = np.sum([table.rows([0])[0].astype(np.float64) for table in singles], axis=0)
        sequence = replace(sequence, token_type_row=type_row, rows=sequence.rows + type_row)
    return sequence


def _normalized(rows: Doubles, tokens: EmbeddingTable) -> Doubles:
    """Normalize rows before positions are added, as Blenderbot-small's decoder does (layer norm, arXiv:1607.06450)."""
    weight, bias = (_vector(tokens, f"decoder.layernorm_embedding.{name}") for name in ("weight", "bias"))
    centred = rows - rows.mean(axis=-1, keepdims=True)
    spread: Doubles = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
    return spread * weight + bias


def _shifted(rows: Doubles, tokens: EmbeddingTable) -> Doubles:
    """Add a trained bias to rows and multiply them by trained numbers, as ZAYA does."""
    bias, scale = (_vector(tokens, f"input_hidden_states_{name}") for name in ("bias", "scale"))
    return (rows + bias) * scale


BEFORE: Mapping[str, Callable[[Doubles, EmbeddingTable], Doubles]] = {"normalized": _normalized, "shifted": _shifted}
"""What some families do with rows before anything is added, by `Family.before`."""

LAYER_NORM_EPSILON = 1e-5


def _vector(beside: EmbeddingTable, end: str) -> Doubles:
    """Read the trained numbers whose name ends so, of the checkpoint that holds a table: float64 (width,)."""
    checkpoint = beside.checkpoint
    names = sorted((name for name in checkpoint.names if name.endswith(end)), key=len)
    if not names:
        raise TableNotFound(f"this model changes its rows by {end}, and it is not stored beside {beside.tensor.shard}")
    tensor = checkpoint.tensor(names[0])
    row = EmbeddingTable("tensor", replace(tensor, shape=(1, *tensor.shape)), checkpoint)
    found: Doubles = row.rows([0])[0].astype(np.float64)
    return found


def _position_rows(places: tuple[int, ...], tables: SequenceTables, positions: Positions) -> Doubles | None:
    """What is added for each position, if anything is."""
    table = tables.positions
    if isinstance(positions, Sinusoidal) and (table is None or table.shape[1] != tables.tokens.shape[1]):
        return positions.vectors(places)
    if not isinstance(positions, Learned | Sinusoidal):
        return None
    if table is None:
        where = tables.tokens.tensor.shard
        raise TableNotFound(f"this model adds a learned table for positions, and none is stored beside {where}")
    last = places[-1] + positions.row_offset if places else 0
    if last >= table.shape[0]:
        longest = table.shape[0] - positions.row_offset
        raise TokenIdOutOfRange(
            f"position {places[-1]} has no row in {table.tensor.name}: it holds {longest} positions",
            hint="the model cannot read a longer text",
        )
    rows: Any = table.rows([place + positions.row_offset for place in places])
    added: Doubles = rows.astype(np.float64)
    return added
