"""The buttons that undo and redo, and the states between which they move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import ipywidgets as w

from retnet_viz.ui.core.state.history import PAUSE, History

State = TypeVar("State")


class Undo(w.HBox, Generic[State]):
    """A history with its two buttons; `show(state)` shows the state that undo or redo leads to."""

    def __init__(self, start: State, show: Callable[[State], None]) -> None:
        self._history = History(start)
        self._show = show
        self.back = w.Button(description="↶", tooltip="Undo (Ctrl+Z)")
        self.on = w.Button(description="↷", tooltip="Redo (Ctrl+Shift+Z)")
        super().__init__([self.back, self.on])
        self.add_class("rv-undo")
        self.back.on_click(lambda _: self.undo())
        self.on.on_click(lambda _: self.redo())
        self._enable()

    def record(self, state: State, gesture: str = "", pause: float = PAUSE) -> None:
        """A state that the user chose: see History."""
        self._history.record(state, gesture, pause)
        self._enable()

    def begin_pause(self) -> None:
        """The last choice is shown: see History."""
        self._history.begin_pause()

    def amend(self, state: State) -> None:
        """What became of the user's last choice: see History."""
        self._history.amend(state)
        self._enable()

    def restart(self, state: State) -> None:
        """Forget all steps; this is what is shown."""
        self._history = History(state)
        self._enable()

    def undo(self) -> None:
        """Show the state before the last step, if there was any."""
        if self._history.can_undo:
            self._show(self._history.undo())
            self._enable()

    def redo(self) -> None:
        """Show the state that was undone last, if any was."""
        if self._history.can_redo:
            self._show(self._history.redo())
            self._enable()

    def _enable(self) -> None:
        self.back.disabled = not self._history.can_undo
        self.on.disabled = not self._history.can_redo
