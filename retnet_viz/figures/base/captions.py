"""One sentence per panel with the panel's own numbers, for those who cannot see it.

Every function gives plain text, not HTML. Tokens stand as `tokens.visible` shows them. Functions
that take numbers beside the trace take those that the panel draws, so that nothing is computed
twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from retnet_viz.experiments.token_reads import TokenReads, half_life
from retnet_viz.figures.base.layout import heads_shown
from retnet_viz.figures.base.tokens import visible
from retnet_viz.trace import Agreement, Cost, Trace

NO_NEXT_TOKEN = "There is no next token: without a model nothing is predicted."


class Read(Protocol):
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


def named(trace: Read, n: int) -> str:
    """A token with its number: token 7 “sea”."""
    return f"token {n} “{visible(trace.pieces(n, n + 1)[0])}”"


def number(value: float | Tensor) -> str:
    """Three significant digits as people write them: 0.41, 56,100, 3.1e-07."""
    rounded = float(f"{value:.3g}")
    if not math.isfinite(rounded):
        return "not finite"
    if rounded and not 1e-3 <= abs(rounded) < 1e6:
        return f"{rounded:.2g}" if abs(rounded) < 1e-3 else f"{rounded:.3g}"
    places = 0 if not rounded else max(0, 2 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def data_size(count: float) -> str:
    """An amount of bytes: 524 kB, 13.3 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * scale:  # what would be rounded to the next unit is written in it
            return f"{number(count / scale)} {unit}"
    return f"{number(count)} B"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 token, 2 tokens."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# -- several models -----------------------------------------------------------------------------


def read_most(found: TokenReads, layer: int, plane: int, n: int) -> str:
    """The token that token n reads most, what its weights sum to, how many are negative."""
    row = found.weights(layer)[plane, n, : n + 1]
    m = int(row.abs().argmax())
    negative = int((row < 0).sum())
    return (
        f"{_capital(named(found, n))} reads most of {named(found, m)} (weight {number(row[m])}). "
        f"Its {counted(n + 1, 'weight')} sum to {number(row.sum())}, {negative or 'none'} below 0."
    )


def state_decay(readings: Mapping[str, TokenReads], layers: Mapping[str, int]) -> str:
    """What a token leaves of each model's state."""
    said = []
    for name, found in readings.items():
        shares = found.decay(layers[name])
        if not shares.shape[1]:
            continue
        if found.kind == "retention":
            low, high = shares.min().item(), shares.max().item()
            spread = number(low) if low == high else f"{number(low)} to {number(high)}"
            said.append(f"{name}: γ of {spread}, {_lasting(low, high)} whatever the token")
            continue
        middle = shares.median(dim=1).values
        least, most = int(middle.argmin()), int(middle.argmax())
        low, high = middle[least].item(), middle[most].item()
        said.append(
            f"{name}: in the median {named(found, least)} leaves least ({number(low)}, "
            f"{_lasting(low)}), {named(found, most)} most ({number(high)}, {_lasting(high)})"
        )
    return f"{'; '.join(said)}." if said else "No model here has a state that decays."


# -- the T x T plane ----------------------------------------------------------------------------


def decay(trace: Trace, layer: int, heads: list[int] | None = None) -> str:
    """How fast the shown heads forget: the fastest and the slowest."""
    lives = trace.half_life(layer).tolist()
    chosen = heads_shown(trace, heads)
    fast, slow = min(chosen, key=lives.__getitem__), max(chosen, key=lives.__getitem__)
    if lives[fast] == lives[slow]:
        alone = len(chosen) == 1
        if math.isinf(lives[fast]):
            return f"Head {fast} never forgets." if alone else "None of the shown heads forgets."
        who = f"Head {fast}" if alone else "Each of the shown heads"
        return f"{who} forgets half of a token in {_tokens(lives[fast])}."
    said = f"Head {fast} forgets half of a token in {_tokens(lives[fast])}, head {slow} "
    return said + ("never." if math.isinf(lives[slow]) else f"in {_half_life(lives[slow])}.")


def weights(trace: Trace, layer: int, heads: list[int] | None, n: int) -> str:
    """What token n retains most, over the shown heads: the largest weight in magnitude."""
    row = trace.retention(layer, slice(n, n + 1), slice(0, n + 1))[:, 0]
    head, m, weight = _largest(row, heads_shown(trace, heads))
    return (
        f"{_capital(named(trace, n))} retains most from {_read(trace, n, m)} in head {head} "
        f"(weight {number(weight)})."
    )


