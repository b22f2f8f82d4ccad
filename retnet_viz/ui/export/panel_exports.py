"""The panels that can be kept: each as a figure, and as the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retnet_viz.figures import agreement, next_token, stage, state_norm, token_strip
from retnet_viz.figures.base.figure_parts import Spec
from retnet_viz.figures.reading import planes
from retnet_viz.figures.reading.mode_costs import cost_bars, mode_costs
from retnet_viz.trace import Trace
from retnet_viz.ui.export import tables
from retnet_viz.ui.export.view import View


@dataclass(frozen=True)
class Panel:
    """A panel by its name: `spec` gives its figure, `rows` its numbers below a line of names."""

    name: str
    spec: Callable[[Trace, View], Spec]
    rows: Callable[[Trace, View], Iterable[Sequence[Any]]]


def _plane(name: str) -> Callable[[Trace, View], Spec]:
    def spec(trace: Trace, view: View) -> Spec:
        return planes.plane.spec(
            trace,
            name,
            view.layer,
            heads=view.heads_of(trace),
            scale=view.scale,
            theme=view.theme,
        )

    return spec


def _strip(trace: Trace, view: View) -> Spec:
    heads = view.heads_of(trace)
    return token_strip.spec(
        trace, view.layer, view.token, heads=heads, scale=view.scale, theme=view.theme
    )


def _next(trace: Trace, view: View) -> Spec:
    return next_token.spec(trace, view.token, theme=view.theme)


def _norms(trace: Trace, view: View) -> Spec:
    return state_norm.spec(
        trace,
        view.layer,
        heads=view.heads_of(trace),
        selected=view.token % trace.length,
        theme=view.theme,
    )


def _stage(trace: Trace, view: View) -> Spec:
    return stage.spec(trace, view.layer, view.head, view.token % trace.length, theme=view.theme)


def _cost(trace: Trace, view: View) -> Spec:
    return cost_bars.spec(mode_costs(trace), trace.mode, theme=view.theme)


def _agreement(trace: Trace, view: View) -> Spec:
    return agreement.spec(trace.agreement(), trace.mode, theme=view.theme)


PANELS = {
    panel.name: panel
    for panel in (
        Panel("tokens", _strip, tables.tokens),
        Panel("next_token", _next, tables.next_token),
        Panel("decay", _plane("decay"), tables.decay),
        Panel("retention", _plane("retention"), tables.retention),
        Panel("state_norm", _norms, tables.state_norm),
        Panel("stage", _stage, tables.stage),
        Panel("cost", _cost, tables.cost),
        Panel("agreement", _agreement, tables.agreement),
    )
}
