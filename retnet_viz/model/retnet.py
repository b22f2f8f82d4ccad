"""RetNet: a stack of multi-scale retention and feed-forward blocks (arXiv:2307.08621, section 2).

What a `variant` does differs in published codes (see `variant.Variant`); a comment beside it says
what it does in the paper.

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H, d_v = value_factor * d_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.inplace import swish, times
from retnet_viz.model.language_model import LanguageModel, Output, check_ids
from retnet_viz.model.observe import overwritable, publish
from retnet_viz.model.position import rotate, rotation_angles, sharing_decays
from retnet_viz.model.retention import CHUNK_SIZE, MODES, retain
from retnet_viz.model.variant import VariantFeedForward, make_norm

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


class Place(NamedTuple):
    """Where some tokens stand: cos and sin of their angles (T, d_k / 2), and the first position."""

    cos: Tensor
    sin: Tensor
    start: int

    @classmethod
    def of(cls, config: RetNetConfig, start: int, length: int, like: Tensor) -> Place:
        """The place of `length` tokens from `start` on, with the device and dtype of `like`."""
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
        place: Place,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> what the heads retain for each token (B, T, d), and the state after."""
        config, variant = self.config, self.config.variant
        q = _split(self.q_proj(x), config.head_dim)
        k = _split(self.k_proj(x), config.head_dim)
        v = _split(self.v_proj(x), config.value_dim)
        q, k = variant.scale(q, k)  # k / sqrt(d_k)
        q, k = (rotate(qk, place.cos, place.sin, layout=config.rotation) for qk in (q, k))
        k, v = (variant.share(kv, config.n_heads) for kv in (k, v))  # as they are
        publish("retention.q", q)
        publish("retention.k", k)
        publish("retention.v", v)
        heads, state = retain(q, k, v, self.gamma, state, mode, chunk_size)
        publish("retention.output", heads)
        normed = self.normalize(heads, place.start).transpose(1, 2).flatten(-2)  # (B, T, H * d_v)
        publish("retention.normed", normed)
        gate = torch.ones_like(normed) if self.g_proj is None else swish(self.g_proj(x))
        publish("retention.gate", gate)
        return self.out_proj(times(gate, normed)), state

    def normalize(self, heads: Tensor, start: int = 0) -> Tensor:
        """Each head's output (..., H, T, d_v) to unit scale, so that none drowns another (2.4).

        The tokens stand at the positions from `start` on. With head_norm "none" the outputs are as
        they were: a head that decays slowly sums up more tokens and speaks louder.
        """
        config, weight = self.config, self.head_norm_weight
        heads = config.variant.divide(heads, self.gamma, start)  # as they are
        if config.head_norm == "none":
            return heads if weight is None else heads * weight
        # A token's heads lie in one place in memory after the chunkwise form.
        heads = heads.transpose(-3, -2)
        if config.head_norm == "layer":
            normed = F.layer_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        else:
            normed = F.rms_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        return normed.transpose(-3, -2)


def _split(x: Tensor, width: int) -> Tensor:
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
        place: Place,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> (B, T, d), and the state of the retention after the last token."""
        read, add = self.variant.read, self.variant.add  # the norm and the plus of equation 9
        retained, state = self.retention(self.retention_input(x), place, state, mode, chunk_size)
        y = add(self.retention_norm, retained, x)  # retained + x
        return add(self.ffn_norm, self.ffn(read(self.ffn_norm, y)), y), state

    def retention_input(self, x: Tensor) -> Tensor:
        """What the retention reads of a layer's input x (B, T, d)."""
        return self.variant.read(self.retention_norm, x)


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
        # After the last block; of post-norm blocks that one's own norm does.
        self.norm = make_norm(*norm) if variant.norm_place == "before" else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.draw_matrices(writing=("out_proj.weight", "down_proj.weight"))
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    @property
    def gammas(self) -> list[Tensor]:
        """For each layer (H,) float64, the decay per token of each head."""
        return [part.gamma for part in self.modules() if isinstance(part, MultiScaleRetention)]

    def empty_state(self) -> RetNetState:
        """The state before the first token."""
        return RetNetState([None] * self.config.n_layers)

    @sharing_decays()
    def forward(
        self,
        ids: Tensor,
        state: RetNetState | None = None,
        mode: str = "parallel",
        chunk_size: int = CHUNK_SIZE,
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

    def embed(self, ids: Tensor) -> Tensor:
        """What the first layer reads of token ids (...): (..., d)."""
        x: Tensor = self.embedding(ids)
        if self.config.variant.embedding_scale != 1:
            x = x * self.config.variant.embedding_scale
        return x if self.embedding_norm is None else self.embedding_norm(x)

    def _read(
        self, ids: Tensor, state: RetNetState, mode: str, chunk_size: int
    ) -> tuple[Tensor, RetNetState]:
        """ids (B, T) -> what the last block hands on (B, T, d), and the state after them."""
        x = self.embed(ids)
        publish("embedding", x)
        place = Place.of(self.config, state.position, ids.shape[1], x)
        layers: list[Tensor | None] = []
        for block, layer_state in zip(self.blocks, state.layers, strict=True):
            publish("layer.input", x)
            x, layer_state = block(x, place, layer_state, mode, chunk_size)
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
