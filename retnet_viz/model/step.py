"""One token after the other at little more than the cost of reading the weights.

`RetNet.forward` in recurrent mode is the reference and gives the same logits. Left out here is what
a step of one token spends beside its matrix products: the projections of a layer are one product,
results are written where the last step's were, every view is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.position import rotate, rotation_angles
from retnet_viz.model.retnet import RetNet, RetNetBlock, RetNetState
from retnet_viz.model.variant import ACTIVATIONS, GATED, PAPER, VariantFeedForward

_ANGLES = 1024  # positions whose angles are made at once
# The fields of a variant that are covered; what the others name, only `RetNet.forward` computes.
_COVERED = ("norm", "key_factor", "scaled", "feed_forward")


class Stepper:
    """Continues one text, token by token, with the weights that `model` has now.

    Weights and states are copied: neither the model nor the given state is written to. `compiler`
    (torch.compile, say) translates what a layer does after its projections. Raises ValueError where
    `state` has read nothing, or more than one text, or where `covers` says no.
    """

    @staticmethod
    def covers(config: RetNetConfig) -> bool:
        """Whether a model of this config can be stepped; else take `RetNet.forward`."""
        variant = config.variant
        return variant == replace(PAPER, **{name: getattr(variant, name) for name in _COVERED})

    @torch.inference_mode()
    def __init__(
        self,
        model: RetNet,
        state: RetNetState,
        compiler: Callable[..., Any] = lambda function: function,
    ) -> None:
        if not self.covers(model.config):
            raise ValueError("a stepper does not cover a model of this config")
        if any(each is None or each.shape[0] != 1 for each in state.layers):
            raise ValueError("a stepper continues one text that has been read; this state has not")
        self.config = model.config
        self.position = state.position
        self._embedding = model.embedding.weight.clone()
        self._head = self._embedding if model.config.tie_embeddings else model.head.weight.clone()
        self._norm = _norm(model.norm)
        self._layers = [
            _Layer(block, layer_state)
            for block, layer_state in zip(model.blocks, state.layers, strict=True)
            if isinstance(block, RetNetBlock) and layer_state is not None
        ]
        self._finish = compiler(_Layer.finish)
        self._angles_from = -_ANGLES

    @property
    def state(self) -> RetNetState:
        """A copy of the state after the last token, from which `RetNet.forward` can go on."""
        return RetNetState([layer.state.clone()[None] for layer in self._layers], self.position)

    @torch.inference_mode()
    def step(self, token: int) -> Tensor:
        """Read one token id: the logits (vocab,) of the one that follows.

        Raises IndexError on an id outside the vocabulary.
        """
        if not 0 <= token < len(self._embedding):
            raise IndexError(f"token id {token} is outside 0 .. {len(self._embedding) - 1}")
        row = self.position - self._angles_from
        if not 0 <= row < _ANGLES:
            row, self._angles_from = 0, self.position
            base, width = self.config.rotation_base, self.config.head_dim
            device = self._embedding.device
            self._cos, self._sin = rotation_angles(
                width, self.position, _ANGLES, base, device, self.config.angles
            )
            self._unit = torch.complex(self._cos, self._sin).to(torch.complex64)
        x = self._embedding[token]
        for layer in self._layers:
            layer.project(x)
            if layer.pairs is None:
                layer.rotate(self._cos[row], self._sin[row])
            else:
                layer.pairs.mul_(self._unit[row])
            x = self._finish(layer, x)
        self.position += 1
        return torch.mv(self._head, self._norm(x))


class _Layer:
    """One block: its weights, packed, its state, and the buffers that a step writes to."""

    def __init__(self, block: RetNetBlock, state: Tensor) -> None:
        retention, ffn = block.retention, block.ffn
        self.config = retention.config
        self.state = state[0].clone()  # (H, d_k, d_v)
        heads, d_k, d_v = self.state.shape
        self.retention_norm, self.ffn_norm = _norm(block.retention_norm), _norm(block.ffn_norm)
        self.normalize = _head_norm(self.config)
        parts = [retention.q_proj.weight, retention.k_proj.weight, retention.v_proj.weight]
        carrying = "qk".index(self.config.variant.scaled)
        parts[carrying] = parts[carrying] * d_k**-0.5
        if retention.g_proj is not None:
            parts += [retention.g_proj.weight]
        self.projections = torch.cat(parts)
        self.out = retention.out_proj.weight.clone()
        kind = self.config.variant.feed_forward
        self.activation = ACTIVATIONS[GATED.get(kind, kind)]
        gate_proj = ffn.gate_proj if isinstance(ffn, VariantFeedForward) else None
        self.is_gated = gate_proj is not None
        up = [ffn.up_proj.weight] if gate_proj is None else [gate_proj.weight, ffn.up_proj.weight]
        self.up, self.down = torch.cat(up), ffn.down_proj.weight.clone()
        # gelu(u) = (w + w erf(w)) / sqrt(2) with w = u / sqrt(2): F.gelu takes several times as
        # long on a vector. Weights of 16 bits would be rounded once more.
        self.has_scaled_gelu = kind == "gelu" and self.up.dtype.itemsize > 2
        if self.has_scaled_gelu:
            self.up, self.down = self.up * 0.5**0.5, self.down * 0.5**0.5
        self.is_wider = self.state.dtype != self.up.dtype  # the state, where weights have 16 bits
        self.decay = retention.gamma.to(self.state)[:, None, None]

        self.projected = self.projections.new_empty(self.projections.shape[0])
        qk, v, self.gate = self.projected.tensor_split([2 * heads * d_k, heads * (2 * d_k + d_v)])
        self.qk = qk.unflatten(0, (2, heads, 1, d_k))
        self.v = v.unflatten(0, (heads, 1, d_v))
        self.read = self.state.new_empty(heads, 1, d_v)
        # Rotated in place where a pair of neighbours can be seen as one complex number.
        self.turned, self.pairs = self.qk, None
        if self.config.rotation == "interleaved" and qk.dtype == torch.float32:
            self.pairs = torch.view_as_complex(self.qk.unflatten(-1, (-1, 2)))
        else:
            self.turned = torch.empty_like(self.qk, dtype=self.state.dtype)
        self.q, self.k = self.turned[0], self.turned[1].mT

    def project(self, x: Tensor) -> None:
        """q, k, v and the gate's input of a token x (d,), side by side in `projected`."""
        torch.mv(self.projections, self.retention_norm(x), out=self.projected)

    def rotate(self, cos: Tensor, sin: Tensor) -> None:
        """q and k turned by the angles of their position, each (d_k / 2,)."""
        self.turned.copy_(rotate(self.qk, cos, sin, self.config.rotation))

    def finish(self, x: Tensor) -> Tensor:
        """x (d,) -> (d,): equation 6 in each head, then equations 8 and 9."""
        v = self.v.to(self.state.dtype) if self.is_wider else self.v
        self.state.mul_(self.decay).addcmul_(self.k, v)
        torch.bmm(self.q, self.state, out=self.read)
        read = self.read.to(x.dtype) if self.is_wider else self.read
        heads = self.normalize(read).view(-1)
        gated = F.silu(self.gate).mul_(heads) if len(self.gate) else heads
        x = torch.addmv(x, self.out, gated)
        inner = torch.mv(self.up, self.ffn_norm(x))
        if self.has_scaled_gelu:
            inner = torch.addcmul(inner, inner, torch.erf(inner))
        elif self.is_gated:
            gate, inner = inner.chunk(2)
            inner = self.activation(gate).mul_(inner)
        else:
            inner = self.activation(inner)
        return torch.addmv(x, self.down, inner)


def _head_norm(config: RetNetConfig) -> Callable[[Tensor], Tensor]:
    """What `MultiScaleRetention.normalize` does, without the cost of finding out which."""
    shape, eps = (config.value_dim,), config.norm_eps
    if config.head_norm == "none":
        return lambda heads: heads
    if config.head_norm == "layer":
        return lambda heads: torch.layer_norm(heads, shape, None, None, eps)
    return lambda heads: torch.rms_norm(heads, shape, None, eps)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """What `norm` does, without the cost of calling a module."""
    if isinstance(norm, nn.LayerNorm):
        shape, eps = norm.normalized_shape, norm.eps
        weight, bias = norm.weight.clone(), norm.bias.clone()
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    assert isinstance(norm, nn.RMSNorm)
    rms_shape, rms_eps, rms_weight = norm.normalized_shape, norm.eps, norm.weight.clone()
    return lambda x: torch.rms_norm(x, rms_shape, rms_weight, rms_eps)
