"""A plain Transformer of a RetNet's size, the baseline that its cost is held against.

Pre-normalised blocks of softmax attention (Vaswani et al. 2017, arXiv:1706.03762) with a
feed-forward four times as wide as the model: 12 d² weights per layer, as in a RetNet whose values
and feed-forward are twice as wide. Positions turn q and k as in the RetNet.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model import RetNetConfig
from retnet_viz.model.position import rotate, rotation_angles

Cache = list[tuple[Tensor, Tensor]]


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d_k)) V over the tokens up to each one, then a projection."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: tuple[Tensor, Tensor], start: int
    ) -> Tensor:
        """x (B, T, d) -> (B, T, d); keys and values are written to `cache` from `start` on."""
        qkv = self.qkv_proj(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        q, k, v = qkv.unbind(2)  # (B, H, T, d_k)
        q, k = (rotate(each, *angles, layout="interleaved") for each in (q, k))
        stop = start + x.shape[1]
        keys, values = cache
        keys[:, :, start:stop], values[:, :, start:stop] = k, v
        # A single token reads all that came before it, so that nothing has to be masked.
        heads = F.scaled_dot_product_attention(
            q, keys[:, :, :stop], values[:, :, :stop], is_causal=x.shape[1] > 1
        )
        output: Tensor = self.out_proj(heads.transpose(1, 2).flatten(-2))
        return output


class Transformer(nn.Module):
    """token ids (B, T) -> logits (B, T, vocab), with a KV cache that the caller makes.

    Of `config` it takes the vocabulary, the width, the layers, the heads and the rotation's base.
    """

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        d = config.d_model
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, d)
        self.attentions = nn.ModuleList(Attention(config) for _ in range(config.n_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2 * config.n_layers + 1))
        self.up_projs, self.down_projs = (
            nn.ModuleList(nn.Linear(*shape, bias=False) for _ in range(config.n_layers))
            for shape in ((d, 4 * d), (4 * d, d))
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def empty_cache(self, batch: int, length: int) -> Cache:
        """Room for the keys and values of `length` tokens, (B, H, length, d_k) each, per layer."""
        weight = self.embedding.weight
        shape = (batch, self.config.n_heads, length, self.config.head_dim)
        return [(weight.new_empty(shape), weight.new_empty(shape)) for _ in self.attentions]

    def forward(self, ids: Tensor, cache: Cache | None = None, start: int = 0) -> Tensor:
        """Read ids (B, T) after the `start` tokens in `cache`: a whole text, or one more token.

        Raises ValueError where several tokens would follow others: that needs another mask.
        """
        batch, length = ids.shape
        if start and length > 1:
            raise ValueError("after other tokens only one token can be read at a time")
        if cache is None:
            cache = self.empty_cache(batch, length)
        config = self.config
        angles = rotation_angles(config.head_dim, start, length, config.rotation_base, ids.device)
        x = self.embedding(ids)
        for layer, attention in enumerate(self.attentions):
            x = x + attention(self.norms[2 * layer](x), angles, cache[layer], start)
            inner = F.gelu(self.up_projs[layer](self.norms[2 * layer + 1](x)))
            x = x + self.down_projs[layer](inner)
        return F.linear(self.norms[-1](x), self.embedding.weight)
