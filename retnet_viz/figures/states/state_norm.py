"""How much each head's state holds, token by token."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import (
    Drawing,
    Spec,
    cursor,
    hover_at,
    hovers,
    make,
    resolve_heads,
)
from retnet_viz.figures.base.panel_parts import (
    below,
    legend_below,
    log_axis,
    number_axis,
    significant,
    small_print,
    token_at,
)
from retnet_viz.figures.base.theme import AUTO, head_color
from retnet_viz.trace import Trace
from retnet_viz.trace.views import state_analysis
from retnet_viz.trace.views.decimate import decimate

MOST_POINTS = 4096
_STRETCHES = 600  # nearly a pixel each in the explorer's panel


@Drawing
def state_norm(
    trace: Trace,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    selected: int | None = None,
    bound: bool = False,
    theme: str = AUTO,
) -> Spec:
    """A line per head: the Frobenius norm of S_n after each token n.

    Of a text of over MOST_POINTS tokens each line keeps the first, smallest, largest and last of
    each of as many stretches as a screen shows (see trace.decimate), so that no spike is lost.
    `bound` adds each head's max_m |k_m| |v_m| / (1 - γ), above which no norm can come, as a dashed
    line on a log axis; a head whose γ is 1 has none.
    """
    heads = resolve_heads(trace, heads)
    selected = None if selected is None else token_at(trace, selected)
    norms = trace.state_norm(layer).float().cpu()
    gammas = trace.gamma(layer).tolist()
    tokens = hovers(trace) if trace.length <= MOST_POINTS else []
    lines: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers" if trace.length == 1 else "lines",
            **_points(trace, norms[head], tokens),
            "name": f"head {head}",
            "line": {"color": head_color(head), "width": 2},
            "hovertemplate": (
                f"head {head} (γ {gammas[head]:.4g})<br>"
                "after %{customdata}, n = %{x}<br>‖S‖ = %{y:.4g}<extra></extra>"
            ),
        }
        for head in heads
    ]
    title = "State norm ‖S<sub>n</sub>‖<sub>F</sub>"
    axis: dict[str, Any] = {"title": {"text": "‖S‖"}}
    origin = trace.origin("state_norm")
    margins = {"l": 48, "r": 12, "b": below(len(heads))}
    bounds = state_analysis.norm_bound(trace, layer).tolist() if bound else None
    if bounds is None:
        axis |= {"rangemode": "tozero"}
    else:
        limits = {head: bounds[head] for head in heads if math.isfinite(bounds[head])}
        for line in lines:
            line["legendgroup"] = line["name"]  # a head's bound comes and goes with its line
        lines += [_bound_line(trace, head, limit) for head, limit in limits.items()]
        axis = {"title": {"text": "‖S‖ (log)"}}
        axis |= log_axis([*norms[heads].flatten().tolist(), *limits.values()])
        title += " and its bound (dashed)"
        origin += "; bound derived"
        margins["l"] = 60
    sentence = captions.state_norm(trace, layer, heads, selected, bounds)
    if trace.length > MOST_POINTS:
        size = -(-trace.length // _STRETCHES)
        sentence += f" Each line keeps the smallest and the largest norm of every {size} tokens."
    return make(
        lines,
        {
            "title": {"text": title},
            "annotations": [small_print(origin, theme, margins["l"])],
            "xaxis": number_axis(trace.length),
            "yaxis": axis,
            "margin": {"t": 48, **margins},
            "legend": legend_below(theme),
            "showlegend": True,
            "shapes": cursor(selected, theme),
            "meta": {"sentence": sentence},
        },
        theme,
    )


def _points(trace: Trace, norms: Tensor, tokens: list[str]) -> dict[str, Any]:
    """x, y and hover texts of a line over all tokens, or over those that show its shape."""
    if trace.length <= MOST_POINTS:
        return {"y": significant(norms.tolist(), 7), "customdata": tokens}
    positions, values = decimate(norms, _STRETCHES)
    return {
        "x": positions.tolist(),
        "y": significant(values.tolist(), 7),
        "customdata": [hover_at(trace, n) for n in positions.tolist()],
    }


def _bound_line(trace: Trace, head: int, limit: float) -> dict[str, Any]:
    """A head's bound, at every token of a short text, so that hovering works anywhere."""
    inner = range(0, trace.length, max(1, trace.length // MOST_POINTS))
    positions = [-0.5, *inner, trace.length - 0.5]  # a line on a single token too
    return {
        "type": "scatter",
        "mode": "lines",
        "x": positions,
        "y": [limit] * len(positions),
        "name": f"head {head}, bound",
        "legendgroup": f"head {head}",
        "showlegend": False,
        "line": {"color": head_color(head), "width": 1.5, "dash": "dash"},
        "hovertemplate": (
            f"head {head}: ‖S‖ stays below<br>max ‖k‖‖v‖ / (1 − γ) = {limit:.4g}<extra></extra>"
        ),
    }
