"""What every explorer is made of: a text, a mode, a model that reads it, one selection."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar

import ipywidgets as w

from retnet_viz.figures.base.scale import SCALES
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.budget import NotEnoughMemory
from retnet_viz.trace.passes.external_tensors import Observed
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.passes.live import Recomputed
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import AppPage, area
from retnet_viz.ui.core.background import Home, LatestJob, OutdatedError
from retnet_viz.ui.core.history import PAUSE
from retnet_viz.ui.core.page_state import APP, LONG_CHUNK, ExplorerState
from retnet_viz.ui.core.runner import LiveText, Request, Result, Runner, Source
from retnet_viz.ui.core.undo import Undo
from retnet_viz.ui.pages.presets import PRESETS
from retnet_viz.ui.panels.step_player import StepPlayer
from retnet_viz.ui.panels.token_strip import TokenStrip
from retnet_viz.ui.panels.view_models import strip

EMPTY = "No text yet: type a sentence above, or take a preset, and the model will read it."
_READ = {"text", "before", "mode", "chunk_size"}
_SELECTED = {"token", "cell"}
_DRAGGED = {"text", "chunk_size", "layer", "layers", "compare", "gain"}  # many changes, one gesture
MOST_IN_BOX = 12_000  # characters; of a longer text the box has the last IN_BOX
IN_BOX = 2_000
_STRIP = 1024  # tokens in the strip at most


class TextPage(AppPage):
    """A page of panels over one text. A subclass builds the panels and draws them.

    `state` is what the user chose, `trace` the forward pass that is shown (None for an empty
    text). `apply_state` does what the controls do.
    """

    part = APP
    state: ExplorerState
    help_words = messages.HELP
    max_tokens: ClassVar[int]
    job_pause: ClassVar[float] = 0.35  # seconds without an edit before slow work begins

    def __init__(self, model: Observed, state: ExplorerState) -> None:
        self.model = model
        self.trace: Trace | None = None
        self.state = state.checked(model.config)
        self._read_state = self.state  # whose text and mode `trace` is of
        self._recomputed: Recomputed | None = None
        self._refusal = ""  # why the mode is not the chosen one
        self._failure = ""  # why there is no newer picture, as HTML
        self._cut = ""
        self._point = ""
        self._strip_of: tuple[Trace, range] | None = None  # whose tokens the strip shows
        self._job = LatestJob(self.job_pause)
        self._home = Home()
        self._traces = self._source()
        self._reader = Runner(self._traces, self._tell_reading, self._home)
        super().__init__()
        self._write_controls()
        if not self._read_text():
            self._draw()  # without a text, until it has been read
        self._listen()

    def _source(self) -> Source:
        """Where the traces come from."""
        if not isinstance(self.model, RetNet) or self.model.tokenizer is None:
            raise ValueError("the explorer needs a model with a tokenizer")
        return LiveText(self.model, self.max_tokens)

    # -- what a subclass gives --------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        """The areas of the grid."""
        raise NotImplementedError

    def _areas(self) -> list[Any]:
        self._build_controls()
        return self._build_panels()

    def _draw(self) -> None:
        """Draw every panel anew."""
        raise NotImplementedError

    def _themed(self) -> None:
        self._draw()

    def _text_changed(self) -> None:
        """Forget what was measured on the text before."""

    def _draw_selection(self) -> None:
        """Draw what a newly selected token or cell changes."""
        raise NotImplementedError

    def _work(self, current: Callable[[], bool]) -> None:
        """What takes long: run in a thread after a pause, while `current()` is true."""
        raise NotImplementedError

    # -- building ---------------------------------------------------------------------------

    def _build_controls(self) -> None:
        config = self.model.config
        self.text = w.Textarea(
            placeholder="Type a text for the model to read", continuous_update=True
        )
        self.notice = w.HTML()
        self.notice.add_class("rv-notice")
        self.reading = w.IntProgress(max=1, layout={"width": "160px"})
        self.read_share = w.HTML()
        self.cancel = w.Button(description="Cancel", tooltip="Stop reading; the text stays")
        self._reading_row = w.HBox([self.reading, self.read_share, self.cancel])
        self._reading_row.add_class("rv-reading")
        self._reading_row.layout.display = "none"
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
            options=[("presets", -1), *[(preset.name, i) for i, preset in enumerate(PRESETS)]],
            layout={"width": "130px"},
        )
        self.strip = TokenStrip(colors=color_table(DIVERGING).tobytes(), empty=EMPTY)
        self.history = Undo(_undoable(self.state), self._revisit)

    def _model_head(self, *controls: Any) -> Any:
        """The page's first line, which says what the model is."""
        assert isinstance(self.model, RetNet)
        about = messages.model_size(self.model)
        heads = self.model.config.n_heads
        return self._head(about, heads, self.history, self.preset, *controls)

    def _text_area(self, *controls: Any) -> Any:
        """The text, and below it the notice and `controls`, or how far the reading is."""
        below = w.HBox([self.notice, self._reading_row, *controls])
        below.add_class("rv-below-text")
        return area("text", w.VBox([self.text, below]))

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.text, "text")
        self.cancel.on_click(lambda _: self.cancel_reading())
        self._bind(self.mode, "mode")
        self._bind(self.chunk, "chunk_size")
        self._bind(self.layer, "layer")
        self._bind(self.scale, "scale")
        self._bind(self.strip, "token", "selected")
        self.preset.observe(self._preset_chosen, "value")

    def _bind_stage(self, stage: StepPlayer) -> None:
        """Take the stage's token and head as choices, unless they are of an earlier text."""

        def moved(change: Any) -> None:
            if self._setting or not stage.is_outdated:
                pause = math.inf if stage.playing else PAUSE  # all steps that are played are one
                self._chosen("stage", pause, token=change["new"])
                return
            with self._writing():
                stage.token = self.selected

        stage.observe(moved, "token")
        self._bind(stage, "head", "head")

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: ExplorerState, gesture: str = "", pause: float = PAUSE) -> None:
        """Show `state`, and remember it for undo; ValueError where a field is out of range.

        It can be undone, together with the changes of the same `gesture` before it: see History.
        """
        state = state.checked(self.model.config)
        self.history.record(_undoable(state), gesture, pause)  # no step where it is from there
        before, self.state = self.state, state
        self._write_controls()
        changed = {
            field.name
            for field in fields(ExplorerState)
            if getattr(before, field.name) != getattr(self.state, field.name)
        }
        if changed & _READ:
            self._read_text()
        elif changed - _SELECTED - {"theme"}:
            self._draw()
        elif changed & _SELECTED:
            self._draw_selection()

    def _revisit(self, state: ExplorerState) -> None:
        """Show a state of the history; the theme stays."""
        if state.before + state.text != self.state.before + self.state.text:
            self._point = ""
            with self._writing():
                self.preset.value = -1
        state = replace(state, theme=self.state.theme)
        with self._saying_failures(state):
            self.apply_state(state)

    def _asked(self, what: str) -> None:
        super()._asked(what)
        if what == "undo":
            self.history.undo()
        elif what == "redo":
            self.history.redo()

    def open_link(self, query: str) -> None:
        """Show what a link holds, from where nothing is to be undone: see AppPage."""
        before = self.state
        super().open_link(query)
        if self.state is not before:
            self.history.restart(_undoable(self.state))

    def _take(self, state: ExplorerState, given: dict[str, Any]) -> tuple[ExplorerState, list[str]]:
        return state.taking(given, self.model.config)

    def _say_of_link(self, said: str) -> None:
        self._fail(messages.warning(said))

    @property
    def _is_whole(self) -> bool:
        return not self.state.before

    def _held(self) -> dict[str, Any]:
        return self.state.held(whole=True)

    def _chosen(self, gesture: str = "", pause: float = PAUSE, **chosen: Any) -> None:
        """Take fields of the state as the user's choice, unless the page itself wrote them."""
        if self._setting:
            return
        if not gesture and chosen.keys() <= _DRAGGED:
            gesture = " ".join(chosen)
        if "text" in chosen:  # a selection belongs to the text that it was made in
            chosen |= {"token": None, "cell": None, "compare": None}
            self._point = ""
            self.preset.value = -1
        state = replace(self.state, **chosen)
        with self._saying_failures(state):
            self.apply_state(state, gesture, pause)

    @contextmanager
    def _saying_failures(self, state: ExplorerState) -> Iterator[None]:
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

    def _preset_chosen(self, change: Any) -> None:
        if change["new"] < 0:
            return
        preset = PRESETS[change["new"]]
        self._point = preset.point
        # A preset's layer may be one that a smaller model lacks.
        state = self._with_preset(preset.state).fitted(self.model.config)
        with self._saying_failures(state):
            self.apply_state(state)

    def _with_preset(self, preset: ExplorerState) -> ExplorerState:
        """The state that choosing a preset leads to."""
        head = preset.heads[0] if preset.heads else 0
        return replace(preset, head=head, theme=self.state.theme)

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        state = self.state
        with self._writing():
            self.text.value = self._in_box()
            self.mode.value = state.mode
            self.chunk.max = max(self.chunk.max, state.chunk_size)
            self.chunk.value = state.chunk_size
            self.layer.value = state.layer
            self.scale.value = state.scale
            self.theme.value = self.page.theme = state.theme
        self._write_link()

    def _in_box(self) -> str:
        """What the text box holds."""
        return self.state.text

    # -- running ----------------------------------------------------------------------------

    def open_text(self, text: str, about: str = "") -> None:
        """Read a text of any length in place of the one that is shown, which stays until then.

        The box takes the end of a long text, where it can be edited, and its chunks are no shorter
        than is fast. `about` is said of the text.
        """
        chunk_size = self.state.chunk_size
        if len(text) > MOST_IN_BOX:
            chunk_size = max(chunk_size, LONG_CHUNK)
        self._read_text(text, partial(self._opened, text, about), chunk_size=chunk_size)

    def _read_text(
        self,
        text: str | None = None,
        done: Callable[[Result], None] | None = None,
        mode: str | None = None,
        chunk_size: int | None = None,
    ) -> bool:
        """Read a text in the chosen mode, or in chunkwise mode where that is refused.

        What is not given is the state's. Until it is read the last picture stays; False where that
        goes on behind.
        """
        self.stop()
        self._failure = ""
        if mode is None:
            self._refusal = ""
        text = self.state.before + self.state.text if text is None else text
        done = done or self._text_read
        chosen = mode or self.state.mode
        size = chunk_size or self.state.chunk_size

        def failed(error: Exception) -> None:
            if chosen == "parallel" and isinstance(error, NotEnoughMemory):
                self._refusal = str(error)
                self._read_text(text, done, "chunkwise", size)
            else:
                self._not_read(error)

        return self._reader.read(Request(text, chosen, size, done, failed))

    def _text_read(self, reading: Result) -> None:
        self._hide_reading()
        self.trace, self._recomputed = reading.trace, reading.recomputed
        if self.trace is not None:  # what was read may be other than what was chosen
            mode, chunk_size = self.trace.mode, self.trace.chunk_size
            if (mode, chunk_size) != (self.state.mode, self.state.chunk_size):
                self.state = replace(self.state, mode=mode, chunk_size=chunk_size)
                self.history.amend(_undoable(self.state))
                self._write_controls()
        self._read_state = self.state
        self._cut = (
            f"Only the first {self.max_tokens:,} tokens are shown; the text goes on."
            if reading.dropped
            else ""
        )
        self._text_changed()
        self._draw()
        self._start_work()

    def _opened(self, text: str, about: str, reading: Result) -> None:
        kept = text[: len(text) - reading.dropped]
        at = 0 if len(kept) <= MOST_IN_BOX else len(kept) - IN_BOX
        self.state = replace(
            self.state, before=kept[:at], text=kept[at:], token=None, cell=None, compare=None
        )
        self._point = about
        self.history.record(_undoable(self.state))
        self._write_controls()
        with self._writing():
            self.preset.value = -1
        self._text_read(reading)

    def _not_read(self, error: Exception) -> None:
        self._hide_reading()
        self._take_back()
        logging.getLogger(__name__).error("the explorer could not read the text", exc_info=error)
        self._fail(messages.failure(error))

    def _fail(self, notice: str) -> None:
        """Say why the picture is still the last one, until a text is read."""
        self._failure = notice
        self._draw_notice()

    def cancel_reading(self) -> None:
        """Stop reading; the text and the mode that are shown stay."""
        self._reader.cancel()
        self._hide_reading()
        self._take_back()
        self._draw_notice()

    def _take_back(self) -> None:
        """Choose again the mode that is shown, and the text too where another was opened."""
        shown = self._read_state
        names = ["mode", "chunk_size"]
        if self.state.before != shown.before:
            names += ["before", "text", "token", "cell", "compare"]
        self.state = replace(self.state, **{name: getattr(shown, name) for name in names})
        self.history.amend(_undoable(self.state))
        self._write_controls()

    def _tell_reading(self, done: int, total: int) -> None:
        self.reading.max, self.reading.value = max(1, total), done
        self.read_share.value = messages.reading(done, total)
        self._reading_row.layout.display = ""

    def _hide_reading(self) -> None:
        self._reading_row.layout.display = "none"

    def _start_work(self) -> None:
        if self.trace is None:
            self.stop()
        else:
            self._job.submit(self._run_work)

    def _run_work(self, current: Callable[[], bool] = lambda: True) -> None:
        """Do the slow work; give way, in the middle of a pass too, once it is outdated."""

        def give_way(*_published: Any) -> None:
            if not current():
                raise OutdatedError

        try:
            with listening(give_way, keeps=False):
                self._work(current)
        except OutdatedError:
            return
        except Exception as error:
            if not current():  # the text was edited: its trace answers no more
                return
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("the explorer could not measure %s", self.state)
            self.notice.value = messages.failure(error)
            self._work_failed()

    def _in_all_modes(self, trace: Trace) -> Iterator[tuple[str, Trace]]:
        """(mode, the same text in it): the modes that were not run yet are run now."""
        for mode in MODES:
            yield mode, trace if mode == trace.mode else self._traces.other_mode(trace, mode)

    def _work_failed(self) -> None:
        """Take back what says that work is being done."""

    def settle(self) -> None:
        """Do now what would be done after a pause in the typing. For tests and scripts."""
        self._reader.wait()
        self.stop()
        self._run_work()

    def stop(self) -> None:
        """Forget the work that would run after a pause."""
        self._job.drop()

    # -- the selection ----------------------------------------------------------------------

    @property
    def selected(self) -> int:
        """The selected token: the chosen one, else the last; -1 for an empty text."""
        if self.trace is None:
            return -1
        return self.state.selected_of(self.trace.length)

    def _draw_notice(self) -> None:
        self.notice.value = self._failure or messages.notice(
            self.trace, self._refusal or self._cut, self._point, self._recomputed
        )

    def _draw_strip(self, heads: list[int]) -> None:
        """The tokens, shaded by what the selected one retains of each: the mean over `heads`."""
        shown, selected = self.trace, self.selected
        with self._writing(), self.strip.hold_sync():
            self.strip.selected = selected
            if shown is None:
                self.strip.tokens, self.strip.weights, self.strip.shades = [], b"", b""
                self.strip.first = self.strip.length = 0
                self._strip_of = None
                self.strip.title, self.strip.note = "Tokens", ""
                return
            window = self._strip_window(shown.length)
            if self._strip_of != (shown, window):
                self._strip_of = shown, window
                pieces = shown.pieces(window.start, window.stop)
                self.strip.tokens = [visible(piece) for piece in pieces]
                self.strip.first, self.strip.length = window.start, shown.length
            self.strip.title = messages.strip_title(shown, selected)
            if not self._has_layer():
                self.strip.shades = self.strip.weights = b""
                self.strip.note = messages.strip_window(window, shown.length)
                return
            heads_read = strip(shown, self.state.layer, heads, selected, self.state.scale, window)
            for name, value in heads_read.items():
                setattr(self.strip, name, value)

    def _has_layer(self) -> bool:
        """Whether the chosen layer can be looked at without a wait."""
        return True

    def _strip_window(self, length: int) -> range:
        """The tokens that the strip shows: all, or those around the selected one.

        It moves by half its width only, so that neither a step nor a typed token moves what stands.
        """
        if length <= _STRIP:
            return range(length)
        half = _STRIP // 2
        start = max(0, (self.selected + half // 2) // half - 1) * half
        return range(start, min(start + _STRIP, length))


def _undoable(state: ExplorerState) -> ExplorerState:
    """What of a state is undone: all but the theme."""
    return replace(state, theme="auto")
