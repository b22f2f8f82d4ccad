"""What the stage player draws at one step of a mode: pictures, bars, the plane, the formula.

A scene is plain data, a pure function of a trace; whoever draws it needs no other source. Its
pictures hold the tensors of `trace.terms`, its costs are those of `trace.schedule`.

Shapes: T tokens, B tokens of a chunk, d_k and d_v the widths of a head's keys and values. Where T
exceeds WINDOW every axis of tokens shows WINDOW of them, the selected token among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retnet_viz.figures.base.captions import pluralize, token_label
from retnet_viz.figures.base.scale import SCALES, ColorScale
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import formula, gamma_number, number
from retnet_viz.figures.steps.scene_limits import head_data, scales
from retnet_viz.trace import (
    ChunkTerms,
    ParallelTerms,
    RecurrentTerms,
    Schedule,
    Step,
    Trace,
    terms,
)

WINDOW = 128  # tokens on an axis, at most

_SUBSCRIPTS = str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋")
_COMPUTED, _DERIVED = "computed", "derived"
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # caption, header, rows


@dataclass(frozen=True, eq=False)
class Picture:
    """A matrix to draw, or a vector as a matrix of one row.

    term       key of the formula's term that it shows, see `formula`
    label      its name as plain text: γ S₆
    values     (rows, columns) float32
    rows, cols names of the axes: "d_k", "d_v", "token n", "token m"; "" for a single row
    row_start, col_start  number of the first row and column shown
    norm       Frobenius norm of the values shown
    origin     "computed" by the mode or "derived" from what it computed
    scale      name of the colour scale that it shares with others, see `Scene.scales`
    signed     False for magnitudes
    """

    term: str
    label: str
    values: np.ndarray
    rows: str
    cols: str
    row_start: int
    col_start: int
    norm: float
    origin: str
    scale: str
    signed: bool = True


@dataclass(frozen=True, eq=False)
class Bars:
    """A bar per token.

    title   what the bars are, as plain text
    term    key of the formula's term that they belong to
    values  one per token, 0 or more
    labels  the same tokens as text, see `tokens.visible`
    first   number of the first of these tokens
    slots   bars that the axis has room for: the same over all steps where bars are added by steps
    limit   largest value that any step shows
    unit    label of the axis of values
    """

    title: str
    term: str
    values: list[float]
    labels: list[str]
    first: int
    slots: int
    limit: float
    unit: str


@dataclass(frozen=True, eq=False)
class Plane:
    """Where the step stands in the T x T plane of cells (n, m).

    first, last  tokens first .. last - 1 are shown, on both axes
    row          the selected token n
    lit          rows and columns of the block of cells that the step computes, None for no cells
    done         the blocks that earlier steps computed
    cells        the retention weights of the lit block as far as it is shown, float32, or None
    built        whether this mode builds cells at all
    """

    first: int
    last: int
    row: int
    lit: tuple[range, range] | None
    done: tuple[tuple[range, range], ...]
    cells: np.ndarray | None
    built: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """One step of a mode as it is drawn. Made by `scene`.

    step          index of the step, of `steps`
    lines         rows of pictures and the signs between them
    formula       MathML, see `formula`
    sentence      what happens in the step, as plain text
    limits        largest magnitude on each colour scale, the same in all steps of a head
    scales        the colour scales themselves, of the kind that was asked for
    flops, held_bytes, carried_bytes  of the step, see `trace.schedule`
    tokens        visible text of the tokens plane.first .. plane.last - 1
    """

    mode: str
    layer: int
    head: int
    n: int
    step: int
    steps: int
    lines: tuple[tuple[Picture | str, ...], ...]
    plane: Plane
    bars: Bars | None
    formula: str
    sentence: str
    limits: dict[str, float]
    scales: dict[str, ColorScale]
    flops: int
    held_bytes: int
    carried_bytes: int
    tokens: list[str]

    @property
    def pictures(self) -> list[Picture]:
        """The pictures in reading order, each term once."""
        pictures = [item for line in self.lines for item in line if isinstance(item, Picture)]
        return list({picture.term: picture for picture in pictures}.values())

    def table(self) -> list[Table]:
        """The numbers of the step as text: (caption, header, rows) for the terms and the tokens."""
        step = f"step {self.step + 1:,} of {self.steps:,}, head {self.head}"
        sizes: list[tuple[str, ...]] = [
            (p.label, " × ".join(map(str, p.values.shape)), number(p.norm), p.origin)
            for p in self.pictures
        ]
        return [
            (f"Terms of {step}", ("term", "size", "norm", "origin"), sizes),
            self._token_table(step),
        ]

    def _token_table(self, step: str) -> Table:
        pictures = {picture.term: picture.values for picture in self.pictures}
        rows: list[tuple[str, ...]] = []
        if self.mode == "parallel":
            columns = [pictures[term][0].tolist() for term in ("scores", "decay", "weights")]
            for m, *cell in zip(range(self.plane.first, self.n + 1), *columns, strict=False):
                token = self.tokens[m - self.plane.first]
                rows.append((str(m), token, *map(number, cell)))
            caption = f"What token {self.n} reads with, {step}"
            return caption, ("m", "token", "q·k", "γ^(n−m)", "weight"), rows
        assert self.bars is not None
        tokens = range(self.bars.first, self.bars.first + len(self.bars.values))
        bars = zip(tokens, self.bars.labels, self.bars.values, strict=True)
        if self.mode == "recurrent":
            rows = [(str(m), token, number(value)) for m, token, value in bars]
            caption = f"What each token still adds to the state, {step}"
            return caption, ("m", "token", "γ^(n−m) |k| |v|"), rows
        norms = [np.linalg.norm(pictures[term], axis=1).tolist() for term in ("inner", "cross")]
        for (n, token, share), inner, cross in zip(bars, *norms, strict=True):
            rows.append((str(n), token, number(inner), number(cross), number(share)))
        caption = f"Where the output of each token comes from, {step}"
        return caption, ("n", "token", "|inner|", "|cross|", "share of the state"), rows


def scene(trace: Trace, layer: int, head: int, n: int, scale: str = "linear") -> Scene:
    """The step of the trace's mode that gives the output of token n in one head.

    `scale` is "linear", "log" or "arcsinh", see `scale`. Raises IndexError on a layer, head or
    token that there is not, ValueError on an unknown scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, not {scale!r}")
    step_terms = terms(trace, layer, head, n)
    data = head_data(trace, layer, head)
    step = data.schedule.steps[data.schedule.step_of(n)]
    window = _window(trace.length, n, step.tokens)
    tokens = [visible(token) for token in trace.tokens[window.start : window.stop]]
    bars: Bars | None
    if isinstance(step_terms, ParallelTerms):
        lines, bars = _parallel(trace, layer, head, step_terms, window), None
        sentence = _parallel_sentence(trace, head, step_terms)
    elif isinstance(step_terms, RecurrentTerms):
        lines = _recurrent(step_terms)
        bars = _contributions(step_terms, window, tokens, data.largest_contribution)
        sentence = _recurrent_sentence(trace, head, step_terms)
    else:
        lines = _chunkwise(step_terms, window)
        bars = _shares(step_terms, window, tokens)
        sentence = _chunkwise_sentence(trace, head, step_terms, len(data.schedule))
    if len(window) < trace.length:
        sentence += (
            f" Tokens {window.start:,} to {window.stop - 1:,} of {trace.length:,} are shown."
        )
    return Scene(
        mode=trace.mode,
        layer=layer,
        head=head,
        n=n,
        step=step.index,
        steps=len(data.schedule),
        lines=lines,
        plane=_plane(trace, step_terms, data.schedule, step, window),
        bars=bars,
        formula=formula(step_terms),
        sentence=sentence,
        limits=dict(data.limits),
        scales=scales(data.limits, scale, data.smallest_decay),
        flops=step.flops,
        held_bytes=step.held_bytes,
        carried_bytes=step.carried_bytes,
        tokens=tokens,
    )


