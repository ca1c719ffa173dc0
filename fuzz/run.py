"""Fuzz every reader of foreign data: thousands of broken, odd and hostile inputs a second, counted.

    python fuzz/run.py                        every target, one minute in all
    python fuzz/run.py --seconds 3600         the same for an hour
    python fuzz/run.py gguf config            some of them
    python fuzz/run.py gguf --cases 100000    until that many cases have been run
    python fuzz/run.py --replay FILE          run one case again and show what it does
    python fuzz/run.py --list                 name the targets
    python fuzz/run.py --show FILE            write the counts in FILE as a table

Each target runs in a process of its own, one after the other. Finds are put into build/fuzz/finds; the exit status is 1
if there are any. `--add FILE` adds the counts to a file of them.
"""

import argparse
import importlib.util
import json
import mmap
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campaign import SHARED, SHARED_SIZE, Plan, keep, work
from target import HERE, Target, isolated, load

FOLDER = HERE.parent / "build" / "fuzz"
SECONDS = 60.0
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
HANGS = 15.0
"""Seconds of work after which a case that is still run is a find; what is merely slow, its target notices itself."""

LOADING = 60.0
"""Seconds of work until the first case."""

STARTS = 20
"""How often a target is begun again after its process has ended by itself."""


def main() -> None:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    parser.add_argument("--seconds", type=float, help=f"for all targets together (default {SECONDS:.0f})")
    parser.add_argument("--cases", type=int, help="the most cases of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("atheris", "random"), help="atheris, if it is installed")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where finds and the grown corpus are put")
    parser.add_argument("--add", type=Path, metavar="FILE", help="add the counts to those in a JSON file")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the case in FILE")
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    parser.add_argument("--show", type=Path, metavar="FILE", help="write the counts in FILE as a table and end")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["EMBTOOL_CACHE"] = os.devnull  # nothing that is read here is kept
    if options.worker is not None:
        worker(options.worker)
        return
    targets = load()
    unknown = set(options.targets) - targets.keys()
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = [targets[name] for name in options.targets or targets]
    if options.list:
        for one in chosen:
            print(f"{one.name:<22} {one.about}")
        return
    if options.show is not None:
        print(table(json.loads(options.show.read_text(encoding="utf-8"))))
        return
    if options.replay is not None:
        replay(options.replay, chosen if options.targets else list(targets.values()))
        return
    sys.exit(1 if run_all(chosen, options) else 0)


def run_all(chosen: list[Target], options: argparse.Namespace) -> int:
    """Run the targets one after the other, each for its share of the time; tell how many finds there are."""
    seconds = options.seconds if options.seconds is not None else (1e9 if options.cases is not None else SECONDS)
    whole = sum(target.share for target in chosen)
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "random")
    finds = 0
    print(f"{'target':<22} {'cases':>12} {'a second':>9} {'accepted':>9} {'differ':>7} {'finds':>6}")
    for target in chosen:
        limit = seconds if options.cases is not None else seconds * target.share / whole
        plan = Plan(target.name, options.cases or 1 << 62, limit, options.seed, engine, options.folder)
        result = fuzz(plan)
        finds += result["finds"]
        speed = result["cases"] / max(result["seconds"], 0.1)
        share = result["accepted"] / max(result["cases"], 1)
        differ = sum(result["differences"].values())
        print(
            f"{target.name:<22} {result['cases']:>12,} {speed:>9,.0f} {share:>9.1%} {differ:>7,} {result['finds']:>6}",
            flush=True,
        )
        if options.add is not None:
            add(options.add, target.name, result)
    return finds


def fuzz(plan: Plan) -> dict[str, Any]:
    """Run one target, begun again each time that its process ends by itself."""
    total: dict[str, Any] = {"cases": 0, "accepted": 0, "refused": 0, "differences": {}, "finds": 0, "seconds": 0.0}
    for start in range(STARTS):
        rest = Plan(
            plan.target,
            plan.cases - total["cases"],
            plan.seconds - total["seconds"],
            plan.seed + start,
            plan.engine,
            plan.folder,
        )
        result, is_done = one_process(rest)
        merge(total, result)
        if is_done or total["cases"] >= plan.cases or total["seconds"] >= plan.seconds:
            break
    return total


