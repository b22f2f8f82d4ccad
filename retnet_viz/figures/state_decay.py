"""What each token leaves of the state before it: γ, the same for all, or what Δ makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retnet_viz.figures import words
from retnet_viz.figures.layout import Drawing, Spec, make
from retnet_viz.figures.panel import legend_below, line_width, number_axis, significant
from retnet_viz.figures.theme import HEAD_COLORS, head_color
from retnet_viz.figures.tokens import escaped
from retnet_viz.lab.reading import Reading

_SELECTIVE = HEAD_COLORS[6]
_SPREAD = (0.1, 0.9)  # quantiles between which the band lies


@Drawing
def state_decay(
    readings: Mapping[str, Reading], layers: Mapping[str, int], *, theme: str = "light"
) -> Spec:
    """The share of the state that each token leaves, by model, in the given layer of each.

    Of a RetNet a line per head, of a Mamba the median over all channels and numbers of its state,
    and a band from the 10th to the 90th percentile. All readings are of one text.
    `layout.meta.sentence` says it in words.
    """
    lines: list[dict[str, Any]] = []
    length, lowest = 1, 1.0
    for name, found in readings.items():
        shares = found.decay(layers[name])
        length = found.length
        if shares.shape[1]:
            lowest = min(lowest, shares.quantile(_SPREAD[0], dim=1).min().item())
        tokens = [escaped(piece) for piece in found.pieces(0, length)]
        if found.kind == "retention":
            lines += [
                _line(f"{name}, {plane}", shares[:, i].tolist(), tokens, head_color(i), "dash")
                for i, plane in enumerate(found.planes)
            ]
        elif shares.shape[1]:
            low, high = (shares.quantile(q, dim=1).tolist() for q in _SPREAD)
            edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "type": "scatter"}
            lines += [
                edge | {"name": f"{name}, 10 %", "y": significant(low), "showlegend": False},
                edge
                | {
                    "name": f"{name}, 10 to 90 % of its state",
                    "y": significant(high),
                    "fill": "tonexty",
                    "fillcolor": f"{_SELECTIVE}40",
                },
                _line(
                    f"{name}, median", shares.median(dim=1).values.tolist(), tokens, _SELECTIVE, ""
                ),
            ]
    return make(
        lines,
        {
            "title": {"text": "What each token leaves of the state before it, as a share"},
            "xaxis": number_axis(length) | {"showgrid": False},
            "yaxis": {
                "range": [lowest - 0.06 * (1 - lowest), 1 + 0.06 * (1 - lowest)],
                "title": {"text": "share left"},
            },
            "margin": {"l": 50, "r": 14, "t": 34, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": words.state_decay(readings, layers)},
        },
        theme,
    )


def _line(name: str, values: list[float], tokens: list[str], color: str, dash: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "y": significant(values),
        "customdata": tokens,
        "line": {"color": color, "width": line_width(len(values)), "dash": dash or "solid"},
        "hovertemplate": f"{name}<br>n = %{{x}} “%{{customdata}}” leaves %{{y}}<extra></extra>",
    }
