"""How far the swish gate opens for each token."""

from __future__ import annotations

from torch import Tensor

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, cursor, hovers, make, resolve_heads
from retnet_viz.figures.base.panel_parts import (
    below,
    legend_below,
    line_width,
    number_axis,
    significant,
    small_print,
    token_at,
)
from retnet_viz.figures.base.theme import AUTO, head_color
from retnet_viz.trace import Trace

_LEFT = 58  # pixels


@Drawing
def gate(
    trace: Trace,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    selected: int | None = None,
    theme: str = AUTO,
) -> Spec:
    """A line per head: the mean magnitude of its gate, swish(X W_G), for each token."""
    heads = resolve_heads(trace, heads)
    selected = None if selected is None else token_at(trace, selected)
    openings = gate_opening(trace, layer)[heads]
    return make(
        [
            {
                "type": "scatter",
                "mode": "lines+markers" if trace.length == 1 else "lines",
                "y": significant(values),
                "name": f"head {head}",
                "line": {"color": head_color(head), "width": line_width(trace.length)},
                "customdata": hovers(trace),
                "hovertemplate": (
                    f"head {head}<br>n = %{{x}} %{{customdata}}<br>"
                    "mean |gate| %{y:.4g}<extra></extra>"
                ),
            }
            for head, values in zip(heads, openings.tolist(), strict=True)
        ],
        {
            "title": {"text": "Gate: how much of each head passes"},
            "annotations": [small_print(trace.origin("gate"), theme, _LEFT)],
            "xaxis": number_axis(trace.length),
            "yaxis": {
                "title": {"text": "mean |swish(xW<sub>G</sub>)|"},
                "rangemode": "tozero",
            },
            "margin": {"l": _LEFT, "r": 10, "t": 48, "b": below(len(heads))},
            "legend": legend_below(theme),
            "showlegend": True,
            "shapes": cursor(selected, theme),
            "meta": {"sentence": captions.gate(trace, heads, openings)},
        },
        theme,
    )


def gate_opening(trace: Trace, layer: int) -> Tensor:
    """(H, T) float64: the mean over a head's d_v components of |swish(x W_G)|."""
    by_head = trace.gate(layer).double().unflatten(-1, (trace.n_heads, -1))
    opening: Tensor = by_head.abs().mean(-1).mT
    return opening
