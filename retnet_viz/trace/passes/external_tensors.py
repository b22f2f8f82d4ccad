"""Queries, keys and values from any code, in place of a model: retention without projections.

Shapes: L layers, T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retnet_viz.checkpoints.weights import FLOATS
from retnet_viz.model import Output, RetNet, RetNetState
from retnet_viz.model.checks import check_integer, check_names
from retnet_viz.model.observe import publish
from retnet_viz.model.position import decay_cache
from retnet_viz.model.retention import CHUNK_SIZE, retain
from retnet_viz.model.retnet import check_call


@dataclass(frozen=True)
class ExternalConfig:
    """The shape of some tensors, by the names that a RetNetConfig has for it."""

    n_layers: int
    n_heads: int
    head_dim: int
    value_dim: int

    def __post_init__(self) -> None:
        check_integer(self, "n_layers", "n_heads", "head_dim", "value_dim")

    @property
    def d_model(self) -> int:
        """The width of a layer's output: what the heads retained, side by side."""
        return self.n_heads * self.value_dim

    @property
    def vocab_size(self) -> int:
        """0: no next token is predicted."""
        return 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ExternalConfig:
        """The config with these fields; an unknown field is a ConfigError, not ignored."""
        check_names(fields, cls.__dataclass_fields__)
        return cls(**fields)


class Vocabulary:
    """The texts of the tokens: the part of a tokenizer that a trace needs."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)

    def piece(self, token_id: int) -> str:
        """The text of a token; ValueError on an id that there is not."""
        if not 0 <= token_id < len(self.pieces):
            raise ValueError(f"token id {token_id} is outside 0 .. {len(self.pieces) - 1}")
        return self.pieces[token_id]


class ExternalTensors(nn.Module):
    """Layers whose queries, keys and values are given: each computes retention and no more.

    A trace uses it as it uses a RetNet: it runs in any mode, carries a state and publishes what it
    computes. There is no projection, normalisation, gate or feed-forward: `normed` and a layer's
    output are the heads' outputs side by side, the gate is 1, and no layer reads another's output.
    The logits are empty: (B, T, 0).

    For each layer q and k (H, T, d_k), v (H, T, d_v), of one dtype, and gamma (H,) float64.
    `tokenizer` gives the tokens' texts, if they have any.
    """

    def __init__(
        self,
        q: Sequence[Tensor],
        k: Sequence[Tensor],
        v: Sequence[Tensor],
        gammas: Sequence[Tensor],
        tokenizer: Vocabulary | None = None,
    ) -> None:
        super().__init__()
        self.q, self.k, self.v, self.gammas = list(q), list(k), list(v), list(gammas)
        self.tokenizer = tokenizer
        n_heads, self.length, head_dim = q[0].shape
        self.config = ExternalConfig(len(q), n_heads, head_dim, v[0].shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.q[0].device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the tensors."""
        return self.q[0].dtype

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
        """Read as many of the given tokens as ids (1, T) has, after those that `state` has read.

        What the ids are makes no difference. Raises ValueError where there are fewer tokens, and on
        what RetNet.forward refuses.
        """
        state = state or self.empty_state()
        check_call(ids, mode, chunk_size, state.layers[0])
        start, stop = state.position, state.position + ids.shape[1]
        if len(ids) > 1 or stop > self.length:
            raise ValueError(
                f"the tensors are of one text of {self.length} tokens; "
                f"tokens {start} .. {stop - 1} of {len(ids)} cannot be read"
            )
        layers: list[Tensor | None] = []
        for index, layer_state in enumerate(state.layers):
            q, k, v = (x[index][None, :, start:stop] for x in (self.q, self.k, self.v))
            publish("layer.input", v.new_empty(1, stop - start, 0))  # what q, k, v were made from
            publish("retention.q", q)
            publish("retention.k", k)
            publish("retention.v", v)
            heads, after = retain(q, k, v, self.gammas[index], layer_state, mode, chunk_size)
            publish("retention.output", heads)
            output = heads.transpose(1, 2).flatten(-2)
            publish("retention.normed", output)
            publish("retention.gate", torch.ones_like(output))
            publish("layer.output", output)
            layers.append(after)
        logits = self.q[0].new_empty(1, stop - start, 0)
        publish("logits", logits)
        return Output(logits, RetNetState(layers, stop))


ObservedModel = RetNet | ExternalTensors


