"""The modes at work: one text in three modes, step by step, side by side, and what they carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import ipywidgets as w

from retnet_viz.model import RetNet
from retnet_viz.ui.core.app_page import area, group
from retnet_viz.ui.core.state.page_state import VIEWS, ExplorerState
from retnet_viz.ui.pages.model_and_text import model_and_text
from retnet_viz.ui.pages.modes.parts_view import PartsView
from retnet_viz.ui.pages.modes.side_view import SideView
from retnet_viz.ui.pages.modes.state_view import StateView
from retnet_viz.ui.pages.presets import START
from retnet_viz.ui.pages.text_page import TextPage
from retnet_viz.ui.panels.steps.step_player import StepPlayer

MAX_TOKENS = 2048
STEPS, SIDE, STATE, PARTS = VIEWS


def modes(
    model: RetNet | str | None = None,
    text: str | None = None,
    *,
    hide: str | Iterable[str] = (),
    present: bool = False,
    height: int | None = None,
    **fields: Any,
) -> Modes:
    """The modes at work as a widget, over `model` (the shipped one by default) and `text`.

    A text alone may stand in the place of the model. `hide` names panels to leave out, some of
    Modes.panels; `present` is for a projector; a page of a `height`, in pixels, scrolls in its own
    box. `fields` are those of ExplorerState: view, mode, chunk_size, layer, head, token, ... Raises
    ValueError where one of these is out of range or the model has no tokenizer.
    """
    model, text = model_and_text(model, text)
    # A state has a few large entries and many small ones, which linear colours would hide.
    defaults = {
        "text": START.text if text is None else text,
        "mode": "recurrent",
        "scale": "arcsinh",
    }
    board = Modes(model, ExplorerState(**defaults | fields))
    board.arrange(hide, present, height)
    return board


class Modes(TextPage):
    """Four views of one text: the stage, the modes side by side, the state, the model's parts."""

    model: RetNet
    app = "modes.ipynb"
    panels = ("text", "control", "strip", "views")
    max_tokens = MAX_TOKENS

    # -- building ---------------------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        n_heads = self.model.config.n_heads
        self.view = w.ToggleButtons(options=[(name.capitalize(), name) for name in VIEWS])
        self.view.add_class("rv-views")
        self.head = w.ToggleButtons(
            options=[(str(head), head) for head in range(n_heads)],
            tooltips=[f"head {head}" for head in range(n_heads)],
        )
        self.head.add_class("rv-head-choices")
        self.stage = StepPlayer(n_heads)
        self.side = SideView(self.model, self._in_all_modes, self._while_current)
        self.state_view = StateView()
        self.parts = PartsView(self.model)
        self._views = {
            STEPS: self.stage,
            SIDE: self.side.box,
            STATE: self.state_view.box,
            PARTS: self.parts.box,
        }
        self._view_box = w.Box()
        controls = w.HBox([self.mode, self.chunk, self.layer, group("head", self.head)])
        return [
            self._model_head(),
            self._text_area(),
            area("control", controls),
            area("strip", self.strip),
            area("views", w.HBox([self.view, group("scale", self.scale)])),
            area("view", self._view_box),
        ]

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.view, "view")
        self._bind(self.head, "head")
        self._bind_stage(self.stage)
        self._bind(self.side.race, "clock", "clock")
        self._bind(self.side.precision, "precision")
        self._bind(self.parts.gain, "gain")
        for plot in self._curves:
            self._bind(plot, "token", "clicked")
        self.parts.pair.observe(self._on_row, "selected")
        self.state_view.compare_token.observe(self._on_compare, "value")
        self.state_view.compare_switch.observe(self._on_compare, "value")
        for toggle in self.parts.switches.values():
            toggle.observe(self._on_switch, "value")
        self.side.measure_button.on_click(self._measure_or_cancel)

    @property
    def _curves(self) -> tuple[Any, ...]:
        """The figures along the tokens, on which one is selected."""
        return self.state_view.norms, self.parts.before_after, self.parts.gates

    def _write_controls(self) -> None:
        super()._write_controls()
        state = self.state
        with self._writing():
            self.view.value = state.view
            self.head.value = state.head
            self.side.write(state)
            self.state_view.write(state, self._length)
            self.parts.write(state)
            self._view_box.children = [self._views[state.view]]

    # -- events -----------------------------------------------------------------------------

    def _with_preset(self, preset: ExplorerState) -> ExplorerState:
        """The text of the preset in its layer and head; the mode and the view stay."""
        state = self.state
        return replace(
            state,
            text=preset.text,
            layer=preset.layer,
            head=preset.heads[0] if preset.heads else state.head,
            token=None,
            compare=None,
        )

    def _on_row(self, change: Any) -> None:
        if change["new"] >= 0:
            self._update_state(token=change["new"])

    def _on_compare(self, _change: Any) -> None:
        self._update_state(compare=self.state_view.subtracted_token)

    def _on_switch(self, _change: Any) -> None:
        self._update_state(without=self.parts.without)

    def _measure_or_cancel(self, _button: Any) -> None:
        if self.side.is_measuring:
            self.stop()
            self.side.show_progress("cancelled")
            return
        self.side.forget()
        self._draw()

    # -- measuring --------------------------------------------------------------------------

    def _text_changed(self) -> None:
        self.parts.forget()

    def _start_work(self) -> None:
        if self.trace is None or self.state.view != SIDE:
            self.stop()
            return
        super()._start_work()

    def _work(self, is_current: Callable[[], bool]) -> None:
        """Measure what the side by side view lacks, and draw each part as it is ready."""
        if self.trace is not None:
            self.side.measure(self.trace, lambda: self.state, self.page.shown, is_current)

    def stop(self) -> None:
        """Forget the measuring; what it was doing is not shown any more."""
        with self._display_lock:
            super().stop()

    def _work_failed(self) -> None:
        self.side.show_progress("could not be measured")

    # -- drawing ----------------------------------------------------------------------------

    @property
    def _length(self) -> int:
        return self.trace.length if self.trace else 0

    def _draw(self) -> None:
        with self._writing():
            self.chunk.max = max(self._length, self.state.chunk_size, 2)
            self.state_view.write(self.state, self._length)
        if self.state.view == SIDE:
            self._draw_side()
        else:
            self.stop()
        self._draw_selection()

    def _draw_side(self) -> None:
        self.side.draw(self.trace, self.state, self.page.shown)
        if self.trace is not None and self.side.is_incomplete(self.state):
            self._start_work()
        else:
            self.stop()
            self.side.show_progress("")

    def _draw_selection(self) -> None:
        state, n, theme = self.state, self.selected, self.page.shown
        self._draw_notice()
        self._draw_strip([state.head])
        with self._writing():
            if state.view == STEPS:
                self._draw_stage()
            elif state.view == STATE:
                self.state_view.draw(self.trace, state, n, theme)
            elif state.view == PARTS:
                self.parts.draw(self.trace, state, n, theme)
            for plot in self._curves:
                plot.clicked = -1
            self.state_view.norms.cursor = self.parts.gates.cursor = n

    def _draw_stage(self) -> None:
        state = self.state
        inputs = (self.trace, state.layer, state.head, state.scale)
        if self.stage.shows(*inputs):
            self.stage.token = self.selected
        else:
            self.stage.show(*inputs, token=self.selected)
