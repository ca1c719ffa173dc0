"""How many requests may be sent: by all that share a limit, whether threads, processes or machines.

A hub counts the requests of an address or an account, not those of a process. So what asks side by side shares a limit:
each request takes a turn first, and what a busy hub asks of one of them (`Retry-After`) holds all of them. Within a
process the threads share one `RequestLimit`. Several processes reach one of them in their own way, through an object
with the same two methods that asks where it lives: an actor of Ray, the scheduler of Dask.
"""

import threading
import time
from collections import deque
from typing import NoReturn, Protocol

from embtool.arguments import check_count
from embtool.errors import InvalidArgument

ANONYMOUS = 3000
"""Requests for files that the hub lets an address without a token send in a window; an account has 5,000 and more."""

WINDOW = 300.0
"""Seconds of the hub's windows: https://huggingface.co/docs/hub/rate-limits."""

LONGEST_SLEEP = 5.0
"""Seconds after which whoever waits for a turn asks again: meanwhile the hub may want more, or less, patience."""


class Limit(Protocol):
    """What a request to a hub waits for."""

    def turn(self) -> float:
        """Take a turn if there is one now, which 0 says; else return in how many seconds to ask again."""

    def hold(self, seconds: float) -> None:
        """Let nobody send for so many seconds from now, as a busy hub has asked of one of us."""


class RequestLimit:
    """At most so many requests in any stretch of so many seconds, and none while the hub wants to be left alone.

    Threads may share it; it cannot be pickled, since a copy would count by itself.

    Args:
        requests: how many; None for any number.
        seconds: in which stretch of time.

    Raises:
        InvalidArgument: no request, or no time, would ever be enough.
    """

    def __init__(self, requests: int | None = ANONYMOUS, seconds: float = WINDOW) -> None:
        if requests is not None:
            check_count(requests, "requests")
        if not seconds > 0:
            raise InvalidArgument(f"seconds is more than 0, not {seconds!r}")
        self._seconds = seconds
        self._sent: deque[float] | None = None if requests is None else deque(maxlen=requests)
        self._held_until = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take a turn if there is one now, which 0 says; else return in how many seconds to ask again."""
        with self._lock:
            now = time.monotonic()
            wait = self._held_until - now
            if self._sent is not None:
                if len(self._sent) == self._sent.maxlen:
                    wait = max(wait, self._sent[0] + self._seconds - now)
                if wait <= 0:
                    self._sent.append(now)
            return max(wait, 0.0)

    def hold(self, seconds: float) -> None:
        """Let nobody send for so many seconds from now."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RequestLimit is shared, not copied: hand other processes something that asks this one")


def await_turn(limit: Limit) -> None:
    """Wait until a request may be sent."""
    while (seconds := limit.turn()) > 0:
        time.sleep(min(seconds, LONGEST_SLEEP))
