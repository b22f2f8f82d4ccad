"""The cost of one more token against its position, by model: milliseconds, and bytes of state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from retnet_viz.experiments.cost_model import (
    TRANSFORMER,
    Config,
    Precision,
    bytes_crossover,
    precision_of,
    state_bytes,
)
from retnet_viz.experiments.generation_cost import FIRST, Point, crossover
from retnet_viz.figures.base.captions import data_size, join_words, number
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, round_ticks, small_print
from retnet_viz.figures.base.theme import AUTO, INK, MODEL_COLORS, MODEL_SYMBOLS

Measurements = Mapping[str, Sequence[Point]]  # of each model at the same positions, in order
NOTHING = "Nothing measured yet: Start lets the three models generate."
_LEFT = 62  # pixels
_LABEL = 0.12  # of the height of a plot: a line of text


@Drawing
def step_time(measurements: Measurements, reach: int, *, theme: str = AUTO) -> Spec:
    """Milliseconds per token against position, up to `reach`; both axes are logarithmic.

    A dotted line for each other model marks the position from which on the Transformer is slower,
    if there is one.
    `layout.meta.sentence` says it in words.
    """
    times = {
        name: [point.milliseconds for point in points] for name, points in measurements.items()
    }
    traces = [
        _line(name, measurements[name], values, "%{y:.3g} ms") for name, values in times.items()
    ]
    crossovers = {name: _time_crossover(measurements, name) for name in _other_models(measurements)}
    y_axis = _log_axis([t for values in times.values() for t in values] or [1.0, 10.0], number, 0.3)
    layout = {
        "title": {"text": "Time per token, ms"},
        "xaxis": _position_axis(reach),
        "yaxis": {**y_axis, "title": {"text": "ms per token"}},
        "shapes": _crossings(crossovers, reach, theme),
        "meta": {"sentence": _time_sentence(measurements)},
    }
    note = "median of up to 32 tokens, generated one by one"
    return _figure(traces, layout, note, theme)


@Drawing
def state_size(
    measurements: Measurements,
    configs: Mapping[str, Config],
    dtype: torch.dtype,
    reach: int,
    *,
    theme: str = AUTO,
) -> Spec:
    """Bytes of state against position, up to `reach`; both axes are logarithmic.

    Markers are measured, dashes are the formula for models of these `configs` in `dtype`. Dotted
    lines stand where by the formula the Transformer's state outgrows the others'.
    `layout.meta.sentence` says it in words.
    """
    precision = precision_of(dtype)
    positions = [FIRST * 2**i for i in range((reach // FIRST).bit_length())]
    positions = sorted({*positions, reach})
    traces: list[Spec] = []
    for name, config in configs.items():
        formula_bytes = [state_bytes(config, position, precision) for position in positions]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, formula",
                "showlegend": False,
                "legendgroup": name,
                "x": positions,
                "y": formula_bytes,
                "line": {"color": MODEL_COLORS[name], "width": 1.5, "dash": "dash"},
                "hovertemplate": f"{name}, formula<br>position %{{x:,}}: %{{y:,}} bytes"
                "<extra></extra>",
            }
        )
    values = [value for trace in traces for value in trace["y"]]
    for name in configs:
        points = measurements.get(name, ())
        sizes = [point.state_bytes for point in points]
        traces.append(_line(name, points, sizes, "%{y:,} bytes") | {"mode": "markers"})
        values += sizes
    crossovers = {}
    if TRANSFORMER in configs:
        growing = configs[TRANSFORMER]
        crossovers = {
            name: bytes_crossover(growing, configs[name], precision)
            for name in _other_models(configs)
        }
    layout = {
        "title": {"text": "State, bytes"},
        "xaxis": _position_axis(reach),
        "yaxis": byte_axis(values),
        "shapes": _crossings(crossovers, reach, theme),
        "meta": {"sentence": _bytes_sentence(configs, precision, reach)},
    }
    return _figure(traces, layout, "markers: measured; dashes: the calculator's formula", theme)


def _figure(traces: list[Spec], layout: Spec, note: str, theme: str) -> Spec:
    layout |= {
        "annotations": [small_print(note, theme, _LEFT)],
        "margin": {"l": _LEFT, "r": 14, "t": 50, "b": 62},
        "showlegend": True,
        "legend": legend_below(theme),
    }
    return make(traces, layout, theme)


def _line(name: str, points: Sequence[Point], values: Sequence[float], value_format: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": name,
        "x": [point.position for point in points],
        "y": list(values),
        "line": {"color": MODEL_COLORS[name], "width": 2},
        "marker": {"color": MODEL_COLORS[name], "symbol": MODEL_SYMBOLS[name], "size": 7},
        "hovertemplate": f"{name}, measured<br>position %{{x:,}}: {value_format}<extra></extra>",
    }


def _crossings(
    crossovers: Mapping[str, int | None], reach: int, theme: str
) -> list[dict[str, Any]]:
    """A dotted line for each model where the Transformer comes to cost more than it.

    The labels stand below each other, on the side of their lines where there is room; the lines end
    below all of them, so that none runs through another's label.
    """
    marks = [
        (name, at) for name, at in crossovers.items() if at is not None and FIRST <= at <= reach
    ]
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1 - _LABEL * len(marks),
            "line": {"color": MODEL_COLORS[name], "width": 1.5, "dash": "dot"},
            "label": {
                "text": f"more than {name}: {at:,}" + "<br>&nbsp;" * (len(marks) - 1 - i),
                "textangle": 0,
                "textposition": "end",
                "xanchor": "right" if at > math.sqrt(FIRST * reach) else "left",
                "yanchor": "bottom",
                "padding": 1,
                "font": {"size": 12, "color": INK[theme]},
            },
        }
        for i, (name, at) in enumerate(marks)
    ]


# -- axes ----------------------------------------------------------------------------------------


def _position_axis(reach: int) -> dict[str, Any]:
    span = math.log2(reach / FIRST)
    step = 1 if span <= 6 else 2
    ticks = [FIRST * 2**i for i in range(0, int(span) + 1, step)]
    return {
        "type": "log",
        "range": [math.log10(FIRST) - 0.05, math.log10(reach) + 0.05],
        "tickvals": ticks,
        "ticktext": [f"{tick:,}" for tick in ticks],
        "tickangle": 0,
        "title": {"text": "position, tokens read"},
    }


def byte_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis of bytes whose ticks are written with their units."""
    return _log_axis(values, data_size)


