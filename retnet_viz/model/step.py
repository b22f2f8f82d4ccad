"""One token after the other at little more than the cost of reading the weights.

`RetNet.forward` in recurrent mode is the reference and gives the same logits. A step here has less
overhead beside its matrix products: the projections of a layer are one product, results overwrite
those of the last step, and every view is made once.
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
from retnet_viz.model.variant import ACTIVATIONS, GATE_ACTIVATIONS, PAPER, VariantFeedForward

_ANGLE_COUNT = 1024  # positions whose angles are computed at once
# The fields of a variant that may differ from the paper; for others only `RetNet.forward` works.
_SUPPORTED = ("norm", "key_factor", "scaled", "feed_forward")


class Stepper:
    """Continues one text, token by token, with the weights that `model` has now.

    Weights and states are copied: neither `model` nor `state` is written to. `compiler`
    (torch.compile, say) compiles what a layer does after its projections. Raises ValueError where
    `state` has read nothing, or more than one text, or where `supports` is False.
    """

    @staticmethod
    def supports(config: RetNetConfig) -> bool:
        """Whether a Stepper can run a model of this config; else use `RetNet.forward`."""
        variant = config.variant
        return variant == replace(PAPER, **{name: getattr(variant, name) for name in _SUPPORTED})

    @torch.inference_mode()
    def __init__(
        self,
        model: RetNet,
        state: RetNetState,
        compiler: Callable[..., Any] = lambda function: function,
    ) -> None:
        if not self.supports(model.config):
            raise ValueError("a stepper does not cover a model of this config")
        if any(layer is None or layer.shape[0] != 1 for layer in state.layers):
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
        self._angles_start = -_ANGLE_COUNT

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
        row = self.position - self._angles_start
        if not 0 <= row < _ANGLE_COUNT:
            row, self._angles_start = 0, self.position
            base, width = self.config.rotation_base, self.config.head_dim
            device = self._embedding.device
            self._cos, self._sin = rotation_angles(
                width, self.position, _ANGLE_COUNT, base, device, self.config.angles
            )
            self._rotation = torch.complex(self._cos, self._sin).to(torch.complex64)
        x = self._embedding[token]
        for layer in self._layers:
            layer.project(x)
            if layer.pairs is None:
                layer.rotate(self._cos[row], self._sin[row])
            else:
                layer.pairs.mul_(self._rotation[row])
            x = self._finish(layer, x)
        self.position += 1
        return torch.mv(self._head, self._norm(x))


class _Layer:
    """One block: its weights side by side, its state, and the buffers that a step writes to."""

    def __init__(self, block: RetNetBlock, state: Tensor) -> None:
        retention, ffn = block.retention, block.ffn
        self.config = retention.config
        self.state = state[0].clone()  # (H, d_k, d_v)
        heads, d_k, d_v = self.state.shape
        self.retention_norm, self.ffn_norm = _norm(block.retention_norm), _norm(block.ffn_norm)
        self.normalize = _head_norm(self.config)
        weights = [retention.q_proj.weight, retention.k_proj.weight, retention.v_proj.weight]
        scaled_index = "qk".index(self.config.variant.scaled)
        weights[scaled_index] = weights[scaled_index] * d_k**-0.5
        if retention.g_proj is not None:
            weights += [retention.g_proj.weight]
        self.projection_weight = torch.cat(weights)
        self.out = retention.out_proj.weight.clone()
        kind = self.config.variant.feed_forward
        self.activation = ACTIVATIONS[GATE_ACTIVATIONS.get(kind, kind)]
        gate_proj = ffn.gate_proj if isinstance(ffn, VariantFeedForward) else None
        self.is_gated = gate_proj is not None
        up = [ffn.up_proj.weight] if gate_proj is None else [gate_proj.weight, ffn.up_proj.weight]
        self.up, self.down = torch.cat(up), ffn.down_proj.weight.clone()
        # gelu(u) = (w + w erf(w)) / sqrt(2) with w = u / sqrt(2): F.gelu takes several times as
        # long on a vector. Weights of 16 bits would be rounded once more.
        self.has_scaled_gelu = kind == "gelu" and self.up.dtype.itemsize > 2
        if self.has_scaled_gelu:
            self.up, self.down = self.up * 0.5**0.5, self.down * 0.5**0.5
        self.has_wider_state = self.state.dtype != self.up.dtype  # where weights have 16 bits
        self.decay = retention.gamma.to(self.state)[:, None, None]

        self.projection = self.projection_weight.new_empty(self.projection_weight.shape[0])
        qk, v, self.gate = self.projection.tensor_split([2 * heads * d_k, heads * (2 * d_k + d_v)])
        self.qk = qk.unflatten(0, (2, heads, 1, d_k))
        self.v = v.unflatten(0, (heads, 1, d_v))
        self.heads_output = self.state.new_empty(heads, 1, d_v)
        # Rotated in place where a pair of neighbours can be viewed as one complex number.
        self.rotated_qk, self.pairs = self.qk, None
        if self.config.rotation == "interleaved" and qk.dtype == torch.float32:
            self.pairs = torch.view_as_complex(self.qk.unflatten(-1, (-1, 2)))
        else:
            self.rotated_qk = torch.empty_like(self.qk, dtype=self.state.dtype)
        self.q, self.k = self.rotated_qk[0], self.rotated_qk[1].mT

    def project(self, x: Tensor) -> None:
        """Write q, k, v and the gate's input of a token x (d,) side by side into `projection`."""
        torch.mv(self.projection_weight, self.retention_norm(x), out=self.projection)

    def rotate(self, cos: Tensor, sin: Tensor) -> None:
        """Rotate q and k by the angles of their position, each (d_k / 2,)."""
        self.rotated_qk.copy_(rotate(self.qk, cos, sin, self.config.rotation))

    def finish(self, x: Tensor) -> Tensor:
        """x (d,) -> (d,): equation 6 in each head, then equations 8 and 9."""
        v = self.v.to(self.state.dtype) if self.has_wider_state else self.v
        self.state.mul_(self.decay).addcmul_(self.k, v)
        torch.bmm(self.q, self.state, out=self.heads_output)
        heads_output = self.heads_output.to(x.dtype) if self.has_wider_state else self.heads_output
        heads = self.normalize(heads_output).view(-1)
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
    """`MultiScaleRetention.normalize` as a function, without its branches."""
    shape, eps = (config.value_dim,), config.norm_eps
    if config.head_norm == "none":
        return lambda heads: heads
    if config.head_norm == "layer":
        return lambda heads: torch.layer_norm(heads, shape, None, None, eps)
    return lambda heads: torch.rms_norm(heads, shape, None, eps)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """`norm` as a function, without the cost of calling a module."""
    if isinstance(norm, nn.LayerNorm):
        shape, eps = norm.normalized_shape, norm.eps
        weight, bias = norm.weight.clone(), norm.bias.clone()
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    assert isinstance(norm, nn.RMSNorm)
    rms_shape, rms_eps, rms_weight = norm.normalized_shape, norm.eps, norm.weight.clone()
    return lambda x: torch.rms_norm(x, rms_shape, rms_weight, rms_eps)
