"""The T x T plane of each head as small multiples: decay, scores, retention weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make, resolve_heads
from retnet_viz.figures.base.scale import ColorScale, color_scale, raster
from retnet_viz.figures.base.theme import AUTO, DIVERGING, INK, SEQUENTIAL, head_color
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace

TITLES = {
    "decay": "Decay D = γⁿ⁻ᵐ",
    "scores": "Scores QKᵀ",
    "retention": "Retention weights QKᵀ ⊙ D",
}
SIGNED = {"decay": False, "scores": True, "retention": True}


@Drawing
def decay(
    trace: Trace,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """The decay matrix D of each head as a heatmap, all on one colour scale.

    `heads` are one, some or all; `scale` is "linear", "log" or "arcsinh"; `theme` is "light" or
    "dark".
    """
    return plane.spec(trace, "decay", layer, heads=heads, scale=scale, theme=theme)


@Drawing
def scores(
    trace: Trace,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """The scores Q K^T of each head as a heatmap; options as for `decay`."""
    return plane.spec(trace, "scores", layer, heads=heads, scale=scale, theme=theme)


@Drawing
def retention(
    trace: Trace,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """The retention weights Q K^T * D of each head as a heatmap; options as for `decay`."""
    return plane.spec(trace, "retention", layer, heads=heads, scale=scale, theme=theme)


@Drawing
def plane(
    trace: Trace,
    name: str,
    layer: int,
    *,
    heads: int | list[int] | None = None,
    scale: str = "linear",
    theme: str = AUTO,
) -> Spec:
    """One heatmap per head of "decay", "scores" or "retention", all on one colour scale.

    Row n is the reading token, column m the one read. Hover shows the value itself.
    """
    heads = resolve_heads(trace, heads)
    values, colors = plane_values(trace, name, layer, heads, scale)
    columns = min(len(heads), 4)
    rows = math.ceil(len(heads) / columns)
    labels = [escape_token(token) for token in trace.tokens]
    reader = np.array(labels)[:, None].repeat(trace.length, 1)
    heatmaps: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for i, head in enumerate(heads):
        axis = "" if i == 0 else str(i + 1)
        column, row = i % columns, i // columns
        left, top = column / columns, 1 - row / rows
        layout[f"xaxis{axis}"] = {
            "domain": [left, left + 0.92 / columns],
            "anchor": f"y{axis}",
            "constrain": "domain",
            "title": {"text": "token m (read)"},
            "showgrid": False,
        }
        layout[f"yaxis{axis}"] = {
            "domain": [top - 0.8 / rows, top - 0.06 / rows],
            "anchor": f"x{axis}",
            "autorange": "reversed",
            "scaleanchor": f"x{axis}",
            "constrain": "domain",
            "title": {"text": "token n (reading)"} if column == 0 else {},
            "showgrid": False,
        }
        heatmaps.append(
            {
                "type": "heatmap",
                "z": colors.position(values[i]),
                "zmin": -1 if colors.signed else 0,
                "zmax": 1,
                "colorscale": DIVERGING if colors.signed else SEQUENTIAL,
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "customdata": np.dstack(
                    [values[i].astype(object), reader, reader.T],
                ),
                "hoverongaps": False,
                "hovertemplate": (
                    f"head {head}<br>n = %{{y}} “%{{customdata[1]}}” reads m = %{{x}} "
                    "“%{customdata[2]}”<br>%{customdata[0]:.4g}<extra></extra>"
                ),
                "showscale": i == 0,
                "colorbar": _colorbar(colors),
            }
        )
        notes.append(
            {
                "text": f"<b>head {head}</b> γ {trace.gamma(layer)[head].item():.4g}",
                "xref": "paper",
                "yref": "paper",
                "x": left,
                "y": top - 0.05 / rows,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"color": head_color(head)},
            }
        )
    layout |= {
        "title": {"text": f"{TITLES[name]}, layer {layer} · {trace.mode}: {trace.origin(name)}"},
        "annotations": notes,
        "height": 60 + 300 * rows,
        "margin": {"l": 56, "r": 10, "t": 44, "b": 40},
        "font": {"color": INK[theme]},
        "meta": {"sentence": _sentence(trace, name, layer, heads)},
    }
    return make(heatmaps, layout, theme)


def plane_values(
    trace: Trace, name: str, layer: int, heads: list[int], scale: str
) -> tuple[np.ndarray, ColorScale]:
    """The values (len(heads), T, T) of a plane, NaN above the diagonal, and their colour scale."""
    if name not in TITLES:
        raise ValueError(f"plane must be one of {tuple(TITLES)}, not {name!r}")
    values = getattr(trace, name)(layer)[heads].float().cpu().numpy()
    causal = np.tri(trace.length, dtype=bool)
    limit = 1.0 if name == "decay" else None
    # Masked scores do not count for the scale; D and the weights are 0 above the diagonal.
    causal_values = values * causal if name == "scores" else values
    colors = color_scale(causal_values, scale, signed=SIGNED[name], limit=limit)
    return np.where(causal, values, np.nan), colors


def plane_indices(
    trace: Trace, name: str, layer: int, heads: list[int], scale: str, most: int | None = None
) -> tuple[np.ndarray, ColorScale]:
    """The indices of a plane into its colour table, see `raster`, and their colour scale.

    (len(heads), T, T) uint8, 0 above the diagonal. For the decay only (len(heads), T), an index per
    distance n - m: D is the same along every diagonal. `most` limits the distances.
    """
    if name != "decay":
        values, colors = plane_values(trace, name, layer, heads, scale)
        return raster(values, colors, mask=np.tri(trace.length, dtype=bool)), colors
    first = trace.decay(layer, slice(0, most), slice(0, 1))[heads, :, 0].float().cpu().numpy()
    colors = color_scale(first, scale, signed=False, limit=1.0)
    return raster(first, colors), colors


def _sentence(trace: Trace, name: str, layer: int, heads: list[int]) -> str:
    if name == "decay":
        return captions.decay(trace, layer, heads)
    say = captions.scores if name == "scores" else captions.weights
    return say(trace, layer, heads, trace.length - 1)


def _colorbar(colors: ColorScale) -> dict[str, Any]:
    ticks = colors.ticks()
    return {
        "tickvals": [position for position, _ in ticks],
        "ticktext": [text for _, text in ticks],
        "thickness": 12,
        "len": 0.8,
    }
