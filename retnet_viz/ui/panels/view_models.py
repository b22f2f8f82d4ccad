"""What the explorer's widgets are given to show of a trace: pure functions of it and the choices.

The live page draws with these, and so does a page that is recorded for reading without a kernel.
"""

from __future__ import annotations

from typing import Any

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import head_color
from retnet_viz.figures.reading.planes import TITLES, plane_indices
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.panels import cell_messages


def plane(
    trace: Trace, name: str, layer: int, heads: list[int], scale: str, most: int
) -> dict[str, Any]:
    """`cells` and `meta` of a `Heatmap` for "decay" or "retention"; decay of `most` tokens only."""
    places, colors = plane_indices(trace, name, layer, heads, scale, most)
    length = min(trace.length, most)
    first = f"; first {length:,} tokens" if length < trace.length else ""
    return {
        "cells": places.tobytes(),
        "meta": {
            "title": TITLES[name],
            "origin": trace.origin(name) + first,
            "summary": f"{length} by {length} cells, layer {layer}",
            "computed": FORMS[trace.mode].cells,
            "block": trace.chunk_size,
            "length": length,
            "diagonal": name == "decay",
            "signed": colors.signed,
            "ticks": colors.ticks(),
            "heads": [
                {"index": head, "label": f"head {head}", "color": head_color(head)}
                for head in heads
            ],
        },
    }


def plane_sentence(trace: Trace, name: str, layer: int, heads: list[int], selected: int) -> str:
    """What a plane shows, where no cell is pointed at or pinned."""
    if name == "decay":
        return captions.decay(trace, layer, heads)
    return captions.weights(trace, layer, heads, selected)


def strip(
    trace: Trace, layer: int, heads: list[int], selected: int, scale: str, window: range
) -> dict[str, Any]:
    """`shades`, `weights` and `note` of a `TokenStrip` over the tokens of `window`.

    What the selected token retains of each of them: the mean over `heads`.
    """
    window_read = slice(window.start, selected + 1)
    weights = trace.retention(layer, slice(selected, selected + 1), window_read)
    mean = weights[heads, 0].mean(0).float().cpu().numpy()
    colors = color_scale(mean, scale, signed=True)
    return {
        "shades": raster(mean, colors).tobytes(),
        "weights": mean.tobytes(),
        "note": cell_messages.strip_note(trace, layer, heads, window),
    }
