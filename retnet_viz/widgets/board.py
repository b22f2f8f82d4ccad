"""What every explorer is made of: a text, a mode, a model that reads it, one selection."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, ClassVar

import ipywidgets as w
import torch

from retnet_viz.figures.scale import SCALES, color_scale, raster
from retnet_viz.figures.theme import DIVERGING, color_table, head_color
from retnet_viz.figures.tokens import visible
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace, trace
from retnet_viz.widgets import readout
from retnet_viz.widgets.background import LatestJob
from retnet_viz.widgets.page import Page
from retnet_viz.widgets.presets import PRESETS
from retnet_viz.widgets.stage import Stage
from retnet_viz.widgets.state import (
    CLOCKS,
    GAINS,
    MAX_CHARACTERS,
    MAX_CHUNK,
    PRECISIONS,
    SWITCHES,
    THEME_CHOICES,
    VIEWS,
    ExplorerState,
)
from retnet_viz.widgets.token_strip import TokenStrip

EMPTY = "No text yet: type a sentence above, or take a preset, and the model will read it."
_READ = {"text", "mode", "chunk_size"}
_SELECTED = {"token", "cell"}


class Board(w.VBox):
    """A page of panels over one text. A subclass builds the panels and draws them.

    `state` is what the user chose, `trace` the forward pass that is shown (None for an empty
    text). `apply_state` does what the controls do.
    """

    app: ClassVar[str]  # the file name of the app that shows this board
    max_tokens: ClassVar[int]
    job_pause: ClassVar[float] = 0.35  # seconds without an edit before slow work begins

    def __init__(self, model: RetNet, state: ExplorerState) -> None:
        if model.tokenizer is None:
            raise ValueError("the explorer needs a model with a tokenizer")
        self.model = model
        self.trace: Trace | None = None
        self.state = _checked(state, model)
        self._cut = ""
        self._point = ""
        self._setting = False
        self._strip_of: Trace | None = None  # whose tokens the strip shows
        self._job = LatestJob(self.job_pause)
        self._build_controls()
        grid = w.Box(self._build_panels())
        grid.add_class("rv-grid")
        super().__init__([self.page, grid, self.help_text])
        self.add_class("rv-explorer")
        self._write_controls()
        self._read_text()
        self._listen()

    # -- what a subclass gives --------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        """The areas of the grid."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Draw every panel anew."""
        raise NotImplementedError

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
        self.mode = w.ToggleButtons(options=[(mode.capitalize(), mode) for mode in MODES])
        self.mode.add_class("rv-modes")
        self.chunk = w.IntSlider(min=1, max=64, description="chunk size")
        self.layer = w.IntSlider(min=0, max=config.n_layers - 1, description="layer")
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

    def _head(self, *controls: Any) -> Any:
        """The page's first line."""
        config = self.model.config
        brand = w.HTML(
            f"<style>{_head_colors(config.n_heads)}</style>"
            f'<span class="rv-brand">RetNet Explorer</span> {readout.apps(self.app)}'
            f'<span class="rv-model">{self.model.n_parameters / 1e6:.1f} M parameters, '
            f"{config.n_layers} layers, {config.n_heads} heads</span>"
        )
        brand.add_class("rv-grow")
        return area("head", w.HBox([brand, *controls, self.preset, self.theme, self.help]))

    def _listen(self) -> None:
        self._bind(self.text, "text")
        self._bind(self.mode, "mode")
        self._bind(self.chunk, "chunk_size")
        self._bind(self.layer, "layer")
        self._bind(self.scale, "scale")
        self._bind(self.theme, "theme")
        self._bind(self.strip, "token", "selected")
        self.preset.observe(self._preset_chosen, "value")
        self.page.observe(lambda _: self._draw(), "shown")
        self.help.observe(self._help_toggled, "value")

    def _bind(self, control: Any, field: str, trait: str = "value") -> None:
        """Take what a control's trait becomes as the user's choice of a field."""
        control.observe(lambda change: self._chosen(**{field: change["new"]}), trait)

    def _bind_stage(self, stage: Stage) -> None:
        """Take the stage's token and head as choices, unless they are of an earlier text."""

        def moved(change: Any) -> None:
            if self._setting or not stage.is_outdated:
                self._chosen(token=change["new"])
                return
            with self._writing():
                stage.token = self.selected

        stage.observe(moved, "token")
        self._bind(stage, "head", "head")

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: ExplorerState) -> None:
        """Show `state`; raises ValueError where a field is out of range."""
        before, self.state = self.state, _checked(state, self.model)
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

    def open_link(self, query: str) -> None:
        """Show the state that a link's query holds; whatever it lacks stays as it is now."""
        chosen = ExplorerState.fields_of(query)
        if chosen:
            self.apply_state(replace(ExplorerState(), **chosen).fitted(self.model.config))

    def _chosen(self, **chosen: Any) -> None:
        if self._setting:
            return
        if "text" in chosen:  # a selection belongs to the text that it was made in
            chosen |= {"token": None, "cell": None, "compare": None}
            self._point = ""
            self.preset.value = -1
        self._try_state(replace(self.state, **chosen))

    def _try_state(self, state: ExplorerState) -> None:
        try:
            self.apply_state(state)
        except Exception as error:
            # Nobody sees what a callback raises: say it on the page, and leave the panels alone.
            logging.getLogger(__name__).exception("the explorer could not show %s", state)
            self.notice.value = readout.failure(error)
        else:
            self._draw_notice()  # a point may be new where nothing else is

    def _preset_chosen(self, change: Any) -> None:
        if change["new"] < 0:
            return
        preset = PRESETS[change["new"]]
        self._point = preset.point
        # A preset's layer may be one that a smaller model lacks.
        self._try_state(self._with_preset(preset.state).fitted(self.model.config))

    def _with_preset(self, preset: ExplorerState) -> ExplorerState:
        """The state that choosing a preset leads to."""
        head = preset.heads[0] if preset.heads else 0
        return replace(preset, head=head, theme=self.state.theme)

    def _help_toggled(self, change: Any) -> None:
        self.help_text.layout.display = "" if change["new"] else "none"

    @contextmanager
    def _writing(self) -> Any:
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        state = self.state
        with self._writing():
            self.text.value = state.text
            self.mode.value = state.mode
            self.chunk.max = max(self.chunk.max, state.chunk_size)
            self.chunk.value = state.chunk_size
            self.layer.value = state.layer
            self.scale.value = state.scale
            self.theme.value = self.page.theme = state.theme
            self.page.query = state.query()

    # -- running ----------------------------------------------------------------------------

    def _read_text(self) -> None:
        """Read the text in the chosen mode, and draw everything."""
        state = self.state
        ids = self.model.tokenizer.encode(state.text[:MAX_CHARACTERS])
        self._cut = ""
        if len(ids) > self.max_tokens or len(state.text) > MAX_CHARACTERS:
            total = "more" if len(state.text) > MAX_CHARACTERS else f"{len(ids):,}"
            self._cut = (
                f"Only the first {self.max_tokens:,} tokens are shown; the text has {total}."
            )
            ids = ids[: self.max_tokens]
        self.trace = (
            trace(self.model, torch.tensor(ids), state.mode, state.chunk_size) if ids else None
        )
        self._draw()
        self._start_work()

    def _start_work(self) -> None:
        if self.trace is None:
            self._job.drop()
        else:
            self._job.submit(self._run_work)

    def _run_work(self, current: Callable[[], bool] = lambda: True) -> None:
        """Do the slow work; give way, in the middle of a pass too, once it is outdated."""

        def give_way(_name: str, _tensor: torch.Tensor) -> None:
            if not current():
                raise OutdatedError

        try:
            with listening(give_way):
                self._work(current)
        except OutdatedError:
            self._work_dropped()
        except Exception as error:
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("the explorer could not measure %s", self.state)
            self.notice.value = readout.failure(error)
            self._work_failed()

    def _work_dropped(self) -> None:
        """Called in the thread whose work was outdated, once it has stopped."""

    def _work_failed(self) -> None:
        """Take back what says that work is being done."""

    def settle(self) -> None:
        """Do now what would be done after a pause in the typing. For tests and scripts."""
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
        last = self.trace.length - 1
        return last if self.state.token is None else min(self.state.token, last)

    def _draw_notice(self) -> None:
        self.notice.value = readout.notice(self.trace, self._cut, self._point)

    def _draw_strip(self, heads: list[int]) -> None:
        """The tokens, shaded by what the selected one retains of each: the mean over `heads`."""
        shown, selected = self.trace, self.selected
        with self._writing(), self.strip.hold_sync():
            self.strip.selected = selected
            if shown is None:
                self.strip.tokens, self.strip.weights, self.strip.shades = [], b"", b""
                self._strip_of = None
                self.strip.title, self.strip.note = "Tokens", ""
                return
            row = slice(selected, selected + 1)
            mean = shown.retention(self.state.layer, rows=row)[heads, 0].mean(0).float().numpy()
            scale = color_scale(mean[: selected + 1], self.state.scale, signed=True)
            places = raster(mean, scale)
            places[selected + 1 :] = 0
            if self._strip_of is not shown:
                self._strip_of = shown
                self.strip.tokens = [visible(token) for token in shown.tokens]
            self.strip.shades = places.tobytes()
            self.strip.weights = mean[: selected + 1].tobytes()
            self.strip.title = readout.strip_title(shown, selected)
            self.strip.note = readout.strip_note(shown, self.state.layer, heads)


