"""Could a compact sketch answer exactly, reading a tenth of the table? The answer is in docs/performance.md.

Rows are made one long, their mean is taken off, and they are rotated at random. Each number is held in six bits, whose
planes are read one after another. Of a row of which b planes are read it is known how long what is missing is, and,
as the scale fits best, that it stands at right angles on what is there: by Cauchy and Schwarz the cosine is within
missing * |query at right angles| of the estimate. The best estimates of the first planes are read in full: the k-th
best of these is a threshold that is exact, and a row is ruled out as soon as it cannot reach it.

    python benchmarks/sketch.py MODEL|made:ROWSxWIDTH|random:ROWSxWIDTH [...]

`made` is a table that nobody trained: of each row of all-MiniLM-L6-v2 (or of MADE_OF) its numbers are random mixtures,
bent by tanh. Its neighbours are about the real ones; how those of a wide table would lie is not known from it.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embtool import open_model

Array = Any
QUERIES = int(os.environ.get("QUERIES", "200"))
K = 10
FIRST, LAST, CODE = 2, 6, 6
"""Planes that are read of every row, planes after which a row is read in full, and planes that there are."""
REACH = float(os.environ.get("REACH", "2.3"))
"""How far the codes of a row reach, as a multiple of the spread of its numbers: what is beyond is cut off."""
BEST = 256
"""Best estimates that are read in full for the threshold."""
SCALAR = 2
"""Bytes of each scalar, a float16: the row's product with the mean; of each level the scale, and what is missing."""
ROUNDED = 2.0**-11
"""What a float16 is off, at most, as a share of it."""
PAGE = 4096
SLACK = 1e-5
"""What float32 may be off here, where rows are scored in it; a product would say how much that is."""


class Level(NamedTuple):
    """Coded vectors with their squared lengths, the scale that fits each best, and the length of what is missing."""

    coded: Array
    square: Array
    scale: Array
    missing: Array


@dataclass(frozen=True)
class Sketch:
    """The codes of centred rows, and what is read of them."""

    codes: Array
    centred: Array
    along: Array
    mean_square: float
    row_bytes: float

    def level(self, planes: int, ids: Array) -> Level:
        """Return what so many planes say of rows."""
        coded = (self.codes[ids] >> (CODE - planes)).astype(np.float32) + np.float32(0.5)
        rows = self.centred[ids]
        square = np.einsum("ij,ij->i", coded, coded)
        scale = (np.einsum("ij,ij->i", rows, coded) / square).astype(np.float16).astype(np.float32)
        missing = np.linalg.norm(rows - scale[:, None] * coded, axis=1)
        return Level(coded, square, scale, missing * (1 + 2 * ROUNDED))


