"""One step of a mode as a still figure: the pictures that the stage plays."""

from __future__ import annotations

import html
from typing import Any

from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.theme import AUTO, DIVERGING, INK, MUTED, SEQUENTIAL, head_color
from retnet_viz.figures.steps.scene import Bars, Picture, scene
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.forms import FORMS

_GAP = 0.065  # between pictures, as a share of the width
_ROW = 150  # pixels


@Drawing
def stage(trace: Trace, layer: int, head: int, n: int, *, theme: str = AUTO) -> Spec:
    """The step of the trace's mode that gives the output of token n in one head.

    A heatmap for every term of the mode's equation, in rows as `scene` orders them, and a bar per
    token. Raises IndexError on a layer, head or token that there is not.
    """
    step_scene = scene(trace, layer, head, n)
    rows = len(step_scene.lines) + (step_scene.bars is not None)
    traces: list[Spec] = []
    layout: Spec = {}
    notes: list[Spec] = []

    def place(left: float, right: float, row: int, caption: str) -> str:
        """Axes in a part of a row, with a caption above; gives their number."""
        axis = "" if not traces else str(len(traces) + 1)
        top, bottom = 1 - (row + 0.16) / rows, 1 - (row + 0.86) / rows
        layout[f"xaxis{axis}"] = {"domain": [left, right], "anchor": f"y{axis}", "showgrid": False}
        layout[f"yaxis{axis}"] = {
            "domain": [bottom, top],
            "anchor": f"x{axis}",
            "autorange": "reversed",
            "showgrid": False,
        }
        notes.append(_note(caption, left, top, INK[theme]) | {"xanchor": "left"})
        return axis

    for row, line in enumerate(step_scene.lines):
        pictures = [item for item in line if isinstance(item, Picture)]
        width = (1 - _GAP * (len(pictures) - 1)) / len(pictures)
        column = 0
        for item in line:
            left = column * (width + _GAP)
            if isinstance(item, Picture):
                caption = f"<b>{html.escape(item.label)}</b> ‖·‖ {item.norm:.3g}, {item.origin}"
                axis = place(left, left + width, row, caption)
                layout[f"yaxis{axis}"]["showticklabels"] = item.values.shape[0] > 1
                traces.append(_heatmap(item, axis, step_scene.limits[item.scale]))
                column += 1
            else:
                middle = 1 - (row + 0.51) / rows
                notes.append(_note(html.escape(item), left - _GAP / 2, middle, INK[theme], 14))
    if step_scene.bars is not None:
        caption = f"{html.escape(step_scene.bars.title)}, {html.escape(step_scene.bars.unit)}"
        axis = place(0, 1, rows - 1, caption)
        del layout[f"yaxis{axis}"]["autorange"]
        layout[f"yaxis{axis}"] |= {"range": [0, step_scene.bars.limit or 1], "showgrid": True}
        traces.append(_bars(step_scene.bars, axis, head))
    layout |= {
        "title": {
            "text": f"{FORMS[trace.mode].label}, step {step_scene.step + 1} of {step_scene.steps}, "
            f"layer {layer}, head {head}"
        },
        "annotations": notes,
        "showlegend": False,
        "height": 70 + _ROW * rows,
        "margin": {"l": 40, "r": 12, "t": 40, "b": 20},
        "font": {"color": INK[theme]},
        "meta": {"sentence": step_scene.sentence},
    }
    layout["annotations"].append(
        _note(html.escape(step_scene.sentence, quote=False), 0, 0, MUTED[theme])
        | {"xanchor": "left", "yanchor": "top", "yshift": 4}
    )
    return make(traces, layout, theme)


def _heatmap(picture: Picture, axis: str, limit: float) -> dict[str, Any]:
    rows, columns = picture.values.shape
    return {
        "type": "heatmap",
        "name": picture.label,
        "z": picture.values,
        "zmin": -limit if picture.signed else 0,
        "zmax": limit,
        "colorscale": DIVERGING if picture.signed else SEQUENTIAL,
        "showscale": False,
        "x": list(range(picture.col_start, picture.col_start + columns)),
        "y": list(range(picture.row_start, picture.row_start + rows)),
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "hovertemplate": (
            f"{html.escape(picture.label)}<br>{picture.rows or 'row'} %{{y}}, {picture.cols} %{{x}}"
            "<br>%{z:.4g}<extra></extra>"
        ),
    }


def _bars(bars: Bars, axis: str, head: int) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": bars.title,
        "x": list(range(bars.first, bars.first + len(bars.values))),
        "y": bars.values,
        "customdata": [html.escape(label, quote=False) for label in bars.labels],
        "marker": {"color": head_color(head)},
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "hovertemplate": "n %{x} “%{customdata}”: %{y:.4g}<extra></extra>",
    }


def _note(text: str, x: float, y: float, color: str, size: int = 12) -> dict[str, Any]:
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "center",
        "yanchor": "bottom" if size == 12 else "middle",
        "showarrow": False,
        "font": {"size": size, "color": color},
    }