def one_process(plan: Plan) -> tuple[dict[str, Any], bool]:
    """Run a target in a process until it is done, hangs or ends by itself; the last two are finds."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as temporary:
        result, room = Path(temporary) / "result.json", Path(temporary) / "case"
        room.write_bytes(bytes(SHARED_SIZE))
        asked = json.dumps([asdict(plan) | {"folder": str(plan.folder)}, str(room), str(result)])
        with room.open("r+b") as file:
            shared = mmap.mmap(file.fileno(), SHARED_SIZE)
        begun = [sys.executable, __file__, "--worker", asked]
        with subprocess.Popen(begun, env={**os.environ, "TMPDIR": temporary}) as process:
            ending = watch(process, shared)
        counted: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
        if ending is not None:
            number, length = SHARED.unpack_from(shared)
            case = shared[SHARED.size : SHARED.size + length]
            path = keep(plan.folder / "finds", plan.target, case, {"kind": ending, "where": "the whole process"})
            print(f"{plan.target}: {ending}: {path}", file=sys.stderr, flush=True)
            counted = {**counted, "cases": number, "finds": counted.get("finds", 0) + 1}
        return counted, ending is None


def watch(process: "subprocess.Popen[bytes]", shared: mmap.mmap | bytearray) -> str | None:
    """Wait for a process; None where it ended as it should, else what it did."""
    last, since = 0, worked(process.pid)
    while process.poll() is None:
        time.sleep(0.1)
        number, _ = SHARED.unpack_from(shared)
        if number != last:
            last, since = number, worked(process.pid)
        elif worked(process.pid) - since > (HANGS if last else LOADING):
            process.kill()
            process.wait()
            return "hang"
    return None if process.returncode == 0 else f"exit status {process.returncode}"


def worked(process: int) -> float:
    """Tell for how many seconds a process has worked, or, where the system does not say, a clock's seconds."""
    try:
        numbers = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def worker(asked: str) -> None:
    """Run one target, as a process that `one_process` began."""
    settings, room, result = json.loads(asked)
    with Path(room).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), SHARED_SIZE)
    work(Plan(**{**settings, "folder": Path(settings["folder"])}), shared, Path(result))


def merge(total: dict[str, Any], result: dict[str, Any]) -> None:
    """Add counts to others."""
    for name, value in result.items():
        if name == "differences":
            for kind, count in value.items():
                total[name][kind] = total[name].get(kind, 0) + count
        else:
            total[name] = round(total.get(name, 0) + value, 1)


def add(file: Path, target: str, result: dict[str, Any]) -> None:
    """Add the counts of a target to a file of them."""
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"targets": {}}
    merge(known["targets"].setdefault(target, {"differences": {}}), result)
    known["cases"] = sum(counted["cases"] for counted in known["targets"].values())
    known["seconds"] = round(sum(counted["seconds"] for counted in known["targets"].values()), 1)
    known["machine"] = f"Python {platform.python_version()}, {platform.machine()}"
    file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def table(counts: dict[str, Any]) -> str:
    """Write counts as a table in Markdown."""
    lines = ["| target | reader | cases | read | refused | differ |", "|---|---|--:|--:|--:|--:|"]
    for name, target in load().items():
        one = counts["targets"].get(name)
        if one is not None:
            differ = sum(one["differences"].values())
            numbers = (f"{number:,}" for number in (one["cases"], one["accepted"], one["refused"], differ))
            lines.append(f"| `{name}` | {target.about} | {' | '.join(numbers)} |")
    lines.append(f"| all | | **{counts['cases']:,}** | | | |")
    return "\n".join(lines)


def replay(file: Path, targets: list[Target]) -> None:
    """Run one case again; its target is that of its file's name, or the one named."""
    named = [one for one in targets if len(targets) == 1 or file.name.startswith(f"{one.name}-")]
    if not named:
        sys.exit(f"{file.name} does not begin with the name of a target: name it before --replay")
    chosen = max(named, key=lambda one: len(one.name))
    begin = time.perf_counter()
    try:
        with isolated():
            chosen.run(file.read_bytes())
    finally:
        print(f"{chosen.name}: {(time.perf_counter() - begin) * 1000:.1f} ms")
    print("accepted")


if __name__ == "__main__":
    main()
