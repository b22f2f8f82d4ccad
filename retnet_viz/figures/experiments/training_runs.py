"""Training runs side by side: losses and recall over the tokens read, what each ablation costs."""

from __future__ import annotations

import html
from collections.abc import Mapping

from retnet_viz.experiments.learning.training_runs import (
    RECALL_COLUMNS,
    Run,
    ablation_results,
    agreement_with_paper,
    seed_changes,
    tokens_until,
)
from retnet_viz.figures.base.captions import pluralize
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below
from retnet_viz.figures.base.theme import AUTO, HEAD_COLORS, MUTED, head_color

_LABELS = 170  # pixels for the names of the ablations


@Drawing
def losses(runs: Mapping[str, Run], *, theme: str = AUTO) -> Spec:
    """Validation loss (nats per token) over the tokens read, a line per run.

    `layout.meta.sentence` says it in words.
    """
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": html.escape(run.name, quote=False),
            "x": list(run.tokens),
            "y": list(run.losses),
            "line": {"color": head_color(i), "width": 2},
            "marker": {"size": 5},
            "hovertemplate": "%{x:,} tokens<br>%{y:.4f} nats per token",
        }
        for i, run in enumerate(runs.values())
    ]
    best = min(runs.values(), key=lambda run: run.losses[-1])
    return make(
        traces,
        {
            "title": {"text": "Validation loss, nats per token"},
            "xaxis": {"title": {"text": "tokens read"}, "tickformat": "~s"},
            "yaxis": {"tickformat": ".2f"},
            "margin": {"l": 46, "r": 14, "t": 40, "b": 70},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {
                "sentence": f"Of {pluralize(len(runs), 'run')} {best.name} ends lowest, at "
                f"{best.losses[-1]:.4f} nats per token after {best.tokens[-1]:,} tokens."
            },
        },
        theme,
    )


@Drawing
def recall_over_tokens(
    runs: Mapping[str, Run],
    columns: tuple[str, str] = ("copy_32", "names"),
    *,
    theme: str = AUTO,
) -> Spec:
    """What is recalled (% of what was asked) over the tokens read: two lines per run.

    `columns` are two of RECALL_COLUMNS (experiments.learning.training_runs): the first is a solid
    line, the second a dotted one.
    `layout.meta.sentence` says it in words. Raises ValueError where a run's log has no recall.
    """
    lacking = [run.name for run in runs.values() if not set(columns) <= run.recall.keys()]
    if lacking:
        raise ValueError(f"the log of {lacking[0]} has no recall; train it again to have it")
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": html.escape(f"{run.name}, {RECALL_COLUMNS[column]}", quote=False),
            "x": list(run.tokens),
            "y": [100 * share for share in run.recall[column]],
            "line": {"color": head_color(i), "width": 2, "dash": dash},
            "marker": {"size": 6, "symbol": symbol},
            "hovertemplate": "%{x:,} tokens<br>%{y:.0f} %",
        }
        for i, run in enumerate(runs.values())
        for column, dash, symbol in zip(
            columns, ("solid", "dot"), ("circle", "diamond"), strict=True
        )
    ]
    return make(
        traces,
        {
            "title": {"text": "Recalled, % of what was asked"},
            "xaxis": {"title": {"text": "tokens read"}, "tickformat": "~s"},
            "yaxis": {"range": [-3, 103], "ticksuffix": " %"},
            "margin": {"l": 56, "r": 14, "t": 40, "b": 110},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": " ".join(_first_half(run, columns[0]) for run in runs.values())},
        },
        theme,
    )


def _first_half(run: Run, column: str) -> str:
    tokens = tokens_until(run, column)
    if tokens is None:
        best = 100 * max(run.recall[column])
        return f"{run.name}: at most {best:.0f} % of {RECALL_COLUMNS[column]}."
    return f"{run.name}: half of {RECALL_COLUMNS[column]} after {tokens:,} tokens."


@Drawing
def ablations(runs: Mapping[str, Run], *, theme: str = AUTO) -> Spec:
    """What each ablation does to the perplexity, in percent: here, and in the paper's table.

    The band is what another seed does. `layout.meta.sentence` says it in words.
    """
    results = ablation_results(runs)
    labels = [ablation.label for ablation in results]
    seeds = seed_changes(runs)
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": changes,
            "y": labels,
            "marker": {"size": 12, "color": color, "symbol": symbol, "line": {"width": 2}},
            "hovertemplate": "%{y}: %{x:+.2f} % perplexity",
        }
        for name, changes, color, symbol in (
            ("here", [a.change for a in results], HEAD_COLORS[0], "circle"),
            (
                "the paper, 200 M parameters",
                [a.paper_change for a in results],
                HEAD_COLORS[1],
                "diamond-open",
            ),
        )
    ]
    same, pairs = agreement_with_paper(results)
    return make(
        traces,
        {
            "title": {"text": "Perplexity without a part of the RetNet, change in %"},
            "xaxis": {"title": {"text": "change of the perplexity, %"}, "ticksuffix": " %"},
            "yaxis": {"autorange": "reversed", "tickfont": {"size": 13}},
            "margin": {"l": _LABELS, "r": 14, "t": 40, "b": 70},
            "legend": legend_below(theme),
            "showlegend": True,
            "shapes": [
                {
                    "type": "rect",
                    "x0": min(seeds),
                    "x1": max(seeds),
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "fillcolor": MUTED[theme],
                    "opacity": 0.25,
                    "line": {"width": 0},
                    "label": {
                        "text": f"{pluralize(len(seeds), 'seed')}",
                        "textposition": "top left",
                        "font": {"size": 11, "color": MUTED[theme]},
                    },
                }
            ],
            "meta": {
                "sentence": f"In {same} of {pluralize(pairs, 'pair')} of ablations the same one is "
                f"the worse here and in the paper. Another seed changes the perplexity by "
                f"{min(seeds):+.2f} to {max(seeds):+.2f} %."
            },
        },
        theme,
    )
