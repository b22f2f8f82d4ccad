"""What generating costs: three models measured side by side, a calculator, the paper's claims."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import ipywidgets as w

from retnet_viz.checkpoints import load_shipped
from retnet_viz.experiments import Point, generation_cost
from retnet_viz.experiments.cost_model import (
    CARDS,
    KINDS,
    PRECISIONS,
    SIZES,
    Card,
    Size,
)
from retnet_viz.experiments.generation_cost import positions
from retnet_viz.experiments.speed.machine import THIS_MACHINE, measured_card
from retnet_viz.figures.experiments.context_memory import memory, short
from retnet_viz.figures.experiments.generation_cost import state_size, step_time
from retnet_viz.model import LanguageModel
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import AppPage, area, bar, group
from retnet_viz.ui.core.background import LatestJob, OutdatedError
from retnet_viz.ui.pages.cost import cost_messages
from retnet_viz.ui.pages.cost.cost_state import APP, CONTEXTS, MOST_ROWS, REACHES, THESE, CostState
from retnet_viz.ui.panels.plots.plot import Plot

Models = Mapping[str, LanguageModel[Any]]


def cost(
    models: Models | None = None,
    *,
    present: bool = False,
    height: int | None = None,
    **fields: Any,
) -> Cost:
    """What generating costs, as a widget, over `models` by kind (RetNet, Transformer, Mamba).

    By default they are the shipped ones. `present` is for a projector; a page of a `height`, in
    pixels, scrolls in its own box. `fields` are those of CostState. Raises ValueError where one is
    out of range, or where `models` has other names, or none.
    """
    board = Cost(load_shipped() if models is None else models, CostState(**fields))
    board.arrange(present=present, height=height)
    return board


class Cost(AppPage):
    """The dashboard: `state` is what the user chose, `points` what was measured last, by model.

    `start` measures in a thread, `stop` ends that within a step; `settle` waits for it.
    """

    app = "cost.ipynb"
    part = APP
    help_words = cost_messages.HELP
    redraw_pause: ClassVar[float] = 0.25  # seconds between two drawings while it measures

    def __init__(self, models: Models, state: CostState) -> None:
        unknown = [name for name in models if name not in KINDS]
        if unknown or not models:
            raise ValueError(f"models must be some of {', '.join(KINDS)} by name, not {unknown}")
        self.models = dict(models)
        self.state = state
        self.points: dict[str, list[Point]] = {name: [] for name in models}
        self.reach = state.reach  # of the last run
        self._these = Size(THESE, {name: model.config for name, model in models.items()})
        self._machine: Card | None = None  # once it has been measured
        self._job, self._card_job = LatestJob(0.0), LatestJob(0.0)
        self._calculator_lock = threading.Lock()  # the card is measured in a thread
        self._measurement_lock = (
            threading.Lock()
        )  # one measurement at a time, or they slow each other
        super().__init__()
        self._write_controls()
        self._show_progress("")
        self._draw()
        self._listen()

    # -- building ---------------------------------------------------------------------------

    def _areas(self) -> list[Any]:
        return [
            self._head("what generating a token costs", 0),
            *self._build_run(),
            *self._build_calculator(),
        ]

    def _build_run(self) -> list[Any]:
        self.run = w.Button(description="Start", layout={"width": "90px"})
        self.run.add_class("rv-run")
        self.reach_buttons = w.ToggleButtons(options=[(f"{reach:,}", reach) for reach in REACHES])
        self.reach_buttons.add_class("rv-scales")
        self.progress = w.IntProgress(max=1, layout={"width": "160px"})
        self.activity = w.HTML()
        self.activity.add_class("rv-doing")
        controls = bar(
            w.HTML("<b>Measured here</b>"),
            self.run,
            group("up to position", self.reach_buttons),
            self.progress,
            self.activity,
        )
        self.now = _panel()
        self.times, self.sizes = Plot(), Plot()
        return [
            area("run", controls),
            area("now", self.now),
            area("times", self.times),
            area("sizes", self.sizes),
        ]

    def _build_calculator(self) -> list[Any]:
        self.size = w.ToggleButtons(options=[*SIZES, THESE])
        self.size.add_class("rv-sizes")
        self.context = w.SelectionSlider(
            options=[(short(context), context) for context in CONTEXTS], description="context"
        )
        self.batch = w.BoundedIntText(
            min=1, max=MOST_ROWS, description="batch", layout={"width": "120px"}
        )
        self.precision = w.Dropdown(options=list(PRECISIONS), description="numbers")
        self.card = w.Dropdown(options=[*CARDS, THIS_MACHINE], description="card")
        controls = bar(
            w.HTML("<b>Calculator</b>"),
            self.size,
            self.context,
            self.batch,
            self.precision,
            self.card,
        )
        self.memory = Plot()
        self.estimates, self.claims = _panel(), _panel()
        self.claims.value = cost_messages.claims()
        return [
            area("calc", controls),
            area("held", self.memory),
            area("estimates", self.estimates),
            area("claims", self.claims),
        ]

    def _listen(self) -> None:
        super()._listen()
        for control, field in self._controls():
            self._bind(control, field)
        self.run.on_click(lambda _: self.stop("cancelled") if self.is_running else self.start())

    def _controls(self) -> list[tuple[Any, str]]:
        return [
            (self.reach_buttons, "reach"),
            (self.size, "size"),
            (self.context, "context"),
            (self.batch, "batch"),
            (self.precision, "precision"),
            (self.card, "card"),
        ]

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: CostState) -> None:
        """Show `state`."""
        self.state = state
        self._write_controls()
        self._draw_calculator()

    def _show_link_message(self, message: str) -> None:
        self.activity.value = messages.warning(message)

    def _update_state(self, **fields: Any) -> None:
        if not self._is_writing:
            self.apply_state(replace(self.state, **fields))

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        with self._writing():
            for control, field in self._controls():
                control.value = getattr(self.state, field)
            self.theme.value = self.page.theme = self.state.theme
        self._write_link()

    # -- measuring --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the models are generating."""
        return bool(self.run.description == "Cancel")

    def start(self) -> None:
        """Let the models generate up to the chosen position, in a thread."""
        with self._display_lock:
            self.points = {name: [] for name in self.models}
            self.reach = self.state.reach
            self._show_progress("starting", 0, 1)
            self._draw_measured()
        self._job.submit(self._measure)

    def stop(self, text: str = "") -> None:
        """End the measurement; what it found stays, and nothing of it comes after this."""
        with self._display_lock:
            self._job.cancel()
            if self.is_running:
                self._draw_measured()
            self._show_progress(text)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is measured. For tests and scripts."""
        until = time.monotonic() + timeout
        while (self.is_running or self.memory.stale) and time.monotonic() < until:
            time.sleep(0.01)

    def _measure(self, is_current: Callable[[], bool]) -> None:
        last_report = last_drawing = 0.0
        n_positions = len(positions(self.reach))

        def tell(done: int, total: int) -> None:
            nonlocal last_report
            if not is_current():
                raise OutdatedError
            now = time.monotonic()
            if now - last_report >= self.redraw_pause:
                last_report = now
                measured = len(next(iter(self.points.values())))
                with self._while_current(is_current):
                    self._show_progress(
                        f"{measured} of {n_positions} positions measured", done, total
                    )

        try:
            with self._measurement_lock:
                for points in generation_cost(self.models, self.reach, tell):
                    with self._while_current(is_current):
                        for name, point in points.items():
                            self.points[name].append(point)
                        if time.monotonic() - last_drawing >= self.redraw_pause:
                            self._draw_measured()
                            last_drawing = time.monotonic()
            with self._while_current(is_current):
                self._draw_measured()
                self._show_progress(f"measured up to position {self.reach:,}")
        except OutdatedError:
            return
        except Exception as error:
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("what generating costs could not be measured")
            with self._display_lock:
                if is_current():
                    self._show_progress("")
                    self.activity.value = messages.measurement_failure("Generating", error)

    def _show_progress(self, activity: str, done: int = 0, total: int = 0) -> None:
        """Say what is done, and how far; a `total` of 0 means that nothing is."""
        self.activity.value = messages.activity(activity)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.run.description = "Cancel" if total else "Start"

    # -- this machine -----------------------------------------------------------------------

    def _measure_machine(self, is_current: Callable[[], bool]) -> None:
        try:
            with self._measurement_lock:
                if self._machine is None and is_current():
                    self._machine = measured_card()
        except Exception as error:
            logging.getLogger(__name__).exception("this machine could not be measured")
            with self._calculator_lock:
                self.memory.stale = False
                self.estimates.value = messages.measurement_failure("This machine", error)
            return
        if is_current():
            self._draw_calculator()

    # -- drawing ----------------------------------------------------------------------------

    def _apply_theme(self) -> None:
        self._draw()

    def _draw(self) -> None:
        with self._display_lock:
            self._draw_measured()
        self._draw_calculator()

    def _draw_measured(self) -> None:
        theme = self.page.shown
        self.now.value = cost_messages.models_now(self.models, self.points)
        self.times.show(step_time.spec(self.points, self.reach, theme=theme))
        dtype = next(iter(self.models.values())).embedding.weight.dtype
        self.sizes.show(
            state_size.spec(self.points, self._these.configs, dtype, self.reach, theme=theme)
        )

    def _draw_calculator(self) -> None:
        with self._calculator_lock:
            state = self.state
            card = self._machine if state.card == THIS_MACHINE else CARDS[state.card]
            self.memory.stale = card is None
            if card is None:  # the last picture stays until it is known
                self._card_job.submit(self._measure_machine)
                return
            size = self._these if state.size == THESE else SIZES[state.size]
            inputs = (size, state.context, state.batch, PRECISIONS[state.precision], card)
            self.memory.show(memory.spec(*inputs, theme=self.page.shown))
            self.estimates.value = cost_messages.estimates(*inputs)


def _panel() -> Any:
    panel = w.HTML()
    for name in ("rv-box", "rv-cost-panel"):
        panel.add_class(name)
    return panel
