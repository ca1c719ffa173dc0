"""The figures of docs/performance.md about a whole table, each beside one pass over its bytes by all threads.

    python benchmarks/passes.py [--folder DIR] [--rounds 7]

One query in process in each way that a table is gone through, for each dtype; the questions about a whole table as
functions; whole commands; the first use; a table that is not in memory. Every figure is measured by turns with what it
is compared with, and the ratio is the median of the turns: only ratios of one run mean anything. Prints Markdown.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from models import SIZES, WORD, Size, keep_bytecode, write_model

from embtool.model import open_model
from embtool.questions.diff import diff
from embtool.storage import mapped
from embtool.tables.neighbors import nearest, nearest_each
from embtool.tables.spectrum import sampled_axes
from embtool.tables.survey import distances, equal_rows, norms, survey

QWEN, GPT2 = (next(size for size in SIZES if size.name == name) for name in ("qwen3.6", "gpt2"))

DTYPES = tuple(Size(f"qwen3.6, {dtype}", 248_320, 1_280, dtype, "qwen3_5_text") for dtype in ("F16", "F32", "F8_E4M3"))
"""Narrower than Qwen's, so that all fit on a disk: what is compared is the pass over the same bytes."""

HEAD = "| what | least, s | against | least, s | ratio, median |\n|---|---:|---|---:|---:|"

FLOOR = """
import os, sys, numpy as np
from concurrent.futures import ThreadPoolExecutor
table = np.memmap(sys.argv[1], np.uint64, "r", 0, os.path.getsize(sys.argv[1]) // 8)
threads = len(os.sched_getaffinity(0))
with ThreadPoolExecutor(threads) as pool:
    print(sum(map(int, pool.map(np.bitwise_xor.reduce, np.array_split(table, threads)))))
"""

ZEROS = """
import os, sys
with open(sys.argv[1], "wb") as file:
    block = bytes(4 << 20)
    for first in range(0, int(sys.argv[2]), len(block)):
        file.write(block[: int(sys.argv[2]) - first])
    file.flush()
    os.fsync(file.fileno())
"""

IMPORTS = "import typer, rich.table"


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the tables there and use them again")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ |= {"EMBTOOL_CACHE": str(Path(temporary) / "cache"), "HF_HUB_OFFLINE": "1"}
        keep_bytecode(Path(temporary))
        base = options.folder or Path(temporary)
        for size in (QWEN, GPT2, *DTYPES):
            folder = base / size.name.replace(", ", "-")
            if not (folder / "model.safetensors").exists():
                write_model(folder, size)
            print(
                f"\n### {size.name}: {size.rows:,} × {size.width:,} {size.dtype}, {size.nbytes / 1e9:.2f} GB\n\n{HEAD}"
            )
            one_query(folder, options.rounds)
            if size is QWEN:
                whole_table(folder, options.rounds)
                commands(folder, size, Path(temporary), options.rounds)
                every_row_differs(folder, size, Path(temporary) / "other", options.rounds)
            if size in DTYPES and options.folder is None:
                (folder / "model.safetensors").unlink()


def by_turns(
    what: str,
    own: Callable[[], Any],
    against: str,
    other: Callable[[], Any],
    rounds: int,
    before: Callable[[], Any] | None = None,
) -> None:
    """Measure two things by turns, and print a line."""
    mine, theirs = [], []
    for _ in range(rounds):
        for times, ask in ((theirs, other), (mine, own)):
            if before is not None:
                before()
            started = time.perf_counter()
            ask()
            times.append(time.perf_counter() - started)
    ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    print(f"| {what} | {min(mine):.3f} | {against} | {min(theirs):.3f} | {ratio:.2f} |", flush=True)


