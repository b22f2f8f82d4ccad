"""What the per-head normalisation evens out, and that a factor on the weights does not pass it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.layout import Drawing, Spec, cursor, heads_shown, hovers, make
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
from retnet_viz.figures.base.theme import INK, head_color
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
    heads: list[int] | None = None,
    theme: str = "light",
) -> Spec:
    """A line per head, before and after its normalisation: the RMS of its output for each token.

    With a `factor` other than 1 the weights are taken that many times as large and normalised
    anew: the dashed lines. `n` is the selected token.
    """
    chosen = heads_shown(trace, heads)
    selected = None if n is None else token_at(trace, n)
    before, after = rms(trace.head_output(layer)), rms(_by_head(trace, layer))
    lines = _lines(trace, chosen, before, after, "")
    shown = before[chosen]
    difference = 0.0
    notes = [small_print(f"before and after: {trace.origin('normed')}", theme, _LEFT)]
    if factor != 1:
        scaled, normed = scaled_output(trace, layer, factor)
        difference = (normed - _by_head(trace, layer))[chosen].abs().max().item()
        before_scaled, after_scaled = rms(scaled), rms(normed)
        lines += _lines(
            trace, chosen, before_scaled, after_scaled, f", weights × {factor:g}", INK[theme]
        )
        shown = torch.cat([shown, before_scaled[chosen]])
        notes[0]["text"] += f"; dashed, weights × {factor:g}: recomputed"
    top = max(1.25, 1.1 * max(max(line["y"]) for line in lines if line["xaxis"] == "x2"))
    token_line = number_axis(trace.length)
    return make(
        lines,
        {
            "title": {"text": "Per-head normalisation"},
            "annotations": notes,
            "xaxis": token_line | {"domain": _BEFORE, "anchor": "y"},
            "xaxis2": token_line | {"domain": _AFTER, "anchor": "y2"},
            "yaxis": {"title": {"text": "RMS before (log)"}, "anchor": "x"}
            | log_axis(shown.flatten().tolist()),
            "yaxis2": {"title": {"text": "RMS after"}, "anchor": "x2", "range": [0, top]},
            "margin": {"l": _LEFT, "r": 10, "t": 48, "b": below(len(chosen))},
            "legend": legend_below(theme),
            "showlegend": True,
            "shapes": [
                line | {"xref": axis} for axis in ("x", "x2") for line in cursor(selected, theme)
            ],
            "meta": {
                "sentence": captions.normalization(
                    before[chosen], after[chosen], factor, difference
                )
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
    parts = [part for part in trace.model.modules() if isinstance(part, MultiScaleRetention)]
    with torch.no_grad():
        scaled = trace.head_output(layer) * factor
        if not scaled.isfinite().all():
            raise ValueError(f"the head outputs times {factor:g} overflow; take a smaller factor")
        return scaled, parts[layer].normalize(scaled)


def _by_head(trace: Trace, layer: int) -> Tensor:
    """The normalised output as (H, T, d_v)."""
    heads: Tensor = trace.normed(layer).unflatten(-1, (trace.n_heads, -1)).transpose(0, 1)
    return heads


def _lines(
    trace: Trace, heads: list[int], before: Tensor, after: Tensor, how: str, color: str = ""
) -> list[dict[str, Any]]:
    """Solid lines in the heads' colours; dashed ones where `how` names another computation."""
    tokens = hovers(trace)
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if trace.length == 1 else "lines",
            "y": significant(values[head].tolist()),
            "name": f"head {head}{how}",
            "legendgroup": f"head {head}",
            "showlegend": axis == "" and not how,
            "line": {
                "color": head_color(head) if axis == "" or not how else color,
                "width": line_width(trace.length),
                "dash": "dash" if how else "solid",
            },
            "customdata": [] if how else tokens,
            "hovertemplate": (
                f"head {head}{how}<br>n = %{{x}}{'' if how else ' %{customdata}'}<br>"
                f"RMS {when} %{{y:.5g}}<extra></extra>"
            ),
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
        }
        for axis, when, values in (("", "before", before), ("2", "after", after))
        for head in heads
    ]