def _window(length: int, n: int, tokens: range) -> range:
    """The tokens that axes show: those of the step in the middle, or n where they are too many."""
    if length <= WINDOW:
        return range(length)
    middle, low, high = (tokens.start + tokens.stop) // 2, 0, length
    if len(tokens) > WINDOW:
        middle, low, high = n, tokens.start, tokens.stop
    first = min(max(middle - WINDOW // 2, low), high - WINDOW)
    return range(first, first + WINDOW)


# -- the pictures of each mode ------------------------------------------------------------------


def _parallel(
    trace: Trace, layer: int, head: int, step_terms: ParallelTerms, window: range
) -> tuple[tuple[Picture | str, ...], ...]:
    """Row n of the plane, with the cells m > n that the mode computes and masks, times V."""
    n = step_terms.n
    row, cols = slice(n, n + 1), slice(window.start, window.stop)
    first = window.start

    def cells(term: str, label: str, plane: Tensor, scale: str) -> Picture:
        signed = term != "decay"
        return _picture(term, label, plane[head], ("", "token m"), (n, first), scale, signed=signed)

    scores = cells("scores", f"q{_sub(n)} Kᵀ", trace.scores(layer, row, cols), "weights")
    decay = cells("decay", f"D{_sub(n)}", trace.decay(layer, row, cols), "decay")
    label = f"q{_sub(n)} Kᵀ ⊙ D{_sub(n)}"
    weights = cells("weights", label, trace.retention(layer, row, cols), "weights")
    values = _picture(
        "values", "V", trace.v(layer)[head, cols], ("token m", "d_v"), (first, 0), "values"
    )
    output = _picture("output", f"o{_sub(n)}", step_terms.output, ("", "d_v"), (n, 0), "output")
    return (scores, "×", decay, "=", weights), (weights, "·", values, "=", output)


def _recurrent(step_terms: RecurrentTerms) -> tuple[tuple[Picture | str, ...], ...]:
    """From S_{n-1} to S_n, and the query that reads it."""
    n = step_terms.n

    def state(term: str, label: str, values: Tensor, origin: str = _COMPUTED) -> Picture:
        return _picture(term, label, values, ("d_k", "d_v"), (0, 0), "state", origin=origin)

    before = state("before", f"S{_sub(n - 1)}", step_terms.before)
    faded = state("faded", f"γ S{_sub(n - 1)}", step_terms.faded)
    added = state("added", f"k{_sub(n)}ᵀ v{_sub(n)}", step_terms.added, _DERIVED)
    after = state("state", f"S{_sub(n)}", step_terms.state)
    q = _picture("q", f"q{_sub(n)}", step_terms.q, ("", "d_k"), (n, 0), "query")
    output = _picture("output", f"o{_sub(n)}", step_terms.output, ("", "d_v"), (n, 0), "output")
    return (
        (before, "→ ×γ", faded, "+", added, "=", after),
        (q, f"· S{_sub(n)} =", output),
    )


def _chunkwise(step_terms: ChunkTerms, window: range) -> tuple[tuple[Picture | str, ...], ...]:
    """The chunk's block of weights, the state that it carries over, the two parts of its output."""
    i, span = step_terms.chunk, _overlap_slice(step_terms.tokens, window)
    first = _overlap(step_terms.tokens, window).start

    def state(term: str, chunk: int, values: Tensor) -> Picture:
        return _picture(term, f"S{_sub(chunk)}", values, ("d_k", "d_v"), (0, 0), "state")

    def output(term: str, label: str, values: Tensor) -> Picture:
        return _picture(term, label, values[span], ("token n", "d_v"), (first, 0), "output")

    weights = _picture(
        "weights",
        f"Q{_sub(i)} K{_sub(i)}ᵀ ⊙ D",
        step_terms.weights[span, span],
        ("token n", "token m"),
        (first, first),
        "weights",
    )
    return (
        (
            weights,
            state("before", i - 1, step_terms.before),
            "→",
            state("state", i, step_terms.state),
        ),
        (
            output("inner", "inner", step_terms.inner),
            "+",
            output("cross", "cross", step_terms.cross),
            "=",
            output("output", f"O{_sub(i)}", step_terms.output),
        ),
    )


def _picture(
    term: str,
    label: str,
    values: Tensor,
    axes: tuple[str, str],
    start: tuple[int, int],
    scale: str,
    *,
    origin: str = _COMPUTED,
    signed: bool = True,
) -> Picture:
    matrix = values.float().cpu().numpy()
    matrix = matrix[None] if matrix.ndim == 1 else matrix.view()
    matrix.flags.writeable = False  # it may be the trace's own memory
    return Picture(
        term=term,
        label=label,
        values=matrix,
        rows=axes[0],
        cols=axes[1],
        row_start=start[0],
        col_start=start[1],
        norm=_norm(values),
        origin=origin,
        scale=scale,
        signed=signed,
    )


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.double()))