def make_external_tensors(
    q: Any, k: Any, v: Any, gamma: Any, tokens: Sequence[str] | None = None
) -> ExternalTensors:
    """Check and copy the tensors of `Trace.from_tensors`; ValueError as there."""
    queries, keys, values = (_layers(*pair) for pair in (("q", q), ("k", k), ("v", v)))
    for axis, noun in enumerate(("layers", "heads", "tokens")):
        counts = [x.shape[axis] for x in (queries, keys, values)]
        if len(set(counts)) > 1:
            raise ValueError(
                f"q, k and v must have equally many {noun}, not {counts[0]}, {counts[1]} and "
                f"{counts[2]}; each has the shape (H, T, d), or (L, H, T, d) for L layers"
            )
    if queries.shape[-1] != keys.shape[-1]:
        raise ValueError(
            f"q and k must be of the same width, not {queries.shape[-1]} and {keys.shape[-1]}: "
            "a score is the product of a query and a key"
        )
    n_layers, n_heads, length, _ = queries.shape
    dtype = reduce(torch.promote_types, (x.dtype for x in (queries, keys, values)))
    return ExternalTensors(
        queries.to(dtype).unbind(),
        keys.to(dtype).unbind(),
        values.to(dtype).unbind(),
        _gammas(gamma, n_layers, n_heads).unbind(),
        _vocabulary(tokens, length),
    )


def _layers(name: str, value: Any) -> Tensor:
    """A copy (L, H, T, d) of one of q, k, v."""
    tensor = _to_tensor(name, value)
    if tensor.dtype not in FLOATS:
        raise ValueError(f"{name} must hold floating-point numbers, not {tensor.dtype}")
    shape = tuple(tensor.shape)
    if tensor.dim() == 3:
        tensor = tensor[None]
    elif tensor.dim() == 5 and 1 in shape[:2]:  # a batch of one text, for each layer or for all
        tensor = tensor.squeeze(1 if shape[1] == 1 else 0)
    if tensor.dim() != 4:
        raise ValueError(
            f"{name} must have the shape (H, T, d), or (L, H, T, d) for L layers, with a batch "
            f"axis of 1 at most, not {shape}"
        )
    if not tensor.shape[2]:
        raise ValueError(f"{name} has no tokens: its shape is {shape}")
    if not tensor.numel():
        raise ValueError(f"{name} is empty: its shape is {shape}")
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        layer, head, n, _ = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"{name} holds NaN or infinite values, the first in layer {layer}, head {head}, "
            f"token {n}"
        )
    return tensor.clone(memory_format=torch.contiguous_format)


def _gammas(value: Any, n_layers: int, n_heads: int) -> Tensor:
    """(L, H) float64 of a number, of (H,) or of (L, H)."""
    gamma = _to_tensor("gamma", value)
    if gamma.is_complex() or gamma.dtype == torch.bool:
        raise ValueError(f"gamma must hold numbers, not {gamma.dtype}")
    if tuple(gamma.shape) not in ((), (n_heads,), (1, n_heads), (n_layers, n_heads)):
        raise ValueError(
            f"gamma must be one number, one for each of the {n_heads} heads, or those of each of "
            f"the {n_layers} layers, not of shape {tuple(gamma.shape)}; heads are the first axis "
            "of q (H, T, d)"
        )
    gammas = gamma.double().expand(n_layers, n_heads)
    for layer, head in (~((gammas > 0) & (gammas <= 1))).nonzero().tolist():
        raise ValueError(
            f"gamma must lie in (0, 1], not {gammas[layer, head].item()} as in layer {layer}, "
            f"head {head}"
        )
    return gammas.clone()


def _vocabulary(tokens: Sequence[str] | None, length: int) -> Vocabulary | None:
    """The texts of the tokens 0 .. T - 1, each of which is its own entry."""
    if tokens is None:
        return None
    is_list = isinstance(tokens, Sequence) and not isinstance(tokens, str)
    if not is_list or not all(isinstance(token, str) for token in tokens):
        raise ValueError("tokens must be a list of strings, one for each token")
    if len(tokens) != length:
        raise ValueError(f"tokens names {len(tokens)} tokens, but the tensors have {length}")
    return Vocabulary(tokens)


def _to_tensor(name: str, value: Any) -> Tensor:
    """Any array of numbers as a tensor on the CPU; a list of arrays is stacked."""
    if isinstance(value, (list, tuple)) and any(hasattr(item, "shape") for item in value):
        tensors = [_to_tensor(name, item) for item in value]
        shapes = sorted({tuple(item.shape) for item in tensors})
        if len(shapes) > 1:
            raise ValueError(f"the layers of {name} have different shapes: {shapes}")
        return torch.stack(tensors)
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        array = np.asarray(value)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no array of numbers: {error}") from error
