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


class Home:
    """The thread that made it: where threads have their results handed over, one after the other.

    Where that thread runs an event loop, as a kernel does, the loop calls what is handed over; else
    `settle` does.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called at home; returns at once. For other threads."""
        self._waiting.put(function)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Call what was handed over. At home only."""
        while not self._waiting.empty():
            self._waiting.get()()
