"""A bound on the work of a piece of code that holds on a slow and on a busy machine.

Only the time that this process had of its processors is counted. A processor that is shared does less in it; so a bound
that is passed is held again, beside a piece of work of known length.
"""

import json
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

KNOWN = "[" + '{"a": [1, 2]}, ' * 150_000 + "1]"
KNOWN_SECONDS = 0.125
"""What reading it takes where the bounds were set."""

ATTEMPTS = 3


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Do it, and tell the seconds of processor time that it took."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do it, hold that it costs less, and give what it gives."""
    took, done = timed(work)
    for _ in range(ATTEMPTS):
        if took < seconds:
            break
        before, again, after = timed(lambda: json.loads(KNOWN))[0], timed(work)[0], timed(lambda: json.loads(KNOWN))[0]
        took = again / max(1.0, min(before, after) / KNOWN_SECONDS)
    assert took < seconds, f"{took:.1f} s of processor time, {seconds} were allowed"
    return done
