"""The decays of a model in training: a half-life per head, frozen or learned, and what fades."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w
import numpy as np

from retnet_viz.experiments import Report, TinyTraining
from retnet_viz.experiments.learning.tiny_training import (
    HALF_LIVES,
    HEADS,
    LONGEST,
    SHORTEST,
    gamma_of,
    paper_half_lives,
)
from retnet_viz.figures.experiments.learning import decay_by_lag
from retnet_viz.figures.states.selection import selection
from retnet_viz.ui.core.app_page import group
from retnet_viz.ui.pages.training import training_messages
from retnet_viz.ui.pages.training.training_state import TrainingState
from retnet_viz.ui.panels.plots.plot import Plot

SCHEDULES = {
    "spread": HALF_LIVES,
    "the paper's": paper_half_lives(),
    "all short": (1.0,) * HEADS,
    "all long": (128.0,) * HEADS,
}


class GammaControls:
    """A row of controls for each head, buttons for all heads, and a figure of the decay."""

    def __init__(self) -> None:
        self.half_lives = [
            w.FloatLogSlider(
                base=2,
                min=np.log2(SHORTEST),
                max=np.log2(LONGEST),
                step=0.25,
                description=f"head {head}: half-life",
                readout_format=".3g",
            )
            for head in range(HEADS)
        ]
        self.gammas = [w.HTML() for _ in range(HEADS)]
        self.frozen = [
            w.ToggleButton(value=True, tooltip=f"head {head}: a frozen γ stays; else it is learned")
            for head in range(HEADS)
        ]
        rows = []
        for head in range(HEADS):
            row = w.HBox([self.half_lives[head], self.gammas[head], self.frozen[head]])
            row.add_class("rv-gamma-row")
            row.add_class(f"rv-head-{head}")
            rows.append(row)
        self.schedules = {
            name: w.Button(description=name, tooltip=training_messages.half_lives(values))
            for name, values in SCHEDULES.items()
        }
        self.explanation = w.HTML(training_messages.GAMMAS)
        self.explanation.add_class("rv-said-gammas")
        self.fading = Plot()
        self.box = w.VBox(
            [
                w.HTML('<span class="rv-name">Decay of each head, in all layers</span>'),
                *rows,
                group("all heads:", *self.schedules.values()),
                self.explanation,
                self.fading,
            ]
        )
        self.box.add_class("rv-box")

    def listen(
        self,
        drag: Callable[[int, float], None],
        freeze: Callable[[], None],
        choose: Callable[[tuple[float, ...]], None],
    ) -> None:
        """Call `drag(head, half-life)`, `freeze()` or `choose(half-lives)` for what a user does."""

        def on_drag(head: int, change: Any) -> None:
            drag(head, change["new"])

        def on_press(half_lives: tuple[float, ...], _button: Any) -> None:
            choose(half_lives)

        for head, (slider, toggle) in enumerate(zip(self.half_lives, self.frozen, strict=True)):
            slider.observe(partial(on_drag, head), "value")
            toggle.observe(lambda _: freeze(), "value")
        for name, button in self.schedules.items():
            button.on_click(partial(on_press, SCHEDULES[name]))

    @property
    def learned(self) -> tuple[int, ...]:
        """The heads whose decay is learned."""
        return tuple(head for head in range(HEADS) if not self.frozen[head].value)

    def write(self, state: TrainingState) -> None:
        """Make the controls show a state."""
        for head, toggle in enumerate(self.frozen):
            toggle.value = head not in state.learned
            toggle.description = "frozen" if toggle.value else "learned"
        for head, value in enumerate(state.half_lives):
            self.half_lives[head].value = value
            self.gammas[head].value = training_messages.gamma(gamma_of(value))

    def draw(
        self, practice: TinyTraining, report: Report, state: TrainingState, theme: str
    ) -> None:
        """What is left of a token; where a Mamba learns beside, what each token leaves in both."""
        task, mamba = practice.task, report.mamba
        # The picture of two models needs the room.
        self.explanation.layout.display = "" if mamba is None else "none"
        if mamba is None:
            self.fading.show(decay_by_lag.spec(state.half_lives, task.length, theme=theme))
            return
        self.fading.show(
            selection.spec(
                task, practice.example, report.half_lives, mamba, state.layer, theme=theme
            )
        )
