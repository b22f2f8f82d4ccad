"""A plotly figure that is updated in place, on one copy of plotly.js for the whole page."""

from __future__ import annotations

import os
from typing import Any

import anywidget
import traitlets as t
from plotly.offline import get_plotlyjs

from retnet_viz.figures.base.figure_parts import Spec
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.questions import answer_questions


class Plot(anywidget.AnyWidget):
    """Shows `figure`. plotly's own FigureWidget brings 5 MB of plotly.js each time; this asks once.

    library  where below its address the server has plotly.js, "" where only the kernel has it

    figure   data and layout, as plotly.js takes them
    clicked  x of the point last clicked, -1 before any click
    cursor   x of a dotted line over the figure, -1 for none; moves without a new drawing
    stale    whether the figure is of an earlier text, until a newer one is measured
    offers   whether the rows of a figure with `layout.meta.choices` can be chosen
    chosen   the first entry of the row last chosen, -1 once that was taken notice of

    Below the drawing stands the sentence of the figure's `layout.meta.sentence`, if it has one, and
    a button shows the figure's numbers as a table.
    """

    _esm = module("panels/plots/plot.js")
    _css = style("styles/panels.css")
    library = t.Unicode().tag(sync=True)
    figure = t.Dict().tag(sync=True)
    clicked = t.Int(-1).tag(sync=True)
    cursor = t.Int(-1).tag(sync=True)
    stale = t.Bool(False).tag(sync=True)
    offers = t.Bool(False).tag(sync=True)
    chosen = t.Int(-1).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**{"library": os.environ.get("RETNET_VIZ_PLOTLY", "")} | traits)
        answer_questions(self, {"plotly.js": lambda _: ({}, [get_plotlyjs().encode()])})

    def show(self, spec: Spec) -> None:
        """Draw the figure of `spec` in place of the one shown."""
        self.figure = spec
