"""What the pages of all apps have in common: the first line, help, theme, and how they are set."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import ipywidgets as w

from retnet_viz.figures.theme import head_color
from retnet_viz.widgets import readout
from retnet_viz.widgets.background import OutdatedError
from retnet_viz.widgets.page import Page
from retnet_viz.widgets.state import THEME_CHOICES


class Frame(w.VBox):
    """A page: a grid of areas below a first line. A subclass gives the areas and draws them.

    `state` is what the user chose; `_setting` whether the page itself is writing to its controls.
    """

    app: ClassVar[str]  # the file name of the app that shows this page
    help_words: ClassVar[str]  # HTML

    def __init__(self) -> None:
        self._setting = False
        self._showing = threading.Lock()  # see _while_current
        self._elsewhere: dict[str, Any] = {}  # what the link held for the other apps
        self.page = Page()
        self.theme = w.Dropdown(
            options=[(f"theme: {choice}", choice) for choice in THEME_CHOICES],
            layout={"width": "120px"},
        )
        self.help = w.ToggleButton(
            description="?", tooltip="What is this?", layout={"width": "34px"}
        )
        self.help_text = w.HTML(self.help_words, layout={"display": "none"})
        self.help_text.add_class("rv-help")
        self.brand = w.HTML()
        self.brand.add_class("rv-grow")
        grid = w.Box(self._areas())
        grid.add_class("rv-grid")
        super().__init__([self.page, grid, self.help_text])
        self.add_class("rv-explorer")

    def _areas(self) -> list[Any]:
        """Build the controls and panels, and give the areas of the grid."""
        raise NotImplementedError

    def _chosen(self, **chosen: Any) -> None:
        """Take fields of the state as the user's choice."""
        raise NotImplementedError

    def _themed(self) -> None:
        """Draw everything in another theme."""
        raise NotImplementedError

    def _head(self, about: str, n_heads: int, *controls: Any) -> Any:
        """The page's first line, which says what is shown; so many heads have a colour."""
        self._say_about(about, n_heads)
        return area("head", w.HBox([self.brand, *controls, self.theme, self.help]))

    def _say_about(self, about: str, n_heads: int) -> None:
        self.brand.value = (
            f"<style>{head_colors(n_heads)}</style>"
            f'<span class="rv-brand">RetNet Explorer</span> {readout.apps(self.app)}'
            f'<span class="rv-model">{html.escape(about)}</span>'
        )

    def _listen(self) -> None:
        """Take the controls' changes as choices from now on."""
        self._bind(self.theme, "theme")
        self.page.observe(lambda _: self._themed(), "shown")
        self.help.observe(self._help_toggled, "value")

    def _bind(self, control: Any, field: str, trait: str = "value") -> None:
        """Take what a control's trait becomes as the user's choice of a field."""
        control.observe(lambda change: self._chosen(**{field: change["new"]}), trait)

    def _help_toggled(self, change: Any) -> None:
        self.help_text.layout.display = "" if change["new"] else "none"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write to controls without that being taken for the user's choice. Not for threads."""
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    @contextmanager
    def _while_current(self, current: Callable[[], bool]) -> Iterator[None]:
        """Show something of work in a thread, unless it is outdated: whoever drops it holds
        `_showing`, and nothing of it comes after that.
        """
        with self._showing:
            if not current():
                raise OutdatedError
            yield


def area(name: str, widget: Any) -> Any:
    """`widget` in the grid's area `name`."""
    widget.add_class(f"rv-area-{name}")
    return widget


def group(label: str, *controls: Any) -> Any:
    """Controls behind a label, which is text."""
    box = w.HBox([w.HTML(html.escape(label)), *controls])
    box.add_class("rv-group")
    return box


def bar(*controls: Any) -> Any:
    """A line of controls."""
    box = w.HBox(list(controls))
    box.add_class("rv-bar")
    return box


def head_colors(count: int) -> str:
    """A style sheet that gives what is of a head that head's colour."""
    return "".join(f".rv-head-{head}{{--rv-head:{head_color(head)}}}" for head in range(count))
