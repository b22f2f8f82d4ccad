"""What the training page says in words."""

from __future__ import annotations

import html
from collections.abc import Sequence

from retnet_viz.experiments import Report, Task

HELP = """
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


def status(report: Report, doing: str) -> str:
    """How far a training is. What changes several times a second is not read aloud each time."""
    rate = f"{report.step / report.seconds:,.0f} steps/s" if report.step else "not yet trained"
    return (
        f'<span role="status">{doing}</span>'
        f'<span aria-live="off" title="{report.tokens:,} tokens">: '
        f'<b class="rv-steps">step {report.step:,}</b> · {report.seconds:.1f} s · {rate}</span>'
    )


def notice(task: Task, failure: str) -> str:
    """The task in a sentence, or why the training stopped."""
    if failure:
        return f'<span class="rv-warn" role="alert">{html.escape(failure)}</span>'
    words = [task.rule]
    if task.mamba is not None:
        words.append("A Mamba learns from the same rows: dotted, hatched.")
    words.append(f"Guessing is right in {100 * task.chance:.1f} %.")
    text = html.escape(" ".join(words))
    return f'<span class="rv-rule" title="{text}">{text}</span>'


def stopped(error: Exception) -> str:
    """Why a training stopped that should not have."""
    return f"The training stopped; the panels are as before. ({type(error).__name__}: {error})"


def question(text: str) -> str:
    """What a token of the example asks for."""
    return f'<span title="{html.escape(text)}">{html.escape(text)}</span>'


def gamma(value: float) -> str:
    """A head's decay per token."""
    return f"γ {value:.4f}"


def half_lives(values: Sequence[float]) -> str:
    """The half-lives of all heads."""
    return f"half-lives of {', '.join(f'{value:.3g}' for value in values)} tokens"
