"""The explorer: type a text, and see what a RetNet retains of it in the mode of your choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import ipywidgets as w

from retnet_viz.figures import next_token, state_norm
from retnet_viz.figures.base.figure_parts import Spec
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table
from retnet_viz.figures.reading.planes import SIGNED, TITLES
from retnet_viz.model import RetNet
from retnet_viz.trace import Agreement, Cost, Trace
from retnet_viz.trace.edits.edit import Edit
from retnet_viz.trace.files.text_file import (
    LARGEST_FILE,
    MOST_DECODED,
    FileText,
    TextFileError,
    decode_text,
)
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import area, group
from retnet_viz.ui.core.background import OutdatedError
from retnet_viz.ui.core.state import state_file
from retnet_viz.ui.core.state.link import LinkError
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export import exports
from retnet_viz.ui.export.export_menu import ExportMenu
from retnet_viz.ui.export.snapshot.snapshot import Tell
from retnet_viz.ui.pages.explorer.all_heads import AllHeads
from retnet_viz.ui.pages.explorer.mode_comparison import ModeComparison, measure
from retnet_viz.ui.pages.explorer.writing_page import WritingPage
from retnet_viz.ui.pages.presets import PRESETS, WHAT_IF, Preset
from retnet_viz.ui.panels import cell_messages, mode_messages, view_models
from retnet_viz.ui.panels.file_picker import FilePicker
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.steps.step_player import StepPlayer
from retnet_viz.ui.panels.tiled.long_text import LongText
from retnet_viz.ui.panels.what_if import WhatIf, silent_heads

MAX_TOKENS = 131_072
MOST_CELLS = 1024  # tokens up to which every cell of a plane is sent, and the modes are compared


class Explorer(WritingPage):
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
        "whatif",
        "heads",
        "cost",
        "agree",
    )
    max_tokens = MAX_TOKENS
    takes_edits = True
    presets: ClassVar[tuple[Preset, ...]] = PRESETS + WHAT_IF

    def __init__(self, model: ObservedModel, state: ExplorerState) -> None:
        self.comparison = ModeComparison()
        self._decay_inputs: tuple[Any, ...] | None = ()  # what the decay's picture depends on
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
        self.long = LongText(
            partial(self._describe, "retention"), self._main_thread, self._show_layer_failure
        )
        self._weights_place = w.Box([self.weights])
        self._weights_place.add_class("rv-place")
        self.gammas = w.HTML()
        self.gammas.add_class("rv-gammas")
        self.norms, self.next = Plot(), Plot()
        self.picker = FilePicker(
            self._on_file,
            self._on_file_failure,
            max_bytes=LARGEST_FILE,
            read_bytes=MOST_DECODED + 1,
        )
        self.what_if = WhatIf(config.n_heads, self._on_edits, self._ids_of)
        self.saver = ExportMenu(self._export, self._export_figures)
        self.all_heads = AllHeads(config.n_layers, config.n_heads)
        self.heads_grid = self.all_heads.heads_grid
        self.stage = StepPlayer(config.n_heads)
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
            self._text_area(self.continuation.controls, self.picker),
            area("control", controls),
            area("strip", self.strip),
            area("next", self.next),
            area("decay", w.VBox([self.decay, self.gammas])),
            area("weights", self._weights_place),
            area("norms", self.norms),
            area("stage", self.stage),
            area("whatif", self.what_if),
            area("heads", self.heads_grid),
            area("cost", self.comparison.cost),
            area("agree", self.comparison.agree),
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
        self.heads_grid.observe(self._on_head_clicked, "clicked")
        self.heads_grid.observe(self._on_head_toggled, "toggled")
        self._bind_stage(self.stage)
        self.stage.observe(self._on_stage_pause, "playing")
        matrices: list[w.DOMWidget] = [self.decay, self.weights, self.long.weights]
        for matrix in matrices:
            matrix.observe(self._on_cell, ["cell", "selected"])
        for toggle in self.heads:
            toggle.observe(self._on_heads, "value")

    def _write_controls(self) -> None:
        super()._write_controls()
        with self._writing():
            for head, toggle in enumerate(self.heads):
                toggle.value = not self.state.heads or head in self.state.heads

    # -- events -----------------------------------------------------------------------------

    def _on_cell(self, change: Any) -> None:
        if self._is_writing:
            return
        cell = tuple(change.owner.cell) or None
        self._update_state(cell=cell, token=cell[1] if cell else change.owner.selected)

    def _on_edits(self, edits: tuple[Edit, ...], gesture: str) -> None:
        self._update_state(gesture, edits=edits)

    def _ids_of(self, text: str) -> list[int]:
        """The tokens of another text."""
        assert isinstance(self.model, RetNet)
        return list(self.model.tokenizer.encode(text))

    def _on_heads(self, change: Any) -> None:
        if self._is_writing:
            return
        on = tuple(head for head, toggle in enumerate(self.heads) if toggle.value)
        if not on:  # one head at least is shown: the last one cannot be switched off
            change.owner.value = True
            return
        self._update_state(heads=on)

    def _on_head_clicked(self, change: Any) -> None:
        if len(change["new"]) != 2:
            return
        layer, head = change["new"]
        self._update_state(layer=layer, head=head)
        self.heads_grid.clicked = []  # so that the same head can be clicked again

    def _on_head_toggled(self, change: Any) -> None:
        if len(change["new"]) != 2:
            return
        layer, head = change["new"]
        self._on_silence(layer, head)
        self._mark_heads()
        self.heads_grid.toggled = []  # the switch then shows what became of it

    def _on_silence(self, layer: int, head: int) -> None:
        """Silence a head, or let it speak again."""
        if self.takes_edits:
            self.what_if.silence(layer, head)

    def _silent_heads(self) -> set[tuple[int, int]]:
        """(layer, head) of each head that is silent."""
        config = self.model.config
        return silent_heads(self.state.edits, config.n_layers, config.n_heads)

    def open_file(self, file: FileText) -> None:
        """Read the text of a file in place of the one that is shown."""
        part = f" (the first {len(file.text):,} characters)" if file.cut else ""
        self.open_text(file.text, f"{file.name}{part}; the box has its end, to go on with.")

    def _on_file(self, name: str, size: int, content: bytes) -> None:
        try:
            if state_file.is_state(content):
                self._open(state_file.decode(content, name, size))
            else:
                self.open_file(decode_text(content, name, size))
        except LinkError as error:
            self._show_link_message(str(error))
        except TextFileError as error:
            self._fail(messages.refusal(str(error)))

    def _on_file_failure(self, name: str, reason: str) -> None:
        self._fail(messages.refusal(f"{name} could not be read: {reason}."))

    def _show_layer_failure(self, error: Exception) -> None:
        logging.getLogger(__name__).error("a layer could not be shown", exc_info=error)
        self._fail(messages.failure(error))

    def settle(self) -> None:
        """Do now what would be done in a thread, or after a pause in the typing."""
        self._reader.wait()
        self.long.settle()
        super().settle()

    # -- saving -----------------------------------------------------------------------------

    def _export(self, what: str, kind: str, tell: Tell) -> exports.File:
        """What is shown as a file. Runs in a thread, while the text may be edited."""
        if what == "state":
            return exports.File(state_file.NAME, self._state_file().encode())
        return exports.make_file(
            self._stable_trace(), self.state, what, kind, self.page.shown, tell
        )

    def _export_figures(self, what: str) -> list[Spec]:
        return exports.figures(self._stable_trace(), self.state, what, self.page.shown)

    def _stable_trace(self) -> Trace:
        """The shown trace, run again where that is quick, so that no edit outdates it."""
        trace = self.trace
        if trace is None:
            raise ValueError("There is no text yet, and nothing to save.")
        if trace.length > MOST_CELLS:
            return trace
        return Trace(trace.model, trace.ids.clone(), trace.mode, trace.chunk_size)

    def _on_stage_pause(self, change: Any) -> None:
        if not change["new"]:
            self._draw_next()

    # -- measuring --------------------------------------------------------------------------

    def _text_changed(self) -> None:
        self.comparison.forget()

    def _work(self, is_current: Callable[[], bool]) -> None:
        """What each head brings to the prediction; what the modes cost, how far they are apart."""
        trace = self.trace
        if trace is None or self._is_long:
            return
        self._prepare_heads(trace, is_current)
        if self.comparison.costs:  # another token was selected, and the text is the same
            return
        costs, agreement = measure(trace, dict(self._in_all_modes(trace)))
        if is_current() and trace is self.trace:
            self.comparison.costs, self.comparison.agreement = costs, agreement
            self._draw_comparison()

    def _prepare_heads(self, trace: Trace, is_current: Callable[[], bool]) -> None:
        position = self.selected
        if self.all_heads.has_all(trace, position):
            return
        prepared = self.all_heads.prepare(trace, position)
        if not is_current():
            raise OutdatedError
        if trace is self.trace and position == self.selected:
            self.all_heads.take(trace, self.state.scale, position, prepared)

    @property
    def agreement(self) -> Agreement | None:
        """How far the three modes are apart; None until it is measured."""
        return self.comparison.agreement

    @property
    def costs(self) -> dict[str, Cost]:
        """What each mode costs; {} until it is measured."""
        return self.comparison.costs

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
        model = self.model if trace is None else trace.model
        self.gammas.value = cell_messages.gammas(model.gammas[state.layer])
        (self.remove_class if self.base is None else self.add_class)("rv-edited")
        self._draw_decay()
        self._draw_heads()
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
        """Draw what waited until the layer of a long text was prepared."""
        self._draw_norms()
        self._draw_stage()
        self._draw_marks()
        self._draw_comparison()

    def _draw_norms(self) -> None:
        self.norms.stale = False
        if self.trace is None:
            self.norms.show(messages.empty_figure(self.page.shown))
            return
        self.norms.show(
            state_norm.spec(
                self.trace, self.state.layer, heads=self.shown_heads, theme=self.page.shown
            )
        )

    def _draw_heads(self) -> None:
        why_not = mode_messages.too_long_for_heads(MOST_CELLS) if self._is_long else ""
        self.all_heads.draw(self.trace, self.state.scale, self.selected, why_not)
        self._mark_heads()

    def _mark_heads(self) -> None:
        self.all_heads.mark(self.state.layer, self.state.head, self._silent_heads())

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
        inputs = (
            None
            if trace is None
            else (
                min(trace.length, MOST_CELLS + 1),
                trace.gamma(state.layer).tolist(),
                (state.layer, self.shown_heads, state.scale),
                (trace.mode, trace.chunk_size, trace.origin("decay")),
            )
        )
        if inputs != self._decay_inputs:
            self._decay_inputs = inputs
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
        self._wait_for_shares()

    def _wait_for_shares(self) -> None:
        """Have the shares of the selected token's prediction made after a pause."""
        if self.trace is None or self._is_long:
            return
        self.all_heads.wait_for_shares(self.trace, self.selected)
        if not self.all_heads.has_all(self.trace, self.selected):
            self._start_work()

    def _draw_what_if(self) -> None:
        state = self.state
        self.what_if.show(
            self.trace,
            self.base,
            state.edits,
            self.left_out,
            layer=state.layer,
            heads=self.shown_heads,
            token=self.selected,
        )

    def _draw_marks(self) -> None:
        """Mark the selected token and cell in every panel."""
        state, trace, selected = self.state, self.trace, self.selected
        self._draw_what_if()
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
        self._show_offers()
        if self.trace is None:
            self.next.show(messages.empty_figure(self.page.shown))
        else:
            self.next.show(
                next_token.spec(self.trace, self.selected, before=self.base, theme=self.page.shown)
            )

    def _sentence(self, name: str) -> str:
        """What a matrix says where no cell is pointed at or pinned."""
        if self.trace is None or not self._has_layer():
            return ""
        return view_models.plane_sentence(
            self.trace, name, self.state.layer, self.shown_heads, self.selected
        )

    def _draw_comparison(self) -> None:
        self.comparison.draw(self.trace, self.state.mode, self.page.shown, MOST_CELLS)
