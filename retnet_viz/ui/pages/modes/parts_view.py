"""The view of the model's parts: normalisation, gate, rotation, and a copy without some."""

from __future__ import annotations

from typing import Any

import ipywidgets as w
import numpy as np
from torch import Tensor

from retnet_viz.experiments import ablate
from retnet_viz.figures import next_token
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table, head_color
from retnet_viz.figures.reading.gate import gate
from retnet_viz.figures.reading.normalization import normalization
from retnet_viz.figures.reading.phase import phase
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core.app_page import bar, group
from retnet_viz.ui.core.state.page_state import GAINS, SWITCHES, ExplorerState
from retnet_viz.ui.pages.modes import modes_messages
from retnet_viz.ui.panels import cell_messages
from retnet_viz.ui.panels.heatmap import Cell, Heatmap, Table
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.view_box import show_nothing, view_box

_MOST_CELLS = 512  # tokens up to which the whole T x T plane of the copy is shown


class PartsView:
    """What the parts of a layer do to the selected token, and what the model does without some.

    The copy of the model reads the same text; `switches` say what is switched off in it.
    """

    def __init__(self, model: RetNet) -> None:
        self._model = model
        self._trace: Trace | None = None
        self._state = ExplorerState()
        self._token = -1
        self._copies: dict[tuple[str, ...], Trace] = {}  # by what is switched off in the copy
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
        self.pair = Heatmap(self._describe, self._tables, colors=color_table(DIVERGING).tobytes())
        self.box = view_box(
            "parts",
            changes,
            self.before_after,
            self.gates,
            self.phases,
            self.pair,
            self.model_next,
            self.copy_next,
        )

    @property
    def without(self) -> tuple[str, ...]:
        """What the switches have switched off."""
        return tuple(name for name, toggle in self.switches.items() if not toggle.value)

    def write(self, state: ExplorerState) -> None:
        """Make the controls show a state."""
        self.gain.value = state.gain
        for name, toggle in self.switches.items():
            toggle.value = name not in state.without

    def forget(self) -> None:
        """Forget what the copies read, which was another text."""
        self._copies = {}

    def draw(self, original: Trace | None, state: ExplorerState, n: int, theme: str) -> None:
        """Draw what is done to token n."""
        self._trace, self._state, self._token = original, state, n
        self.copy.value = modes_messages.copy(state.without)
        if original is None:
            show_nothing(self.box.children, theme)
            self.pair.cells, self.pair.meta = b"", {"length": 0, "heads": []}
            return
        self.before_after.show(
            normalization.spec(original, state.layer, n, factor=state.gain, theme=theme)
        )
        self.gates.show(gate.spec(original, state.layer, theme=theme))
        without_rotation = self._copy_trace(original, ("rotation",))
        self.phases.show(
            phase.spec(original, without_rotation, state.layer, state.head, n, theme=theme)
        )
        self.model_next.show(_prefix_title(next_token.spec(original, n, theme=theme), "the model"))
        other = self._copy_trace(original, state.without)
        name = modes_messages.copy_name(state.without)
        self.copy_next.show(_prefix_title(next_token.spec(other, n, theme=theme), name))
        self._draw_pair(original, other, name)

    def _copy_trace(self, original: Trace, without: tuple[str, ...]) -> Trace:
        """The text read by a copy of the model in which `without` is switched off."""
        if not without:
            return original
        if without not in self._copies:
            changes: dict[str, Any] = {
                "rotation": ("rotation", "none"),
                "decay": ("decay", (1.0,) * self._model.config.n_heads),
                "head norm": ("head_norm", "none"),
            }
            copy = ablate(self._model, **dict(changes[name] for name in without))
            self._copies[without] = trace(copy, original.ids, original.mode, original.chunk_size)
        return self._copies[without]

    def _draw_pair(self, original: Trace, other: Trace, name: str) -> None:
        """The retention weights of the chosen head in the model, and in the copy."""
        state, length = self._state, min(original.length, _MOST_CELLS)
        pair = [self._weights_of(source, length) for source in (original, other)]
        causal = np.tri(length, dtype=bool)
        scale = color_scale(np.stack(pair)[:, causal], state.scale, signed=True)
        places = [raster(values, scale, mask=causal) for values in pair]
        with self.pair.hold_sync():
            self.pair.cells = b"".join(place.tobytes() for place in places)
            self.pair.meta = {
                "title": f"Weights of head {state.head}",
                "origin": original.origin("retention"),
                "summary": f"{length} by {length} cells of the model and the copy",
                "computed": FORMS[original.mode].cells,
                "block": original.chunk_size,
                "length": length,
                "signed": True,
                "ticks": scale.ticks(),
                "heads": [
                    {"index": i, "label": label, "color": head_color(state.head)}
                    for i, label in enumerate(("the model", name))
                ],
            }
            self.pair.selected = self._token if self._token < length else -1
            self.pair.readout = modes_messages.pair_window(original, length)

    def _weights_of(self, source: Trace, length: int) -> np.ndarray:
        part = slice(0, length)
        weights: Tensor = source.retention(self._state.layer, part, part)[self._state.head]
        return weights.float().cpu().numpy()

    def _tables(self) -> list[Table]:
        """What the selected token reads, in the model and in the copy."""
        if self._trace is None:
            return []
        state = self._state
        return [
            cell_messages.plane_tables(
                source, "retention", state.layer, [state.head], self._token, of
            )[0]
            for of, source in (
                ("the model", self._trace),
                (
                    modes_messages.copy_name(state.without),
                    self._copy_trace(self._trace, state.without),
                ),
            )
        ]

    def _describe(self, cell: Cell) -> str:
        which, n, m = cell
        if self._trace is None or which not in (0, 1):
            return ""
        state, source = self._state, self._trace
        if which == 1:
            source = self._copy_trace(self._trace, state.without)
        return cell_messages.cell(source, "retention", state.layer, (state.head, n, m))


def _prefix_title(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """The figure with whose it is before its title."""
    title = {**spec["layout"]["title"]}
    title["text"] = f"{name[0].upper()}{name[1:]}: {title['text'][0].lower()}{title['text'][1:]}"
    return {**spec, "layout": {**spec["layout"], "title": title}}
