"""Every app and every panel that docs/gallery.md shows, and what is done before a picture is taken.

A new panel is added here; `python -m docs.gallery` then takes its picture and writes the page.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.cost_steps import CostPage
from tests.support.explorer_steps import ExplorerPage
from tests.support.modes_steps import ModesPage
from tests.support.training_steps import TrainingPage

PATIENT = 600_000  # milliseconds: the machine may be busy, and what is measured takes its time

Act = Callable[[Page], None]


@dataclass(frozen=True)
class Panel:
    """A panel of an app's page.

    name      of the attribute that holds it, in the widget that is the page
    says      what it shows, in a sentence
    where     what selects it in the page
    figure    the function of rv.figures that draws it, "" for a panel that is no plotly figure
    before    what is done on the page before the picture is taken
    code      what draws it in a notebook: the example of `figure` where there is none, or the
              app's call
    """

    name: str
    says: str
    where: str
    figure: str = ""
    before: Act = lambda page: None
    code: str = ""


@dataclass(frozen=True)
class App:
    """An app: apps/`name`.ipynb, the `call` that gives it in a notebook, and its panels."""

    name: str
    title: str
    call: str
    says: str
    ready: Act
    panels: tuple[Panel, ...]


def titled(title: str) -> str:
    """What selects the plotly figure with this in its title."""
    return f'.rv-plot:has(.gtitle:has-text("{title}"))'


# -- what is done on the pages --------------------------------------------------------------------


def _explorer(page: Page) -> None:
    explorer = ExplorerPage(page)
    explorer.wait()
    explorer.root.get_by_role("button", name="arcsinh", exact=True).click()
    page.wait_for_function(
        "document.querySelector('.rv-area-cost[aria-busy=true]') === null"
        " && document.querySelector('.rv-area-agree .rv-pending') === null"
    )


def _long_text(page: Page) -> None:
    explorer = ExplorerPage(page)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "story.txt"
        words = "The king said to the old man that he would go down to the river and see it. "
        path.write_text(words * 200)
        explorer.root.locator(".rv-file input").set_input_files(path)
        expect(explorer.notice).to_contain_text("numbers")
    matrix = explorer.root.locator(".rv-area-weights .rv-tiled")
    expect(matrix.locator(".rv-tiled-note")).to_contain_text("in head 3")
    page.wait_for_function(
        """el => el.dataset.sharp && el.dataset.sharp === el.dataset.drawn &&
              el.querySelector(".rv-tiled-status").hidden""",
        arg=matrix.element_handle(),
    )


def _modes(page: Page) -> None:
    modes = ModesPage(page)
    modes.wait()
    modes.player.tokens.nth(8).click()
    expect(modes.player.counter).to_contain_text("step 9 ")


def _side(page: Page) -> None:
    modes = ModesPage(page)
    modes.open_view("Side by side")
    modes.wait_measured(PATIENT)
    modes.race.get_by_role("slider").last.press("End")


def _state(page: Page) -> None:
    ModesPage(page).open_view("State")


def _parts(page: Page) -> None:
    modes = ModesPage(page)
    modes.open_view("Normalisation and position")
    off = modes.root.get_by_role("button", name="rotation", exact=True)
    if "mod-active" in (off.get_attribute("class") or ""):
        off.click()
    expect(modes.plot("Without rotation")).to_be_visible()


def _compare(page: Page) -> None:
    columns = page.locator(".rv-compare-page .rv-column")
    expect(columns).to_have_count(3)
    for column in columns.all():
        expect(column.locator(".rv-plot")).not_to_have_class(re.compile("rv-stale"))
        expect(column.locator(".rv-plot")).to_have_attribute("data-drawn", re.compile(r"\d"))
        expect(column.locator(".rv-heatmap")).to_contain_text("reads most of")


def _recall(page: Page) -> None:
    measured = page.locator(".rv-area-recall")
    measured.get_by_role("button", name="Measure").click()
    expect(measured.locator(".rv-doing")).to_contain_text("none of them trained on")


def _cost(page: Page) -> None:
    board = CostPage(page)
    board.wait()
    board.button("4,096").click()
    board.button("Start").click()
    expect(board.activity).to_have_text("measured up to position 4,096")


def _training(page: Page) -> None:
    board = TrainingPage(page)
    board.wait()
    board.button("▶ Play").click()
    page.wait_for_function(
        """() => {
            const said = document.querySelector(".rv-area-curve .rv-sentence")?.textContent;
            return Number(/([\\d.]+) % of the held-out/.exec(said)?.[1]) >= 95;
        }"""
    )
    board.button("❚❚ Pause").click()
    expect(board.status).to_contain_text("paused")


# -- the apps and their panels --------------------------------------------------------------------

_COPY = (
    "from retnet_viz.experiments import ablate\n"
    'copy = rv.trace(ablate(model, rotation="none"), trace.ids)\n'
)
APPS = (
    App(
        "explorer",
        "Explorer",
        'rv.explore(model, "Once upon a time")',
        "What the model retains of a text is drawn as you type it, in the mode that you choose.",
        _explorer,
        (
            Panel(
                "strip",
                "The tokens, shaded by what the selected one retains of each: red adds, blue takes "
                "away.",
                ".rv-area-strip",
                "token_strip",
            ),
            Panel(
                "next",
                "The likeliest next tokens after the selected one, with probabilities.",
                ".rv-area-next",
                "next_token",
            ),
            Panel(
                "decay",
                "The decay γⁿ⁻ᵐ of each head, and as a table γ, half-life and where 1 % is left.",
                ".rv-area-decay",
                "decay",
            ),
            Panel(
                "weights",
                "The retention weights of each head: token n, a row, reads token m, a column.",
                ".rv-area-weights",
                "retention",
            ),
            Panel(
                "norms",
                "How much each head's state holds after every token.",
                ".rv-area-norms",
                "state_norm",
            ),
            Panel(
                "stage",
                "The chosen mode at work, step by step: here parallel, one row of weights times "
                "the values.",
                ".rv-area-stage",
                "stage",
            ),
            Panel(
                "cost",
                "Steps, milliseconds, floating-point operations and bytes of each mode, measured "
                "on this text.",
                ".rv-area-cost",
                "cost",
            ),
            Panel(
                "agree",
                "How far the results of the three modes are apart.",
                ".rv-area-agree",
                "agreement",
            ),
            Panel(
                "long",
                "The weights of a long text, to pan and zoom in: a pixel shows the largest of its "
                "weights.",
                ".rv-area-weights",
                before=_long_text,
                code='rv.explore(model, "The king went down to the river. " * 500)',
            ),
        ),
    ),
    App(
        "modes",
        "Modes at work",
        'rv.modes(model, "Once upon a time")',
        "What each mode computes, in which order, and what it carries from step to step.",
        _modes,
        (
            Panel(
                "stage",
                "Recurrent mode at one token: the state fades, kᵀv is added, q reads the sum.",
                ".rv-step-player",
                "stage",
            ),
            Panel(
                "race",
                "The three modes on one clock: the cells that each has computed, and what that "
                "took.",
                ".rv-timeline",
                before=_side,
                code='rv.modes(model, "Once upon a time", view="side by side")',
            ),
            Panel(
                "sizes",
                "Time and memory over the chunk size: measured, and predicted from the two ends.",
                ".rv-view-side > :nth-child(3)",
                "chunk_sizes",
                _side,
            ),
            Panel(
                "rounding_plot",
                "How rounding sets each mode apart from a pass in float64, layer by layer.",
                ".rv-view-side > :nth-child(4)",
                "rounding",
                _side,
            ),
            Panel(
                "state_map",
                "The state S of a head after the selected token, or the difference of two.",
                titled("State S"),
                "state",
                _state,
            ),
            Panel(
                "norms",
                "The norm of each head's state, and the bound that it stays below.",
                titled("State norm"),
                "state_norm",
                _state,
            ),
            Panel(
                "spectrum",
                "The singular values of each head's state: how many directions it really uses.",
                titled("Singular values"),
                "singular_values",
                _state,
            ),
            Panel(
                "remembered",
                "What the state gives back for each token's key: 1 where it remembers the value.",
                titled("remembers"),
                "recall",
                _state,
            ),
            Panel(
                "before_after",
                "The size of each head's output before its normalisation, and after.",
                titled("Per-head normalisation"),
                "normalization",
                _parts,
            ),
            Panel(
                "gates",
                "How much of each head the gate lets through, token by token.",
                titled("Gate"),
                "gate",
                _parts,
            ),
            Panel(
                "phases",
                "Rotation against decay over the distance, and what a token reads with both.",
                titled("Phase"),
                "phase",
                _parts,
            ),
            Panel(
                "pair",
                "The weights of a head in the model, and in a copy without rotation, decay or "
                "head norm.",
                ".rv-view-parts .rv-heatmap",
                "retention",
                _parts,
                _COPY + "rv.figures.retention(copy, layer=0, heads=1)",
            ),
            Panel(
                "model_next",
                "The likeliest next tokens of the model.",
                titled("The model:"),
                "next_token",
                _parts,
            ),
            Panel(
                "copy_next",
                "Those of the copy in which something is switched off.",
                titled("Without rotation:"),
                "next_token",
                _parts,
                _COPY + "rv.figures.next_token(copy)",
            ),
        ),
    ),
    App(
        "compare",
        "Compare",
        'rv.compare("Once upon a time")',
        "One text through RetNet, Transformer and Mamba, a column each, with one selected token.",
        _compare,
        (
            Panel(
                "columns",
                "What the selected token reads in each model, all that every token reads, and the "
                "likeliest next tokens.",
                ".rv-columns",
            ),
            Panel(
                "decays",
                "What each token leaves of the state before it: a constant γ beside Mamba's decay, "
                "which the text makes.",
                ".rv-area-decays",
                "state_decay",
            ),
            Panel(
                "recall",
                "Things told some tokens before and asked for again: how many each model recalls, "
                "by lag and by how much of what stands between is a story.",
                ".rv-area-recall",
                "recall_by_lag",
                _recall,
            ),
        ),
    ),
    App(
        "cost",
        "Cost",
        "rv.cost()",
        "What the next token costs three models of one size, measured; a calculator for others.",
        _cost,
        (
            Panel("now", "The last measured token of each model: time and state.", ".rv-area-now"),
            Panel(
                "times",
                "Milliseconds per token against the position.",
                ".rv-area-times",
                "step_time",
            ),
            Panel(
                "sizes",
                "Bytes of state against the position: only the key-value cache grows.",
                ".rv-area-sizes",
                "state_size",
            ),
            Panel(
                "memory",
                "Bytes of weights and states over the context, for a published size.",
                ".rv-area-held",
                "memory",
            ),
            Panel(
                "estimates",
                "Memory, time per token and throughput by formula, at the chosen context and "
                "batch.",
                ".rv-area-estimates",
            ),
            Panel(
                "claims",
                "The paper's claims beside what the formulas give.",
                ".rv-area-claims",
            ),
        ),
    ),
    App(
        "training",
        "Training live",
        'rv.practice("copy")',
        "A tiny RetNet learns a task while you watch, and shows why many γ are needed.",
        _training,
        (
            Panel(
                "curve",
                "Loss and accuracy over the training steps.",
                ".rv-area-curve",
                "learning_curve",
            ),
            Panel(
                "lags",
                "The share of right answers, by how far back the answer stands.",
                ".rv-area-lags",
                "accuracy_by_lag",
            ),
            Panel(
                "heads",
                "Which head reads which lag.",
                ".rv-area-heads",
                "heads_by_lag",
            ),
            Panel(
                "fading",
                "The half-life of each head, to drag or to let it learn, and what it leaves of a "
                "token.",
                ".rv-area-gammas",
                "decay_by_lag",
            ),
            Panel(
                "strip",
                "An example that is never trained on, and where its answers stand.",
                ".rv-area-example",
            ),
            Panel(
                "matrix",
                "The retention weights of every head on that example, as they are learned.",
                ".rv-area-matrix",
                "retention",
                code="from retnet_viz.experiments import TinyTraining\n"
                'tiny = TinyTraining("copy")\n'
                "rv.figures.retention(rv.trace(tiny.model, tiny.example.ids[0]), layer=0)",
            ),
        ),
    ),
)
