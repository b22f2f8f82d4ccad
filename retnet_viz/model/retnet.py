"""RetNet: a stack of multi-scale retention and feed-forward blocks (arXiv:2307.08621, section 2).

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H, d_v = value_factor * d_k.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.observe import observed, publish
from retnet_viz.model.position import rotate, rotation_angles
from retnet_viz.model.retention import MODES, retain

LONGEST_CHUNK = 2**31 - 1
SEGMENT = 1024  # tokens whose activations a processor's cache holds, nearly


@dataclass
class RetNetState:
    """All that a RetNet keeps of the text so far: O(1) in its length.

    `layers[l]` is S of layer l, (B, H, d_k, d_v), or None before the first token; `position` counts
    the tokens read.
    """

    layers: list[Tensor | None]
    position: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the states of all layers take."""
        return sum(s.numel() * s.element_size() for s in self.layers if s is not None)


@dataclass
class RetNetOutput:
    """logits (B, T, vocab) and the state after the last token."""

    logits: Tensor
    state: RetNetState = field(repr=False)


def make_norm(kind: str, width: int, eps: float) -> nn.Module:
    """A normalisation over the last axis, with a weight per component."""
    return nn.LayerNorm(width, eps=eps) if kind == "layer" else nn.RMSNorm(width, eps=eps)


