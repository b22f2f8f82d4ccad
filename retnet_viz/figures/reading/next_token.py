"""What the model expects to come next."""

from __future__ import annotations

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.captions import TextReading
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.theme import AUTO, MUTED
from retnet_viz.figures.base.tokens import escape_token, visible

_BAR = "#0072B2"


@Drawing
def next_token(
    trace: TextReading, position: int = -1, *, count: int = 10, theme: str = AUTO
) -> Spec:
    """Bars: the `count` likeliest tokens after the token at `position`, with probabilities.

    Of a trace without a model, a sentence in their place.
    """
    if not -trace.length <= position < trace.length:
        raise IndexError(f"position {position} is outside a text of {trace.length} tokens")
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    position %= trace.length
    probabilities = trace.logits_after(position).double().softmax(-1)
    if not len(probabilities):
        return _empty_figure(theme)
    top = probabilities.topk(min(count, len(probabilities)))
    values, ids = top.values.tolist(), top.indices.tolist()
    shares = [f"{100 * value:.1f} %".rjust(8).replace(" ", "\u00a0") + "\u00a0" for value in values]
    names = [escape_token(trace.piece(token_id)) for token_id in ids]
    bars = {
        "type": "bar",
        "name": "probability",
        "orientation": "h",
        "x": values,
        "y": list(range(len(ids))),
        "marker": {"color": _BAR},
        "customdata": names,
        "hovertemplate": "“%{customdata}”: %{x:.4f}<extra></extra>",
    }
    after = escape_token(trace.pieces(position, position + 1)[0])
    return make(
        [bars],
        {
            "title": {"text": f"Next after n = {position} “{after}”"},
            "xaxis": {"range": [0, max(values) * 1.02], "visible": False, "fixedrange": True},
            "yaxis": {
                # As text of the axis the shares cost half of what they do as text of the bars.
                "tickvals": list(range(len(ids))),
                "ticktext": [name + share for name, share in zip(names, shares, strict=True)],
                "range": [len(ids) - 0.5, -0.5],
                "fixedrange": True,
                "tickfont": {"family": "ui-monospace, monospace", "size": 12},
                "showgrid": False,
            },
            "font": {"color": MUTED[theme]},
            "margin": {"l": 150, "r": 8, "t": 30, "b": 6},
            "bargap": 0.25,
            "meta": {
                "sentence": captions.next_token(trace, position),
                # What a page may offer to append: the id of each, its text, its probability.
                "choices": [
                    [token_id, visible(trace.piece(token_id)), f"{100 * share:.1f} %"]
                    for token_id, share in zip(ids, values, strict=True)
                ],
            },
        },
        theme,
    )


def _empty_figure(theme: str) -> Spec:
    hidden_axis = {"visible": False, "fixedrange": True}
    note = {
        "text": captions.NO_NEXT_TOKEN.replace(": ", ":<br>"),
        "x": 0.5,
        "y": 0.5,
        "xref": "paper",
        "yref": "paper",
        "showarrow": False,
        "font": {"color": MUTED[theme]},
    }
    return make(
        [],
        {
            "title": {"text": "Next token"},
            "annotations": [note],
            "xaxis": hidden_axis,
            "yaxis": hidden_axis,
            "margin": {"l": 8, "r": 8, "t": 30, "b": 6},
            "meta": {"sentence": captions.NO_NEXT_TOKEN},
        },
        theme,
    )
