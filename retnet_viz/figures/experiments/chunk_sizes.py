"""Time and memory over the chunk size: which size between recurrent and parallel is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from retnet_viz.experiments import ChunkCurve
from retnet_viz.figures.base.captions import number, pluralize
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import round_ticks
from retnet_viz.figures.base.theme import AUTO, INK, MODE_COLORS, MUTED

_GAP = 0.1  # between the two plots, as a share of the width
_MOST_TICKS = 7


@Drawing
def chunk_sizes(curve: ChunkCurve, current: int, *, theme: str = AUTO) -> Spec:
    """Two plots over the chunk size: milliseconds, and peak memory. All axes are logarithmic.

    Markers are measured, the dashed line is predicted from the two ends. A dotted line stands at
    the `current` chunk size, at the length of the text where it is longer. The x of a marker is
    its chunk size. `layout.meta.sentence` says it in words.
    """
    marked_size = min(current, curve.length)
    unit, scale = _memory_unit(max(curve.peak_bytes))
    panels: list[tuple[str, str, list[float], list[float]]] = [
        ("time", "ms", list(curve.milliseconds), list(curve.predicted_milliseconds)),
        (
            "memory",
            unit,
            [value / scale for value in curve.peak_bytes],
            [value / scale for value in curve.predicted_bytes],
        ),
    ]
    traces: list[Spec] = []
    layout: dict[str, Any] = {}
    shapes = []
    for i, (quantity, unit, values, predictions) in enumerate(panels):
        axis = "" if i == 0 else str(i + 1)
        axes = {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "legend": f"legend{axis}"}
        traces += [
            _measured_markers(curve, quantity, values, unit, theme) | axes,
            _predicted_line(curve, predictions, unit, theme) | axes,
        ]
        left = i * (1 + _GAP) / 2
        layout[f"xaxis{axis}"] = _size_axis(curve.sizes, marked_size) | {
            "domain": [left, left + (1 - _GAP) / 2],
            "anchor": f"y{axis}",
        }
        layout[f"yaxis{axis}"] = _value_axis([*values, *predictions]) | {"anchor": f"x{axis}"}
        layout[f"legend{axis}"] = {
            "orientation": "h",
            "x": left,
            "y": 1,
            "yanchor": "bottom",
            "font": {"size": 11, "color": MUTED[theme]},
            "itemwidth": 30,
        }
        shapes.append(_current_line(curve, current, marked_size, axis, theme))
    layout |= {
        "title": {"text": f"Time and peak memory by chunk size, layer {curve.layer}, measured"},
        "shapes": shapes,
        "margin": {"l": 46, "r": 14, "t": 54, "b": 38},
        "showlegend": True,
        "meta": {"sentence": _sentence(curve, current)},
    }
    return make(traces, layout, theme)


def _measured_markers(
    curve: ChunkCurve, quantity: str, values: list[float], unit: str, theme: str
) -> Spec:
    names = {1: "recurrent", curve.length: "parallel"}  # one token is read by one step either way
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": f"{quantity}, {unit}",
        "x": list(curve.sizes),
        "y": values,
        "marker": {"color": MODE_COLORS["chunkwise"], "size": 8},
        "text": [names.get(size, "") for size in curve.sizes],
        "textposition": [
            "top center" if size == curve.length else "top right" for size in curve.sizes
        ],
        "textfont": {"size": 11, "color": MUTED[theme]},
        "cliponaxis": False,
        "customdata": [_steps(curve, size) for size in curve.sizes],
        "hovertemplate": (
            f"chunk size %{{x:,}}, %{{customdata}}<br>%{{y:.4g}} {unit} measured<extra></extra>"
        ),
    }


def _predicted_line(curve: ChunkCurve, values: list[float], unit: str, theme: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"predicted, {unit}",
        "x": list(curve.sizes),
        "y": values,
        "line": {"color": MUTED[theme], "width": 1.5, "dash": "dash"},
        "hovertemplate": f"chunk size %{{x:,}}<br>%{{y:.4g}} {unit} predicted<extra></extra>",
    }


def _steps(curve: ChunkCurve, size: int) -> str:
    return pluralize(-(-curve.length // size), "step")


def _current_line(
    curve: ChunkCurve, current: int, marked_size: int, axis: str, theme: str
) -> dict[str, Any]:
    low, high = _size_range(curve.sizes)
    rightmost = math.log10(marked_size) > (low + high) / 2
    return {
        "type": "line",
        "xref": f"x{axis}",
        "yref": f"y{axis} domain",
        "x0": marked_size,
        "x1": marked_size,
        "y0": 0,
        "y1": 1,
        "line": {"color": INK[theme], "width": 1.5, "dash": "dot"},
        "label": {
            "text": f"chunk size {current:,}",
            "textangle": 0,
            "textposition": "end",
            "xanchor": "right" if rightmost else "left",
            "yanchor": "top",
            "padding": 4,
            "font": {"size": 11, "color": INK[theme]},
        },
    }


# -- axes -----------------------------------------------------------------------------------


def _size_range(sizes: Sequence[int]) -> tuple[float, float]:
    """The ends of the x axis, as powers of 10."""
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _size_axis(sizes: Sequence[int], marked_size: int) -> dict[str, Any]:
    ticks = _tick_sizes(sizes, marked_size)
    return {
        "type": "log",
        "range": list(_size_range(sizes)),
        "tickvals": ticks,
        "ticktext": [f"<b>{size:,}</b>" if size == marked_size else f"{size:,}" for size in ticks],
        "tickangle": 0,
        "title": {"text": "chunk size"},
    }


def _tick_sizes(sizes: Sequence[int], marked_size: int) -> list[int]:
    """The sizes that get a label: the ends, the current one, and others that have room beside them.

    On a logarithmic axis room is a ratio.
    """
    room = max(1.5, (sizes[-1] / sizes[0]) ** (1 / _MOST_TICKS))
    ticks: list[int] = []
    for size in (marked_size, sizes[-1], *sizes):
        if all(max(size, tick) / min(size, tick) >= room for tick in ticks):
            ticks.append(size)
    return sorted(ticks)


def _value_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with room at the top for the label of the current chunk size."""
    low, high = math.log10(min(values)), math.log10(max(values))
    bottom, top = low - max(0.12 * (high - low), 0.1), high + max(0.35 * (high - low), 0.15)
    ticks = round_ticks(bottom, top)
    return {
        "type": "log",
        "range": [bottom, top],
        "tickvals": ticks,
        "ticktext": [f"{tick:,.10g}" for tick in ticks],
    }


