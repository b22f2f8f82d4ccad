"""What a notebook keeps of a widget: HTML and a line of text, for where no kernel runs."""

from __future__ import annotations

from typing import Any

NOTE = (
    "<b>RetNet Explorer</b>, as it was when the cell ran. It is live where a kernel runs: "
    "run the cell."
)


class SavedView:
    """A widget that leaves something to see in a notebook that is read without a kernel.

    A subclass stands before the widget's own class, and says what it shows.
    """

    def _summary(self) -> str:
        """What is shown, in a few words: plain text."""
        return ""

    def _saved_html(self) -> str:
        """What is shown, as HTML."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary()})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """What Jupyter stores when the widget is displayed, by type: the live view comes first."""
        bundle = super()._repr_mimebundle_(**options)  # type: ignore[misc]
        # ipywidgets gives the data alone, anywidget its metadata too.
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = repr(self)
            data["text/html"] = f"<div>{NOTE}</div>{self._saved_html()}"
        return bundle
