"""All heads at once: what each reads, how long it remembers, and its share in the prediction.

Shapes: L layers, H heads, T tokens, P pixels along a side of a picture, at most MOST_PIXELS.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import significant, small_print
from retnet_viz.figures.base.scale import SCALES, ColorScale, raster
from retnet_viz.figures.base.theme import AUTO, DIVERGING, INK
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Attribution, Trace

MOST_PIXELS = 48
_FEWER_PIXELS, _MANY = 24, 64  # from so many heads on a figure has smaller pictures
_BAND = 2**23  # cells of all heads of a layer that are held at once
_ACROSS, _DOWN = 1.25, 1.62  # from picture to picture, in sides of a picture
_BAR = 1.22  # where the bar of a share stands, below the top of its picture
_SIDE = 110  # pixels of a side, about
_LEFT = 70  # pixels
# Two colours of DIVERGING that stand out on light and dark alike: a bar's length says how much.
_LOWERS, _RAISES = "#4393c3", "#d6604d"


@Drawing
def heads(
    trace: Trace,
    token: int | str | None = None,
    position: int = -1,
    *,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """A picture of the retention weights of every head: a row per layer, a column per head.

    Above each its half-life in tokens, below it as a bar and a number its share in the logit of
    `token` (by default the likeliest) after the token at `position`: what `Trace.attribution`
    finds that it brings from all tokens together. Each picture has a colour scale of its own; a
    pixel of a long text is the weight farthest from zero of those in it. Errors as those of
    `Trace.attribution`.
    """
    found = trace.attribution(token, position)
    size = trace.n_layers * trace.n_heads
    values = pictures(trace, MOST_PIXELS if size <= _MANY else _FEWER_PIXELS)
    shares = shares_of(found)
    said = escape_token(trace.piece(found.token))
    about = f"retention weights ({trace.origin('retention')}), each head on its own colour scale"
    columns, lines = trace.n_heads, trace.n_layers
    layout = {
        "title": {
            "text": f"All heads: half-life ½, and share in the logit {found.logit:.3g} of “{said}”"
        },
        "xaxis": _axis("head", columns, _ACROSS),
        "yaxis": _axis("layer", lines, _DOWN)
        | {"range": [_DOWN * lines - 0.1, -0.32], "scaleanchor": "x", "scaleratio": 1},
        "height": round(74 + _SIDE * _DOWN * lines),
        "width": round(max(480, 90 + _SIDE * _ACROSS * columns)),
        "margin": {"l": _LEFT, "r": 16, "t": 44, "b": 30},
        "font": {"color": INK[theme]},
        "showlegend": False,
        "annotations": [*_labels(trace, shares), small_print(about, theme, _LEFT)],
        "meta": {"sentence": captions.heads(trace, found, shares)},
    }
    return make([_mosaic(trace, values, scale), _bars(shares)], layout, theme)


def pictures(trace: Trace, most: int = MOST_PIXELS) -> np.ndarray:
    """(L, H, P, P) float32: the retention weights of every head on P <= `most` pixels a side.

    A pixel is that of its weights which is farthest from zero. No more than a band of the T x T
    planes is made at once.
    """
    step = tokens_per_pixel(trace.length, most)
    band = step * max(1, _BAND // (step * trace.length * trace.n_heads))
    layers = [
        torch.cat(
            [
                pool(trace.retention(layer, rows=slice(first, first + band)), step)
                for first in range(0, trace.length, band)
            ],
            1,
        )
        for layer in range(trace.n_layers)
    ]
    return torch.stack(layers).float().cpu().numpy()


def tokens_per_pixel(length: int, most: int = MOST_PIXELS) -> int:
    """How many tokens share a pixel of a picture of at most `most` pixels a side."""
    return max(1, math.ceil(length / most))


def pool(weights: Tensor, step: int) -> Tensor:
    """(H, rows, columns) of weights (H, R, C): of each step x step block the one farthest from 0.

    Blocks at the end may be smaller.
    """
    if step == 1:
        return weights
    # Rows first: whole rows are compared at once, several times faster than block by block.
    rows = _blocks(weights, 1, step)
    high, low = rows.amax(2), rows.amin(2)
    high, low = _blocks(high, 2, step).amax(3), _blocks(low, 2, step).amin(3)
    return torch.where(-low > high, low, high)


def _blocks(values: Tensor, axis: int, step: int) -> Tensor:
    """`values` (H, R, C) with an axis split into blocks of `step`, filled up with zeros."""
    missing = -values.shape[axis] % step
    if missing:
        values = F.pad(values, (0, missing) if axis == 2 else (0, 0, 0, missing))
    blocks: Tensor = values.unflatten(axis, (-1, step))
    return blocks


def places(values: np.ndarray, scale: str) -> np.ndarray:
    """(L, H, P, P) uint8: `pictures` as places in a colour table, see `raster`; 0 is no cell.

    Each head's scale ends at its own largest magnitude.
    """
    return raster(_of_largest(values), _colors(scale), mask=np.tri(values.shape[-1], dtype=bool))


def shares_of(found: Attribution) -> np.ndarray:
    """(L, H) float64: what each head brings to the logit, from all source tokens together."""
    shares: np.ndarray = found.heads.sum(-1).cpu().numpy()
    return shares


def _of_largest(values: np.ndarray) -> np.ndarray:
    """`values` as shares of the largest magnitude of their head."""
    largest = np.abs(values).max((2, 3), keepdims=True)
    shares: np.ndarray = values / np.where(largest > 0, largest, 1)
    return shares


def _colors(scale: str) -> ColorScale:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, not {scale!r}")
    return ColorScale(scale, 1.0, signed=True)


# -- the parts of the figure --------------------------------------------------------------------


def _mosaic(trace: Trace, values: np.ndarray, scale: str) -> Spec:
    """All pictures as one heatmap, with gaps between them: hundreds of its own would be slow."""
    pixels = values.shape[-1]
    causal = np.tri(pixels, dtype=bool)
    colored = np.where(causal, _colors(scale).position(_of_largest(values)), np.nan)
    step = tokens_per_pixel(trace.length, pixels)
    hovers = np.full(values.shape, "", dtype=object)
    for layer, head, i, j in product(*map(range, values.shape)):
        if causal[i, j]:
            hovers[layer, head, i, j] = (
                f"layer {layer}, head {head}<br>n = {_tokens(trace, i, step)} reads "
                f"m = {_tokens(trace, j, step)}<br>{values[layer, head, i, j]:.4g}"
            )
    return {
        "type": "heatmap",
        "name": "weights",
        "x": _edges(trace.n_heads, pixels, _ACROSS),
        "y": _edges(trace.n_layers, pixels, _DOWN),
        "z": _tiled(colored, np.nan),
        "zmin": -1,
        "zmax": 1,
        "colorscale": DIVERGING,
        "showscale": False,
        "hoverongaps": False,
        "customdata": _tiled(hovers, ""),
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _tokens(trace: Trace, pixel: int, step: int) -> str:
    first, last = pixel * step, min(trace.length, (pixel + 1) * step) - 1
    return f"{first}" if first == last else f"{first} to {last}"


def _edges(count: int, pixels: int, pitch: float) -> list[float]:
    """Where the pixels of `count` pictures begin and end; what is between two is a gap."""
    return [i * pitch + j / pixels for i in range(count) for j in range(pixels + 1)]


def _tiled(cells: np.ndarray, gap: Any) -> np.ndarray:
    """(L (P + 1) - 1, H (P + 1) - 1): cells (L, H, P, P) as one plane, a gap after each picture."""
    framed = np.pad(cells, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=gap)
    layers, n_heads, pixels, _ = framed.shape
    plane: np.ndarray = framed.transpose(0, 2, 1, 3).reshape(layers * pixels, n_heads * pixels)
    return plane[:-1, :-1]


def _bars(shares: np.ndarray) -> Spec:
    """The shares (L, H) as bars from the middle of each picture, all on one scale."""
    places = list(product(range(shares.shape[0]), range(shares.shape[1])))
    values = significant(shares.ravel().tolist())
    largest = float(np.abs(shares).max()) or 1.0
    return {
        "type": "bar",
        "orientation": "h",
        "name": "share",
        "x": [value / largest / 2 for value in values],
        "base": [head * _ACROSS + 0.5 for _, head in places],
        "y": [layer * _DOWN + _BAR for layer, _ in places],
        "width": [0.1] * len(places),
        "marker": {"color": [_RAISES if value > 0 else _LOWERS for value in values]},
        "customdata": [
            [f"layer {layer}, head {head}", value]
            for (layer, head), value in zip(places, values, strict=True)
        ],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]:+.4g} logits<extra></extra>",
    }


def _labels(trace: Trace, shares: np.ndarray) -> list[dict[str, Any]]:
    """Above each picture its head's half-life, below it the share."""
    labels = []
    for layer in range(trace.n_layers):
        for head, life in enumerate(trace.half_life(layer).tolist()):
            left, top = head * _ACROSS, layer * _DOWN
            labels.append(_label(f"½ {captions.half_life_of(life)}", left, top - 0.14, "left"))
            text = captions.share(float(shares[layer, head]))
            labels.append(_label(text, left + 0.5, top + 1.08, "center"))
    return labels


def _label(text: str, x: float, y: float, anchor: str) -> dict[str, Any]:
    return {
        "text": text,
        "x": x,
        "y": y,
        "xanchor": anchor,
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": 12},
    }


def _axis(noun: str, count: int, pitch: float) -> dict[str, Any]:
    return {
        "tickvals": [i * pitch + 0.5 for i in range(count)],
        "ticktext": [f"{noun} {i}" for i in range(count)],
        "showgrid": False,
        "zeroline": False,
    }