class OutdatedError(Exception):
    """The text has changed while it was measured."""


def area(name: str, widget: Any) -> Any:
    """`widget` in the grid's area `name`."""
    widget.add_class(f"rv-area-{name}")
    return widget


def group(label: str, *controls: Any) -> Any:
    """Controls behind a label."""
    box = w.HBox([w.HTML(html.escape(label)), *controls])
    box.add_class("rv-group")
    return box


def _checked(state: ExplorerState, model: RetNet) -> ExplorerState:
    """`state`, or ValueError with a sentence where the API was given what no control can."""
    fitted = state.fitted(model.config)
    tops = {
        "chunk_size": (1, MAX_CHUNK),
        "layer": (0, model.config.n_layers - 1),
        "head": (0, model.config.n_heads - 1),
        "gain": GAINS,
    }
    for name in ("token", "compare"):
        if (getattr(state, name) or 0) < 0:
            raise ValueError(f"{name} must be 0 or more, not {getattr(state, name)!r}")
    unknown = [name for name in state.without if name not in SWITCHES]
    if unknown:
        raise ValueError(f"without must name some of {SWITCHES}, not {unknown[0]!r}")
    for name, (low, top) in tops.items():
        if getattr(fitted, name) != getattr(state, name):
            raise ValueError(f"{name} must lie in {low} .. {top}, not {getattr(state, name)!r}")
    for name, allowed in (
        ("mode", MODES),
        ("scale", SCALES),
        ("theme", THEME_CHOICES),
        ("view", VIEWS),
        ("precision", PRECISIONS),
        ("clock", CLOCKS),
    ):
        if getattr(state, name) not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, not {getattr(state, name)!r}")
    return fitted


def _head_colors(count: int) -> str:
    return "".join(f".rv-head-{head}{{--rv-head:{head_color(head)}}}" for head in range(count))
