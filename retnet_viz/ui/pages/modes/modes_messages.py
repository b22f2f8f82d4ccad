"""What the modes at work say in words."""

from __future__ import annotations

import html

from retnet_viz.experiments import Rounding
from retnet_viz.trace import Trace
from retnet_viz.ui.panels.cell_messages import token_text


def meter(result: Rounding | None) -> str:
    """How far any two modes are apart in one precision."""
    if result is None:
        return '<span class="rv-pending"><b class="rv-big">…</b></span>'
    return (
        f'<b class="rv-big">{result.between:.1e}</b> <span class="rv-hint">at most between two '
        f"modes in {result.dtype}; logits reach {result.scale:.1f}</span>"
    )


def compared(trace: Trace, n: int, other: int | None) -> str:
    """Whose states the state view shows."""
    text = f"S after n = {n} “{token_text(trace, n)}”"
    if other is not None:
        text += f" minus S after m = {other} “{token_text(trace, other)}”"
    return f'<span class="rv-hint">{html.escape(text)}</span>'


def copy_name(without: tuple[str, ...]) -> str:
    """A copy of the model, named by what is switched off in it."""
    return f"without {' and '.join(without)}" if without else "the copy"


def copy(without: tuple[str, ...]) -> str:
    """What the switches of the copy do."""
    text = (
        f"the copy runs {copy_name(without)}; the model itself is unchanged"
        if without
        else "all on: the copy is the model; switch something off"
    )
    return f'<span class="rv-hint">{html.escape(text)}</span>'


def pair_window(trace: Trace, window: int) -> str:
    """Which tokens a plane shows, where it cannot show all."""
    if window == trace.length:
        return "Point at a cell for its numbers."
    return f"The first {window:,} of {trace.length:,} tokens are shown."
