"""How fast a table is fetched, against one plain stream: run as a program with a folder to work in.

Prints the ratio of the two, the most memory used in MB, and both rates in MB/s. `--size MB` sets the length.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from embtool.hub import HubSource

SHARD = "model.safetensors"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=128, help="MB of the table")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    memory = Path("/dev/shm")  # noqa: S108 - a folder in memory, used only if it can be
    if memory.is_dir() and shutil.disk_usage(memory).free > 4 * arguments.size * 1_000_000:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            measure(Path(folder), arguments.size << 20, arguments.rounds)
    else:
        measure(arguments.folder, arguments.size << 20, arguments.rounds)


def measure(folder: Path, size: int, rounds: int) -> None:
    """Serve a file of random bytes in another process, and fetch it by turns in both ways."""
    model = folder / "served" / "acme" / "long"
    model.mkdir(parents=True)
    with (model / SHARD).open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    os.environ["EMBTOOL_CACHE"] = str(folder / "cache")
    server = [sys.executable, str(Path(__file__).parent.parent / "tests" / "hubstub.py"), str(folder / "served")]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        rates: list[tuple[float, float]] = []
        for _ in range(rounds):
            streamed = size / seconds_streamed(endpoint)
            rates.append((size / seconds_fetched(endpoint, folder, size), streamed))
        process.stdin.close()
    fetched, streamed = (statistics.median(column) / 1e6 for column in zip(*rates, strict=True))
    print(f"{ratio_of(rates):.2f} {most_memory() / 1e6:.0f} MB {fetched:.0f} {streamed:.0f} MB/s")


def ratio_of(rates: list[tuple[float, float]]) -> float:
    """Compare the two turn by turn, and take the median."""
    return statistics.median(fetched / streamed for fetched, streamed in rates)


def most_memory() -> int:
    """Tell the most bytes of memory that this process had; getrusage would count its parent's where it can tell."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seconds_streamed(endpoint: str) -> float:
    """Read the file in one plain stream, and keep nothing of it."""
    with httpx2.Client() as client:
        place = client.get(f"{endpoint}/acme/long/resolve/main/{SHARD}").headers["Location"]
        began = time.perf_counter()
        with client.stream("GET", place) as response:
            for _ in response.iter_raw():
                pass
        return time.perf_counter() - began


def seconds_fetched(endpoint: str, folder: Path, size: int) -> float:
    """Fetch the table into an empty cache."""
    source = HubSource("acme/long", endpoint=endpoint, hub_cache=folder / "hub")
    source.head(SHARD, 8)
    began = time.perf_counter()
    source.local_range(SHARD, 8, size)
    took = time.perf_counter() - began
    source.close()
    shutil.rmtree(folder / "cache")
    return took


if __name__ == "__main__":
    main()
