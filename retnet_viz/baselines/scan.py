"""The selective scan of Mamba (Gu & Dao 2023, arXiv:2312.00752, equation 2 and algorithm 2).

    h_t = exp(Δ_t A) ⊙ h_{t-1} + (Δ_t x_t) B_t,   y_t = h_t C_t + D x_t

A is discretised by the zero-order hold (equation 4), B by Euler's rule, as in the authors' code.
Shapes: B batch, T tokens, d_inner channels, N = state_size numbers per channel; x and delta
(B, T, d_inner), a (d_inner, N), b and c (B, T, N), d (d_inner,), h (B, d_inner, N).

States and sums have float32 at least. Behind `scan`, a is (N, d_inner), h is (B, N, d_inner) and
time comes first: a step reads and writes contiguous memory, small enough to stay in a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 16  # tokens whose states the backward pass holds at once

Tensors = tuple[Tensor, ...]


def scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, h: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y (B, T, d_inner), of x's dtype, and the state after the last token; h is the one before.

    Both results can be differentiated, once, by every argument. That takes the memory of one state
    per CHUNK tokens; a pass without gradients holds a single one.
    """
    with torch.autocast(x.device.type, enabled=False):
        dtype = torch.promote_types(x.dtype, torch.float32)
        if h is None:
            h = x.new_zeros(x.shape[0], *a.shape)
        wide_x, *others = (tensor.to(dtype) for tensor in (x, delta, b, c))
        others += [tensor.to(dtype).mT.contiguous() for tensor in (a, h)]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (wide_x, *others)):
            y, h = _Scan.apply(wide_x, *others)
        elif x.shape[1] == 1:
            y, h = _step(wide_x, *others)
        else:
            y, h, _ = _scan_batch(x.shape[1], wide_x, *others)
        return torch.addcmul(y, wide_x, d.to(dtype)).to(x.dtype), h.mT


def _step(
    x: Tensor, delta: Tensor, b: Tensor, c: Tensor, a: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """y without D x, and the state, of one token (T = 1)."""
    h = torch.exp(delta * a).mul_(h).addcmul_(b.mT, delta * x)
    return c @ h, h


def _scan_batch(
    interval: int, x: Tensor, delta: Tensor, b: Tensor, c: Tensor, a: Tensor, h: Tensor
) -> Tensors:
    """y without D x, the last state, and earlier states (B, T / interval, N, d_inner).

    The earlier states are those before tokens 0, interval, 2 interval, ...
    """
    return _map_shards(partial(_scan_shard, interval, a), x, delta, b, c, h)


class _Scan(torch.autograd.Function):
    """The scan without D x; its backward pass recomputes the states from one per chunk."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        y, h, chunk_states = _scan_batch(CHUNK, *inputs)
        ctx.save_for_backward(*inputs[:5], chunk_states)
        return y, h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_h: Tensor) -> Tensors:
        *batch, a, chunk_states = ctx.saved_tensors
        work = partial(_backpropagate_shard, a)
        *grads, grad_a, grad_h = _map_shards(work, *batch, chunk_states, grad_y, grad_h)
        return *grads, grad_a.sum(0), grad_h


def _scan_shard(
    interval: int, a: Tensor, x: Tensor, delta: Tensor, b: Tensor, c: Tensor, h: Tensor
) -> Tensors:
    """`_scan_batch` for a part of the batch."""
    h, decay, states = h.clone(), torch.empty_like(h), []
    ys = _rows(torch.empty_like(x))
    tokens = zip(ys, _rows(x * delta), _rows(delta), _columns(b), _rows(c), strict=True)
    for t, (y, u, delta_t, b_t, c_t) in enumerate(tokens):
        if t % interval == 0:
            states.append(h.clone())
        torch.mul(delta_t, a, out=decay).exp_()
        h.mul_(decay).addcmul_(b_t, u)
        torch.bmm(c_t, h, out=y)
    return torch.cat(ys, dim=1), h, torch.stack(states, dim=1)


def _backpropagate_shard(
    a: Tensor,
    x: Tensor,
    delta: Tensor,
    b: Tensor,
    c: Tensor,
    chunk_states: Tensor,
    grad_y: Tensor,
    grad_h: Tensor,
) -> Tensors:
    """The gradients by x, delta, b, c, a (one per text) and the first state."""
    us, deltas, grad_ys = _rows(x * delta), _rows(delta), _rows(grad_y)
    bs, b_columns, c_columns = _rows(b), _columns(b), _columns(c)
    grads = [_rows(torch.empty_like(tensor)) for tensor in (x, delta, b, c)]
    grad_u, grad_delta, grad_b, grad_c = grads
    grad_h, grad_a = grad_h.clone(), torch.zeros_like(grad_h)
    grad_h_mT, grad_exponent = grad_h.mT, torch.empty_like(grad_h)
    decays = grad_h.new_empty(CHUNK, *grad_h.shape).unbind()
    states = grad_h.new_empty(CHUNK + 1, *grad_h.shape).unbind()  # before and after each token
    states_mT = [state.mT for state in states]
    for start in reversed(range(0, len(us), CHUNK)):
        tokens = list(enumerate(range(start, min(start + CHUNK, len(us)))))
        states[0].copy_(chunk_states[:, start // CHUNK])
        for i, t in tokens:
            torch.mul(deltas[t], a, out=decays[i]).exp_()
            torch.mul(decays[i], states[i], out=states[i + 1]).addcmul_(b_columns[t], us[t])
        for i, t in reversed(tokens):
            torch.bmm(grad_ys[t], states_mT[i + 1], out=grad_c[t])
            grad_h.addcmul_(c_columns[t], grad_ys[t])
            torch.bmm(bs[t], grad_h, out=grad_u[t])
            torch.bmm(us[t], grad_h_mT, out=grad_b[t])
            grad_h.mul_(decays[i])
            torch.mul(grad_h, states[i], out=grad_exponent)  # by Δ_t A
            grad_a.addcmul_(grad_exponent, deltas[t])
            torch.sum(grad_exponent.mul_(a), 1, keepdim=True, out=grad_delta[t])
    by_u, by_delta, by_b, by_c = (torch.cat(tensor, dim=1) for tensor in grads)
    return by_u * delta, by_delta.addcmul_(by_u, x), by_b, by_c, grad_a, grad_h


def _rows(x: Tensor) -> Tensors:
    """x (B, T, width), token by token: T contiguous tensors (B, 1, width)."""
    return x.transpose(0, 1).contiguous().unsqueeze(2).unbind()


def _columns(x: Tensor) -> Tensors:
    """The same as (B, width, 1)."""
    return x.transpose(0, 1).contiguous().unsqueeze(3).unbind()


def _map_shards(work: Callable[..., Tensors], *batch: Tensor) -> Tensors:
    """Apply `work` to the batch, split into as many shards as torch has threads.

    The operations of a step are too short to be run in parallel one by one: the threads would wait
    for one another after each of them, longest where other programs use the cores too.
    """
    threads = torch.get_num_threads()
    n_shards = min(threads, len(batch[0]))
    if n_shards == 1 or not batch[0].is_cpu:
        return work(*batch)
    shards = zip(*(tensor.tensor_split(n_shards) for tensor in batch), strict=True)
    try:
        with ThreadPoolExecutor(n_shards, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = pool.map(torch.no_grad()(lambda shard: work(*shard)), shards)
            return tuple(map(torch.cat, zip(*parts, strict=True)))
    finally:
        torch.set_num_threads(threads)  # a worker's setting would apply to later threads too
