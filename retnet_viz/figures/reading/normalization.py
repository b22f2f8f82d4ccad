"""What the per-head normalisation evens out, and that it removes a factor on the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, cursor, hovers, make, resolve_heads
from retnet_viz.figures.base.panel_parts import (
    below,
    legend_below,
    line_width,
    log_axis,
    number_axis,
    significant,
    small_print,
    token_at,
)
from retnet_viz.figures.base.theme import AUTO, INK, head_color
from retnet_viz.model.retnet import MultiScaleRetention
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.external_tensors import ExternalTensors

_BEFORE, _AFTER = [0.0, 0.44], [0.58, 1.0]  # domains
_LEFT = 60  # pixels


@Drawing
def normalization(
    trace: Trace,
    layer: int,
    n: int | None = None,
    *,
    factor: float = 1.0,
    heads: int | list[int] | None = None,
    theme: str = AUTO,
) -> Spec:
    """A line per head, before and after its normalisation: the RMS of its output for each token.

    With a `factor` other than 1 the weights are taken that many times as large and normalised
    anew: the dashed lines. `n` is the selected token.
    """
    heads = resolve_heads(trace, heads)
    selected = None if n is None else token_at(trace, n)
    before, after = rms(trace.head_output(layer)), rms(_by_head(trace, layer))
    lines = _lines(trace, heads, before, after, "")
    before_values = before[heads]
    difference = 0.0
    notes = [small_print(f"before and after: {trace.origin('normed')}", theme, _LEFT)]
    if factor != 1:
        scaled, normed = scaled_output(trace, layer, factor)
        difference = (normed - _by_head(trace, layer))[heads].abs().max().item()
        before_scaled, after_scaled = rms(scaled), rms(normed)
        lines += _lines(
            trace, heads, before_scaled, after_scaled, f", weights × {factor:g}", INK[theme]
        )
        before_values = torch.cat([before_values, before_scaled[heads]])
        notes[0]["text"] += f"; dashed, weights × {factor:g}: recomputed"
    top = max(1.25, 1.1 * max(max(line["y"]) for line in lines if line["xaxis"] == "x2"))
    token_axis = number_axis(trace.length)
    return make(
        lines,
        {
            "title": {"text": "Per-head normalisation"},
            "annotations": notes,
            "xaxis": token_axis | {"domain": _BEFORE, "anchor": "y"},
            "xaxis2": token_axis | {"domain": _AFTER, "anchor": "y2"},
            "yaxis": {"title": {"text": "RMS before (log)"}, "anchor": "x"}
            | log_axis(before_values.flatten().tolist()),
            "yaxis2": {"title": {"text": "RMS after"}, "anchor": "x2", "range": [0, top]},
            "margin": {"l": _LEFT, "r": 10, "t": 48, "b": below(len(heads))},
            "legend": legend_below(theme),
            "showlegend": True,
            "shapes": [
                line | {"xref": axis} for axis in ("x", "x2") for line in cursor(selected, theme)
            ],
            "meta": {
                "sentence": captions.normalization(before[heads], after[heads], factor, difference)
            },
        },
        theme,
    )


def rms(x: Tensor) -> Tensor:
    """The root of the mean square over the last axis, float64."""
    return x.double().square().mean(-1).sqrt()


def scaled_output(trace: Trace, layer: int, factor: float) -> tuple[Tensor, Tensor]:
    """The head outputs (H, T, d_v) with all weights times `factor`, before and after the layer's
    own normalisation.

    A head's output is linear in its weights, so that it takes the factor as it is. Raises
    ValueError on a factor that is not above 0, or with which the outputs overflow, and on a trace
    without a model.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"factor must be a finite number above 0, not {factor!r}")
    if isinstance(trace.model, ExternalTensors):
        raise ValueError("a trace without a model has no normalisation to run again")
    modules = [
        module for module in trace.model.modules() if isinstance(module, MultiScaleRetention)
    ]
    with torch.no_grad():
        scaled = trace.head_output(layer) * factor
        if not scaled.isfinite().all():
            raise ValueError(f"the head outputs times {factor:g} overflow; take a smaller factor")
        return scaled, modules[layer].normalize(scaled)


def _by_head(trace: Trace, layer: int) -> Tensor:
    """The normalised output as (H, T, d_v)."""
    heads: Tensor = trace.normed(layer).unflatten(-1, (trace.n_heads, -1)).transpose(0, 1)
    return heads


def _lines(
    trace: Trace, heads: list[int], before: Tensor, after: Tensor, suffix: str, color: str = ""
) -> list[dict[str, Any]]:
    """Solid lines in the heads' colours; dashed ones where `suffix` names another computation."""
    tokens = hovers(trace)
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if trace.length == 1 else "lines",
            "y": significant(values[head].tolist()),
            "name": f"head {head}{suffix}",
            "legendgroup": f"head {head}",
            "showlegend": axis == "" and not suffix,
            "line": {
                "color": head_color(head) if axis == "" or not suffix else color,
                "width": line_width(trace.length),
                "dash": "dash" if suffix else "solid",
            },
            "customdata": [] if suffix else tokens,
            "hovertemplate": (
                f"head {head}{suffix}<br>n = %{{x}}{'' if suffix else ' %{customdata}'}<br>"
                f"RMS {stage} %{{y:.5g}}<extra></extra>"
            ),
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
        }
        for axis, stage, values in (("", "before", before), ("2", "after", after))
        for head in heads
    ]
