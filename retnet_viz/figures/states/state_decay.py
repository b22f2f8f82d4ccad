"""What each token leaves of the state before it: γ, the same for all, or what Δ makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from retnet_viz.experiments.token_reads import TokenReads, half_life
from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import (
    legend_below,
    line_width,
    log_axis,
    number_axis,
    significant,
)
from retnet_viz.figures.base.theme import AUTO, HEAD_COLORS, head_color
from retnet_viz.figures.base.tokens import escape_token

_SELECTIVE = HEAD_COLORS[6]
_SPREAD = (0.1, 0.9)  # quantiles between which the band lies


@Drawing
def state_decay(
    readings: Mapping[str, TokenReads], layers: Mapping[str, int], *, theme: str = AUTO
) -> Spec:
    """How fast the state decays at each token, by model, in the given layer of each.

    The share of the state that a token leaves, as the half-life in tokens that it would have were
    all tokens like this one: near 1, shares cannot be told apart. Of a RetNet a line per head, of a
    Mamba the median over all channels and numbers of its state, and a band from the 10th to the
    90th percentile. All readings are of one text. `layout.meta.sentence` says it in words.
    """
    lines: list[dict[str, Any]] = []
    length = 1
    for name, reading in readings.items():
        shares = reading.decay(layers[name])
        length = reading.length
        tokens = [escape_token(piece) for piece in reading.pieces(0, length)]
        if reading.kind == "retention":
            lines += [
                _line(f"{name}, {plane}", shares[:, i], tokens, head_color(i), "dash")
                for i, plane in enumerate(reading.planes)
            ]
        elif shares.shape[1]:
            low, high = (_half_lives(_quantile(shares, q)) for q in _SPREAD)
            edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "type": "scatter"}
            lines += [
                edge | {"name": f"{name}, 10 %", "y": low, "showlegend": False},
                edge
                | {
                    "name": f"{name}, 10 to 90 % of its state",
                    "y": high,
                    "fill": "tonexty",
                    "fillcolor": f"{_SELECTIVE}40",
                },
                _line(f"{name}, median", _quantile(shares, 0.5), tokens, _SELECTIVE, "solid"),
            ]
    half_lives = [y for line in lines for y in line["y"] if y is not None]
    return make(
        lines,
        {
            "title": {"text": "Decay at each token, as a half-life in tokens"},
            "xaxis": number_axis(length) | {"showgrid": False},
            "yaxis": log_axis(half_lives) | {"title": {"text": "half-life"}},
            "margin": {"l": 56, "r": 14, "t": 34, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": captions.state_decay(readings, layers)},
        },
        theme,
    )


def _quantile(shares: Tensor, q: float) -> Tensor:
    """Each token's quantile q; Tensor.quantile sorts all shares and is ten times as slow."""
    return shares.kthvalue(1 + int(q * (shares.shape[1] - 1)), dim=1).values


def _half_lives(shares: Tensor) -> list[float | None]:
    """The half-life of each share; None where it is 0 or infinite: a log axis shows neither."""
    lives = significant(half_life(shares).tolist())
    return [life if 0 < life < math.inf else None for life in lives]


def _line(name: str, shares: Tensor, tokens: Sequence[str], color: str, dash: str) -> Spec:
    half_lives = _half_lives(shares)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "y": half_lives,
        "customdata": list(zip(tokens, significant(shares.tolist()), strict=True)),
        "line": {"color": color, "width": line_width(len(half_lives)), "dash": dash},
        "hovertemplate": f"{name}<br>n = %{{x}} “%{{customdata[0]}}” leaves %{{customdata[1]}}: "
        "half-life %{y:.3g}<extra></extra>",
    }
