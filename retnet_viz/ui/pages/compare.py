"""One text through models of several kinds: what each of their tokens reads, side by side."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w
import numpy as np

from retnet_viz.checkpoints.native import TITLES, kind_of
from retnet_viz.experiments.token_reads import TokenReads, of_trace, read
from retnet_viz.figures import next_token, state_decay
from retnet_viz.figures.base import captions
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table, head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import LanguageModel, RetNet
from retnet_viz.training import card
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import area, bar, group
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.presets import START
from retnet_viz.ui.pages.text_page import EMPTY, TextPage
from retnet_viz.ui.panels import cell_messages
from retnet_viz.ui.panels.heatmap import Heatmap, Table
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.recall_panel import RecallPanel
from retnet_viz.ui.panels.token_strip import TokenStrip

MAX_TOKENS = 256
_LEGEND = (
    '<span class="rv-hint" title="Softmax attention: no weight below 0, every row sums to 1. '
    "Retention: signed, with a decay that the text does not change. Hidden attention: signed, with "
    'a decay that the text makes.">softmax: ≥ 0, rows sum to 1 · retention: signed, fixed decay · '
    "hidden attention: signed, decay from the text</span>"
)


def compare(
    text: str | None = None,
    models: Mapping[str, LanguageModel[Any]] | Sequence[LanguageModel[Any]] | None = None,
    *,
    hide: str | Iterable[str] = (),
    present: bool = False,
    height: int | None = None,
    **fields: Any,
) -> Compare:
    """The comparison as a widget: `text` through `models` by name, the shipped ones by default.

    Models in a list are named by their kinds. The first model is a RetNet, and all of them have its
    tokenizer. `hide` names panels to leave out, some of Compare.panels; `present` is for a
    projector; a page of a `height`, in pixels, scrolls in its own box. `fields` are those of
    ExplorerState: layer, head, layers, planes, token, scale, ... Raises ValueError where one of
    these is out of range or the models do not go together.
    """
    from retnet_viz.checkpoints import load_shipped, shipped

    note = ""
    if models is None:
        models = load_shipped()
        note = _training_note(
            {
                TITLES[kind]: (folder / card.NAME).read_text(encoding="utf-8")
                for kind, folder in shipped().items()
            }
        )
    defaults = {"text": START.text if text is None else text, "scale": "arcsinh"}
    board = Compare(_by_name(models), ExplorerState(**defaults | fields), note)
    board.arrange(hide, present, height)
    return board


def _by_name(
    models: Mapping[str, LanguageModel[Any]] | Sequence[LanguageModel[Any]],
) -> dict[str, LanguageModel[Any]]:
    """The models by name; those of a list by their kinds, numbered where one comes again."""
    if not models:
        raise ValueError("there is no model to compare; give one or more, the first a RetNet")
    if isinstance(models, Mapping):
        return dict(models)
    titles = [TITLES[kind_of(model.config)] for model in models]
    names = [
        f"{title} {titles[: i + 1].count(title)}" if titles.count(title) > 1 else title
        for i, title in enumerate(titles)
    ]
    return dict(zip(names, models, strict=True))


def _training_note(cards: Mapping[str, str]) -> str:
    """Which models' cards tell of rows in which something comes again; "" where all or none do."""
    trained = [name for name, text in cards.items() if card.RECURRING in text]
    if len(trained) in (0, len(cards)):
        return ""
    untrained = [name for name in cards if name not in trained]
    text = (
        f"Not trained alike: only {' and '.join(trained)} read rows in which something comes "
        "again. "
        f"Lower recall of {' and '.join(untrained)} says nothing of the architecture."
    )
    return f'<span class="rv-hint" role="note">{html.escape(text)}</span>'


