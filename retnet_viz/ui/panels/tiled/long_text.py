"""The panels of a text that is too long for every cell of its planes to be sent to the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.tiles.pictures import Plane
from retnet_viz.ui.core.background import LatestJob, MainThread, OutdatedError
from retnet_viz.ui.panels.tiled.tiled_heatmap import TiledHeatmap


class LongText:
    """A plane that pans and zooms, and the layer that is looked at.

    What a layer needs, its queries, keys and state norms, may take seconds at 131,072 tokens. A
    thread prepares it, and `on_failure` is called with what goes wrong there.
    """

    def __init__(
        self,
        describe: Callable[[tuple[int, int, int]], str],
        main_thread: MainThread,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.weights = TiledHeatmap(describe)
        self._main_thread = main_thread
        self._on_failure = on_failure
        self._job = LatestJob(0.0)
        self._work: Callable[[Callable[[], bool]], None] | None = None  # what the job does
        self._prepared: tuple[Trace, int] | None = None
        self._plane: Plane | None = None

    def has(self, trace: Trace | None, layer: int) -> bool:
        """Whether this layer is prepared."""
        return trace is not None and self._prepared == (trace, layer)

    def show(
        self, trace: Trace, layer: int, heads: list[int], scale: str, on_ready: Callable[[], None]
    ) -> None:
        """Show a layer of a text, at once where it is prepared; then `on_ready` is called."""
        if self.has(trace, layer):
            self._show_plane(trace, heads, scale)
            on_ready()
            return

        def on_prepared() -> None:
            self._prepared = trace, layer
            self._plane = Plane(trace.q(layer), trace.k(layer), trace.gamma(layer))
            self.show(trace, layer, heads, scale, on_ready)

        self._work = partial(self._prepare, trace, layer, on_prepared)
        self._job.submit(self._work)

    def _prepare(
        self,
        trace: Trace,
        layer: int,
        on_prepared: Callable[[], None],
        is_current: Callable[[], bool],
    ) -> None:
        """Prepare all that the layer needs. Runs in a thread."""

        def give_way(*_published: Any) -> None:
            if not is_current():
                raise OutdatedError

        def hand_over(outcome: Callable[[], None]) -> None:
            self._main_thread.call(lambda: outcome() if is_current() else None)

        try:
            with listening(give_way, keeps=False):
                trace.q(layer)
                trace.state_norm(layer)
        except Exception as error:
            if is_current():  # else its text was edited meanwhile
                hand_over(partial(self._on_failure, error))
        else:
            hand_over(on_prepared)

    def _show_plane(self, trace: Trace, heads: list[int], scale: str) -> None:
        self.weights.show(
            self._plane,
            heads,
            scale=scale,
            origin=trace.origin("retention"),
            computed=FORMS[trace.mode].cells,
            block=trace.chunk_size,
            pieces=trace.pieces,
        )

    def stop(self) -> None:
        """Stop the preparation; the plane stays."""
        self._work = None
        self._job.cancel()

    def leave(self) -> None:
        """Release what was prepared of the text."""
        self.stop()
        if self._prepared is not None:
            self._prepared = self._plane = None
            self.weights.show(None)

    def settle(self) -> None:
        """Finish the preparation now. For tests and scripts."""
        work = self._work
        self.stop()
        if work is not None:
            work(lambda: True)
        self._main_thread.settle()
        self.weights.settle()
