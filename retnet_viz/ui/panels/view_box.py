"""A view: panels of which a page shows one group at a time, in a grid of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ipywidgets as w

from retnet_viz.ui.core import messages
from retnet_viz.ui.panels.plots.plot import Plot


def view_box(name: str, *panels: Any) -> Any:
    """The box of the view `name`, whose grid is in the page's style sheet."""
    box = w.Box(list(panels))
    box.add_class("rv-view")
    box.add_class(f"rv-view-{name}")
    return box


def show_nothing(panels: Iterable[Any], theme: str) -> None:
    """Empty the figures among the panels, for an empty text."""
    for panel in panels:
        if isinstance(panel, Plot):
            panel.show(messages.empty_figure(theme))
