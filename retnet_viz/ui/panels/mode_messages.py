"""What is said of the three modes of one text, side by side."""

from __future__ import annotations

from retnet_viz.figures.base.captions import number
from retnet_viz.trace import Agreement, Trace
from retnet_viz.trace.passes.budget import live_memory


def agreement(result: Agreement | None, mode: str) -> str:
    """How far the three modes are apart on this text."""
    title = '<div class="rv-title"><span class="rv-name">Agreement of the three modes</span></div>'
    if result is None:
        return (
            f'{title}<div class="rv-pending"><div class="rv-title"><span class="rv-big">…</span>'
            "<span>running the other two modes</span></div></div>"
        )
    columns = (
        {"logits": result.logits, "layers": result.outputs}
        if result.logits
        else {"head outputs": result.outputs}
    )
    rows = "".join(
        f"<tr><td>{mode} − {other}</td>"
        + "".join(f"<td>{differences[other]:.1e}</td>" for differences in columns.values())
        + "</tr>"
        for other in result.outputs
    )
    names = "".join(f"<th>{name}</th>" for name in columns)
    return (
        f'{title}<div class="rv-title"><span class="rv-big">{result.worst:.1e}</span>'
        f"<span>at most; {next(iter(columns))} reach {result.scale:.1f}</span></div>"
        f'<table class="rv-table"><tr><th>difference</th>{names}</tr>{rows}</table>'
    )


def not_compared(trace: Trace, most: int) -> str:
    """In place of the agreement of the three modes on a long text."""
    parallel = live_memory(trace.model, trace.length, "parallel")
    return (
        '<div class="rv-title"><span class="rv-name">Agreement of the three modes</span></div>'
        f'<div class="rv-hint rv-said">The modes are run side by side for texts of up to {most:,} '
        f"tokens. Observed in parallel mode, this one would take {number(parallel / 1e9)} GB.</div>"
    )


def too_long(most: int) -> str:
    """Why a long text is not played step by step."""
    return f"The mode is played step by step for texts of up to {most:,} tokens."


def too_long_for_heads(most: int) -> str:
    """Why the heads of a long text are not shown side by side."""
    return f"All heads are shown side by side for texts of up to {most:,} tokens."
