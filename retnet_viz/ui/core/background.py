"""Work in threads: one job at a time and only for the newest request, and the way back."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable


class OutdatedError(Exception):
    """What was being done is no longer wanted."""


class LatestJob:
    """Runs the newest job after a pause in which no newer one was given; drops all others."""

    def __init__(self, pause: float) -> None:
        """`pause` in seconds."""
        self._pause = pause
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._newest = 0

    def submit(self, job: Callable[[Callable[[], bool]], None]) -> None:
        """Run `job(current)` later, in a thread; `current()` turns False once it is outdated."""
        with self._lock:
            self._newest += 1
            number = self._newest
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(self._pause, job, [lambda: self._newest == number])
            self._timer.start()

    def drop(self) -> None:
        """Forget whatever has not run yet, and outdate what runs."""
        with self._lock:
            self._newest += 1
            if self._timer is not None:
                self._timer.cancel()


class Postponed:
    """Does something a moment after it is first asked for, once for all that ask meanwhile.

    The event loop of the thread that made it does it, as there is one in a kernel; where there is
    none it is done at once. `ask` and `settle` are for that thread only.
    """

    def __init__(self, do: Callable[[], None], pause: float) -> None:
        """`pause` in seconds."""
        self._do = do
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None
        self._loop = _running_loop()

    def ask(self) -> None:
        """Have it done."""
        if self._loop is None:
            self._do()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._pause, self.settle)

    def settle(self) -> None:
        """Do it now, if it was asked for since it was done last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._do()


class Home:
    """The thread that made it: where threads have their results handed over, one after the other.

    Where that thread runs an event loop, as a kernel does, the loop calls what is handed over; else
    `settle` does.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loop = _running_loop()

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called at home; returns at once. For other threads."""
        self._waiting.put(function)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Call what was handed over. At home only."""
        while not self._waiting.empty():
            self._waiting.get()()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
