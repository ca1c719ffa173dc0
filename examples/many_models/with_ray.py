"""Ask many models with Ray Data: `pip install "ray[data]" "embtool[parquet]"`, then see `asking.py`.

Without an address (`RAY_ADDRESS`) it starts a cluster on this machine. The limit on requests is an actor, which Ray
starts again where it dies; so is a task, up to three times.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from asking import Do, Outcome, main

import embtool

RETRIES = 3
"""Times that a task is done again whose worker died."""


@dataclass(frozen=True)
class AskedOfActor:
    """The limit on requests, as a worker reaches it."""

    actor: Any

    def turn(self) -> float:
        """Take a turn, or say in how many seconds to ask again."""
        seconds: float = ray.get(self.actor.turn.remote())
        return seconds

    def hold(self, seconds: float) -> None:
        """Let nobody send for so many seconds."""
        ray.get(self.actor.hold.remote(seconds))


@dataclass(frozen=True)
class RayData:
    """Runs a function over the rows of a dataset, each a block and a task of its own."""

    limit: AskedOfActor
    workers: int

    def run(self, do: Do, items: Sequence[Any]) -> Iterator[Outcome]:
        """Give what comes of each item; of those whose worker died too often, that it did."""
        if not items:
            return
        limit = self.limit

        def task(row: dict[str, Any]) -> dict[str, Any]:
            item = items[row["place"]]
            try:
                found = Outcome(item, do(item, limit))
            except Exception as error:  # noqa: BLE001 - told to whoever runs it
                found = Outcome(item, lost=f"{type(error).__name__}: {error}")
            return {**row, "outcome": found}

        places = [{"place": place} for place in range(len(items))]
        rows = ray.data.from_items(places, override_num_blocks=len(items))
        waiting = dict(enumerate(items))
        for row in rows.map(task, num_cpus=1, concurrency=self.workers, max_retries=RETRIES).iter_rows():
            del waiting[row["place"]]
            yield row["outcome"]
        yield from (Outcome(item, lost="every worker that took it died") for item in waiting.values())


@contextlib.contextmanager
def start(workers: int, requests: int, seconds: float) -> Iterator[RayData]:
    """Connect to a cluster, or start one of so many workers."""
    is_local = not ray.is_initialized()
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what a dead worker leaves is given as lost
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    remote = ray.remote(embtool.RequestLimit).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    try:
        yield RayData(AskedOfActor(remote.remote(requests, seconds)), workers)
    finally:
        if is_local:
            ray.shutdown()


if __name__ == "__main__":
    main(start)
