"""One sentence per panel with the panel's own numbers, for those who cannot see it.

Every function gives plain text, not HTML. Tokens stand as `tokens.visible` shows them. Functions
that take numbers beside the trace take those that the panel draws, so that nothing is computed
twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from retnet_viz.experiments.token_reads import TokenReads, half_life
from retnet_viz.figures.base.figure_parts import resolve_heads
from retnet_viz.figures.base.tokens import visible
from retnet_viz.trace import Agreement, Attribution, Cost, Trace

NO_NEXT_TOKEN = "There is no next token: without a model nothing is predicted."


class TextReading(Protocol):
    """A text that a model has read: a Trace, or a Reading of another kind of model."""

    @property
    def length(self) -> int:
        """T, the number of tokens."""

    def piece(self, token_id: int) -> str:
        """The text of a token of the vocabulary."""

    def pieces(self, start: int, stop: int) -> list[str]:
        """The text of tokens start .. stop - 1."""

    def logits_after(self, position: int) -> Tensor:
        """(vocab,) what is expected after a token."""


def token_label(trace: TextReading, n: int) -> str:
    """A token with its number: token 7 “sea”."""
    return f"token {n} “{visible(trace.pieces(n, n + 1)[0])}”"


def number(value: float | Tensor) -> str:
    """Three significant digits as people write them: 0.41, 56,100, 3.1e-07."""
    rounded_value = float(f"{value:.3g}")
    if not math.isfinite(rounded_value):
        return "not finite"
    if rounded_value and not 1e-3 <= abs(rounded_value) < 1e6:
        return f"{rounded_value:.2g}" if abs(rounded_value) < 1e-3 else f"{rounded_value:.3g}"
    decimals = 0 if not rounded_value else max(0, 2 - math.floor(math.log10(abs(rounded_value))))
    text = f"{rounded_value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def data_size(count: float) -> str:
    """An amount of bytes: 524 kB, 13.3 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * scale:  # what would be rounded to the next unit is written in it
            return f"{number(count / scale)} {unit}"
    return f"{number(count)} B"


def pluralize(count: int, noun: str) -> str:
    """A count with its noun: 1 token, 2 tokens."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# -- several models -----------------------------------------------------------------------------


def strongest_read(reading: TokenReads, layer: int, plane: int, n: int) -> str:
    """The token that token n reads most, what its weights sum to, how many are negative."""
    row = reading.weights(layer)[plane, n, : n + 1]
    m = int(row.abs().argmax())
    negative = int((row < 0).sum())
    return (
        f"{_capital(token_label(reading, n))} reads most of {token_label(reading, m)} "
        f"(weight {number(row[m])}). Its {pluralize(n + 1, 'weight')} sum to {number(row.sum())}, "
        f"{negative or 'none'} below 0."
    )


def state_decay(readings: Mapping[str, TokenReads], layers: Mapping[str, int]) -> str:
    """How much a token leaves of each model's state."""
    clauses = []
    for name, reading in readings.items():
        shares = reading.decay(layers[name])
        if not shares.shape[1]:
            continue
        if reading.kind == "retention":
            low, high = shares.min().item(), shares.max().item()
            spread = number(low) if low == high else f"{number(low)} to {number(high)}"
            clauses.append(f"{name}: γ of {spread}, {_half_lives(low, high)} whatever the token")
            continue
        middle = shares.median(dim=1).values
        least, most = int(middle.argmin()), int(middle.argmax())
        low, high = middle[least].item(), middle[most].item()
        clauses.append(
            f"{name}: in the median {token_label(reading, least)} leaves least ({number(low)}, "
            f"{_half_lives(low)}), {token_label(reading, most)} most ({number(high)}, "
            f"{_half_lives(high)})"
        )
    return f"{'; '.join(clauses)}." if clauses else "No model here has a state that decays."


# -- the T x T plane ----------------------------------------------------------------------------


def decay(trace: Trace, layer: int, heads: int | list[int] | None = None) -> str:
    """How fast the shown heads forget: the fastest and the slowest."""
    lives = trace.half_life(layer).tolist()
    heads = resolve_heads(trace, heads)
    fast, slow = min(heads, key=lives.__getitem__), max(heads, key=lives.__getitem__)
    if lives[fast] == lives[slow]:
        alone = len(heads) == 1
        if math.isinf(lives[fast]):
            return f"Head {fast} never forgets." if alone else "None of the shown heads forgets."
        subject = f"Head {fast}" if alone else "Each of the shown heads"
        return f"{subject} forgets half of a token in {_tokens(lives[fast])}."
    sentence = f"Head {fast} forgets half of a token in {_tokens(lives[fast])}, head {slow} "
    return sentence + ("never." if math.isinf(lives[slow]) else f"in {_half_life(lives[slow])}.")


