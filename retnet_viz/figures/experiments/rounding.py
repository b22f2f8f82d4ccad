"""How far rounding moves each mode from what it computes on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from retnet_viz.experiments import Rounding
from retnet_viz.figures.base.captions import number, pluralize
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, small_print
from retnet_viz.figures.base.theme import AUTO, MODE_COLORS
from retnet_viz.model import MODES

# One size inside the other, so that equal values are all seen.
_MARKERS = {  # as plotly names the symbol, its size, and as a character
    "parallel": ("circle", 13, "●"),
    "recurrent": ("square", 9, "■"),
    "chunkwise": ("diamond", 6, "◆"),
}
_MOST_TICKS = 13
_LEFT = 56  # pixels beside the plot


@Drawing
def rounding(result: Rounding, *, theme: str = AUTO) -> Spec:
    """The largest difference of each layer's output, and of the logits, for each mode.

    x counts the layers, and stands at their number for the logits. The y axis is logarithmic; a
    difference of exactly 0 has no place on it, so its sign stands on a line of its own below,
    labelled 0. `layout.meta.sentence` says it in words.
    """
    values = {mode: [*result.modes[mode], result.logits[mode]] for mode in MODES}
    names = [
        *(f"output of layer {layer}" for layer in range(len(result.modes[MODES[0]]))),
        "logits",
    ]
    exponents = [
        math.log10(value) for row in values.values() for value in row if 0 < value < math.inf
    ]
    lowest = math.floor(min(exponents, default=-15))
    zeros = _zeros(values, names, lowest - 1)
    return make(
        [_line(mode, values[mode], names) for mode in MODES],
        {
            "title": {"text": f"Rounding in {result.dtype}: largest difference by layer"},
            "annotations": [small_print(_small_print(result), theme, _LEFT), *zeros],
            "xaxis": _layer_axis(len(names) - 1),
            "yaxis": _difference_axis(lowest, max(exponents, default=-15), bool(zeros)),
            "margin": {"l": _LEFT, "r": 12, "t": 46, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": _sentence(result)},
        },
        theme,
    )


def _line(mode: str, values: list[float], names: list[str]) -> Spec:
    symbol, size, _ = _MARKERS[mode]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": mode,
        "x": list(range(len(values))),
        # Where it is 0 a logarithmic axis leaves a gap; what is not finite no JSON can hold.
        "y": [value if math.isfinite(value) else None for value in values],
        "customdata": names,
        "line": {"color": MODE_COLORS[mode], "width": 1.5},
        "marker": {"color": MODE_COLORS[mode], "symbol": symbol, "size": size},
        "hovertemplate": f"{mode}, %{{customdata}}<br>%{{y:.3g}}<extra></extra>",
    }


def _zeros(values: dict[str, list[float]], names: list[str], floor: int) -> list[dict[str, Any]]:
    """The signs of those modes that differ by exactly 0, side by side on the line of zeros."""
    notes = []
    for index, name in enumerate(names):
        modes = [mode for mode in MODES if values[mode][index] == 0]
        if modes:
            signs = (
                f'<span style="color:{MODE_COLORS[mode]}">{_MARKERS[mode][2]}</span>'
                for mode in modes
            )
            notes.append(
                {
                    "text": " ".join(signs),
                    "hovertext": f"{', '.join(modes)}: {name}<br>exactly 0",
                    "x": index,
                    "y": floor,  # on a logarithmic axis a note stands at the power of 10
                    "showarrow": False,
                    "font": {"size": 14},
                }
            )
    return notes


def _layer_axis(n_layers: int) -> dict[str, Any]:
    stride = -(-n_layers // _MOST_TICKS)
    layers = list(range(0, n_layers - stride + 1, stride))  # the logits need room too
    return {
        "tickvals": [*layers, n_layers],
        "ticktext": [*map(str, layers), "logits"],
        "range": [-0.5, n_layers + 0.5],
        "title": {"text": "output of layer"},
        "showgrid": False,
        "zeroline": False,
    }


def _difference_axis(lowest: int, highest: float, zeros: bool) -> dict[str, Any]:
    """Powers of 10 from `lowest` on; below them a line for the zeros, where there are any."""
    stride = max(1, round((highest - lowest) / 3))
    decades = range(lowest, math.ceil(highest) + 1, stride)
    labels = {10.0**decade: f"10<sup>{decade}</sup>".replace("-", "−") for decade in decades}
    if zeros:
        labels = {10.0 ** (lowest - 1): "0"} | labels
    return {
        "type": "log",
        "range": [lowest - (1.25 if zeros else 0.15), max(highest, lowest + 1) + 0.2],
        "tickvals": list(labels),
        "ticktext": list(labels.values()),
        "title": {"text": "max |difference|"},
    }


def _reference(result: Rounding) -> str:
    return "the parallel pass" if result.dtype == "float64" else "a parallel pass in float64"


def _small_print(result: Rounding) -> str:
    return (
        f"from {_reference(result)} · largest |logit| {number(result.scale)} · "
        f"{pluralize(result.length, 'token')}, chunk size {result.chunk_size:,}"
    )


def _largest(values: Iterable[float]) -> float:
    """The largest value; one that is not a number counts as larger than all."""
    return max(values, key=lambda value: (math.isnan(value), value))


def _sentence(result: Rounding) -> str:
    outputs = _largest(value for row in result.modes.values() for value in row)
    logits = _largest(result.logits.values())
    sentence = (
        f"In {result.dtype} the modes differ from {_reference(result)} by up to {number(outputs)} "
        f"in a layer's output and {number(logits)} in the logits, which reach "
        f"{number(result.scale)}; any two modes are at most {number(result.between)} apart. "
    )
    if all(share == 1 for share in result.same_top.values()):
        return (
            f"{sentence}All three name the same likeliest next token as that pass, at every token."
        )
    shares = [f"{100 * result.same_top[mode]:.1f} % in {mode}" for mode in MODES]
    return sentence + (
        "The likeliest next token is that pass's own at "
        f"{shares[0]}, {shares[1]} and {shares[2]} mode."
    )
