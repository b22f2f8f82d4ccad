"""One canvas for the T x T planes of all heads: small multiples that hover, click and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.questions import Answer, Unanswerable, answer_questions

Cell = tuple[int, int, int]
Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


class Heatmap(anywidget.AnyWidget):
    """Draws `cells`, a uint8 place in `colors` per cell, all shown heads in one buffer.

    cells    heads x T x T bytes, 0 is "nothing here"; or heads x T bytes, one for each distance
             n - m, where the plane is the same along its diagonals (meta's "diagonal")
    colors   256 x 3 bytes, RGB
    meta     what is drawn around the cells: see `Explorer`; its "sentence" stands in the line below
             where no cell is pointed at or pinned
    selected the reading token n whose row is marked, -1 for none
    cell     the pinned cell [head, n, m], or []
    readout  what the line below says of the pinned cell
    tabular  whether a button shows the plane as tables, which the kernel makes when it is asked
    """

    _esm = module("panels/heatmap.js")
    _css = style("styles/panels.css")
    cells = t.Bytes(b"").tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    meta = t.Dict().tag(sync=True)
    selected = t.Int(-1).tag(sync=True)
    cell = t.List(t.Int()).tag(sync=True)
    readout = t.Unicode("").tag(sync=True)
    tabular = t.Bool(False).tag(sync=True)

    def __init__(
        self,
        describe: Callable[[Cell], str],
        tables: Callable[[], Sequence[Table]] | None = None,
        **traits: Any,
    ) -> None:
        """`describe` gives the readout of a cell (head, n, m), from the data and not the colour.

        `tables` gives what is shown now as (caption, header, rows) of strings.
        """
        super().__init__(tabular=tables is not None, **traits)
        self._describe = describe
        self._tables = tables
        answer_questions(self, {"cell": self._cell, "tables": self._make_tables})

    def mark(self, selected: int, cell: Cell | None, readout: str) -> None:
        """Mark the row of a token (-1 for none) and the pinned cell, and say what `cell` holds."""
        with self.hold_sync():
            self.selected, self.cell, self.readout = selected, list(cell or ()), readout

    def _cell(self, cell: Any) -> Answer:
        """What stands in the cell [head, n, m]."""
        if not (isinstance(cell, list) and len(cell) == 3 and all(type(i) is int for i in cell)):
            raise Unanswerable("That is no cell.")
        return {"text": self._describe((cell[0], cell[1], cell[2]))}

    def _make_tables(self, _about: Any) -> Answer:
        if self._tables is None:
            raise Unanswerable("This panel has no tables.")
        return {"tables": list(self._tables())}
