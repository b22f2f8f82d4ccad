"""How much each head's state holds, token by token."""

from __future__ import annotations

import math
from typing import Any

from retnet_viz.figures import words
from retnet_viz.figures.layout import Drawing, Spec, cursor, heads_shown, hovers, make
from retnet_viz.figures.panel import (
    below,
    legend_below,
    log_axis,
    number_axis,
    small_print,
    token_at,
)
from retnet_viz.figures.theme import head_color
from retnet_viz.trace import Trace, memory


@Drawing
def state_norm(
    trace: Trace,
    layer: int,
    *,
    heads: list[int] | None = None,
    selected: int | None = None,
    bound: bool = False,
    theme: str = "light",
) -> Spec:
    """A line per head: the Frobenius norm of S_n after each token n.

    `bound` adds each head's max_m |k_m| |v_m| / (1 - γ), above which no norm can come, as a dashed
    line on a log axis; a head whose γ is 1 has none.
    """
    chosen = heads_shown(trace, heads)
    selected = None if selected is None else token_at(trace, selected)
    norms = trace.state_norm(layer).float().cpu().numpy()
    gammas = trace.gamma(layer).tolist()
    lines: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers" if trace.length == 1 else "lines",
            "y": norms[head].tolist(),
            "name": f"head {head}",
            "line": {"color": head_color(head), "width": 2},
            "customdata": hovers(trace),
            "hovertemplate": (
                f"head {head} (γ {gammas[head]:.4g})<br>"
                "after %{customdata}, n = %{x}<br>‖S‖ = %{y:.4g}<extra></extra>"
            ),
        }
        for head in chosen
    ]
    title = "State norm ‖S<sub>n</sub>‖<sub>F</sub>"
    axis: dict[str, Any] = {"title": {"text": "‖S‖"}}
    origin = trace.origin("state_norm")
    legend: dict[str, Any] = {
        "orientation": "h",
        "x": 0,
        "y": -0.2,
        "yanchor": "top",
        "itemwidth": 30,
    }
    margins = {"l": 48, "r": 12, "b": 58}
    bounds = memory.norm_bound(trace, layer).tolist() if bound else None
    if bounds is None:
        axis |= {"rangemode": "tozero"}
    else:
        limits = {head: bounds[head] for head in chosen if math.isfinite(bounds[head])}
        for line in lines:
            line["legendgroup"] = line["name"]  # a head's bound comes and goes with its line
        lines += [_bound(trace, head, limit) for head, limit in limits.items()]
        axis = {"title": {"text": "‖S‖ (log)"}}
        axis |= log_axis([*norms[chosen].flatten().tolist(), *limits.values()])
        title += " and its bound (dashed)"
        origin += "; bound derived"
        legend, margins = legend_below(theme), {"l": 60, "r": 10, "b": below(len(chosen))}
    return make(
        lines,
        {
            "title": {"text": title},
            "annotations": [small_print(origin, theme, margins["l"])],
            "xaxis": number_axis(trace.length),
            "yaxis": axis,
            "margin": {"t": 48, **margins},
            "legend": legend,
            "showlegend": True,
            "shapes": cursor(selected, theme),
            "meta": {"sentence": words.state_norm(trace, layer, chosen, selected, bounds)},
        },
        theme,
    )


def _bound(trace: Trace, head: int, limit: float) -> dict[str, Any]:
    """A head's bound, at every token so that it can be pointed at anywhere."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [-0.5, *range(trace.length), trace.length - 0.5],  # a line on a single token too
        "y": [limit] * (trace.length + 2),
        "name": f"head {head}, bound",
        "legendgroup": f"head {head}",
        "showlegend": False,
        "line": {"color": head_color(head), "width": 1.5, "dash": "dash"},
        "hovertemplate": (
            f"head {head}: ‖S‖ stays below<br>max ‖k‖‖v‖ / (1 − γ) = {limit:.4g}<extra></extra>"
        ),
    }
