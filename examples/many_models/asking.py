"""What is asked of many models, whatever runs it: `with_ray.py` and `with_dask.py` bring the workers.

    python with_ray.py sweep info models.txt answers/ --workers 8
    python with_dask.py graph Qwen/Qwen3.6-27B nearest.parquet -k 10 --parts 4

An engine runs a function over a list, on its workers, and gives what comes back as it comes; one that fails, or whose
worker is killed and killed again, is given with the reason. It also brings each task a limit on requests to the hub
that all workers share. Nothing here knows which engine that is.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import embtool
from embtool.hub.limit import ANONYMOUS, WINDOW, Limit
from embtool.sweep import BATCH, QUESTIONS, Part

Do = Callable[[Any, Limit], Any]


@dataclass(frozen=True)
class Outcome:
    """What came of one item: its result, or why there is none."""

    item: Any
    result: Any = None
    lost: str | None = None


class Engine(Protocol):
    """Runs a function over a list on its workers."""

    def run(self, do: Do, items: Sequence[Any]) -> Iterator[Outcome]:
        """Give what comes of `do(item, limit)` for each item, in any order, as it comes."""


Start = Callable[[int, int, float], AbstractContextManager[Engine]]
"""Starts an engine with so many workers, which together send so many requests in so many seconds."""


def main(start: Start) -> None:
    """Read the command line, and run it on an engine."""
    parser = argparse.ArgumentParser(description="Ask many models, or one large question, on many workers.")
    commands = parser.add_subparsers(dest="command", required=True)
    sweep = commands.add_parser("sweep", help="ask one question of every model of a list")
    sweep.add_argument("question", choices=list(QUESTIONS))
    sweep.add_argument("models", type=Path, help="a file with a model a line")
    sweep.add_argument("folder", type=Path, help="where the answers go; what is there already is not asked again")
    sweep.add_argument("--asking", type=json.loads, default={}, help="arguments of the question: '{\"deep\": true}'")
    sweep.add_argument("--opening", type=json.loads, default={}, help="of open_model: '{\"max_bytes\": 1000000000}'")
    sweep.add_argument("--batch", type=at_least_one, default=BATCH, help="models of a batch, which is one file")
    sweep.add_argument("--side-by-side", type=at_least_one, default=4, help="models that a worker asks at a time")
    sweep.add_argument("--retry", action="store_true", help="ask again where the network or a machine failed")
    graph = commands.add_parser("graph", help="find the rows nearest to each row of a model's table")
    graph.add_argument("model")
    graph.add_argument("file", type=Path)
    graph.add_argument("-k", type=at_least_one, default=10)
    graph.add_argument("--metric", default="cosine")
    graph.add_argument("--parts", type=at_least_one, default=4, help="into how many ranges the rows are cut, twice")
    graph.add_argument("--rows", type=at_least_one, help="only so many rows ask; by default all")
    for each in (sweep, graph):
        each.add_argument("--workers", type=at_least_one, default=2)
        each.add_argument(
            "--requests", type=at_least_one, default=ANONYMOUS, help="requests to the hub, by all workers,"
        )
        each.add_argument("--seconds", type=float, default=WINDOW, help="in any so many seconds")
    arguments = parser.parse_args()
    try:
        {"sweep": run_sweep, "graph": run_graph}[arguments.command](arguments, start)
    except (embtool.EmbtoolError, OSError) as error:
        sys.exit(f"error: {error}")


def at_least_one(text: str) -> int:
    """Read a number of things."""
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{count} is less than one")
    return count


def run_sweep(arguments: argparse.Namespace, start: Start) -> None:
    """Ask one question of every model of a list; what is done already is not done again."""
    sweep = embtool.Sweep(
        arguments.question,
        arguments.folder.absolute(),
        asking=arguments.asking,
        opening=arguments.opening,
        side_by_side=arguments.side_by_side,
    )
    if arguments.retry:
        tell(f"{sweep.forget():,} errors of the network and of machines are forgotten")
    lines = arguments.models.read_text("utf-8", "surrogateescape").split("\n")
    batches = sweep.batches(lines, arguments.batch)
    total = sum(map(len, batches))
    tell(f"{total:,} models to ask, {len(sweep.done()):,} done before")
    if not batches:
        return
    with start(arguments.workers, arguments.requests, arguments.seconds) as engine:
        do = functools.partial(write, sweep)
        lost = list(progress(engine.run(do, batches), total))
        alone = [(name,) for outcome in lost for name in outcome.item]  # one of them may have killed the worker
        suspects = list(progress(engine.run(do, alone), len(alone)))  # or only have stood beside the one that did
        for outcome in (found for each in suspects for found in progress(engine.run(do, [each.item]), 1)):
            sweep.give_up(outcome.item, f"no answer: {outcome.lost}")
            tell(f"{outcome.item[0]} is recorded as an error: {outcome.lost}")


def write(sweep: embtool.Sweep, names: Sequence[str], limit: Limit) -> Part:
    """Do one batch, on a worker."""
    return sweep.write(names, limit)


def progress(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Say how far it is, and give what was lost."""
    done = failed = 0
    started = time.monotonic()
    for outcome in outcomes:
        if outcome.lost is not None:
            yield outcome
            continue
        done, failed = done + outcome.result.models, failed + outcome.result.failed
        seconds = time.monotonic() - started
        left = seconds / done * (total - done)
        tell(f"{done:,} of {total:,} models, {failed:,} with an error; {seconds:.1f} s, about {left:.0f} s left")


def run_graph(arguments: argparse.Namespace, start: Start) -> None:
    """Find the rows nearest to each row, by parts: some rows ask, and some are looked at."""
    import pyarrow as pa  # noqa: PLC0415 - only to write
    import pyarrow.parquet as pq  # noqa: PLC0415

    model = embtool.open_model(arguments.model)
    rows = model.input_table.shape[0]
    asking, looked = (cut(size, arguments.parts) for size in (min(arguments.rows or rows, rows), rows))
    do = functools.partial(part_of_graph, model, arguments.k, arguments.metric)
    with start(arguments.workers, arguments.requests, arguments.seconds) as engine:
        parts = []
        for outcome in engine.run(do, list(product(asking, looked))):
            if outcome.lost is not None:
                sys.exit(f"error: rows {outcome.item}: {outcome.lost}")
            parts.append(outcome.result)
            tell(f"{len(parts)} of {len(asking) * len(looked)} parts")
    pq.write_table(pa.table(embtool.merge_graphs(parts).edges()), arguments.file)


def part_of_graph(
    model: embtool.Model, k: int, metric: Any, part: tuple[range, range], limit: Limit
) -> embtool.NearestGraph:
    """Find one part of the graph, on a worker, where the model has opened anew."""
    del limit  # the table is fetched once a machine, in a few requests
    rows, ids = part
    return embtool.nearest_graph(model.input_table, k, metric=metric, rows=rows, ids=ids)


def cut(size: int, parts: int) -> list[range]:
    """Cut rows into ranges of nearly the same length."""
    step = max(1, -(-size // parts))
    return [range(first, min(first + step, size)) for first in range(0, size, step)]


def tell(text: str) -> None:
    """Say something beside the result."""
    print(text, file=sys.stderr, flush=True)