def weights(trace: Trace, layer: int, heads: int | list[int] | None, n: int) -> str:
    """What token n retains most, over the shown heads: the largest weight in magnitude."""
    row = trace.retention(layer, slice(n, n + 1), slice(0, n + 1))[:, 0]
    head, m, weight = _largest(row, resolve_heads(trace, heads))
    return (
        f"{_capital(token_label(trace, n))} retains most from {_source_name(trace, n, m)} in head "
        f"{head} (weight {number(weight)})."
    )


def scores(trace: Trace, layer: int, heads: int | list[int] | None, n: int) -> str:
    """Which token the query of token n fits most before the decay, over the shown heads."""
    row = trace.scores(layer, slice(n, n + 1), slice(0, n + 1))[:, 0]
    head, m, score = _largest(row, resolve_heads(trace, heads))
    return (
        f"Before the decay, {token_label(trace, n)} scores {_source_name(trace, n, m)} highest in "
        f"magnitude, in head {head} (q·k {number(score)})."
    )


def phase(
    trace: Trace, head: int, n: int, weights_with: Sequence[float], weights_without: Sequence[float]
) -> str:
    """How far the rotation changes the weights with which token n reads; both by token m."""
    apart = [abs(a - b) for a, b in zip(weights_with, weights_without, strict=True)]
    m = max(range(len(apart)), key=apart.__getitem__)
    if apart[m] == 0:
        subject = f"In head {head} {token_label(trace, n)}"
        return f"{subject} reads every token with the same weight without the rotation as with it."
    source = "itself" if m == n else f"{token_label(trace, m)}, {pluralize(n - m, 'token')} back,"
    return (
        f"In head {head} {token_label(trace, n)} reads {source} with weight "
        f"{number(weights_with[m])}, without the rotation with {number(weights_without[m])}: the "
        f"largest difference over {pluralize(n + 1, 'token')}, {number(apart[m])}."
    )


# -- the state ----------------------------------------------------------------------------------


def state(trace: Trace, head: int, n: int, values: Tensor, compare: int | None = None) -> str:
    """The size of a state, or of its change since token `compare`; `values` (d_k, d_v) is it."""
    rows, columns = values.shape
    norm = values.norm().item()
    i, j = divmod(int(values.abs().argmax()), columns)
    subject = f"The state of head {head} after {token_label(trace, n)}"
    if compare is not None:
        subject = (
            f"The change in the state of head {head} from {token_label(trace, compare)} to "
            f"{token_label(trace, n)}"
        )
    if norm == 0:
        return f"{subject} is zero everywhere."
    return (
        f"{subject} has {pluralize(rows, 'row')}, {pluralize(columns, 'column')} and norm "
        f"{number(norm)}; its largest number is {number(values[i, j].item())}, "
        f"in row {i}, column {j}."
    )


def singular_values(
    trace: Trace, heads: list[int], n: int, ranks: Sequence[float], full: int
) -> str:
    """Over how many directions the states of `heads` spread; `ranks` of those heads, of `full`."""
    after = f"After {token_label(trace, n)} the state of head"
    most, least = (pick(range(len(heads)), key=ranks.__getitem__) for pick in (max, min))
    if len(heads) == 1:
        return f"{after} {heads[most]} has effective rank {ranks[most]:.1f} of at most {full}."
    return (
        f"{after} {heads[most]} has the largest effective rank, {ranks[most]:.1f} of at most "
        f"{full}, that of head {heads[least]} the smallest, {ranks[least]:.1f}."
    )


def state_norm(
    trace: Trace,
    layer: int,
    heads: int | list[int] | None = None,
    n: int | None = None,
    bounds: Sequence[float] | None = None,
) -> str:
    """Whose state is largest after token n, the last by default; with the bounds of all heads,
    whose comes closest to its bound."""
    n = trace.length - 1 if n is None else n
    heads = resolve_heads(trace, heads)
    norms = trace.state_norm(layer)
    now = norms[:, n].tolist()
    most, least = max(heads, key=now.__getitem__), min(heads, key=now.__getitem__)
    if most == least:
        sentence = (
            f"After {token_label(trace, n)} the state of head {most} has norm {number(now[most])}."
        )
    else:
        sentence = (
            f"After {token_label(trace, n)} head {most} holds the largest state (norm "
            f"{number(now[most])}), head {least} the smallest ({number(now[least])})."
        )
    if bounds is None:
        return sentence
    largest = norms.amax(-1).tolist()
    shares = {
        head: largest[head] / bounds[head]
        for head in heads
        if math.isfinite(bounds[head]) and bounds[head] > 0
    }
    if not shares:
        return f"{sentence} Where γ is 1 nothing bounds it."
    near = max(shares, key=shares.__getitem__)
    share, bound = f"{number(100 * shares[near])} %", number(bounds[near])
    if len(shares) == 1:
        return f"{sentence} Head {near} reaches {share} of its bound, {bound}."
    return f"{sentence} Head {near} comes closest to its bound: {share} of {bound}."