def main() -> None:
    """Print, for each table, which share of its bytes exact answers read, and how far the rows stand apart."""
    print(
        "| table | 10th cosine | others' spread | left after 2, 3, 4, 5 planes | bytes: median | p90 | worst | pages |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in sys.argv[1:]:
        rows, row_bytes = read(name)
        for rotated in (True, False) if os.environ.get("PLAIN") else (True,):
            print(f"| {name}{'' if rotated else ', not rotated'} | {measure(rows, row_bytes, rotated)} |", flush=True)


def read(name: str) -> tuple[Array, float]:
    """Return a table as float32 rows one long, and how many bytes a row takes where it is stored."""
    generator = np.random.default_rng(1)
    kind, _, shape = name.partition(":")
    if kind in ("made", "random"):
        count, width = map(int, shape.split("x"))
        rows = generator.standard_normal((count, width), np.float32) if kind == "random" else made(count, width)
        return _unit(rows), 2.0 * width
    table = open_model(name).input_table
    rows = table.rows(range(table.shape[0])).astype(np.float32)
    return _unit(rows[np.linalg.norm(rows, axis=1) > 0]), table.tensor.row_bytes


def made(count: int, width: int) -> Array:
    """Widen a real table: like rows stay about as like, and the new dimensions bend rather than repeat the old ones."""
    real, _ = read(os.environ.get("MADE_OF", "minilm"))
    mean = real.mean(axis=0)
    centred = (real[np.random.default_rng(3).permutation(len(real))[:count]] - mean) / real.std()
    mixing = np.random.default_rng(2).standard_normal((len(mean), width)).astype(np.float32) / np.sqrt(len(mean))
    curved = np.tanh(1.5 * centred @ mixing)
    rows = curved * real.std() * np.sqrt(len(mean) / width) / curved.std()
    rows[:, 0] += np.linalg.norm(mean)
    return rows.astype(np.float32)


def measure(unit: Array, row_bytes: float, rotated: bool) -> str:  # noqa: FBT001 - as it is printed
    """Ask for the rows nearest to some of them; check every answer, and tell what was read."""
    generator = np.random.default_rng(0)
    mean = unit.mean(axis=0)
    centred = unit - mean
    if rotated:
        centred = centred @ np.linalg.qr(generator.standard_normal((unit.shape[1],) * 2).astype(np.float32))[0]
    steps = 2 ** (CODE - 1)
    spread = np.linalg.norm(centred, axis=1, keepdims=True) / np.sqrt(unit.shape[1])
    codes = np.clip(np.floor(centred * steps / (REACH * spread)), -steps, steps - 1).astype(np.int8)
    sketch = Sketch(codes, centred, (unit @ mean).astype(np.float16).astype(np.float32), float(mean @ mean), row_bytes)
    first = sketch.level(FIRST, np.arange(len(unit)))
    asked = generator.choice(len(unit), QUERIES, replace=False)
    told = [ask(sketch, unit, int(query), first) for query in asked]
    shares, pages, left, tenth, spread = (np.array(each) for each in zip(*told, strict=True))
    middle = ", ".join(f"{each:,.0f}" for each in np.median(left, axis=0))
    median, p90, worst = np.quantile(shares, (0.5, 0.9, 1.0))
    return (
        f"{np.median(tenth):.2f} | {np.median(spread):.3f} | {middle} of {len(unit):,} "
        f"| {median:.3f} | {p90:.3f} | {worst:.3f} | {np.median(pages):.2f}"
    )


def ask(sketch: Sketch, unit: Array, query: int, first: Level) -> tuple[float, float, list[int], float, float]:
    """Answer one query; return the share of bytes and of pages read, rows left at each level, and two cosines."""
    exact = unit @ unit[query]
    exact[query] = -np.inf
    asked = sketch.centred[query]
    count, width = sketch.centred.shape
    base = sketch.along + sketch.along[query] - sketch.mean_square
    plane, row_bytes = width / 8, sketch.row_bytes
    spent = paged = count * (SCALAR + FIRST * plane + 2 * SCALAR)
    alive, level, full, threshold, left = np.arange(count), first, np.zeros(0, int), -np.inf, []
    for planes in range(FIRST, LAST + 1):
        if planes > FIRST:
            level = sketch.level(planes, alive)
            spent += len(alive) * (plane + 2 * SCALAR)
            paged += _paged(alive, plane) + _paged(alive, 2 * SCALAR)
        product = level.coded @ asked
        beside = np.sqrt(np.maximum(asked @ asked - np.square(product) / level.square, 0))
        estimate = base[alive] + level.scale * product
        estimate[alive == query] = -np.inf
        if planes == FIRST:
            full = np.argpartition(estimate, -BEST)[-BEST:]
            threshold = np.partition(exact[full], -K)[-K]
            spent += BEST * row_bytes
            paged += _paged(full, row_bytes)
        rounded = ROUNDED * (np.abs(level.scale * product) + np.abs(sketch.along[alive])) + SLACK
        alive = alive[estimate + level.missing * beside + rounded >= threshold]
        left.append(len(alive))
        if len(alive) * row_bytes < BEST * plane:
            break
    rest = np.setdiff1d(alive, full)
    spent += len(rest) * row_bytes
    paged += _paged(rest, row_bytes)
    tenth = np.partition(exact, -K)[-K]
    assert np.partition(exact[np.union1d(rest, full)], -K)[-K] == tenth, "a row of the answer was ruled out"
    total = count * row_bytes
    left += [left[-1]] * (LAST - FIRST + 1 - len(left))
    return spent / total, paged / total, left[:-1], float(tenth), float(np.delete(exact, query).std())


def _paged(ids: Array, size: float) -> float:
    """Return the bytes of the pages on which these rows of a file lie, side by side with the others."""
    first, last = (ids * size) // PAGE, (ids * size + size - 1) // PAGE
    return PAGE * float(len(np.union1d(first, last)) + np.maximum(last - first - 1, 0).sum())


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
