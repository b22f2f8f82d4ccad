"""A page whose text can go on by itself."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.ui.core.runner import Result
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.core.state.written import add_range
from retnet_viz.ui.pages.explorer.continuation import Continuation
from retnet_viz.ui.pages.text_page import TextPage
from retnet_viz.ui.panels.plots.plot import Plot


class WritingPage(TextPage):
    """A text page with a `continuation`. A subclass has `next`, where a prediction can be taken.

    What the user does to the text ends what the model does to it.
    """

    next: Plot
    can_go_on: ClassVar[bool] = True

    def __init__(self, model: ObservedModel, state: ExplorerState) -> None:
        self.continuation = Continuation(self)
        super().__init__(model, state)

    def _listen(self) -> None:
        super()._listen()
        self.next.observe(self._on_choice, "chosen")

    def _on_choice(self, change: Any) -> None:
        if change["new"] < 0:
            return
        self.next.chosen = -1
        if self.next.offers:
            with self._showing_failures(self.state):
                self.continuation.take(change["new"])

    def _show_offers(self) -> None:
        """Offer the predictions where they follow the text: after its last token."""
        trace = self.trace
        self.next.offers = (
            self.can_go_on and trace is not None and self.selected == trace.length - 1
        )

    # -- what the continuation needs ----------------------------------------------------------

    @property
    def full_text(self) -> str:
        """The text, also where it is still being read."""
        return self.state.before + self.state.text

    @property
    def is_reading(self) -> bool:
        """Whether a text is being read in a thread."""
        return self._reader.is_busy

    def append_text(self, piece: str, gesture: str) -> None:
        """Add what the model wrote, in one step of undo with what had the same gesture."""
        text = self.state.text + piece
        written = add_range(self.state.written, len(self.state.text), len(text))
        self._update_state(gesture, math.inf, text=text, written=written)

    def say(self, sentence: str) -> None:
        """Say something, as HTML, until a text is read."""
        self._fail(sentence)

    # -- what ends it, or lets it go on -------------------------------------------------------

    def _show_text(self, reading: Result) -> None:
        super()._show_text(reading)
        self.continuation.text_shown()

    def open_text(self, text: str, about: str = "") -> None:
        """Read a text in place of the one that is shown, which is not continued any more."""
        self.continuation.stop()
        super().open_text(text, about)

    def _show_reading_failure(self, error: Exception) -> None:
        self.continuation.stop()
        super()._show_reading_failure(error)

    def cancel_reading(self) -> None:
        """Stop reading, and writing; the text and the mode that are shown stay."""
        self.continuation.stop()
        super().cancel_reading()
