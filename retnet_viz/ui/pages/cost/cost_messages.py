"""What the cost dashboard says in words and tables, as safe HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from retnet_viz.experiments import Point
from retnet_viz.experiments.cost_model import (
    CARDS,
    CLAIM_BATCH,
    CLAIM_BESIDE,
    CLAIM_CARD,
    CLAIM_CONTEXT,
    CLAIM_FASTER,
    CLAIM_SAVED,
    CLAIM_SIZE,
    CLAIM_WORDS_SECOND,
    PRECISIONS,
    SIZES,
    Card,
    Comparison,
    Precision,
    Size,
    batch_that_saves,
    compare,
    estimate,
    largest_batch,
    precision_of,
    state_bytes,
)
from retnet_viz.experiments.generation_cost import FIRST
from retnet_viz.figures.base.captions import data_size, join_words, number
from retnet_viz.figures.base.theme import MODEL_COLORS
from retnet_viz.figures.experiments.generation_cost import Measurements
from retnet_viz.model import LanguageModel

FAR = 2**20  # tokens, in the table of the models
HELP = """
<b>What am I looking at?</b>
Three language models of one size generate side by side, in turns: a RetNet, whose state S has one
size at any length; a Transformer, which keeps the keys and values of every token that it has read;
and a Mamba, whose state has one size too.
<ul>
<li><b>Measured</b>: Start lets them generate, one token per call of each model's forward pass. Each
mark is the median of up to 32 tokens, 8 of each model in turn. To come to the next position quickly
the models read random tokens, all three the same ones, many at a time: what a step costs does not
depend on what was read. Bytes are those of the state that the model carries.</li>
<li><b>Calculator</b>: formulas for published sizes. A step reads every weight once for all rows of
the batch, and each row's state; a recurrent state is written back. No step is faster than the
card moves those bytes, or does that arithmetic.</li>
<li><b>The paper's claims</b> beside what the formulas give.</li>
</ul>
The dashes in the figure of the state are the calculator's formula for the models that are measured.
"""


def title(name: str, hint: str = "") -> str:
    """A panel's first line."""
    return (
        f'<div class="rv-title"><span class="rv-name">{html.escape(name)}</span>'
        f'<span class="rv-origin">{html.escape(hint)}</span></div>'
    )


def _swatch(kind: str) -> str:
    color = MODEL_COLORS[kind]
    return f'<span class="rv-swatch" style="background:{color}"></span>{html.escape(kind)}'


