"""Fuzz the readers of foreign data: `python -m fuzz [TARGET ...]`, all targets if none is named.

Several targets run one after the other, each in a process of its own; with atheris (libFuzzer for Python) where it is
installed. Finds are put into build/fuzz; the exit status is 1 if there are any.
"""

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from random import Random

from fuzz import ROOT
from fuzz.engine import ACCEPTED, USUAL, Campaign, load

HANGS, GRACE = 20, 600
"""Seconds after which libFuzzer ends a case, and seconds after its own end at which any process is ended."""


def main() -> None:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=300, help="for all targets together (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz", help="where finds and cases are put")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the case in FILE with the one TARGET")
    options = parser.parse_args()
    os.environ.update(EMBTOOL_CACHE=os.devnull, RUST_BACKTRACE="0")  # nothing that is read here is kept
    options.folder.mkdir(parents=True, exist_ok=True)
    if len(options.targets) == 1:
        run_here(options.targets[0], options)
    print(f"{'target':<18}", *(f"{kind:>10}" for kind in (*USUAL, "finds")), flush=True)
    chosen = options.targets or list(load())
    found = [name for name in chosen if run_apart(name, options.seconds / len(chosen), options)]
    sys.exit(1 if found else 0)


def run_apart(name: str, seconds: float, options: argparse.Namespace) -> bool:
    """Run one target in a process of its own, and tell whether it found something, hung or died."""
    asked = [name, f"--seconds={seconds}", f"--seed={options.seed}", f"--folder={options.folder}"]
    log = options.folder / f"{name}.log"
    with log.open("ab") as told, contextlib.suppress(subprocess.TimeoutExpired):
        command = [sys.executable, "-m", "fuzz", *asked]
        status = subprocess.run(command, stderr=told, check=False, timeout=seconds + GRACE).returncode
        if status in (0, 1):
            return status == 1
    print(f"{name:<18} hung or died: see {log}; its last case is {name}-last", flush=True)
    return True


def run_here(name: str, options: argparse.Namespace) -> None:
    """Run one target in this process, which it has to itself, print what was counted, and end it."""
    guided = options.replay is None and importlib.util.find_spec("atheris") is not None
    with import_module("atheris").instrument_imports(include=["embtool"]) if guided else contextlib.nullcontext():
        targets = load()
    if name not in targets:
        sys.exit(f"no target {name}; there are {', '.join(targets)}")
    target = targets[name]
    with import_module("fuzz.vocabularies").isolated():
        if options.replay is not None:
            target.run(options.replay.read_bytes())
            sys.exit(print(ACCEPTED))
        campaign = Campaign(target, options.folder)
        for case in campaign.seeds:  # what libraries need when they are loaded is no case's time or memory
            with contextlib.suppress(BaseException):
                target.run(case)
        warnings.simplefilter("error")  # what a user would see on the terminal is a find
        if guided:
            by_coverage(campaign, options)
        campaign.at_random(seconds=options.seconds, seed=options.seed)
        end(campaign)


def end(campaign: Campaign) -> None:
    """Print what was counted, and end the process."""
    print(f"{campaign.target.name:<18}", *(f"{campaign.counts[kind]:>10,}" for kind in (*USUAL, "finds")))
    print("".join(f"  {kind}: {path}\n" for kind, path in campaign.finds.items()), end="", flush=True)
    os._exit(1 if campaign.finds else 0)


def by_coverage(campaign: Campaign, options: argparse.Namespace) -> None:
    """Let libFuzzer keep and change the cases that reach new places; it would end the process without a word."""
    atheris, random, stop = import_module("atheris"), Random(), time.monotonic() + options.seconds
    name, longest = campaign.target.name, campaign.target.longest
    corpus = options.folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(campaign.seeds):
        (corpus / f"seed-{number}").write_bytes(case)

    def one(case: bytes) -> None:
        campaign.run(case)
        if time.monotonic() > stop:
            end(campaign)

    def change(case: bytes, longest: int, seed: int) -> bytes:
        random.seed(seed)
        own = bytes(atheris.Mutate(case, longest)) if seed % 4 == 0 else campaign.changed(bytes(case), random)
        return own[:longest]

    flags = f"-max_len={longest} -seed={options.seed} -timeout={HANGS} -rss_limit_mb=4096 -verbosity=0".split()
    flags.append(f"-artifact_prefix={options.folder}/{name}-")
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, custom_mutator=change, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