def recall(trace: Trace, head: int, n: int, cosines: Sequence[float]) -> str:
    """Which of the tokens 0 .. n the state of a head remembers best, and which worst."""
    best, worst = (pick(range(len(cosines)), key=cosines.__getitem__) for pick in (max, min))
    sentence = (
        f"After {token_label(trace, n)} the state of head {head} remembers "
        f"{token_label(trace, best)}{'' if best == worst else ' best'} "
        f"(cosine {number(cosines[best])})"
    )
    if best == worst:
        return sentence + "."
    return f"{sentence} and {token_label(trace, worst)} worst ({number(cosines[worst])})."


# -- the output ---------------------------------------------------------------------------------


def normalization(before: Tensor, after: Tensor, factor: float, difference: float) -> str:
    """What the per-head normalisation evens out; `before`, `after` (heads, T) are RMS values."""
    low, high = before.min().item(), before.max().item()
    sentence = (
        f"Before the normalisation the heads' outputs have RMS values from {number(low)} to "
        f"{number(high)}, after it {_span(after)}."
    )
    if factor == 1:
        return sentence
    return (
        f"{sentence} Weights times {number(factor)} change the normalised output by at most "
        f"{number(difference)}."
    )


def gate(trace: Trace, heads: list[int], openings: Tensor) -> str:
    """Which token opens the gate most and which least; `openings` (len(heads), T)."""
    values = openings.flatten()
    (most_head, most), (least_head, least) = (
        divmod(int(index), trace.length) for index in (values.argmax(), values.argmin())
    )
    most_value, least_value = values.max().item(), values.min().item()
    opening = f"in head {heads[most_head]} ({number(most_value)})"
    if values.numel() == 1:
        return f"{_capital(token_label(trace, most))} opens the gate, {opening}."
    sentence = f"{_capital(token_label(trace, most))} opens the gate most, {opening}"
    least_clause = f", {token_label(trace, least)} least," if least != most else " and least"
    return f"{sentence}{least_clause} in head {heads[least_head]} ({number(least_value)})."


def next_token(trace: TextReading, position: int = -1) -> str:
    """The three likeliest tokens after the one at `position`."""
    position %= trace.length
    top = trace.logits_after(position).double().softmax(-1)
    if not len(top):
        return NO_NEXT_TOKEN
    values, ids = (x.tolist() for x in top.topk(min(3, len(top))))
    likely = [
        f"“{visible(trace.piece(token_id))}” ({100 * value:.1f} %)"
        for value, token_id in zip(values, ids, strict=True)
    ]
    sentence = f"After {token_label(trace, position)} the model expects {likely[0]}"
    return sentence + (f", then {join_words(likely[1:])}." if likely[1:] else ".")


def attribution(trace: Trace, found: Attribution) -> str:
    """What brings most of a logit, and what takes most away."""
    said = f"“{visible(trace.piece(found.token))}”"
    other = "" if found.against is None else f" less “{visible(trace.piece(found.against))}”"
    heads = found.heads[:, :, : found.position + 1]
    parts = [f"The logit of {said}{other} is {number(found.logit)}."]
    most, least = heads.max(), heads.min()
    if most > 0:
        parts.append(f"Most comes from {_largest_source(trace, found, heads == most)}.")
    if least <= 0:
        parts.append(f"Most is taken by {_largest_source(trace, found, heads == least)}.")
    return " ".join(parts)


def heads(trace: Trace, found: Attribution, shares: np.ndarray) -> str:
    """Which head brings most of a logit, and which takes most away; `shares` are (L, H)."""
    said = f"“{visible(trace.piece(found.token))}”"
    parts = [f"The logit of {said} after {token_label(trace, found.position)} is "]
    parts[0] += f"{number(found.logit)}."
    most, least = (np.unravel_index(at, shares.shape) for at in (shares.argmax(), shares.argmin()))
    if shares[most] > 0:
        parts.append(f"Layer {most[0]}, head {most[1]} brings most ({share(shares[most])}).")
    if shares[least] < 0:
        parts.append(f"Layer {least[0]}, head {least[1]} takes most away ({share(shares[least])}).")
    return " ".join(parts)


