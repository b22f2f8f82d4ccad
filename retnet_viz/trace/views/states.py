"""The state of a layer after any token, and the norms of all its states.

What the pass computed is taken as it was; what it did not keep is replayed from the nearest state
before, and what its mode has no state for is summed up as the chunkwise form does.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from retnet_viz.model.observe import listening
from retnet_viz.model.position import stretch_decay
from retnet_viz.model.retention import next_state, recurrent
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.views.state_norms import state_norms


def state_after(layer: ObservedLayer, position: int) -> Tensor:
    """S (H, d_k, d_v) after the token at `position`, 0 .. T - 1."""
    record = layer.record
    if position == layer.length - 1:
        return record.last_state
    if layer.mode == "recurrent":
        kept = position - position % record.stride
        state = record.states[kept]
        return state if kept == position else _replayed(layer, kept + 1, position, state)
    if layer.mode == "parallel":
        return _summed(layer, 0, position, None)
    size = layer.chunk_size
    chunk = (position + 1) // size  # chunks that end at or before the position
    kept = -1 if chunk == 0 else (chunk - 1) - (chunk - 1) % record.stride
    before = record.states[kept] if kept >= 0 else None
    for i in range(kept + 1, chunk):
        before = _summed(layer, i * size, (i + 1) * size - 1, before)
    first = chunk * size
    if first > position:
        assert before is not None
        return before
    return _summed(layer, first, position, before)


def norms_of_states(layer: ObservedLayer) -> Tensor:
    """(H, T), the Frobenius norm of S after each token; see `Trace.state_norm`."""
    if layer.mode == "recurrent" and layer.whole.keeps_rows:
        return _norms_of_all(layer)
    norms = state_norms(layer.k, layer.v, layer.gamma).to(layer.record.last_state.dtype)
    for position, state in _computed(layer):
        norms[:, position] = _frobenius(state)
    return norms


def _norms_of_all(layer: ObservedLayer) -> Tensor:
    """(H, T), the norms of the states that recurrent mode computed, kept or replayed."""
    record = layer.record
    if record.stride == 1:
        norms = [_frobenius(record.states[n]) for n in range(layer.length)]
    else:
        norms = []
        _recur(layer, 0, layer.length, None, lambda state: norms.append(_frobenius(state)))
    return torch.stack(norms, dim=-1)


def _computed(layer: ObservedLayer) -> Iterator[tuple[int, Tensor]]:
    """(position, S) of the states that the pass computed, and of the last one.

    Of a text whose layers are replayed those that are kept. Else the ones between two kept ones are
    summed up as chunkwise mode does.
    """
    record, size = layer.record, layer.chunk_size
    if layer.mode == "recurrent":
        yield from record.states.items()
    if layer.mode == "chunkwise" and not layer.whole.keeps_rows:
        for i, state in record.states.items():
            yield min((i + 1) * size, layer.length) - 1, state
    if layer.mode == "chunkwise" and layer.whole.keeps_rows:
        state = record.last_state  # the first is always kept
        k, v = layer.k[None], layer.v[None]
        decay = stretch_decay(layer.gamma, k[:, :, :size])
        for i in range(record.steps - 1):
            chunk = slice(i * size, (i + 1) * size)
            if i in record.states:
                state = record.states[i]
            else:
                with torch.no_grad():
                    state = next_state(k[:, :, chunk], v[:, :, chunk], state[None], decay)[0]
            yield (i + 1) * size - 1, state
    yield layer.length - 1, record.last_state


def _replayed(layer: ObservedLayer, start: int, stop: int, state: Tensor) -> Tensor:
    """The state after token `stop` from the one before `start`, by the recurrence itself."""
    return _recur(layer, start, stop + 1, state, lambda _: None)


def _recur(
    layer: ObservedLayer,
    start: int,
    stop: int,
    state: Tensor | None,
    keep: Callable[[Tensor], None],
) -> Tensor:
    """Run the recurrence over tokens start .. stop - 1, hand each state to `keep`; the last."""
    q, k, v = (x[None, :, start:stop] for x in (layer.q, layer.k, layer.v))
    with torch.no_grad(), listening(lambda _, published: keep(published[0])):
        initial = None if state is None else state[None]
        return recurrent(q, k, v, layer.gamma, initial)[1][0]


def _summed(layer: ObservedLayer, start: int, stop: int, state: Tensor | None) -> Tensor:
    """The state after token `stop`, as the chunkwise form sums it up from token `start`."""
    k, v = (x[None, :, start : stop + 1] for x in (layer.k, layer.v))
    with torch.no_grad():
        before = None if state is None else state[None]
        return next_state(k, v, before, stretch_decay(layer.gamma, k))[0]


def _frobenius(state: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(state, dim=(-2, -1))
    return norm
