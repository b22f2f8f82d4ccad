"""What belongs to the page as a whole: its style, its theme, and whether its kernel still lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.ui.core.assets import module, page_style
from retnet_viz.ui.core.questions import Answer, answer_questions


class HostBridge(anywidget.AnyWidget):
    """An invisible widget inside the explorer's box.

    theme   "auto" follows the host (JupyterLab's or Voila's theme), else "light" or "dark"
    shown   the theme that is shown, reported by the browser
    query   the state as a link's query, for the other apps and to reopen the page with
    look    how the page looks, as it stands in a query
    panels  the panels that can be hidden, and what each is called

    `last_ping` is when the page last sent a ping, by time.monotonic(); None before any.
    `on_command(what)` is called with "opened" where a page is ready to hear of changes, "undo",
    "redo" or "leave" where a key asks for it, `hide(names)` with the panels that are to be hidden.
    `link()` gives the query for "copy link", or "" and why there is none; `file()` name and text of
    the state as a file. `page` is the page's name, see `page_style`.
    """

    _esm = module("core/host_bridge.js")
    _css = page_style()
    theme = t.Unicode("auto").tag(sync=True)
    shown = t.Unicode("light").tag(sync=True)
    query = t.Unicode("").tag(sync=True)
    look = t.Unicode("").tag(sync=True)
    panels = t.Dict().tag(sync=True)

    def __init__(
        self,
        on_command: Callable[[str], None] = lambda what: None,
        hide: Callable[[Iterable[str]], None] = lambda names: None,
        link: Callable[[], tuple[str, str]] = lambda: ("", ""),
        file: Callable[[], tuple[str, str]] = lambda: ("", ""),
        page: str = "",
        **traits: Any,
    ) -> None:
        if page:
            # anywidget keeps one style sheet for each of these names: one a page, in a notebook.
            traits |= {"_css": page_style(page), "_anywidget_id": f"{__name__}.{page}"}
        super().__init__(**traits)
        self.last_ping: float | None = None
        self._on_command = on_command
        self._hide = hide
        self._link = link
        self._file = file
        self.on_msg(self._receive)
        answer_questions(self, {"link": self._make_link, "save": self._make_file})

    def _make_link(self, _about: Any) -> Answer:
        link, why_not = self._link()
        return {"link": link, "whyNot": why_not}

    def _make_file(self, _about: Any) -> Answer:
        name, text = self._file()
        return {"file": name}, [text.encode(errors="replace")]

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        if "ping" in content:
            self.last_ping = time.monotonic()
            self.send({"pong": content["ping"]})
        elif content.get("do") == "hide" and isinstance(content.get("names"), list):
            self._hide(content["names"])
        elif content.get("do") in ("opened", "undo", "redo", "leave"):
            self._on_command(content["do"])
