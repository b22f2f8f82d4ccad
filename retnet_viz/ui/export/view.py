"""What of a trace is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from retnet_viz.trace import Trace


@dataclass(frozen=True)
class View:
    """A place in a trace, and how it is drawn.

    heads  those that planes and curves show, all where it is empty
    head   the one whose computation is stepped through
    token  the selected token
    """

    layer: int = 0
    heads: tuple[int, ...] = ()
    head: int = 0
    token: int = -1
    scale: str = "linear"
    theme: str = "light"

    def heads_of(self, trace: Trace) -> list[int]:
        """The heads that are shown."""
        return list(self.heads or range(trace.n_heads))
