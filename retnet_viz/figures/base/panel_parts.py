"""What the small panels share: the token that they are about, axes, legends, short labels."""

from __future__ import annotations

import html
import math
from typing import Any

from retnet_viz.figures.base.figure_parts import note
from retnet_viz.figures.base.theme import MUTED
from retnet_viz.figures.base.tokens import visible
from retnet_viz.trace import Trace

_FEW_TOKENS = 24  # up to here each token has its own label on an axis
_LABEL = 8  # characters of such a label
_CHARACTER = 7  # pixels of one character, about


def token_at(trace: Trace, position: int) -> int:
    """`position` counted from the start of the text; negative ones count from the end.

    Raises IndexError where the text has no such token.
    """
    return trace.check_position(position)


def significant(values: list[float], digits: int = 5) -> list[float]:
    """The values to `digits` significant digits: what hovering shows, and half of it to send."""
    return [float(f"{value:.{digits}g}") for value in values]


def token_axis(trace: Trace, last: int) -> tuple[dict[str, Any], int]:
    """An axis of tokens 0 .. `last`, and the margin in pixels that its labels need.

    Tokens stand beside their numbers where they are few, numbers alone where they are many.
    """
    axis: dict[str, Any] = {"title": {"text": "token m"}, "showgrid": False}
    if last >= _FEW_TOKENS:
        return axis | {"range": [-0.6, last + 0.6]}, 42
    labels = [_short(token) for token in trace.tokens[: last + 1]]
    axis |= {
        "range": [-0.6, max(last, 7) + 0.6],  # one token is no reason for a bar as wide as a page
        "tickmode": "array",
        "tickvals": list(range(last + 1)),
        "ticktext": [html.escape(label, quote=False) for label in labels],
        "tickangle": -90,
        "ticklabelstandoff": 4,
        "tickfont": {"family": "ui-monospace, monospace", "size": 12},
    }
    longest = max(len(label) for label in labels)
    return axis, 30 + _CHARACTER * max(2, longest)


def _short(token: str) -> str:
    label = visible(token)
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"


def small_print(text: str, theme: str, left: int) -> dict[str, Any]:
    """A `note` that begins under the title's first letter; `left` is the left margin in pixels."""
    return note(text, theme) | {"xshift": 10 - left}


def number_axis(length: int, title: str = "token n") -> dict[str, Any]:
    """An axis of token numbers: token n stands at n, and no tick stands between two tokens."""
    axis = {"title": {"text": title}, "range": [-0.5, max(1, length - 0.5)]}
    return axis | ({"dtick": 1} if length <= 8 else {})


def line_width(length: int) -> float:
    """The width in pixels of a line over `length` tokens: thinner for a long text."""
    return 2 if length <= 128 else 1.2


def log_axis(values: list[float], floor: float = 0.0) -> dict[str, Any]:
    """A log axis from the smallest of `values` above `floor` to the largest."""
    inside = [value for value in values if value > floor and math.isfinite(value)] or [1.0]
    low, high = math.log10(min(inside)), math.log10(max(inside))
    edge = max(0.06 * (high - low), 0.05)
    # Round powers of ten alone would leave a short axis without a number.
    step = "D1" if high - low < 0.7 else "D2" if high - low < 2.5 else math.ceil((high - low) / 6)
    return {
        "type": "log",
        "range": [low - edge, high + edge],
        "dtick": step,
        "tickformat": ",~g",
    }


def round_ticks(low: float, high: float) -> list[float]:
    """The roundest three or more numbers between two powers of 10, for a short log axis."""
    ticks: list[float] = []
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [
            digit * 10.0**decade
            for decade in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= decade + math.log10(digit) <= high
        ]
        if len(ticks) >= 3:
            break
    return ticks


def legend_below(theme: str) -> dict[str, Any]:
    """A legend in one line along the bottom edge, at any height of the panel."""
    return {
        "orientation": "h",
        "xref": "container",
        "x": 0.01,
        "xanchor": "left",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "itemwidth": 30,
        "tracegroupgap": 0,
        "font": {"color": MUTED[theme]},
    }


def below(heads: int) -> int:
    """The bottom margin in pixels that an axis with a title and `legend_below` need."""
    return 62 if heads <= 4 else 80
