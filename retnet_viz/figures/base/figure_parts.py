"""What the figures share: how one is made, which heads it shows, where its cursor is."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from typing import Any, Generic, ParamSpec

import plotly.graph_objects as go

from retnet_viz.figures.base.theme import INK, MUTED, template
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace

Spec = dict[str, Any]
P = ParamSpec("P")


class Drawing(Generic[P]):
    """A function that gives a plotly figure; its `spec` gives the same as plain dictionaries.

    plotly checks each property of a figure. That is right for a figure that goes to a user, but it
    takes four times as long as making it: too long for the live panels at every keystroke.
    """

    def __init__(self, spec: Callable[P, Spec]) -> None:
        self.spec = spec
        update_wrapper(self, spec)
        self.__signature__ = signature(spec).replace(return_annotation="go.Figure")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> go.Figure:
        """The figure. Raises TypeError, with what it takes, on an argument that it lacks."""
        try:
            self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(self.__signature__.parameters)
            raise TypeError(f"{self.spec.__name__}: {error}; it takes {names}") from None
        return go.Figure(self.spec(*args, **kwargs))


def make(traces: list[Spec], layout: Spec, theme: str) -> Spec:
    """A figure's specification in a theme."""
    return {"data": traces, "layout": {"template": template(theme), **layout}}


def resolve_heads(trace: Trace, heads: int | list[int] | None) -> list[int]:
    """The heads to show: one, some, or all where `heads` is None.

    Raises ValueError on an empty list, IndexError on a head that the model lacks.
    """
    if isinstance(heads, int):
        heads = [heads]
    heads = list(range(trace.n_heads) if heads is None else heads)
    if not heads:
        raise ValueError(f"heads names no head; give at least one of 0 .. {trace.n_heads - 1}")
    for head in heads:
        if not 0 <= head < trace.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {trace.n_heads - 1}")
    return heads


def cursor(selected: int | None, theme: str) -> list[dict[str, Any]]:
    """A dashed vertical line at the selected token."""
    if selected is None:
        return []
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": selected,
            "x1": selected,
            "y0": 0,
            "y1": 1,
            "line": {"color": INK[theme], "width": 1.5, "dash": "dot"},
        }
    ]


def note(text: str, theme: str) -> dict[str, Any]:
    """A line of small print between a figure's title and its plot."""
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": -40,
        "yshift": 2,
        "showarrow": False,
        "font": {"size": 12, "color": MUTED[theme]},
    }


def hovers(trace: Trace) -> list[str]:
    """The tokens as hover text."""
    return [f"“{escape_token(token)}”" for token in trace.tokens]


def hover_at(trace: Trace, n: int) -> str:
    """Token n as hover text."""
    return f"“{escape_token(trace.pieces(n, n + 1)[0])}”"
