"""The side by side view: the three modes on one clock, what they round, and the chunk sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import ipywidgets as w

from retnet_viz.experiments import ChunkCurve, Rounding, chunk_curve, rounding, step_times
from retnet_viz.figures.experiments.chunk_sizes import chunk_sizes
from retnet_viz.figures.experiments.rounding import rounding as rounding_figure
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, schedule
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import bar, group
from retnet_viz.ui.core.state.page_state import PRECISIONS, ExplorerState
from retnet_viz.ui.pages.modes import modes_messages
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.timeline.mode_timeline import ModeTimeline, run_of
from retnet_viz.ui.panels.view_box import view_box

Current = Callable[[], bool]


class SideView:
    """The race of the modes, and what is measured of them.

    `curve` and `rounding` are the last results, None before. `measure` runs in a thread: it shows
    results inside `while_current(is_current)`, which raises once the work is outdated, and gets the
    passes in all modes from `in_all_modes(trace)`.
    """

    def __init__(
        self,
        model: RetNet,
        in_all_modes: Callable[[Trace], Iterator[tuple[str, Trace]]],
        while_current: Callable[[Current], AbstractContextManager[None]],
    ) -> None:
        self._model = model
        self._in_all_modes = in_all_modes
        self._while_current = while_current
        self.curve: ChunkCurve | None = None
        self.rounding: Rounding | None = None
        self._measured: dict[str, tuple[Any, ...]] = {}  # what each figure was measured on
        self.race = ModeTimeline()
        self.sizes, self.rounding_plot = Plot(), Plot()
        self.precision = w.ToggleButtons(options=list(PRECISIONS))
        self.precision.add_class("rv-scales")
        self.progress = w.IntProgress(max=1, layout={"width": "140px"})
        self.measure_button = w.Button(description="Measure again", layout={"width": "120px"})
        self.activity = w.HTML()
        self.activity.add_class("rv-doing")
        self.meter = w.HTML()
        measuring = bar(
            group("precision", self.precision),
            self.meter,
            self.activity,
            self.progress,
            self.measure_button,
        )
        self.box = view_box("side", self.race, measuring, self.sizes, self.rounding_plot)

    def write(self, state: ExplorerState) -> None:
        """Make the controls show a state."""
        self.race.clock = state.clock
        self.precision.value = state.precision

    # -- measuring --------------------------------------------------------------------------

    @property
    def is_measuring(self) -> bool:
        """Whether something is measured."""
        return bool(self.measure_button.description == "Cancel")

    def forget(self) -> None:
        """Have everything measured again."""
        self._measured = {}

    def is_incomplete(self, state: ExplorerState) -> bool:
        """Whether anything that the view shows is still to be measured."""
        return any(self._is_stale(figure, state) for figure in _inputs(state))

    def _is_stale(self, figure: str, state: ExplorerState) -> bool:
        return self._measured.get(figure) != _inputs(state)[figure]

    def show_progress(self, activity: str, done: int = 0, total: int = 0) -> None:
        """Say what is measured, and how far; a `total` of 0 means that nothing is."""
        self.activity.value = messages.activity(activity)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.measure_button.description = "Cancel" if total else "Measure again"

    def measure(
        self, trace: Trace, state: Callable[[], ExplorerState], theme: str, is_current: Current
    ) -> None:
        """Measure what is lacking, and draw each part as it is ready; `state()` is the newest."""
        requested = state()

        def progress(activity: str) -> Callable[[int, int], None]:
            def report(done: int, total: int) -> None:
                with self._while_current(is_current):
                    self.show_progress(activity, done, total)

            report(0, 1)
            return report

        if self._is_stale("race", requested):
            report = progress("running the three modes")
            traces: dict[str, Trace] = {}
            for mode, other in self._in_all_modes(trace):
                traces[mode] = other
                report(len(traces), 2 * len(MODES))
            times = {}
            for done, mode in enumerate(MODES):
                times[mode] = step_times(trace, requested.layer, mode)
                report(len(MODES) + done + 1, 2 * len(MODES))
            with self._while_current(is_current):
                self._draw_race(traces, requested.layer, state().head, times)
                self._measured["race"] = _inputs(requested)["race"]
        if self._is_stale("rounding", requested):
            report = progress(f"rounding in {requested.precision}")
            result = rounding(
                self._model, trace.ids, requested.precision, requested.chunk_size, report
            )
            with self._while_current(is_current):
                self.rounding, self._measured["rounding"] = result, _inputs(requested)["rounding"]
                self._draw_rounding(trace, state(), theme)
        if self._is_stale("curve", requested):
            report = progress("measuring chunk sizes")
            curve = chunk_curve(trace, requested.layer, progress=report)
            with self._while_current(is_current):
                self.curve, self._measured["curve"] = curve, _inputs(requested)["curve"]
                self._draw_curve(trace, state(), theme)
        with self._while_current(is_current):
            self.show_progress("")

    # -- drawing ----------------------------------------------------------------------------

    def draw(self, trace: Trace | None, state: ExplorerState, theme: str) -> None:
        """Draw what was measured, dimmed where that was for another text or choice."""
        if trace is None:
            self.race.show({}, 0)
            self.curve = self.rounding = None
            self._measured = {}
        self._draw_curve(trace, state, theme)
        self._draw_rounding(trace, state, theme)

    def _draw_race(
        self,
        traces: dict[str, Trace],
        layer: int,
        head: int,
        times: dict[str, tuple[float, ...]],
    ) -> None:
        heads = self._model.config.n_heads
        runs = {
            mode: run_of(schedule(trace, layer, head), heads, times[mode])
            for mode, trace in traces.items()
        }
        first = traces[MODES[0]]
        note = f"retention of layer {layer}, all {heads} heads, chunk size {first.chunk_size}"
        self.race.show(runs, first.length, note)

    def _draw_curve(self, trace: Trace | None, state: ExplorerState, theme: str) -> None:
        self.sizes.stale = trace is not None and self._is_stale("curve", state)
        if self.curve is None:
            self.sizes.show(messages.empty_figure(theme))
        else:
            self.sizes.show(chunk_sizes.spec(self.curve, state.chunk_size, theme=theme))

    def _draw_rounding(self, trace: Trace | None, state: ExplorerState, theme: str) -> None:
        result = self.rounding
        stale = trace is not None and self._is_stale("rounding", state)
        self.rounding_plot.stale = stale
        self.meter.value = modes_messages.meter(None if stale else result)
        if result is None:
            self.rounding_plot.show(messages.empty_figure(theme))
        else:
            self.rounding_plot.show(rounding_figure.spec(result, theme=theme))


def _inputs(state: ExplorerState) -> dict[str, tuple[Any, ...]]:
    """What the race, the rounding and the curve of chunk sizes depend on."""
    return {
        "race": (state.text, state.chunk_size, state.layer),
        "rounding": (state.text, state.chunk_size, state.precision),
        "curve": (state.text, state.layer),
    }