def _sub(index: int) -> str:
    return str(index).translate(_SUBSCRIPTS)


def _overlap(tokens: range, window: range) -> range:
    """The tokens of a step that the window shows."""
    return range(max(tokens.start, window.start), min(tokens.stop, window.stop))


def _overlap_slice(tokens: range, window: range) -> slice:
    """The same as a slice of the step's own tokens."""
    visible_tokens = _overlap(tokens, window)
    return slice(visible_tokens.start - tokens.start, visible_tokens.stop - tokens.start)


# -- bars and plane -----------------------------------------------------------------------------


def _contributions(
    step_terms: RecurrentTerms, window: range, tokens: list[str], limit: float
) -> Bars:
    visible_tokens = _overlap(range(step_terms.n + 1), window)
    return Bars(
        title=f"What each token still adds to S{_sub(step_terms.n)} · derived",
        term="state",
        values=step_terms.contributions[visible_tokens.start : visible_tokens.stop].tolist(),
        labels=tokens[: len(visible_tokens)],
        first=visible_tokens.start,
        slots=len(window),
        limit=limit,
        unit="norm γⁿ⁻ᵐ |kₘ| |vₘ|",
    )


def _shares(step_terms: ChunkTerms, window: range, tokens: list[str]) -> Bars:
    visible_tokens = _overlap(step_terms.tokens, window)
    return Bars(
        title=f"What the state S{_sub(step_terms.chunk - 1)} gives to each output · derived",
        term="cross",
        values=step_terms.share[_overlap_slice(step_terms.tokens, window)].tolist(),
        labels=tokens[visible_tokens.start - window.start : visible_tokens.stop - window.start],
        first=visible_tokens.start,
        slots=len(visible_tokens),
        limit=1.0,
        unit="|cross| / (|cross| + |inner|)",
    )


