"""A table in files that other tools open: numpy, safetensors, Parquet, CSV, TensorFlow's projector, word2vec text.

Rows are streamed, some at a time, so that a table of any size is written in bounded memory; a file appears under its
name only when it is whole. The names of rows come from the caller, one `RowName` each.

To add a format: write one function and name it in `WRITERS`.
"""

import contextlib
import csv
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from embtool.arrays import Bytes, Doubles, Floats, np
from embtool.errors import MissingExtra, trying_to
from embtool.storage.checkpoint import runs
from embtool.storage.dtypes import DTYPES
from embtool.storage.replacing import whole
from embtool.tables.scan import Ids
from embtool.tables.survey import Opener
from embtool.tables.table import EmbeddingTable

Item = TypeVar("Item")

CHUNK_BYTES = 4 << 20
"""Bytes of rows, as float32, in hand at a time."""

PROJECTOR_LIMIT = 100_000
"""Rows that TensorFlow's projector shows at most (https://projector.tensorflow.org, "Load data")."""

PROJECTOR_FILES = ("tensors.tsv", "metadata.tsv", "projector_config.json")

NAME_COLUMNS = ("id", "piece", "token", "bytes", "category")


@dataclass(frozen=True)
class RowName:
    """What a row is called: its id, the piece, text and bytes (hex) of its token, if it has one, and its category."""

    id: int
    piece: str | None
    token: str | None
    bytes: str | None
    category: str


Nearest = Callable[[Sequence[int]], tuple[Ids, Doubles]]
"""Finds for rows, by id, the places in the file of those nearest to each, int64 (n, k), and how far, float64 (n, k)."""


