"""Work in threads: only the newest job counts, and results go back to the main thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable


class OutdatedError(Exception):
    """This work was for an older request."""


class LatestJob:
    """Runs the newest job after a pause without a newer one; drops all others."""

    def __init__(self, pause: float) -> None:
        """`pause` in seconds."""
        self._pause = pause
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._newest = 0

    def submit(self, job: Callable[[Callable[[], bool]], None]) -> None:
        """Run `job(is_current)` later, in a thread; `is_current()` is False once it is outdated."""
        with self._lock:
            self._newest += 1
            number = self._newest
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(self._pause, job, [lambda: self._newest == number])
            self._timer.start()

    def cancel(self) -> None:
        """Forget whatever has not run yet, and outdate what runs."""
        with self._lock:
            self._newest += 1
            if self._timer is not None:
                self._timer.cancel()


class DelayedCall:
    """Calls a function a moment after the first request, once for all requests until then.

    The event loop of the thread that made this calls it, as in a kernel; without a loop it is
    called at once. `schedule` and `settle` are for that thread only.
    """

    def __init__(self, do: Callable[[], None], pause: float) -> None:
        """`pause` in seconds."""
        self._do = do
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None
        self._loop = _running_loop()

    def schedule(self) -> None:
        """Call it in a moment."""
        if self._loop is None:
            self._do()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._pause, self.settle)

    def settle(self) -> None:
        """Call it now, if a call is pending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._do()


class MainThread:
    """The thread that made this object; other threads hand it their results, one by one.

    Where that thread runs an event loop, as in a kernel, the loop calls the functions that `call`
    was given; else `settle` does.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loop = _running_loop()

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called in the main thread; returns at once. For other threads."""
        self._waiting.put(function)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Call the functions that wait. In the main thread only."""
        while not self._waiting.empty():
            self._waiting.get()()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
