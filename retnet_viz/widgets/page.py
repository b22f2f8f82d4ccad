"""What belongs to the page as a whole: its style, its theme, and whether its kernel still lives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t


class Page(anywidget.AnyWidget):
    """An invisible widget inside the explorer's box.

    theme   "auto" follows the host (JupyterLab's or Voila's theme), else "light" or "dark"
    shown   the theme that is shown, reported by the browser
    query   the state as a link's query, to reopen the page with

    `heard` is when the page last gave a sign of life, by time.monotonic(); None before any.
    """

    _esm = Path(__file__).parent / "page.js"
    _css = Path(__file__).parent / "explorer.css"
    theme = t.Unicode("auto").tag(sync=True)
    shown = t.Unicode("light").tag(sync=True)
    query = t.Unicode("").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.heard: float | None = None
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and "ping" in content:
            self.heard = time.monotonic()
            self.send({"pong": content["ping"]})
