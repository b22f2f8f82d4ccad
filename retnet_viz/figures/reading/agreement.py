"""How far the three modes are apart on one text."""

from __future__ import annotations

from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, log_axis
from retnet_viz.figures.base.theme import AUTO, HEAD_COLORS
from retnet_viz.trace import Agreement
from retnet_viz.trace.passes.forms import FORMS


@Drawing
def agreement(differences: Agreement, mode: str, *, theme: str = AUTO) -> Spec:
    """Bars on a log axis: the largest differences of `mode` from each other one.

    A difference of exactly 0 has no bar; its label says so.
    """
    kinds = [
        ("logits", differences.logits, HEAD_COLORS[0]),
        ("layer outputs", differences.outputs, HEAD_COLORS[1]),
    ]
    series = [(name, values, color) for name, values, color in kinds if values]
    names = [f"{mode} − {other_mode}" for other_mode in differences.outputs]
    return make(
        [
            {
                "type": "bar",
                "name": name,
                "orientation": "h",
                "x": list(values.values()),
                "y": names,
                "text": [f"{value:.1e}" if value else "0" for value in values.values()],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": color},
                "hovertemplate": f"%{{y}}, {name}: %{{x:.3g}}<extra></extra>",
            }
            for name, values, color in series
        ],
        {
            "title": {"text": "Largest differences between the modes"},
            "xaxis": {
                "title": {"text": f"|difference| (log); values reach {number(differences.scale)}"},
                **log_axis([value for _, values, _ in series for value in values.values()]),
                "tickformat": ".0e",
            },
            "yaxis": {"autorange": "reversed"},
            "margin": {"l": 170, "r": 60, "t": 40, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {
                "sentence": f"{FORMS[mode].label} mode is at most {differences.worst:.1e} away "
                f"from the other two; the largest value is {number(differences.scale)}."
            },
        },
        theme,
    )
