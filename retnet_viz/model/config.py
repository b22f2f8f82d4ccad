"""What a RetNet is made of: the few switches that name the published variants."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

DECAY_SCHEDULES = ("paper", "torchscale")
ROTATIONS = ("interleaved", "half", "none")
NORMS = ("layer", "rms")
HEAD_NORMS = ("layer", "rms", "none")
FEED_FORWARDS = ("gelu", "swiglu")


class ConfigError(ValueError):
    """A configuration that no RetNet can have; the message names the field."""


@dataclass(frozen=True)
class RetNetConfig:
    """Shape and variant of a RetNet. The defaults are those of the paper, section 2 and 3.1.

    `decay` names a schedule of the per-head decay gamma, or lists one gamma per head:
    "paper" is `1 - 2**(-5-h)` (equation 8), "torchscale" is the authors' later
    `1 - exp(linspace(ln 1/32, ln 1/512, H))`.
    `rotation` says which components of q and k form a pair that turns with the position:
    neighbours ("interleaved", the paper's complex numbers), the two halves ("half"), or none.
    `norm` is the normalisation before each block, `head_norm` the one of each head's output
    (the paper's GroupNorm with one group per head; it has no weights). head_norm "none" leaves the
    heads as retention gave them: the ablation without GroupNorm of section 3.6.
    """

    vocab_size: int = 4096
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    value_factor: float = 2.0  # d_v / d_k; the paper uses 2
    ffn_factor: float = 2.0  # feed-forward width / d_model; the paper uses 2
    decay: str | tuple[float, ...] = "paper"
    rotation: str = "interleaved"
    rotation_base: float = 10000.0
    norm: str = "layer"
    head_norm: str = "layer"
    norm_eps: float = 1e-6
    feed_forward: str = "gelu"
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layers", "n_heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model {self.d_model} does not divide into n_heads {self.n_heads} equal heads"
            )
        for name in ("value_factor", "ffn_factor", "rotation_base", "norm_eps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"{name} must be a number, not {value!r}")
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a finite number above 0, not {value!r}")
        if self.value_dim < 1 or self.head_dim * self.value_factor != self.value_dim:
            raise ConfigError(
                f"value_factor {self.value_factor} times head_dim {self.head_dim} "
                "is not a whole number of 1 or more"
            )
        if self.ffn_dim < 1:
            raise ConfigError(f"ffn_factor {self.ffn_factor} leaves no feed-forward width")
        for name, allowed in (
            ("rotation", ROTATIONS),
            ("norm", NORMS),
            ("head_norm", HEAD_NORMS),
            ("feed_forward", FEED_FORWARDS),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not isinstance(self.tie_embeddings, bool):
            raise ConfigError(f"tie_embeddings must be true or false, not {self.tie_embeddings!r}")
        if self.rotation != "none" and self.head_dim % 2:
            raise ConfigError(f"rotation turns pairs, so head_dim {self.head_dim} must be even")
        if not isinstance(self.decay, str):
            object.__setattr__(self, "decay", _checked_gammas(self.decay, self.n_heads))
        elif self.decay not in DECAY_SCHEDULES:
            raise ConfigError(
                f"decay must be one of {DECAY_SCHEDULES} or {self.n_heads} gammas, "
                f"not {self.decay!r}"
            )

    @property
    def head_dim(self) -> int:
        """d_k, the width of one head's queries and keys."""
        return self.d_model // self.n_heads

    @property
    def value_dim(self) -> int:
        """d_v, the width of one head's values."""
        return int(self.head_dim * self.value_factor)

    @property
    def ffn_dim(self) -> int:
        """The inner width of the feed-forward."""
        return int(self.d_model * self.ffn_factor)

    def gammas(self) -> Tensor:
        """The decay per token of each head, shape (H,), float64 (paper, equation 8)."""
        # On the CPU by name: a model that is built on the meta device still needs the numbers.
        if not isinstance(self.decay, str):
            return torch.tensor(self.decay, dtype=torch.float64, device="cpu")
        if self.decay == "paper":
            head = torch.arange(self.n_heads, dtype=torch.float64, device="cpu")
            return 1 - torch.exp2(-5 - head)
        low, high = math.log(1 / 32), math.log(1 / 512)
        exponents = torch.linspace(low, high, self.n_heads, dtype=torch.float64, device="cpu")
        return 1 - torch.exp(exponents)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> RetNetConfig:
        """The config with these fields; an unknown field is a ConfigError, not ignored."""
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(f"unknown fields in the model's config: {', '.join(unknown)}")
        return cls(**fields)


def _checked_gammas(gammas: Any, n_heads: int) -> tuple[float, ...]:
    try:
        values = tuple(float(gamma) for gamma in gammas)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"decay must name a schedule or list numbers, not {gammas!r}") from error
    if len(values) != n_heads:
        raise ConfigError(f"decay lists {len(values)} gammas for {n_heads} heads")
    for head, gamma in enumerate(values):
        if not 0 < gamma <= 1:
            raise ConfigError(f"gamma of head {head} must lie in (0, 1], not {gamma}")
    return values
