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

from retnet_viz.figures.base.captions import counted, named
from retnet_viz.figures.base.scale import SCALES, ColorScale
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import formula, gamma_number, number
from retnet_viz.figures.steps.scene_limits import scales, shared
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
        drawn = [part for line in self.lines for part in line if isinstance(part, Picture)]
        return list({picture.term: picture for picture in drawn}.values())

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
            parts = [pictures[term][0].tolist() for term in ("scores", "decay", "weights")]
            for m, *cell in zip(range(self.plane.first, self.n + 1), *parts, strict=False):
                token = self.tokens[m - self.plane.first]
                rows.append((str(m), token, *map(number, cell)))
            caption = f"What token {self.n} reads with, {step}"
            return caption, ("m", "token", "q·k", "γ^(n−m)", "weight"), rows
        assert self.bars is not None
        read = range(self.bars.first, self.bars.first + len(self.bars.values))
        shown = zip(read, self.bars.labels, self.bars.values, strict=True)
        if self.mode == "recurrent":
            rows = [(str(m), token, number(value)) for m, token, value in shown]
            caption = f"What each token still adds to the state, {step}"
            return caption, ("m", "token", "γ^(n−m) |k| |v|"), rows
        norms = [np.linalg.norm(pictures[term], axis=1).tolist() for term in ("inner", "cross")]
        for (n, token, share), inner, cross in zip(shown, *norms, strict=True):
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
    parts = terms(trace, layer, head, n)
    kept = shared(trace, layer, head)
    step = kept.schedule.steps[kept.schedule.step_of(n)]
    window = _window(trace.length, n, step.tokens)
    tokens = [visible(token) for token in trace.tokens[window.start : window.stop]]
    bars: Bars | None
    if isinstance(parts, ParallelTerms):
        lines, bars = _parallel(trace, layer, head, parts, window), None
        sentence = _parallel_sentence(trace, head, parts)
    elif isinstance(parts, RecurrentTerms):
        lines = _recurrent(parts)
        bars = _contributions(parts, window, tokens, kept.largest_contribution)
        sentence = _recurrent_sentence(trace, head, parts)
    else:
        lines = _chunkwise(parts, window)
        bars = _shares(parts, window, tokens)
        sentence = _chunkwise_sentence(trace, head, parts, len(kept.schedule))
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
        steps=len(kept.schedule),
        lines=lines,
        plane=_plane(trace, parts, kept.schedule, step, window),
        bars=bars,
        formula=formula(parts),
        sentence=sentence,
        limits=dict(kept.limits),
        scales=scales(kept.limits, scale, kept.smallest_decay),
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
    trace: Trace, layer: int, head: int, parts: ParallelTerms, window: range
) -> tuple[tuple[Picture | str, ...], ...]:
    """Row n of the plane, with the cells m > n that the mode computes and masks, times V."""
    n = parts.n
    row, read = slice(n, n + 1), slice(window.start, window.stop)
    first = window.start

    def cells(term: str, label: str, plane: Tensor, scale: str) -> Picture:
        signed = term != "decay"
        return _picture(term, label, plane[head], ("", "token m"), (n, first), scale, signed=signed)

    scores = cells("scores", f"q{_sub(n)} Kᵀ", trace.scores(layer, row, read), "weights")
    decay = cells("decay", f"D{_sub(n)}", trace.decay(layer, row, read), "decay")
    label = f"q{_sub(n)} Kᵀ ⊙ D{_sub(n)}"
    weights = cells("weights", label, trace.retention(layer, row, read), "weights")
    values = _picture(
        "values", "V", trace.v(layer)[head, read], ("token m", "d_v"), (first, 0), "values"
    )
    output = _picture("output", f"o{_sub(n)}", parts.output, ("", "d_v"), (n, 0), "output")
    return (scores, "×", decay, "=", weights), (weights, "·", values, "=", output)


def _recurrent(parts: RecurrentTerms) -> tuple[tuple[Picture | str, ...], ...]:
    """From S_{n-1} to S_n, and the query that reads it."""
    n = parts.n

    def state(term: str, label: str, values: Tensor, origin: str = _COMPUTED) -> Picture:
        return _picture(term, label, values, ("d_k", "d_v"), (0, 0), "state", origin=origin)

    before = state("before", f"S{_sub(n - 1)}", parts.before)
    faded = state("faded", f"γ S{_sub(n - 1)}", parts.faded)
    added = state("added", f"k{_sub(n)}ᵀ v{_sub(n)}", parts.added, _DERIVED)
    after = state("state", f"S{_sub(n)}", parts.state)
    q = _picture("q", f"q{_sub(n)}", parts.q, ("", "d_k"), (n, 0), "query")
    output = _picture("output", f"o{_sub(n)}", parts.output, ("", "d_v"), (n, 0), "output")
    return (
        (before, "→ ×γ", faded, "+", added, "=", after),
        (q, f"· S{_sub(n)} =", output),
    )


