"""A decoder Transformer of a RetNet's size: softmax attention and a cache of keys and values.

Pre-normalised blocks (Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745)
whose q and k turn with the position (Su et al. 2021, arXiv:2104.09864) by the RetNet's angles. With
a feed-forward four times as wide as the model a block has 12 d² weights, as a RetNet's has whose
values and feed-forward are twice as wide.

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model import ConfigError, LanguageModel, Output
from retnet_viz.model.checks import (
    check_bool,
    check_choice,
    check_heads,
    check_integer,
    check_names,
    check_positive,
)
from retnet_viz.model.config import ANGLES
from retnet_viz.model.language_model import check_ids
from retnet_viz.model.observe import publish
from retnet_viz.model.position import rotate, rotation_angles

MIN_CAPACITY = 64  # tokens that a new cache has space for, at least


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a Transformer; the defaults have as many weights as the default RetNet."""

    vocab_size: int = 4096
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    ffn_factor: float = 4.0  # feed-forward width / d_model
    rotation_base: float = 10000.0
    angles: str = "inclusive"  # see `position.rotation_angles`
    norm_eps: float = 1e-6
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        check_integer(self, "vocab_size", "d_model", "n_layers", "n_heads")
        check_heads(self.d_model, self.n_heads)
        check_positive(self, "ffn_factor", "rotation_base", "norm_eps")
        check_choice(self, "angles", ANGLES)
        check_bool(self, "tie_embeddings")
        if self.ffn_dim < 1:
            raise ConfigError(f"ffn_factor {self.ffn_factor} leaves no feed-forward width")
        if self.head_dim % 2:
            raise ConfigError(f"rotation turns pairs, so head_dim {self.head_dim} must be even")

    @property
    def head_dim(self) -> int:
        """d_k, the width of one head's queries, keys and values."""
        return self.d_model // self.n_heads

    @property
    def ffn_dim(self) -> int:
        """The inner width of the feed-forward."""
        return int(self.d_model * self.ffn_factor)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TransformerConfig:
        """The config with these fields; an unknown field is a ConfigError, not ignored."""
        check_names(fields, cls.__dataclass_fields__)
        return cls(**fields)


class KVCache:
    """The keys and values of one layer, (2, B, H, capacity, d_k), with space for more tokens.

    Several states may share one cache. `length` counts the tokens written: who continues from an
    earlier state copies the tokens before it instead of overwriting later ones.
    """

    def __init__(self, content: Tensor, length: int) -> None:
        self.content = content
        self.length = length

    def append(self, new: Tensor, position: int) -> KVCache:
        """The cache with keys and values `new` (2, B, H, T, d_k) after its first `position`."""
        stop = position + new.shape[3]
        past = self.content[:, :, :, :position]
        if torch.is_grad_enabled():  # the backward pass needs the earlier tensors
            return KVCache(torch.cat((past, new), dim=3), stop)
        cache = self
        if self.length != position or stop > self.content.shape[3] or _is_frozen(self.content):
            # Twice the capacity when it is full: a token is copied once on average.
            content = new.new_empty(*new.shape[:3], max(MIN_CAPACITY, 2 * stop), new.shape[4])
            content[:, :, :, :position] = past
            cache = KVCache(content, position)
        cache.content[:, :, :, position:stop] = new
        cache.length = stop
        return cache


def _is_frozen(tensor: Tensor) -> bool:
    """Whether a tensor must not be written to: it is of inference mode, which has ended."""
    return tensor.is_inference() and not torch.is_inference_mode_enabled()


@dataclass
class TransformerState:
    """All that a Transformer keeps of the text so far: O(T) in its length.

    `layers[l]` is the cache of layer l, or None before the first token; `position` counts the
    tokens read.
    """

    layers: list[KVCache | None]
    position: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values of the tokens read, without the free capacity."""
        caches = [cache.content for cache in self.layers if cache is not None]
        return sum(c[:, :, :, : self.position].numel() * c.element_size() for c in caches)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d_k)) V over the tokens up to each one, then a projection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.qkv_proj = nn.Linear(d, 3 * d, bias=False)
        self.out_proj = nn.Linear(d, d, bias=False)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: KVCache | None, position: int
    ) -> tuple[Tensor, KVCache]:
        """x (B, T, d) -> what the heads attend to (B, T, d), and the cache after it."""
        qkv = self.qkv_proj(x).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(2)  # (B, H, T, d_k)
        q, k = (rotate(qk, *angles, layout="interleaved") for qk in (q, k))
        q = publish("attention.q", q)
        k = publish("attention.k", k)
        v = publish("attention.v", v)
        new = torch.stack((k, v))
        length, stop = x.shape[1], position + x.shape[1]
        cache = KVCache(new, stop) if cache is None else cache.append(new, position)
        keys, values = cache.content[:, :, :, :stop]
        mask = None
        if position and length > 1:  # row n reads all earlier tokens and the first n + 1 of these
            mask = torch.ones(length, stop, dtype=torch.bool, device=x.device).tril(position)
        heads = F.scaled_dot_product_attention(
            q, keys, values, mask, is_causal=not position and length > 1
        )
        heads = publish("attention.output", heads)
        output: Tensor = self.out_proj(heads.transpose(1, 2).flatten(-2))
        return output, cache


class TransformerBlock(nn.Module):
    """Y = Attention(Norm(X)) + X,  X' = FFN(Norm(Y)) + Y."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d, inner = config.d_model, config.ffn_dim
        self.attention_norm = nn.LayerNorm(d, eps=config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.LayerNorm(d, eps=config.norm_eps)
        self.up_proj = nn.Linear(d, inner, bias=False)
        self.down_proj = nn.Linear(inner, d, bias=False)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: KVCache | None, position: int
    ) -> tuple[Tensor, KVCache]:
        """x (B, T, d) -> (B, T, d), and the cache of the attention after the last token."""
        output, cache = self.attention(self.attention_norm(x), angles, cache, position)
        x = x + output
        return x + self.down_proj(F.gelu(self.up_proj(self.ffn_norm(x)))), cache


class Transformer(LanguageModel[TransformerState]):
    """A language model: token ids (B, T) -> logits (B, T, vocab)."""

    config: TransformerConfig
    stacked_matrices = MappingProxyType({"qkv_proj.weight": 3})

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.init_weights(residual_projections=("out_proj.weight", "down_proj.weight"))
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    def empty_state(self) -> TransformerState:
        """The state before the first token."""
        return TransformerState([None] * self.config.n_layers)

    def forward(
        self, ids: Tensor, state: TransformerState | None = None
    ) -> Output[TransformerState]:
        """Read ids (B, T), T >= 1, after what `state` has read; `state` is not changed.

        Raises ValueError on ids of another shape.
        """
        state = state or self.empty_state()
        first = state.layers[0]
        check_ids(ids, None if first is None else first.content[0])
        config, start = self.config, state.position
        cos, sin = rotation_angles(
            config.head_dim, start, ids.shape[1], config.rotation_base, ids.device, config.angles
        )
        x = self.embedding(ids)
        x = publish("embedding", x)
        angles = (cos.to(x.dtype), sin.to(x.dtype))
        layers: list[KVCache | None] = []
        for block, cache in zip(self.blocks, state.layers, strict=True):
            x = publish("layer.input", x)
            x, cache = block(x, angles, cache, start)
            x = publish("layer.output", x)
            layers.append(cache)
        logits = self.head(self.norm(x))
        logits = publish("logits", logits)
        return Output(logits, TransformerState(layers, start + ids.shape[1]))
