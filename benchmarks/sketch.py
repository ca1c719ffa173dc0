"""Could a compact sketch answer exactly, reading a tenth of the table? The answer is in docs/performance.md.

A sketch holds each row in b bits a number, after a random rotation, and the norm of what was lost. By Cauchy and
Schwarz a row's cosine is within lost / |row| of the sketch's, so a row can be ruled out only if the sketch's cosine
plus that bound is below the k-th best lower bound. This counts the rows that cannot be ruled out, to be read again.

    python benchmarks/sketch.py MODEL [MODEL...]
"""

import sys

import numpy as np

from embtool import open_model
from embtool.arrays import Doubles

QUERIES = 200
K = 10
BITS = (1, 2, 3, 4, 6, 8)


def main() -> None:
    """Print, for each model and number of bits, the bytes read in the end as a share of the table's."""
    generator = np.random.default_rng(0)
    print("| model | bits a number | median error bound | rows left, median | rows left, worst | bytes read / table |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in sys.argv[1:]:
        table = open_model(name).input_table
        rows = table.rows(range(table.shape[0])).astype(np.float64)
        rows = rows[np.linalg.norm(rows, axis=1) > 0]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rotation, _ = np.linalg.qr(generator.standard_normal((unit.shape[1], unit.shape[1])))
        unit = unit @ rotation
        queries = generator.choice(len(unit), QUERIES, replace=False)
        for bits in BITS:
            sketch = _quantise(unit, bits)
            lost = np.linalg.norm(unit - sketch, axis=1)
            left = [_rows_left(unit[query] @ sketch.T, lost) for query in queries]
            stored_bits = 8 * table.tensor.row_bytes / unit.shape[1]
            read = bits / stored_bits + np.median(left) / len(unit)
            print(
                f"| {name} | {bits} | {np.median(lost):.3f} | {np.median(left):,.0f} of {len(unit):,} "
                f"| {max(left):,} | {read:.2f} |"
            )


def _quantise(unit: Doubles, bits: int) -> Doubles:
    """Round each number to the middle of one of 2**bits steps, then scale each row to fit best."""
    reach = 3.0 / np.sqrt(unit.shape[1]) if bits > 1 else 1.6 / np.sqrt(unit.shape[1])
    step = 2 * reach / 2**bits
    codes = np.clip(np.floor(unit / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    sketch = (codes + 0.5) * step
    scale = (unit * sketch).sum(axis=1, keepdims=True) / np.square(sketch).sum(axis=1, keepdims=True)
    fitted: Doubles = sketch * scale
    return fitted


def _rows_left(scores: Doubles, lost: Doubles) -> int:
    """Count the rows whose cosine can still be among the K best."""
    kth = np.partition(scores - lost, -K - 1)[-K - 1]
    return int((scores + lost >= kth).sum())


if __name__ == "__main__":
    main()
