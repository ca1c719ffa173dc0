"""Record every architecture, hold embtool against them, or write what the tests hold it against."""

import argparse
import gzip
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import transformers

from families import pack, work

ORACLE = Path(__file__).parents[2] / "tests" / "data" / "architectures.jsonl.gz"


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("record", "compare", "oracle"))
    parser.add_argument("types", nargs="*", help="Model types; all that transformers knows unless said.")
    parser.add_argument(
        "--only", help="One variant: main, silent, flipped, bare, theta, linear, dynamic, yarn, llama3, partial."
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--facts", type=Path, help="Where to write what was observed, before it is packed.")
    asked = parser.parse_args()
    kinds = asked.types or sorted(transformers.CONFIG_MAPPING)
    task, end = {
        "record": (work.recorded, gather),
        "compare": (work.compared, report),
        "oracle": (work.observed, keep),
    }[asked.what]
    context = multiprocessing.get_context("spawn")
    with context.Pool(asked.processes, work.quiet, maxtasksperchild=20) as pool:  # torch gives little memory back
        results = pool.imap_unordered(task, [(kind, asked.only) for kind in kinds])
        return end(results, asked.facts, frozenset(asked.types))


def gather(results: Iterable[tuple[str, Any]], facts: Path | None, only: frozenset[str]) -> int:
    """Write the recording, or these types into the one that is there, and say what could not be built."""
    seen = {}
    for kind, found in results:
        if isinstance(found, str):
            print(f"{kind}: not built: {found}", flush=True)
        elif found is not None:
            seen[kind] = found
    if facts is not None:
        facts.write_text(json.dumps(seen, default=str, sort_keys=True, indent=1))
    pack.pack(seen, beside=bool(only))
    print(f"recorded {len(seen)} types of transformers {transformers.__version__}")
    return 0


def keep(results: Iterable[tuple[str, Any]], facts: Path | None, only: frozenset[str]) -> int:
    """Write what the tests hold embtool against, a model a line; with `only`, these types beside what is there."""
    del facts
    there = gzip.decompress(ORACLE.read_bytes()).decode().splitlines() if only else []
    lines = [line for line in there if json.loads(line)["type"] not in only]
    for kind, found in results:
        if isinstance(found, str):
            print(f"{kind}: not built: {found}", flush=True)
        else:
            lines += [json.dumps(entry, sort_keys=True) for entry in found]
    ORACLE.write_bytes(gzip.compress("\n".join(sorted(lines)).encode(), mtime=0))
    print(f"{len(lines)} models, {ORACLE.stat().st_size:,} bytes")
    return 0


def report(results: Iterable[tuple[str, Any]], facts: Path | None, only: frozenset[str]) -> int:
    """Print what disagrees, and the totals."""
    del facts, only
    total, wrong, undecided, clean = 0, 0, 0, 0
    for _, (count, lines, left) in results:
        total, wrong, undecided = total + count, wrong + len(lines), undecided + len(left)
        clean += bool(count) and not lines
        for line in (*lines, *(f"{each} left open" for each in dict.fromkeys(left))):
            print(line, flush=True)
    print(f"{total:,} comparisons, {wrong:,} differ, {undecided:,} left open; {clean} types without a difference")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