def share(value: float) -> str:
    """A share in a logit, signed, to two decimals: +3.14, -0.20, 0.00."""
    text = f"{value:+.2f}"
    return text[1:] if float(text) == 0 else text


def half_life_of(tokens: float) -> str:
    """A half-life with its unit: 44 tokens; ∞ tokens for a head that never forgets."""
    return "∞ tokens" if math.isinf(tokens) else _tokens(tokens)


def lens(trace: Trace, n: int, ids: list[int]) -> str:
    """Since which layer the prediction stands; `ids` (L,) are the likeliest after token n."""
    word = visible(trace.piece(ids[-1]))
    said = f"After {token_label(trace, n)} the model says “{word}”"
    first = next(i for i in range(len(ids)) if set(ids[i:]) == {ids[-1]})
    if first == len(ids) - 1 and first:
        return f"{said}, and only its last layer would."
    return f"{said}, and from layer {first} on each layer would."


def surprise(trace: Trace, loss: Tensor) -> str:
    """The most surprising token, and the mean; `loss` (T - 1,) is that of tokens 1, 2, ..."""
    if not len(loss):
        return "A text of one token has nothing that could surprise."
    n = int(loss.argmax()) + 1
    return (
        f"{_capital(token_label(trace, n))} was most surprising ({number(loss.max())} nats); the "
        f"mean of all is {number(loss.mean())}."
    )


# -- the modes ----------------------------------------------------------------------------------


def cost_bars(costs: dict[str, Cost]) -> str:
    """The fastest mode, and the one that holds least memory."""
    fast, time = _cheapest(costs, lambda cost: cost.milliseconds)
    small, memory = _cheapest(costs, lambda cost: cost.peak_bytes / 1e3)
    return (
        f"{_capital(_modes(fast))} fastest ({number(time)} ms), and {_modes(small)} smallest in "
        f"memory ({number(memory)} kB at the peak)."
    )


def agreement(differences: Agreement) -> str:
    """How far the three modes are apart."""
    outputs = max(differences.outputs.values())
    if not differences.logits:
        return (
            f"Between the three modes the heads' outputs differ by at most {number(outputs)}; they "
            f"reach {number(differences.scale)}."
        )
    logits = max(differences.logits.values())
    return (
        f"Between the three modes the logits differ by at most {number(logits)} and the layers' "
        f"outputs by at most {number(outputs)}; the logits reach {number(differences.scale)}."
    )


# -- helpers ------------------------------------------------------------------------------------


def _largest(row: Tensor, heads: list[int]) -> tuple[int, int, float]:
    """(head, m, value) of the largest magnitude in row (H, n + 1), over `heads`."""
    values = row[heads]
    at, m = divmod(int(values.abs().argmax()), values.shape[-1])
    return heads[at], m, values[at, m].item()


def _largest_source(trace: Trace, found: Attribution, cells: Tensor) -> str:
    """The first of `cells` (L, H, n + 1), bool: which head, what it reads, what that brings."""
    layer, head, m = cells.nonzero()[0].tolist()
    source = _source_name(trace, found.position, m)
    value = number(found.heads[layer, head, m])
    return f"layer {layer}, head {head}, which reads {source} ({value})"


def _source_name(trace: Trace, n: int, m: int) -> str:
    return "itself" if m == n else token_label(trace, m)


def _span(values: Tensor) -> str:
    low, high = number(values.min().item()), number(values.max().item())
    return f"{low} throughout" if low == high else f"from {low} to {high}"


def _cheapest(costs: dict[str, Cost], read: Callable[[Cost], float]) -> tuple[list[str], float]:
    least = min(read(cost) for cost in costs.values())
    return [mode for mode, cost in costs.items() if read(cost) == least], least


def _modes(modes: list[str]) -> str:
    return f"{join_words(modes)} {'mode is' if len(modes) == 1 else 'modes are'}"


def join_words(words: list[str]) -> str:
    """A list in words: a; a and b; a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _half_lives(*shares: float) -> str:
    """The half-lives that follow from these decays per token: half-lives of 22 to 177 tokens."""
    lives = half_life(torch.tensor(shares)).tolist()
    texts = ["∞" if math.isinf(life) else _half_life(life) for life in lives]
    if len(set(texts)) == 1:
        return f"half-life {texts[0]}"
    return f"half-lives of {' to '.join(texts)} tokens"


def _half_life(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens >= 10 else number(float(f"{tokens:.2g}"))


def _tokens(count: float) -> str:
    text = _half_life(count)
    return f"{text} token{'' if text == '1' else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
