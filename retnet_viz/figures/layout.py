"""What the figures share: how one is made, which heads it shows, where its cursor is."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from retnet_viz.figures.theme import INK, template
from retnet_viz.figures.tokens import escaped
from retnet_viz.trace import Trace


def make(traces: list[dict[str, Any]], layout: dict[str, Any], theme: str) -> go.Figure:
    """A figure from plain dictionaries, in a theme."""
    return go.Figure({"data": traces, "layout": {"template": template(theme), **layout}})


def heads_shown(trace: Trace, heads: list[int] | None) -> list[int]:
    """The heads to show, all where none are named; IndexError on one that the model lacks."""
    chosen = list(range(trace.n_heads)) if heads is None else heads
    for head in chosen:
        if not 0 <= head < trace.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {trace.n_heads - 1}")
    return chosen


def cursor(selected: int | None, theme: str) -> list[dict[str, Any]]:
    """A dashed vertical line at the selected token."""
    if selected is None:
        return []
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": selected,
            "x1": selected,
            "y0": 0,
            "y1": 1,
            "line": {"color": INK[theme], "width": 1.5, "dash": "dot"},
        }
    ]


def hovers(trace: Trace) -> list[str]:
    """The tokens as hover text."""
    return [f"“{escaped(token)}”" for token in trace.tokens]
