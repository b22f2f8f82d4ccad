"""A lock that a long computation can hand to those who wait."""

from __future__ import annotations

import threading


class FairLock:
    """A lock whose holder can let those who wait go first."""

    def __init__(self) -> None:
        self._next, self._lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def give_way(self) -> None:
        """Let go, and hold again once nobody who waited before this holds."""
        self.__exit__()
        self.__enter__()
