"""What the three modes cost on the same text, measured."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.layout import Drawing, Spec, make
from retnet_viz.figures.base.theme import MODE_COLORS
from retnet_viz.model import MODES
from retnet_viz.trace import Cost, Trace

_PANELS = (
    ("sequential steps", lambda cost: cost.steps, "{:,}"),
    ("time, ms", lambda cost: cost.milliseconds, "{:.3g}"),
    ("arithmetic, MFLOP", lambda cost: cost.flops / 1e6, "{:,.4g}"),
    ("peak memory, kB", lambda cost: cost.peak_bytes / 1e3, "{:,.4g}"),
)


def cost(trace: Trace, *, theme: str = "light") -> go.Figure:
    """Steps, milliseconds, FLOPs and bytes of each mode; runs those that have not run yet."""
    return cost_bars(mode_costs(trace), trace.mode, theme=theme)


def mode_costs(trace: Trace) -> dict[str, Cost]:
    """What each mode costs on the text of a trace, measured; kept by the traces."""
    return {mode: trace.in_mode(mode).cost for mode in MODES}


@Drawing
def cost_bars(costs: dict[str, Cost], current: str, *, theme: str = "light") -> Spec:
    """The same from costs that were measured before."""
    bars: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    notes = []
    width = 1 / len(_PANELS)
    for i, (label, read, form) in enumerate(_PANELS):
        axis = "" if i == 0 else str(i + 1)
        values = [read(costs[mode]) for mode in MODES]
        bars.append(
            {
                "type": "bar",
                "name": label,
                "orientation": "h",
                "x": values,
                "y": [f"<b>{mode}</b>" if mode == current else mode for mode in MODES],
                "text": [form.format(value) for value in values],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": [MODE_COLORS[mode] for mode in MODES]},
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "hovertemplate": f"%{{y}}: %{{x:,.4g}} {label}<extra></extra>",
            }
        )
        layout[f"xaxis{axis}"] = {
            "domain": [i * width, (i + 0.94) * width],
            "range": [0, (max(values) or 1) * 1.6],
            "anchor": f"y{axis}",
            "showticklabels": False,
            "showgrid": False,
        }
        layout[f"yaxis{axis}"] = {
            "anchor": f"x{axis}",
            "autorange": "reversed",
            "showticklabels": i == 0,
        }
        notes.append(
            {
                "text": label,
                "xref": "paper",
                "yref": "paper",
                "x": i * width,
                "y": 1.0,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    layout |= {
        "title": {"text": "Cost by mode, measured on this text"},
        "annotations": notes,
        "showlegend": False,
        "margin": {"l": 84, "r": 8, "t": 50, "b": 6},
        "bargap": 0.3,
        "meta": {"sentence": captions.cost_bars(costs)},
    }
    return make(bars, layout, theme)
