"""The tokens of the text in reading order, shaded by what the selected one retains of each."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets as t

from retnet_viz.figures.base.tokens import visible
from retnet_viz.trace import Trace
from retnet_viz.ui.core.assets import module
from retnet_viz.ui.panels import cell_messages, view_models

WINDOW = 1024  # tokens that are shown at most


class TokenStrip(anywidget.AnyWidget):
    """A list box of tokens.

    tokens    visible text of each token that is shown; becomes text of the page, never HTML
    first     the number of the first of them in the text
    length    of how many tokens the text is
    shades    a place in `colors` per shown token, uint8; none for tokens that are not read
    colors    256 x 3 bytes, RGB
    weights   what each shade stands for, float32
    selected  the selected token, -1 for none
    title     what the shades mean
    note      over which heads they are taken, and whether the mode computed them
    empty     the sentence that stands where tokens would
    written   which tokens the model wrote: ranges [start, stop) of their numbers
    """

    _esm = module("panels/token_strip.js")
    tokens = t.List(t.Unicode()).tag(sync=True)
    first = t.Int(0).tag(sync=True)
    length = t.Int(0).tag(sync=True)
    shades = t.Bytes(b"").tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    weights = t.Bytes(b"").tag(sync=True)
    selected = t.Int(-1).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    note = t.Unicode("").tag(sync=True)
    empty = t.Unicode("").tag(sync=True)
    written = t.List().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._tokens_of: tuple[Trace, range] | None = None  # whose tokens are shown

    def show(
        self,
        trace: Trace | None,
        layer: int,
        heads: list[int],
        selected: int,
        scale: str,
        is_readable: bool = True,
    ) -> None:
        """Show the tokens, shaded by what the selected one retains of each: the mean over `heads`.

        Unshaded where the layer is not prepared yet, that is, not readable without a wait.
        """
        with self.hold_sync():
            self.selected = selected
            if trace is None:
                self.tokens, self.weights, self.shades = [], b"", b""
                self.first = self.length = 0
                self._tokens_of = None
                self.title, self.note = "Tokens", ""
                return
            window = _window(trace.length, selected)
            if self._tokens_of != (trace, window):
                self._tokens_of = trace, window
                pieces = trace.pieces(window.start, window.stop)
                self.tokens = [visible(piece) for piece in pieces]
                self.first, self.length = window.start, trace.length
            self.title = cell_messages.strip_title(trace, selected)
            if not is_readable:
                self.shades = self.weights = b""
                self.note = cell_messages.strip_window(window, trace.length)
                return
            shading = view_models.strip(trace, layer, heads, selected, scale, window)
            for name, value in shading.items():
                setattr(self, name, value)


def _window(length: int, selected: int) -> range:
    """The tokens that are shown: all, or those around the selected one.

    It moves by half its width only, so that neither a step nor a typed token moves what stands.
    """
    if length <= WINDOW:
        return range(length)
    half = WINDOW // 2
    start = max(0, (selected + half // 2) // half - 1) * half
    return range(start, min(start + WINDOW, length))
