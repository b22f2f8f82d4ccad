"""RetNet: a stack of multi-scale retention and feed-forward blocks (arXiv:2307.08621, section 2).

Shapes: B batch, T tokens, H heads, d = d_model, d_k = d / H, d_v = value_factor * d_k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.config import GATED, RetNetConfig
from retnet_viz.model.inplace import plus, swish, times
from retnet_viz.model.language_model import LanguageModel, Output, check_ids
from retnet_viz.model.observe import overwritable, publish
from retnet_viz.model.position import decay_sums, rotate, rotation_angles, sharing_decays
from retnet_viz.model.retention import CHUNK_SIZE, MODES, retain

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "swish": swish,
    "relu": F.relu,
}
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


def make_norm(kind: str, width: int, eps: float) -> nn.Module:
    """A normalisation over the last axis, with a weight per component."""
    return nn.LayerNorm(width, eps=eps) if kind == "layer" else nn.RMSNorm(width, eps=eps)


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
        weight = nn.Parameter(torch.ones(config.value_dim)) if config.head_norm_weights else None
        self.head_norm_weight = weight
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
        config = self.config
        q, k, v = (
            projection(x).unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, H, T, width)
            for projection, heads in (
                (self.q_proj, config.n_heads),
                (self.k_proj, config.key_heads),
                (self.v_proj, config.key_heads),
            )
        )
        if config.scaled == "k":
            k = times(k, config.head_dim**-0.5)
        else:
            q = times(q, config.head_dim**-0.5)
        q, k = (rotate(qk, place.cos, place.sin, layout=config.rotation) for qk in (q, k))
        if config.key_heads < config.n_heads:
            k, v = (kv.repeat_interleave(config.n_heads // config.key_heads, 1) for kv in (k, v))
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
        config = self.config
        if config.decay_norm:
            sums = decay_sums(self.gamma, start, heads.shape[-2]).to(heads.device)
            heads = heads / sums.sqrt().to(heads.dtype)[..., None]
        if config.head_norm == "none":
            return heads if self.head_norm_weight is None else heads * self.head_norm_weight
        # A token's heads lie in one place in memory after the chunkwise form.
        heads, weight = heads.transpose(-3, -2), self.head_norm_weight
        if config.head_norm == "layer":
            normed = F.layer_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        else:
            normed = F.rms_norm(heads, heads.shape[-1:], weight, eps=config.norm_eps)
        return normed.transpose(-3, -2)


class FeedForward(nn.Module):
    """FFN(X) = gelu(X W_1) W_2 (section 2.3), or the gated swish form of later codes."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        d, inner, bias = config.d_model, config.ffn_dim, config.ffn_bias
        is_gated = config.feed_forward in GATED
        self.activation = ACTIVATIONS[GATED.get(config.feed_forward, config.feed_forward)]
        self.up_proj = nn.Linear(d, inner, bias=bias)
        self.gate_proj = nn.Linear(d, inner, bias=False) if is_gated else None
        has_norm = config.ffn_norm != "none"
        self.norm = make_norm(config.ffn_norm, inner, config.norm_eps) if has_norm else None
        self.down_proj = nn.Linear(inner, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, d) -> (B, T, d), each token by itself."""
        if self.gate_proj is None:
            inner = self.activation(self.up_proj(x))
        else:
            inner = times(self.activation(self.gate_proj(x)), self.up_proj(x))
        if self.norm is not None:
            inner = self.norm(inner)
        output: Tensor = self.down_proj(inner)
        return output


class RetNetBlock(nn.Module):
    """Y = MSR(Norm(X)) + X,  X' = FFN(Norm(Y)) + Y (equation 9), or with the norms after the sums.

    norm_place "after": Y = Norm(MSR(X) + a X),  X' = Norm(FFN(Y) + a Y), a = residual_scale, as in
    DeepNet (Wang et al. 2022, arXiv:2203.00555, section 3).
    """

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.is_post_norm = config.norm_place == "after"
        self.residual_scale = config.residual_scale
        self.retention_norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.retention = MultiScaleRetention(config)
        self.ffn_norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        place: Place,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, d) -> (B, T, d), and the state of the retention after the last token."""
        retained, state = self.retention(self.retention_input(x), place, state, mode, chunk_size)
        x = self._plus_residual(retained, x)
        if self.is_post_norm:
            x = self.retention_norm(x)
            return self.ffn_norm(self._plus_residual(self.ffn(x), x)), state
        return self._plus_residual(self.ffn(self.ffn_norm(x)), x), state

    def retention_input(self, x: Tensor) -> Tensor:
        """What the retention reads of a layer's input x (B, T, d)."""
        normed: Tensor = x if self.is_post_norm else self.retention_norm(x)
        return normed

    def _plus_residual(self, output: Tensor, x: Tensor) -> Tensor:
        return plus(output, x if self.residual_scale == 1 else self.residual_scale * x)


class RetNet(LanguageModel[RetNetState]):
    """A language model: token ids (B, T) -> logits (B, T, vocab), in any of three modes."""

    config: RetNetConfig

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(RetNetBlock(config) for _ in range(config.n_layers))
        norm = (config.norm, config.d_model, config.norm_eps)
        self.embedding_norm = make_norm(*norm) if config.embedding_norm else None
        # After the last block; of post-norm blocks that one's own norm does.
        self.norm = make_norm(*norm) if config.norm_place == "before" else nn.Identity()
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
        if self.config.embedding_scale != 1:
            x = x * self.config.embedding_scale
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
