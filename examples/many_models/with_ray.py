"""Ask many models with Ray Data: `pip install "ray[data]" "embtool[parquet]"`, then see `asking.py`.

Without an address (`RAY_ADDRESS`) it starts a cluster on this machine. The limit on requests is an actor, which Ray
starts again where it dies. A task whose worker died Ray begins again and again: another actor counts, up to four times.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from asking import Do, Outcome, main

import embtool

TRIES = 4
"""Times that a task is begun whose workers die."""

DEAD = "every worker that took it died"


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


class Begun:
    """Counts how often each task was begun, where workers that die do not take it with them."""

    def __init__(self) -> None:
        self.times: Counter[int] = Counter()

    def again(self, place: int) -> int:
        """Count one more, and return how many it were."""
        self.times[place] += 1
        return self.times[place]


@dataclass(frozen=True)
class RayData:
    """Runs a function over the rows of a dataset, each a block and a task of its own."""

    limit: AskedOfActor
    workers: int

    def run(self, do: Do, items: Sequence[Any]) -> Iterator[Outcome]:
        """Give what comes of each item; of those whose worker died too often, that it did."""
        if not items:
            return
        limit, begun = self.limit, lasting(Begun).remote()

        def task(row: dict[str, Any]) -> dict[str, Any]:
            item = items[row["place"]]
            try:
                if ray.get(begun.again.remote(row["place"])) > TRIES:
                    found = Outcome(item, lost=DEAD)
                else:
                    found = Outcome(item, do(item, limit))
            except Exception as error:  # noqa: BLE001 - told to whoever runs it
                found = Outcome(item, lost=f"{type(error).__name__}: {error}")
            return {**row, "outcome": found}

        places = [{"place": place} for place in range(len(items))]
        rows = ray.data.from_items(places, override_num_blocks=len(items))
        waiting = dict(enumerate(items))
        for row in rows.map(task, num_cpus=1, concurrency=min(self.workers, len(items))).iter_rows():
            del waiting[row["place"]]
            yield row["outcome"]
        yield from (Outcome(item, lost=DEAD) for item in waiting.values())


def lasting(kind: type) -> Any:
    """Return what makes an actor that takes no processor from tasks, and is started again where it dies."""
    return ray.remote(kind).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)


@contextlib.contextmanager
def start(workers: int, requests: int, seconds: float) -> Iterator[RayData]:
    """Connect to a cluster, or start one of so many workers."""
    is_local = not ray.is_initialized()
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what a dead worker leaves is given as lost
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield RayData(AskedOfActor(lasting(embtool.RequestLimit).remote(requests, seconds)), workers)
    finally:
        if is_local:
            ray.shutdown()


if __name__ == "__main__":
    main(start)
