"""What panels say of a cell, a token and a head. Everything that is text becomes safe HTML."""

from __future__ import annotations

import math

from torch import Tensor

from retnet_viz.experiments.token_reads import TokenReads
from retnet_viz.figures.base.theme import head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import number
from retnet_viz.figures.steps.scene import Picture, Scene
from retnet_viz.trace import Trace

# What is said of a cell of a plane, here and by a page that is recorded.
WEIGHT = (
    "head {head}, n {n} “{reader}” reads m {m} “{read}”: q·k {score} × γ{power} {decay} = {weight}"
)
DECAY = "head {head}, n {n}, m {m}: γ{power} = {decay}"
LATER = "head {head}: n = {n} “{reader}” cannot read m = {m} “{read}”, which comes later"


def cell(trace: Trace, name: str, layer: int, spot: tuple[int, int, int]) -> str:
    """One cell of the "decay" or "retention" plane with its numbers."""
    head, n, m = spot
    if not (0 <= head < trace.n_heads and 0 <= n < trace.length and 0 <= m < trace.length):
        return ""
    fields = {
        "head": head,
        "n": n,
        "m": m,
        "reader": token_text(trace, n),
        "read": token_text(trace, m),
    }
    if m > n:
        return LATER.format(**fields)
    parts = trace.cell(layer, head, n, m)
    fields["power"] = _power(parts.distance)
    if name == "decay":
        return DECAY.format(**fields, decay=f"{parts.decay:.4g}")
    return WEIGHT.format(
        **fields,
        score=f"{parts.score:.3g}",
        decay=f"{parts.decay:.3g}",
        weight=f"{parts.weight:.3g}",
    )


def read_weight(reading: TokenReads, n: int, m: int, weight: float) -> str:
    """One cell of what a model reads."""
    reader, source = (visible(reading.pieces(i, i + 1)[0]) for i in (n, m))
    if m > n:
        return f"n = {n} “{reader}” cannot read m = {m} “{source}”, which comes later"
    return f"n {n} “{reader}” reads m {m} “{source}”: weight {weight:.3g}"


def plane_tables(
    trace: Trace, name: str, layer: int, heads: list[int], n: int, of: str = ""
) -> list[tuple[str, list[str], list[list[str]]]]:
    """What token n reads of every earlier token in each head, as (caption, header, rows).

    `of` says whose weights they are, where there is more than one model.
    """
    row, sources = slice(n, n + 1), slice(0, n + 1)
    weights_of = {"decay": trace.decay, "retention": trace.retention}[name]
    columns = weights_of(layer, row, sources)[heads, 0].T.tolist()
    what = "Decay" if name == "decay" else "Retention weights"
    return [
        (
            f"{what} of n = {n} “{token_text(trace, n)}”, layer {layer}{of and ', '}{of}: "
            f"{trace.origin(name)}",
            ["m", "token", *(f"head {head}" for head in heads)],
            [
                [str(m), visible(trace.tokens[m]), *(f"{value:.4g}" for value in values)]
                for m, values in enumerate(columns)
            ],
        )
    ]


def token_text(trace: Trace, n: int) -> str:
    """A token as it is shown."""
    return visible(trace.pieces(n, n + 1)[0])


def _power(distance: int) -> str:
    return str(distance).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def entry(step: Scene, term: str, row: int, column: int) -> str:
    """One entry of a picture on the stage with its number, and what it is made of."""
    pictures = {picture.term: picture for picture in step.pictures}
    picture = pictures.get(term)
    if picture is None or not (
        0 <= row < picture.values.shape[0] and 0 <= column < picture.values.shape[1]
    ):
        return ""
    place = _place(step, picture, row, column)
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


def _place(step: Scene, picture: Picture, row: int, column: int) -> str:
    names = []
    for axis, index, start in (
        (picture.rows, row, picture.row_start),
        (picture.cols, column, picture.col_start),
    ):
        if axis.startswith("token"):
            token = start + index
            names.append(f"{axis[-1]} {token} “{step.tokens[token - step.plane.first]}”")
        elif axis:
            names.append(f"{axis} {start + index}")
    return ", ".join(names)


def stage_cell(trace: Trace, step: Scene, n: int, m: int) -> str:
    """A cell of the plane beside the stage: its numbers, and when the mode computes it, if ever."""
    text = cell(trace, "retention", step.layer, (step.head, n, m))
    if not text or m > n:
        return text
    plane = step.plane
    blocks = [("at this step", plane.lit), *(("at an earlier step", block) for block in plane.done)]
    for when, block in blocks:
        if block is not None and n in block[0] and m in block[1]:
            return f"{text} (computed {when})"
    later = step.mode == "chunkwise" and n // trace.chunk_size == m // trace.chunk_size
    return (
        f"{text} ({'computed at a later step' if later else 'never built by this mode: derived'})"
    )


def step_cost(step: Scene) -> str:
    """What a step takes, in one head."""
    return (
        f"this step, one head: {number(step.flops / 1e3)} kFLOP, holds "
        f"{number(step.held_bytes / 1e3)} kB, hands on {number(step.carried_bytes / 1e3)} kB"
    )


def gammas(values: Tensor) -> str:
    """A table of each head's decay (H,): gamma, half-life, and where a token has faded to 1 %."""
    rows = []
    for head, gamma in enumerate(values.tolist()):
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


def strip_title(trace: Trace, selected: int) -> str:
    """What the shades of the token strip mean."""
    return f"Tokens: what n = {selected} “{token_text(trace, selected)}” retains of each"


def strip_window(window: range, length: int) -> str:
    """Which tokens the strip shows of a text that has more."""
    if len(window) == length:
        return ""
    return f"tokens {window.start:,} to {window.stop - 1:,} of {length:,}"


def strip_note(trace: Trace, layer: int, heads: list[int], window: range) -> str:
    """Over which heads the shades are taken, and whether the mode computed the weights."""
    names = "all heads" if len(heads) == trace.n_heads else f"heads {', '.join(map(str, heads))}"
    over = f"weight of head {heads[0]}" if len(heads) == 1 else f"mean weight of {names}"
    part = strip_window(window, trace.length)
    return f"{part and f'{part}; '}{over}, layer {layer}; {trace.origin('retention')}"