def _plane(
    trace: Trace,
    step_terms: ParallelTerms | RecurrentTerms | ChunkTerms,
    steps: Schedule,
    step: Step,
    window: range,
) -> Plane:
    cells: Tensor | None = None
    if isinstance(step_terms, ParallelTerms):
        span = slice(window.start, window.stop)
        cells = trace.retention(steps.layer, span, span)[steps.head]
    elif isinstance(step_terms, ChunkTerms):
        span = _overlap_slice(step_terms.tokens, window)
        cells = step_terms.weights[span, span]
    built = cells is not None
    return Plane(
        first=window.start,
        last=window.stop,
        row=step_terms.n,
        lit=(step.tokens, step.cells) if built else None,
        done=tuple((past.tokens, past.cells) for past in steps.steps[: step.index if built else 0]),
        cells=None if cells is None else cells.float().cpu().numpy(),
        built=built,
    )


# -- the sentence of each mode ------------------------------------------------------------------


def _parallel_sentence(trace: Trace, head: int, step_terms: ParallelTerms) -> str:
    n = step_terms.n
    if trace.length == 1:
        sentence = "One step computes the only token."
    else:
        sentence = f"One step computes all {trace.length:,} tokens at once."
    sentence += f" In head {head} {token_label(trace, n)} reads "
    m = int(step_terms.weights.abs().argmax())
    weight, score, decay = (
        x[m].item() for x in (step_terms.weights, step_terms.scores, step_terms.decay)
    )
    if n == 0:
        return f"{sentence}only itself, with weight {number(weight)}."
    sentence += f"{pluralize(n + 1, 'token')}, "
    if weight == 0:
        return f"{sentence}all with weight 0."
    source = "itself" if m == n else token_label(trace, m)
    return (
        f"{sentence}most strongly {source}: score {number(score)} × decay {number(decay)} = weight "
        f"{number(weight)}."
    )


def _recurrent_sentence(trace: Trace, head: int, step_terms: RecurrentTerms) -> str:
    n = step_terms.n
    before, faded, added, after = (
        number(_norm(x))
        for x in (step_terms.before, step_terms.faded, step_terms.added, step_terms.state)
    )
    token = f"“{visible(trace.tokens[n])}”"
    sentence = f"Step {n + 1:,} of {trace.length:,}: head {head} "
    if n == 0:
        return f"{sentence}starts with an empty state, adds {token} ({added}) and holds {after}."
    share = "all" if step_terms.gamma == 1 else gamma_number(step_terms.gamma)
    sentence += (
        f"keeps {share} of the state (‖S‖ {before} becomes {faded}), adds {token} ({added}) and "
        f"holds {after}"
    )
    m = int(step_terms.contributions.argmax())
    if step_terms.contributions[m] == 0:
        return sentence + "."
    return f"{sentence}; it retains most from {'this token' if m == n else token_label(trace, m)}."


def _chunkwise_sentence(trace: Trace, head: int, step_terms: ChunkTerms, steps: int) -> str:
    first, last = step_terms.tokens[0], step_terms.tokens[-1]
    sentence = f"Step {step_terms.chunk + 1:,} of {steps:,} computes "
    sentence += f"token {first:,}" if first == last else f"tokens {first:,} to {last:,} at once"
    before, after = number(_norm(step_terms.before)), number(_norm(step_terms.state))
    if step_terms.chunk == 0:
        return (
            f"{sentence}. Head {head} carries nothing into the first chunk; the state that it "
            f"hands on has ‖S‖ {after}."
        )
    share = step_terms.share[step_terms.n - first].item()
    return (
        f"{sentence}. Head {head} carries what it holds of {pluralize(first, 'earlier token')} "
        f"into this chunk (‖S‖ {before}, then {after}); it gives "
        f"{token_label(trace, step_terms.n)} {number(100 * share)} % of its output, by norm."
    )