def one_pass(folder: Path) -> Callable[[], Any]:
    """Make a pass over the bytes of a table, mapped, by all threads."""
    table = open_model(folder).input_table
    place = table.checkpoint.local_range(table.tensor)
    flat = np.memmap(place.path, np.uint64, "r", place.start, ((place.stop - place.start) // 8,))
    threads = len(os.sched_getaffinity(0))
    parts = np.array_split(flat, threads)

    def go() -> list[Any]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(np.bitwise_xor.reduce, parts))

    return go


@contextlib.contextmanager
def only_read() -> Iterator[None]:
    """Get no lease."""
    real, mapped.take_lease = mapped.take_lease, lambda _: False
    try:
        yield
    finally:
        mapped.take_lease = real


def one_query(folder: Path, rounds: int) -> None:
    """Measure one query, mapped and read, and a thousand at once."""
    table = open_model(folder).input_table
    query = table.rows([5])[0]
    limit = one_pass(folder)

    def ask() -> Any:
        return nearest(table, query, 10)

    def ask_read() -> Any:
        with only_read():
            return ask()

    limit(), ask()
    by_turns(
        f"one query, {(table.checkpoint.mappings.told or 'read').split(':')[0]}",
        ask,
        "a pass by all threads",
        limit,
        rounds,
    )
    by_turns("one query, read", ask_read, "a pass by all threads", limit, rounds)
    many = table.rows(np.linspace(1, len(table) - 2, 1000).astype(int).tolist())
    by_turns("1,000 queries", lambda: nearest_each(table, many, 10), "one query", ask, 1)


def whole_table(folder: Path, rounds: int) -> None:
    """Measure what the questions about a whole table are made of."""
    table = open_model(folder).input_table
    limit = one_pass(folder)
    with table.open() as reader:
        found = survey(table, reader)
        point = found.mean
        for what, ask in {
            "norms of all rows": lambda: norms(table, reader),
            "distances to a point": lambda: distances(table, reader, point),
            "norms, mean": lambda: survey(table, reader, units=False),
            "norms, both means": lambda: survey(table, reader),
            "identical rows, given their lengths": lambda: equal_rows(reader, found.norms),
            "the spectrum, from a sample": lambda: sampled_axes(table, reader, found, 16),
        }.items():
            by_turns(what, ask, "a pass by all threads", limit, rounds)


def every_row_differs(folder: Path, size: Size, other: Path, rounds: int) -> None:
    """Measure `diff` with a copy of which every row was changed, in process."""
    shutil.copytree(folder, other)
    place = open_model(other).input_table.checkpoint.local_range(open_model(other).input_table.tensor)
    rows = np.memmap(place.path, np.uint8, "r+", place.start, (size.rows, size.nbytes // size.rows))
    rows[:, 0] ^= 1
    rows.flush()
    del rows  # a file that is open for writing gets no lease
    passes = one_pass(folder), one_pass(other)
    models = open_model(folder), open_model(other)
    assert diff(*models).rows.changed == size.rows
    by_turns(
        "`diff`, every row differs", lambda: diff(*models), "a pass over both", lambda: [go() for go in passes], rounds
    )
    shutil.rmtree(other)


def commands(folder: Path, size: Size, scratch: Path, rounds: int) -> None:
    """Measure whole processes."""
    shard, out = folder / "model.safetensors", scratch / "x.npy"

    def program(*words: str) -> Callable[[], Any]:
        command = [sys.executable, "-m", "embtool", *words]
        return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def python(code: str, *words: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, check=True)

    def drop() -> None:
        descriptor = os.open(shard, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)

    def forget() -> None:
        for file in Path(os.environ["EMBTOOL_CACHE"]).rglob("*"):
            if file.is_file():
                file.unlink()

    model, floor = str(folder), python(FLOOR, str(shard))
    neighbors = program("neighbors", WORD, "-m", model)
    neighbors()
    least = "python, numpy, a pass by all threads"
    started = {
        "`embtool --version`": ("--version",),
        "`embtool info DIR`": ("info", model),
        "`embtool rope`": ("rope", model),
        "`embtool tokens`, one token": ("tokens", " king", "-m", model),
    }
    for what, words in started.items():
        program(*words)()  # compiles its modules
        by_turns(what, program(*words), IMPORTS, python(IMPORTS), rounds)
    by_turns("`embtool neighbors`", neighbors, least, floor, rounds)
    by_turns("`embtool norms`", program("norms", model, "--json"), least, floor, rounds)
    by_turns("`embtool undertrained`", program("undertrained", model, "--json"), least, floor, 3)
    by_turns("`embtool check --deep`", program("check", model, "--deep", "--json"), least, floor, 3)
    by_turns(
        "`embtool diff` with itself",
        program("diff", model, model, "--json"),
        "two such passes",
        lambda: (floor(), floor()),
        1,
    )
    by_turns("`embtool tokens`", program("tokens", "a text of words", "-m", model), IMPORTS, python(IMPORTS), 3)
    written = size.rows * size.width * 4
    zeros = python(ZEROS, str(out), str(written))
    by_turns(
        "`embtool export -o x.npy`", program("export", model, "-o", str(out), "--force"), "as many zeros", zeros, 1
    )
    out.unlink(missing_ok=True)
    by_turns("`embtool neighbors`, table not in memory", neighbors, least, floor, 3, drop)
    by_turns(
        "`embtool row`, first use",
        lambda: (forget(), program("row", WORD, "-m", model)()),
        "warm",
        program("row", WORD, "-m", model),
        1,
    )


if __name__ == "__main__":
    main()
