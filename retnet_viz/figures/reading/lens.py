"""What each layer would predict: the logit lens."""

from __future__ import annotations

import numpy as np
import torch

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import token_at, token_axis
from retnet_viz.figures.base.theme import AUTO, INK, SEQUENTIAL
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace

_MOST = 24  # tokens: more words than that do not fit side by side
_ROW = 34  # pixels


@Drawing
def lens(trace: Trace, *, last: int = -1, count: int = _MOST, theme: str = AUTO) -> Spec:
    """For each layer and token, the word that its output would predict, were it the last layer.

    A row per layer, the last one on top, and a column per token: `count` tokens, up to `last`. The
    colour is the word's probability. The top row is what the model predicts. Raises ValueError
    where `count` is below 1, else as `Trace.lens`.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    last = token_at(trace, last)
    first = max(0, last + 1 - count)
    columns = slice(first, last + 1)
    probabilities, ids = (
        torch.stack(each)
        for each in zip(
            *(
                trace.lens(layer, columns).double().softmax(-1).max(-1)
                for layer in range(trace.n_layers)
            ),
            strict=True,
        )
    )
    words = [[escape_token(trace.piece(token_id)) for token_id in row] for row in ids.tolist()]
    axis, bottom = token_axis(trace, last)
    tokens = [escape_token(piece) for piece in trace.pieces(first, last + 1)]
    layers = [f"layer {layer}" for layer in range(trace.n_layers)]
    return make(
        [
            {
                "type": "heatmap",
                "x": list(range(first, last + 1)),
                "y": layers,
                "z": probabilities.numpy(),
                "zmin": 0,
                "zmax": 1,
                "colorscale": SEQUENTIAL,
                "text": words,
                "texttemplate": "%{text}",
                "customdata": np.array([tokens] * len(layers)),
                "hovertemplate": (
                    "after %{y}, n = %{x} “%{customdata}”<br>“%{text}”: %{z:.3g}<extra></extra>"
                ),
                "colorbar": {"title": {"text": "probability"}, "thickness": 12},
            }
        ],
        {
            "title": {"text": "What each layer would say next"},
            "xaxis": axis | {"title": {"text": "token n"}, "range": [first - 0.5, last + 0.5]},
            "yaxis": {"showgrid": False},
            "height": 70 + bottom + _ROW * trace.n_layers,
            "margin": {"l": 64, "r": 10, "t": 44, "b": bottom},
            "font": {"color": INK[theme]},
            "meta": {"sentence": captions.lens(trace, last, ids[:, -1].tolist())},
        },
        theme,
    )
