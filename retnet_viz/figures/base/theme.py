"""Colours and templates: one meaning each, the same in light and dark."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly.colors import get_colorscale, sample_colorscale

# Okabe and Ito's palette, which colour-blind people can tell apart, without its black and yellow;
# those two would vanish on a dark or a light page. Head h has colour h everywhere.
HEAD_COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6BB1",
    "#A6761D",
)
MODE_COLORS = {"parallel": "#E69F00", "recurrent": "#009E73", "chunkwise": "#0072B2"}
MODEL_COLORS = {"RetNet": "#0072B2", "Transformer": "#D55E00", "Mamba": "#009E73"}
MODEL_SYMBOLS = {"RetNet": "circle", "Transformer": "square", "Mamba": "diamond"}
DIVERGING = "RdBu_r"  # signed quantities, white at zero: blue below, red above
SEQUENTIAL = "Viridis"  # magnitudes

THEMES = ("light", "dark")
AUTO = "rv.theme"  # where a figure is given no theme: the one that `theme` chose
_chosen = "light"


def theme(name: str | None = None) -> str:
    """Draw figures from now on in the theme `name`, "light" or "dark"; gives the theme.

    It is for every figure that is given no `theme` of its own. Pages follow the notebook or the
    browser by themselves, and have a control. Raises ValueError for another name.
    """
    global _chosen
    if name is not None:
        if name not in THEMES:
            raise ValueError(f"theme must be one of {THEMES}, not {name!r}")
        _chosen = name
    return _chosen


class _ByTheme(dict[str, str]):
    """A colour per theme."""

    def __missing__(self, theme: str) -> str:
        if theme == AUTO:
            return self[_chosen]
        raise ValueError(f"theme must be one of {THEMES}, not {theme!r}")


# The colours of a page. Style sheets read each as a custom property: --rv-paper, --rv-back, ...
PAGE_COLORS = {
    "paper": _ByTheme(light="#ffffff", dark="#1b1e23"),
    "back": _ByTheme(light="#f3f5f7", dark="#121418"),
    "ink": _ByTheme(light="#1f2328", dark="#e6e8eb"),
    "muted": _ByTheme(light="#59636e", dark="#9aa4af"),
    "line": _ByTheme(light="#d0d6dd", dark="#3d444d"),
    "accent": _ByTheme(light="#b1008e", dark="#ff7ae0"),  # the selection: on neither colour scale
    "note": _ByTheme(light="#8a4b00", dark="#ffb86b"),
}
PAPER, INK, MUTED = (PAGE_COLORS[name] for name in ("paper", "ink", "muted"))
GRID = _ByTheme(light="#e2e5e9", dark="#343a42")


def head_color(head: int) -> str:
    """The colour of head `head`; it repeats after eight heads, whose number is always shown too."""
    return HEAD_COLORS[head % len(HEAD_COLORS)]


def template(theme: str) -> dict[str, Any]:
    """A plotly template for "light" or "dark"."""
    axis = {
        "gridcolor": GRID[theme],
        "linecolor": GRID[theme],
        "zerolinecolor": GRID[theme],
        "tickfont": {"color": MUTED[theme]},
        "automargin": False,
        "title": {"font": {"size": 12, "color": MUTED[theme]}, "standoff": 4},
    }
    layout = {
        "paper_bgcolor": PAPER[theme],
        "plot_bgcolor": PAPER[theme],
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK[theme]},
        "title": {
            "font": {"size": 14, "weight": 600, "color": INK[theme]},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"l": 10, "t": 8},
        },
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"font": {"family": "system-ui, sans-serif", "size": 13}},
        "colorway": list(HEAD_COLORS),
    }
    return {"layout": layout}


def color_table(name: str) -> np.ndarray:
    """256 RGB colours of a plotly colour scale, (256, 3) uint8."""
    colors = sample_colorscale(get_colorscale(name), np.linspace(0, 1, 256), colortype="tuple")
    return np.round(255 * np.array(colors)).astype(np.uint8)
