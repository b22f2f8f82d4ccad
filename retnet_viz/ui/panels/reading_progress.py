"""How far the reading of a long text is, with a button that ends it."""

from __future__ import annotations

import ipywidgets as w

from retnet_viz.ui.core import messages


class ReadingProgress(w.HBox):
    """A bar, a sentence and `cancel`; shown from `show` until `hide`."""

    def __init__(self) -> None:
        self.bar = w.IntProgress(max=1, layout={"width": "160px"})
        self.sentence = w.HTML()
        self.cancel = w.Button(description="Cancel", tooltip="Stop reading; the text stays")
        super().__init__([self.bar, self.sentence, self.cancel])
        self.add_class("rv-reading")
        self.hide()

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` tokens have been read."""
        self.bar.max, self.bar.value = max(1, total), done
        self.sentence.value = messages.reading_progress(done, total)
        self.layout.display = ""

    def hide(self) -> None:
        """Show nothing."""
        self.layout.display = "none"
