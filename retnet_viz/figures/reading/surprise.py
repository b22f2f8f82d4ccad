"""How surprising each token was to the model."""

from __future__ import annotations

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, cursor, hovers, make
from retnet_viz.figures.base.panel_parts import line_width, number_axis, significant, token_at
from retnet_viz.figures.base.theme import AUTO, INK
from retnet_viz.trace import Trace


@Drawing
def surprise(trace: Trace, *, selected: int | None = None, theme: str = AUTO) -> Spec:
    """A line: -ln of the probability that the model gave to each token, in nats, from token 1 on.

    What was read before is less surprising the second time. Raises RuntimeError as `Trace.loss`.
    """
    selected = None if selected is None else token_at(trace, selected)
    loss = trace.loss
    return make(
        [
            {
                "type": "scatter",
                "mode": "lines+markers" if trace.length < 64 else "lines",
                "x": list(range(1, trace.length)),
                "y": significant(loss.tolist()),
                "name": "surprise",
                "line": {"color": INK[theme], "width": line_width(trace.length)},
                "customdata": hovers(trace)[1:],
                "hovertemplate": "n = %{x} %{customdata}<br>%{y:.3g} nats<extra></extra>",
            }
        ],
        {
            "title": {"text": "Surprise: −ln p of each token"},
            "xaxis": number_axis(trace.length),
            "yaxis": {"title": {"text": "nats"}, "rangemode": "tozero"},
            "margin": {"l": 58, "r": 10, "t": 44, "b": 42},
            "showlegend": False,
            "shapes": cursor(selected, theme),
            "meta": {"sentence": captions.surprise(trace, loss)},
        },
        theme,
    )
