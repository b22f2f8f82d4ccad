"""What the tests of figures read from a figure: its sentence, and whether an axis shows a value."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go


def sentence_of(figure: go.Figure) -> str:
    """The sentence that stands below the figure."""
    sentence = figure.layout.meta["sentence"]
    assert isinstance(sentence, str)
    return sentence


def is_inside(value: float, log_axis: Any) -> bool:
    """Whether a logarithmic axis shows a value."""
    return bool(log_axis.range[0] <= math.log10(value) <= log_axis.range[1])
