"""What a RetNet is made of: its sizes, decays and rotation, and the parts that can be left out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model.checks import (
    ConfigError,
    check_bool,
    check_choice,
    check_heads,
    check_integer,
    check_names,
    check_positive,
)
from retnet_viz.model.variant import PAPER, Variant

DECAY_SCHEDULES = ("paper", "torchscale")
ROTATIONS = ("interleaved", "half", "none")
ANGLES = ("inclusive", "rope", "half_turn")
HEAD_NORMS = ("layer", "rms", "none")
GATES = ("swish", "none")


@dataclass(frozen=True)
class RetNetConfig:
    """Shape of a RetNet. The defaults are those of the paper, section 2 and 3.1.

    `decay` names a schedule of the per-head decay gamma, or lists one gamma per head:
    "paper" is `1 - 2**(-5-h)` (equation 8), "torchscale" is the authors' later
    `1 - exp(linspace(ln 1/32, ln 1/512, H))`.
    `rotation` says which components of q and k form a pair that rotates with the position:
    neighbours ("interleaved", the paper's complex numbers), the two halves ("half"), or none.
    `rotation_base` and `angles` set the angles; see `position.rotation_angles`.
    `head_norm` is the normalisation of each head's output (the paper's GroupNorm with one group per
    head; it has no weights). head_norm "none" and gate "none" leave that step out: the ablations
    without GroupNorm and without the swish gate of section 3.6.
    `variant` says how a published implementation differs from the paper.
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
    angles: str = "inclusive"
    head_norm: str = "layer"
    gate: str = "swish"
    norm_eps: float = 1e-6
    tie_embeddings: bool = True
    variant: Variant = PAPER

    def __post_init__(self) -> None:
        check_integer(self, "vocab_size", "d_model", "n_layers", "n_heads")
        check_heads(self.d_model, self.n_heads)
        check_positive(self, "value_factor", "ffn_factor", "rotation_base", "norm_eps")
        self._check_widths()
        check_choice(self, "rotation", ROTATIONS)
        check_choice(self, "angles", ANGLES)
        check_choice(self, "head_norm", HEAD_NORMS)
        check_choice(self, "gate", GATES)
        check_bool(self, "tie_embeddings")
        if self.rotation != "none" and self.head_dim % 2:
            raise ConfigError(f"rotation turns pairs, so head_dim {self.head_dim} must be even")
        if not isinstance(self.decay, str):
            object.__setattr__(self, "decay", _parse_gammas(self.decay, self.n_heads))
        elif self.decay not in DECAY_SCHEDULES:
            raise ConfigError(
                f"decay must be one of {DECAY_SCHEDULES} or {self.n_heads} gammas, "
                f"not {self.decay!r}"
            )

    def _check_widths(self) -> None:
        if self.head_dim < 1 or not _is_near(self._key_width, self.head_dim):
            raise ConfigError(
                f"key_factor {self.variant.key_factor} times {self.d_model // self.n_heads} "
                "is not a whole number of 1 or more"
            )
        if self.value_dim < 1 or not _is_near(self.head_dim * self.value_factor, self.value_dim):
            raise ConfigError(
                f"value_factor {self.value_factor} times head_dim {self.head_dim} "
                "is not a whole number of 1 or more"
            )
        if self.ffn_dim < 1:
            raise ConfigError(f"ffn_factor {self.ffn_factor} leaves no feed-forward width")
        if self.n_heads % self.key_heads:
            raise ConfigError(
                f"n_heads {self.n_heads} does not divide among n_kv_heads {self.key_heads}"
            )

    @property
    def head_dim(self) -> int:
        """d_k, the width of one head's queries and keys."""
        return round(self._key_width)

    @property
    def _key_width(self) -> float:
        return self.variant.key_factor * (self.d_model // self.n_heads)

    @property
    def key_heads(self) -> int:
        """Heads of keys and of values."""
        return self.variant.n_kv_heads or self.n_heads

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
        """The fields as JSON holds them, those of the variant beside the others."""
        fields = asdict(self)
        variant = fields.pop("variant")
        return {**fields, **variant}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> RetNetConfig:
        """The config with these fields; an unknown field is a ConfigError, not ignored."""
        names = cls.__dataclass_fields__.keys() - {"variant"}
        check_names(fields, names | Variant.__dataclass_fields__.keys())
        variant = Variant(**{name: fields[name] for name in fields.keys() - names})
        return cls(**{name: fields[name] for name in fields.keys() & names}, variant=variant)


def _is_near(width: float, integer: int) -> bool:
    """Whether `width` is this integer, up to the rounding of the factor that made it."""
    return abs(width - integer) < 1e-6


def _parse_gammas(gammas: Any, n_heads: int) -> tuple[float, ...]:
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