@dataclass(frozen=True)
class Export:
    """What is written: these rows of a table, in this order, by these names.

    `label` makes of a text one that stands on one line, without tabs; `model` is named in files that have a place for
    it; `nearest` finds the neighbors of rows, where they are to be written too.
    """

    table: EmbeddingTable
    ids: Sequence[int]
    names: Callable[[Sequence[int]], Sequence[RowName]]
    label: Callable[[str], str]
    model: str
    opener: Opener = EmbeddingTable.open
    nearest: Nearest | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width of what is written."""
        return len(self.ids), self.table.shape[1]

    def stored(self) -> Iterator[tuple[Sequence[int], Bytes]]:
        """Yield ids with their rows as stored, uint8 (n, row_bytes), some at a time."""
        step = max(1, CHUNK_BYTES // (4 * max(1, self.table.shape[1])))
        with self.opener(self.table) as reader:
            for first in range(0, len(self.ids), step):
                part = self.ids[first : first + step]
                rows = np.empty((len(part), reader.row_bytes), np.uint8)
                start = 0
                for place in range(1, len(part) + 1):
                    if place == len(part) or part[place] != part[place - 1] + 1:
                        reader.read(part[start], rows[start:place])
                        start = place
                yield part, rows

    def chunks(self) -> Iterator[tuple[Sequence[int], Floats]]:
        """Yield ids with their rows, float32 (n, width), some at a time; another thread makes the next meanwhile."""
        decode = self.table.tensor.dtype.to_float32
        made = ((part, decode(rows)) for part, rows in self.stored())
        with contextlib.closing(made), ThreadPoolExecutor(1) as pool:
            coming = pool.submit(next, made, None)
            while (chunk := coming.result()) is not None:
                coming = pool.submit(next, made, None)
                yield chunk


def write_npy(export: Export, path: Path) -> list[Path]:
    """Write rows as a numpy array, float32 (rows, width), and beside it their names as TSV."""
    names = path.with_name(f"{path.name.removesuffix('.npy')}.tokens.tsv")
    with whole(path) as file, whole(names) as words:
        _write_array(file, export)
        words.write(("\t".join(NAME_COLUMNS) + "\n").encode())
        for name in _names(export):
            cells = [export.label("" if value is None else str(value)) for value in _cells(name)]
            words.write(("\t".join(cells) + "\n").encode())
    return [path, names]


def _write_array(file: IO[bytes], export: Export) -> None:
    np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": export.shape})
    for _, rows in export.chunks():
        file.write(np.ascontiguousarray(rows, "<f4").data)


def _cells(name: RowName) -> list[object]:
    return [name.id, name.piece, name.token, name.bytes, name.category]


def _names(export: Export) -> Iterator[RowName]:
    step = 4096
    for first in range(0, len(export.ids), step):
        yield from export.names(export.ids[first : first + step])


def write_npz(export: Export, path: Path) -> list[Path]:
    """Write `vectors`, float32 (rows, width), `ids`, int64, and `pieces`, UTF-8 bytes, as one numpy archive."""
    pieces = [(name.piece or "").encode("utf-8", "backslashreplace") for name in _names(export)]
    with whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as entry:
            _write_array(entry, export)
        for name, values in (("ids", np.array(export.ids, "<i8")), ("pieces", np.array(pieces, np.bytes_))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    return [path]


def write_safetensors(export: Export, path: Path) -> list[Path]:
    """Write rows under the tensor's own name, in their own dtype where the format has it; ids stand in the metadata."""
    rows, width = export.shape
    tensor = export.table.tensor
    plain = DTYPES.get(tensor.dtype.name) is tensor.dtype
    dtype = tensor.dtype if plain else DTYPES["F32"]
    nbytes = rows * width * dtype.bytes
    metadata = {
        "model": export.label(export.model),
        "table": export.table.role,
        "ids": json.dumps(runs(export.ids)),
        "format": "np",
    }
    entry = {"dtype": dtype.name, "shape": [rows, width], "data_offsets": [0, nbytes]}
    header = json.dumps({"__metadata__": metadata, tensor.name: entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with whole(path) as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _, part in export.stored() if plain else export.chunks():
            file.write(np.ascontiguousarray(part).data)
    return [path]


def write_csv(export: Export, path: Path) -> list[Path]:
    """Write names and numbers as CSV with a header: id, piece, token, bytes, category, v0, v1, ..."""
    with whole(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*NAME_COLUMNS, *(f"v{place}" for place in range(export.shape[1]))])
        for ids, rows in export.chunks():
            for name, row in zip(export.names(ids), rows, strict=True):
                writer.writerow(
                    [*("" if value is None else export.label(str(value)) for value in _cells(name)), *map(_number, row)]
                )
        text.flush()
        text.detach()
    return [path]


def _number(value: "np.float32") -> str:
    """Write a float32 in the fewest digits that give it back."""
    return str(value)


def write_word2vec(export: Export, path: Path) -> list[Path]:
    """Write word2vec's text format: a line of counts, then a name and its numbers a line.

    A name is the piece, in which nothing may be a space; a row without a token is `id:N`, as is the second row of a
    name that is taken.
    """
    taken: set[str] = set()
    with whole(path) as file:
        file.write(f"{export.shape[0]} {export.shape[1]}\n".encode())
        for ids, rows in export.chunks():
            lines = []
            for name, row in zip(export.names(ids), rows, strict=True):
                # Escape every space of a name, in whatever script.
                text = export.label("" if name.piece is None else name.piece)
                key = "".join(f"\\u{ord(character):04x}" if character.isspace() else character for character in text)
                if not key or key in taken:
                    key = f"id:{name.id}"
                taken.add(key)
                lines.append(" ".join([key, *map(_number, row)]))
            file.write("".join(line + "\n" for line in lines).encode())
    return [path]


def write_projector(export: Export, path: Path) -> list[Path]:
    """Write a folder for TensorFlow's projector: vectors, names with a header of several columns, and its config.

    A label that looks blank would be dropped there, and with it the line: spaces are shown, and nothing is empty.
    """
    with trying_to(f"write {path}"):
        path.mkdir(exist_ok=True)
    files = [path / name for name in PROJECTOR_FILES]
    with whole(files[0]) as tensors, whole(files[1]) as metadata:
        metadata.write(b"token\tpiece\tid\tcategory\n")
        for ids, rows in export.chunks():
            for name, row in zip(export.names(ids), rows, strict=True):
                tensors.write(("\t".join(map(_number, row)) + "\n").encode())
                token = _shown(export.label(name.token or "")) or f"id:{name.id}"
                piece = _shown(export.label(name.piece or "")) or f"id:{name.id}"
                metadata.write(f"{token}\t{piece}\t{name.id}\t{name.category}\n".encode())
    config = {
        "embeddings": [
            {
                "tensorName": f"{export.label(export.model)} {export.table.role}",
                "tensorShape": list(export.shape),
                "tensorPath": PROJECTOR_FILES[0],
                "metadataPath": PROJECTOR_FILES[1],
            }
        ]
    }
    with whole(files[2]) as file:
        file.write(json.dumps(config, indent=2).encode() + b"\n")
    return files


def _shown(text: str) -> str:
    return text.replace(" ", "␣")


def write_parquet(export: Export, path: Path) -> list[Path]:
    """Write Parquet: id, piece, token, bytes, category, norm, vector (a list of float32 of fixed length).

    Where neighbors are asked for, they stand in `neighbors` as embedding-atlas has them: places in this file, from 0,
    as `ids`, and `distances`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: 100 MB that the other formats need not have
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra.of("pyarrow", "Parquet needs") from error
    width = export.shape[1]
    near = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            ("piece", pa.string()),
            ("token", pa.string()),
            ("bytes", pa.binary()),
            pa.field("category", pa.string(), nullable=False),
            pa.field("norm", pa.float32(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), width), nullable=False),
            *([] if export.nearest is None else [pa.field("neighbors", near)]),
        ],
        metadata={"model": export.model.encode("utf-8", "backslashreplace"), "table": export.table.role},
    )
    with whole(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for ids, rows in export.chunks():
            names = export.names(ids)
            columns = [
                pa.array([name.id for name in names], pa.int64()),
                pa.array([_well_formed(name.piece) for name in names], pa.string()),
                pa.array([_well_formed(name.token) for name in names], pa.string()),
                pa.array([None if name.bytes is None else bytes.fromhex(name.bytes) for name in names], pa.binary()),
                pa.array([name.category for name in names], pa.string()),
                pa.array(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)).astype(np.float32)),
                pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width),
            ]
            if export.nearest is not None:
                places, distances = export.nearest(ids)
                found = [{"ids": a, "distances": b} for a, b in zip(places.tolist(), distances.tolist(), strict=True)]
                columns.append(pa.array(found, near))
            writer.write_batch(pa.record_batch(columns, schema=schema))
    return [path]


def _well_formed(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


Writer = Callable[[Export, Path], list[Path]]

WRITERS: dict[str, Writer] = {
    "npy": write_npy,
    "npz": write_npz,
    "safetensors": write_safetensors,
    "parquet": write_parquet,
    "csv": write_csv,
    "projector": write_projector,
    "word2vec": write_word2vec,
}
"""Every format, by the name the command line has for it."""
