"""Measure embtool against other libraries and against the physical limit, in one run on the same files.

    python benchmarks/run.py                    every size that fits
    python benchmarks/run.py --size gpt2        one size
    python benchmarks/run.py --commands         whole commands instead: start-up, info, neighbors
    python benchmarks/run.py --folder DIR       keep the tables in DIR and use them again

Every peer runs in a process of its own, several times; the medians are printed as Markdown, with the ratio to embtool
and the private memory at its highest. Only figures of one run can be compared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from models import SIZES, WORD, Size, keep_bytecode, write_model
from peers import PEERS, decoded, stored

ROUNDS = 7
MANY = 1000
SLOWEST = 300
"""Seconds a peer may take before it is left out."""

FLOAT32_ROOM = 0.8
"""Share of the machine's memory that a peer's float32 copies, two of them while they are made, may take."""


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[size.name for size in SIZES], action="append")
    parser.add_argument("--queries", type=int, choices=(1, MANY), action="append")
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    sizes = [size for size in SIZES if not options.size or size.name in options.size]
    with tempfile.TemporaryDirectory() as temporary:
        keep_bytecode(Path(temporary))
        base = options.folder or Path(temporary)
        print(f"{_machine()}\n")
        for size in sizes:
            folder = base / size.name
            if not (folder / "model.safetensors").exists():
                write_model(folder, size)
            if options.commands:
                _commands(folder, size)
            else:
                for queries in options.queries or (1, MANY):
                    _peers(folder, size, queries)


def _machine() -> str:
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _peers(folder: Path, size: Size, queries: int) -> None:
    """Measure every peer and print a table."""
    print(
        f"### {size.name}: {size.rows:,} × {size.width:,} {size.dtype}, "
        f"{size.nbytes / 1e9:.2f} GB, {queries:,} queries\n"
    )
    found = {}
    for peer in PEERS:
        if queries > 1 and peer.name.startswith("limit"):
            continue
        copies = 2 * size.rows * size.width * 4 if peer.needs_float32 else 0
        if copies > FLOAT32_ROOM * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            found[peer.name] = "its float32 copy does not fit in memory here"
            continue
        found[peer.name] = _measure(folder, size, peer.name, queries)
    own = found["embtool"]
    print("| | first answer, s | median, s | ratio to embtool | private memory, MB | same ids |")
    print("|---|---:|---:|---:|---:|---|")
    for name, figures in found.items():
        if isinstance(figures, str) or isinstance(own, str):
            print(f"| {name} | {figures} | | | | |")
            continue
        ratio = figures["median"] / own["median"]
        same = "" if name.startswith("limit") else ("yes" if figures["ids"] == own["ids"] else "no")
        print(
            f"| {name} | {figures['first']:.2f} | {figures['median']:.3f} | {ratio:.2f} "
            f"| {figures['memory'] / 1e6:,.0f} | {same} |"
        )
    print()


def _measure(folder: Path, size: Size, name: str, queries: int) -> "dict[str, float] | str":
    """Run one peer in a process of its own."""
    command = [sys.executable, __file__, "--worker", str(folder), size.name, name, str(queries)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST, check=False)
    except subprocess.TimeoutExpired:
        return f"more than {SLOWEST} s"
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["ended"])[-1]
        return "not installed" if "No module named" in reason else f"failed: {reason[:60]}"
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _work(folder: str, size_name: str, peer_name: str, queries: str) -> None:
    """Be one peer: prepare, answer once, answer again several times."""
    size = next(size for size in SIZES if size.name == size_name)
    peer = next(peer for peer in PEERS if peer.name == peer_name)
    count = int(queries)
    table = stored(Path(folder), size)
    asked = np.ascontiguousarray(decoded(table[np.linspace(1, size.rows - 2, count).astype(int)]))
    highest = [0]
    stop = threading.Event()
    threading.Thread(target=_watch, args=(highest, stop), daemon=True).start()
    started = time.perf_counter()
    ask = peer.prepare(Path(folder), size)
    ids = ask(asked)
    first = time.perf_counter() - started
    times = []
    for _ in range(ROUNDS if count == 1 else 1):
        started = time.perf_counter()
        ids = ask(asked)
        times.append(time.perf_counter() - started)
    stop.set()
    answer = np.sort(np.asarray(ids, np.int64), axis=-1).tolist() if not peer.name.startswith("limit") else None
    print(json.dumps({"first": first, "median": statistics.median(times), "memory": highest[0], "ids": answer}))


def _watch(highest: list[int], stop: threading.Event) -> None:
    """Remember the highest private memory: what the process holds that no file backs."""
    while not stop.wait(0.005):
        for line in _lines("/proc/self/status"):
            if line.startswith("RssAnon:"):
                highest[0] = max(highest[0], int(line.split()[1]) * 1024)


SCRIPT = """
import sys, torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
table = load_file(sys.argv[1] + "/model.safetensors")["model.embed_tokens.weight"]
query = table[tokenizer.encode(" strawberry").ids[0]]
scores = torch.nn.functional.cosine_similarity(table.float(), query.float()[None])
best = torch.topk(scores, 11)
print([(tokenizer.decode([i]), s) for s, i in zip(best.values.tolist(), best.indices.tolist())])
"""

FLOOR = """
import sys, numpy as np
table = np.memmap(sys.argv[1] + "/model.safetensors", np.uint64, "r")
print(np.bitwise_xor.reduce(table))
"""


def _commands(folder: Path, size: Size) -> None:
    """Measure whole processes: the program's commands against the least that a process must do for the same answer."""
    print(f"### whole commands, {size.name}: {size.rows:,} × {size.width:,} {size.dtype}\n")
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "EMBTOOL_CACHE": cache, "HF_HUB_OFFLINE": "1"}
        program = [sys.executable, "-m", "embtool"]
        neighbors = [*program, "neighbors", WORD, "-m", str(folder)]
        first = _time(neighbors, environment)
        pairs = {
            "`embtool --version`": ([*program, "--version"], [sys.executable, "-c", "import typer, rich.table"]),
            "`embtool info DIR`": ([*program, "info", str(folder)], [sys.executable, "-c", "import typer, rich.table"]),
            "`embtool neighbors`": (neighbors, [sys.executable, "-c", FLOOR, str(folder)]),
            "`embtool neighbors` ": (neighbors, [sys.executable, "-c", SCRIPT, str(folder)]),
        }
        others = (
            "import typer, rich.table",
            "import typer, rich.table",
            "python, numpy, one pass",
            "torch, tokenizers",
        )
        print("| command | median, s | against | median, s | ratio |\n|---|---:|---|---:|---:|")
        for (name, (own, other)), against in zip(pairs.items(), others, strict=True):
            mine, theirs = [], []
            for _ in range(ROUNDS):
                mine.append(_time(own, environment))
                theirs.append(_time(other, environment))
            ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
            print(
                f"| {name} | {statistics.median(mine):.3f} | {against} | "
                f"{statistics.median(theirs):.3f} | {ratio:.2f} |"
            )
        print(f"\nfirst use, with nothing derived yet: {first:.2f} s\n")


def _time(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
