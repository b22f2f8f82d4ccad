"""What the tests of the modes at work look at when there is no browser."""

from retnet_viz.ui.core.state.page_state import VIEWS

STEPS, SIDE, STATE, PARTS = VIEWS
TEXT = "The fox had a red kite, and the kite had a long tail."
WAIT = 60  # seconds, at most, for a thread


def part_of(widget, name):
    """A control or a panel of the page, or of one of its views."""
    parts = (widget, widget.side, widget.state_view, widget.parts)
    return next(getattr(part, name) for part in parts if hasattr(part, name))


def data(plot):
    return plot.figure["data"]


def title(plot):
    return plot.figure["layout"]["title"]["text"]


def failed(widget):
    return "could not" in widget.notice.value or "could not" in widget.side.activity.value
