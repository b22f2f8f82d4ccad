"""RetNet: a stack of multi-scale retention and feed-forward blocks (arXiv:2307.08621, section 2).

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H, d_v = value_factor * d_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.inplace import plus, swish, times
from retnet_viz.model.language_model import LanguageModel, Output, check_ids
from retnet_viz.model.observe import overwritable, publish
from retnet_viz.model.position import rotate, rotation_angles, sharing_decays
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
        self.g_proj = nn.Linear(d, inner, bias=False) if config.gate == "swish" else None
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
        k = times(k, config.head_dim**-0.5)
        q, k = (rotate(qk, *angles, layout=config.rotation) for qk in (q, k))
        publish("retention.q", q)
        publish("retention.k", k)
        publish("retention.v", v)
        heads, state = retain(q, k, v, self.gamma, state, mode, chunk_size)
        publish("retention.output", heads)
        normed = self.normalize(heads.transpose(1, 2)).flatten(-2)  # (B, T, H * d_v)
        publish("retention.normed", normed)
        gate = torch.ones_like(normed) if self.g_proj is None else swish(self.g_proj(x))
        publish("retention.gate", gate)
        return self.out_proj(times(gate, normed)), state

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
            inner = times(swish(self.gate_proj(x)), self.up_proj(x))
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
        normed = self.retention_norm(x)
        retained, state = self.retention(normed, angles, state, mode, chunk_size)
        x = plus(retained, x)
        return plus(self.ffn(self.ffn_norm(x)), x), state


class RetNet(LanguageModel[RetNetState]):
    """A language model: token ids (B, T) -> logits (B, T, vocab), in any of three modes."""

    config: RetNetConfig

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(RetNetBlock(config) for _ in range(config.n_layers))
        self.norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.draw_matrices(writing=("out_proj.weight", "down_proj.weight"))
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    def empty_state(self) -> RetNetState:
        """The state before the first token."""
        return RetNetState([None] * self.config.n_layers)

    @sharing_decays()
    def forward(
        self,
        ids: Tensor,
        state: RetNetState | None = None,
        mode: str = "parallel",
        chunk_size: int = 64,
    ) -> Output[RetNetState]:
        """Read ids (B, T), T >= 1, after what `state` has read; the given state is not changed.

        `mode` is "parallel", "recurrent" or "chunkwise"; all give the same logits.
        Raises ValueError on an unknown mode, a chunk size below 1, or ids of another shape.
        """
        state = state or self.empty_state()
        check_call(ids, mode, chunk_size, state.layers[0])
        step = ids.shape[1]
        if mode == "chunkwise" and overwritable():
            # A long text goes through all layers in segments of whole chunks, so that what one
            # layer hands to the next does not leave the cache. The numbers are the same.
            step = max(1, SEGMENT // chunk_size) * chunk_size
        parts = []
        for segment in ids.split(step, dim=1):
            x, state = self._read(segment, state, mode, chunk_size)
            parts.append(self.norm(x))
        logits = self.head(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        publish("logits", logits)
        return Output(logits, state)

    def _read(
        self, ids: Tensor, state: RetNetState, mode: str, chunk_size: int
    ) -> tuple[Tensor, RetNetState]:
        """ids (B, T) -> what the last block hands on (B, T, d), and the state after them."""
        cos, sin = rotation_angles(
            self.config.head_dim,
            state.position,
            ids.shape[1],
            self.config.rotation_base,
            ids.device,
        )
        x = self.embedding(ids)
        publish("embedding", x)
        angles = (cos.to(x.dtype), sin.to(x.dtype))
        layers: list[Tensor | None] = []
        for block, layer_state in zip(self.blocks, state.layers, strict=True):
            publish("layer.input", x)
            x, layer_state = block(x, angles, layer_state, mode, chunk_size)
            publish("layer.output", x)
            layers.append(layer_state)
        return x, RetNetState(layers, state.position + ids.shape[1])


def check_call(ids: Tensor, mode: str, chunk_size: int, read: Tensor | None = None) -> None:
    """Raise ValueError, with a sentence, on arguments that no forward pass can take.

    `read` is the state of a layer, if there is one.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a whole number of 1 or more, not {chunk_size!r}")
    if chunk_size > LONGEST_CHUNK:
        raise ValueError(f"chunk_size must be at most {LONGEST_CHUNK:,}, not {chunk_size:,}")
    check_ids(ids, read)
