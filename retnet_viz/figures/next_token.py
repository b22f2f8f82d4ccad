"""What the model expects to come next."""

from __future__ import annotations

from retnet_viz.figures import words
from retnet_viz.figures.layout import Drawing, Spec, make
from retnet_viz.figures.theme import MUTED
from retnet_viz.figures.tokens import escaped
from retnet_viz.trace import Trace

_BAR = "#0072B2"


@Drawing
def next_token(trace: Trace, position: int = -1, *, count: int = 10, theme: str = "light") -> Spec:
    """Bars: the `count` likeliest tokens after the token at `position`, with probabilities."""
    if not -trace.length <= position < trace.length:
        raise IndexError(f"position {position} is outside a text of {trace.length} tokens")
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    position %= trace.length
    probabilities = trace.logits[position].double().softmax(-1)
    top = probabilities.topk(min(count, len(probabilities)))
    values, ids = top.values.tolist(), top.indices.tolist()
    bars = {
        "type": "bar",
        "name": "probability",
        "orientation": "h",
        "x": values,
        "y": list(range(len(ids))),
        "text": [f"{100 * value:.1f} %" for value in values],
        "textposition": "outside",
        "textfont": {"size": 12},
        "constraintext": "none",
        "cliponaxis": False,
        "marker": {"color": _BAR},
        "customdata": [escaped(trace.piece(token_id)) for token_id in ids],
        "hovertemplate": "“%{customdata}”: %{x:.4f}<extra></extra>",
    }
    after = escaped(trace.tokens[position])
    return make(
        [bars],
        {
            "title": {"text": f"Next after n = {position} “{after}”"},
            "xaxis": {"range": [0, max(values) * 1.3], "showticklabels": False, "showgrid": False},
            "yaxis": {
                "tickvals": list(range(len(ids))),
                "ticktext": [escaped(trace.piece(token_id)) for token_id in ids],
                "range": [len(ids) - 0.5, -0.5],
                "tickfont": {"family": "ui-monospace, monospace", "size": 12},
                "showgrid": False,
            },
            "font": {"color": MUTED[theme]},
            "margin": {"l": 100, "r": 8, "t": 30, "b": 6},
            "bargap": 0.25,
            "meta": {"sentence": words.next_token(trace, position)},
        },
        theme,
    )