def _chunkwise(parts: ChunkTerms, window: range) -> tuple[tuple[Picture | str, ...], ...]:
    """The chunk's block of weights, the state that it carries over, the two parts of its output."""
    i, shown, here = parts.chunk, _shared(parts.tokens, window), _within(parts.tokens, window)
    first = shown.start

    def state(term: str, chunk: int, values: Tensor) -> Picture:
        return _picture(term, f"S{_sub(chunk)}", values, ("d_k", "d_v"), (0, 0), "state")

    def output(term: str, label: str, values: Tensor) -> Picture:
        return _picture(term, label, values[here], ("token n", "d_v"), (first, 0), "output")

    weights = _picture(
        "weights",
        f"Q{_sub(i)} K{_sub(i)}ᵀ ⊙ D",
        parts.weights[here, here],
        ("token n", "token m"),
        (first, first),
        "weights",
    )
    return (
        (weights, state("before", i - 1, parts.before), "→", state("state", i, parts.state)),
        (
            output("inner", "inner", parts.inner),
            "+",
            output("cross", "cross", parts.cross),
            "=",
            output("output", f"O{_sub(i)}", parts.output),
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


def _shared(tokens: range, window: range) -> range:
    """The tokens of a step that the window shows."""
    return range(max(tokens.start, window.start), min(tokens.stop, window.stop))


def _within(tokens: range, window: range) -> slice:
    """The same as a slice of the step's own tokens."""
    shown = _shared(tokens, window)
    return slice(shown.start - tokens.start, shown.stop - tokens.start)


# -- bars and plane -----------------------------------------------------------------------------


def _contributions(parts: RecurrentTerms, window: range, tokens: list[str], limit: float) -> Bars:
    read = _shared(range(parts.n + 1), window)
    return Bars(
        title=f"What each token still adds to S{_sub(parts.n)} · derived",
        term="state",
        values=parts.contributions[read.start : read.stop].tolist(),
        labels=tokens[: len(read)],
        first=read.start,
        slots=len(window),
        limit=limit,
        unit="norm γⁿ⁻ᵐ |kₘ| |vₘ|",
    )


def _shares(parts: ChunkTerms, window: range, tokens: list[str]) -> Bars:
    shown = _shared(parts.tokens, window)
    return Bars(
        title=f"What the state S{_sub(parts.chunk - 1)} gives to each output · derived",
        term="cross",
        values=parts.share[_within(parts.tokens, window)].tolist(),
        labels=tokens[shown.start - window.start : shown.stop - window.start],
        first=shown.start,
        slots=len(shown),
        limit=1.0,
        unit="|cross| / (|cross| + |inner|)",
    )


def _plane(
    trace: Trace,
    parts: ParallelTerms | RecurrentTerms | ChunkTerms,
    steps: Schedule,
    step: Step,
    window: range,
) -> Plane:
    cells: Tensor | None = None
    if isinstance(parts, ParallelTerms):
        shown = slice(window.start, window.stop)
        cells = trace.retention(steps.layer, shown, shown)[steps.head]
    elif isinstance(parts, ChunkTerms):
        here = _within(parts.tokens, window)
        cells = parts.weights[here, here]
    built = cells is not None
    return Plane(
        first=window.start,
        last=window.stop,
        row=parts.n,
        lit=(step.tokens, step.cells) if built else None,
        done=tuple((past.tokens, past.cells) for past in steps.steps[: step.index if built else 0]),
        cells=None if cells is None else cells.float().cpu().numpy(),
        built=built,
    )


# -- the sentence of each mode ------------------------------------------------------------------


def _parallel_sentence(trace: Trace, head: int, parts: ParallelTerms) -> str:
    n = parts.n
    if trace.length == 1:
        said = "One step computes the only token."
    else:
        said = f"One step computes all {trace.length:,} tokens at once."
    said += f" In head {head} {named(trace, n)} reads "
    m = int(parts.weights.abs().argmax())
    weight, score, decay = (x[m].item() for x in (parts.weights, parts.scores, parts.decay))
    if n == 0:
        return f"{said}only itself, with weight {number(weight)}."
    said += f"{counted(n + 1, 'token')}, "
    if weight == 0:
        return f"{said}all with weight 0."
    read = "itself" if m == n else named(trace, m)
    return (
        f"{said}most strongly {read}: score {number(score)} × decay {number(decay)} = weight "
        f"{number(weight)}."
    )


def _recurrent_sentence(trace: Trace, head: int, parts: RecurrentTerms) -> str:
    n = parts.n
    before, faded, added, held = (
        number(_norm(x)) for x in (parts.before, parts.faded, parts.added, parts.state)
    )
    token = f"“{visible(trace.tokens[n])}”"
    said = f"Step {n + 1:,} of {trace.length:,}: head {head} "
    if n == 0:
        return f"{said}starts with an empty state, adds {token} ({added}) and holds {held}."
    kept = "all" if parts.gamma == 1 else gamma_number(parts.gamma)
    said += (
        f"keeps {kept} of the state (‖S‖ {before} becomes {faded}), adds {token} ({added}) and "
        f"holds {held}"
    )
    m = int(parts.contributions.argmax())
    if parts.contributions[m] == 0:
        return said + "."
    return f"{said}; it retains most from {'this token' if m == n else named(trace, m)}."


def _chunkwise_sentence(trace: Trace, head: int, parts: ChunkTerms, steps: int) -> str:
    first, last = parts.tokens[0], parts.tokens[-1]
    said = f"Step {parts.chunk + 1:,} of {steps:,} computes "
    said += f"token {first:,}" if first == last else f"tokens {first:,} to {last:,} at once"
    before, held = number(_norm(parts.before)), number(_norm(parts.state))
    if parts.chunk == 0:
        return (
            f"{said}. Head {head} carries nothing into the first chunk; the state that it hands on "
            f"has ‖S‖ {held}."
        )
    share = parts.share[parts.n - first].item()
    return (
        f"{said}. Head {head} carries what it holds of {counted(first, 'earlier token')} into this "
        f"chunk (‖S‖ {before}, then {held}); it gives {named(trace, parts.n)} "
        f"{number(100 * share)} % of its output, by norm."
    )