def scores(trace: Trace, layer: int, heads: list[int] | None, n: int) -> str:
    """Which token the query of token n fits most before the decay, over the shown heads."""
    row = trace.scores(layer, slice(n, n + 1), slice(0, n + 1))[:, 0]
    head, m, score = _largest(row, heads_shown(trace, heads))
    return (
        f"Before the decay, {named(trace, n)} scores {_read(trace, n, m)} highest in magnitude, "
        f"in head {head} (q·k {number(score)})."
    )


def phase(
    trace: Trace, head: int, n: int, weights_with: Sequence[float], weights_without: Sequence[float]
) -> str:
    """How far the rotation changes the weights with which token n reads; both by token m."""
    apart = [abs(a - b) for a, b in zip(weights_with, weights_without, strict=True)]
    m = max(range(len(apart)), key=apart.__getitem__)
    if apart[m] == 0:
        who = f"In head {head} {named(trace, n)}"
        return f"{who} reads every token with the same weight without the rotation as with it."
    read = "itself" if m == n else f"{named(trace, m)}, {counted(n - m, 'token')} back,"
    return (
        f"In head {head} {named(trace, n)} reads {read} with weight {number(weights_with[m])}, "
        f"without the rotation with {number(weights_without[m])}: the largest difference over "
        f"{counted(n + 1, 'token')}, {number(apart[m])}."
    )


# -- the state ----------------------------------------------------------------------------------


def state(trace: Trace, head: int, n: int, values: Tensor, compare: int | None = None) -> str:
    """The size of a state, or of its change since token `compare`; `values` (d_k, d_v) is it."""
    rows, columns = values.shape
    norm = values.norm().item()
    i, j = divmod(int(values.abs().argmax()), columns)
    what = f"The state of head {head} after {named(trace, n)}"
    if compare is not None:
        what = (
            f"The change in the state of head {head} from {named(trace, compare)} to "
            f"{named(trace, n)}"
        )
    if norm == 0:
        return f"{what} is zero everywhere."
    return (
        f"{what} has {counted(rows, 'row')}, {counted(columns, 'column')} and norm "
        f"{number(norm)}; its largest number is {number(values[i, j].item())}, "
        f"in row {i}, column {j}."
    )


def singular_values(
    trace: Trace, heads: list[int], n: int, ranks: Sequence[float], full: int
) -> str:
    """Over how many directions the states of `heads` spread; `ranks` of those heads, of `full`."""
    after = f"After {named(trace, n)} the state of head"
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
    heads: list[int] | None = None,
    n: int | None = None,
    bounds: Sequence[float] | None = None,
) -> str:
    """Whose state is largest after token n, the last by default; with the bounds of all heads,
    whose comes closest to its bound."""
    n = trace.length - 1 if n is None else n
    chosen = heads_shown(trace, heads)
    norms = trace.state_norm(layer)
    now = norms[:, n].tolist()
    most, least = max(chosen, key=now.__getitem__), min(chosen, key=now.__getitem__)
    if most == least:
        said = f"After {named(trace, n)} the state of head {most} has norm {number(now[most])}."
    else:
        said = (
            f"After {named(trace, n)} head {most} holds the largest state (norm "
            f"{number(now[most])}), head {least} the smallest ({number(now[least])})."
        )
    if bounds is None:
        return said
    largest = norms.amax(-1).tolist()
    shares = {
        head: largest[head] / bounds[head]
        for head in chosen
        if math.isfinite(bounds[head]) and bounds[head] > 0
    }
    if not shares:
        return f"{said} Where γ is 1 nothing bounds it."
    near = max(shares, key=shares.__getitem__)
    share, bound = f"{number(100 * shares[near])} %", number(bounds[near])
    if len(shares) == 1:
        return f"{said} Head {near} reaches {share} of its bound, {bound}."
    return f"{said} Head {near} comes closest to its bound: {share} of {bound}."


def recall(trace: Trace, head: int, n: int, cosines: Sequence[float]) -> str:
    """Which of the tokens 0 .. n the state of a head remembers best, and which worst."""
    best, worst = (pick(range(len(cosines)), key=cosines.__getitem__) for pick in (max, min))
    said = (
        f"After {named(trace, n)} the state of head {head} remembers {named(trace, best)}"
        f"{'' if best == worst else ' best'} (cosine {number(cosines[best])})"
    )
    if best == worst:
        return said + "."
    return f"{said} and {named(trace, worst)} worst ({number(cosines[worst])})."


