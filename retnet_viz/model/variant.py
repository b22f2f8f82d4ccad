"""How published implementations differ from the paper: one field per difference, and its code.

Nobody needs it to follow the paper, whose form is the default of every field. With the defaults
`sublayer_input` is the norm and `add_residual` the sum of equation 9, `scale_qk` multiplies k, and
`repeat_kv` and `normalize_decay` change nothing.

Shapes: B batch, T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retnet_viz.model.checks import (
    ConfigError,
    check_bool,
    check_choice,
    check_integer,
    check_positive,
)
from retnet_viz.model.inplace import add, multiply, swish

if TYPE_CHECKING:
    from retnet_viz.model.config import RetNetConfig

NORMS = ("layer", "rms")
SCALED = ("k", "q")
NORM_PLACES = ("before", "after")
GATE_ACTIVATIONS = {"swiglu": "swish", "geglu": "gelu", "reglu": "relu"}
FEED_FORWARDS = ("gelu", "swish", "relu", *GATE_ACTIVATIONS)
FFN_NORMS = ("none", *NORMS)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "swish": swish,
    "relu": F.relu,
}


@dataclass(frozen=True)
class Variant:
    """Where a RetNet differs from the paper's; the defaults are the paper's form.

    `norm` is the normalisation before each block and at the end. `norm_place` "after" is post-norm,
    x' = Norm(f(x) + residual_scale * x), as in DeepNet (Wang et al. 2022, arXiv:2203.00555, section
    3), without a norm at the end.

    `key_factor` is d_k * H / d_model. Each of `n_kv_heads` heads of keys and values serves equally
    many of the n_heads heads of queries. `scaled` is what carries d_k**-0.5. `decay_norm` divides
    each head's output by the root of the row sum of D before the norm of the heads, which is felt
    through norm_eps alone; `head_norm_weights` are weights per component after that norm, common to
    all heads.

    `feed_forward` is an activation, or a gated one: swiglu, geglu, reglu; without a gate it can
    have biases (`ffn_bias`) and a norm of its inner values (`ffn_norm`). The embedding is
    multiplied by `embedding_scale` and, with `embedding_norm`, normalised.
    """

    norm: str = "layer"
    norm_place: str = "before"
    residual_scale: float = 1.0
    key_factor: float = 1.0
    n_kv_heads: int | None = None  # n_heads
    scaled: str = "k"
    decay_norm: bool = False
    head_norm_weights: bool = False
    feed_forward: str = "gelu"
    ffn_bias: bool = False
    ffn_norm: str = "none"
    embedding_scale: float = 1.0
    embedding_norm: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "key_factor", "residual_scale", "embedding_scale")
        if self.n_kv_heads is not None:
            check_integer(self, "n_kv_heads")
        check_choice(self, "norm", NORMS)
        check_choice(self, "norm_place", NORM_PLACES)
        check_choice(self, "scaled", SCALED)
        check_choice(self, "feed_forward", FEED_FORWARDS)
        check_choice(self, "ffn_norm", FFN_NORMS)
        check_bool(self, "decay_norm", "head_norm_weights", "ffn_bias", "embedding_norm")
        if self.feed_forward in GATE_ACTIVATIONS and (self.ffn_bias or self.ffn_norm != "none"):
            raise ConfigError(f"a gated feed_forward ({self.feed_forward}) has no bias and no norm")

    @property
    def has_paper_ffn(self) -> bool:
        """Whether the feed-forward is that of section 2.3."""
        return (self.feed_forward, self.ffn_bias, self.ffn_norm) == ("gelu", False, "none")

    def sublayer_input(self, norm: nn.Module, x: Tensor) -> Tensor:
        """A sublayer's input: Norm(x), or x where the norm comes after the sum."""
        y: Tensor = norm(x) if self.norm_place == "before" else x
        return y

    def add_residual(self, norm: nn.Module, output: Tensor, x: Tensor) -> Tensor:
        """output + x, or Norm(output + residual_scale * x); may overwrite a sublayer's `output`."""
        y = add(output, x if self.residual_scale == 1 else self.residual_scale * x)
        return y if self.norm_place == "before" else norm(y)

    def scale_qk(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q and k (B, H, T, d_k), one of them times d_k**-0.5; may overwrite that one."""
        factor = k.shape[-1] ** -0.5
        return (q, multiply(k, factor)) if self.scaled == "k" else (multiply(q, factor), k)

    def repeat_kv(self, kv: Tensor, n_heads: int) -> Tensor:
        """Keys or values (B, n_kv_heads, T, width) as (B, n_heads, T, width)."""
        if self.n_kv_heads is None:
            return kv
        return kv.repeat_interleave(n_heads // self.n_kv_heads, 1)

    def normalize_decay(self, heads: Tensor, gamma: Tensor, start: int) -> Tensor:
        """Apply `decay_norm` to the heads' outputs (..., H, T, d_v) from position `start` on."""
        if not self.decay_norm:
            return heads
        sums = decay_sums(gamma, start, heads.shape[-2]).to(heads.device)
        return heads / sums.sqrt().to(heads.dtype)[..., None]


PAPER = Variant()


def make_norm(kind: str, width: int, eps: float) -> nn.Module:
    """A normalisation over the last axis, with a weight per component."""
    return nn.LayerNorm(width, eps=eps) if kind == "layer" else nn.RMSNorm(width, eps=eps)


class VariantFeedForward(nn.Module):
    """FFN(X) = Norm(f(X W_1 + b_1)) W_2 + b_2, or (f(X W_G) * X W_1) W_2 with a gate."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        variant, d, inner = config.variant, config.d_model, config.ffn_dim
        kind = variant.feed_forward
        self.activation = ACTIVATIONS[GATE_ACTIVATIONS.get(kind, kind)]
        self.up_proj = nn.Linear(d, inner, bias=variant.ffn_bias)
        self.gate_proj = nn.Linear(d, inner, bias=False) if kind in GATE_ACTIVATIONS else None
        has_norm = variant.ffn_norm != "none"
        self.norm = make_norm(variant.ffn_norm, inner, config.norm_eps) if has_norm else None
        self.down_proj = nn.Linear(inner, d, bias=variant.ffn_bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, d) -> (B, T, d), each token by itself."""
        if self.gate_proj is None:
            inner = self.activation(self.up_proj(x))
        else:
            inner = multiply(self.activation(self.gate_proj(x)), self.up_proj(x))
        if self.norm is not None:
            inner = self.norm(inner)
        output: Tensor = self.down_proj(inner)
        return output


def decay_sums(gamma: Tensor, start: int, length: int) -> Tensor:
    """Row sums of D, (H, T) float64: sum over m <= n of gamma**(n-m), n = start .. start + T - 1.

    gamma (H,) float64. From 1 - gamma**(n+1), which the exponents of 1 - 2**-12 leave few digits
    of; a gamma of 1 sums up to n + 1.
    """
    n_terms = torch.arange(start + 1, start + length + 1, dtype=torch.float64, device=gamma.device)
    log_gamma = gamma.log()[:, None]
    sums = torch.expm1(n_terms * log_gamma) / torch.expm1(log_gamma)
    return torch.where(log_gamma == 0, n_terms, sums)
