"""What one head's state holds: S_n itself, or how it changed between two tokens."""

from __future__ import annotations

from plotly.colors import get_colorscale

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make, resolve_heads
from retnet_viz.figures.base.panel_parts import significant, small_print, token_at
from retnet_viz.figures.base.theme import AUTO, DIVERGING
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace

# As a list: plotly.js knows other colours by this name than plotly in Python does.
_COLORS = get_colorscale(DIVERGING)


@Drawing
def state(
    trace: Trace,
    layer: int,
    head: int,
    n: int,
    *,
    compare: int | None = None,
    theme: str = AUTO,
) -> Spec:
    """A heatmap of S_n (d_k, d_v), or of S_n - S_m with m = `compare`.

    Row i belongs to component i of the keys, column j to component j of the values. Red is above
    zero, blue below, white zero. Hover gives the numbers to five digits.
    """
    resolve_heads(trace, [head])
    n = token_at(trace, n)
    values = trace.state(layer, n)[head].double()
    title = f"State S<sub>{n}</sub> after “{escape_token(trace.tokens[n])}”, head {head}"
    if compare is not None:
        compare = token_at(trace, compare)
        values = values - trace.state(layer, compare)[head].double()
        title = f"Difference S<sub>{n}</sub> − S<sub>{compare}</sub>, head {head}"
    cells = [significant(row) for row in values.tolist()]
    limit = max(abs(value) for row in cells for value in row) or 1.0
    rows, columns = len(cells), len(cells[0])
    return make(
        [
            {
                "type": "heatmap",
                "z": cells,
                "zmin": -limit,
                "zmax": limit,
                "colorscale": _COLORS,
                "colorbar": {"thickness": 12, "len": 1, "outlinewidth": 0, "nticks": 7},
                "hovertemplate": "row %{y}, column %{x}<br>%{z}<extra></extra>",
            }
        ],
        {
            "title": {"text": title},
            "annotations": [small_print(trace.origin("state"), theme, 50)],
            "xaxis": {
                "title": {"text": f"column j (values, d<sub>v</sub> = {columns})"},
                "showgrid": False,
                "zeroline": False,
            },
            "yaxis": {
                "title": {"text": f"row i (keys, d<sub>k</sub> = {rows})"},
                "autorange": "reversed",
                "showgrid": False,
                "zeroline": False,
            },
            "margin": {"l": 50, "r": 10, "t": 48, "b": 44},
            "meta": {"sentence": captions.state(trace, head, n, values, compare)},
        },
        theme,
    )
