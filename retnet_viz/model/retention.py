"""The three forms of retention, side by side (Sun et al. 2023, arXiv:2307.08621, section 2).

Shapes
    q, k    (B, H, T, d_k)   after projection and rotation; k carries the factor d_k**-0.5
    v       (B, H, T, d_v)
    gamma   (H,)             decay per token of each head, float64
    state   (B, H, d_k, d_v) S, what all earlier tokens left behind; None at the start of a text
    output  (B, H, T, d_v)   before the per-head normalisation

Every form takes the state before its first token and returns the state after its last one, so a
text can be read in pieces, each in another form. Where q, k, v have 16 bits the state is kept in
float32: it is a sum over the whole text.

The scores are scaled by d_k**-0.5 and no more. The paper's other two normalisations (section 2.4:
D by its row sums, the weights by their absolute row sums) rescale a whole row of the weights, which
the per-head normalisation cancels; the authors' code applies them differently in each form, so its
forms disagree wherever the epsilon of that normalisation is felt.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.inplace import plus, times
from retnet_viz.model.observe import overwritable, publish
from retnet_viz.model.position import StretchDecay, sharing_decays, stretch_decay

MODES = ("parallel", "recurrent", "chunkwise")
# Tokens a chunk unless the caller says otherwise: enough for products that fill a processor.
CHUNK_SIZE = 64


def retain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None = None,
    mode: str = "parallel",
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Retention in the named form: (output, state after the last token)."""
    if mode == "parallel":
        return parallel(q, k, v, gamma, state)
    if mode == "recurrent":
        return recurrent(q, k, v, gamma, state)
    if mode == "chunkwise":
        return chunkwise(q, k, v, gamma, state, chunk_size)
    raise ValueError(f"mode must be one of {MODES}, not {mode!r}")


def parallel(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """O = (Q K^T * D) V, all tokens at once (equation 5)."""
    decay = stretch_decay(gamma, q)
    output = _within(q, k, v, decay)
    if state is not None:
        output = plus(output, _across(q, state, decay))
    state = next_state(k, v, state, decay)
    publish("retention.state", state)
    return output, state


def recurrent(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """S_n = gamma S_{n-1} + k_n^T v_n,  o_n = q_n S_n, one token after the other (equation 6)."""
    if state is None:
        state = empty_state(k, v)
    decay = gamma.to(state).view(-1, 1, 1)
    # A listener and the backward pass need every state; else each is written over the one before.
    in_place = overwritable()
    is_ours = False  # the first state is the caller's
    outputs = []
    for q_n, k_n, v_n in zip(*(x.to(state).unbind(dim=-2) for x in (q, k, v)), strict=True):
        faded = state.mul_(decay) if is_ours else decay * state
        added = (k_n[..., :, None], v_n[..., None, :])
        state = faded.addcmul_(*added) if in_place else torch.addcmul(faded, *added)
        is_ours = in_place
        publish("retention.state", state)
        outputs.append(q_n[..., None, :] @ state)
    return torch.cat(outputs, dim=-2).to(v.dtype), state


@sharing_decays()
def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gamma: Tensor,
    state: Tensor | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Parallel inside a chunk, recurrent from chunk to chunk (equation 7, corrected).

        O_i = (Q_i K_i^T * D) V_i + (Q_i S_{i-1}) * xi,   xi_j   = gamma^(j+1)
        S_i = K_i^T (V_i * zeta) + gamma^B S_{i-1},       zeta_j = gamma^(B-j-1)

    j counts a chunk's tokens from 0. The paper's first version printed R_i for S_{i-1} and no
    zeta, which contradicts equations 5 and 6; its last one leaves open where j starts, and counted
    from 1 its state is not that of equation 6. The last chunk may be shorter than `chunk_size`.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be 1 or more, not {chunk_size}")
    if state is None:
        state = empty_state(k, v)
    outputs = []
    for q_i, k_i, v_i in zip(*(x.split(chunk_size, dim=-2) for x in (q, k, v)), strict=True):
        decay = stretch_decay(gamma, q_i)
        inner = _within(q_i, k_i, v_i, decay)
        cross = _across(q_i, state, decay)
        publish("retention.inner", inner)
        publish("retention.cross", cross)
        # Tokens first, heads second: so the heads' normalisation finds each token's in one place.
        outputs.append(plus(inner, cross).transpose(1, 2))
        state = next_state(k_i, v_i, state, decay)
        publish("retention.state", state)
    return torch.cat(outputs, dim=1).transpose(1, 2), state


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """The state before the first token: zeros (B, H, d_k, d_v), in float32 at least."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    return torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=dtype, device=v.device)


def next_state(k: Tensor, v: Tensor, state: Tensor | None, decay: StretchDecay) -> Tensor:
    """The state after a whole stretch of B tokens: K^T (V * zeta) + gamma^B S (equation 7).

    zeta belongs to the token, so that K may carry it as well as V, and K is the narrower one.
    """
    zeta = decay.zeta
    added = (k.to(zeta.dtype) * zeta).mT @ v.to(zeta.dtype)
    return added if state is None else plus(added, decay.whole * state)


def _within(q: Tensor, k: Tensor, v: Tensor, decay: StretchDecay) -> Tensor:
    """What tokens give each other inside one stretch of text: (Q K^T * D) V (equation 5)."""
    scores = q @ k.mT
    publish("retention.scores", scores)
    publish("retention.decay", decay.within)
    weights = times(scores, decay.within)
    publish("retention.weights", weights)
    return weights @ v


def _across(q: Tensor, state: Tensor, decay: StretchDecay) -> Tensor:
    """What the state carried into a stretch of text gives its tokens: (Q S) * xi (equation 7).

    Q carries xi, for the same reason as K carries zeta in `next_state`.
    """
    return ((q.to(state.dtype) * decay.xi) @ state).to(q.dtype)
