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
from retnet_viz.ui.core.page_state import PRECISIONS, ExplorerState
from retnet_viz.ui.pages import modes_messages
from retnet_viz.ui.panels.mode_timeline import ModeTimeline, run_of
from retnet_viz.ui.panels.plot import Plot
from retnet_viz.ui.panels.view import view_box

Current = Callable[[], bool]


class SideView:
    """The race of the modes, and what is measured of them.

    `curve` and `rounding` are what was last measured, None before. `measure` runs in a thread: it
    shows what it finds inside `showing(current)`, which raises once the work is outdated, and has
    the passes in all modes from `in_all_modes(trace)`.
    """

    def __init__(
        self,
        model: RetNet,
        in_all_modes: Callable[[Trace], Iterator[tuple[str, Trace]]],
        showing: Callable[[Current], AbstractContextManager[None]],
    ) -> None:
        self._model = model
        self._in_all_modes = in_all_modes
        self._showing = showing
        self.curve: ChunkCurve | None = None
        self.rounding: Rounding | None = None
        self._measured: dict[str, tuple[Any, ...]] = {}  # what each figure was measured on
        self.race = ModeTimeline()
        self.sizes, self.rounds = Plot(), Plot()
        self.precision = w.ToggleButtons(options=list(PRECISIONS))
        self.precision.add_class("rv-scales")
        self.progress = w.IntProgress(max=1, layout={"width": "140px"})
        self.again = w.Button(description="Measure again", layout={"width": "120px"})
        self.doing = w.HTML()
        self.doing.add_class("rv-doing")
        self.meter = w.HTML()
        measuring = bar(
            group("precision", self.precision), self.meter, self.doing, self.progress, self.again
        )
        self.box = view_box("side", self.race, measuring, self.sizes, self.rounds)

    def write(self, state: ExplorerState) -> None:
        """Make the controls show a state."""
        self.race.clock = state.clock
        self.precision.value = state.precision

    # -- measuring --------------------------------------------------------------------------

    @property
    def is_measuring(self) -> bool:
        """Whether something is measured."""
        return bool(self.again.description == "Cancel")

    def forget(self) -> None:
        """Have everything measured again."""
        self._measured = {}

    def lacks(self, state: ExplorerState) -> bool:
        """Whether anything that the view shows is still to be measured."""
        return any(self._is_stale(figure, state) for figure in _depends(state))

    def _is_stale(self, figure: str, state: ExplorerState) -> bool:
        return self._measured.get(figure) != _depends(state)[figure]

    def tell(self, doing: str, done: int = 0, total: int = 0) -> None:
        """Say what is measured, and how far; a `total` of 0 means that nothing is."""
        self.doing.value = messages.doing(doing)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.again.description = "Cancel" if total else "Measure again"

    def measure(
        self, trace: Trace, state: Callable[[], ExplorerState], theme: str, current: Current
    ) -> None:
        """Measure what is lacking, and draw each part as it is ready; `state()` is the newest."""
        wanted = state()

        def progress(doing: str) -> Callable[[int, int], None]:
            def tell(done: int, total: int) -> None:
                with self._showing(current):
                    self.tell(doing, done, total)

            tell(0, 1)
            return tell

        if self._is_stale("race", wanted):
            tell = progress("running the three modes")
            traces: dict[str, Trace] = {}
            for mode, read in self._in_all_modes(trace):
                traces[mode] = read
                tell(len(traces), 2 * len(MODES))
            times = {}
            for done, mode in enumerate(MODES):
                times[mode] = step_times(trace, wanted.layer, mode)
                tell(len(MODES) + done + 1, 2 * len(MODES))
            with self._showing(current):
                self._draw_race(traces, wanted.layer, state().head, times)
                self._measured["race"] = _depends(wanted)["race"]
        if self._is_stale("rounding", wanted):
            told = progress(f"rounding in {wanted.precision}")
            found = rounding(self._model, trace.ids, wanted.precision, wanted.chunk_size, told)
            with self._showing(current):
                self.rounding, self._measured["rounding"] = found, _depends(wanted)["rounding"]
                self._draw_rounding(trace, state(), theme)
        if self._is_stale("curve", wanted):
            told = progress("measuring chunk sizes")
            curve = chunk_curve(trace, wanted.layer, progress=told)
            with self._showing(current):
                self.curve, self._measured["curve"] = curve, _depends(wanted)["curve"]
                self._draw_curve(trace, state(), theme)
        with self._showing(current):
            self.tell("")

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
            mode: run_of(schedule(read, layer, head), heads, times[mode])
            for mode, read in traces.items()
        }
        shown = traces[MODES[0]]
        note = f"retention of layer {layer}, all {heads} heads, chunk size {shown.chunk_size}"
        self.race.show(runs, shown.length, note)

    def _draw_curve(self, trace: Trace | None, state: ExplorerState, theme: str) -> None:
        self.sizes.stale = trace is not None and self._is_stale("curve", state)
        if self.curve is None:
            self.sizes.show(messages.nothing(theme))
        else:
            self.sizes.show(chunk_sizes.spec(self.curve, state.chunk_size, theme=theme))

    def _draw_rounding(self, trace: Trace | None, state: ExplorerState, theme: str) -> None:
        found = self.rounding
        stale = trace is not None and self._is_stale("rounding", state)
        self.rounds.stale = stale
        self.meter.value = modes_messages.meter(None if stale else found)
        if found is None:
            self.rounds.show(messages.nothing(theme))
        else:
            self.rounds.show(rounding_figure.spec(found, theme=theme))


def _depends(state: ExplorerState) -> dict[str, tuple[Any, ...]]:
    """What the race, the rounding and the curve of chunk sizes depend on."""
    return {
        "race": (state.text, state.chunk_size, state.layer),
        "rounding": (state.text, state.chunk_size, state.precision),
        "curve": (state.text, state.layer),
    }
