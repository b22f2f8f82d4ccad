"""Over how many directions each head's state spreads."""

from __future__ import annotations

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make, resolve_heads
from retnet_viz.figures.base.panel_parts import log_axis, small_print, token_at
from retnet_viz.figures.base.theme import AUTO, PAPER, head_color
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace
from retnet_viz.trace.views import state_analysis

# Below this share of the largest a float32 state holds rounding, not text: the state of n
# tokens has at most n singular values above zero.
_ROUNDING = 1e-5
_LEFT = 60  # pixels


@Drawing
def singular_values(
    trace: Trace,
    layer: int,
    n: int,
    *,
    heads: int | list[int] | None = None,
    theme: str = AUTO,
) -> Spec:
    """A line per head: the singular values of S_n, largest first, with its effective rank.

    The log axis ends at a hundred-thousandth of the largest value; what lies below is rounding.
    """
    heads = resolve_heads(trace, heads)
    n = token_at(trace, n)
    values = state_analysis.singular_values(trace, layer, n).tolist()
    ranks = state_analysis.effective_rank(trace, layer, n).tolist()
    all_values = [value for head in heads for value in values[head]]
    full = len(values[0])
    label, legend = ", effective rank", {"x": 1, "xanchor": "right", "y": 1, "yanchor": "top"}
    legend["bgcolor"] = f"{PAPER[theme]}c0"
    if len(heads) > 4:  # it would cover the lines: beside the plot, and narrower
        label = ":"
        legend |= {"x": 1.01, "xanchor": "left", "title": {"text": "effective rank"}}
    return make(
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "y": values[head],
                "name": f"head {head}{label} {ranks[head]:.1f}",
                "line": {"color": head_color(head), "width": 2},
                "marker": {"size": 4},
                "hovertemplate": (
                    f"head {head}<br>singular value %{{x}} of S: %{{y:.4g}}<extra></extra>"
                ),
            }
            for head in heads
        ],
        {
            "title": {
                "text": f"Singular values of S<sub>{n}</sub> after "
                f"“{escape_token(trace.tokens[n])}”"
            },
            "annotations": [small_print("derived from the state", theme, _LEFT)],
            "xaxis": {
                "title": {"text": "index i, largest first"},
                "range": [-0.02 * full, full - 1 + 0.02 * full],
            },
            "yaxis": {"title": {"text": "singular value (log)"}}
            | log_axis(all_values, _ROUNDING * max(all_values)),
            "margin": {"l": _LEFT, "r": 10, "t": 48, "b": 40},
            "legend": legend,
            "showlegend": True,
            "meta": {
                "sentence": captions.singular_values(
                    trace, heads, n, [ranks[head] for head in heads], full
                )
            },
        },
        theme,
    )
