"""How much each head's state holds, token by token."""

from __future__ import annotations

from retnet_viz.figures.layout import Drawing, Spec, cursor, heads_shown, hovers, make, note
from retnet_viz.figures.theme import head_color
from retnet_viz.trace import Trace


@Drawing
def state_norm(
    trace: Trace,
    layer: int,
    *,
    heads: list[int] | None = None,
    selected: int | None = None,
    theme: str = "light",
) -> Spec:
    """A line per head: the Frobenius norm of S_n after each token n."""
    norms = trace.state_norm(layer).float().cpu().numpy()
    gammas = trace.gamma(layer).tolist()
    lines = [
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
        for head in heads_shown(trace, heads)
    ]
    return make(
        lines,
        {
            "title": {"text": "State norm ‖S<sub>n</sub>‖<sub>F</sub>"},
            "annotations": [note(trace.origin("state_norm"), theme)],
            "xaxis": {"title": {"text": "token n"}, "range": [-0.5, max(1, trace.length - 0.5)]},
            "yaxis": {"title": {"text": "‖S‖"}, "rangemode": "tozero"},
            "margin": {"l": 48, "r": 12, "t": 48, "b": 58},
            "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "itemwidth": 30},
            "showlegend": True,
            "shapes": cursor(selected, theme),
        },
        theme,
    )
