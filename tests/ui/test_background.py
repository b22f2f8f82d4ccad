"""Work in threads: the newest job alone counts, and what it finds is handed over at home."""

import asyncio
import threading

from retnet_viz.ui.core.background import LatestJob, MainThread

WAIT = 60  # seconds, at most, for a thread


class Job:
    """A job that waits in its middle, and what it was told of being the newest before and after."""

    def __init__(self):
        self.started, self.go_on, self.done = (threading.Event() for _ in range(3))
        self.is_newest = []

    def __call__(self, current):
        self.is_newest.append(current())
        self.started.set()
        self.go_on.wait(WAIT)
        self.is_newest.append(current())
        self.done.set()


def test_a_job_learns_that_a_newer_one_was_given():
    jobs, older, newer = LatestJob(0.0), Job(), Job()
    jobs.submit(older)
    assert older.started.wait(WAIT)
    newer.go_on.set()
    jobs.submit(newer)
    assert newer.done.wait(WAIT)
    older.go_on.set()
    assert older.done.wait(WAIT)
    assert older.is_newest == [True, False]
    assert newer.is_newest == [True, True]


def test_a_job_learns_that_it_was_dropped():
    jobs, job = LatestJob(0.0), Job()
    jobs.submit(job)
    assert job.started.wait(WAIT)
    jobs.cancel()
    job.go_on.set()
    assert job.done.wait(WAIT)
    assert job.is_newest == [True, False]


def test_what_is_handed_over_is_called_at_home_in_its_order():
    home, called = MainThread(), []
    threads = [
        threading.Thread(target=home.call, args=[lambda n=n: called.append(n)]) for n in "ab"
    ]
    for thread in threads:
        thread.start()
        thread.join()
    assert called == []
    home.settle()
    assert called == ["a", "b"]


def test_a_home_with_an_event_loop_is_called_by_it():
    async def live():
        home, called = MainThread(), asyncio.Event()
        where = []

        def note():
            where.append(threading.current_thread())
            called.set()

        threading.Thread(target=home.call, args=[note]).start()
        await asyncio.wait_for(called.wait(), WAIT)
        return where

    assert asyncio.run(live()) == [threading.current_thread()]
