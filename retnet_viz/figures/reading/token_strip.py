"""The tokens of a text in reading order, shaded by what the selected one retains of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make, resolve_heads
from retnet_viz.figures.base.panel_parts import token_at
from retnet_viz.figures.base.scale import color_scale
from retnet_viz.figures.base.theme import AUTO, DIVERGING
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace

_COLUMNS = 16


@Drawing
def token_strip(
    trace: Trace,
    layer: int,
    position: int = -1,
    *,
    heads: int | list[int] | None = None,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """A cell per token, sixteen in a row: the mean over `heads` of the weight that reads it.

    Tokens after the one at `position` are not read, and have no colour.
    """
    selected = token_at(trace, position)
    heads = resolve_heads(trace, heads)
    row = slice(selected, selected + 1)
    mean = trace.retention(layer, row)[heads, 0].mean(0).float().cpu().numpy()
    colors = color_scale(mean[: selected + 1], scale, signed=True)
    positions = np.where(np.arange(trace.length) <= selected, colors.position(mean), np.nan)
    columns = min(_COLUMNS, trace.length)
    rows = math.ceil(trace.length / columns)
    names = [escape_token(token) for token in trace.tokens]
    names[selected] = f"<b>{names[selected]}</b>"
    weights = [f"{value:.4g}" if n <= selected else "not read" for n, value in enumerate(mean)]
    over = "all heads" if len(heads) == trace.n_heads else f"heads {', '.join(map(str, heads))}"
    after = escape_token(trace.pieces(selected, selected + 1)[0])

    def table(values: list[Any], filler: Any) -> list[list[Any]]:
        cells = [*values, *[filler] * (rows * columns - len(values))]
        return [cells[i * columns : (i + 1) * columns] for i in range(rows)]

    return make(
        [
            {
                "type": "heatmap",
                "z": table([None if math.isnan(p) else p for p in positions.tolist()], None),
                "zmin": -1,
                "zmax": 1,
                "colorscale": DIVERGING,
                "showscale": False,
                "hoverongaps": False,
                "xgap": 2,
                "ygap": 2,
                "text": table(names, ""),
                "texttemplate": "%{text}",
                "textfont": {"family": "ui-monospace, monospace", "size": 13},
                "customdata": table([f"n = {n}: {weight}" for n, weight in enumerate(weights)], ""),
                "hovertemplate": "%{text}<br>%{customdata}<extra></extra>",
            }
        ],
        {
            "title": {
                "text": f"What n = {selected} “{after}” retains of each token, "
                f"mean of {over}, layer {layer} · {trace.origin('retention')}"
            },
            "xaxis": {"visible": False},
            "yaxis": {"visible": False, "autorange": "reversed"},
            "height": 60 + 34 * rows,
            "margin": {"l": 10, "r": 10, "t": 44, "b": 10},
            "meta": {"sentence": captions.weights(trace, layer, heads, selected)},
        },
        theme,
    )
