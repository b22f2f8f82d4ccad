"""Mamba: a stack of selective state space blocks (Gu & Dao 2023, arXiv:2312.00752, section 3).

Shapes: B batch, T tokens, d = d_model, d_inner = expand * d channels, N = state_size numbers per
channel, W = conv_width, R = delta_rank.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.baselines.scan import scan
from retnet_viz.model.checks import check_bool, check_integer, check_names, check_positive
from retnet_viz.model.language_model import LanguageModel, Output, check_ids
from retnet_viz.model.observe import publish

DELTA_RANGE = 1e-3, 1e-1  # of Δ at the start of a training run (section 3.6)


@dataclass(frozen=True)
class MambaConfig:
    """Shape of a Mamba. The defaults are those of the paper, at the size of a default RetNet.

    `delta_rank` is the rank of the projection that makes Δ; 0 stands for the paper's
    ceil(d_model / 16).
    """

    vocab_size: int = 4096
    d_model: int = 256
    n_layers: int = 7
    expand: int = 2  # d_inner / d_model
    state_size: int = 16
    conv_width: int = 4
    delta_rank: int = 0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        check_integer(
            self, "vocab_size", "d_model", "n_layers", "expand", "state_size", "conv_width"
        )
        check_positive(self, "norm_eps")
        check_bool(self, "tie_embeddings")
        if self.delta_rank == 0:
            object.__setattr__(self, "delta_rank", math.ceil(self.d_model / 16))
        check_integer(self, "delta_rank")

    @property
    def d_inner(self) -> int:
        """The number of channels of the scan."""
        return self.expand * self.d_model

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> MambaConfig:
        """The config with these fields; an unknown field is a ConfigError, not ignored."""
        check_names(fields, cls.__dataclass_fields__)
        return cls(**fields)


class LayerState(NamedTuple):
    """h (B, d_inner, N) of the scan, and the last W - 1 inputs of the convolution, (B, d_inner)."""

    h: Tensor
    inputs: Tensor  # (B, d_inner, W - 1)


@dataclass
class MambaState:
    """All that a Mamba keeps of the text so far: O(1) in its length.

    A layer is None before the first token; `position` counts the tokens read.
    """

    layers: list[LayerState | None]
    position: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the states of all layers take."""
        return sum(tensor.nbytes for layer in self.layers if layer is not None for tensor in layer)


class MambaBlock(nn.Module):
    """X' = X + (scan(silu(conv(Norm(X) W_x))) * silu(Norm(X) W_z)) W_out (figure 3)."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.config = config
        d, d_inner, n = config.d_model, config.d_inner, config.state_size
        self.norm = nn.RMSNorm(d, eps=config.norm_eps)
        self.in_proj = nn.Linear(d, 2 * d_inner, bias=False)  # x and z
        self.conv = nn.Conv1d(d_inner, d_inner, config.conv_width, groups=d_inner)
        self.x_proj = nn.Linear(d_inner, config.delta_rank + 2 * n, bias=False)  # Δ, B and C
        self.dt_proj = nn.Linear(config.delta_rank, d_inner)
        self.A_log = nn.Parameter(torch.empty(d_inner, n))
        self.D = nn.Parameter(torch.empty(d_inner))
        self.out_proj = nn.Linear(d_inner, d, bias=False)

    @torch.no_grad()
    def init_scan(self) -> None:
        """Draw the initial parameters of the scan and the convolution (section 3.6)."""
        if self.A_log.is_meta:  # without memory there is nothing to draw
            return
        n, rank, (low, high) = self.config.state_size, self.config.delta_rank, DELTA_RANGE
        self.conv.reset_parameters()
        self.A_log.copy_(torch.arange(1.0, n + 1).log())  # S4D-real
        self.D.fill_(1.0)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        delta = torch.empty_like(self.dt_proj.bias).uniform_(math.log(low), math.log(high)).exp()
        self.dt_proj.bias.copy_(delta.expm1().log())  # softplus of it is delta

    def forward(self, x: Tensor, state: LayerState | None) -> tuple[Tensor, LayerState]:
        """x (B, T, d) -> (B, T, d), and the state after the last token."""
        residual, config = x, self.config
        x, z = self.in_proj(self.norm(x)).chunk(2, dim=-1)  # (B, T, d_inner) each
        x, inputs = self.convolve(x, state and state.inputs)
        x = publish("mamba.x", x)
        sizes = [config.delta_rank, config.state_size, config.state_size]
        low_rank, b, c = self.x_proj(x).split(sizes, dim=-1)
        # The decay of a state has 32 bits at least, also where weights have 16.
        dtype = torch.promote_types(self.A_log.dtype, torch.float32)
        delta = F.softplus(F.linear(low_rank, self.dt_proj.weight) + self.dt_proj.bias.to(dtype))
        a = -self.A_log.to(dtype).exp()
        delta = publish("mamba.delta", delta)
        b = publish("mamba.b", b)
        c = publish("mamba.c", c)
        y, h = scan(x, delta, a, b, c, self.D, state and state.h)
        y = publish("mamba.output", y)
        gate = F.silu(z)
        gate = publish("mamba.gate", gate)
        return residual + self.out_proj(y * gate), LayerState(h, inputs)

    def convolve(self, x: Tensor, inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """silu of each channel's convolution, (B, T, d_inner); and its last W - 1 inputs."""
        length, n_past = x.shape[1], self.config.conv_width - 1
        x = x.mT.contiguous()  # whole channels for the convolution, whole tokens for what follows
        if inputs is None:
            inputs = x.new_zeros(*x.shape[:2], n_past)
        x = torch.cat([inputs.to(x.dtype), x], dim=-1)
        inputs = x[..., length:].clone()
        if length > 1:
            return F.silu(self.conv(x).mT.contiguous()), inputs
        weight, bias = self.conv.parameters()
        weighted_sum = (x * weight[:, 0]).sum(-1) + bias
        return F.silu(weighted_sum[:, None].to(x.dtype)), inputs


class Mamba(LanguageModel[MambaState]):
    """A language model: token ids (B, T) -> logits (B, T, vocab), with a state to go on from."""

    config: MambaConfig
    no_weight_decay = ("A_log",)
    stacked_matrices = MappingProxyType({"in_proj.weight": 2})

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        blocks = [MambaBlock(config) for _ in range(config.n_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.init_weights(residual_projections=("out_proj.weight",))
        for block in blocks:
            block.init_scan()
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    def empty_state(self) -> MambaState:
        """The state before the first token."""
        return MambaState([None] * self.config.n_layers)

    def forward(self, ids: Tensor, state: MambaState | None = None) -> Output[MambaState]:
        """Read ids (B, T), T >= 1, after what `state` has read; `state` is not changed.

        Raises ValueError on ids of another shape, or of other texts than the state's.
        """
        state = state or self.empty_state()
        check_ids(ids, state.layers[0] and state.layers[0].h)
        x = self.embedding(ids)
        x = publish("embedding", x)
        layers: list[LayerState | None] = []
        for block, layer_state in zip(self.blocks, state.layers, strict=True):
            x = publish("layer.input", x)
            x, layer_state = block(x, layer_state)
            x = publish("layer.output", x)
            layers.append(layer_state)
        logits = self.head(self.norm(x))
        logits = publish("logits", logits)
        return Output(logits, MambaState(layers, state.position + ids.shape[1]))
