"""What the three modes cost on the same text, measured."""

from __future__ import annotations

from typing import Any

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.theme import AUTO, MODE_COLORS
from retnet_viz.model import MODES
from retnet_viz.trace import Cost, Trace

_PANELS = (
    ("sequential steps", lambda cost: cost.steps, "{:,}"),
    ("time, ms", lambda cost: cost.milliseconds, "{:.3g}"),
    ("arithmetic, MFLOP", lambda cost: cost.flops / 1e6, "{:,.4g}"),
    ("peak memory, kB", lambda cost: cost.peak_bytes / 1e3, "{:,.4g}"),
)
NARROW = 576  # pixels; in less than that the titles of four panels in a row overlap
_ROW_GAP = 0.4  # of a row's height, for the titles of the next one


@Drawing
def cost(trace: Trace, *, theme: str = AUTO) -> Spec:
    """Steps, milliseconds, FLOPs and bytes of each mode; runs those that have not run yet."""
    return cost_bars.spec(mode_costs(trace), trace.mode, theme=theme)


def mode_costs(trace: Trace) -> dict[str, Cost]:
    """What each mode costs on the text of a trace, measured; kept by the traces."""
    return {mode: trace.in_mode(mode).cost for mode in MODES}


@Drawing
def cost_bars(costs: dict[str, Cost], current: str, *, theme: str = AUTO) -> Spec:
    """The same from costs that were measured before."""
    bars: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for i, (label, accessor, number_format) in enumerate(_PANELS):
        axis = "" if i == 0 else str(i + 1)
        values = [accessor(costs[mode]) for mode in MODES]
        bars.append(
            {
                "type": "bar",
                "name": label,
                "orientation": "h",
                "x": values,
                "y": [f"<b>{mode}</b>" if mode == current else mode for mode in MODES],
                "text": [number_format.format(value) for value in values],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": [MODE_COLORS[mode] for mode in MODES]},
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "hovertemplate": f"%{{y}}: %{{x:,.4g}} {label}<extra></extra>",
            }
        )
        layout[f"xaxis{axis}"] = {
            "range": [0, (max(values) or 1) * 1.6],
            "anchor": f"y{axis}",
            "showticklabels": False,
            "showgrid": False,
        }
        layout[f"yaxis{axis}"] = {
            "anchor": f"x{axis}",
            "autorange": "reversed",
        }
    two_rows = _places(layout, 2)
    layout |= _places(layout, len(_PANELS)) | {
        "title": {"text": "Cost by mode, measured on this text"},
        "showlegend": False,
        "margin": {"l": 84, "r": 8, "t": 50, "b": 6},
        "bargap": 0.3,
        "meta": {
            "sentence": captions.cost_bars(costs),
            "narrow": {"below": NARROW, "layout": two_rows},
        },
    }
    return make(bars, layout, theme)


def _places(axes: dict[str, Any], columns: int) -> dict[str, Any]:
    """The axes in so many columns, in as many rows as that takes, and the title above each."""
    rows = -(-len(_PANELS) // columns)
    height = 1 / (rows + (rows - 1) * _ROW_GAP)
    places: dict[str, Any] = {"annotations": []}
    for i, (label, _, _) in enumerate(_PANELS):
        axis = "" if i == 0 else str(i + 1)
        row, column = divmod(i, columns)
        left, top = column / columns, 1 - row * height * (1 + _ROW_GAP)
        places[f"xaxis{axis}"] = axes[f"xaxis{axis}"] | {"domain": [left, left + 0.94 / columns]}
        places[f"yaxis{axis}"] = axes[f"yaxis{axis}"] | {
            "domain": [max(0.0, top - height), top],
            "showticklabels": column == 0,
        }
        places["annotations"].append(
            {
                "text": label,
                "xref": "paper",
                "yref": "paper",
                "x": left,
                "y": top,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return places
