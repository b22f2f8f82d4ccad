"""One background job at a time, and only for the newest request."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
