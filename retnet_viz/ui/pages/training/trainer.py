"""Trains in a thread and hands reports to the main thread, so that a page stays responsive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from retnet_viz.experiments import Report, TinyTraining
from retnet_viz.ui.core.background import MainThread

PERIOD = 0.25  # seconds between two reports, at least
_SHARE = 4  # times as long as a report takes, at least, is trained before the next
_GIVE_WAY = 0.0005  # seconds in which others who wait for the model get it: a lock is not fair

ShowReport = Callable[[Report, Tensor | None], None]


class Trainer:
    """Plays, pauses and steps a practice. All of its methods are for the main thread.

    There `show_report(report, without)` is called with what the model did: a few times a second
    while it plays, never after `pause` has returned, and never with a second report while the first
    waits. `without` is what `TinyTraining.without_heads` gives, where `wants_heads` is set, else
    None. `fail(error)` is called where the training cannot go on; it is paused then. Where
    `is_watched()` is false it ends too, with `abandon()`.
    """

    def __init__(
        self,
        practice: TinyTraining,
        main_thread: MainThread,
        show_report: ShowReport,
        fail: Callable[[Exception], None],
        abandon: Callable[[], None],
        is_watched: Callable[[], bool] = lambda: True,
    ) -> None:
        self.practice = practice
        self.wants_heads = False
        self._main_thread = main_thread
        self._show_report, self._fail = show_report, fail
        self._abandon, self._is_watched = abandon, is_watched
        self._thread: threading.Thread | None = None
        self._run = 0  # the number of the newest run; an older one is to end
        self._report_waits = False  # a report is on its way to the main thread

    @property
    def playing(self) -> bool:
        """Whether it trains on by itself."""
        return self._thread is not None

    def play(self) -> None:
        """Train until `pause`."""
        if self.playing:
            return
        self._run += 1
        self._report_waits = False
        self._thread = threading.Thread(target=self._play, args=[self._run], daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop training: after the step that runs, a fraction of a second."""
        self._run += 1
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def observe(self) -> tuple[Report, Tensor | None]:
        """What the model does now."""
        heads = self.practice.without_heads() if self.wants_heads else None
        return self.practice.report(), heads

    def _play(self, run: int) -> None:
        def is_current() -> bool:
            return self._run == run

        def if_current(function: Callable[[], None]) -> Callable[[], None]:
            return lambda: function() if is_current() else None

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the tensors are too small to share out
        try:
            due, heads_due = 0.0, 0.0
            while is_current():
                if not self._is_watched():
                    self._main_thread.call(if_current(self._abandon))
                    return
                self.practice.step()
                start = time.perf_counter()
                if start >= due and not self._report_waits:
                    heads = None
                    if self.wants_heads and start >= heads_due:
                        heads = self.practice.without_heads(is_current)
                        now = time.perf_counter()
                        heads_due = now + _SHARE * (now - start)
                    report_start = time.perf_counter()
                    report = self.practice.report()
                    if is_current():
                        self._report_waits = True
                        self._main_thread.call(if_current(partial(self._deliver, report, heads)))
                    now = time.perf_counter()
                    due = now + max(PERIOD, _SHARE * (now - report_start))
                time.sleep(_GIVE_WAY)
        except Exception as error:
            # It runs in a thread, where nobody would see it.
            self._main_thread.call(if_current(partial(self._fail, error)))
        finally:
            torch.set_num_threads(threads)

    def _deliver(self, report: Report, heads: Tensor | None) -> None:
        try:
            self._show_report(report, heads)
        finally:
            self._report_waits = False
