"""Several jobs side by side, and an end that does not hang.

Threads are daemons and are told to stop between two chunks: an interrupted program ends at once, even while a server
keeps a connection open and sends nothing. `concurrent.futures` would wait for every such read at exit.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

TICK = 0.1
"""Seconds between two looks at the work: ten times a second is smooth for a progress bar and costs nothing."""

GRACE = 1.0
"""Seconds that workers have to come to a stop; one that waits for a silent server is left behind."""


class Stopped(Exception):
    """The work was told to stop."""


class Stop:
    """A flag that ends waiting, too."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask everybody to stop."""
        self._event.set()

    def check(self) -> None:
        """Go on, or stop.

        Raises:
            Stopped: the work was told to stop.
        """
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the end of the work.

        Raises:
            Stopped: the work was told to stop.
        """
        if seconds > 0:
            self._event.wait(seconds)
        self.check()


T = TypeVar("T")
R = TypeVar("R")

Job = Callable[[Stop], None]


class Crew:
    """Workers that take jobs in order until there are none, or until one fails.

    It begins with `first` workers and takes on one more at every tick at which `may_grow` says so, up to `workers`.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        workers: int,
        *,
        first: int | None = None,
        may_grow: Callable[[], bool] = lambda: True,
    ) -> None:
        self._jobs = deque(jobs)
        self._most = min(workers, len(self._jobs))
        self._first = self._most if first is None else min(first, self._most)
        self._may_grow = may_grow
        self._stop = Stop()
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Do all jobs, calling `tick` now and then from the calling thread.

        Raises whatever a job raised first, or what interrupted the waiting, after everybody was told to stop.
        """
        try:
            for _ in range(self._first):
                self._hire()
            while alive := [thread for thread in self._threads if thread.is_alive()]:
                alive[0].join(TICK)
                tick()
                if self._jobs and len(self._threads) < self._most and self._may_grow():
                    self._hire()
        finally:
            self._stop.set()
            deadline = time.monotonic() + GRACE
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._failures:
            raise self._failures[0]

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"embtool-{len(self._threads)}", daemon=True)
        thread.start()  # first: an interrupt between the two must not leave a thread that never began to be waited for
        self._threads.append(thread)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs or self._failures:
                    return
                job = self._jobs.popleft()
            try:
                job(self._stop)
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
                self._failures.append(error)
                self._stop.set()
                return


def in_order(items: Iterable[T], do: Callable[[T], R], workers: int) -> Iterator[R]:
    """Do something with every item, several side by side, and give the results in the order of the items.

    What `do` raises is raised when the turn of its item comes. Ending early leaves what is being done to itself.
    """
    waiting = deque(enumerate(items))
    count = len(waiting)
    done: dict[int, R] = {}
    failed: dict[int, BaseException] = {}
    changed = threading.Condition()

    def work() -> None:
        while True:
            with changed:
                if not waiting:
                    return
                place, item = waiting.popleft()
            try:
                result = do(item)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
                with changed:
                    failed[place] = error
                    changed.notify_all()
            else:
                with changed:
                    done[place] = result
                    changed.notify_all()

    for number in range(min(workers, count)):
        threading.Thread(target=work, name=f"embtool-item-{number}", daemon=True).start()
    try:
        for place in range(count):
            with changed:
                while place not in done and place not in failed:
                    changed.wait(TICK)
            if place in failed:
                raise failed[place]
            yield done.pop(place)
    finally:
        with changed:
            waiting.clear()