class Column:
    """What the page shows of one model: its controls, strip, matrix and next token."""

    def __init__(self, name: str, model: LanguageModel[Any], n_planes: int) -> None:
        self.name = name
        self.model = model
        self.reading: TokenReads | None = None
        self._matrix_inputs: tuple[Any, ...] = ()  # what the matrix shows
        self.kind = w.HTML(messages.model_name(name, model))
        self.kind.add_class("rv-grow")
        self.layer = w.IntSlider(min=0, max=model.config.n_layers - 1, description="layer")
        self.plane = w.ToggleButtons(
            options=[(str(plane), plane) for plane in range(n_planes)],
            tooltips=[f"head {plane}" for plane in range(n_planes)],
        )
        self.plane.add_class("rv-head-choices")
        self.strip = TokenStrip(colors=color_table(DIVERGING).tobytes(), empty=EMPTY)
        self.matrix = Heatmap(self._describe, self._tables, colors=color_table(DIVERGING).tobytes())
        self.next = Plot()
        planes = [group("head", self.plane)] if n_planes > 1 else []
        controls = bar(self.kind, self.layer, *planes)
        self.box = w.Box([controls, self.strip, self.matrix, self.next])
        self.box.add_class("rv-column")

    @property
    def ready(self) -> bool:
        """Whether the chosen layer can be drawn without a wait."""
        return self.reading is not None and self.reading.has(self.layer.value)

    def _weights(self) -> np.ndarray:
        """(T, T) of the chosen layer and plane."""
        assert self.reading is not None
        plane: np.ndarray = self.reading.weights(self.layer.value)[self.plane.value].numpy()
        return plane

    def clear(self) -> None:
        """Show that there is no text."""
        self.reading, self._matrix_inputs = None, ()
        self.strip.tokens, self.strip.weights, self.strip.shades = [], b"", b""
        self.strip.length, self.strip.title, self.strip.note = 0, "Tokens", ""
        self.matrix.cells = b""
        self.matrix.meta = {"title": "Weights", "length": 0, "heads": []}

    def draw(self, n: int, cell: tuple[int, int, int] | None, scale: str, theme: str) -> None:
        """Draw all of it for the selected token n."""
        reading, plane = self.reading, self.plane.value
        assert reading is not None
        weights = self._weights()
        inputs = (reading, self.layer.value, plane, scale)
        if self._matrix_inputs != inputs:
            self._matrix_inputs = inputs
            self._draw_matrix(reading, weights, scale)
        self.next.show(next_token.spec(reading, n, count=5, theme=theme))
        pinned = (plane, *cell[1:]) if cell and max(cell) < reading.length else None
        most = captions.strongest_read(reading, self.layer.value, plane, n)
        self.matrix.mark(n, pinned, self._describe(pinned) if pinned else most)
        row = weights[n, : n + 1]
        with self.strip.hold_sync():
            self.strip.tokens = [visible(piece) for piece in reading.pieces(0, reading.length)]
            self.strip.first, self.strip.length, self.strip.selected = 0, reading.length, n
            self.strip.shades = raster(row, color_scale(row, scale, signed=True)).tobytes()
            self.strip.weights = row.tobytes()
            self.strip.title = f"What {captions.token_label(reading, n)} reads"
            self.strip.note = f"{reading.planes[plane]}, layer {self.layer.value}"

    def _draw_matrix(self, reading: TokenReads, weights: np.ndarray, scale: str) -> None:
        plane = self.plane.value
        colors = color_scale(weights, scale, signed=True)
        places = raster(weights, colors, np.tri(reading.length, dtype=bool))
        with self.matrix.hold_sync():
            self.matrix.cells = places.tobytes()
            self.matrix.meta = {
                "title": reading.kind.capitalize(),
                "origin": "derived",
                "summary": f"{reading.length} by {reading.length} cells, layer {self.layer.value}",
                "computed": "none",
                "block": 0,
                "length": reading.length,
                "diagonal": False,
                "signed": True,
                "ticks": colors.ticks(),
                "heads": [
                    {"index": plane, "label": reading.planes[plane], "color": head_color(plane)}
                ],
            }

    def _describe(self, spot: tuple[int, int, int]) -> str:
        _, n, m = spot
        if not self.ready or self.reading is None or max(n, m) >= self.reading.length:
            return ""
        return cell_messages.read_weight(self.reading, n, m, self._weights()[n, m])

    def _tables(self) -> list[Table]:
        """What the selected token reads of each, as a table."""
        if not self.ready or self.reading is None:
            return []
        n = max(0, self.matrix.selected)
        caption = f"What {captions.token_label(self.reading, n)} reads, layer {self.layer.value}"
        rows = [
            [str(m), visible(piece), captions.number(weight)]
            for m, (piece, weight) in enumerate(
                zip(self.reading.pieces(0, n + 1), self._weights()[n, : n + 1], strict=True)
            )
        ]
        return [(caption, ["m", "token", self.reading.kind], rows)]