# -- the output ---------------------------------------------------------------------------------


def normalization(before: Tensor, after: Tensor, factor: float, difference: float) -> str:
    """What the per-head normalisation evens out; `before`, `after` (heads, T) are RMS values."""
    low, high = before.min().item(), before.max().item()
    said = (
        f"Before the normalisation the heads' outputs have RMS values from {number(low)} to "
        f"{number(high)}, after it {_span(after)}."
    )
    if factor == 1:
        return said
    return (
        f"{said} Weights times {number(factor)} change the normalised output by at most "
        f"{number(difference)}."
    )


def gate(trace: Trace, heads: list[int], openings: Tensor) -> str:
    """Which token opens the gate most and which least; `openings` (len(heads), T)."""
    places = openings.flatten()
    (most_head, most), (least_head, least) = (
        divmod(int(place), trace.length) for place in (places.argmax(), places.argmin())
    )
    most_value, least_value = places.max().item(), places.min().item()
    said = (
        f"{_capital(named(trace, most))} opens the gate{' most' if places.numel() > 1 else ''}, "
        f"in head {heads[most_head]} ({number(most_value)})"
    )
    if places.numel() == 1:
        return said + "."
    who = f", {named(trace, least)} least," if least != most else " and least"
    return f"{said}{who} in head {heads[least_head]} ({number(least_value)})."


def next_token(trace: Read, position: int = -1) -> str:
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
    said = f"After {named(trace, position)} the model expects {likely[0]}"
    return said + (f", then {listed(likely[1:])}." if likely[1:] else ".")


# -- the modes ----------------------------------------------------------------------------------


def cost_bars(costs: dict[str, Cost]) -> str:
    """The fastest mode, and the one that holds least memory."""
    fast, time = _cheapest(costs, lambda cost: cost.milliseconds)
    small, held = _cheapest(costs, lambda cost: cost.peak_bytes / 1e3)
    return (
        f"{_capital(_modes(fast))} fastest ({number(time)} ms), and {_modes(small)} smallest in "
        f"memory ({number(held)} kB at the peak)."
    )


def agreement(found: Agreement) -> str:
    """How far the three modes are apart."""
    outputs = max(found.outputs.values())
    if not found.logits:
        return (
            f"Between the three modes the heads' outputs differ by at most {number(outputs)}; they "
            f"reach {number(found.scale)}."
        )
    logits = max(found.logits.values())
    return (
        f"Between the three modes the logits differ by at most {number(logits)} and the layers' "
        f"outputs by at most {number(outputs)}; the logits reach {number(found.scale)}."
    )


# -- helpers ------------------------------------------------------------------------------------


def _largest(row: Tensor, heads: list[int]) -> tuple[int, int, float]:
    """(head, m, value) of the largest magnitude in row (H, n + 1), over `heads`."""
    shown = row[heads]
    at, m = divmod(int(shown.abs().argmax()), shown.shape[-1])
    return heads[at], m, shown[at, m].item()


def _read(trace: Trace, n: int, m: int) -> str:
    return "itself" if m == n else named(trace, m)


def _span(values: Tensor) -> str:
    low, high = number(values.min().item()), number(values.max().item())
    return f"{low} throughout" if low == high else f"from {low} to {high}"


def _cheapest(costs: dict[str, Cost], read: Callable[[Cost], float]) -> tuple[list[str], float]:
    least = min(read(cost) for cost in costs.values())
    return [mode for mode, cost in costs.items() if read(cost) == least], least


def _modes(modes: list[str]) -> str:
    return f"{listed(modes)} {'mode is' if len(modes) == 1 else 'modes are'}"


def listed(parts: list[str]) -> str:
    """Words in a row: a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _lasting(*shares: float) -> str:
    """The half-lives that these shares left by a token give: half-lives of 22 to 177 tokens."""
    lives = half_life(torch.tensor(shares)).tolist()
    said = ["∞" if math.isinf(life) else _half_life(life) for life in lives]
    if len(set(said)) == 1:
        return f"half-life {said[0]}"
    return f"half-lives of {' to '.join(said)} tokens"


def _half_life(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens >= 10 else number(float(f"{tokens:.2g}"))


def _tokens(count: float) -> str:
    text = _half_life(count)
    return f"{text} token{'' if text == '1' else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
