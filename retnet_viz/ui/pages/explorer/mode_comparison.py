"""The comparison of the three modes on one text: what each costs, and how far apart they are."""

from __future__ import annotations

import ipywidgets as w

from retnet_viz.figures.reading.mode_costs import cost_bars
from retnet_viz.trace import Agreement, Cost, Trace
from retnet_viz.trace.views.agreement import compare_traces
from retnet_viz.ui.core import messages
from retnet_viz.ui.panels import mode_messages
from retnet_viz.ui.panels.plots.plot import Plot


class ModeComparison:
    """Two panels, `cost` and `agree`.

    `costs`, by mode, and `agreement` are what they show: {} and None until it is measured.
    """

    def __init__(self) -> None:
        self.cost = Plot()
        self.agree = w.HTML()
        self.agree.add_class("rv-box")
        self.forget()

    def forget(self) -> None:
        """Take the results back: the text has changed."""
        self.costs: dict[str, Cost] = {}
        self.agreement: Agreement | None = None

    def draw(self, trace: Trace | None, mode: str, theme: str, most_tokens: int) -> None:
        """Show the results for `trace`, or why there are none: of longer texts nothing is run."""
        if trace is None or trace.length > most_tokens:
            self.agree.value = (
                mode_messages.agreement(None, mode)
                if trace is None
                else mode_messages.not_compared(trace, most_tokens)
            )
            self.cost.show(messages.empty_figure(theme))
            self.cost.stale = False
            return
        self.agree.value = mode_messages.agreement(self.agreement, mode)
        self.cost.stale = not self.costs
        if self.costs:
            self.cost.show(cost_bars.spec(self.costs, mode, theme=theme))


def measure(trace: Trace, traces: dict[str, Trace]) -> tuple[dict[str, Cost], Agreement]:
    """The costs of `traces`, the text in all modes, and how far the others are from `trace`."""
    costs = {mode: other.cost for mode, other in traces.items()}
    others = {mode: other for mode, other in traces.items() if mode != trace.mode}
    return costs, compare_traces(trace, others)
