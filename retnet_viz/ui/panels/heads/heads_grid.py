"""All heads at once: a grid of thumbnails, layers by heads, each with a switch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.theme import DIVERGING, color_table, head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.reading.heads import shares_of
from retnet_viz.trace import Attribution, Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core.assets import module, style

TITLE = "All heads"
UNITS = "each head on its own colour scale; half-life in tokens, share in logits"
PENDING: dict[str, Any] = {"state": "pending"}


class HeadsGrid(anywidget.AnyWidget):
    """A thumbnail of each head's weights, its half-life, its share in the prediction, a switch.

    pictures  layers x heads x side x side places in `colors`, uint8: 0 is "nothing here"
    colors    256 x 3 bytes, RGB
    meta      `layers`, `heads`, `side`, `headColors`; `title`, `origin` and `computed` of the first
              line; `halfLives`, `gammas` and `largest`, a text per layer and head. Without
              thumbnails `side` is 0, and `origin` says why
    stale     whether the thumbnails are those of the text before
    shares    `state`: "pending", "ready", or "none" where there is no prediction; when ready
              `values` and `texts` per layer and head, in logits, and `token`, whose logit it is;
              `sentence`, which stands below
    selected  [layer, head], the one that the other panels show
    silent    [layer, head] of each head that adds nothing
    clicked   [layer, head] of a thumbnail that was chosen, [] once the page has taken that up
    toggled   [layer, head] of a switch that was operated, [] once the page has taken that up
    """

    _esm = module("panels/heads/heads_grid.js")
    _css = style("styles/panels.css", "panels/heads/heads_grid.css")
    pictures = t.Bytes(b"").tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    meta = t.Dict().tag(sync=True)
    stale = t.Bool(False).tag(sync=True)
    shares = t.Dict(PENDING).tag(sync=True)
    selected = t.List(t.Int()).tag(sync=True)
    silent = t.List(t.List(t.Int())).tag(sync=True)
    clicked = t.List(t.Int()).tag(sync=True)
    toggled = t.List(t.Int()).tag(sync=True)

    def __init__(self, n_layers: int, n_heads: int) -> None:
        super().__init__(colors=color_table(DIVERGING).tobytes())
        self._shape = {
            "title": TITLE,
            "layers": n_layers,
            "heads": n_heads,
            "headColors": [head_color(head) for head in range(n_heads)],
        }
        self.show_nothing()

    def show(self, trace: Trace, places: np.ndarray, largest: np.ndarray) -> None:
        """Show the thumbnails `places` (L, H, P, P) of a trace; `largest` (L, H) of each head."""
        layers = range(trace.n_layers)
        with self.hold_sync():
            self.pictures, self.stale = places.tobytes(), False
            self.meta = self._shape | {
                "side": places.shape[-1],
                "origin": f"{trace.origin('retention')}; {UNITS}",
                "computed": FORMS[trace.mode].cells,
                "halfLives": [
                    [captions.half_life_of(life) for life in trace.half_life(layer).tolist()]
                    for layer in layers
                ],
                "gammas": [
                    [f"{gamma:.6g}" for gamma in trace.gamma(layer).tolist()] for layer in layers
                ],
                "largest": [[captions.number(value) for value in row] for row in largest.tolist()],
            }

    def show_nothing(self, why_not: str = "") -> None:
        """Show no thumbnails, and say why."""
        with self.hold_sync():
            self.pictures, self.stale = b"", False
            self.meta = self._shape | {"side": 0, "origin": why_not, "computed": ""}
            self.shares = PENDING

    def show_shares(self, trace: Trace, found: Attribution) -> None:
        """Show what each head brings to the logit that `found` takes apart."""
        values = shares_of(found)
        self.shares = {
            "state": "ready",
            "values": values.tolist(),
            "texts": [[captions.share(value) for value in row] for row in values.tolist()],
            "token": f"“{visible(trace.piece(found.token))}”",
            "sentence": captions.heads(trace, found, values),
        }

    def show_no_shares(self, why_not: str) -> None:
        """Say why there are no shares."""
        self.shares = {"state": "none", "sentence": f"No shares: {why_not}."}

    def mark(self, layer: int, head: int, silent: Iterable[tuple[int, int]]) -> None:
        """Mark the selected head, and those that are silent."""
        with self.hold_sync():
            self.selected = [layer, head]
            self.silent = [list(each) for each in sorted(silent)]
