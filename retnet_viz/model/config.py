"""What a RetNet is made of: the few switches that name the published variants."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

DECAY_SCHEDULES = ("paper", "torchscale")
ROTATIONS = ("interleaved", "half", "none")
ANGLES = ("inclusive", "rope", "half_turn")
SCALED = ("k", "q")
NORMS = ("layer", "rms")
HEAD_NORMS = ("layer", "rms", "none")
GATES = ("swish", "none")
NORM_PLACES = ("before", "after")
GATED = {"swiglu": "swish", "geglu": "gelu", "reglu": "relu"}  # with the activation of the gate
FEED_FORWARDS = ("gelu", "swish", "relu", *GATED)
FFN_NORMS = ("none", "layer", "rms")


class ConfigError(ValueError):
    """A configuration that no model can have; the message names the field."""


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
    heads as retention gave them, and gate "none" lets them through as they are: the ablations
    without GroupNorm and without the swish gate of section 3.6.

    The rest is what published codes do otherwise. `key_factor` is d_k * H / d_model. Each of
    `n_kv_heads` heads of keys and values serves equally many of the n_heads heads of queries.
    `angles`: see `position.rotation_angles`. `scaled` is what carries d_k**-0.5. `decay_norm`
    divides each head's output by the root of the row sum of D before `head_norm`, which is felt
    through norm_eps alone; `head_norm_weights` are weights per component after `head_norm`, common
    to all heads. `norm_place` "after" is post-norm, x' = Norm(f(x) + residual_scale * x), without a
    norm at the end. The embedding is multiplied by `embedding_scale` and, with `embedding_norm`,
    normalised. `feed_forward` is an activation, or a gated one: swiglu, geglu, reglu; without a
    gate it can have biases (`ffn_bias`) and a norm of its inner values (`ffn_norm`).
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
    gate: str = "swish"
    norm_eps: float = 1e-6
    feed_forward: str = "gelu"
    tie_embeddings: bool = True
    key_factor: float = 1.0
    n_kv_heads: int | None = None  # n_heads
    angles: str = "inclusive"
    scaled: str = "k"
    decay_norm: bool = False
    head_norm_weights: bool = False
    norm_place: str = "before"
    residual_scale: float = 1.0
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    ffn_bias: bool = False
    ffn_norm: str = "none"

    def __post_init__(self) -> None:
        check_whole(self, "vocab_size", "d_model", "n_layers", "n_heads")
        check_heads(self.d_model, self.n_heads)
        check_positive(self, "value_factor", "ffn_factor", "rotation_base", "norm_eps")
        check_positive(self, "key_factor", "residual_scale", "embedding_scale")
        if self.head_dim < 1 or not _is_near(self._key_width, self.head_dim):
            raise ConfigError(
                f"key_factor {self.key_factor} times {self.d_model // self.n_heads} "
                "is not a whole number of 1 or more"
            )
        if self.value_dim < 1 or not _is_near(self.head_dim * self.value_factor, self.value_dim):
            raise ConfigError(
                f"value_factor {self.value_factor} times head_dim {self.head_dim} "
                "is not a whole number of 1 or more"
            )
        if self.ffn_dim < 1:
            raise ConfigError(f"ffn_factor {self.ffn_factor} leaves no feed-forward width")
        if self.n_kv_heads is not None:
            check_whole(self, "n_kv_heads")
            if self.n_heads % self.n_kv_heads:
                raise ConfigError(
                    f"n_heads {self.n_heads} does not divide among n_kv_heads {self.n_kv_heads}"
                )
        check_choice(self, "rotation", ROTATIONS)
        check_choice(self, "angles", ANGLES)
        check_choice(self, "scaled", SCALED)
        check_choice(self, "norm_place", NORM_PLACES)
        check_choice(self, "ffn_norm", FFN_NORMS)
        check_choice(self, "norm", NORMS)
        check_choice(self, "head_norm", HEAD_NORMS)
        check_choice(self, "gate", GATES)
        check_choice(self, "feed_forward", FEED_FORWARDS)
        for name in ("tie_embeddings", "decay_norm", "head_norm_weights"):
            check_switch(self, name)
        check_switch(self, "embedding_norm")
        check_switch(self, "ffn_bias")
        if self.feed_forward in GATED and (self.ffn_bias or self.ffn_norm != "none"):
            raise ConfigError(f"a gated feed_forward ({self.feed_forward}) has no bias and no norm")
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
        return round(self._key_width)

    @property
    def _key_width(self) -> float:
        return self.key_factor * (self.d_model // self.n_heads)

    @property
    def key_heads(self) -> int:
        """Heads of keys and of values."""
        return self.n_kv_heads or self.n_heads

    @property
    def value_dim(self) -> int:
        """d_v, the width of one head's values."""
        return round(self.head_dim * self.value_factor)

    @property
    def ffn_dim(self) -> int:
        """The inner width of the feed-forward."""
        return int(self.d_model * self.ffn_factor + 1e-6)  # the factor may be a rounded quotient

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
        return cls(**known(cls, fields))


def check_whole(config: Any, *names: str) -> None:
    """Raise ConfigError unless these fields are whole numbers of 1 or more."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}")


def check_positive(config: Any, *names: str) -> None:
    """Raise ConfigError unless these fields are finite numbers above 0."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{name} must be a number, not {value!r}")
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be a finite number above 0, not {value!r}")


def check_choice(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless this field is one of the `allowed`."""
    if getattr(config, name) not in allowed:
        raise ConfigError(f"{name} must be one of {allowed}, not {getattr(config, name)!r}")


def check_switch(config: Any, name: str) -> None:
    """Raise ConfigError unless this field is true or false."""
    if not isinstance(getattr(config, name), bool):
        raise ConfigError(f"{name} must be true or false, not {getattr(config, name)!r}")


def check_heads(d_model: int, n_heads: int) -> None:
    """Raise ConfigError unless the width divides into heads."""
    if d_model % n_heads:
        raise ConfigError(f"d_model {d_model} does not divide into n_heads {n_heads} equal heads")


def known(config: type[Any], fields: dict[str, Any]) -> dict[str, Any]:
    """`fields`, or ConfigError where `config` has no field of such a name."""
    unknown = sorted(set(fields) - set(config.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"unknown fields in the model's config: {', '.join(unknown)}")
    return fields


def _is_near(width: float, whole: int) -> bool:
    """Whether a product with a factor, which may be a rounded quotient, is this whole number."""
    return abs(width - whole) < 1e-6


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
