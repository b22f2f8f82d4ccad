"""The memory that models of one size need against the context, beside that of a card."""

from __future__ import annotations

import math
from typing import Any

from retnet_viz.experiments.cost_model import (
    TRANSFORMER,
    Card,
    Precision,
    Size,
    counts,
    estimate,
    state_bytes,
)
from retnet_viz.figures.base.captions import data_size, pluralize
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, small_print
from retnet_viz.figures.base.theme import AUTO, INK, MODEL_COLORS, MODEL_SYMBOLS
from retnet_viz.figures.experiments.generation_cost import byte_axis

CONTEXTS = tuple(2**i for i in range(11, 21))  # 2k to 1M
_LEFT = 62  # pixels


@Drawing
def memory(
    size: Size, context: int, batch: int, precision: Precision, card: Card, *, theme: str = AUTO
) -> Spec:
    """Bytes of weights and states of each model against the context; both axes are logarithmic.

    A dashed line is the card's memory, a dotted one the chosen `context`.
    `layout.meta.sentence` says it in words.
    """
    lengths = sorted({*CONTEXTS, context})
    bytes_by_model = {
        kind: [estimate(config, length, batch, precision, card).held_bytes for length in lengths]
        for kind, config in size.configs.items()
    }
    traces: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": kind,
            "x": lengths,
            "y": values,
            # The last drawn is the thinnest: models that need the same hide none another.
            "line": {"color": MODEL_COLORS[kind], "width": 4 - i},
            "marker": {
                "color": MODEL_COLORS[kind],
                "symbol": MODEL_SYMBOLS[kind],
                "size": 9 - 2 * i,
            },
            "hovertemplate": f"{kind}<br>context %{{x:,}}: %{{y:.4s}}B<extra></extra>",
        }
        for i, (kind, values) in enumerate(bytes_by_model.items())
    ]
    all_values = [value for values in bytes_by_model.values() for value in values]
    axis = byte_axis([*all_values, card.memory])
    layout = {
        "title": {"text": "Memory: weights and states"},
        "annotations": [
            small_print(f"{size.name}, {pluralize(batch, 'row')}, {precision.name}", theme, _LEFT)
        ],
        "xaxis": _context_axis(),
        "yaxis": axis,
        "shapes": [_card_line(card, theme), _context_line(context, theme)],
        "margin": {"l": _LEFT, "r": 14, "t": 50, "b": 62},
        "showlegend": True,
        "legend": legend_below(theme),
        "meta": {"sentence": _sentence(size, context, batch, precision, card)},
    }
    return make(traces, layout, theme)


def short(context: int) -> str:
    """A context as people write it: 2k, 12k, 1M."""
    return f"{context // 2**20}M" if context % 2**20 == 0 else f"{context / 1024:g}k"


def _context_axis() -> dict[str, Any]:
    ticks = CONTEXTS[::2] if len(CONTEXTS) > 6 else CONTEXTS
    ends = [math.log10(CONTEXTS[0]) - 0.05, math.log10(CONTEXTS[-1]) + 0.05]
    return {
        "type": "log",
        "range": ends,
        "tickvals": list(ticks),
        "ticktext": [short(tick) for tick in ticks],
        "tickangle": 0,
        "title": {"text": "context, tokens"},
    }


def _card_line(card: Card, theme: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": card.memory,
        "y1": card.memory,
        "line": {"color": INK[theme], "width": 1.5, "dash": "dash"},
        "label": {
            "text": f"the card has {data_size(card.memory)}",
            "textposition": "end",
            "xanchor": "right",
            "yanchor": "bottom",
            "font": {"size": 12, "color": INK[theme]},
        },
    }


def _context_line(context: int, theme: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": context,
        "x1": context,
        "y0": 0,
        "y1": 1,
        "line": {"color": INK[theme], "width": 1.5, "dash": "dot"},
    }


def longest_context(
    size: Size, kind: str, batch: int, precision: Precision, card: Card
) -> int | None:
    """The longest context of `batch` rows that fits into the card; None where any does, or none."""
    config = size.configs[kind]
    free = card.memory - counts(config).parameters * precision.weights
    growth = batch * counts(config).cached * precision.cached
    if not growth or free < batch * state_bytes(config, 1, precision):
        return None
    return int(free // growth)


def _sentence(size: Size, context: int, batch: int, precision: Precision, card: Card) -> str:
    estimates = {
        kind: estimate(config, context, batch, precision, card)
        for kind, config in size.configs.items()
    }
    sentence = ", ".join(
        f"{kind} {data_size(usage.held_bytes)}{'' if usage.fits else ' (too much)'}"
        for kind, usage in estimates.items()
    )
    sentence = f"At {context:,} tokens and {pluralize(batch, 'row')}: {sentence}."
    if TRANSFORMER not in estimates:
        return sentence
    most = longest_context(size, TRANSFORMER, batch, precision, card)
    if most is None:
        return sentence
    return f"{sentence} The Transformer fits into the card up to {most:,} tokens."
