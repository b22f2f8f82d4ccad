"""RetNet: a stack of multi-scale retention and feed-forward blocks (arXiv:2307.08621, section 2).

A method of `variant` computes what published implementations do differently (see
`variant.Variant`); the comment beside its call says what it does in the paper's form.

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H, d_v = value_factor * d_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.inplace import multiply, swish
from retnet_viz.model.language_model import LanguageModel, Output, check_ids
from retnet_viz.model.observe import may_overwrite, publish
from retnet_viz.model.position import decay_cache, rotate, rotation_angles
from retnet_viz.model.retention import CHUNK_SIZE, MODES, retain
from retnet_viz.model.variant import VariantFeedForward, make_norm

MAX_CHUNK_SIZE = 2**31 - 1
SEGMENT_LENGTH = 1024  # tokens whose activations a processor's cache holds, nearly


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


class Positions(NamedTuple):
    """Consecutive positions: cos and sin of their angles (T, d_k / 2), and the first position."""

    cos: Tensor
    sin: Tensor
    start: int

    @classmethod
    def of(cls, config: RetNetConfig, start: int, length: int, like: Tensor) -> Positions:
        """The positions of `length` tokens from `start` on, with the device and dtype of `like`."""
        width, base, kind = config.head_dim, config.rotation_base, config.angles
        cos, sin = rotation_angles(width, start, length, base, like.device, kind)
        return cls(cos.to(like.dtype), sin.to(like.dtype), start)


class MultiScaleRetention(nn.Module):
    """MSR(X) = (swish(X W_G) * Norm(heads)) W_O, each head with its own gamma (equation 8)."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        d, inner = config.d_model, config.n_heads * config.value_dim
        self.q_proj = nn.Linear(d, config.n_heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(d, config.key_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(d, config.key_heads * config.value_dim, bias=False)
        self.g_proj = nn.Linear(d, inner, bias=False) if config.gate == "swish" else None
        self.out_proj = nn.Linear(inner, d, bias=False)
        has_weight = config.variant.head_norm_weights
        self.head_norm_weight = nn.Parameter(torch.ones(config.value_dim)) if has_weight else None
        # A plain attribute, not a buffer: model.to(bfloat16) must not round 1 - 2**-12 to 1.
        self.gamma = config.gammas()

    def forward(
        self,
        x: Tensor,
        positions: Positions,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> what the heads retain for each token (B, T, d), and the state after."""
        q, k, v = self.project(x, positions)
        q = publish("retention.q", q)
        k = publish("retention.k", k)
        v = publish("retention.v", v)
        heads, state = self.retain(q, k, v, positions.start, state, mode, chunk_size)
        heads = publish("retention.output", heads)
        normed = self.normalize(heads, positions.start)  # (B, H, T, d_v)
        normed = normed.transpose(1, 2).flatten(-2)  # (B, T, H * d_v)
        normed = publish("retention.normed", normed)
        gate = publish("retention.gate", self.gate(x, normed))
        return self.out_proj(multiply(gate, normed)), state

    def project(self, x: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor]:
        """q, k (B, H, T, d_k), rotated and scaled, and v (B, H, T, d_v) of x (B, T, d)."""
        config, variant = self.config, self.config.variant
        q = _split_heads(self.q_proj(x), config.head_dim)
        k = _split_heads(self.k_proj(x), config.head_dim)
        v = _split_heads(self.v_proj(x), config.value_dim)
        q, k = variant.scale_qk(q, k)  # k / sqrt(d_k)
        q, k = (rotate(qk, positions.cos, positions.sin, layout=config.rotation) for qk in (q, k))
        k, v = (variant.repeat_kv(kv, config.n_heads) for kv in (k, v))  # as they are
        return q, k, v

    def retain(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        start: int,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """What the heads retain (B, H, T, d_v) of tokens from position `start` on; the state after.

        By itself retention does not depend on the position.
        """
        return retain(q, k, v, self.gamma, state, mode, chunk_size)

    def gate(self, x: Tensor, normed: Tensor) -> Tensor:
        """swish(X W_G), which multiplies `normed` (B, T, H * d_v); 1 where there is no gate."""
        return torch.ones_like(normed) if self.g_proj is None else swish(self.g_proj(x))

    def normalize(self, heads: Tensor, start: int = 0) -> Tensor:
        """Each head's output (..., H, T, d_v) to unit scale, so that none drowns another (2.4).

        The tokens are at the positions from `start` on. head_norm "none" leaves the outputs as they
        are: a head that decays slowly sums over more tokens, so its output is larger.
        """
        config, weight = self.config, self.head_norm_weight
        heads = config.variant.normalize_decay(heads, self.gamma, start)  # as they are
        if config.head_norm == "none":
            return heads if weight is None else heads * weight
        # After the chunkwise form all heads of a token are neighbours in memory.
        heads = heads.transpose(-3, -2)
        if config.head_norm == "layer":
            normed = F.layer_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        else:
            normed = F.rms_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        return normed.transpose(-3, -2)


def _split_heads(x: Tensor, width: int) -> Tensor:
    """x (B, T, H * width) as its heads (B, H, T, width)."""
    heads: Tensor = x.unflatten(-1, (-1, width))
    return heads.transpose(1, 2)


class FeedForward(nn.Module):
    """FFN(X) = gelu(X W_1) W_2 (section 2.3)."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.d_model, config.ffn_dim, bias=False)
        self.down_proj = nn.Linear(config.ffn_dim, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, d) -> (B, T, d), each token by itself."""
        output: Tensor = self.down_proj(F.gelu(self.up_proj(x)))
        return output


class RetNetBlock(nn.Module):
    """Y = MSR(Norm(X)) + X,  X' = FFN(Norm(Y)) + Y (equation 9)."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.variant = variant = config.variant
        self.retention_norm = make_norm(variant.norm, config.d_model, config.norm_eps)
        self.retention = MultiScaleRetention(config)
        self.ffn_norm = make_norm(variant.norm, config.d_model, config.norm_eps)
        self.ffn = FeedForward(config) if variant.has_paper_ffn else VariantFeedForward(config)

    def forward(
        self,
        x: Tensor,
        positions: Positions,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> (B, T, d), and the state of the retention after the last token."""
        variant = self.variant
        output, state = self.retention(self.retention_input(x), positions, state, mode, chunk_size)
        y = variant.add_residual(self.retention_norm, output, x)  # output + x
        output = self.ffn(variant.sublayer_input(self.ffn_norm, y))  # of norm(y)
        return variant.add_residual(self.ffn_norm, output, y), state  # output + y

    def retention_input(self, x: Tensor) -> Tensor:
        """The input of the retention, from a layer's input x (B, T, d)."""
        return self.variant.sublayer_input(self.retention_norm, x)


class RetNet(LanguageModel[RetNetState]):
    """A language model: token ids (B, T) -> logits (B, T, vocab), in any of three modes."""

    config: RetNetConfig

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(RetNetBlock(config) for _ in range(config.n_layers))
        variant, norm = config.variant, (config.variant.norm, config.d_model, config.norm_eps)
        self.embedding_norm = make_norm(*norm) if variant.embedding_norm else None
        # After the last block; post-norm blocks end with a norm of their own.
        self.norm = make_norm(*norm) if variant.norm_place == "before" else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.init_weights(residual_projections=("out_proj.weight", "down_proj.weight"))
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    @property
    def gammas(self) -> list[Tensor]:
        """For each layer (H,) float64, the decay per token of each head."""
        return [m.gamma for m in self.modules() if isinstance(m, MultiScaleRetention)]

    def empty_state(self) -> RetNetState:
        """The state before the first token."""
        return RetNetState([None] * self.config.n_layers)

    @decay_cache()
    def forward(
        self,
        ids: Tensor,
        state: RetNetState | None = None,
        mode: str = "parallel",
        chunk_size: int = CHUNK_SIZE,
    ) -> Output[RetNetState]:
        """Read ids (B, T), T >= 1, after what `state` has read; `state` is not changed.

        `mode` is "parallel", "recurrent" or "chunkwise"; all give the same logits.
        Raises ValueError on an unknown mode, a chunk size below 1, or ids of another shape.
        """
        state = state or self.empty_state()
        check_call(ids, mode, chunk_size, state.layers[0])
        step = ids.shape[1]
        if mode == "chunkwise" and may_overwrite():
            # A long text goes through all layers in segments of whole chunks, so that what one
            # layer hands to the next does not leave the cache. The numbers are the same.
            step = max(1, SEGMENT_LENGTH // chunk_size) * chunk_size
        parts = []
        for segment in ids.split(step, dim=1):
            x, state = self._read_segment(segment, state, mode, chunk_size)
            parts.append(self.norm(x))
        logits = self.head(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        logits = publish("logits", logits)
        return Output(logits, state)

    def embed(self, ids: Tensor) -> Tensor:
        """The first layer's input for token ids (...): (..., d)."""
        x: Tensor = self.embedding(ids)
        if self.config.variant.embedding_scale != 1:
            x = x * self.config.variant.embedding_scale
        return x if self.embedding_norm is None else self.embedding_norm(x)

    def _read_segment(
        self, ids: Tensor, state: RetNetState, mode: str, chunk_size: int
    ) -> tuple[Tensor, RetNetState]:
        """ids (B, T) -> the last block's output (B, T, d), and the state after them."""
        x = self.embed(ids)
        x = publish("embedding", x)
        positions = Positions.of(self.config, state.position, ids.shape[1], x)
        layers: list[Tensor | None] = []
        for block, layer_state in zip(self.blocks, state.layers, strict=True):
            x = publish("layer.input", x)
            x, layer_state = block(x, positions, layer_state, mode, chunk_size)
            x = publish("layer.output", x)
            layers.append(layer_state)
        return x, RetNetState(layers, state.position + ids.shape[1])


def check_call(ids: Tensor, mode: str, chunk_size: int, layer_state: Tensor | None = None) -> None:
    """Raise ValueError, with a sentence, on arguments that no forward pass can take.

    `layer_state` is the state of a layer, if there is one.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a whole number of 1 or more, not {chunk_size!r}")
    if chunk_size > MAX_CHUNK_SIZE:
        raise ValueError(f"chunk_size must be at most {MAX_CHUNK_SIZE:,}, not {chunk_size:,}")
    check_ids(ids, layer_state)
