"""The explorer: type a text, and see what a RetNet retains of it in the mode of your choice."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w
import torch

from retnet_viz.figures import next_token, state_norm
from retnet_viz.figures.cost import cost_bars
from retnet_viz.figures.planes import SIGNED, TITLES, plane_values
from retnet_viz.figures.scale import SCALES, color_scale, raster
from retnet_viz.figures.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.tokens import visible
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Agreement, Cost, Trace, trace
from retnet_viz.widgets import readout
from retnet_viz.widgets.background import LatestJob
from retnet_viz.widgets.matrix import Matrix
from retnet_viz.widgets.page import Page
from retnet_viz.widgets.plot import Plot
from retnet_viz.widgets.presets import PRESETS, START
from retnet_viz.widgets.state import MAX_CHARACTERS, MAX_CHUNK, THEME_CHOICES, ExplorerState
from retnet_viz.widgets.token_strip import TokenStrip

MAX_TOKENS = 1024
EMPTY = "No text yet: type a sentence above, or take a preset, and the model will read it."
_PLANES = ("decay", "retention")


def explore(model: RetNet | None = None, text: str | None = None, **chosen: Any) -> Explorer:
    """The explorer as a widget, over `model` (the shipped one by default) and `text`.

    `chosen` are fields of ExplorerState: mode, chunk_size, layer, heads, token, scale, theme.
    Raises ValueError where a field is out of range or the model has no tokenizer.
    """
    from retnet_viz.checkpoints import load

    model = model or load()
    state = START if text is None else ExplorerState(text)
    return Explorer(model, replace(state, **chosen))


class Explorer(w.VBox):
    """All panels, and the one state that they show.

    `state` is what the user chose, `trace` the forward pass that is shown (None for an empty
    text). `apply_state` does what the controls do.
    """

    def __init__(self, model: RetNet, state: ExplorerState) -> None:
        if model.tokenizer is None:
            raise ValueError("the explorer needs a model with a tokenizer")
        self.model = model
        self.trace: Trace | None = None
        self.agreement: Agreement | None = None
        self.costs: dict[str, Cost] = {}
        self.state = _checked(state, model)
        self._cut = ""
        self._point = ""
        self._setting = False
        self._job = LatestJob(pause=0.35)
        self._build()
        super().__init__([self.page, self._grid, self.help_text])
        self.add_class("rv-explorer")
        self._write_controls()
        self._read_text()
        self._listen()

    # -- building ---------------------------------------------------------------------------

    def _build(self) -> None:
        config = self.model.config
        self.text = w.Textarea(
            placeholder="Type a text for the model to read", continuous_update=True
        )
        self.notice = w.HTML()
        self.notice.add_class("rv-notice")
        self.mode = w.ToggleButtons(options=[(mode.capitalize(), mode) for mode in MODES])
        self.mode.add_class("rv-modes")
        self.chunk = w.IntSlider(min=1, max=MAX_CHUNK, description="chunk size")
        self.layer = w.IntSlider(min=0, max=config.n_layers - 1, description="layer")
        self.heads = [
            w.ToggleButton(description=str(head), tooltip=f"show head {head}")
            for head in range(config.n_heads)
        ]
        for head, toggle in enumerate(self.heads):
            toggle.add_class("rv-head-toggle")
            toggle.add_class(f"rv-head-{head}")
        self.scale = w.ToggleButtons(options=list(SCALES))
        self.scale.add_class("rv-scales")
        self.preset = w.Dropdown(
            options=[("presets", -1), *[(preset.name, i) for i, preset in enumerate(PRESETS)]],
            layout={"width": "180px"},
        )
        self.theme = w.Dropdown(
            options=[(f"theme: {choice}", choice) for choice in THEME_CHOICES],
            layout={"width": "120px"},
        )
        self.help = w.ToggleButton(
            description="?", tooltip="What is this?", layout={"width": "34px"}
        )
        self.help_text = w.HTML(readout.HELP, layout={"display": "none"})
        self.help_text.add_class("rv-help")
        self.page = Page()
        self.strip = TokenStrip(colors=color_table(DIVERGING).tobytes(), empty=EMPTY)
        self.decay = self._matrix("decay")
        self.weights = self._matrix("retention")
        self.gammas = w.HTML(readout.gammas(config))
        self.gammas.add_class("rv-gammas")
        self.norms, self.next, self.cost = Plot(), Plot(), Plot()
        self.agree = w.HTML()
        self.agree.add_class("rv-box")
        brand = w.HTML(
            f"<style>{_head_colors(config.n_heads)}</style>"
            f'<span class="rv-brand">RetNet Explorer</span> '
            f'<span class="rv-model">{self.model.n_parameters / 1e6:.1f} M parameters, '
            f"{config.n_layers} layers, {config.n_heads} heads</span>"
        )
        brand.add_class("rv-grow")
        self._grid = w.Box(
            [
                _area("head", w.HBox([brand, self.preset, self.theme, self.help])),
                _area("text", w.VBox([self.text, self.notice])),
                _area(
                    "control",
                    w.HBox(
                        [
                            self.mode,
                            self.chunk,
                            self.layer,
                            _group("heads", *self.heads),
                            _group("scale", self.scale),
                        ]
                    ),
                ),
                _area("strip", self.strip),
                _area("next", self.next),
                _area("decay", w.VBox([self.decay, self.gammas])),
                _area("weights", self.weights),
                _area("norms", self.norms),
                _area("cost", self.cost),
                _area("agree", self.agree),
            ]
        )
        self._grid.add_class("rv-grid")

    def _matrix(self, name: str) -> Matrix:
        table = DIVERGING if SIGNED[name] else SEQUENTIAL
        return Matrix(partial(self._describe, name), colors=color_table(table).tobytes())

    def _describe(self, name: str, cell: tuple[int, int, int] | None) -> str:
        if self.trace is None:
            return ""
        if cell is None:
            return readout.HOVER[name]
        return readout.cell(self.trace, name, self.state.layer, cell)

    def _listen(self) -> None:
        def bind(control: Any, field: str, trait: str = "value") -> None:
            control.observe(lambda change: self._chosen(**{field: change["new"]}), trait)

        bind(self.text, "text")
        bind(self.mode, "mode")
        bind(self.chunk, "chunk_size")
        bind(self.layer, "layer")
        bind(self.scale, "scale")
        bind(self.theme, "theme")
        bind(self.strip, "token", "selected")
        bind(self.norms, "token", "clicked")
        for matrix in (self.decay, self.weights):
            matrix.observe(self._cell_chosen, ["cell", "selected"])
        for toggle in self.heads:
            toggle.observe(self._heads_chosen, "value")
        self.preset.observe(self._preset_chosen, "value")
        self.page.observe(lambda _: self._draw(), "shown")
        self.help.observe(self._help_toggled, "value")

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: ExplorerState) -> None:
        """Show `state`; raises ValueError where a field is out of range."""
        before, self.state = self.state, _checked(state, self.model)
        self._write_controls()
        changed = {
            name
            for name in ExplorerState.__dataclass_fields__
            if getattr(before, name) != getattr(self.state, name)
        }
        if changed & {"text", "mode", "chunk_size"}:
            self._read_text()
        elif changed & {"layer", "heads", "scale"}:
            self._draw()
        elif changed & {"token", "cell"}:
            self._draw_selection()

    def open_link(self, query: str) -> None:
        """Show the state that a link's query holds; whatever it lacks stays as it is now."""
        fields = ExplorerState.fields_of(query)
        if fields:
            self.apply_state(replace(ExplorerState(), **fields).fitted(self.model.config))

    def _chosen(self, **fields: Any) -> None:
        if self._setting:
            return
        if "text" in fields:  # a selection belongs to the text that it was made in
            fields |= {"token": None, "cell": None}
            self._point = ""
            self.preset.value = -1
        self._try_state(replace(self.state, **fields))

    def _try_state(self, state: ExplorerState) -> None:
        try:
            self.apply_state(state)
        except Exception as error:
            # Nobody sees what a callback raises: say it on the page, and leave the panels alone.
            logging.getLogger(__name__).exception("the explorer could not show %s", state)
            self.notice.value = readout.failure(error)
        else:
            self._draw_notice()  # a point may be new where nothing else is

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

    def _preset_chosen(self, change: Any) -> None:
        if change["new"] < 0:
            return
        preset = PRESETS[change["new"]]
        self._point = preset.point
        self._try_state(replace(preset.state, theme=self.state.theme))

    def _help_toggled(self, change: Any) -> None:
        self.help_text.layout.display = "" if change["new"] else "none"

    @contextmanager
    def _writing(self) -> Any:
        self._setting = True
        try:
            yield
        finally:
            self._setting = False

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        state = self.state
        with self._writing():
            self.text.value = state.text
            self.mode.value = state.mode
            self.chunk.value = state.chunk_size
            self.layer.value = state.layer
            self.scale.value = state.scale
            self.theme.value = self.page.theme = state.theme
            for head, toggle in enumerate(self.heads):
                toggle.value = not state.heads or head in state.heads
            self.page.query = state.query()

    # -- running ----------------------------------------------------------------------------

    def _read_text(self) -> None:
        """Read the text in the chosen mode, and draw everything."""
        state = self.state
        self.agreement, self.costs = None, {}
        ids = self.model.tokenizer.encode(state.text[:MAX_CHARACTERS])
        self._cut = ""
        if len(ids) > MAX_TOKENS or len(state.text) > MAX_CHARACTERS:
            total = "more" if len(state.text) > MAX_CHARACTERS else f"{len(ids):,}"
            self._cut = f"Only the first {MAX_TOKENS:,} tokens are shown; the text has {total}."
            ids = ids[:MAX_TOKENS]
        self.trace = (
            trace(self.model, torch.tensor(ids), state.mode, state.chunk_size) if ids else None
        )
        self._draw()
        if self.trace is None:
            self._job.drop()
        else:
            self._job.submit(self._run_other_modes)

    def _run_other_modes(self, current: Callable[[], bool] = lambda: True) -> None:
        """Run the other two modes, and show what all three cost and how far they are apart.

        Gives way, in the middle of a pass too, once `current()` says that it is outdated.
        """

        def give_way(_name: str, _tensor: torch.Tensor) -> None:
            if not current():
                raise _OutdatedError

        shown = self.trace
        if shown is None:
            return
        try:
            with listening(give_way):
                costs = {mode: shown.in_mode(mode).cost for mode in MODES}
                agreement = shown.agreement()
        except _OutdatedError:
            return
        if current() and shown is self.trace:
            self.agreement, self.costs = agreement, costs
            self._draw_comparison()

    def settle(self) -> None:
        """Do now what would be done after a pause in the typing. For tests and scripts."""
        self.stop()
        self._run_other_modes()

    def stop(self) -> None:
        """Forget the comparison that would run after a pause."""
        self._job.drop()

    # -- drawing ----------------------------------------------------------------------------

    @property
    def selected(self) -> int:
        """The selected token: the chosen one, else the last; -1 for an empty text."""
        if self.trace is None:
            return -1
        last = self.trace.length - 1
        return last if self.state.token is None else min(self.state.token, last)

    @property
    def shown_heads(self) -> list[int]:
        """The heads that are shown."""
        return list(self.state.heads or range(self.model.config.n_heads))

    def _draw(self) -> None:
        for name, matrix in zip(_PLANES, (self.decay, self.weights), strict=True):
            self._draw_plane(name, matrix)
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
                    matrix.readout = self._describe(name, cell)
            self._draw_strip()
            self.norms.clicked = -1
        theme = self.page.shown
        if shown is None:
            for plot in (self.norms, self.next):
                plot.show(readout.nothing(theme))
            return
        self.norms.show(
            state_norm.spec(
                shown, state.layer, heads=self.shown_heads, selected=selected, theme=theme
            )
        )
        self.next.show(next_token.spec(shown, selected, theme=theme))

    def _draw_notice(self) -> None:
        self.notice.value = readout.notice(self.trace, self._cut, self._point)

    def _draw_strip(self) -> None:
        shown, selected = self.trace, self.selected
        with self.strip.hold_sync():
            self.strip.selected = selected
            if shown is None:
                self.strip.tokens, self.strip.values, self.strip.shades = [], [], b""
                self.strip.title, self.strip.note = "Tokens", ""
                return
            row = slice(selected, selected + 1)
            weights = shown.retention(self.state.layer, rows=row)[self.shown_heads, 0]
            mean = weights.mean(0).float().numpy()
            scale = color_scale(mean[: selected + 1], self.state.scale, signed=True)
            places = raster(mean, scale)
            places[selected + 1 :] = 0
            self.strip.tokens = [visible(token) for token in shown.tokens]
            self.strip.shades = places.tobytes()
            self.strip.values = [
                f"weight {value:.4g}" if m <= selected else "not read yet"
                for m, value in enumerate(mean.tolist())
            ]
            self.strip.title = readout.strip_title(shown, selected)
            self.strip.note = readout.strip_note(shown, self.state.layer, self.shown_heads)

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


class _OutdatedError(Exception):
    """The text has changed while it was measured."""


def _checked(state: ExplorerState, model: RetNet) -> ExplorerState:
    """`state`, or ValueError with a sentence where the API was given what no control can."""
    fitted = state.fitted(model.config)
    for name in ("chunk_size", "layer"):
        if getattr(fitted, name) != getattr(state, name):
            top = MAX_CHUNK if name == "chunk_size" else model.config.n_layers - 1
            low = 1 if name == "chunk_size" else 0
            raise ValueError(f"{name} must lie in {low} .. {top}, not {getattr(state, name)!r}")
    for name, allowed in (("mode", MODES), ("scale", SCALES), ("theme", THEME_CHOICES)):
        if getattr(state, name) not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, not {getattr(state, name)!r}")
    return fitted


def _head_colors(count: int) -> str:
    return "".join(f".rv-head-{head}{{--rv-head:{head_color(head)}}}" for head in range(count))


def _area(name: str, widget: Any) -> Any:
    widget.add_class(f"rv-area-{name}")
    return widget


def _group(label: str, *controls: Any) -> Any:
    group = w.HBox([w.HTML(html.escape(label)), *controls])
    group.add_class("rv-group")
    return group
