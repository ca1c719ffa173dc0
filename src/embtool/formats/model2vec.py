"""model2vec's tables: rows that tokens share, and a weight for each token.

A model of model2vec (https://github.com/MinishLab/model2vec) has tensors: `embeddings`, and where many tokens share a
row or are weighted, `mapping` and `weights`, one entry for each token. `embeddings` may be whole numbers of 8 bits
(`quantize_to="int8"`): they have no scale, and count as they are.
"""

from dataclasses import dataclass, replace

from embtool.arrays import AnyArray, Bytes, Floats, Ints, np
from embtool.formats.codes import I8
from embtool.formats.packed import Pieces, Recipe
from embtool.storage.checkpoint import Part, RowMap, TensorInfo
from embtool.storage.dtypes import DType


@dataclass(frozen=True)
class _Weighted:
    """Decodes a row of an embedding followed by its token's weight."""

    row_bytes: int
    rows: DType
    weights: DType

    def __call__(self, stored: Bytes) -> Floats:
        numbers = self.rows.to_float32(stored[..., : self.row_bytes])
        return numbers * self.weights.to_float32(stored[..., self.row_bytes :])


INTEGERS = {"I64": "<i8", "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2"}


def join_model2vec(pieces: Pieces) -> TensorInfo:
    """Put together a table with a row for each token: the row that the token is mapped to, times its weight.

    Raises:
        FormatError: the tensors do not fit each other.
    """
    table = pieces.get("embeddings")
    if table.dtype.name == I8.name:  # whole numbers, read as they are: model2vec keeps no scale of them
        table = replace(table, dtype=I8)
    if pieces.base and not (pieces.has("mapping") or pieces.has("weights")):
        return pieces.get("embeddings")  # of another model
    pieces.check_table(table)
    tokens = table.shape[0]
    through: RowMap | None = None
    if pieces.has("mapping"):
        mapping = pieces.get("mapping")
        if len(mapping.shape) != 1 or mapping.dtype.name not in INTEGERS:
            raise pieces.error(f"has a {mapping.name} of {mapping.dtype.name} that is not a list of rows")
        tokens = mapping.shape[0]
        through = RowMap(lambda: _read_mapping(pieces, mapping, table.shape[0]))
    if not pieces.has("weights") and through is None:
        return table
    if not pieces.has("weights"):
        decode = table.dtype.decode
        return pieces.join(
            table.dtype.name + ", mapped", table.shape[1], [Part(table, through=through)], decode, rows=tokens
        )
    weights = pieces.get("weights")
    if weights.shape not in ((tokens,), (tokens, 1)) or weights.dtype.decode is None:
        raise pieces.error(f"has {weights.name} that are not one number for each of {tokens:,} tokens")
    decoder = _Weighted(table.row_bytes, table.dtype, weights.dtype)
    parts = [Part(table, through=through), Part(weights)]
    return pieces.join(f"{table.dtype.name}, weighted", table.shape[1], parts, decoder, rows=tokens)


def _read_mapping(pieces: Pieces, mapping: TensorInfo, rows: int) -> Ints:
    """Read which row each token has.

    Raises:
        FormatError: one of them is beyond the table.
    """
    data = pieces.checkpoint.source.read(mapping.shard, mapping.start, mapping.stop)
    found: AnyArray = np.frombuffer(data, INTEGERS[mapping.dtype.name])
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < rows:
        raise pieces.error(f"has a {mapping.name} to a row beyond its {rows:,}")
    return found.astype(np.int64)


RECIPES = (
    Recipe(("mapping", "embeddings"), ("weights",), join_model2vec, "embeddings"),
    Recipe(("weights", "embeddings"), ("mapping",), join_model2vec, "embeddings"),
    Recipe(("embeddings",), (), join_model2vec, "embeddings"),
)
