"""What a state still remembers of each token that went into it."""

from __future__ import annotations

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, hovers, make, resolve_heads
from retnet_viz.figures.base.panel_parts import small_print, token_at, token_axis
from retnet_viz.figures.base.theme import AUTO, head_color
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace
from retnet_viz.trace.views import state_analysis

_LEFT = 54  # pixels


@Drawing
def recall(trace: Trace, layer: int, head: int, n: int, *, theme: str = AUTO) -> Spec:
    """A bar per token m <= n: the cosine between k_m S_n, what its key reads, and its value v_m.

    1 is perfect memory; near 0 other tokens have written over it.
    """
    resolve_heads(trace, [head])
    n = token_at(trace, n)
    values = state_analysis.recall(trace, layer, n)[head].tolist()
    axis, margin = token_axis(trace, n)
    return make(
        [
            {
                "type": "bar",
                "y": values,
                "marker": {"color": head_color(head)},
                "customdata": hovers(trace)[: n + 1],
                "hovertemplate": (
                    "m = %{x} %{customdata}<br>cosine of kS and v: %{y:.4f}<extra></extra>"
                ),
            }
        ],
        {
            "title": {
                "text": f"What S<sub>{n}</sub> remembers after “{escape_token(trace.tokens[n])}”, "
                f"head {head}"
            },
            "annotations": [small_print("derived from the state", theme, _LEFT)],
            "xaxis": axis,
            "yaxis": {
                "title": {"text": "cos(k<sub>m</sub>S, v<sub>m</sub>)"},
                "range": [-1.05, 1.05],
            },
            "margin": {"l": _LEFT, "r": 10, "t": 48, "b": margin},
            "bargap": 0.15,
            "meta": {"sentence": captions.recall(trace, head, n, values)},
        },
        theme,
    )
