"""What the explorer says in words and small tables. Everything that is text becomes safe HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retnet_viz.experiments import Report, Rounding, Task
from retnet_viz.experiments.token_reads import TokenReads
from retnet_viz.figures.base.layout import Spec, make
from retnet_viz.figures.base.theme import head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import number
from retnet_viz.figures.steps.scene import Picture, Scene
from retnet_viz.model import LanguageModel
from retnet_viz.trace import Agreement, Trace
from retnet_viz.trace.passes.budget import foreseen
from retnet_viz.trace.passes.external_tensors import ExternalConfig, ExternalTensors
from retnet_viz.trace.passes.live import Recomputed
from retnet_viz.ui.core.link import MOST_SHARED, listed

APPS = {
    "explorer.ipynb": "Explorer",
    "modes.ipynb": "Modes at work",
    "compare.ipynb": "Compare",
    "cost.ipynb": "Cost",
    "training.ipynb": "Training live",
}
# What is said of a cell of a plane, here and by a page that is recorded.
WEIGHT = (
    "head {head}, n {n} “{reader}” reads m {m} “{read}”: q·k {score} × γ{power} {decay} = {weight}"
)
DECAY = "head {head}, n {n}, m {m}: γ{power} = {decay}"
LATER = "head {head}: n = {n} “{reader}” cannot read m = {m} “{read}”, which comes later"
COMPARE = (
    '<span class="rv-hint" title="Softmax attention: no weight below 0, every row sums to 1. '
    "Retention: signed, with a decay that the text does not change. Hidden attention: signed, with "
    'a decay that the text makes.">softmax: ≥ 0, rows sum to 1 · retention: signed, fixed decay · '
    "hidden attention: signed, decay from the text</span>"
)
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
<br><b>copy link</b> gives an address that opens this view; <b>present</b> is for a projector, and
Escape leaves it. ↶ and ↷, or Ctrl+Z and Ctrl+Shift+Z outside the text box, undo and redo.
"""


TRAINING_HELP = """
<b>What am I looking at?</b>
A tiny RetNet with random weights learns a small task while you watch. Every answer stands some
tokens before the question: its <i>lag</i>. Everything that is shown is measured on sequences that
are never trained on, by the model that is training.
<ul>
<li><b>Copy</b>: ?k asks for the letter k tokens before it.</li>
<li><b>Associative recall</b>: each letter has a digit; a letter that comes again asks for it.</li>
<li><b>Bracket matching</b>: which pair closes next?</li>
<li><b>Induction</b>: letters repeat in the same order; which one comes next?</li>
</ul>
A head with decay γ keeps half of a token for its half-life, ln 0.5 / ln γ tokens. Drag all
half-lives to one token and watch which lags are lost; drag them all to 128 and see what happens to
the near ones. Diamonds mark the accuracy before the last change.
<br>The map shows which head looks at the source of the answer, and how: the share of its weight
that lies there, or by how much accuracy changes when the head is silent for one pass.
<br>Select a token of the example by a click or the arrow keys. Every panel can be read as a table.
"""
GAMMAS = """
RetNet fixes γ. A slider changes it in all layers of the running model, and training goes on from
there; a γ that is not frozen is learned with the weights. Reset keeps these γ.
"""


def apps(current: str) -> str:
    """Links to the other apps, for a page that a server of apps shows."""
    links = "".join(
        f'<a data-app="{name}"{" aria-current=page" if name == current else ""}>{title}</a>'
        for name, title in APPS.items()
    )
    return f'<nav class="rv-apps" aria-label="Apps">{links}</nav>'


def model_size(model: LanguageModel[Any]) -> str:
    """How large a RetNet is, in a phrase."""
    config = model.config
    return (
        f"{model.n_parameters / 1e6:.1f} M parameters, "
        f"{layers(config.n_layers)}, {config.n_heads} heads"
    )


def trace_source(trace: Trace) -> str:
    """What a trace is of, in a phrase."""
    if not isinstance(trace.model, ExternalTensors):
        return model_size(trace.model)
    tensors = isinstance(trace.config, ExternalConfig)
    about = "tensors without a model" if tensors else "a saved trace without its model"
    return f"{about}: {layers(trace.n_layers)}, {trace.n_heads} heads"


def model_name(name: str, model: LanguageModel[Any]) -> str:
    """A model's name and size."""
    return (
        f"<b>{html.escape(name)}</b> "
        f'<span class="rv-model">{model.n_parameters / 1e6:.1f} M parameters</span>'
    )


