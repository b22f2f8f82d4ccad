"""One canvas for the T x T planes of all heads: small multiples that hover, click and step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

Cell = tuple[int, int, int]


class Matrix(anywidget.AnyWidget):
    """Draws `cells`, a uint8 place in `colors` per cell, all shown heads in one buffer.

    cells    heads x T x T bytes; 0 is "nothing here"
    colors   256 x 3 bytes, RGB
    meta     what is drawn around the cells: see `Explorer`
    selected the reading token n whose row is marked, -1 for none
    cell     the pinned cell [head, n, m], or []
    readout  what the line below says of the pinned cell
    """

    _esm = Path(__file__).parent / "matrix.js"
    cells = t.Bytes(b"").tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    meta = t.Dict().tag(sync=True)
    selected = t.Int(-1).tag(sync=True)
    cell = t.List(t.Int()).tag(sync=True)
    readout = t.Unicode("").tag(sync=True)

    def __init__(self, describe: Callable[[Cell], str], **traits: Any) -> None:
        """`describe` gives the readout of a cell (head, n, m), from the data and not the colour."""
        super().__init__(**traits)
        self._describe = describe
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        cell = content.get("cell") if isinstance(content, dict) else None
        if isinstance(cell, list) and len(cell) == 3 and all(isinstance(i, int) for i in cell):
            self.send({"cell": cell, "text": self._describe((cell[0], cell[1], cell[2]))})
