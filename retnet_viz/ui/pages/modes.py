"""The modes at work: one text in three modes, step by step, side by side, and what they carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import ipywidgets as w
import numpy as np
from torch import Tensor

from retnet_viz.experiments import ChunkCurve, Rounding, chunk_curve, rounding, step_times, variant
from retnet_viz.figures import next_token, state_norm
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table, head_color
from retnet_viz.figures.experiments.chunk_sizes import chunk_sizes
from retnet_viz.figures.experiments.rounding import rounding as rounding_figure
from retnet_viz.figures.reading.gate import gate
from retnet_viz.figures.reading.normalization import normalization
from retnet_viz.figures.reading.phase import phase
from retnet_viz.figures.states.singular_values import singular_values
from retnet_viz.figures.states.state import state as state_figure
from retnet_viz.figures.states.token_memory import recall
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, schedule, trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import area, bar, group
from retnet_viz.ui.core.page_state import GAINS, PRECISIONS, SWITCHES, VIEWS, ExplorerState
from retnet_viz.ui.pages.presets import START
from retnet_viz.ui.pages.text_page import TextPage
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.mode_timeline import ModeTimeline, run_of
from retnet_viz.ui.panels.plot import Plot
from retnet_viz.ui.panels.step_player import StepPlayer

MAX_TOKENS = 2048
_MOST_CELLS = 512  # tokens up to which the whole T x T plane of the copy is shown
STEPS, SIDE, STATE, PARTS = VIEWS


def modes(
    model: RetNet | None = None,
    text: str | None = None,
    *,
    hide: Iterable[str] = (),
    present: bool = False,
    **chosen: Any,
) -> Modes:
    """The modes at work as a widget, over `model` (the shipped one by default) and `text`.

    `hide` names panels to leave out, some of Modes.panels; `present` is for a projector. `chosen`
    are fields of ExplorerState: view, mode, chunk_size, layer, head, token, ...
    Raises ValueError where one of these is out of range or the model has no tokenizer.
    """
    from retnet_viz.checkpoints import load

    model = model or load()
    # A state has a few large entries and many small ones, which linear colours would hide.
    usual = {"text": START.text if text is None else text, "mode": "recurrent", "scale": "arcsinh"}
    board = Modes(model, ExplorerState(**usual | chosen))
    board.arrange(hide, present)
    return board


class Modes(TextPage):
    """Four views of one text: the stage, the race of the modes, the state, and the model's parts.

    `curve` and `rounding` are what was last measured for the side by side view, None before.
    """

    model: RetNet
    app = "modes.ipynb"
    panels = ("text", "control", "strip", "views")
    max_tokens = MAX_TOKENS

    def __init__(self, model: RetNet, state: ExplorerState) -> None:
        self.curve: ChunkCurve | None = None
        self.rounding: Rounding | None = None
        self._measured: dict[str, tuple[Any, ...]] = {}  # what each figure was measured on
        self._copies: dict[tuple[str, ...], Trace] = {}  # by what is switched off in the copy
        super().__init__(model, state)

    # -- building ---------------------------------------------------------------------------

    def _build_panels(self) -> list[Any]:
        config = self.model.config
        self.add_class("rv-modes-page")
        self.view = w.ToggleButtons(options=[(name.capitalize(), name) for name in VIEWS])
        self.view.add_class("rv-views")
        self.head = w.ToggleButtons(
            options=[(str(head), head) for head in range(config.n_heads)],
            tooltips=[f"head {head}" for head in range(config.n_heads)],
        )
        self.head.add_class("rv-head-choices")
        self.stage = StepPlayer(config.n_heads)
        self._views = {
            STEPS: self.stage,
            SIDE: self._build_side(),
            STATE: self._build_state(),
            PARTS: self._build_parts(),
        }
        self._shown_view = w.Box()
        controls = w.HBox([self.mode, self.chunk, self.layer, group("head", self.head)])
        return [
            self._model_head(),
            self._text_area(),
            area("control", controls),
            area("strip", self.strip),
            area("views", w.HBox([self.view, group("scale", self.scale)])),
            area("view", self._shown_view),
        ]

    def _build_side(self) -> Any:
        self.race = ModeTimeline()
        self.sizes, self.rounds = Plot(), Plot()
        self.precision = w.ToggleButtons(options=list(PRECISIONS))
        self.precision.add_class("rv-scales")
        self.progress = w.IntProgress(max=1, layout={"width": "140px"})
        self.again = w.Button(description="Measure again", layout={"width": "120px"})
        self.doing = w.HTML()
        self.doing.add_class("rv-doing")
        self.meter = w.HTML()
        measuring = bar(
            group("precision", self.precision), self.meter, self.doing, self.progress, self.again
        )
        return _view("side", self.race, measuring, self.sizes, self.rounds)

    def _build_state(self) -> Any:
        self.comparing = w.ToggleButton(
            description="compare with", tooltip="show the difference of two tokens' states"
        )
        self.compare = w.IntSlider(min=0, max=0, description="token m")
        self.compared = w.HTML()
        self.state_map, self.spectrum, self.norms, self.remembered = Plot(), Plot(), Plot(), Plot()
        difference = bar(self.comparing, self.compare, self.compared)
        return _view(
            "state", difference, self.state_map, self.norms, self.spectrum, self.remembered
        )

    def _build_parts(self) -> Any:
        self.switches = {
            name: w.ToggleButton(description=name, tooltip=f"switch {name} off in a copy")
            for name in SWITCHES
        }
        low, high = (np.log10(gain) for gain in GAINS)
        self.gain = w.FloatLogSlider(
            min=low, max=high, step=0.1, value=1.0, description="weights ×", readout_format=".3g"
        )
        self.copy = w.HTML()
        changes = bar(
            group("in a copy of the model:", *self.switches.values()), self.copy, self.gain
        )
        self.before_after, self.gates, self.phases, self.model_next, self.copy_next = (
            Plot() for _ in range(5)
        )
        self.pair = Heatmap(
            self._describe_pair, self._pair_tables, colors=color_table(DIVERGING).tobytes()
        )
        return _view(
            "parts",
            changes,
            self.before_after,
            self.gates,
            self.phases,
            self.pair,
            self.model_next,
            self.copy_next,
        )

    def _listen(self) -> None:
        super()._listen()
        self._bind(self.view, "view")
        self._bind(self.head, "head")
        self._bind_stage(self.stage)
        self._bind(self.race, "clock", "clock")
        self._bind(self.precision, "precision")
        self._bind(self.gain, "gain")
        for plot in (self.norms, self.before_after, self.gates):
            self._bind(plot, "token", "clicked")
        self.pair.observe(self._row_chosen, "selected")
        self.compare.observe(self._compare_chosen, "value")
        self.comparing.observe(self._compare_chosen, "value")
        for toggle in self.switches.values():
            toggle.observe(self._switched, "value")
        self.again.on_click(self._measure_or_cancel)

    def _write_controls(self) -> None:
        super()._write_controls()
        state = self.state
        with self._writing():
            self.view.value = state.view
            self.head.value = state.head
            self.race.clock = state.clock
            self.precision.value = state.precision
            self.gain.value = state.gain
            for name, toggle in self.switches.items():
                toggle.value = name not in state.without
            self.comparing.value = state.compare is not None
            self._shown_view.children = [self._views[state.view]]

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

    def _row_chosen(self, change: Any) -> None:
        if change["new"] >= 0:
            self._chosen(token=change["new"])

    def _compare_chosen(self, _change: Any) -> None:
        self._chosen(compare=self.compare.value if self.comparing.value else None)

    def _switched(self, _change: Any) -> None:
        off = [name for name, toggle in self.switches.items() if not toggle.value]
        self._chosen(without=tuple(off))

    def _measure_or_cancel(self, _button: Any) -> None:
        if self._measuring:
            self.stop()
            self._tell("cancelled")
            return
        self._measured = {}
        self._draw()

    # -- measuring --------------------------------------------------------------------------

    @property
    def _measuring(self) -> bool:
        return bool(self.again.description == "Cancel")

    def _wanted(self) -> dict[str, tuple[Any, ...]]:
        """What the race, the rounding and the curve of chunk sizes depend on."""
        state = self.state
        return {
            "race": (state.text, state.chunk_size, state.layer),
            "rounding": (state.text, state.chunk_size, state.precision),
            "curve": (state.text, state.layer),
        }

    def _is_stale(self, figure: str) -> bool:
        return self._measured.get(figure) != self._wanted()[figure]

    def _tell(self, doing: str, done: int = 0, total: int = 0) -> None:
        """Say what is measured, and how far; a `total` of 0 means that nothing is."""
        self.doing.value = messages.doing(doing)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.again.description = "Cancel" if total else "Measure again"

    def _text_changed(self) -> None:
        self._copies = {}

    def _start_work(self) -> None:
        if self.trace is None or self.state.view != SIDE:
            self.stop()
            return
        super()._start_work()

    def _work(self, current: Callable[[], bool]) -> None:
        """Measure what the side by side view lacks, and draw each part as it is ready."""
        shown, state = self.trace, self.state
        if shown is None:
            return

        def progress(doing: str) -> Callable[[int, int], None]:
            def tell(done: int, total: int) -> None:
                with self._while_current(current):
                    self._tell(doing, done, total)

            tell(0, 1)
            return tell

        wanted = self._wanted()
        if self._is_stale("race"):
            tell = progress("running the three modes")
            traces: dict[str, Trace] = {}
            for mode, read in self._in_all_modes(shown):
                traces[mode] = read
                tell(len(traces), 2 * len(MODES))
            times = {}
            for done, mode in enumerate(MODES):
                times[mode] = step_times(shown, state.layer, mode)
                tell(len(MODES) + done + 1, 2 * len(MODES))
            with self._while_current(current):
                self._draw_race(traces, state.layer, times)
                self._measured["race"] = wanted["race"]
        if self._is_stale("rounding"):
            told = progress(f"rounding in {state.precision}")
            found = rounding(self.model, shown.ids, state.precision, state.chunk_size, told)
            with self._while_current(current):
                self.rounding, self._measured["rounding"] = found, wanted["rounding"]
                self._draw_rounding()
        if self._is_stale("curve"):
            told = progress("measuring chunk sizes")
            curve = chunk_curve(shown, state.layer, progress=told)
            with self._while_current(current):
                self.curve, self._measured["curve"] = curve, wanted["curve"]
                self._draw_curve()
        with self._while_current(current):
            self._tell("")

    def stop(self) -> None:
        """Forget the measuring; what it was doing is not shown any more."""
        with self._showing:
            super().stop()

    def _work_failed(self) -> None:
        self._tell("could not be measured")

    # -- drawing ----------------------------------------------------------------------------

    def _draw(self) -> None:
        length = self.trace.length if self.trace else 0
        with self._writing():
            self.chunk.max = max(length, self.state.chunk_size, 2)
            self.compare.max = max(0, length - 1)
            if self.state.compare is not None:
                self.compare.value = min(self.state.compare, self.compare.max)
        if self.state.view == SIDE:
            self._draw_side()
        else:
            self.stop()
        self._draw_selection()

    def _draw_selection(self) -> None:
        state = self.state
        self._draw_notice()
        self._draw_strip([state.head])
        if state.view == STEPS:
            self._draw_stage()
        elif state.view == STATE:
            self._draw_state()
        elif state.view == PARTS:
            self._draw_parts()
        with self._writing():
            for plot in (self.norms, self.before_after, self.gates):
                plot.clicked = -1
            self.norms.cursor = self.gates.cursor = self.selected

    def _draw_stage(self) -> None:
        state = self.state
        chosen = (self.trace, state.layer, state.head, state.scale)
        with self._writing():
            if self.stage.shows(*chosen):
                self.stage.token = self.selected
            else:
                self.stage.show(*chosen, token=self.selected)

    def _draw_side(self) -> None:
        if self.trace is None:
            self.race.show({}, 0)
            self.curve = self.rounding = None
            self._measured = {}
        self._draw_curve()
        self._draw_rounding()
        if self.trace is not None and any(map(self._is_stale, self._wanted())):
            self._start_work()
        else:
            self.stop()
            self._tell("")

    def _draw_race(
        self, traces: dict[str, Trace], layer: int, times: dict[str, tuple[float, ...]]
    ) -> None:
        head, heads = self.state.head, self.model.config.n_heads
        runs = {
            mode: run_of(schedule(found, layer, head), heads, times[mode])
            for mode, found in traces.items()
        }
        shown = traces[MODES[0]]
        note = f"retention of layer {layer}, all {heads} heads, chunk size {shown.chunk_size}"
        self.race.show(runs, shown.length, note)

    def _draw_curve(self) -> None:
        self.sizes.stale = self.trace is not None and self._is_stale("curve")
        if self.curve is None:
            self.sizes.show(messages.nothing(self.page.shown))
        else:
            self.sizes.show(
                chunk_sizes.spec(self.curve, self.state.chunk_size, theme=self.page.shown)
            )

    def _draw_rounding(self) -> None:
        found = self.rounding
        stale = self.trace is not None and self._is_stale("rounding")
        self.rounds.stale = stale
        self.meter.value = messages.meter(None if stale else found)
        if found is None:
            self.rounds.show(messages.nothing(self.page.shown))
        else:
            self.rounds.show(rounding_figure.spec(found, theme=self.page.shown))

    def _draw_state(self) -> None:
        shown, state, theme, n = self.trace, self.state, self.page.shown, self.selected
        if shown is None:
            self.compared.value = ""
            self._empty_figures(STATE)
            return
        compare = None if state.compare is None else min(state.compare, shown.length - 1)
        self.compared.value = messages.compared(shown, n, compare)
        self.state_map.show(
            state_figure.spec(shown, state.layer, state.head, n, compare=compare, theme=theme)
        )
        self.spectrum.show(singular_values.spec(shown, state.layer, n, theme=theme))
        self.norms.show(state_norm.spec(shown, state.layer, bound=True, theme=theme))
        self.remembered.show(recall.spec(shown, state.layer, state.head, n, theme=theme))

    def _empty_figures(self, view: str) -> None:
        for panel in self._views[view].children:
            if isinstance(panel, Plot):
                panel.show(messages.nothing(self.page.shown))

    def _draw_parts(self) -> None:
        shown, state, theme, n = self.trace, self.state, self.page.shown, self.selected
        self.copy.value = messages.copy(state.without)
        if shown is None:
            self._empty_figures(PARTS)
            self.pair.cells, self.pair.meta = b"", {"length": 0, "heads": []}
            return
        self.before_after.show(
            normalization.spec(shown, state.layer, n, factor=state.gain, theme=theme)
        )
        self.gates.show(gate.spec(shown, state.layer, theme=theme))
        unturned = self._copy_trace(("rotation",))
        self.phases.show(phase.spec(shown, unturned, state.layer, state.head, n, theme=theme))
        self.model_next.show(_titled(next_token.spec(shown, n, theme=theme), "the model"))
        other = self._copy_trace(state.without)
        name = messages.copy_name(state.without)
        self.copy_next.show(_titled(next_token.spec(other, n, theme=theme), name))
        self._draw_pair(shown, other, name)

    def _copy_trace(self, without: tuple[str, ...]) -> Trace:
        """The text read by a copy of the model in which `without` is switched off."""
        assert self.trace is not None
        if not without:
            return self.trace
        if without not in self._copies:
            changes: dict[str, Any] = {
                "rotation": ("rotation", "none"),
                "decay": ("decay", (1.0,) * self.model.config.n_heads),
                "head norm": ("head_norm", "none"),
            }
            copied = variant(self.model, **dict(changes[name] for name in without))
            shown = self.trace
            self._copies[without] = trace(copied, shown.ids, shown.mode, shown.chunk_size)
        return self._copies[without]

    def _draw_pair(self, shown: Trace, other: Trace, name: str) -> None:
        """The retention weights of the chosen head in the model, and in the copy."""
        window = self._pair_window(shown)
        pair = [self._weights_of(each, window) for each in (shown, other)]
        causal = np.tri(len(window), dtype=bool)
        scale = color_scale(np.stack(pair)[:, causal], self.state.scale, signed=True)
        places = [raster(values, scale, shown=causal) for values in pair]
        with self._writing(), self.pair.hold_sync():
            self.pair.cells = b"".join(place.tobytes() for place in places)
            self.pair.meta = {
                "title": f"Weights of head {self.state.head}",
                "origin": shown.origin("retention"),
                "summary": f"{len(window)} by {len(window)} cells of the model and the copy",
                "computed": FORMS[shown.mode].cells,
                "block": shown.chunk_size,
                "length": len(window),
                "signed": True,
                "ticks": scale.ticks(),
                "heads": [
                    {"index": i, "label": label, "color": head_color(self.state.head)}
                    for i, label in enumerate(("the model", name))
                ],
            }
            self.pair.selected = self.selected if self.selected < len(window) else -1
            self.pair.readout = messages.pair_window(shown, len(window))

    def _pair_window(self, shown: Trace) -> range:
        return range(min(shown.length, _MOST_CELLS))

    def _weights_of(self, shown: Trace, window: range) -> np.ndarray:
        part = slice(window.start, window.stop)
        weights: Tensor = shown.retention(self.state.layer, part, part)[self.state.head]
        return weights.float().cpu().numpy()

    def _pair_tables(self) -> list[Any]:
        """What the selected token reads, in the model and in the copy."""
        if self.trace is None:
            return []
        state, n = self.state, self.selected
        return [
            messages.plane_tables(read, "retention", state.layer, [state.head], n, of)[0]
            for of, read in (
                ("the model", self.trace),
                (messages.copy_name(state.without), self._copy_trace(state.without)),
            )
        ]

    def _describe_pair(self, cell: tuple[int, int, int]) -> str:
        which, n, m = cell
        if self.trace is None or which not in (0, 1):
            return ""
        read = self.trace if which == 0 else self._copy_trace(self.state.without)
        return messages.cell(read, "retention", self.state.layer, (self.state.head, n, m))


def _view(name: str, *panels: Any) -> Any:
    box = w.Box(list(panels))
    box.add_class("rv-view")
    box.add_class(f"rv-view-{name}")
    return box


def _titled(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """The figure with whose it is before its title."""
    title = {**spec["layout"]["title"]}
    title["text"] = f"{name[0].upper()}{name[1:]}: {title['text'][0].lower()}{title['text'][1:]}"
    return {**spec, "layout": {**spec["layout"], "title": title}}
