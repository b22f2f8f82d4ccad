"""What the explorer says in words and small tables. Everything that is text becomes safe HTML."""

from __future__ import annotations

import html
import math

from retnet_viz.figures.formula import number
from retnet_viz.figures.layout import Spec, make
from retnet_viz.figures.scene import Picture, Scene
from retnet_viz.figures.theme import head_color
from retnet_viz.figures.tokens import visible
from retnet_viz.lab import Rounding
from retnet_viz.model import RetNetConfig
from retnet_viz.trace import Agreement, Trace

APPS = {"explorer.ipynb": "Explorer", "modes.ipynb": "Modes at work"}
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
or a curve; arrow keys move the selection. Point at a cell (or use the arrow keys) for its numbers;
a click or Enter pins it. <b>The mode at work</b> plays the computation: Space plays and pauses,
left and right step, up and down select another token. Every panel can be read as a table.
"""


def apps(current: str) -> str:
    """Links to the other apps, for a page that a server of apps shows."""
    links = "".join(
        f'<a data-app="{name}"{" aria-current=page" if name == current else ""}>{title}</a>'
        for name, title in APPS.items()
    )
    return f'<nav class="rv-apps" aria-label="Apps">{links}</nav>'


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
        return ""
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


def plane_tables(
    trace: Trace, name: str, layer: int, heads: list[int], n: int, of: str = ""
) -> list[tuple[str, list[str], list[list[str]]]]:
    """What token n reads of every earlier token in each head, as (caption, header, rows).

    `of` says whose weights they are, where there is more than one model.
    """
    row, read = slice(n, n + 1), slice(0, n + 1)
    reads = {"decay": trace.decay, "retention": trace.retention}[name]
    columns = reads(layer, row, read)[heads, 0].T.tolist()
    what = "Decay" if name == "decay" else "Retention weights"
    return [
        (
            f"{what} of n = {n} “{visible(trace.tokens[n])}”, layer {layer}{of and ', '}{of}: "
            f"{trace.origin(name)}",
            ["m", "token", *(f"head {head}" for head in heads)],
            [
                [str(m), visible(trace.tokens[m]), *(f"{value:.4g}" for value in values)]
                for m, values in enumerate(columns)
            ],
        )
    ]


def entry(shown: Scene, term: str, row: int, column: int) -> str:
    """One entry of a picture on the stage with its number, and what it is made of."""
    pictures = {picture.term: picture for picture in shown.pictures}
    picture = pictures.get(term)
    if picture is None or not (
        0 <= row < picture.values.shape[0] and 0 <= column < picture.values.shape[1]
    ):
        return ""
    place = _place(shown, picture, row, column)
    value = f"{picture.label}[{place}] = "

    def of(name: str) -> str:
        return number(float(pictures[name].values[row, column]))

    if term == "state" and "added" in pictures:
        return f"{value}{of('faded')} + {of('added')} = {of('state')}"
    if term == "weights" and "scores" in pictures:
        return f"{value}{of('scores')} × {of('decay')} = {of('weights')}"
    if term == "output" and "inner" in pictures:
        return f"{value}{of('inner')} + {of('cross')} = {of('output')}"
    return value + of(term)


def _place(shown: Scene, picture: Picture, row: int, column: int) -> str:
    names = []
    for axis, index, start in (
        (picture.rows, row, picture.row_start),
        (picture.cols, column, picture.col_start),
    ):
        if axis.startswith("token"):
            token = start + index
            names.append(f"{axis[-1]} {token} “{shown.tokens[token - shown.plane.first]}”")
        elif axis:
            names.append(f"{axis} {start + index}")
    return ", ".join(names)


def stage_cell(trace: Trace, shown: Scene, n: int, m: int) -> str:
    """A cell of the plane beside the stage: its numbers, and when the mode computes it, if ever."""
    said = cell(trace, "retention", shown.layer, (shown.head, n, m))
    if not said or m > n:
        return said
    plane = shown.plane
    blocks = [("at this step", plane.lit), *(("at an earlier step", block) for block in plane.done)]
    for when, block in blocks:
        if block is not None and n in block[0] and m in block[1]:
            return f"{said} (computed {when})"
    later = shown.mode == "chunkwise" and n // trace.chunk_size == m // trace.chunk_size
    return (
        f"{said} ({'computed at a later step' if later else 'never built by this mode: derived'})"
    )


def doing(what: str) -> str:
    """What is being measured just now; often nothing."""
    return f'<span class="rv-hint" role="status">{html.escape(what)}</span>'


def meter(found: Rounding | None) -> str:
    """How far any two modes are apart in one precision."""
    if found is None:
        return '<span class="rv-pending"><b class="rv-big">…</b></span>'
    return (
        f'<b class="rv-big">{found.between:.1e}</b> <span class="rv-hint">at most between two '
        f"modes in {found.dtype}; logits reach {found.scale:.1f}</span>"
    )


def compared(trace: Trace, n: int, other: int | None) -> str:
    """Whose states the state view shows."""
    said = f"S after n = {n} “{visible(trace.tokens[n])}”"
    if other is not None:
        said += f" minus S after m = {other} “{visible(trace.tokens[other])}”"
    return f'<span class="rv-hint">{html.escape(said)}</span>'


def copy_name(without: tuple[str, ...]) -> str:
    """A copy of the model, named by what is switched off in it."""
    return f"without {' and '.join(without)}" if without else "the copy"


def copy(without: tuple[str, ...]) -> str:
    """What the switches of the copy do."""
    said = (
        f"the copy runs {copy_name(without)}; the model itself is unchanged"
        if without
        else "all on: the copy is the model; switch something off"
    )
    return f'<span class="rv-hint">{html.escape(said)}</span>'


def pair_window(trace: Trace, shown: int) -> str:
    """Which tokens a plane shows, where it cannot show all."""
    if shown == trace.length:
        return "Point at a cell for its numbers."
    return f"The first {shown:,} of {trace.length:,} tokens are shown."


def step_cost(shown: Scene) -> str:
    """What a step takes, in one head."""
    return (
        f"this step, one head: {number(shown.flops / 1e3)} kFLOP, holds "
        f"{number(shown.held_bytes / 1e3)} kB, hands on {number(shown.carried_bytes / 1e3)} kB"
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
