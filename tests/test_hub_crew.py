"""Several jobs side by side: order, failures, and an end that does not wait."""

import threading
import time

import pytest

from embtool.hub.crew import Crew, Job, Stop, Stopped, in_order


def test_every_job_is_done_once() -> None:
    done: list[int] = []
    jobs: list[Job] = [lambda _stop, number=number: done.append(number) for number in range(100)]  # type: ignore[misc]
    Crew(jobs, 8).run()
    assert sorted(done) == list(range(100))


def test_the_first_failure_ends_the_rest() -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def fail(_stop: Stop) -> None:
        raise ValueError("broken")

    def wait(stop: Stop) -> None:
        begun.append(1)
        try:
            stop.wait(1e6)
        finally:
            stopped.set()

    with pytest.raises(ValueError, match="broken"):
        Crew([wait, fail, *[wait] * 50], 2).run()
    assert not begun or stopped.wait(100)
    assert len(begun) < 5


def test_an_interruption_does_not_wait_for_a_worker_that_hears_nothing() -> None:
    release, heard = threading.Event(), threading.Event()

    def deaf(_stop: Stop) -> None:
        release.wait()
        heard.set()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Crew([deaf], 1).run(interrupt)
    assert not heard.is_set()
    release.set()
    assert heard.wait(100)


@pytest.mark.slow
def test_it_grows_only_while_that_helps() -> None:
    def widest(*, helps: bool) -> int:
        now, most, lock, grown = 0, 0, threading.Lock(), threading.Event()

        def job(_stop: Stop) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
                if most > 1:
                    grown.set()
            grown.wait(100 if helps else 0.15)
            with lock:
                now -= 1

        Crew([job] * 12, 4, first=1, may_grow=lambda: helps).run()
        return most

    assert widest(helps=False) == 1
    assert widest(helps=True) > 1


def test_no_jobs_are_no_work() -> None:
    Crew([], 4).run()
    assert list(in_order([], str, 4)) == []


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number * 2

    assert list(in_order(range(10), slow_first, 3)) == [number * 2 for number in range(10)]


def test_a_failure_comes_when_it_is_its_turn() -> None:
    def odd(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(range(6), odd, 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_a_stop_ends_a_wait() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Stopped):
        stop.wait(30)
