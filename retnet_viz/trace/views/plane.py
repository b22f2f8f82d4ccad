"""Windows of the T x T plane of a layer: decay, scores and retention weights, and one cell of it.

Shapes: T tokens, H heads. `rows` and `cols` select tokens n (reading) and m (read).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model.position import decay_matrix
from retnet_viz.trace.passes.observed_layer import ObservedLayer


@dataclass(frozen=True)
class Cell:
    """One retention weight taken apart: `weight = score * decay`.

    `decay = gamma**distance`, but for edits that take a token out of the state, or cut a reading.
    """

    score: float
    gamma: float
    distance: int
    decay: float
    weight: float


def window(layer: ObservedLayer, name: str, rows: slice, cols: slice) -> Tensor:
    """The plane that is published as `name`, (H, rows, cols); derived where it was not computed."""
    if layer.mode == "parallel":
        return layer.record[name][0][:, rows, cols]
    n, m = range(layer.length)[rows], range(layer.length)[cols]
    device = layer.output.device
    values = _derive(
        layer,
        name,
        torch.tensor(n, dtype=torch.long, device=device),
        torch.tensor(m, dtype=torch.long, device=device),
    )
    if layer.mode == "chunkwise" and layer.pass_record.keeps_blocks and len(n) and len(m):
        # Replace the derived values by what the chunks computed. Blocks lie on the diagonal, so
        # only those matter whose tokens are among the rows and the columns.
        size = layer.chunk_size
        low, high = max(min(n), min(m)), min(max(n), max(m))
        for i in range(low // size, high // size + 1):
            block = layer.record[name][i]
            first, last = i * size, i * size + block.shape[-1]
            to_n, from_n = _overlap(n, first, last)
            to_m, from_m = _overlap(m, first, last)
            values[:, to_n, to_m] = block[:, from_n, from_m]
    return values


def _derive(layer: ObservedLayer, name: str, n: Tensor, m: Tensor) -> Tensor:
    if name == "retention.decay":
        return _decay(layer, n, m)
    scores = layer.q[:, n] @ layer.k[:, m].mT
    return scores if name == "retention.scores" else scores * _decay(layer, n, m)


def _decay(layer: ObservedLayer, n: Tensor, m: Tensor) -> Tensor:
    decay = decay_matrix(layer.gamma, n, m, layer.output.dtype)
    if layer.changes is not None:
        decay = decay * layer.changes.factor(n, m).to(decay)
    return decay


def cell(layer: ObservedLayer, head: int, n: int, m: int) -> Cell:
    """The weight with which token n reads token m, taken apart. For m > n it is 0."""
    score, decay, weight = (
        window(layer, name, slice(n, n + 1), slice(m, m + 1))[head].item()
        for name in ("retention.scores", "retention.decay", "retention.weights")
    )
    return Cell(score, layer.gamma[head].item(), n - m, decay, weight)


def _overlap(tokens: range, first: int, last: int) -> tuple[slice, slice]:
    """The overlap of `tokens` with first .. last - 1: as a slice of each."""
    begin, end = (
        min(max(0, -(-(edge - tokens.start) // tokens.step)), len(tokens)) for edge in (first, last)
    )
    if begin >= end:
        return slice(0, 0), slice(0, 0)
    return slice(begin, end), slice(tokens[begin] - first, tokens[end - 1] - first + 1, tokens.step)