class Compare(TextPage):
    """Columns of one text, one per model, with one selected token; below them their decays."""

    app = "compare.ipynb"
    panels = ("text", "control", "columns", "decays", "recall")
    max_tokens = MAX_TOKENS
    job_pause = 0.05

    def __init__(
        self, models: Mapping[str, LanguageModel[Any]], state: ExplorerState, note: str = ""
    ) -> None:
        """`note` stands beside what is recalled: in what the models' training differed."""
        first = next(iter(models.values()))
        if not isinstance(first, RetNet):
            raise ValueError(f"the first model must be a RetNet, not a {type(first).__name__}")
        for name, other in models.items():
            if other.tokenizer is None or other.tokenizer.to_json() != first.tokenizer.to_json():
                raise ValueError(f"{name} has another tokenizer: its tokens stand for other text")
        self._models = dict(models)
        self._note = note
        super().__init__(first, state)

    # -- building ---------------------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        self.columns = [
            Column(name, model, getattr(model.config, "n_heads", 1))
            for name, model in self._models.items()
        ]
        self.decays = Plot()
        self.recall = RecallPanel(self._models, lambda: self.page.shown, self._note)
        columns = w.Box([column.box for column in self.columns])
        columns.add_class("rv-columns")
        controls = w.HBox([group("scale", self.scale), w.HTML(_LEGEND)])
        return [
            self._model_head(),
            self._text_area(),
            area("control", controls),
            area("columns", columns),
            area("decays", self.decays),
            area("recall", self.recall.box),
        ]

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.decays, "token", "clicked")
        for i, column in enumerate(self.columns):
            column.layer.observe(partial(self._on_column, i), "value")
            column.plane.observe(partial(self._on_column, i), "value")
            self._bind(column.strip, "token", "selected")
            column.matrix.observe(self._on_cell, ["cell", "selected"])

    def _write_controls(self) -> None:
        super()._write_controls()
        state = self.state
        layers, planes = (state.layer, *state.layers), (state.head, *state.planes)
        with self._writing():
            for i, column in enumerate(self.columns):
                last = len(column.plane.options) - 1
                column.layer.value = min(layers[i], column.layer.max) if i < len(layers) else 0
                column.plane.value = min(planes[i], last) if i < len(planes) else 0

    # -- events -----------------------------------------------------------------------------

    def _on_column(self, i: int, _change: Any) -> None:
        if i == 0:
            layer, head = self.columns[0].layer.value, self.columns[0].plane.value
            self._update_state("column 0", layer=layer, head=head)
            return
        self._update_state(
            f"column {i}",
            layers=tuple(column.layer.value for column in self.columns[1:]),
            planes=tuple(column.plane.value for column in self.columns[1:]),
        )

    def _on_cell(self, change: Any) -> None:
        if self._is_writing:
            return
        cell = tuple(change.owner.cell) or None
        self._update_state(cell=cell, token=cell[1] if cell else change.owner.selected)

    def _with_preset(self, preset: ExplorerState) -> ExplorerState:
        state = self.state
        head = preset.heads[0] if preset.heads else state.head
        return replace(
            state, text=preset.text, layer=preset.layer, head=head, token=None, cell=None
        )

    # -- reading ----------------------------------------------------------------------------

    def _text_changed(self) -> None:
        for column in self.columns:
            column.reading = None
        if self.trace is not None:
            self.columns[0].reading = of_trace(self.trace)

    def _work(self, is_current: Callable[[], bool]) -> None:
        """Have every model read the text; the main thread draws each column when it is ready."""
        trace = self.trace
        if trace is None:
            return
        for column in self.columns:
            reading, layer = column.reading, column.layer.value
            if reading is None:
                reading = read(column.model, trace.ids)
            reading.weights(layer)
            self._main_thread.call(partial(self._show_column, column, reading, is_current))
        self._main_thread.call(lambda: self._draw_decays() if is_current() else None)

    def _show_column(
        self, column: Column, reading: TokenReads, is_current: Callable[[], bool]
    ) -> None:
        if is_current():
            column.reading = reading
            self._draw_column(column)

    def settle(self) -> None:
        """Do now what would be done in a thread, or after a pause in the typing."""
        super().settle()
        self._main_thread.settle()

    def stop(self) -> None:
        """Forget the work that would run after a pause, and end what is measured."""
        super().stop()
        if self.recall.is_running:
            self.recall.stop()

    # -- drawing ----------------------------------------------------------------------------

    def _apply_theme(self) -> None:
        super()._apply_theme()
        self.recall.draw()

    def _draw(self) -> None:
        waiting = False
        for column in self.columns:
            if self.trace is None:
                column.clear()
                column.next.show(messages.empty_figure(self.page.shown))
            elif column.ready:
                self._draw_column(column)
            else:
                waiting = column.next.stale = True
        if waiting:
            self._start_work()
        else:
            self._draw_decays()
        self._draw_notice()

    def _draw_notice(self) -> None:
        self._recomputed = None  # what the RetNet's pass cost says nothing of the other models
        super()._draw_notice()

    def _draw_selection(self) -> None:
        self._draw_notice()
        for column in self.columns:
            if column.ready:
                self._draw_column(column)
        self.decays.clicked = -1
        self.decays.cursor = self.selected

    def _draw_column(self, column: Column) -> None:
        with self._writing():
            column.draw(self.selected, self.state.cell, self.state.scale, self.page.shown)
            column.next.stale = False

    def _draw_decays(self) -> None:
        readings = {
            column.name: column.reading for column in self.columns if column.reading is not None
        }
        if not readings:
            self.decays.show(messages.empty_figure(self.page.shown))
            return
        layers = {column.name: column.layer.value for column in self.columns}
        self.decays.show(state_decay.spec(readings, layers, theme=self.page.shown))
        self.decays.cursor = self.selected
