"""What the pages of all apps have in common: the first line, help, theme, and how they are set."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import anywidget
import ipywidgets as w

from retnet_viz.figures.base.theme import head_color
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.background import DelayedCall, OutdatedError
from retnet_viz.ui.core.host_bridge import HostBridge
from retnet_viz.ui.core.saved_view import SavedView
from retnet_viz.ui.core.state import state_file
from retnet_viz.ui.core.state.link import (
    MOST_IN_QUERY,
    MOST_SHARED,
    Link,
    LinkError,
    first_within,
    read_link,
)
from retnet_viz.ui.core.state.page_layout import NAMES, PageLayout, as_names
from retnet_viz.ui.core.state.page_state import THEME_CHOICES

LEAST_HEIGHT = 300  # pixels of a page that scrolls: text and controls take half of it
LINK_PAUSE = 0.3  # seconds from a change until the page knows the link to it: not at every key


class AppPage(SavedView, w.VBox):
    """A page: a grid of areas below a first line. A subclass gives the areas and draws them.

    `state` is what the user chose, `look` how the page is laid out. `_is_writing` is true while the
    page itself writes to its controls.
    """

    app: ClassVar[str]  # the file name of the app that shows this page
    part: ClassVar[str]  # whose state it is, in links
    panels: ClassVar[tuple[str, ...]] = ()  # the areas that can be hidden
    help_words: ClassVar[str]  # HTML
    state: Any

    def __init__(self) -> None:
        self.look = PageLayout()
        self._is_writing = False
        self._display_lock = threading.Lock()  # see _while_current
        self._link = DelayedCall(self._make_link, LINK_PAUSE)
        self._other_parts: dict[str, Any] = {}  # the states of the other apps, from the link
        name = self.app.removesuffix(".ipynb")
        self.page = HostBridge(
            self._on_command,
            self._hide,
            self.shared_link,
            lambda: (state_file.NAME, self._state_file()),
            page=name,
            panels={panel: NAMES[panel] for panel in self.panels},
        )
        self.choose = w.Button(description="panels", tooltip="Choose the panels that are shown")
        self.choose.add_class("rv-choose")
        self.copy_link = w.Button(description="copy link", tooltip="Copy a link to this view")
        self.copy_link.add_class("rv-copy")
        self.show_all = w.Button(tooltip="Show the panels that are hidden")
        self.show_all.add_class("rv-show-all")
        self.present = w.ToggleButton(
            description="present", tooltip="Large letters, for a projector; Escape leaves"
        )
        self.present.add_class("rv-present-toggle")
        self.theme = w.Dropdown(
            options=[(f"theme: {choice}", choice) for choice in THEME_CHOICES],
            layout={"width": "110px"},
        )
        self.help = w.ToggleButton(
            description="?", tooltip="What is this?", layout={"width": "34px"}
        )
        for control in (self.choose, self.copy_link, self.theme, self.help):
            control.add_class("rv-desk")  # for whoever sits at it; not in the view for a projector
        self.help_text = w.HTML(self.help_words, layout={"display": "none"})
        self.help_text.add_class("rv-help")
        self.brand = w.HTML()
        self.brand.add_class("rv-grow")
        grid = w.Box(self._areas())
        grid.add_class("rv-grid")
        super().__init__([self.page, grid, self.help_text])
        self.add_class("rv-explorer")
        self.add_class(f"rv-{name}-page")
        self._show_look()

    def _areas(self) -> list[Any]:
        """Build the controls and panels, and give the areas of the grid."""
        raise NotImplementedError

    def _update_state(self, **fields: Any) -> None:
        """Change fields of the state to what the user chose."""
        raise NotImplementedError

    def _apply_theme(self) -> None:
        """Draw everything anew, in the theme of the page."""
        raise NotImplementedError

    def _head(self, about: str, n_heads: int, *controls: Any) -> Any:
        """The page's first line, which says what is shown; so many heads have a colour."""
        self._write_brand(about, n_heads)
        shared = [self.show_all, self.copy_link, self.present]
        if self.panels:
            shared.insert(0, self.choose)
        return area("head", w.HBox([self.brand, *controls, *shared, self.theme, self.help]))

    def _write_brand(self, about: str, n_heads: int) -> None:
        text = html.escape(about)
        self.brand.value = (
            f"<style>{head_colors(n_heads)}</style>"
            f'<span class="rv-brand" title="{text}">RetNet Explorer</span> '
            f"{messages.app_links(self.app)}"
            f'<span class="rv-model">{text}</span>'
        )

    def _listen(self) -> None:
        """Take the controls' changes as choices from now on."""
        self._bind(self.theme, "theme")
        self.show_all.on_click(lambda _: self._set_look(replace(self.look, hide=())))
        self.present.observe(self._on_present, "value")
        self.page.observe(lambda _: self._apply_theme(), "shown")
        self.help.observe(self._on_help, "value")

    def _bind(self, control: Any, field: str, trait: str = "value") -> None:
        """Change a field of the state when the user changes a control."""

        def set_field(change: Any) -> None:
            """Change the field to the control's new value."""
            self._update_state(**{field: change["new"]})

        control.observe(set_field, trait)

    # -- links ------------------------------------------------------------------------------

    def open_link(self, query: str) -> None:
        """Show what a link holds: its query, or its whole address.

        A link that cannot be read changes nothing, and what cannot be shown is left out: the page
        says so in a sentence.
        """
        try:
            link = read_link(query)
        except LinkError as error:
            self._show_link_message(str(error))
        else:
            self._open(link)

    def _open(self, link: Link) -> None:
        """Show what a link or a state file holds, as far as it can be."""
        refused: list[str] = []
        if link.parts or link.theme is not None:
            self._other_parts = link.other_parts(self.part)
            before = type(self.state)() if self.part in link.parts else self.state
            state, refused = self._with_link(before, link.fields(self.part))
            self.apply_state(state)
        look, unknown = link.look.for_panels(self.panels)
        self._set_look(look)
        ignored = [*link.ignored, *refused, *unknown]
        if ignored:
            self._show_link_message(messages.ignored_fields(ignored))

    def _with_link(self, state: Any, fields: dict[str, Any]) -> tuple[Any, list[str]]:
        """`state` with fields of a link, and the names of those that cannot be."""
        result: tuple[Any, list[str]] = state.with_fields(fields)
        return result

    def apply_state(self, state: Any) -> None:
        """Do what the controls do."""
        raise NotImplementedError

    def _show_link_message(self, message: str) -> None:
        """Say what was wrong with a link."""
        raise NotImplementedError

    def _write_link(self) -> None:
        """Have the page know, in a moment, the links that lead to what it shows."""
        self.page.look = self.look.query()
        self._link.schedule()

    def _make_link(self) -> None:
        own_parts = self.state.link_parts()
        self.page.query = first_within(MOST_IN_QUERY, {**self._other_parts, **own_parts}, own_parts)

    def shared_link(self) -> tuple[str, str]:
        """The query that "copy link" gives, or "" and the reason why there is none."""
        own_parts = self.state.link_parts()
        all_parts = {**self._other_parts, **own_parts}
        link = ""
        if self._fits_in_link:
            link = first_within(MOST_SHARED, all_parts, own_parts, look=self.look.query())
        return link, "" if link else messages.TOO_LONG_FOR_A_LINK

    @property
    def _fits_in_link(self) -> bool:
        """Whether a link holds all that is shown, if it is short enough."""
        return True

    def _state_file(self) -> str:
        """What is shown as the text of a file."""
        return state_file.encode({**self._other_parts, **self._file_parts()}, self.look)

    def _file_parts(self) -> dict[str, Any]:
        """The parts of a state file: see `link_parts` of a state."""
        parts: dict[str, Any] = self.state.link_parts()
        return parts

    # -- the look ---------------------------------------------------------------------------

    def arrange(
        self, hide: str | Iterable[str] = (), present: bool = False, height: int | None = None
    ) -> None:
        """Lay the page out without the panels that `hide` names; large, for a projector.

        A page of a `height`, in pixels, scrolls in its own box, with text and controls in view.
        Raises ValueError where a name is not one of `panels`, or the height is too small.
        """
        look, unknown = PageLayout(as_names(hide), present).for_panels(self.panels)
        if unknown:
            raise ValueError(f"hide must name some of {self.panels}, not {unknown[0]!r}")
        if height is not None and (not isinstance(height, int) or height < LEAST_HEIGHT):
            raise ValueError(
                f"height must be a number of pixels, {LEAST_HEIGHT} or more, not {height!r}"
            )
        self.layout.height = None if height is None else f"{height}px"
        (self.remove_class if height is None else self.add_class)("rv-scrolling")
        self._set_look(look)

    def _hide(self, names: Iterable[str]) -> None:
        """Leave out the panels that the page's switches name."""
        self._set_look(replace(self.look, hide=tuple(names)).for_panels(self.panels)[0])

    def _set_look(self, look: PageLayout) -> None:
        self.look = look
        self._show_look()

    def _show_look(self) -> None:
        hide, present = self.look.hide, self.look.present
        classes = {f"rv-without-{name}": name in hide for name in self.panels}
        classes |= {"rv-reduced": bool(hide), "rv-present": present}
        for name, on in classes.items():
            (self.add_class if on else self.remove_class)(name)
        self.show_all.description = messages.show_hidden(len(hide))
        self.show_all.layout.display = "" if hide else "none"
        with self._writing():
            self.present.value = present
            self.present.description = "leave (Esc)" if present else "present"
        self._write_link()

    def _on_present(self, change: Any) -> None:
        if not self._is_writing:
            self._set_look(replace(self.look, present=change["new"]))

    def _on_command(self, command: str) -> None:
        """Do what the page asks for."""
        if command == "leave":
            self._set_look(replace(self.look, present=False))
        elif command == "opened":
            self._resend()

    def _resend(self) -> None:
        """Send everything once more: while a page is opened it misses what threads send."""
        self._link.settle()
        self.page.send_state("query")
        for widget in _descendants(self):
            if widget.layout.display is not None:
                widget.layout.send_state("display")
            if isinstance(widget, _OUTPUTS) and widget is not self.page:
                # Not what says where it lies and how it is drawn, which stays.
                names = {name for name in widget.keys if not name.startswith("_")}
                widget.send_state(names - {"layout", "style"})

    def _on_help(self, change: Any) -> None:
        self.help_text.layout.display = "" if change["new"] else "none"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write to controls without that being taken for the user's choice. Not for threads."""
        before, self._is_writing = self._is_writing, True
        try:
            yield
        finally:
            self._is_writing = before

    @contextmanager
    def _while_current(self, is_current: Callable[[], bool]) -> Iterator[None]:
        """Show a result of work in a thread, unless that is outdated.

        Who cancels the work holds `_display_lock`, so nothing of it is shown after that.
        """
        with self._display_lock:
            if not is_current():
                raise OutdatedError
            yield


_OUTPUTS = (anywidget.AnyWidget, w.HTML, w.IntProgress)  # where nothing is typed or dragged


def _descendants(widget: Any) -> Iterator[Any]:
    """A widget, and all that is in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _descendants(child)


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