class MultiScaleRetention(nn.Module):
    """MSR(X) = (swish(X W_G) * Norm(heads)) W_O, each head with its own gamma (equation 8)."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        d, inner = config.d_model, config.n_heads * config.value_dim
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, d, bias=False)
        self.v_proj = nn.Linear(d, inner, bias=False)
        self.g_proj = nn.Linear(d, inner, bias=False)
        self.out_proj = nn.Linear(inner, d, bias=False)
        # A plain attribute, not a buffer: model.to(bfloat16) must not round 1 - 2**-12 to 1.
        self.gamma = config.gammas()

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> what the heads retain for each token (B, T, d), and the state after."""
        config = self.config
        q, k, v = (
            projection(x).unflatten(-1, (config.n_heads, -1)).transpose(1, 2)  # (B, H, T, width)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        k = k * config.head_dim**-0.5
        q, k = (rotate(qk, *angles, layout=config.rotation) for qk in (q, k))
        publish("retention.q", q)
        publish("retention.k", k)
        publish("retention.v", v)
        heads, state = retain(q, k, v, self.gamma, state, mode, chunk_size)
        publish("retention.output", heads)
        normed = self.normalize(heads).transpose(1, 2).flatten(-2)  # (B, T, H * d_v)
        publish("retention.normed", normed)
        gate = F.silu(self.g_proj(x))
        publish("retention.gate", gate)
        return self.out_proj(gate * normed), state

    def normalize(self, heads: Tensor) -> Tensor:
        """Each head's output to unit scale, so that no head drowns another (section 2.4).

        With head_norm "none" the very tensor that was given: a head that decays slowly sums up
        more tokens and speaks louder.
        """
        shape, eps = heads.shape[-1:], self.config.norm_eps
        if self.config.head_norm == "none":
            return heads
        if self.config.head_norm == "layer":
            return F.layer_norm(heads, shape, eps=eps)
        return F.rms_norm(heads, shape, eps=eps)


class FeedForward(nn.Module):
    """FFN(X) = gelu(X W_1) W_2 (section 2.3), or the gated swish form of later codes."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        d, inner = config.d_model, config.ffn_dim
        self.up_proj = nn.Linear(d, inner, bias=False)
        self.gate_proj = (
            nn.Linear(d, inner, bias=False) if config.feed_forward == "swiglu" else None
        )
        self.down_proj = nn.Linear(inner, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, d) -> (B, T, d), each token by itself."""
        if self.gate_proj is None:
            inner = F.gelu(self.up_proj(x))
        else:
            inner = F.silu(self.gate_proj(x)) * self.up_proj(x)
        output: Tensor = self.down_proj(inner)
        return output


class RetNetBlock(nn.Module):
    """Y = MSR(Norm(X)) + X,  X' = FFN(Norm(Y)) + Y (equation 9)."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.retention_norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.retention = MultiScaleRetention(config)
        self.ffn_norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> (B, T, d), and the state of the retention after the last token."""
        retained, state = self.retention(self.retention_norm(x), angles, state, mode, chunk_size)
        x = x + retained
        return x + self.ffn(self.ffn_norm(x)), state


class RetNet(nn.Module):
    """A language model: token ids (B, T) -> logits (B, T, vocab), in any of three modes.

    `tokenizer` is set by whoever loads a checkpoint; the model itself never uses it.
    """

    tokenizer: Any = None

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(RetNetBlock(config) for _ in range(config.n_layers))
        self.norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.reset_parameters()
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    def reset_parameters(self) -> None:
        """Normal weights of deviation 0.02, smaller where a block writes to the residual stream."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                writes = name.endswith(("out_proj.weight", "down_proj.weight"))
                scale = (2 * self.config.n_layers) ** -0.5 if writes else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)

    @property
    def n_parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def empty_state(self) -> RetNetState:
        """The state before the first token."""
        return RetNetState([None] * self.config.n_layers)

    def forward(
        self,
        ids: Tensor,
        state: RetNetState | None = None,
        mode: str = "parallel",
        chunk_size: int = 64,
    ) -> RetNetOutput:
        """Read ids (B, T), T >= 1, after what `state` has read; the given state is not changed.

        `mode` is "parallel", "recurrent" or "chunkwise"; all give the same logits.
        Raises ValueError on an unknown mode, a chunk size below 1, or ids of another shape.
        """
        check_call(ids, mode, chunk_size)
        state = state or self.empty_state()
        read = state.layers[0]
        if read is not None and read.shape[0] != ids.shape[0]:
            raise ValueError(f"the state is of {read.shape[0]} texts, but ids are {ids.shape[0]}")
        step = ids.shape[1]
        if mode == "chunkwise" and not (observed() or torch.is_grad_enabled()):
            # A long text goes through all layers in segments of whole chunks, so that what one
            # layer hands to the next does not leave the cache. The numbers are the same.
            step = max(1, SEGMENT // chunk_size) * chunk_size
        parts = []
        for segment in ids.split(step, dim=1):
            x, state = self._read(segment, state, mode, chunk_size)
            parts.append(self.norm(x))
        logits = self.head(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        publish("logits", logits)
        return RetNetOutput(logits, state)

    def _read(
        self, ids: Tensor, state: RetNetState, mode: str, chunk_size: int
    ) -> tuple[Tensor, RetNetState]:
        """ids (B, T) -> what the last block hands on (B, T, d), and the state after them."""
        angles = rotation_angles(
            self.config.head_dim,
            state.position,
            ids.shape[1],
            self.config.rotation_base,
            ids.device,
        )
        x = self.embedding(ids)
        publish("embedding", x)
        layers: list[Tensor | None] = []
        for block, layer_state in zip(self.blocks, state.layers, strict=True):
            publish("layer.input", x)
            x, layer_state = block(x, angles, layer_state, mode, chunk_size)
            publish("layer.output", x)
            layers.append(layer_state)
        return x, RetNetState(layers, state.position + ids.shape[1])


def check_call(ids: Tensor, mode: str, chunk_size: int) -> None:
    """Raise ValueError, with a sentence, on arguments that no forward pass can take."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a whole number of 1 or more, not {chunk_size!r}")
    if chunk_size > LONGEST_CHUNK:
        raise ValueError(f"chunk_size must be at most {LONGEST_CHUNK:,}, not {chunk_size:,}")
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"ids must have shape (batch, length >= 1), not {tuple(ids.shape)}")
