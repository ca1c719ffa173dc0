"""How far each quantisation moves the rows of a table: mean cosine, worst row, and neighbours kept.

A table is written in every type that can be written here (the gguf library's quantisers, MLX's where it is installed),
opened again with embtool, and compared with the original row by row:

    python benchmarks/quantisation.py mini
    python benchmarks/quantisation.py path/to/model --rows 4096 --markdown

`cosine` is the mean over all rows of the cosine between a row and its copy; `worst` is the smallest, with the id of its
row; `kept` is the share of the 10 nearest rows of 50 queries that the copy has among its own 10.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import embtool
from embtool.arrays import Doubles, Floats
from embtool.tables.table import EmbeddingTable

GGUF_TYPES = ("BF16", "F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4", "TQ2_0", "TQ1_0")
MLX_BITS = (8, 6, 5, 4, 3, 2)
MLX_MODES = ("mxfp8", "mxfp4", "nvfp4")
QUERIES, TOP = 50, 10
COLUMNS = ("type", "bits", "cosine", "worst", "row", "kept")


@dataclass(frozen=True)
class Result:
    """What one quantisation does to a table."""

    type: str
    bits: float
    cosine: float
    worst: float
    row: int
    kept: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures as text."""
        figures = f"{self.bits:.2f}", f"{self.cosine:.5f}", f"{self.worst:.5f}", f"{self.row:,}", f"{self.kept:.3f}"
        return (self.type, *figures)


def cosines(one: Floats, other: Floats) -> Doubles:
    """Compute the cosine of each row with its copy; rows of zeros are left out as NaN."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    dots: Doubles = (first * second).sum(axis=1)
    found: Doubles = np.divide(dots, lengths, out=np.full(len(dots), np.nan), where=lengths > 0)
    return found


def best(rows: Floats, ids: Any) -> list[set[int]]:
    """Find the nearest rows of some, by cosine, themselves left out."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    scores = units[ids] @ units.T
    scores[np.arange(len(ids)), ids] = -np.inf
    return [set(np.argpartition(-row, TOP)[:TOP].tolist()) for row in scores]


def compare(name: str, original: Floats, table: EmbeddingTable, names: list[int]) -> Result:
    """Hold a copy of a table against the original, whose rows have these ids."""
    copied = table.rows(range(len(original)))
    found = cosines(original, copied)
    ids = np.linspace(0, len(original) - 1, QUERIES).astype(int)
    shared = [len(one & other) for one, other in zip(best(original, ids), best(copied, ids), strict=True)]
    bits = table.tensor.nbytes * 8 / original.size
    worst = int(np.nanargmin(found))
    return Result(
        name, bits, float(np.nanmean(found)), float(found[worst]), names[worst], sum(shared) / (TOP * len(ids))
    )


def write_gguf(path: Path, rows: Floats, kind: str) -> None:
    """Write a table as GGUF."""
    import gguf

    wanted = gguf.GGMLQuantizationType[kind]
    try:
        stored = gguf.quants.quantize(rows, wanted)
    except gguf.quants.QuantError as error:
        raise ValueError(f"rows of {rows.shape[1]} numbers are no blocks of it") from error
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(rows.shape[1])
    writer.add_head_count(1)
    writer.add_tensor("token_embd.weight", stored, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mlx(folder: Path, rows: Floats, **packing: Any) -> None:
    """Write a table as MLX packs it."""
    import mlx.core as mx

    parts = mx.quantize(mx.array(rows), **packing)
    names = ("weight", "scales", "biases")
    tensors = {f"embed_tokens.{name}": part for name, part in zip(names, parts, strict=False)}
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "quantization": packing}))


def copies(rows: Floats) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Name every copy that can be written here, with what writes it into a folder and says where it is."""

    def gguf_copy(kind: str) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            write_gguf(folder / "x.gguf", rows, kind)
            return folder / "x.gguf"

        return write

    def mlx_copy(packing: dict[str, Any]) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            write_mlx(folder, rows, **packing)
            return folder

        return write

    for kind in GGUF_TYPES:
        yield f"GGUF {kind}", gguf_copy(kind)
    for bits in MLX_BITS:
        yield f"MLX {bits}-bit", mlx_copy({"bits": bits, "group_size": 64})
    for mode in MLX_MODES:
        yield f"MLX {mode}", mlx_copy({"mode": mode})


def measure(rows: Floats, names: list[int]) -> Iterator[Result]:
    """Quantise rows with these ids in every way there is here; ways that do not fit are said and passed over."""
    for name, write in copies(rows):
        with tempfile.TemporaryDirectory() as folder:
            try:
                place = write(Path(folder))
            except (ImportError, NotImplementedError, ValueError, RuntimeError) as error:
                print(f"{name}: not written: {error}", file=sys.stderr)
                continue
            yield compare(name, rows, embtool.open_model(place).input_table, names)


def main() -> None:
    """Measure a model's input table and print a line for each type."""
    parser = argparse.ArgumentParser(description="How far each quantisation moves the rows of a table.")
    parser.add_argument("model", nargs="?", default="mini")
    parser.add_argument("--rows", type=int, default=8192, help="rows compared, evenly spread over the table")
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")
    options = parser.parse_args()
    table = embtool.open_model(options.model).input_table
    ids = np.unique(np.linspace(0, table.shape[0] - 1, min(options.rows, table.shape[0])).astype(int)).tolist()
    rows = table.rows(ids)
    separator = " | " if options.markdown else "\t"
    print(separator.join(COLUMNS))
    if options.markdown:
        print(separator.join(["---"] * len(COLUMNS)))
    for result in measure(rows, ids):
        print(separator.join(result.cells), flush=True)


if __name__ == "__main__":
    main()