# -- words ----------------------------------------------------------------------------------


def _memory_unit(largest: int) -> tuple[str, float]:
    return ("MB", 1e6) if largest >= 1e6 else ("kB", 1e3)


def _memory(count: int) -> str:
    unit, scale = _memory_unit(count)
    return f"{number(count / scale)} {unit}"


def _sentence(curve: ChunkCurve, current: int) -> str:
    time = dict(zip(curve.sizes, curve.milliseconds, strict=True))
    memory = dict(zip(curve.sizes, curve.peak_bytes, strict=True))
    best = curve.best
    if len(curve.sizes) == 1:
        return (
            f"Chunk size {best:,} is the only one measured: {number(time[best])} ms, "
            f"and {_memory(memory[best])} at its peak."
        )
    ends = [size for size in (curve.sizes[0], curve.sizes[-1]) if size != best]
    against = " and ".join(
        f"{time[size] / time[best]:.1f} times as fast as chunk size {size:,}" for size in ends
    )
    sentence = (
        f"Chunk size {best:,} is the fastest of {len(curve.sizes)} measured: "
        f"{number(time[best])} ms, {against}; it needs {_memory(memory[best])} at its peak."
    )
    marked_size = min(current, curve.length)
    if marked_size in time and marked_size != best:
        sentence += (
            f" The current chunk size {current:,} takes {number(time[marked_size])} ms "
            f"and {_memory(memory[marked_size])}."
        )
    predictions = dict(zip(curve.sizes, curve.predicted_milliseconds, strict=True))
    worst = max(curve.sizes, key=lambda size: abs(predictions[size] / time[size] - 1))
    error = predictions[worst] / time[worst] - 1
    if abs(error) >= 0.005:
        sentence += (
            f" The time predicted from the two ends is furthest off at chunk size {worst:,}: "
            f"{abs(error):.0%} too {'long' if error > 0 else 'short'}."
        )
    return sentence
