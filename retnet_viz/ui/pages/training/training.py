"""Training live: a tiny RetNet learns a task before one's eyes, and its gammas can be dragged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as w
from torch import Tensor

from retnet_viz.experiments import TASKS, Report, TinyTraining
from retnet_viz.experiments.learning.learner import TinyTrainingError
from retnet_viz.experiments.learning.tiny_training import (
    HEADS,
    LONGEST,
    SHORTEST,
)
from retnet_viz.figures.experiments.learning import (
    accuracy_by_lag,
    heads_by_lag,
    learning_curve,
)
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import AppPage, area, group
from retnet_viz.ui.core.background import MainThread
from retnet_viz.ui.pages.training import training_messages
from retnet_viz.ui.pages.training.example_view import ExampleView
from retnet_viz.ui.pages.training.gamma_controls import GammaControls
from retnet_viz.ui.pages.training.trainer import Trainer
from retnet_viz.ui.pages.training.training_state import APP, MAPS, MOST_SEED, TrainingState
from retnet_viz.ui.panels.plots.plot import Plot

_SILENCE = 150.0  # seconds without a sign of the page, hidden ones give one a minute
_SAME_CHANGE = 2.0  # seconds in which changes of gamma are one gesture
_PLAY, _PAUSE = "▶ Play", "❚❚ Pause"


def practice(
    task: str = "copy",
    seed: int = 0,
    *,
    present: bool = False,
    height: int | None = None,
    **fields: Any,
) -> Training:
    """A tiny RetNet that learns `task` as a widget, not yet playing.

    `present` is for a projector; a page of a `height`, in pixels, scrolls in its own box. `fields`
    are those of TrainingState: half_lives, learned, ... Raises ValueError where a field is out of
    range.
    """
    board = Training(TrainingState(task, seed, **fields))
    board.arrange(present=present, height=height)
    return board


class Training(AppPage):
    """A page over one training run.

    `state` is what the user chose, `practice` the run, `report` what the model did last, which is
    what all panels show.
    """

    app = "training.ipynb"
    part = APP
    help_words = training_messages.HELP

    def __init__(self, state: TrainingState) -> None:
        self.state = state.checked()
        self._main_thread = MainThread()
        self._accuracy_before: tuple[float, ...] | None = (
            None  # accuracies before a gamma was changed
        )
        self._changed_at = -_SAME_CHANGE
        super().__init__()
        self._start()
        self._listen()

    # -- building ---------------------------------------------------------------------------

    def _areas(self) -> list[Any]:
        self.task = w.ToggleButtons(options=[(task.title, name) for name, task in TASKS.items()])
        self.task.add_class("rv-views")
        self.play_button = w.Button(description=_PLAY, tooltip="Train, until it is paused")
        self.play_button.add_class("rv-play-button")
        self.step_button = w.Button(description="Step", tooltip="Take one training step")
        self.reset_button = w.Button(
            description="Reset", tooltip="Forget what was learned; the γ and the seed stay"
        )
        self.seed = w.BoundedIntText(min=0, max=MOST_SEED, description="seed")
        self.status = w.HTML()
        self.status.add_class("rv-status")
        self.notice = w.HTML()
        self.notice.add_class("rv-notice")
        self.notice.add_class("rv-grow")
        self.shown = w.ToggleButtons(options=list(MAPS))
        self.shown.add_class("rv-maps")
        self.layer = w.ToggleButtons(options=[("0", 0)])
        self.layer.add_class("rv-head-choices")
        self.curve, self.lags, self.heads = Plot(), Plot(), Plot()
        self.gammas, self.example = GammaControls(), ExampleView()
        controls = w.HBox(
            [
                self.task,
                self.play_button,
                self.step_button,
                self.reset_button,
                self.seed,
                self.status,
            ]
        )
        choices = [self.notice, group("heads:", self.shown), group("layer", self.layer)]
        return [
            self._head("", HEADS),
            area("control", controls),
            area("rule", w.HBox(choices)),
            area("curve", self.curve),
            area("lags", self.lags),
            area("heads", self.heads),
            area("gammas", self.gammas.box),
            area("example", w.VBox([self.example.strip, self.example.question])),
            area("matrix", self.example.matrix),
        ]

    def _listen(self) -> None:
        super()._listen()
        self.play_button.on_click(lambda _: self._safely(self._play_or_pause))
        self.step_button.on_click(lambda _: self._safely(self.step))
        self.reset_button.on_click(lambda _: self._safely(self.reset))
        for control, name in (
            (self.task, "task"),
            (self.seed, "seed"),
            (self.shown, "shown"),
            (self.layer, "layer"),
        ):
            self._bind(control, name)
        self.gammas.listen(
            self._on_half_life,
            lambda: self._update_state(learned=self.gammas.learned),
            lambda half_lives: self._update_state(half_lives=half_lives),
        )
        for panel in (self.example.strip, self.example.matrix):
            panel.observe(lambda change: self._select(change["new"]), "selected")

    def _apply_theme(self) -> None:
        self._draw_gammas()
        self._draw()

    # -- the run ----------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether the model trains on by itself."""
        return self._trainer.playing

    def play(self) -> None:
        """Train until `pause`, `reset`, or another task or seed is chosen."""
        self._failure = ""
        self._trainer.play()
        self._write_status()

    def pause(self) -> None:
        """Stop training, and show what the model does now."""
        if self.playing:
            self._trainer.pause()
            self._write_status("pausing")  # at once: a report takes a moment
            self._observe()

    def stop(self) -> None:
        """Stop training and draw nothing more."""
        self._trainer.pause()

    def step(self) -> None:
        """Take one training step; pauses first."""
        self._trainer.pause()
        self._failure = ""
        self.practice.step()
        self._observe()

    def reset(self) -> None:
        """Start anew, paused, with the same task, seed and half-lives."""
        self._trainer.pause()
        self._start()

    def settle(self) -> None:
        """Show what was reported. For tests and scripts, where no event loop does."""
        self._main_thread.settle()

    def _start(self) -> None:
        state = self.state
        self.practice = TinyTraining(state.task, state.seed, state.half_lives)
        self.practice.set_free(state.learned)
        self._trainer = Trainer(
            self.practice,
            self._main_thread,
            self._show_report,
            self._fail,
            self._abandon,
            self._is_watched,
        )
        self._failure = ""
        self._accuracy_before = None
        self._without: Tensor | None = None
        self.example.begin(self.practice)
        self._observe()
        self._write_controls()

    def _observe(self) -> None:
        self._trainer.wants_heads = self.state.shown == MAPS[1]
        self._show_report(*self._trainer.observe())

    def _show_report(self, report: Report, without: Tensor | None) -> None:
        """Show what the model did; the map keeps what it knows until a newer one is measured."""
        self.report = report
        if without is not None or not self._trainer.wants_heads:
            self._without = without
        if self.state.learned:
            self.state = replace(self.state, half_lives=report.half_lives)
            self._write_gammas()
        self._draw()

    def _fail(self, error: Exception) -> None:
        self._trainer.pause()
        if not isinstance(error, TinyTrainingError):
            logging.getLogger(__name__).error("the training failed", exc_info=error)
        self._failure = (
            str(error) if isinstance(error, TinyTrainingError) else training_messages.stopped(error)
        )
        self._write_status()

    def _abandon(self) -> None:
        self._trainer.pause()
        self._failure = "Paused: for minutes there was no sign of this page. Play goes on."
        self._write_status()

    def _is_watched(self) -> bool:
        heard = self.page.last_ping
        return heard is None or time.monotonic() - heard < _SILENCE

    def _play_or_pause(self) -> None:
        if self.playing:
            self.pause()
        else:
            self.play()

    # -- choices ----------------------------------------------------------------------------

    def apply_state(self, state: TrainingState) -> None:
        """Show `state`, anew where task or seed are new; ValueError where a field cannot be."""
        before, self.state = self.state, state.checked()
        if (before.task, before.seed) != (self.state.task, self.state.seed):
            self.reset()
            return
        for head, value in enumerate(self.state.half_lives):
            if value != before.half_lives[head]:
                self._keep_accuracies()
                self.practice.set_half_life(head, value)
        if before.learned != self.state.learned:
            self.practice.set_free(self.state.learned)
        self._write_controls()
        new_gammas = before.half_lives != self.state.half_lives
        if before.shown != self.state.shown or (new_gammas and not self.playing):
            self._observe()  # while it plays the next report comes soon
        elif before.layer != self.state.layer:
            self._draw_example()
            self._draw_gammas()

    def _show_link_message(self, message: str) -> None:
        self._failure = message
        self._write_status()

    def _update_state(self, **fields: Any) -> None:
        if not self._is_writing:
            self._safely(lambda: self.apply_state(replace(self.state, **fields)))

    def _on_half_life(self, head: int, value: float) -> None:
        half_lives = list(self.state.half_lives)
        half_lives[head] = min(max(value, SHORTEST), LONGEST)
        self._update_state(half_lives=tuple(half_lives))

    def _safely(self, action: Callable[[], None]) -> None:
        """Do what a control asks for; nobody sees what a callback raises, so the page says it."""
        try:
            action()
        except Exception as error:
            self._fail(error)

    def _keep_accuracies(self) -> None:
        """Keep the accuracies from before a change of gamma, or before the first of a gesture."""
        now = time.monotonic()
        if now - self._changed_at >= _SAME_CHANGE and self.report.step > 0:
            self._accuracy_before = self.report.by_group
        self._changed_at = now

    def _select(self, token: int) -> None:
        if not self._is_writing and 0 <= token < self.practice.task.length:
            self.example.token = token
            self._draw_example()

    # -- drawing ----------------------------------------------------------------------------

    def _write_controls(self) -> None:
        state, model = self.state, self.practice.model
        layers = model.config.n_layers
        with self._writing():
            self.task.value, self.seed.value = state.task, state.seed
            self.shown.value, self.theme.value = state.shown, state.theme
            self.page.theme = state.theme
            options = [(str(layer), layer) for layer in range(layers)]
            if tuple(self.layer.options) != tuple(options):
                self.layer.options = options
            self.layer.value = state.layer
            self._write_gammas()
            self._write_brand(
                f"{model.n_parameters:,} parameters, {messages.layers(layers)}, {HEADS} heads",
                HEADS,
            )

    def _write_gammas(self) -> None:
        with self._writing():
            self._write_link()
            self._draw_gammas()
            self.gammas.write(self.state)

    def _draw(self) -> None:
        theme, task = self.page.shown, self.practice.task
        self.curve.show(learning_curve.spec(self.report, theme=theme))
        self.lags.show(
            accuracy_by_lag.spec(task, self.report, before=self._accuracy_before, theme=theme)
        )
        self.heads.show(heads_by_lag.spec(task, self.report, without=self._without, theme=theme))
        self._draw_example()
        if self.report.mamba is not None:
            self._draw_gammas()
        self._write_status()

    def _write_status(self, doing: str = "") -> None:
        """What the trainer does, or is `doing` for a moment."""
        playing = self.playing
        self.play_button.description = _PAUSE if playing else _PLAY
        doing = doing or ("training" if playing else "paused")
        self.status.value = training_messages.status(self.report, doing)
        task = self.practice.task
        self.notice.value = training_messages.notice(task, self._failure)

    def _draw_example(self) -> None:
        with self._writing():
            self.example.draw(self.report, self.state.layer)

    def _draw_gammas(self) -> None:
        self.gammas.draw(self.practice, self.report, self.state, self.page.shown)
