"""The explorer: type a text, and see what a RetNet retains of it in the mode of your choice."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w

from retnet_viz.figures import next_token, state_norm
from retnet_viz.figures.base.layout import Spec
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table
from retnet_viz.figures.reading.cost import cost_bars
from retnet_viz.figures.reading.planes import SIGNED, TITLES
from retnet_viz.model import RetNet
from retnet_viz.trace import Agreement, Cost, Trace
from retnet_viz.trace.files.text_file import (
    LARGEST_FILE,
    MOST_DECODED,
    FileText,
    TextFileError,
    decode_text,
    read_text,
)
from retnet_viz.trace.passes.external_tensors import Observed
from retnet_viz.trace.views.agreement import compared
from retnet_viz.ui.core import messages, state_file
from retnet_viz.ui.core.app_page import area, group
from retnet_viz.ui.core.link import LinkError
from retnet_viz.ui.core.page_state import ExplorerState
from retnet_viz.ui.export import exports
from retnet_viz.ui.export.export_menu import ExportMenu
from retnet_viz.ui.export.snapshot import Tell
from retnet_viz.ui.pages.presets import START
from retnet_viz.ui.pages.text_page import TextPage
from retnet_viz.ui.panels import cell_messages, mode_messages, view_models
from retnet_viz.ui.panels.file_picker import FilePicker
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.long_text import LongText
from retnet_viz.ui.panels.plot import Plot
from retnet_viz.ui.panels.step_player import StepPlayer

MAX_TOKENS = 131_072
MOST_CELLS = 1024  # tokens up to which every cell of a plane is sent, and the modes are compared


def explore(
    model: RetNet | Trace | None = None,
    text: str | os.PathLike[str] | None = None,
    *,
    hide: Iterable[str] = (),
    present: bool = False,
    **chosen: Any,
) -> Explorer:
    """The explorer as a widget, over `model` (the shipped one by default) and `text`.

    `text` is a text, or a file: a path, or a str that names a file that there is. `hide` names
    panels to leave out, some of Explorer.panels; `present` is for a projector. `chosen` are fields
    of ExplorerState: mode, chunk_size, layer, heads, head, token, scale, theme.

    In place of the model a trace can stand, in its mode and chunk size. Its text can be edited if
    its model is there and reads texts; a trace of tensors, or a loaded one, stays as it is.

    Raises ValueError where one of these is out of range, the model has no tokenizer or a text is
    given besides a trace, TextFileError (which is one too) where a file has no text to read.
    """
    from retnet_viz.checkpoints import load

    if isinstance(model, Trace):
        from retnet_viz.ui.pages.trace_explorer import explore_trace

        if text is not None:
            raise ValueError("a trace has its own text; give none besides it")
        explorer = explore_trace(model, **chosen)
        explorer.arrange(hide, present)
        return explorer
    model = model or load()
    if text is None or not _is_file(text):
        state = START if text is None else ExplorerState(str(text))
        explorer = Explorer(model, replace(state, **chosen))
    else:
        file = read_text(os.fspath(text))
        explorer = Explorer(model, replace(ExplorerState(), **chosen))
        explorer.open_file(file)
    explorer.arrange(hide, present)
    return explorer


def _is_file(text: str | os.PathLike[str]) -> bool:
    """Whether `text` is a path rather than a text to read: a str only if there is such a file."""
    if not isinstance(text, str):
        return True
    return 0 < len(text) < 4096 and text.isprintable() and os.path.isfile(text)


class Explorer(TextPage):
    """All panels, and the one state that they show.

    `costs` and `agreement` compare the three modes on the text, once they are measured.
    """

    app = "explorer.ipynb"
    panels = (
        "text",
        "control",
        "strip",
        "next",
        "decay",
        "weights",
        "norms",
        "stage",
        "cost",
        "agree",
    )
    max_tokens = MAX_TOKENS

    def __init__(self, model: Observed, state: ExplorerState) -> None:
        self.agreement: Agreement | None = None
        self.costs: dict[str, Cost] = {}
        self._decay_of: tuple[Any, ...] | None = ()  # what the decay's picture depends on
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
        self.decay, self.weights = self._matrix("decay"), self._matrix("retention")
        self.long = LongText(partial(self._describe, "retention"), self._home, self._not_shown)
        self._weights_place = w.Box([self.weights])
        self._weights_place.add_class("rv-place")
        self.gammas = w.HTML()
        self.gammas.add_class("rv-gammas")
        self.norms, self.next, self.cost = Plot(), Plot(), Plot()
        self.picker = FilePicker(
            self._file_taken,
            self._file_failed,
            max_bytes=LARGEST_FILE,
            read_bytes=MOST_DECODED + 1,
        )
        self.saver = ExportMenu(self._export, self._export_figures)
        self.stage = StepPlayer(config.n_heads)
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
            self._model_head(self.saver),
            self._text_area(self.picker),
            area("control", controls),
            area("strip", self.strip),
            area("next", self.next),
            area("decay", w.VBox([self.decay, self.gammas])),
            area("weights", self._weights_place),
            area("norms", self.norms),
            area("stage", self.stage),
            area("cost", self.cost),
            area("agree", self.agree),
        ]

    def _matrix(self, name: str) -> Heatmap:
        table = DIVERGING if SIGNED[name] else SEQUENTIAL
        return Heatmap(
            partial(self._describe, name),
            partial(self._tables, name),
            colors=color_table(table).tobytes(),
        )

    def _describe(self, name: str, cell: tuple[int, int, int] | None) -> str:
        """What stands in a cell of a plane of the layer that is shown, "" where nothing does."""
        if self.trace is None or cell is None or not self._has_layer():
            return ""
        return cell_messages.cell(self.trace, name, self.state.layer, cell)

    def _tables(self, name: str) -> list[Any]:
        if self.trace is None:
            return []
        return cell_messages.plane_tables(
            self.trace, name, self.state.layer, self.shown_heads, self.selected
        )

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.norms, "token", "clicked")
        self._bind_stage(self.stage)
        self.stage.observe(self._stage_paused, "playing")
        matrices: list[w.DOMWidget] = [self.decay, self.weights, self.long.weights]
        for matrix in matrices:
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

    def open_file(self, file: FileText) -> None:
        """Read the text of a file in place of the one that is shown."""
        part = f" (the first {len(file.text):,} characters)" if file.cut else ""
        self.open_text(file.text, f"{file.name}{part}; the box has its end, to go on with.")

    def _file_taken(self, name: str, size: int, content: bytes) -> None:
        try:
            if state_file.is_state(content):
                self._open(state_file.decode(content, name, size))
            else:
                self.open_file(decode_text(content, name, size))
        except LinkError as error:
            self._say_of_link(str(error))
        except TextFileError as error:
            self._fail(messages.refused(str(error)))

    def _file_failed(self, name: str, reason: str) -> None:
        self._fail(messages.refused(f"{name} could not be read: {reason}."))

    def _not_shown(self, error: Exception) -> None:
        logging.getLogger(__name__).error("a layer could not be shown", exc_info=error)
        self._fail(messages.failure(error))

    def settle(self) -> None:
        """Do now what would be done behind, or after a pause in the typing."""
        self._reader.wait()
        self.long.settle()
        super().settle()

    # -- saving -----------------------------------------------------------------------------

    def _export(self, what: str, kind: str, tell: Tell) -> exports.File:
        """What is shown as a file. Runs in a thread, while the text may be edited."""
        if what == "state":
            return exports.File(state_file.NAME, self._state_file().encode())
        return exports.make_file(self._unchanging(), self.state, what, kind, self.page.shown, tell)

    def _export_figures(self, what: str) -> list[Spec]:
        return exports.figures(self._unchanging(), self.state, what, self.page.shown)

    def _unchanging(self) -> Trace:
        """The shown trace, run again where that is quick, so that no edit outdates it."""
        trace = self.trace
        if trace is None:
            raise ValueError("There is no text yet, and nothing to save.")
        if trace.length > MOST_CELLS:
            return trace
        return Trace(trace.model, trace.ids.clone(), trace.mode, trace.chunk_size)

    def _stage_paused(self, change: Any) -> None:
        if not change["new"]:
            self._draw_next()

    # -- measuring --------------------------------------------------------------------------

    def _text_changed(self) -> None:
        self.agreement, self.costs = None, {}

    def _work(self, current: Callable[[], bool]) -> None:
        """Run the other two modes, and show what all three cost and how far they are apart."""
        trace = self.trace
        if trace is None or self._is_long:
            return
        traces = dict(self._in_all_modes(trace))
        costs = {mode: found.cost for mode, found in traces.items()}
        del traces[trace.mode]
        agreement = compared(trace, traces)
        if current() and trace is self.trace:
            self.agreement, self.costs = agreement, costs
            self._draw_comparison()

    # -- drawing ----------------------------------------------------------------------------

    @property
    def shown_heads(self) -> list[int]:
        """The heads that are shown."""
        return list(self.state.heads or range(self.model.config.n_heads))

    @property
    def _is_long(self) -> bool:
        return self.trace is not None and self.trace.length > MOST_CELLS

    @property
    def _matrices(self) -> dict[str, Any]:
        """The widgets that show the planes."""
        return {
            "decay": self.decay,
            "retention": self.long.weights if self._is_long else self.weights,
        }

    def _has_layer(self) -> bool:
        return not self._is_long or self.long.has(self.trace, self.state.layer)

    def _draw(self) -> None:
        """Draw every panel: first those whose drawing takes the page longest."""
        trace, state = self.trace, self.state
        self.saver.ready = trace is not None
        if self._weights_place.children != (self._matrices["retention"],):
            self._weights_place.children = [self._matrices["retention"]]
        self._draw_next()
        self.gammas.value = cell_messages.gammas(self.model.gammas[state.layer])
        self._draw_decay()
        if trace is not None and self._is_long:
            self.norms.stale = not self._has_layer()
            self.long.show(trace, state.layer, self.shown_heads, state.scale, self._draw_layer)
            if self._has_layer():
                return
        else:
            self.long.leave()
            self._draw_norms()
            self._draw_plane("retention", self.weights)
        self._draw_stage()
        self._draw_marks()
        self._draw_comparison()

    def _draw_layer(self) -> None:
        """Draw what waited for the layer of a long text to be at hand."""
        self._draw_norms()
        self._draw_stage()
        self._draw_marks()
        self._draw_comparison()

    def _draw_norms(self) -> None:
        self.norms.stale = False
        if self.trace is None:
            self.norms.show(messages.nothing(self.page.shown))
            return
        self.norms.show(
            state_norm.spec(
                self.trace, self.state.layer, heads=self.shown_heads, theme=self.page.shown
            )
        )

    def _draw_stage(self) -> None:
        state = self.state
        trace = None if self._is_long else self.trace
        why_not = mode_messages.too_long(MOST_CELLS) if self._is_long else "No text yet."
        with self._writing():
            self.stage.show(
                trace, state.layer, state.head, state.scale, token=self.selected, why_not=why_not
            )

    def _draw_decay(self) -> None:
        """Draw D where it has changed: it depends on γ and T alone, and not on the text."""
        trace, state = self.trace, self.state
        depends = (
            None
            if trace is None
            else (
                min(trace.length, MOST_CELLS + 1),
                trace.gamma(state.layer).tolist(),
                (state.layer, self.shown_heads, state.scale),
                (trace.mode, trace.chunk_size, trace.origin("decay")),
            )
        )
        if depends != self._decay_of:
            self._decay_of = depends
            self._draw_plane("decay", self.decay)

    def _draw_plane(self, name: str, matrix: Heatmap) -> None:
        if self.trace is None:
            matrix.cells = b""
            matrix.meta = {"title": TITLES[name], "length": 0, "heads": []}
            return
        traits = view_models.plane(
            self.trace,
            name,
            self.state.layer,
            self.shown_heads,
            self.state.scale,
            MOST_CELLS,
        )
        with matrix.hold_sync():
            matrix.cells, matrix.meta = traits["cells"], traits["meta"]

    def _draw_selection(self) -> None:
        if not self.stage.playing:  # it follows where playing stops
            self._draw_next()
        self._draw_marks()

    def _draw_marks(self) -> None:
        """Mark the selected token and cell in every panel."""
        state, trace, selected = self.state, self.trace, self.selected
        self._draw_notice()
        cell = state.cell
        if trace is None or (cell and max(cell[1:]) >= trace.length):
            cell = None
        with self._writing():
            for name, matrix in self._matrices.items():
                stops = matrix.meta["length"]
                matrix.mark(
                    selected if selected < stops else -1,
                    cell if cell and max(cell[1:]) < stops else None,
                    self._describe(name, cell) or self._sentence(name),
                )
            self.norms.clicked = -1
            self.norms.cursor = selected
            if not self._is_long:
                self.stage.token = selected
        self._draw_strip(self.shown_heads)

    def _draw_next(self) -> None:
        if self.trace is None:
            self.next.show(messages.nothing(self.page.shown))
        else:
            self.next.show(next_token.spec(self.trace, self.selected, theme=self.page.shown))

    def _sentence(self, name: str) -> str:
        """What a matrix says where no cell is pointed at or pinned."""
        if self.trace is None or not self._has_layer():
            return ""
        return view_models.plane_sentence(
            self.trace, name, self.state.layer, self.shown_heads, self.selected
        )

    def _draw_comparison(self) -> None:
        if self.trace is None:
            self.agree.value = mode_messages.agreement(None, self.state.mode)
            self.cost.show(messages.nothing(self.page.shown))
            self.cost.stale = False
            return
        if self._is_long:
            self.agree.value = mode_messages.not_compared(self.trace, MOST_CELLS)
            self.cost.show(messages.nothing(self.page.shown))
            self.cost.stale = False
            return
        self.agree.value = mode_messages.agreement(self.agreement, self.state.mode)
        self.cost.stale = not self.costs
        if self.costs:
            self.cost.show(cost_bars.spec(self.costs, self.state.mode, theme=self.page.shown))
