"""The three forms of retention where edits change what tokens read, or the state on its way.

Each gives what `model.retention` gives, publishes the same names, and is equal to it where nothing
is changed. With A of `LayerChanges.factor`, and a state S' that an edit adds before token s:

    parallel    O   = (Q K^T * D * A) V + sum of (Q S') gamma^(n-s+1) A'
    recurrent   S_{s-1} is scaled, less what a token left in it, plus S', before token s is read
    chunkwise   as parallel inside a chunk; between chunks the state is carried with its changes

Shapes as in `model.retention`: q, k (B, H, T, d_k), v (B, H, T, d_v), state (B, H, d_k, d_v).
Positions are those of the changes; `start` is the position of the first token.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from retnet_viz.model.observe import publish
from retnet_viz.model.position import chunk_decay, decay_powers
from retnet_viz.model.retention import empty_state, inner_output, next_state, recurrent
from retnet_viz.trace.edits.layer_changes import KeyValue, LayerChanges


def retain_edited(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None,
    mode: str,
    chunk_size: int,
    changes: LayerChanges,
    start: int,
    key_value: KeyValue,
) -> tuple[Tensor, Tensor]:
    """`model.retention.retain` with changes; `key_value` gives k and v of tokens read before."""
    if mode == "recurrent":
        return _recurrent(q, k, v, gamma, state, changes, start, key_value)
    size = q.shape[-2] if mode == "parallel" else chunk_size
    outputs = []
    if mode == "chunkwise" and state is None:
        state = empty_state(k, v)
    for q_i, k_i, v_i in zip(*(x.split(size, dim=-2) for x in (q, k, v)), strict=True):
        chunk = _Chunk(q_i, k_i, v_i, gamma, changes, start, key_value)
        inner = chunk.inner()
        if mode == "chunkwise":
            inner = publish("retention.inner", inner)
        cross, state = chunk.cross(state)
        if mode == "chunkwise":
            cross = publish("retention.cross", cross)
        outputs.append(inner + cross)
        state = publish("retention.state", state)
        start += q_i.shape[-2]
    assert state is not None
    return torch.cat(outputs, dim=-2), state


def advance(
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None,
    changes: LayerChanges,
    start: int,
    key_value: KeyValue,
) -> Tensor:
    """The state after tokens `start` .. from the one before them, by the chunkwise form."""
    chunk = _Chunk(k, k, v, gamma, changes, start, key_value)
    return chunk.carry(state, lambda _first, _stop, _terms: None)


Term = tuple[int, Tensor]  # (n, S): a part of the state as it would be right before token n


class _Chunk:
    """Some consecutive tokens whose outputs are computed at once (equation 7)."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gamma: Tensor,
        changes: LayerChanges,
        start: int,
        key_value: KeyValue,
    ) -> None:
        self.q, self.k, self.v, self.gamma = q, k, v, gamma
        self.changes, self.start, self.stop = changes, start, start + q.shape[-2]
        self.key_value = key_value

    def inner(self) -> Tensor:
        """(B, H, T, d_v), what comes from the tokens of the chunk itself."""
        decay = chunk_decay(self.gamma, self.q)
        tokens = range(self.start, self.stop)
        factor = self.changes.factor(tokens, tokens)
        if not bool((factor == 1).all()):
            decay = decay._replace(matrix=decay.matrix * factor.to(decay.matrix))
        return inner_output(self.q, self.k, self.v, decay)

    def cross(self, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, H, T, d_v), what comes from before the chunk or was added in it; the state after."""
        dtype = empty_state(self.k, self.v).dtype
        output = self.v.new_zeros(self.v.shape, dtype=dtype)

        def read(first: int, stop: int, terms: list[Term]) -> None:
            rows = slice(first - self.start, stop - self.start)
            for base, part in terms:
                exponents = torch.arange(first - base + 1, stop - base + 1, device=part.device)
                xi = decay_powers(self.gamma, exponents, part.dtype)[..., None]
                output[:, :, rows] += (self.q[:, :, rows].to(part) * xi) @ part

        after = self.carry(state, read)
        for cut in self.changes.cuts_of(self.start, self.stop, read_before=self.start):
            row = slice(cut.reader - self.start, cut.reader - self.start + 1)
            output[:, :, row] -= _read(
                self.q[:, :, row], self.gamma, self.changes, cut.reader, cut.read, cut.heads,
                self.key_value, output,
            )  # fmt: skip
        return output.to(self.v.dtype), after

    def carry(self, state: Tensor | None, read: Callable[[int, int, list[Term]], None]) -> Tensor:
        """The state after the chunk; `read(first, stop, terms)` gets what tokens first .. stop - 1
        read of the state before the chunk and of what is added in it."""
        terms: list[Term] = [] if state is None else [(self.start, state)]
        like = empty_state(self.k, self.v)
        bounds = [*self.changes.starts(self.start, self.stop), self.stop]
        for first, stop in pairwise(sorted({self.start, *bounds})):
            for change in self.changes.at(first):
                if change.token is None:
                    terms = [(base, part * _by_head(change.scale, part)) for base, part in terms]
                elif change.token < self.start and terms:
                    # The share lies in the first term, which is as it was before the chunk.
                    base, part = terms[0]
                    terms[0] = base, self.changes.make_one(
                        change, part, self.start - 1, self.gamma, self.key_value
                    )  # fmt: skip
                if change.added is not None:
                    added = change.added.to(like).expand(like.shape)
                    terms.append((first, added))
            read(first, stop, terms)
        decay = chunk_decay(self.gamma, self.k)
        left = self.changes.factor(
            range(self.stop - 1, self.stop), range(self.start, self.stop), cuts=False
        )
        after = next_state(self.k * left.mT.to(self.k), self.v, None, decay)
        for base, part in terms:
            after = after + part * _by_head(self.gamma ** (self.stop - base), part)
        return after


def _recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None,
    changes: LayerChanges,
    start: int,
    key_value: KeyValue,
) -> tuple[Tensor, Tensor]:
    stop = start + q.shape[-2]
    outputs = []
    state = empty_state(k, v) if state is None else state
    for first, last in pairwise(sorted({start, *changes.starts(start, stop), stop})):
        rows = slice(first - start, last - start)
        state = changes.make(state, first, gamma, key_value)
        output, state = recurrent(q[:, :, rows], k[:, :, rows], v[:, :, rows], gamma, state)
        outputs.append(output)
    output = torch.cat(outputs, dim=-2)
    for cut in changes.cuts_of(start, stop):
        row = slice(cut.reader - start, cut.reader - start + 1)
        output[:, :, row] -= _read(
            q[:, :, row], gamma, changes, cut.reader, cut.read, cut.heads, key_value, state
        ).to(output.dtype)
    return output, state


def _read(
    q: Tensor,
    gamma: Tensor,
    changes: LayerChanges,
    reader: int,
    read: int,
    heads: Tensor,
    key_value: KeyValue,
    like: Tensor,
) -> Tensor:
    """(B, H, 1, d_v), what token `reader`, with q (B, H, 1, d_k), reads of token `read` in `heads`:
    (q k) gamma^(n-m) A v."""
    k, v = (x.to(like) for x in key_value(read))
    left = changes.factor(range(reader, reader + 1), range(read, read + 1), cuts=False)[:, 0, 0]
    decay = decay_powers(gamma.cpu(), torch.tensor([reader - read]), torch.float64)[:, 0]
    return (q.to(like) @ k.mT) * _by_head(left * decay * heads, like) * v


def _by_head(factors: Tensor, like: Tensor) -> Tensor:
    """(H,) as a factor of (B, H, ., .)."""
    return factors.to(like)[:, None, None]
