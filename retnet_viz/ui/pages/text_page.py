"""What every explorer is made of: a text, a mode, a model that reads it, one selection."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, ClassVar

import ipywidgets as w

from retnet_viz.figures.base.scale import SCALES
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.model import RetNet
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import area
from retnet_viz.ui.core.state.history import PAUSE
from retnet_viz.ui.core.state.page_state import APP, ExplorerState
from retnet_viz.ui.core.state.undo import Undo
from retnet_viz.ui.core.state.written import after_edit, written_tokens
from retnet_viz.ui.export.saved_weights import saved_html
from retnet_viz.ui.pages.presets import PRESETS, Preset
from retnet_viz.ui.pages.reading_page import ReadingPage, undoable
from retnet_viz.ui.panels.steps.step_player import StepPlayer
from retnet_viz.ui.panels.token_strip import TokenStrip

EMPTY = "No text yet: type a sentence above, or take a preset, and the model will read it."
_READING_FIELDS = {"text", "before", "mode", "chunk_size", "edits"}
_SELECTION_FIELDS = {"token", "cell"}
_GESTURE_FIELDS = {
    "text",
    "chunk_size",
    "layer",
    "layers",
    "compare",
    "gain",
}  # many changes, one gesture


class TextPage(ReadingPage):
    """A page of panels over one text. A subclass builds the panels and draws them.

    `state` is what the user chose, `trace` the forward pass that is shown (None for an empty
    text). `apply_state` does what the controls do.
    """

    part = APP
    presets: ClassVar[tuple[Preset, ...]] = PRESETS
    help_words = messages.HELP

    def __init__(self, model: ObservedModel, state: ExplorerState) -> None:
        super().__init__(model, state)
        self._write_controls()
        if not self._read_text():
            self._draw()  # without a text, until it has been read
        self._listen()

    # -- what a subclass gives --------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        """The areas of the grid."""
        raise NotImplementedError

    def _areas(self) -> list[Any]:
        self._build_controls()
        return self._build_panels()

    def _apply_theme(self) -> None:
        self._draw()

    def _draw_selection(self) -> None:
        """Draw what a newly selected token or cell changes."""
        raise NotImplementedError

    # -- building ---------------------------------------------------------------------------

    def _build_controls(self) -> None:
        config = self.model.config
        self.text = w.Textarea(
            placeholder="Type a text for the model to read", continuous_update=True
        )
        self.notice = w.HTML()
        self.notice.add_class("rv-notice")
        self.mode = w.ToggleButtons(
            options=[(form.label, mode) for mode, form in FORMS.items()],
            tooltips=[form.equation for form in FORMS.values()],
        )
        self.mode.add_class("rv-modes")
        self.chunk = w.IntSlider(min=1, max=64, description="chunk size")
        self.layer = w.IntSlider(min=0, max=config.n_layers - 1, description="layer")
        self.scale = w.ToggleButtons(options=list(SCALES))
        self.scale.add_class("rv-scales")
        self.preset = w.Dropdown(
            options=[
                ("presets", -1),
                *[(preset.name, i) for i, preset in enumerate(self.presets)],
            ],
            layout={"width": "130px"},
        )
        self.strip = TokenStrip(colors=color_table(DIVERGING).tobytes(), empty=EMPTY)
        self.history = Undo(undoable(self.state), self._revisit)

    def _model_head(self, *controls: Any) -> Any:
        """The page's first line, which says what the model is."""
        assert isinstance(self.model, RetNet)
        about = messages.model_size(self.model)
        heads = self.model.config.n_heads
        return self._head(about, heads, self.history, self.preset, *controls)

    def _text_area(self, *controls: Any) -> Any:
        """The text, and below it the notice and `controls`, or how far the reading is."""
        below = w.HBox([self.notice, self.reading, *controls])
        below.add_class("rv-below-text")
        return area("text", w.VBox([self.text, below]))

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.text, "text")
        self.reading.cancel.on_click(lambda _: self.cancel_reading())
        self._bind(self.mode, "mode")
        self._bind(self.chunk, "chunk_size")
        self._bind(self.layer, "layer")
        self._bind(self.scale, "scale")
        self._bind(self.strip, "token", "selected")
        self.preset.observe(self._on_preset, "value")

    def _bind_stage(self, stage: StepPlayer) -> None:
        """Take the stage's token and head as choices, unless they are of an earlier text."""

        def on_token(change: Any) -> None:
            if self._is_writing or not stage.is_outdated:
                pause = math.inf if stage.playing else PAUSE  # all steps that are played are one
                self._update_state("stage", pause, token=change["new"])
                return
            with self._writing():
                stage.token = self.selected

        stage.observe(on_token, "token")
        self._bind(stage, "head", "head")

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: ExplorerState, gesture: str = "", pause: float = PAUSE) -> None:
        """Show `state`, and remember it for undo; ValueError where a field is out of range.

        It can be undone, together with the changes of the same `gesture` before it: see History.
        """
        state = state.checked(self.model.config)
        self.history.record(undoable(state), gesture, pause)  # no step where it is from there
        before, self.state = self.state, state
        self._write_controls()
        changed = {
            field.name
            for field in fields(ExplorerState)
            if getattr(before, field.name) != getattr(self.state, field.name)
        }
        if changed & _READING_FIELDS:
            self._read_text()
        elif changed - _SELECTION_FIELDS - {"theme"}:
            self._draw()
        elif changed & _SELECTION_FIELDS:
            self._draw_selection()
        self.history.begin_pause()

    def _revisit(self, state: ExplorerState) -> None:
        """Show a state of the history; the theme stays."""
        if state.before + state.text != self.state.before + self.state.text:
            self._point = ""
            self._forget_preset()
        state = replace(state, theme=self.state.theme)
        with self._showing_failures(state):
            self.apply_state(state)

    def _forget_preset(self) -> None:
        with self._writing():
            self.preset.value = -1

    def _on_command(self, command: str) -> None:
        super()._on_command(command)
        if command == "undo":
            self.history.undo()
        elif command == "redo":
            self.history.redo()

    def open_link(self, query: str) -> None:
        """Show what a link holds, from where nothing is to be undone: see AppPage."""
        before = self.state
        super().open_link(query)
        if self.state is not before:
            self.history.restart(undoable(self.state))

    def _with_link(
        self, state: ExplorerState, fields: dict[str, Any]
    ) -> tuple[ExplorerState, list[str]]:
        return state.with_fields(fields, self.model.config)

    def _show_link_message(self, message: str) -> None:
        self._fail(messages.warning(message))

    @property
    def _fits_in_link(self) -> bool:
        return not self.state.before

    def _file_parts(self) -> dict[str, Any]:
        return self.state.link_parts(full_text=True)

    def _update_state(self, gesture: str = "", pause: float = PAUSE, **changes: Any) -> None:
        """Take fields of the state as the user's choice, unless the page itself wrote them."""
        if self._is_writing:
            return
        if not gesture and changes.keys() <= _GESTURE_FIELDS:
            gesture = " ".join(changes)
        if "text" in changes:  # a selection belongs to the text that it was made in
            changes |= {"token": None, "cell": None, "compare": None}
            if "written" not in changes:
                changes["written"] = after_edit(
                    self.state.written, self.state.text, changes["text"]
                )
            self._point = ""
            self.preset.value = -1
        state = replace(self.state, **changes)
        with self._showing_failures(state):
            self.apply_state(state, gesture, pause)

    @contextmanager
    def _showing_failures(self, state: ExplorerState) -> Iterator[None]:
        """Say on the page, in the notice, why `state` cannot be shown; the panels stay.

        Nobody sees what a callback raises.
        """
        try:
            yield
        except Exception as error:
            logging.getLogger(__name__).exception("the explorer could not show %s", state)
            self.notice.value = messages.failure(error)
        else:
            self._draw_notice()  # a point may be new where nothing else is

    def _on_preset(self, change: Any) -> None:
        if change["new"] < 0:
            return
        preset = self.presets[change["new"]]
        self._point = preset.point
        # A preset's layer may be one that a smaller model lacks.
        state = self._with_preset(preset.state).fitted(self.model.config)
        with self._showing_failures(state):
            self.apply_state(state)

    def _with_preset(self, preset: ExplorerState) -> ExplorerState:
        """The state that choosing a preset leads to."""
        head = preset.heads[0] if preset.heads else 0
        return replace(preset, head=head, theme=self.state.theme)

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        state = self.state
        with self._writing():
            self.text.value = self._box_text()
            self.mode.value = state.mode
            self.chunk.max = max(self.chunk.max, state.chunk_size)
            self.chunk.value = state.chunk_size
            self.layer.value = state.layer
            self.scale.value = state.scale
            self.theme.value = self.page.theme = state.theme
        self._write_link()

    def _box_text(self) -> str:
        """What the text box holds."""
        return self.state.text

    # -- in a notebook ----------------------------------------------------------------------

    def _summary(self) -> str:
        count = 0 if self.trace is None else self.trace.length
        return f"{count:,} tokens in {self.state.mode} mode"

    def _saved_html(self) -> str:
        return "" if self.trace is None else saved_html(self.trace, self.state)

    # -- the selection ----------------------------------------------------------------------

    @property
    def selected(self) -> int:
        """The selected token: the chosen one, else the last; -1 for an empty text."""
        if self.trace is None:
            return -1
        return self.state.selected_of(self.trace.length)

    def _draw_notice(self) -> None:
        self.notice.value = self._failure or messages.notice(
            self.trace, self._refusal or self._cut_notice, self._point, self._recomputed
        )

    def _draw_strip(self, heads: list[int]) -> None:
        """The tokens, shaded by what the selected one retains of each: the mean over `heads`."""
        state = self.state
        with self._writing():
            self.strip.show(
                self.trace, state.layer, heads, self.selected, state.scale, self._has_layer()
            )
            self.strip.written = self._written_tokens()

    def _written_tokens(self) -> list[tuple[int, int]]:
        """The ranges of tokens that the model wrote, of the text that is shown."""
        shown, newest = self._shown_state, self.state
        if self.trace is None or self._cut_notice:  # a text that was cut has another end
            return []
        written = newest.written if newest.text == shown.text else shown.written
        return written_tokens(self.trace, shown.text, written)

    def _has_layer(self) -> bool:
        """Whether the chosen layer can be looked at without a wait."""
        return True
