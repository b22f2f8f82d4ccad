"""What generating costs: three models measured side by side, a calculator, the paper's claims."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import ipywidgets as w
import torch

from retnet_viz.baselines import MambaConfig, TransformerConfig
from retnet_viz.checkpoints import load_model, shipped
from retnet_viz.checkpoints.native import build
from retnet_viz.figures.generation_cost import state_size, step_time
from retnet_viz.figures.memory import memory, short
from retnet_viz.lab import Point, generation_cost
from retnet_viz.lab.cost_model import (
    CARDS,
    KINDS,
    MAMBA,
    PRECISIONS,
    RETNET,
    SIZES,
    TRANSFORMER,
    Card,
    Size,
)
from retnet_viz.lab.generation_cost import positions
from retnet_viz.lab.machine import THIS_MACHINE, measured_card
from retnet_viz.model import LanguageModel, RetNetConfig
from retnet_viz.widgets import cost_readout, readout
from retnet_viz.widgets.background import LatestJob
from retnet_viz.widgets.board import area, group
from retnet_viz.widgets.cost_state import CONTEXTS, MOST_ROWS, REACHES, THESE, CostState
from retnet_viz.widgets.page import Page
from retnet_viz.widgets.plot import Plot
from retnet_viz.widgets.reader import OutdatedError
from retnet_viz.widgets.state import THEME_CHOICES

Models = Mapping[str, LanguageModel[Any]]


def cost(models: Models | None = None, **chosen: Any) -> Cost:
    """What generating costs, as a widget, over `models` by kind (RetNet, Transformer, Mamba).

    By default they are the shipped ones, and where a kind is not shipped one of the same size with
    random weights. `chosen` are fields of CostState. Raises ValueError where one is out of range,
    or where `models` has other names, or none.
    """
    return Cost(shipped_models() if models is None else models, CostState(**chosen))


def shipped_models() -> dict[str, LanguageModel[Any]]:
    """A model of each kind: the trained one if there is one, else one with random weights."""
    kinds = {
        RETNET: ("retnet", RetNetConfig()),
        TRANSFORMER: ("transformer", TransformerConfig()),
        MAMBA: ("mamba", MambaConfig()),
    }
    folders = shipped()
    models: dict[str, LanguageModel[Any]] = {}
    for name, (kind, config) in kinds.items():
        if kind in folders:
            models[name] = load_model(folders[kind])
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models[name] = build(config).eval()
    return models


class Cost(w.VBox):
    """The dashboard: `state` is what the user chose, `points` what was measured last, by model.

    `start` measures in a thread, `stop` ends that within a step; `settle` waits for it.
    """

    app: ClassVar[str] = "cost.ipynb"
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
        self._setting = False
        self._job, self._card_job = LatestJob(0.0), LatestJob(0.0)
        self._showing = threading.Lock()  # see _while_current
        self._calculating = threading.Lock()  # the card is measured in a thread
        self._benching = threading.Lock()  # one measurement at a time, or they slow each other
        self._build()
        grid = w.Box(
            [self._head(), self._run_bar, *self._run_panels, self._calc_bar, *self._calc_panels]
        )
        grid.add_class("rv-grid")
        super().__init__([self.page, grid, self.help_text])
        for name in ("rv-explorer", "rv-cost-board"):
            self.add_class(name)
        self._write_controls()
        self._tell("")
        self._draw()
        self._listen()

    # -- building ---------------------------------------------------------------------------

    def _build(self) -> None:
        self.page = Page()
        self.theme = w.Dropdown(
            options=[(f"theme: {choice}", choice) for choice in THEME_CHOICES],
            layout={"width": "120px"},
        )
        self.help = w.ToggleButton(
            description="?", tooltip="What is this?", layout={"width": "34px"}
        )
        self.help_text = w.HTML(cost_readout.HELP, layout={"display": "none"})
        self.help_text.add_class("rv-help")
        self._build_run()
        self._build_calculator()

    def _build_run(self) -> None:
        self.run = w.Button(description="Start", layout={"width": "90px"})
        self.run.add_class("rv-run")
        self.reaching = w.ToggleButtons(options=[(f"{reach:,}", reach) for reach in REACHES])
        self.reaching.add_class("rv-scales")
        self.progress = w.IntProgress(max=1, layout={"width": "160px"})
        self.doing = w.HTML()
        self.doing.add_class("rv-doing")
        self._run_bar = _bar(
            "run",
            w.HTML("<b>Measured here</b>"),
            self.run,
            group("up to position", self.reaching),
            self.progress,
            self.doing,
        )
        self.now = _panel()
        self.times, self.sizes = Plot(), Plot()
        self._run_panels = [
            area("now", self.now),
            area("times", self.times),
            area("sizes", self.sizes),
        ]

    def _build_calculator(self) -> None:
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
        self._calc_bar = _bar(
            "calc",
            w.HTML("<b>Calculator</b>"),
            self.size,
            self.context,
            self.batch,
            self.precision,
            self.card,
        )
        self.held = Plot()
        self.estimates, self.claims = _panel(), _panel()
        self.claims.value = cost_readout.claims()
        self._calc_panels = [
            area("held", self.held),
            area("estimates", self.estimates),
            area("claims", self.claims),
        ]

    def _head(self) -> Any:
        brand = w.HTML(
            f'<span class="rv-brand">RetNet Explorer</span> {readout.apps(self.app)}'
            '<span class="rv-model">what generating a token costs</span>'
        )
        brand.add_class("rv-grow")
        return area("head", w.HBox([brand, self.theme, self.help]))

    def _listen(self) -> None:
        for control, field in self._controls():
            control.observe(
                lambda change, field=field: self._chosen(**{field: change["new"]}), "value"
            )
        self.run.on_click(lambda _: self.stop("cancelled") if self.is_running else self.start())
        self.page.observe(lambda _: self._draw(), "shown")
        self.help.observe(self._help_toggled, "value")

    def _controls(self) -> list[tuple[Any, str]]:
        return [
            (self.reaching, "reach"),
            (self.size, "size"),
            (self.context, "context"),
            (self.batch, "batch"),
            (self.precision, "precision"),
            (self.card, "card"),
            (self.theme, "theme"),
        ]

    # -- events -----------------------------------------------------------------------------

    def apply_state(self, state: CostState) -> None:
        """Show `state`."""
        self.state = state
        self._write_controls()
        self._draw_calculator()

    def open_link(self, query: str) -> None:
        """Show the state that a link's query holds."""
        if query:
            self.apply_state(CostState.of(query))

    def _chosen(self, **chosen: Any) -> None:
        if not self._setting:
            self.apply_state(replace(self.state, **chosen))

    def _help_toggled(self, change: Any) -> None:
        self.help_text.layout.display = "" if change["new"] else "none"

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        self._setting = True
        try:
            for control, field in self._controls():
                control.value = getattr(self.state, field)
            self.page.theme, self.page.query = self.state.theme, self.state.query()
        finally:
            self._setting = False

    # -- measuring --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the models are generating."""
        return bool(self.run.description == "Cancel")

    def start(self) -> None:
        """Let the models generate up to the chosen position, in a thread."""
        with self._showing:
            self.points = {name: [] for name in self.models}
            self.reach = self.state.reach
            self._tell("starting", 0, 1)
            self._draw_measured()
        self._job.submit(self._measure)

    def stop(self, said: str = "") -> None:
        """End the measurement; what it found stays, and nothing of it comes after this."""
        with self._showing:
            self._job.drop()
            if self.is_running:
                self._draw_measured()
            self._tell(said)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is measured. For tests and scripts."""
        until = time.monotonic() + timeout
        while (self.is_running or self.held.stale) and time.monotonic() < until:
            time.sleep(0.01)

    def _measure(self, current: Callable[[], bool]) -> None:
        told = drawn = 0.0
        places = len(positions(self.reach))

        def tell(done: int, total: int) -> None:
            nonlocal told
            if not current():
                raise OutdatedError
            now = time.monotonic()
            if now - told >= self.redraw_pause:
                told = now
                measured = len(next(iter(self.points.values())))
                with self._while_current(current):
                    self._tell(f"{measured} of {places} positions measured", done, total)

        try:
            with self._benching:
                for points in generation_cost(self.models, self.reach, tell):
                    with self._while_current(current):
                        for name, point in points.items():
                            self.points[name].append(point)
                        if time.monotonic() - drawn >= self.redraw_pause:
                            self._draw_measured()
                            drawn = time.monotonic()
            with self._while_current(current):
                self._draw_measured()
                self._tell(f"measured up to position {self.reach:,}")
        except OutdatedError:
            return
        except Exception as error:
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("what generating costs could not be measured")
            with self._showing:
                if current():
                    self._tell("")
                    self.doing.value = cost_readout.failed("Generating", error)

    @contextmanager
    def _while_current(self, current: Callable[[], bool]) -> Iterator[None]:
        """Show something of the measurement, unless it was stopped."""
        with self._showing:
            if not current():
                raise OutdatedError
            yield

    def _tell(self, doing: str, done: int = 0, total: int = 0) -> None:
        """Say what is done, and how far; a `total` of 0 means that nothing is."""
        self.doing.value = cost_readout.doing(doing)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.run.description = "Cancel" if total else "Start"

    # -- this machine -----------------------------------------------------------------------

    def _measure_machine(self, current: Callable[[], bool]) -> None:
        try:
            with self._benching:
                if self._machine is None and current():
                    self._machine = measured_card()
        except Exception as error:
            logging.getLogger(__name__).exception("this machine could not be measured")
            with self._calculating:
                self.held.stale = False
                self.estimates.value = cost_readout.failed("This machine", error)
            return
        if current():
            self._draw_calculator()

    # -- drawing ----------------------------------------------------------------------------

    def _draw(self) -> None:
        with self._showing:
            self._draw_measured()
        self._draw_calculator()

    def _draw_measured(self) -> None:
        theme = self.page.shown
        self.now.value = cost_readout.models_now(self.models, self.points)
        self.times.show(step_time.spec(self.points, self.reach, theme=theme))
        dtype = next(iter(self.models.values())).embedding.weight.dtype
        self.sizes.show(
            state_size.spec(self.points, self._these.configs, dtype, self.reach, theme=theme)
        )

    def _draw_calculator(self) -> None:
        with self._calculating:
            state = self.state
            card = self._machine if state.card == THIS_MACHINE else CARDS[state.card]
            self.held.stale = card is None
            if card is None:  # the last picture stays until it is known
                self._card_job.submit(self._measure_machine)
                return
            size = self._these if state.size == THESE else SIZES[state.size]
            chosen = (size, state.context, state.batch, PRECISIONS[state.precision], card)
            self.held.show(memory.spec(*chosen, theme=self.page.shown))
            self.estimates.value = cost_readout.estimates(*chosen)


def _bar(name: str, *controls: Any) -> Any:
    bar = area(name, w.HBox(list(controls)))
    bar.add_class("rv-bar")
    return bar


def _panel() -> Any:
    panel = w.HTML()
    for name in ("rv-box", "rv-cost-panel"):
        panel.add_class(name)
    return panel
