"""Time the graph of nearest rows of a GPT-2-sized table beside numpy's, in turns: `benchmarks/graph.py [--rows N]`.

The peer holds the table as unit rows in float32, multiplies blocks of 1,024 of them by all, and sorts what
`argpartition` leaves. Only the first N rows ask, and the whole graph takes so many times longer.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from models import SIZES, write_model

import embtool

BLOCK = 1024


def peer(rows: Any, k: int, asking: int) -> Any:
    """Return the ids of the rows nearest to each of the first ones, itself left out: int64 (asking, k)."""
    found = []
    for first in range(0, asking, BLOCK):
        scores = rows[first : min(first + BLOCK, asking)] @ rows.T
        scores[np.arange(len(scores)), np.arange(first, first + len(scores))] = -np.inf
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


def main() -> None:
    """Print the seconds of both, the median of their ratio, and how many neighbours are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2 * BLOCK, help="How many rows ask.")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = embtool.open_model(write_model(Path(name), SIZES[0])).input_table
        asking = min(asked.rows, len(table))
        rows = table.rows(range(len(table)))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        own, other, same = [], [], 0.0
        for _ in range(asked.rounds):
            begin = time.perf_counter()
            graph = embtool.nearest_graph(table, asked.k, rows=range(asking))
            middle = time.perf_counter()
            ids = peer(rows, asked.k, asking)
            own.append(middle - begin)
            other.append(time.perf_counter() - middle)
            same = float((graph.ids == ids).mean())
    ratio = statistics.median(one / two for one, two in zip(own, other, strict=True))
    print(f"{asking:,} of {len(table):,} rows, {asked.k} neighbours: {min(own):.1f} s, numpy {min(other):.1f} s")
    print(f"{ratio:.2f} x numpy's time; {same:.2%} of the neighbours are numpy's; the graph of all rows takes", end=" ")
    print(f"{min(own) * len(table) / asking:.0f} s at this speed")


if __name__ == "__main__":
    main()
