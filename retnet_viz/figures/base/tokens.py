"""Tokens as labels of a figure: visible, and escaped where HTML is read."""

from __future__ import annotations

import html

from retnet_viz.trace.notebook.visible_token import visible

__all__ = ["escape_token", "visible"]


def escape_token(token: str) -> str:
    """`visible(token)` for places that read HTML, as plotly's labels do."""
    return html.escape(visible(token), quote=False)
