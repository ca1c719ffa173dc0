"""Measure the commands that ask about a whole table: time, private memory, and the ratio to one pass over its bytes.

    python benchmarks/tables.py --size qwen3.6      a table of this size, made in a temporary folder
    python benchmarks/tables.py --folder DIR        a model folder that is there already

A floor is measured beside each command: Python and numpy that read the checkpoint once through a memory map. Only
figures of one run can be compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import SIZES, write_model

ROUNDS = 3
LOOKS = 0.02
"""Seconds between two looks at a process's memory."""

FLOOR = """
import sys, numpy as np
for file in sys.argv[1:]:
    print(np.bitwise_xor.reduce(np.memmap(file, np.uint8, "r")))
"""

COMMANDS: dict[str, list[str]] = {
    "norms": ["norms", "-m", "MODEL", "--json"],
    "norms --no-spectrum": ["norms", "-m", "MODEL", "--no-spectrum", "--json"],
    "undertrained": ["undertrained", "-m", "MODEL", "--json"],
    "check --deep": ["check", "MODEL", "--deep", "--json"],
    "diff": ["diff", "MODEL", "MODEL", "--json"],
    "map --basis table": ["map", "id:1..40", "-m", "MODEL", "--basis", "table", "--json"],
    "vocab --counts": ["vocab", "--counts", "-m", "MODEL", "--json"],
    "export": ["export", "MODEL", "--sample", "20000", "-o", "OUT/x.npy", "--force"],
}


def main() -> None:
    """Measure every command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[size.name for size in SIZES], default="gpt2")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder
        if folder is None:
            folder = Path(temporary) / "model"
            write_model(folder, next(size for size in SIZES if size.name == options.size))
        _measure(folder, Path(temporary))


def _measure(folder: Path, scratch: Path) -> None:
    environment = {**os.environ, "EMBTOOL_CACHE": str(scratch / "cache"), "HF_HUB_OFFLINE": "1"}
    shards = sorted(map(str, folder.glob("*.safetensors")))
    print(
        "| command | median, s | one pass over the bytes, s | ratio | private memory, MB |\n|---|---:|---:|---:|---:|"
    )
    for name, words in COMMANDS.items():
        command = [word.replace("MODEL", str(folder)).replace("OUT", str(scratch)) for word in words]
        own, floors, most = [], [], 0
        for _ in range(ROUNDS):
            taken, memory = _run([sys.executable, "-m", "embtool", *command], environment)
            own.append(taken)
            most = max(most, memory)
            floors.append(_run([sys.executable, "-c", FLOOR, *shards], environment)[0])
        median, floor = statistics.median(own), statistics.median(floors)
        print(f"| `{name}` | {median:.2f} | {floor:.2f} | {median / floor:.1f} | {most / 1e6:.0f} |", flush=True)


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Run a command; tell the seconds it took, and its private memory at its highest, in bytes (0 beside Linux)."""
    started, most = time.perf_counter(), 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, _private(process.pid))
            time.sleep(LOOKS)
    return time.perf_counter() - started, most


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    main()
