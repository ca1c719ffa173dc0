"""Ask many models with Dask: `pip install "dask[distributed]" "embtool[parquet]"`, then see `asking.py`.

Without an address (`DASK_SCHEDULER_ADDRESS`) it starts a cluster on this machine. The limit on requests lives in the
scheduler, which outlives its workers; a task whose worker died is done again, up to three times.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asking import Do, Outcome, main
from dask.distributed import Client, LocalCluster, SchedulerPlugin, as_completed, get_client

import embtool


class LimitInScheduler(SchedulerPlugin):
    """Keeps the limit on requests where all workers reach it."""

    name = "embtool-limit"

    def __init__(self, requests: int, seconds: float) -> None:
        self.size = (requests, seconds)

    async def start(self, scheduler: Any) -> None:
        """Make the limit, and answer for it."""
        limit = embtool.RequestLimit(*self.size)
        scheduler.handlers["embtool_turn"] = limit.turn
        scheduler.handlers["embtool_hold"] = limit.hold


@dataclass(frozen=True)
class AskedOfScheduler:
    """The limit on requests, as a worker reaches it."""

    client: Client

    def turn(self) -> float:
        """Take a turn, or say in how many seconds to ask again."""
        seconds: float = self.client.sync(self.client.scheduler.embtool_turn)
        return seconds

    def hold(self, seconds: float) -> None:
        """Let nobody send for so many seconds."""
        self.client.sync(self.client.scheduler.embtool_hold, seconds=seconds)


def task(do: Do, item: Any) -> Any:
    """Do one item, on a worker."""
    return do(item, AskedOfScheduler(get_client()))


@dataclass(frozen=True)
class Dask:
    """Runs a function over a list, a task for each item."""

    client: Client

    def run(self, do: Do, items: Sequence[Any]) -> Iterator[Outcome]:
        """Give what comes of each item; of those that failed, or whose workers died too often, why."""
        future_of = {self.client.submit(task, do, item, pure=False): item for item in items}
        for future in as_completed(list(future_of), raise_errors=False):
            item = future_of.pop(future)
            error = future.exception()
            yield Outcome(item, future.result() if error is None else None, None if error is None else repr(error))


@contextlib.contextmanager
def start(workers: int, requests: int, seconds: float) -> Iterator[Dask]:
    """Connect to a cluster, or start one of so many workers."""
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    with contextlib.ExitStack() as stack:
        cluster = address
        if address is None:
            cluster = stack.enter_context(
                LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
            )
            cluster.adapt(minimum=workers, maximum=workers)  # one that dies while it starts is not started again
        client = stack.enter_context(Client(cluster))
        client.register_plugin(LimitInScheduler(requests, seconds))
        yield Dask(client)


if __name__ == "__main__":
    main(start)