def _table(header: list[str], rows: list[list[str]], label: str) -> str:
    """A table whose entries are HTML already."""
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{entry}</td>" for entry in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<table class="rv-table rv-cost-table" aria-label="{html.escape(label)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


# -- measured ------------------------------------------------------------------------------------


def models_now(models: Mapping[str, LanguageModel[Any]], points: Measurements) -> str:
    """The models, where each of them stands, and what the formulas say of their states."""
    dtype = next(iter(models.values())).embedding.weight.dtype
    precision = precision_of(dtype)
    states = {
        context: [state_bytes(model.config, context, precision) for model in models.values()]
        for context in (1, 2, FAR)
    }
    growth = [two - one for one, two in zip(states[1], states[2], strict=True)]
    series = [points.get(name, ()) for name in models]
    first, last = ([run[at] if run else None for run in series] for at in (0, -1))
    position = "–" if last[0] is None else f"{last[0].position:,}"
    rows = [
        ["weights", *(_count(model.n_parameters) for model in models.values())],
        [f"ms at {FIRST}", *("–" if point is None else _time(point) for point in first)],
        ["<b>ms now</b>", *("–" if point is None else f"<b>{_time(point)}</b>" for point in last)],
        [
            "<b>state now</b>",
            *("–" if point is None else f"<b>{_state(point)}</b>" for point in last),
        ],
        ["a token adds", *("nothing" if not size else data_size(size) for size in growth)],
        ["state at 1M", *(data_size(size) for size in states[FAR])],
    ]
    random = [name for name, model in models.items() if model.tokenizer is None]
    trained = [name for name in models if name not in random]
    sentences = []
    if trained:
        sentences.append(f"{join_words(trained)} {'is' if len(trained) == 1 else 'are'} trained")
    if random:
        sentences.append(
            f"{join_words(random)} {'has' if len(random) == 1 else 'have'} random weights, which "
            "change nothing about what a step costs"
        )
    return (
        title("Side by side", f"at position {position}")
        + _table(["", *map(_swatch, models)], rows, "The models now")
        + f'<p class="rv-cost-note">{"; ".join(sentences)}. All three step through their forward '
        "pass. Between two marks they read the same random tokens, many at a time.</p>"
    )


def _time(point: Point) -> str:
    return f"{point.milliseconds:.3g}"


def _state(point: Point) -> str:
    return data_size(point.state_bytes)


# -- the calculator ------------------------------------------------------------------------------


def estimates(size: Size, context: int, batch: int, precision: Precision, card: Card) -> str:
    """What the formulas give for the three models, and what the numbers mean."""
    estimates_of = {
        kind: estimate(config, context, batch, precision, card)
        for kind, config in size.configs.items()
    }
    most = [largest_batch(config, context, precision, card) for config in size.configs.values()]
    results = list(estimates_of.values())
    rows = [
        ["parameters", *(_count(result.parameters) for result in results)],
        ["weights", *(data_size(result.weight_bytes) for result in results)],
        ["state, all rows", *(data_size(result.state_bytes) for result in results)],
        ["memory", *(_memory(result.held_bytes, result.fits) for result in results)],
        ["moved per step", *(data_size(result.moved_bytes) for result in results)],
        ["arithmetic per token", *(_flops(result.flops) for result in results)],
        ["ms per step", *(number(1000 * result.seconds) for result in results)],
        ["limited by", *(result.limit for result in results)],
        ["tokens / s", *(number(result.tokens_second) for result in results)],
        ["largest batch", *(f"{rows_:,}" for rows_ in most)],
    ]
    notes = [size.note] if size.note else []
    notes.append("Times are the least that the card's bandwidth and arithmetic allow.")
    return (
        title("By the formulas", f"{card.name}: {_bandwidth(card)}")
        + _table(["", *map(_swatch, estimates_of)], rows, "What the formulas give")
        + f'<p class="rv-cost-note">{html.escape(" ".join(notes))}</p>'
    )


def _bandwidth(card: Card) -> str:
    gigabytes = card.bandwidth / 1e9
    return f"{gigabytes:,.0f} GB/s" if gigabytes >= 100 else f"{number(gigabytes)} GB/s"


def _count(parameters: int) -> str:
    if parameters >= 1e9:
        return f"{number(parameters / 1e9)} B"
    return f"{parameters / 1e6:.2f} M"


def _flops(count: int) -> str:
    unit, scale = ("GFLOP", 1e9) if count >= 1e9 else ("MFLOP", 1e6)
    return f"{number(count / scale)} {unit}"


def _memory(count: int, fits: bool) -> str:
    if fits:
        return f"<b>{data_size(count)}</b>"
    return f'<b class="rv-warn" title="more than the card has">{data_size(count)} ✗</b>'


# -- the paper's claims --------------------------------------------------------------------------


def claims() -> str:
    """What the paper says about decoding at 6.7B and 8k tokens, beside the formulas."""
    size, card = SIZES[CLAIM_SIZE], CARDS[CLAIM_CARD]
    precision = PRECISIONS["bfloat16"]

    def at(batch: int | None) -> Comparison:
        return compare(size, CLAIM_CONTEXT, batch, precision, card)

    one, eight, largest = at(1), at(CLAIM_BATCH), at(None)
    rows = [
        ["<b>the paper</b>", f"<b>{CLAIM_SAVED:.0%}</b>", f"<b>{CLAIM_FASTER} ×</b>"],
        ["formulas, 1 row", *_gains(one)],
        [f"formulas, {CLAIM_BATCH} rows each", *_gains(eight)],
        [
            f"card full: {largest.retnet.batch} rows against {largest.transformer.batch}",
            *_gains(largest),
        ],
    ]
    implied = batch_that_saves(CLAIM_SAVED, size, CLAIM_CONTEXT, precision)
    one_state = one.retnet.state_bytes
    beside = CLAIM_BESIDE / (1 - CLAIM_BESIDE) * one.retnet.weight_bytes / one_state
    step = 1000 * CLAIM_BATCH / CLAIM_WORDS_SECOND
    texts = [
        f"<b>Memory agrees:</b> {CLAIM_SAVED:.0%} is what 16-bit weights and states give at "
        f"{number(implied)} rows. The paper names no batch; its figure 6c ends at {CLAIM_BATCH}. "
        f"Its “about {CLAIM_BESIDE:.0%}” of RetNet's memory beside the weights would be "
        f"{number(beside)} rows; {CLAIM_BATCH} take {1 - eight.retnet.weight_share:.1%}.",
        f"<b>Speed does not:</b> at {CLAIM_BATCH} rows the Transformer moves "
        f"{number(eight.speedup)} times RetNet's bytes. RetNet's about {CLAIM_WORDS_SECOND} words "
        f"a second (read off figure 6b) are then {number(step)} ms a step, where the card could do "
        f"{number(1000 * eight.retnet.seconds)}; the Transformer's {number(step * CLAIM_FASTER)} "
        f"ms, where it could do {number(1000 * eight.transformer.seconds)}. Both ran below the "
        f"card's speed, the Transformer further: {CLAIM_FASTER} compares the programs too.",
        "Grouped heads or an 8-bit cache would shrink every gain.",
    ]
    return (
        title(
            "The paper's claims", f"{CLAIM_SIZE}, {CLAIM_CONTEXT:,} tokens, {card.name}, bfloat16"
        )
        + _table(["", "memory saved", "faster"], rows, "The paper's claims")
        + "".join(f'<p class="rv-cost-note">{text}</p>' for text in texts)
    )


def _gains(comparison: Comparison) -> tuple[str, str]:
    saved = "none" if comparison.memory_saving < 0.005 else f"{comparison.memory_saving:.0%}"
    return saved, f"{number(comparison.speedup)} ×"
