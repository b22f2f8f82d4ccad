"""Undo and redo: the states that a page has shown, as a list with a place in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

State = TypeVar("State")
MOST_STEPS = 200
PAUSE = 1.0  # seconds without a change that end a gesture


class History(Generic[State]):
    """The newest states, of which one is shown; redo shows the later ones again.

    Changes of one gesture, such as the letters of a word or the places of a slider that is dragged,
    are one step. `clock` gives seconds.
    """

    def __init__(self, start: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._states = [start]
        self._at = 0
        self._clock = clock
        self._gesture = ""  # which led to the shown state; "" once it has ended
        self._changed = 0.0

    @property
    def current(self) -> State:
        """The state that is shown."""
        return self._states[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there is a state before the one that is shown."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a state was undone."""
        return self._at < len(self._states) - 1

    def record(self, state: State, gesture: str = "", pause: float = PAUSE) -> None:
        """Show a state that the user chose, after which nothing can be redone.

        It takes the place of the one before where both came by one `gesture` within `pause`
        seconds; a change without a name is a step of its own.
        """
        if state == self.current:
            return
        del self._states[self._at + 1 :]
        now = self._clock()
        if gesture and gesture == self._gesture and now - self._changed <= pause:
            self.amend(state)
        else:
            self._states.append(state)
            del self._states[: -MOST_STEPS - 1]
            self._at = len(self._states) - 1
            self._gesture = gesture
        self._changed = now

    def begin_pause(self) -> None:
        """Count the pause from now: what waited while the last change was worked on had none."""
        self._changed = self._clock()

    def amend(self, state: State) -> None:
        """Show a state in place of the current one, as no step: it is what became of a choice."""
        self._states[self._at] = state
        if self.can_undo and self._states[self._at - 1] == state:  # nothing has changed after all
            del self._states[self._at]
            self._at -= 1
            self._gesture = ""

    def undo(self) -> State:
        """Go back to the state before; where there is none, the one that is shown."""
        return self._go(-1 if self.can_undo else 0)

    def redo(self) -> State:
        """Go on to the state that was undone last; where there is none, the one that is shown."""
        return self._go(1 if self.can_redo else 0)

    def _go(self, steps: int) -> State:
        self._at += steps
        self._gesture = ""
        return self.current
