"""All heads of the text that is shown: their thumbnails at once, their shares after a pause."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from retnet_viz.figures.reading.heads import pictures, places
from retnet_viz.trace import Attribution, Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.panels.heads.heads_grid import PENDING, HeadsGrid

# Cells of all planes together that are pooled while a key waits: those that the pass has made
# already, and those that must be derived first, which takes ten times as long.
_QUICK = {"computed": 2**24, "derived": 2**20}


class AllHeads:
    """The panel `heads_grid`; nothing in it is computed twice for one trace."""

    def __init__(self, n_layers: int, n_heads: int) -> None:
        self.heads_grid = HeadsGrid(n_layers, n_heads)
        self._trace: Trace | None = None
        self._values: np.ndarray | None = None  # of that trace, see `pictures`; None: not yet
        self._drawn: tuple[Trace, str] | None = None
        self._shares_of: tuple[Trace, int] | None = None

    def draw(self, trace: Trace | None, scale: str, position: int, why_not: str = "") -> None:
        """Show the heads of a trace, or say why not; the shares are of the token at `position`.

        Where the thumbnails take long they stay as they are until `prepare` and a `draw` after it.
        """
        if trace is None or why_not:
            self._trace = self._values = self._drawn = self._shares_of = None
            self.heads_grid.show_nothing(why_not)
            return
        if self._trace is not trace:
            self._trace, self._values = trace, pictures(trace) if _is_quick(trace) else None
            self.heads_grid.stale = self._values is None
        if self._values is not None and self._drawn != (trace, scale):
            self._drawn = trace, scale
            largest = np.abs(self._values).max((2, 3))
            self.heads_grid.show(trace, places(self._values, scale), largest)
        self.wait_for_shares(trace, position)

    def wait_for_shares(self, trace: Trace, position: int) -> None:
        """Take back shares that are of another prediction."""
        if self._shares_of != (trace, position):
            self._shares_of = None
            self.heads_grid.shares = PENDING

    def mark(self, layer: int, head: int, silent: Iterable[tuple[int, int]]) -> None:
        """Mark the selected head, and those that are silent."""
        self.heads_grid.mark(layer, head, silent)

    def prepare(self, trace: Trace, position: int) -> tuple[np.ndarray | None, Attribution | str]:
        """What takes longer than a key may: the thumbnails that are missing, and the attribution.

        The reason in place of the attribution where there is none. For a thread: it shows nothing.
        """
        values = pictures(trace) if self._values is None else None
        try:
            return values, trace.attribution(position=position)
        except ValueError as error:
            return values, str(error)

    def take(
        self,
        trace: Trace,
        scale: str,
        position: int,
        prepared: tuple[np.ndarray | None, Attribution | str],
    ) -> None:
        """Show what `prepare` gave."""
        values, found = prepared
        if values is not None:
            self._values = values
            self.draw(trace, scale, position)
        self._shares_of = trace, position
        if isinstance(found, str):
            self.heads_grid.show_no_shares(found)
        else:
            self.heads_grid.show_shares(trace, found)

    def has_all(self, trace: Trace, position: int) -> bool:
        """Whether thumbnails and shares of this prediction are shown."""
        return self._values is not None and self._shares_of == (trace, position)


def _is_quick(trace: Trace) -> bool:
    cells = trace.n_layers * trace.n_heads * trace.length**2
    made = FORMS[trace.mode].cells == "all"
    return cells <= _QUICK["computed" if made else "derived"]
