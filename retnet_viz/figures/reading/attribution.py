"""Why this prediction: a logit in parts, by head and source token."""

from __future__ import annotations

import numpy as np

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import small_print, token_axis
from retnet_viz.figures.base.theme import AUTO, DIVERGING, INK
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Attribution, Trace

_ROW = 18  # pixels
_LEFT = 138


@Drawing
def attribution(
    trace: Trace,
    position: int = -1,
    *,
    token: int | str | None = None,
    against: int | str | None = None,
    theme: str = AUTO,
) -> Spec:
    """The parts of a logit, see `Trace.attribution`: a row per part, in the order of the pass.

    On the left each head by source token, on the right the sum of each row. The rows add up to the
    logit of `token` (by default the likeliest), less that of `against` if there is one.
    """
    found = trace.attribution(token, position, against)
    names, totals, cells = rows(found)
    largest = max(float(np.nanmax(np.abs(cells), initial=0.0)), 1e-12)
    tokens = [escape_token(piece) for piece in trace.pieces(0, found.position + 1)]
    axis, bottom = token_axis(trace, found.position)
    ticks = {"tickvals": list(range(len(names))), "ticktext": names}
    said = escape_token(trace.piece(found.token))
    other = "" if found.against is None else f" less “{escape_token(trace.piece(found.against))}”"
    return make(
        [
            {
                "type": "heatmap",
                "z": cells,
                "zmin": -largest,
                "zmax": largest,
                "colorscale": DIVERGING,
                "showscale": False,
                "customdata": np.array([tokens] * len(names)),
                "hoverongaps": False,
                "hovertemplate": (
                    "%{y}<br>reads m = %{x} “%{customdata}”<br>%{z:+.3g}<extra></extra>"
                ),
                "name": "from each token",
            },
            {
                "type": "bar",
                "orientation": "h",
                "x": totals,
                "y": list(range(len(names))),
                "xaxis": "x2",
                "marker": {
                    "color": totals,
                    "colorscale": DIVERGING,
                    "cmin": -max(map(abs, totals)),
                    "cmax": max(map(abs, totals)),
                },
                "customdata": names,
                "hovertemplate": "%{customdata}: %{x:+.3g}<extra></extra>",
                "name": "in all",
            },
        ],
        {
            "title": {"text": f"Why “{said}”{other}: the logit {found.logit:.3g} in parts"},
            "xaxis": axis | {"domain": [0, 0.72]},
            "xaxis2": {"domain": [0.76, 1], "title": {"text": "in all"}, "zeroline": True},
            "yaxis": ticks | {"range": [len(names) - 0.5, -0.5], "showgrid": False},
            "height": 60 + bottom + _ROW * len(names),
            "margin": {"l": _LEFT, "r": 10, "t": 44, "b": bottom},
            "font": {"color": INK[theme]},
            "showlegend": False,
            "annotations": [small_print("logit from each token read", theme, _LEFT)],
            "meta": {"sentence": captions.attribution(trace, found)},
        },
        theme,
    )


def rows(found: Attribution) -> tuple[list[str], list[float], np.ndarray]:
    """Names of the parts in the order of the pass, their sums, and their cells (parts, n + 1).

    What has no source tokens has NaN in its cells.
    """
    length = found.position + 1
    nothing = np.full(length, np.nan)
    names, totals, cells = ["embedding"], [found.embedding], [nothing]
    for layer, (heads, feed_forward) in enumerate(
        zip(found.heads, found.feed_forward, strict=True)
    ):
        for head, sources in enumerate(heads[:, :length]):
            names.append(f"layer {layer}, head {head}")
            totals.append(sources.sum().item())
            cells.append(sources.numpy())
        names.append(f"layer {layer}, feed-forward")
        totals.append(feed_forward.item())
        cells.append(nothing)
    names.append("biases of norms")
    totals.append(found.bias)
    return names, totals, np.stack([*cells, nothing])
