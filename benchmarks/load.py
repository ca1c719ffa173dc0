"""Many processes at once: 200 on one model, 20 on one table, 50 on one index that is not there yet, 20 on one hub.

Each kind of run is the program in a process of its own; all are started as fast as the machine can. What is measured is
whether every one gives the same answer, what the slowest waited, and the memory: of one process, and of all together
as the system counts shared pages once (PSS, Linux). Prints a table in Markdown.

    python benchmarks/load.py [--scale 0.1]
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROWS, WIDTH = 50_000, 768
"""Of the table that is made: 77 MB in BF16, as large as GPT-2's."""

INPUT = "model.embed_tokens.weight"


@dataclass(frozen=True)
class Outcome:
    """What many processes came to."""

    what: str
    processes: int
    seconds: float
    slowest: float
    median: float
    largest_mb: float
    together_mb: float
    answers: int
    failures: int
    note: str = ""

    def __str__(self) -> str:
        times = f"{self.seconds:.1f} s | {self.median:.2f} s | {self.slowest:.2f} s"
        memory = f"{self.largest_mb:.0f} MB | {self.together_mb:,.0f} MB"
        return (
            f"| {self.what} | {self.processes} | {times} | {memory} | {self.answers} | {self.failures} | {self.note} |"
        )


HEAD = (
    "| what | processes | all done | median | slowest | largest | together | answers | failures | |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)


def words(count: int) -> dict[str, Any]:
    """Describe a tokenizer of so many tokens."""
    plain = {"type": "WordLevel", "vocab": {f"w{place}": place for place in range(count)}, "unk_token": "w0"}
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": plain}


def make_model(folder: Path, rows: int) -> None:
    """Make a model of one table and its words."""
    import numpy as np

    folder.mkdir(parents=True)
    settings = {"model_type": "llama", "vocab_size": rows, "hidden_size": WIDTH, "num_attention_heads": 12}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(json.dumps(words(rows)))
    values = np.random.default_rng(0).standard_normal((rows, WIDTH), np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    entry = {INPUT: {"dtype": "BF16", "shape": [rows, WIDTH], "data_offsets": [0, len(data)]}}
    header = json.dumps(entry).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)


class Memory:
    """Looks at the memory of processes again and again, and keeps the most that there was."""

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self.processes = processes
        self.together = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            total = 0
            for process in list(self.processes):
                try:
                    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                except OSError:
                    continue
                total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
            self.together = max(self.together, total / 1024)


def run_many(what: str, count: int, arguments: Sequence[str], folder: Path, env: dict[str, str]) -> Outcome:
    """Run the program many times at once."""
    began = time.monotonic()
    processes: list[subprocess.Popen[bytes]] = []
    ends: list[tuple[float, int, bytes, float]] = []
    lock = threading.Lock()

    def wait(process: "subprocess.Popen[bytes]", started: float) -> None:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        with lock:
            ends.append((time.monotonic() - started, os.waitstatus_to_exitcode(status), out, usage.ru_maxrss / 1024))

    threads = []
    with Memory(processes) as memory:
        for _ in range(count):
            command = [sys.executable, "-m", "embtool", *arguments]
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            processes.append(process)
            thread = threading.Thread(target=wait, args=(process, time.monotonic()))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
    for process in processes:
        process.returncode = 0  # waited for above
    times = [seconds for seconds, *_ in ends]
    return Outcome(
        what,
        count,
        time.monotonic() - began,
        max(times),
        statistics.median(times),
        max(most for *_, most in ends),
        memory.together,
        len({hashlib.sha256(out).digest() for _, _, out, _ in ends}),
        sum(status != 0 for _, status, _, _ in ends),
    )


def serve(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the test hub on a folder of models, in a process of its own."""
    script = Path(__file__).parent.parent / "tests" / "hubstub.py"
    return subprocess.Popen([sys.executable, str(script), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def check_cache(folder: Path, env: dict[str, str]) -> str:
    """Hold what the cache holds against its checksums, and count what was left behind."""
    verified = subprocess.run(
        [sys.executable, "-m", "embtool", "cache", "verify"], cwd=folder, env=env, capture_output=True, check=False
    )
    cache = Path(env["EMBTOOL_CACHE"])
    left = [path for path in cache.rglob("*") if path.name.startswith(".") or path.suffix in (".part", ".journal")]
    sound = "sound" if verified.returncode == 0 else "DAMAGED"
    return f"cache {sound}, {len(left)} remains"


def main() -> None:
    """Make a model, and ask many processes about it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of processes and rows")
    scale = parser.parse_args().scale
    rows = max(1000, int(ROWS * scale))

    def some(count: int) -> int:
        return max(2, int(count * scale))

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        # In a process of its own: the system counts what this one has held as memory of those that it starts.
        maker = multiprocessing.get_context("spawn").Process(
            target=make_model, args=(root / "models" / "acme" / "load", rows)
        )
        maker.start()
        maker.join()
        base = {name: value for name, value in os.environ.items() if not name.startswith(("EMBTOOL_", "HF_"))}

        def home(name: str, **more: str) -> dict[str, str]:
            cache = {"EMBTOOL_CACHE": str(root / name / "embtool"), "HF_HUB_CACHE": str(root / name / "hub")}
            return {**base, "HOME": str(root / name), "HF_HUB_OFFLINE": "1", **cache, **more}

        model = str(root / "models" / "acme" / "load")
        print(HEAD, flush=True)
        warm = home("warm")
        run_many("", 1, ["row", "w5", "-m", model], root, warm)
        for what, count, arguments in (
            ("`info` of a local model", 200, ["info", model, "--json"]),
            ("`neighbors` on one table", 20, ["neighbors", "w5", "-m", model, "--json"]),
        ):
            print(run_many(what, some(count), arguments, root, warm), flush=True)
        cold = home("cold")
        first = run_many("the index of a tokenizer, not there yet", some(50), ["row", "w7", "-m", model], root, cold)
        print(f"{str(first)[:-2]}{check_cache(root, cold)} |", flush=True)
        with serve(root / "models") as hub:
            assert hub.stdout is not None
            endpoint = hub.stdout.readline().decode().strip()
            for what, count, arguments in (
                ("`info` of a hub model, nothing cached", 200, ["info", "acme/load"]),
                ("a hub's table, nothing cached", 20, ["neighbors", "id:5", "-m", "acme/load", "--json"]),
            ):
                online = home(f"online {count}", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")
                outcome = run_many(what, some(count), arguments, root, online)
                print(f"{str(outcome)[:-2]}{check_cache(root, online)} |", flush=True)
            hub.terminate()


if __name__ == "__main__":
    main()