def reads(found: TokenReads, n: int, m: int, weight: float) -> str:
    """One cell of what a model reads."""
    reader, read = (visible(found.pieces(i, i + 1)[0]) for i in (n, m))
    if m > n:
        return f"n = {n} “{reader}” cannot read m = {m} “{read}”, which comes later"
    return f"n {n} “{reader}” reads m {m} “{read}”: weight {weight:.3g}"


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


def cell(trace: Trace, name: str, layer: int, spot: tuple[int, int, int]) -> str:
    """One cell of the "decay" or "retention" plane with its numbers."""
    head, n, m = spot
    if not (0 <= head < trace.n_heads and 0 <= n < trace.length and 0 <= m < trace.length):
        return ""
    said = {"head": head, "n": n, "m": m, "reader": _text(trace, n), "read": _text(trace, m)}
    if m > n:
        return LATER.format(**said)
    parts = trace.cell(layer, head, n, m)
    said["power"] = _power(parts.distance)
    if name == "decay":
        return DECAY.format(**said, decay=f"{parts.decay:.4g}")
    return WEIGHT.format(
        **said,
        score=f"{parts.score:.3g}",
        decay=f"{parts.decay:.3g}",
        weight=f"{parts.weight:.3g}",
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
            f"{what} of n = {n} “{_text(trace, n)}”, layer {layer}{of and ', '}{of}: "
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
    """What a measurement is at; told to screen readers where it begins or ends."""
    return f'<span class="rv-hint" role="status">{html.escape(what)}</span>'


def not_measured(what: str, error: Exception) -> str:
    """That something could not be measured."""
    said = f"{what} could not be measured ({type(error).__name__}: {error})"
    return f'<span class="rv-warn" role="alert">{html.escape(said)}</span>'


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
    said = f"S after n = {n} “{_text(trace, n)}”"
    if other is not None:
        said += f" minus S after m = {other} “{_text(trace, other)}”"
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


def _text(trace: Trace, n: int) -> str:
    return visible(trace.pieces(n, n + 1)[0])


def _power(distance: int) -> str:
    return str(distance).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def strip_title(trace: Trace, selected: int) -> str:
    """What the shades of the token strip mean."""
    return f"Tokens: what n = {selected} “{_text(trace, selected)}” retains of each"


def strip_window(window: range, length: int) -> str:
    """Which tokens the strip shows of a text that has more."""
    if len(window) == length:
        return ""
    return f"tokens {window.start:,} to {window.stop - 1:,} of {length:,}"


def strip_note(trace: Trace, layer: int, heads: list[int], window: range) -> str:
    """Over which heads the shades are taken, and whether the mode computed the weights."""
    named = "all heads" if len(heads) == trace.n_heads else f"heads {', '.join(map(str, heads))}"
    over = f"weight of head {heads[0]}" if len(heads) == 1 else f"mean weight of {named}"
    part = strip_window(window, trace.length)
    return f"{part and f'{part}; '}{over}, layer {layer}; {trace.origin('retention')}"


def notice(trace: Trace | None, cut: str, point: str, recomputed: Recomputed | None = None) -> str:
    """The line under the text: that it was cut, or what the last edit cost and a preset's point."""
    if cut:
        return warning(cut)
    if trace is None:
        return '<span class="rv-hint">0 tokens</span>'
    said = f"{trace.length:,} token{'' if trace.length == 1 else 's'}"
    if caution := getattr(trace.model.tokenizer, "caution", ""):
        said = html.escape(f"{said}. {caution}.")
        return f'<span class="rv-warn" title="{said}">{said}</span>'
    if recomputed is not None and not point:
        said += f": {recomputed}{_why(trace, recomputed)}"
    return f'<span class="rv-hint">{html.escape(f"{said}. {point}" if point else said)}</span>'


def _why(trace: Trace, recomputed: Recomputed) -> str:
    if recomputed.tokens == 0:  # the same tokens as before, or as this mode had read before
        return ""
    if trace.mode == "parallel":
        return "; parallel mode carries no state to go on from"
    return "; the states before them were kept" if recomputed.tokens < recomputed.of else ""


def too_long(most: int) -> str:
    """Why a long text is not played step by step."""
    return f"The mode is played step by step for texts of up to {most:,} tokens."


def not_compared(trace: Trace, most: int) -> str:
    """In place of the agreement of the three modes on a long text."""
    parallel = foreseen(trace.model, trace.length, "parallel")
    return (
        '<div class="rv-title"><span class="rv-name">Agreement of the three modes</span></div>'
        f'<div class="rv-hint rv-said">The modes are run side by side for texts of up to {most:,} '
        f"tokens. Observed in parallel mode, this one would take {_gigabytes(parallel)} GB.</div>"
    )


def _gigabytes(count: int) -> str:
    return number(count / 1e9)


def reading(done: int, total: int) -> str:
    """How far a long text has been read."""
    said = f"reading: {done:,} of {total:,} tokens" if total > 1 else "reading the text"
    return f'<span class="rv-hint" role="status">{said}</span>'


def refused(why: str) -> str:
    """The line under the text where a file was not opened."""
    said = f"{why} The text is as before."
    return f'<span class="rv-warn" role="alert">{html.escape(said)}</span>'


def warning(said: str) -> str:
    """The line under the text where something is other than the user asked for."""
    return (
        f'<span class="rv-warn" role="alert" title="{html.escape(said)}">{html.escape(said)}</span>'
    )


def ignored(names: Sequence[str]) -> str:
    """What stood in a link in vain."""
    what = "This is" if len(set(names)) == 1 else "These are"
    return f"Ignored in the link: {listed(names)}. {what} nothing that can be shown here."


TOO_LONG_FOR_A_LINK = (
    f"This text is too long for a link, which has {MOST_SHARED:,} characters at most. Send it as a "
    "file, which “Open a text file” in the Explorer opens."
)


def hidden(count: int) -> str:
    """What the button says that shows the hidden panels again."""
    return f"show {count} hidden"


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
    columns = (
        {"logits": found.logits, "layers": found.outputs}
        if found.logits
        else {"head outputs": found.outputs}
    )
    rows = "".join(
        f"<tr><td>{mode} − {other}</td>"
        + "".join(f"<td>{apart[other]:.1e}</td>" for apart in columns.values())
        + "</tr>"
        for other in found.outputs
    )
    names = "".join(f"<th>{name}</th>" for name in columns)
    return (
        f'{title}<div class="rv-title"><span class="rv-big">{found.worst:.1e}</span>'
        f"<span>at most; {next(iter(columns))} reach {found.scale:.1f}</span></div>"
        f'<table class="rv-table"><tr><th>difference</th>{names}</tr>{rows}</table>'
    )


def nothing(theme: str) -> Spec:
    """An empty panel, for an empty text."""
    hidden = {"visible": False}
    return make(
        [], {"xaxis": hidden, "yaxis": hidden, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}, theme
    )


# -- training -----------------------------------------------------------------------------------


def training_status(report: Report, doing: str) -> str:
    """How far a training is. What changes several times a second is not read aloud each time."""
    rate = f"{report.step / report.seconds:,.0f} steps/s" if report.step else "not yet trained"
    return (
        f'<span role="status">{doing}</span>'
        f'<span aria-live="off" title="{report.tokens:,} tokens">: '
        f'<b class="rv-steps">step {report.step:,}</b> · {report.seconds:.1f} s · {rate}</span>'
    )


def training_notice(task: Task, failure: str) -> str:
    """The task in a sentence, or why the training stopped."""
    if failure:
        return f'<span class="rv-warn" role="alert">{html.escape(failure)}</span>'
    words = [task.rule]
    if task.mamba is not None:
        words.append("A Mamba learns from the same rows: dotted, hatched.")
    words.append(f"Guessing is right in {100 * task.chance:.1f} %.")
    said = html.escape(" ".join(words))
    return f'<span class="rv-rule" title="{said}">{said}</span>'


def stopped(error: Exception) -> str:
    """Why a training stopped that should not have."""
    return f"The training stopped; the panels are as before. ({type(error).__name__}: {error})"


def question(said: str) -> str:
    """What a token of the example asks for."""
    return f'<span title="{html.escape(said)}">{html.escape(said)}</span>'


def gamma(value: float) -> str:
    """A head's decay per token."""
    return f"γ {value:.4f}"


def half_lives(values: Sequence[float]) -> str:
    """The half-lives of all heads."""
    return f"half-lives of {', '.join(f'{value:.3g}' for value in values)} tokens"


def layers(count: int) -> str:
    """How many layers a model has."""
    return f"{count} layer{'' if count == 1 else 's'}"
