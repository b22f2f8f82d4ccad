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
    trace: TextReading,
    position: int = -1,
    *,
    count: int = 10,
    before: TextReading | None = None,
    theme: str = AUTO,
) -> Spec:
    """Bars: the `count` likeliest tokens after the token at `position`, with probabilities.

    With `before`, a trace of the same text without edits, each has a second bar for what it was
    there, and the likeliest of that trace is among them. Of a trace without a model, a sentence in
    their place.
    """
    if not -trace.length <= position < trace.length:
        raise IndexError(f"position {position} is outside a text of {trace.length} tokens")
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    position %= trace.length
    probabilities = trace.logits_after(position).double().softmax(-1)
    if not len(probabilities):
        return _empty_figure(theme)
    ids = probabilities.topk(min(count, len(probabilities))).indices.tolist()
    earlier = None if before is None else before.logits_after(position).double().softmax(-1)
    if earlier is not None and (likeliest := int(earlier.argmax())) not in ids:
        ids[-1] = likeliest
    values = probabilities[ids].tolist()
    shares = [_share(value) for value in values]
    values_before = [] if earlier is None else earlier[ids].tolist()
    if values_before:
        shares = [f"{_share(old)}→{new}" for old, new in zip(values_before, shares, strict=True)]
    names = [escape_token(trace.piece(token_id)) for token_id in ids]
    bars = {
        "type": "bar",
        "name": "probability" if before is None else "after",
        "orientation": "h",
        "x": values,
        "y": list(range(len(ids))),
        "marker": {"color": _BAR},
        "customdata": names,
        "hovertemplate": "“%{customdata}”: %{x:.4f}<extra></extra>",
    }
    after = escape_token(trace.pieces(position, position + 1)[0])
    bars_before = {
        **bars,
        "name": "before",
        "x": values_before,
        "marker": {"color": "rgba(0,0,0,0)", "line": {"color": MUTED[theme], "width": 1.5}},
        "hovertemplate": "“%{customdata}” before: %{x:.4f}<extra></extra>",
    }
    largest = max(values + values_before)
    return make(
        [bars] if before is None else [bars, bars_before],
        {
            "title": {
                "text": f"Next after n = {position} “{after}”"
                + ("" if before is None else ": before (outline) and after the changes")
            },
            "barmode": "overlay",
            "showlegend": False,
            "xaxis": {"range": [0, largest * 1.02], "visible": False, "fixedrange": True},
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
            "margin": {"l": 150 if before is None else 210, "r": 8, "t": 30, "b": 6},
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


def _share(probability: float) -> str:
    """As the axis has it: of one width, so that the numbers stand below each other."""
    return f"{100 * probability:.1f} %".rjust(8).replace(" ", "\u00a0") + "\u00a0"


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
