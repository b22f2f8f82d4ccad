"""A tiny model in training: its learning curve, what it gets right by lag, which head reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from plotly.colors import get_colorscale
from torch import Tensor

from retnet_viz.experiments.learning.learner import LEARNED
from retnet_viz.experiments.learning.tasks import Task, group_name
from retnet_viz.experiments.learning.tiny_training import Report, gamma_of
from retnet_viz.figures.base.captions import number, pluralize
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, significant, small_print
from retnet_viz.figures.base.theme import AUTO, DIVERGING, INK, MUTED, SEQUENTIAL, head_color

ACCURACY = "#7A6FD0"  # no head's colour and no mode's
READS, WITHOUT = "weight on the source", "accuracy without the head"
_PERCENT = {"range": [0, 1.04], "tickformat": ".0%", "dtick": 0.25}


@dataclass(frozen=True)
class _Line:
    name: str
    values: list[float]
    color: str
    width: float
    axis: str
    dash: str = "solid"


@Drawing
def learning_curve(report: Report, *, theme: str = AUTO) -> Spec:
    """Loss, on the left axis, and accuracy, on the right one, over the steps.

    Where a Mamba learns from the same rows its lines are dotted.
    """
    records = report.records
    lines = [
        _Line(
            "loss in training", [record.train_loss for record in records], MUTED[theme], 1.2, "y"
        ),
        _Line("loss, held out", [record.loss for record in records], INK[theme], 2.2, "y"),
        _Line("accuracy, held out", [record.accuracy for record in records], ACCURACY, 2.2, "y2"),
    ]
    highest = max(record.loss for record in records)
    if report.mamba is not None:
        mamba_records = report.mamba.records
        lines = [replace(line, name=f"RetNet: {line.name}") for line in lines[1:]]
        lines += [
            _Line(
                "Mamba: loss, held out",
                [record.loss for record in mamba_records],
                INK[theme],
                1.4,
                "y",
                "dot",
            ),
            _Line(
                "Mamba: accuracy, held out",
                [record.accuracy for record in mamba_records],
                ACCURACY,
                1.4,
                "y2",
                "dot",
            ),
        ]
        highest = max(highest, *(record.loss for record in mamba_records))
    return make(
        [
            {
                "type": "scatter",
                "mode": "lines" if len(records) > 1 else "markers",
                "name": line.name,
                "x": [record.step for record in records],
                "y": [None if math.isnan(y) else y for y in significant(line.values)],
                "yaxis": line.axis,
                "line": {"color": line.color, "width": line.width, "dash": line.dash},
                "marker": {"color": line.color},
                "hovertemplate": f"{line.name} after %{{x:,}} steps: %{{y:.4g}}<extra></extra>",
            }
            for line in lines
        ],
        {
            "title": {"text": "Learning"},
            "xaxis": {
                "title": {"text": "step"},
                "range": [0, max(10, 1.02 * report.step)],
                "showgrid": False,
                "nticks": 6,
            },
            "yaxis": {
                "title": {"text": "loss, nats per answer"},
                "range": [0, 1.1 * max(highest, 0.1)],
            },
            "yaxis2": {
                "title": {"text": "accuracy"},
                "overlaying": "y",
                "side": "right",
                "showgrid": False,
                **_PERCENT,
            },
            "margin": {"l": 50, "r": 56, "t": 34, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": _progress(report)},
        },
        theme,
    )


@Drawing
def accuracy_by_lag(
    task: Task, report: Report, *, before: Sequence[float] | None = None, theme: str = AUTO
) -> Spec:
    """A bar per group of lags: the share of its held-out answers that are right.

    Where a Mamba learns from the same rows its bars are hatched.

    `before` are the accuracies at an earlier time, for comparison: before a gamma was changed.
    """
    names = [group_name(group) for group in task.groups]
    positions = list(range(len(names)))
    values = [None if math.isnan(y) else y for y in significant(list(report.by_group))]
    labels = ["" if y is None else f"{y:.0%}" for y in values]
    mamba_values: list[float] = []
    if report.mamba is not None:
        mamba_values = significant(list(report.mamba.by_group))
        labels = [
            f"{label} · {value:.0%}" for label, value in zip(labels, mamba_values, strict=True)
        ]
    traces: list[Spec] = [
        {
            "type": "bar",
            "name": "accuracy",
            "x": positions,
            "y": values,
            "marker": {"color": ACCURACY},
            "customdata": [
                f"lag {name}, {pluralize(count, 'answer')}"
                for name, count in zip(names, report.counts, strict=True)
            ],
            "hovertemplate": "%{customdata}: %{y:.1%} right<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"guessing, {task.chance:.1%}",
            "x": [-0.5, len(names) - 0.5],
            "y": [task.chance] * 2,
            "line": {"color": INK[theme], "width": 1.5, "dash": "dash"},
            "hoverinfo": "skip",
        },
    ]
    traces.append(
        {  # in a row of their own, where no bar and no diamond comes in their way
            "type": "scatter",
            "mode": "text",
            "x": positions,
            "y": [1.09] * len(positions),
            "text": labels,
            "textfont": {"color": INK[theme], "size": 12},
            "showlegend": False,
            "hoverinfo": "skip",
        }
    )
    if report.mamba is not None:
        traces[0]["name"] = "RetNet"
        traces.append(
            {
                "type": "bar",
                "name": "Mamba",
                "x": positions,
                "y": mamba_values,
                "marker": {
                    "color": ACCURACY,
                    "line": {"color": ACCURACY, "width": 2},
                    "pattern": {"shape": "/", "fillmode": "replace", "size": 6},
                },
                "customdata": names,
                "hovertemplate": "Mamba, lag %{customdata}: %{y:.1%} right<extra></extra>",
            }
        )
    if before is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "before γ was changed",
                "x": positions,
                "y": significant(list(before)),
                "marker": {"color": INK[theme], "symbol": "diamond", "size": 9},
                "hovertemplate": "before γ was changed: %{y:.1%}<extra></extra>",
            }
        )
    return make(
        traces,
        {
            "title": {"text": "Accuracy by lag"},
            "xaxis": {
                "title": {"text": "lag: tokens between question and source"},
                "tickmode": "array",
                "tickvals": positions,
                "ticktext": names,
                "range": [-0.5, len(names) - 0.5],
                "showgrid": False,
            },
            "yaxis": {"title": {"text": "accuracy, held out"}, **_PERCENT, "range": [0, 1.17]},
            "margin": {"l": 60, "r": 12, "t": 34, "b": 62},
            "bargap": 0.2,
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": _lags(task, report)},
        },
        theme,
    )


@Drawing
def heads_by_lag(
    task: Task, report: Report, *, without: Tensor | None = None, theme: str = AUTO
) -> Spec:
    """A row per head of every layer, a column per group of lags.

    Each cell is `report.reads`: the share of the head's weight, where something is asked, that lies
    on the source of the answer. With `without` (L, H, G) it is the change in accuracy when the head
    is silent.
    """
    values = report.reads if without is None else without
    layers, heads, _ = values.shape
    names = [group_name(group) for group in task.groups]
    rows = [f"layer {layer}, head {head}" for layer in range(layers) for head in range(heads)]
    title = "Which head reads which lag" if without is None else "What each head carries"
    colors: dict[str, Any] = (
        {"zmin": 0, "zmax": 1, "colorscale": SEQUENTIAL}
        if without is None
        else {"zmin": -1, "zmax": 1, "colorscale": get_colorscale(DIVERGING)}
    )
    quantity = "of its weight on the source" if without is None else "accuracy without it"
    flat = values.flatten(0, 1)
    return make(
        [
            {
                "type": "heatmap",
                "name": title,
                "z": [significant(row, 4) for row in flat.tolist()],
                "x": list(range(len(names))),
                "y": list(range(len(rows))),
                "texttemplate": "%{z:.0%}" if without is None else "%{z:+.0%}",
                "textfont": {"size": 11},
                "customdata": [[f"{row}, lag {name}" for name in names] for row in rows],
                "hovertemplate": f"%{{customdata}}: %{{z:.1%}} {quantity}<extra></extra>",
                "xgap": 2,
                "ygap": 2,
                "showscale": False,
                **colors,
            }
        ],
        {
            "title": {"text": title},
            "annotations": [
                small_print(
                    "share of a head's |weight| on the source"
                    if without is None
                    else "change in accuracy when the head is silent",
                    theme,
                    112,
                )
            ],
            "xaxis": {
                "title": {"text": "lag: tokens between question and source"},
                "tickmode": "array",
                "tickvals": list(range(len(names))),
                "ticktext": names,
                "showgrid": False,
                "zeroline": False,
            },
            "yaxis": {
                "autorange": "reversed",
                "tickmode": "array",
                "tickvals": list(range(len(rows))),
                "ticktext": rows,
                "ticks": "",
                "ticklabelstandoff": 4,
                "showgrid": False,
                "zeroline": False,
            },
            "margin": {"l": 112, "r": 12, "t": 48, "b": 38},
            "meta": {"sentence": _heads(task, report, without)},
        },
        theme,
    )


@Drawing
def decay_by_lag(half_lives: Sequence[float], length: int, *, theme: str = AUTO) -> Spec:
    """A line per head: what is left of a token after 0 .. `length` more, gamma**lag."""
    lags = list(range(length + 1))
    fast, slow = (pick(range(len(half_lives)), key=half_lives.__getitem__) for pick in (min, max))
    shares = [gamma_of(half_lives[head]) ** length for head in (fast, slow)]
    return make(
        [
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"head {head}",
                "x": lags,
                "y": significant([gamma_of(half_life) ** lag for lag in lags]),
                "line": {"color": head_color(head), "width": 2},
                "hovertemplate": f"head {head}: %{{y:.3g}} after %{{x}} tokens<extra></extra>",
            }
            for head, half_life in enumerate(half_lives)
        ],
        {
            "title": {"text": "What is left of a token, γ<sup>lag</sup>"},
            "xaxis": {"title": {"text": "lag, tokens"}, "range": [0, length], "showgrid": False},
            "yaxis": {"range": [0, 1.04], "dtick": 0.5},
            "margin": {"l": 32, "r": 8, "t": 30, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {
                "sentence": (
                    f"After {pluralize(length, 'token')} head {fast} has {number(shares[0])} of "
                    f"one left, head {slow} has {number(shares[1])}."
                )
            },
        },
        theme,
    )


# -- words --------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _progress(report: Report) -> str:
    if report.mamba is not None:
        return (
            f"After {pluralize(report.step, 'step')} on the same rows {_percent(report.accuracy)} "
            f"of the held-out answers of the RetNet are right, {_percent(report.mamba.accuracy)} "
            "of those of the Mamba."
        )
    sentence = (
        f"After {pluralize(report.step, 'step')} {_percent(report.accuracy)} of the held-out "
        f"answers are right; the loss is {number(report.loss)}."
    )
    if report.learned_at is not None:
        step, seconds = report.learned_at
        sentence += (
            f" {100 * LEARNED:.0f} % came after {pluralize(step, 'step')} and {seconds:.1f} s "
            "of training."
        )
    return sentence


def _lags(task: Task, report: Report) -> str:
    groups = [i for i, value in enumerate(report.by_group) if not math.isnan(value)]
    best, worst = (pick(groups, key=report.by_group.__getitem__) for pick in (max, min))
    ends = [
        f"lag {group_name(task.groups[i])} ({_percent(report.by_group[i])})" for i in (best, worst)
    ]
    failed = [
        group_name(task.groups[i]) for i in groups if report.by_group[i] < 1.25 * task.chance + 0.02
    ]
    sentence = f"Best at {ends[0]}, worst at {ends[1]}; guessing gives {_percent(task.chance)}."
    return f"{sentence} No better than that: lag {', '.join(failed)}." if failed else sentence


def _heads(task: Task, report: Report, without: Tensor | None) -> str:
    values = report.reads if without is None else without
    heads = values.shape[1]
    clauses = []
    for group in (0, len(task.groups) - 1):
        flat = values[..., group].flatten()
        index = int(flat.argmax() if without is None else flat.argmin())
        layer, head = divmod(index, heads)
        name, value = group_name(task.groups[group]), flat[index].item()
        if without is None and value < 0.005:
            clauses.append(f"lag {name} is read by no head")
        elif without is None:
            clauses.append(
                f"lag {name} is read most by head {head} of layer {layer} ({_percent(value)} of "
                "its weight)"
            )
        elif value > -0.005:
            clauses.append(f"lag {name} needs no single head")
        else:
            clauses.append(
                f"lag {name} suffers most without head {head} of layer {layer} "
                f"({100 * value:+.1f} points)"
            )
    text = ", ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."
