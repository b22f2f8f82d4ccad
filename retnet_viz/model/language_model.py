"""What all language models here share: ids go in, logits and the state after them come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn


class State(Protocol):
    """All that a model keeps of the text so far."""

    position: int  # tokens read

    @property
    def nbytes(self) -> int:
        """Bytes that the states of all layers take."""
        ...


S = TypeVar("S", bound=State)


@dataclass
class Output(Generic[S]):
    """logits (B, T, vocab) and the state after the last token."""

    logits: Tensor
    state: S = field(repr=False)


class LanguageModel(nn.Module, Generic[S]):
    """Token ids (B, T) -> logits (B, T, vocab), and a state to go on from.

    `tokenizer` is set by whoever loads a checkpoint; the model itself never uses it. `undecayed`
    are endings of names of matrices that weight decay leaves alone, and `stacked` are those of
    parameters that hold several matrices, one above the other, with their number.
    """

    tokenizer: Any = None
    undecayed: tuple[str, ...] = ()
    stacked: Mapping[str, int] = MappingProxyType({})
    config: Any
    embedding: nn.Embedding
    head: nn.Linear

    @property
    def n_parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored as."""
        return self.embedding.weight.dtype

    def empty_state(self) -> S:
        """The state before the first token."""
        raise NotImplementedError

    def forward(self, ids: Tensor, state: S | None = None) -> Output[S]:
        """Read ids (B, T), T >= 1, after what `state` has read; the given state is not changed."""
        raise NotImplementedError

    def draw_matrices(self, writing: tuple[str, ...]) -> None:
        """Normal weights of deviation 0.02, smaller where a layer writes to the residual stream.

        `writing` are the endings of the names of those that write, in config.n_layers layers with
        as many writes each.
        """
        writes = len(writing) * self.config.n_layers
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                scale = writes**-0.5 if name.endswith(writing) else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)


def check_ids(ids: Tensor, read: Tensor | None) -> None:
    """Raise ValueError, with a sentence, on ids that no forward pass can take.

    `read` is a tensor of the state, whose first axis is the batch, or None before the first token.
    """
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"ids must have shape (batch, length >= 1), not {tuple(ids.shape)}")
    if read is not None and read.shape[0] != ids.shape[0]:
        raise ValueError(f"the state is of {read.shape[0]} texts, but ids are {ids.shape[0]}")
