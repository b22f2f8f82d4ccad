"""How often models recall a word, by lag and by how much noise lies between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, significant, small_print
from retnet_viz.figures.base.theme import AUTO, MODEL_COLORS, MODEL_SYMBOLS, MUTED
from retnet_viz.training.recall import WordRecall

Results = Mapping[str, Sequence[WordRecall]]  # of each model, by name
NOTHING = "Nothing measured yet: Measure asks all models."
_LEFT = 56  # pixels
_KINDS = {"name": "names", "thing": "things"}


@Drawing
def recall_by_lag(results: Results, kind: str = "thing", *, theme: str = AUTO) -> Spec:
    """The share of names or things (`kind`) that each model recalls, by lag on a log axis.

    A thin line is the control: the same texts, in which another word was told. What a fixed decay
    leaves after so many tokens is the same for every text. `layout.meta.sentence` says it in words.
    """
    words = {
        name: [word for word in all_words if word.kind == kind]
        for name, all_words in results.items()
    }
    lags = sorted({word.lag for model_words in words.values() for word in model_words})
    layout = {
        "title": {"text": f"{_KINDS[kind].capitalize()} recalled, by lag"},
        "annotations": [small_print("thin: control, another word was told", theme, _LEFT)],
        "xaxis": {
            "type": "log",
            "title": {"text": "lag: tokens since it was told"},
            "tickvals": lags,
            "ticktext": [f"{lag:,}" for lag in lags],
            "showgrid": False,
        },
        "meta": {"sentence": _by_lag(words)},
    }
    return _figure(words, lambda word: word.lag, layout, theme)


@Drawing
def recall_by_noise(results: Results, *, theme: str = AUTO) -> Spec:
    """The share of words recalled over one lag, by the share of the tokens between that is a story.

    The other tokens are empty lines. A selective decay can let those pass without forgetting; a
    fixed one cannot. `layout.meta.sentence` says it in words.
    """
    lag = next((word.lag for words in results.values() for word in words), 0)
    layout = {
        "title": {"text": f"Recalled after {lag} tokens, by noise between" if lag else "By noise"},
        "annotations": [small_print("thin: control, another word was told", theme, _LEFT)],
        "xaxis": {
            "title": {"text": "share of the tokens between that tell a story"},
            "tickformat": ".0%",
            "range": [-0.04, 1.04],
            "dtick": 0.25,
            "showgrid": False,
        },
        "meta": {"sentence": _by_noise(results)},
    }
    return _figure(results, lambda word: word.noise, layout, theme)


def _figure(results: Results, x_of: Any, layout: dict[str, Any], theme: str) -> Spec:
    traces: list[Spec] = []
    for name, words in results.items():
        color = MODEL_COLORS.get(name, MUTED[theme])
        x = [x_of(word) for word in words]
        control = significant([word.control_accuracy for word in words])
        traces += [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": x,
                "y": significant([word.accuracy for word in words]),
                "customdata": [[word.texts, f"{100 * word.probability:.1f} %"] for word in words],
                "line": {"color": color, "width": 2.5},
                "marker": {"color": color, "symbol": MODEL_SYMBOLS.get(name, "x"), "size": 9},
                "hovertemplate": f"{name}: %{{y:.0%}} of %{{customdata[0]}} texts, probability "
                "%{customdata[1]}<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, control",
                "showlegend": False,
                "x": x,
                "y": control,
                "line": {"color": color, "width": 1, "dash": "dot"},
                "hovertemplate": f"{name}, control: %{{y:.0%}}<extra></extra>",
            },
        ]
    return make(
        traces,
        {
            "yaxis": {"range": [-0.03, 1.06], "tickformat": ".0%", "dtick": 0.25},
            "margin": {"l": _LEFT, "r": 14, "t": 48, "b": 62},
            "legend": legend_below(theme),
            "showlegend": True,
            **layout,
        },
        theme,
    )


# -- words --------------------------------------------------------------------------------------


def _by_lag(results: Results) -> str:
    """Up to which lag each model recalls at least half of the words."""
    clauses = []
    for name, words in results.items():
        if words:
            lags = [word.lag for word in words if word.accuracy >= 0.5]
            clauses.append(
                f"{name} recalls half or more up to {max(lags)} tokens"
                if lags
                else f"{name} recalls half at no lag"
            )
    return f"{'; '.join(clauses)}." if clauses else NOTHING


def _by_noise(results: Results) -> str:
    """What more noise changes, from the least to the most."""
    clauses = [
        f"{name} {100 * words[0].accuracy:.0f} % to {100 * words[-1].accuracy:.0f} %"
        for name, words in results.items()
        if words
    ]
    return f"From empty lines to a story between: {', '.join(clauses)}." if clauses else NOTHING
