"""What the explorer says in words and small tables. Everything that is text becomes safe HTML."""

from __future__ import annotations

import html
import math

from retnet_viz.figures.layout import Spec, make
from retnet_viz.figures.theme import head_color
from retnet_viz.figures.tokens import visible
from retnet_viz.model import RetNetConfig
from retnet_viz.trace import Agreement, Trace

HOVER = {
    "decay": "Point at a cell for its decay.",
    "retention": "Point at a cell (or use the arrow keys) for its numbers; click or Enter pins it.",
}
HELP = """
<b>What am I looking at?</b>
A trained RetNet reads your text. Each token n looks back at every earlier token m with a
<i>retention weight</i> (q<sub>n</sub> · k<sub>m</sub>) γ<sup>n−m</sup>: how well its query fits
that token's key, times a decay that only depends on the distance. Each head has its own γ.
<ul>
<li><b>Parallel</b> computes all weights at once, as a T × T matrix.</li>
<li><b>Recurrent</b> never builds that matrix: it carries one state S per head from token to token,
S<sub>n</sub> = γ S<sub>n−1</sub> + k<sub>n</sub>ᵀ v<sub>n</sub>.</li>
<li><b>Chunkwise</b> is parallel inside each chunk and hands a state from chunk to chunk.</li>
</ul>
All three give the same output; the last row shows by how much they differ, and what each costs.
■ computed by this mode, □ derived from what it computed, ◧ in part.
<br>Weights are signed: red above zero, blue below. Select a token by a click in the strip, a matrix
or a curve; arrow keys move the selection.
"""


def gammas(config: RetNetConfig) -> str:
    """A table of each head's decay: gamma, half-life, and where a token has faded to 1 %."""
    rows = []
    for head, gamma in enumerate(config.gammas().tolist()):
        log_gamma = math.log(gamma)
        half, horizon = (
            f"{math.log(share) / log_gamma:,.0f}" if log_gamma else "never" for share in (0.5, 0.01)
        )
        rows.append(
            f'<tr><td><span class="rv-swatch" style="background:{head_color(head)}"></span>'
            f"head {head}</td><td>{gamma:.6g}</td><td>{half}</td><td>{horizon}</td></tr>"
        )
    return (
        '<table class="rv-table"><tr><th>tokens until</th><th>γ</th>'
        "<th>half is left</th><th>1 % is left</th></tr>" + "".join(rows) + "</table>"
    )


def cell(trace: Trace, name: str, layer: int, spot: tuple[int, int, int]) -> str:
    """One cell of the "decay" or "retention" plane with its numbers."""
    head, n, m = spot
    if not (0 <= head < trace.n_heads and 0 <= n < trace.length and 0 <= m < trace.length):
        return HOVER[name]
    reader, read = visible(trace.tokens[n]), visible(trace.tokens[m])
    if m > n:
        return f"head {head}: n = {n} “{reader}” cannot read m = {m} “{read}”, which comes later"
    parts = trace.cell(layer, head, n, m)
    if name == "decay":
        return f"head {head}, n {n}, m {m}: γ{_power(parts.distance)} = {parts.decay:.4g}"
    return (
        f"head {head}, n {n} “{reader}” reads m {m} “{read}”: "
        f"q·k {parts.score:.3g} × γ{_power(parts.distance)} {parts.decay:.3g} = {parts.weight:.3g}"
    )


def _power(distance: int) -> str:
    return str(distance).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def strip_title(trace: Trace, selected: int) -> str:
    """What the shades of the token strip mean."""
    return f"Tokens: what n = {selected} “{visible(trace.tokens[selected])}” retains of each"


def strip_note(trace: Trace, layer: int, heads: list[int]) -> str:
    """Over which heads the shades are taken, and whether the mode computed the weights."""
    named = "all heads" if len(heads) == trace.n_heads else f"heads {', '.join(map(str, heads))}"
    over = f"weight of head {heads[0]}" if len(heads) == 1 else f"mean weight of {named}"
    return f"{over}, layer {layer}; {trace.origin('retention')}"


def notice(trace: Trace | None, cut: str, point: str) -> str:
    """The line under the text: a notice that it was cut, the point of a preset, or its length."""
    if cut:
        return f'<span class="rv-warn" role="alert">{html.escape(cut)}</span>'
    if trace is None:
        return '<span class="rv-hint">0 tokens</span>'
    tokens = f"{trace.length:,} token{'' if trace.length == 1 else 's'}"
    said = f"{tokens}. {point}" if point else tokens
    return f'<span class="rv-hint">{html.escape(said)}</span>'


def failure(error: Exception) -> str:
    """The line under the text when something could not be shown."""
    said = f"This could not be shown; the panels are as before. ({type(error).__name__}: {error})"
    return f'<span class="rv-warn" role="alert">{html.escape(said)}</span>'


def agreement(found: Agreement | None, mode: str) -> str:
    """How far the three modes are apart on this text."""
    title = '<div class="rv-title"><span class="rv-name">Agreement of the three modes</span></div>'
    if found is None:
        return (
            f'{title}<div class="rv-pending"><div class="rv-title"><span class="rv-big">…</span>'
            "<span>running the other two modes</span></div></div>"
        )
    rows = "".join(
        f"<tr><td>{mode} − {other}</td><td>{found.logits[other]:.1e}</td>"
        f"<td>{found.outputs[other]:.1e}</td></tr>"
        for other in found.logits
    )
    return (
        f'{title}<div class="rv-title"><span class="rv-big">{found.worst:.1e}</span>'
        f"<span>at most; logits reach {found.scale:.1f}</span></div>"
        f'<table class="rv-table"><tr><th>difference</th><th>logits</th>'
        f"<th>layers</th></tr>{rows}</table>"
    )


def nothing(theme: str) -> Spec:
    """An empty panel, for an empty text."""
    hidden = {"visible": False}
    return make(
        [], {"xaxis": hidden, "yaxis": hidden, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}, theme
    )
