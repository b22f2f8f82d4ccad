"""The numbers behind each panel as rows: a line of names, then one line per item.

Numbers are written with nine significant digits, from which a float32 is read back to the bit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from retnet_viz.figures.reading.mode_costs import mode_costs
from retnet_viz.figures.steps.scene import scene
from retnet_viz.trace import Trace
from retnet_viz.ui.export.view import View

Row = Sequence[Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Iterable[Row]) -> str:
    """Rows as CSV as RFC 4180 has it.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    file = io.StringIO(newline="")
    csv.writer(file).writerows([_plain(item) for item in row] for row in rows)
    return file.getvalue()


def _plain(item: Any) -> Any:
    if isinstance(item, float):
        return f"{item:.9g}"
    if isinstance(item, str) and item.startswith(_FORMULA):
        return "'" + item
    return item


def tokens(trace: Trace, view: View) -> Iterator[Row]:
    """Every token, and the weight with which the selected one reads it in each head shown."""
    heads, selected = view.heads_of(trace), view.token % trace.length
    weights = trace.retention(view.layer, slice(selected, selected + 1))[heads, 0].T.tolist()
    yield ("n", "token", "id", *(f"weight_head_{head}" for head in heads))
    for n, (token, token_id) in enumerate(zip(trace.tokens, trace.ids.tolist(), strict=True)):
        yield (n, token, token_id, *weights[n])


def next_token(trace: Trace, view: View) -> Iterator[Row]:
    """Every token of the vocabulary and its probability after the selected one."""
    probabilities = trace.logits_after(view.token).double().softmax(-1)
    ranking = probabilities.sort(descending=True)
    yield ("rank", "id", "token", "probability")
    for rank, (value, token_id) in enumerate(
        zip(ranking.values.tolist(), ranking.indices.tolist(), strict=True)
    ):
        yield (rank + 1, token_id, trace.piece(token_id), value)


def decay(trace: Trace, view: View) -> Iterator[Row]:
    """D for every head shown and every pair m <= n."""
    yield ("head", "n", "m", "decay")
    for head, n, m, values in _cells(trace, view, ("decay",)):
        yield (head, n, m, *values)


def retention(trace: Trace, view: View) -> Iterator[Row]:
    """Score, decay and weight for every head shown and every pair m <= n."""
    yield ("head", "n", "m", "token_n", "token_m", "score", "decay", "weight")
    token_texts = trace.tokens
    for head, n, m, values in _cells(trace, view, ("scores", "decay", "retention")):
        yield (head, n, m, token_texts[n], token_texts[m], *values)


def _cells(
    trace: Trace, view: View, names: tuple[str, ...]
) -> Iterator[tuple[int, int, int, tuple[float, ...]]]:
    """(head, n, m, values) of every cell m <= n; no more than a row of the plane is built."""
    for head in view.heads_of(trace):
        for n in range(trace.length):
            row, sources = slice(n, n + 1), slice(0, n + 1)
            rows = [
                getattr(trace, name)(view.layer, row, sources)[head, 0].tolist() for name in names
            ]
            for m, values in enumerate(zip(*rows, strict=True)):
                yield head, n, m, values


def state_norm(trace: Trace, view: View) -> Iterator[Row]:
    """The norm of S after every token, in each head shown."""
    heads = view.heads_of(trace)
    norms = trace.state_norm(view.layer)[heads].T.tolist()
    yield ("n", "token", *(f"norm_head_{head}" for head in heads))
    for n, values in enumerate(norms):
        yield (n, trace.tokens[n], *values)


def stage(trace: Trace, view: View) -> Iterator[Row]:
    """Every entry of every term of the equation that gives the selected token's output."""
    step = scene(trace, view.layer, view.head, view.token % trace.length)
    yield ("term", "label", "origin", "row", "column", "value")
    for picture in step.pictures:
        for i, row in enumerate(picture.values.tolist()):
            for j, value in enumerate(row):
                place = (picture.row_start + i, picture.col_start + j)
                yield (picture.term, picture.label, picture.origin, *place, value)


def cost(trace: Trace, view: View) -> Iterator[Row]:
    """What each mode costs on this text, measured."""
    yield ("mode", "steps", "milliseconds", "flops", "peak_bytes", "state_bytes")
    for mode, measured in mode_costs(trace).items():
        yield (
            mode,
            measured.steps,
            measured.milliseconds,
            measured.flops,
            measured.peak_bytes,
            measured.state_bytes,
        )


def agreement(trace: Trace, view: View) -> Iterator[Row]:
    """Largest differences between the trace's mode and the other two."""
    result = trace.agreement()
    yield ("mode", "other", "logits", "outputs", "largest_logit")
    for other in result.outputs:
        yield (trace.mode, other, result.logits.get(other, ""), result.outputs[other], result.scale)
