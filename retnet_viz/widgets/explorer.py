"""The explorer: type a text, and see what a RetNet retains of it in the mode of your choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w

from retnet_viz.figures import next_token, state_norm, words
from retnet_viz.figures.cost import cost_bars
from retnet_viz.figures.planes import SIGNED, TITLES, plane_values
from retnet_viz.figures.scale import raster
from retnet_viz.figures.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Agreement, Cost
from retnet_viz.widgets import readout
from retnet_viz.widgets.board import Board, area, group
from retnet_viz.widgets.matrix import Matrix
from retnet_viz.widgets.plot import Plot
from retnet_viz.widgets.presets import START
from retnet_viz.widgets.stage import Stage
from retnet_viz.widgets.state import ExplorerState

MAX_TOKENS = 1024
_PLANES = ("decay", "retention")


def explore(model: RetNet | None = None, text: str | None = None, **chosen: Any) -> Explorer:
    """The explorer as a widget, over `model` (the shipped one by default) and `text`.

    `chosen` are fields of ExplorerState: mode, chunk_size, layer, heads, head, token, scale, theme.
    Raises ValueError where a field is out of range or the model has no tokenizer.
    """
    from retnet_viz.checkpoints import load

    model = model or load()
    state = START if text is None else ExplorerState(text)
    return Explorer(model, replace(state, **chosen))


class Explorer(Board):
    """All panels, and the one state that they show.

    `costs` and `agreement` compare the three modes on the text, once they are measured.
    """

    app = "explorer.ipynb"
    max_tokens = MAX_TOKENS

    def __init__(self, model: RetNet, state: ExplorerState) -> None:
        self.agreement: Agreement | None = None
        self.costs: dict[str, Cost] = {}
        super().__init__(model, state)

    # -- building ---------------------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        config = self.model.config
        self.heads = [
            w.ToggleButton(description=str(head), tooltip=f"show head {head}")
            for head in range(config.n_heads)
        ]
        for head, toggle in enumerate(self.heads):
            toggle.add_class("rv-head-toggle")
            toggle.add_class(f"rv-head-{head}")
        self.decay = self._matrix("decay")
        self.weights = self._matrix("retention")
        self.gammas = w.HTML(readout.gammas(config))
        self.gammas.add_class("rv-gammas")
        self.norms, self.next, self.cost = Plot(), Plot(), Plot()
        self.stage = Stage(config.n_heads)
        self.agree = w.HTML()
        self.agree.add_class("rv-box")
        controls = w.HBox(
            [
                self.mode,
                self.chunk,
                self.layer,
                group("heads", *self.heads),
                group("scale", self.scale),
            ]
        )
        return [
            self._head(),
            area("text", w.VBox([self.text, self.notice])),
            area("control", controls),
            area("strip", self.strip),
            area("next", self.next),
            area("decay", w.VBox([self.decay, self.gammas])),
            area("weights", self.weights),
            area("norms", self.norms),
            area("stage", self.stage),
            area("cost", self.cost),
            area("agree", self.agree),
        ]

    def _matrix(self, name: str) -> Matrix:
        table = DIVERGING if SIGNED[name] else SEQUENTIAL
        return Matrix(
            partial(self._describe, name),
            partial(self._tables, name),
            colors=color_table(table).tobytes(),
        )

    def _describe(self, name: str, cell: tuple[int, int, int] | None) -> str:
        if self.trace is None or cell is None:
            return ""
        return readout.cell(self.trace, name, self.state.layer, cell)

    def _tables(self, name: str) -> list[Any]:
        if self.trace is None:
            return []
        return readout.plane_tables(
            self.trace, name, self.state.layer, self.shown_heads, self.selected
        )

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.norms, "token", "clicked")
        self._bind_stage(self.stage)
        self.stage.observe(self._stage_paused, "playing")
        for matrix in (self.decay, self.weights):
            matrix.observe(self._cell_chosen, ["cell", "selected"])
        for toggle in self.heads:
            toggle.observe(self._heads_chosen, "value")

    def _write_controls(self) -> None:
        super()._write_controls()
        with self._writing():
            for head, toggle in enumerate(self.heads):
                toggle.value = not self.state.heads or head in self.state.heads

    # -- events -----------------------------------------------------------------------------

    def _cell_chosen(self, change: Any) -> None:
        if self._setting:
            return
        cell = tuple(change.owner.cell) or None
        self._chosen(cell=cell, token=cell[1] if cell else change.owner.selected)

    def _heads_chosen(self, change: Any) -> None:
        if self._setting:
            return
        on = tuple(head for head, toggle in enumerate(self.heads) if toggle.value)
        if not on:  # one head at least is shown: the last one cannot be switched off
            change.owner.value = True
            return
        self._chosen(heads=on)

    def _stage_paused(self, change: Any) -> None:
        if not change["new"]:
            self._draw_next()

    # -- measuring --------------------------------------------------------------------------

    def _read_text(self) -> None:
        self.agreement, self.costs = None, {}
        super()._read_text()

    def _work(self, current: Callable[[], bool]) -> None:
        """Run the other two modes, and show what all three cost and how far they are apart."""
        shown = self.trace
        if shown is None:
            return
        costs = {mode: shown.in_mode(mode).cost for mode in MODES}
        agreement = shown.agreement()
        if current() and shown is self.trace:
            self.agreement, self.costs = agreement, costs
            self._draw_comparison()

    # -- drawing ----------------------------------------------------------------------------

    @property
    def shown_heads(self) -> list[int]:
        """The heads that are shown."""
        return list(self.state.heads or range(self.model.config.n_heads))

    def _draw(self) -> None:
        for name, matrix in zip(_PLANES, (self.decay, self.weights), strict=True):
            self._draw_plane(name, matrix)
        state = self.state
        with self._writing():
            self.stage.show(self.trace, state.layer, state.head, state.scale, token=self.selected)
        if self.trace is None:
            self.norms.show(readout.nothing(self.page.shown))
        else:
            self.norms.show(
                state_norm.spec(
                    self.trace, self.state.layer, heads=self.shown_heads, theme=self.page.shown
                )
            )
        self._draw_selection()
        self._draw_comparison()

    def _draw_plane(self, name: str, matrix: Matrix) -> None:
        if self.trace is None:
            matrix.cells = b""
            matrix.meta = {"title": TITLES[name], "length": 0, "heads": []}
            return
        shown = self.trace
        values, scale = plane_values(
            shown, name, self.state.layer, self.shown_heads, self.state.scale
        )
        places = raster(values, scale, shown=values == values)
        computed = {"parallel": "all", "recurrent": "none", "chunkwise": "blocks"}[shown.mode]
        with matrix.hold_sync():
            matrix.cells = places.tobytes()
            matrix.meta = {
                "title": TITLES[name],
                "origin": shown.origin(name),
                "summary": f"{shown.length} by {shown.length} cells, layer {self.state.layer}",
                "computed": computed,
                "block": shown.chunk_size,
                "length": shown.length,
                "signed": scale.signed,
                "ticks": scale.ticks(),
                "heads": [
                    {"index": head, "label": f"head {head}", "color": head_color(head)}
                    for head in self.shown_heads
                ],
            }

    def _draw_selection(self) -> None:
        state, shown, selected = self.state, self.trace, self.selected
        self._draw_notice()
        cell = state.cell
        if shown is None or (cell and max(cell[1:]) >= shown.length):
            cell = None
        with self._writing():
            for name, matrix in zip(_PLANES, (self.decay, self.weights), strict=True):
                with matrix.hold_sync():
                    matrix.selected = selected
                    matrix.cell = list(cell or ())
                    matrix.readout = self._describe(name, cell) or self._sentence(name)
            self.norms.clicked = -1
            self.norms.cursor = selected
            self.stage.token = selected
        self._draw_strip(self.shown_heads)
        if not self.stage.playing:  # it follows where playing stops
            self._draw_next()

    def _draw_next(self) -> None:
        if self.trace is None:
            self.next.show(readout.nothing(self.page.shown))
        else:
            self.next.show(next_token.spec(self.trace, self.selected, theme=self.page.shown))

    def _sentence(self, name: str) -> str:
        """What a matrix says where no cell is pointed at or pinned."""
        if self.trace is None:
            return ""
        if name == "decay":
            return words.decay(self.trace, self.state.layer, self.shown_heads)
        return words.weights(self.trace, self.state.layer, self.shown_heads, self.selected)

    def _draw_comparison(self) -> None:
        if self.trace is None:
            self.agree.value = readout.agreement(None, self.state.mode)
            self.cost.show(readout.nothing(self.page.shown))
            self.cost.stale = False
            return
        self.agree.value = readout.agreement(self.agreement, self.state.mode)
        self.cost.stale = not self.costs
        if self.costs:
            self.cost.show(cost_bars.spec(self.costs, self.state.mode, theme=self.page.shown))
