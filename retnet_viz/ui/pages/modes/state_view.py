"""The state view of the modes at work: what the recurrent state holds after the selected token."""

from __future__ import annotations

import ipywidgets as w

from retnet_viz.figures import state_norm
from retnet_viz.figures.states.singular_values import singular_values
from retnet_viz.figures.states.state import state as state_figure
from retnet_viz.figures.states.token_memory import recall
from retnet_viz.trace import Trace
from retnet_viz.ui.core.app_page import bar
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.modes import modes_messages
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.view_box import show_nothing, view_box


class StateView:
    """The state as a map, its singular values and norms, and the tokens that it remembers.

    `compare_switch` and `compare` choose a token whose state is subtracted.
    """

    def __init__(self) -> None:
        self.compare_switch = w.ToggleButton(
            description="compare with", tooltip="show the difference of two tokens' states"
        )
        self.compare_token = w.IntSlider(min=0, max=0, description="token m")
        self.compare_text = w.HTML()
        self.state_map, self.spectrum, self.norms, self.remembered = Plot(), Plot(), Plot(), Plot()
        difference = bar(self.compare_switch, self.compare_token, self.compare_text)
        self.box = view_box(
            "state", difference, self.state_map, self.norms, self.spectrum, self.remembered
        )

    @property
    def subtracted_token(self) -> int | None:
        """The token whose state is subtracted; None for none."""
        return self.compare_token.value if self.compare_switch.value else None

    def write(self, state: ExplorerState, length: int) -> None:
        """Make the controls show the state of a page whose text has so many tokens."""
        self.compare_switch.value = state.compare is not None
        self.compare_token.max = max(0, length - 1)
        if state.compare is not None:
            self.compare_token.value = min(state.compare, self.compare_token.max)

    def draw(self, trace: Trace | None, state: ExplorerState, n: int, theme: str) -> None:
        """Draw the state after token n."""
        if trace is None:
            self.compare_text.value = ""
            show_nothing(self.box.children, theme)
            return
        compare = None if state.compare is None else min(state.compare, trace.length - 1)
        self.compare_text.value = modes_messages.compared(trace, n, compare)
        self.state_map.show(
            state_figure.spec(trace, state.layer, state.head, n, compare=compare, theme=theme)
        )
        self.spectrum.show(singular_values.spec(trace, state.layer, n, theme=theme))
        self.norms.show(state_norm.spec(trace, state.layer, bound=True, theme=theme))
        self.remembered.show(recall.spec(trace, state.layer, state.head, n, theme=theme))
