"""The state of a layer after any token, and the norms of all its states.

A state that the pass kept is returned as it is. A state between two kept ones is recomputed from
the nearest one before. Where the mode has no states they are accumulated by the chunkwise form.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from retnet_viz.model.observe import listening
from retnet_viz.model.position import chunk_decay
from retnet_viz.model.retention import next_state, recurrent
from retnet_viz.trace.edits.edited_forms import advance, retain_edited
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.views.state_norms import state_norms


def state_after(layer: ObservedLayer, position: int) -> Tensor:
    """S (H, d_k, d_v) after the token at `position`, 0 .. T - 1."""
    record = layer.record
    if position == layer.length - 1:
        return record.last_state
    if layer.mode == "recurrent":
        nearest = position - position % record.stride
        state = record.states[nearest]
        return state if nearest == position else _replay(layer, nearest + 1, position, state)
    if layer.mode == "parallel":
        return _accumulate(layer, 0, position, None)
    size = layer.chunk_size
    chunk = (position + 1) // size  # chunks that end at or before the position
    nearest = -1 if chunk == 0 else (chunk - 1) - (chunk - 1) % record.stride
    before = record.states[nearest] if nearest >= 0 else None
    for i in range(nearest + 1, chunk):
        before = _accumulate(layer, i * size, (i + 1) * size - 1, before)
    first = chunk * size
    if first > position:
        assert before is not None
        return before
    return _accumulate(layer, first, position, before)


def layer_state_norms(layer: ObservedLayer) -> Tensor:
    """(H, T), the Frobenius norm of S after each token; see `Trace.state_norm`."""
    if layer.mode == "recurrent" and layer.pass_record.keeps_rows:
        return _recurrent_norms(layer)
    norms = _derived_norms(layer).to(layer.record.last_state.dtype)
    for position, state in _computed_states(layer):
        norms[:, position] = _frobenius(state)
    return norms


def _derived_norms(layer: ObservedLayer) -> Tensor:
    """(H, T) float64, the norms without the states; see `state_norms`."""
    if layer.changes is None:
        return state_norms(layer.k, layer.v, layer.gamma)
    # Between two tokens at which the state changes it goes on as in any text.
    norms, state = [], None
    bounds = sorted({0, *layer.changes.starts(0, layer.length), layer.length})
    for first, stop in pairwise(bounds):
        k, v = layer.k[:, first:stop], layer.v[:, first:stop]
        before = _zeros_like_state(layer) if state is None else state[None]
        before = layer.changes.make(before, first, layer.gamma, layer.key_value)[0]
        norms.append(state_norms(k, v, layer.gamma, before))
        state = _accumulate(layer, first, stop - 1, state)
    return torch.cat(norms, dim=-1)


def _recurrent_norms(layer: ObservedLayer) -> Tensor:
    """(H, T), the norms of the states of recurrent mode, kept or recomputed."""
    record = layer.record
    if record.stride == 1:
        norms = [_frobenius(record.states[n]) for n in range(layer.length)]
    else:
        norms = []
        _recur(layer, 0, layer.length, None, lambda state: norms.append(_frobenius(state)))
    return torch.stack(norms, dim=-1)


def _computed_states(layer: ObservedLayer) -> Iterator[tuple[int, Tensor]]:
    """(position, S) of the states that the pass computed, and of the last one.

    Where layers are replayed: only the kept states. Else also those between two kept ones,
    accumulated as chunkwise mode does.
    """
    record, size = layer.record, layer.chunk_size
    if layer.mode == "recurrent":
        yield from record.states.items()
    if layer.mode == "chunkwise" and not layer.pass_record.keeps_rows:
        for i, state in record.states.items():
            yield min((i + 1) * size, layer.length) - 1, state
    if layer.mode == "chunkwise" and layer.pass_record.keeps_rows:
        state = record.last_state  # the first is always kept
        for i in range(record.steps - 1):
            if i in record.states:
                state = record.states[i]
            else:
                state = _accumulate(layer, i * size, (i + 1) * size - 1, state)
            yield (i + 1) * size - 1, state
    yield layer.length - 1, record.last_state


def _replay(layer: ObservedLayer, start: int, stop: int, state: Tensor) -> Tensor:
    """The state after token `stop` from the one before `start`, by the recurrence."""
    return _recur(layer, start, stop + 1, state, lambda _: None)


def _recur(
    layer: ObservedLayer,
    start: int,
    stop: int,
    state: Tensor | None,
    keep: Callable[[Tensor], None],
) -> Tensor:
    """Run the recurrence over tokens start .. stop - 1; `keep` gets each state; the last one."""
    q, k, v = (x[None, :, start:stop] for x in (layer.q, layer.k, layer.v))

    def listen(name: str, tensor: Tensor) -> None:
        if name == "retention.state":
            keep(tensor[0])

    with torch.no_grad(), listening(listen):
        initial = None if state is None else state[None]
        if layer.changes is None:
            return recurrent(q, k, v, layer.gamma, initial)[1][0]
        return retain_edited(
            q, k, v, layer.gamma, initial, "recurrent", 1, layer.changes, start, layer.key_value
        )[1][0]


def _accumulate(layer: ObservedLayer, start: int, stop: int, state: Tensor | None) -> Tensor:
    """The state after token `stop`, accumulated from token `start` by the chunkwise form."""
    k, v = (x[None, :, start : stop + 1] for x in (layer.k, layer.v))
    with torch.no_grad():
        before = None if state is None else state[None]
        if layer.changes is None:
            return next_state(k, v, before, chunk_decay(layer.gamma, k))[0]
        return advance(k, v, layer.gamma, before, layer.changes, start, layer.key_value)[0]


def _zeros_like_state(layer: ObservedLayer) -> Tensor:
    return torch.zeros_like(layer.record.last_state)[None]


def _frobenius(state: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(state, dim=(-2, -1))
    return norm
