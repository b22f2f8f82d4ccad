"""The panels of a text that is too long for every cell of its planes to be sent to the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.tiles.pictures import Plane
from retnet_viz.ui.core.background import Home, LatestJob, OutdatedError
from retnet_viz.ui.panels.tiled_heatmap import TiledHeatmap


class LongText:
    """A plane that pans and zooms, and the layer that is looked at.

    What a layer needs, its queries, keys and state norms, may take seconds at 131,072 tokens: it is
    had in a thread, and `failed` is told what goes wrong there.
    """

    def __init__(
        self,
        describe: Callable[[tuple[int, int, int]], str],
        home: Home,
        failed: Callable[[Exception], None],
    ) -> None:
        self.weights = TiledHeatmap(describe)
        self._home = home
        self._failed = failed
        self._job = LatestJob(0.0)
        self._work: Callable[[Callable[[], bool]], None] | None = None  # what the job does
        self._at_hand: tuple[Trace, int] | None = None
        self._plane: Plane | None = None

    def has(self, trace: Trace | None, layer: int) -> bool:
        """Whether what this layer needs is at hand."""
        return trace is not None and self._at_hand == (trace, layer)

    def show(
        self, trace: Trace, layer: int, heads: list[int], scale: str, done: Callable[[], None]
    ) -> None:
        """Show a layer of a text, at once where it is at hand; `done` is called when it is."""
        if self.has(trace, layer):
            self._show_plane(trace, heads, scale)
            done()
            return

        def finish() -> None:
            self._at_hand = trace, layer
            self._plane = Plane(trace.q(layer), trace.k(layer), trace.gamma(layer))
            self.show(trace, layer, heads, scale, done)

        self._work = partial(self._prepare, trace, layer, finish)
        self._job.submit(self._work)

    def _prepare(
        self, trace: Trace, layer: int, finish: Callable[[], None], current: Callable[[], bool]
    ) -> None:
        """Have all that the layer needs. Runs in a thread."""

        def give_way(*_published: Any) -> None:
            if not current():
                raise OutdatedError

        def told(outcome: Callable[[], None]) -> None:
            self._home.call(lambda: outcome() if current() else None)

        try:
            with listening(give_way, keeps=False):
                trace.q(layer)
                trace.state_norm(layer)
        except Exception as error:
            if current():  # else its text was edited meanwhile
                told(partial(self._failed, error))
        else:
            told(finish)

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
        """Forget what is being had; the plane stays."""
        self._work = None
        self._job.drop()

    def leave(self) -> None:
        """Hold nothing of the text any more."""
        self.stop()
        if self._at_hand is not None:
            self._at_hand = self._plane = None
            self.weights.show(None)

    def settle(self) -> None:
        """Have now what is being had. For tests and scripts."""
        work = self._work
        self.stop()
        if work is not None:
            work(lambda: True)
        self._home.settle()
        self.weights.settle()
