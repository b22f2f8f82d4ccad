"""What every page says in words. Everything that is text becomes safe HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from retnet_viz.figures.base.figure_parts import Spec, make
from retnet_viz.model import LanguageModel
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.external_tensors import ExternalConfig, ExternalTensors
from retnet_viz.trace.passes.live import Recomputed
from retnet_viz.ui.core.state.link import MOST_SHARED, quote_names

APPS = {
    "explorer.ipynb": "Explorer",
    "modes.ipynb": "Modes at work",
    "compare.ipynb": "Compare",
    "cost.ipynb": "Cost",
    "training.ipynb": "Training live",
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
or a curve; arrow keys move the selection. Point at a cell (or use the arrow keys) for its numbers;
a click or Enter pins it. <b>The mode at work</b> plays the computation: Space plays and pauses,
left and right step, up and down select another token. Every panel can be read as a table.
<br><b>go on</b> lets the model write: each token is the likeliest, or drawn as <b>sampling</b>
says, and what it wrote is underlined. A click on a predicted word appends it.
<br><b>copy link</b> gives an address that opens this view; <b>present</b> is for a projector, and
Escape leaves it. ↶ and ↷, or Ctrl+Z and Ctrl+Shift+Z outside the text box, undo and redo.
"""
TOO_LONG_FOR_A_LINK = (
    f"This text is too long for a link, which has {MOST_SHARED:,} characters at most. Send it as a "
    "file, which “Open a text file” in the Explorer opens."
)


def app_links(current: str) -> str:
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


def layers(count: int) -> str:
    """How many layers a model has."""
    return f"{count} layer{'' if count == 1 else 's'}"


def notice(trace: Trace | None, cut: str, point: str, recomputed: Recomputed | None = None) -> str:
    """The line under the text: that it was cut, or what the last edit cost and a preset's point."""
    if cut:
        return warning(cut)
    if trace is None:
        return '<span class="rv-hint">0 tokens</span>'
    text = f"{trace.length:,} token{'' if trace.length == 1 else 's'}"
    if caution := getattr(trace.model.tokenizer, "caution", ""):
        text = html.escape(f"{text}. {caution}.")
        return f'<span class="rv-warn" title="{text}">{text}</span>'
    if recomputed is not None and not point:
        text += f": {recomputed}{_reason(trace, recomputed)}"
    return f'<span class="rv-hint">{html.escape(f"{text}. {point}" if point else text)}</span>'


def _reason(trace: Trace, recomputed: Recomputed) -> str:
    if recomputed.tokens == 0:  # the same tokens as before, or as this mode had read before
        return ""
    if trace.mode == "parallel":
        return "; parallel mode carries no state to go on from"
    return "; the states before them were kept" if recomputed.tokens < recomputed.of else ""


def reading_progress(done: int, total: int) -> str:
    """How far a long text has been read."""
    text = f"reading: {done:,} of {total:,} tokens" if total > 1 else "reading the text"
    return f'<span class="rv-hint" role="status">{text}</span>'


def activity(text: str) -> str:
    """What a measurement is at; told to screen readers where it begins or ends."""
    return f'<span class="rv-hint" role="status">{html.escape(text)}</span>'


def measurement_failure(what: str, error: Exception) -> str:
    """That something could not be measured."""
    text = f"{what} could not be measured ({type(error).__name__}: {error})"
    return f'<span class="rv-warn" role="alert">{html.escape(text)}</span>'


def refusal(reason: str) -> str:
    """The line under the text where a file was not opened."""
    text = f"{reason} The text is as before."
    return f'<span class="rv-warn" role="alert">{html.escape(text)}</span>'


def warning(text: str) -> str:
    """The line under the text where something is other than the user asked for."""
    return (
        f'<span class="rv-warn" role="alert" title="{html.escape(text)}">{html.escape(text)}</span>'
    )


def told(text: str) -> str:
    """The line under the text where something has come to an end as it was to be expected."""
    safe = html.escape(text)
    return f'<span class="rv-hint" title="{safe}">{safe}</span>'


def ignored_fields(names: Sequence[str]) -> str:
    """Which names of a link cannot be shown here."""
    what = "This is" if len(set(names)) == 1 else "These are"
    return f"Ignored in the link: {quote_names(names)}. {what} nothing that can be shown here."


def show_hidden(count: int) -> str:
    """What the button says that shows the hidden panels again."""
    return f"show {count} hidden"


def failure(error: Exception) -> str:
    """The line under the text when something could not be shown."""
    text = f"This could not be shown; the panels are as before. ({type(error).__name__}: {error})"
    return f'<span class="rv-warn" role="alert">{html.escape(text)}</span>'


def empty_figure(theme: str) -> Spec:
    """An empty panel, for an empty text."""
    axis = {"visible": False}
    return make(
        [], {"xaxis": axis, "yaxis": axis, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}, theme
    )