def _log_axis(
    values: Sequence[float], write: Callable[[float], str], room: float = 0.06
) -> dict[str, Any]:
    """A logarithmic axis with `room` above the largest value, as a share of what is below it."""
    low, high = math.log10(min(values)), math.log10(max(values))
    span = high - low
    low, high = low - max(0.06 * span, 0.1), high + max(room * span, 0.15)
    ticks = round_ticks(low, high)
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [write(tick) for tick in ticks],
    }


# -- words ---------------------------------------------------------------------------------------


def _other_models(names: Mapping[str, Any]) -> list[str]:
    return [name for name in names if name != TRANSFORMER]


def _time_crossover(measurements: Measurements, name: str) -> int | None:
    if not measurements.get(name) or not measurements.get(TRANSFORMER):
        return None
    return crossover(measurements[TRANSFORMER], measurements[name])


def _time_sentence(measurements: Measurements) -> str:
    last = {name: points[-1] for name, points in measurements.items() if points}
    if not last:
        return NOTHING
    position = next(iter(last.values())).position
    sentence = ", ".join(f"{name} {number(point.milliseconds)} ms" for name, point in last.items())
    sentence = f"At position {position:,}: {sentence}."
    if TRANSFORMER not in last:
        return sentence
    crossovers = {name: _time_crossover(measurements, name) for name in _other_models(last)}
    slower = [f"than {name} from {at:,} on" for name, at in crossovers.items() if at is not None]
    if slower:
        sentence += f" The Transformer stays slower {join_words(slower)}."
    without = [name for name, at in crossovers.items() if at is None]
    if without:
        sentence += f" Up to here no crossover with {' or '.join(without)}."
    return sentence


def _bytes_sentence(configs: Mapping[str, Config], precision: Precision, reach: int) -> str:
    growing = configs.get(TRANSFORMER)
    if growing is None:
        return ""
    clauses = " and ".join(
        f"{name}'s state ({data_size(state_bytes(configs[name], 1, precision))} at any length) "
        f"from {bytes_crossover(growing, configs[name], precision):,} tokens on"
        for name in _other_models(configs)
    )
    most = data_size(state_bytes(growing, reach, precision))
    return f"The Transformer's keys and values take more than {clauses}; at {reach:,}, {most}."
