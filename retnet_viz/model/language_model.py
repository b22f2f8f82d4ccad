"""What all language models here share: ids go in, logits and the state after them come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    `tokenizer` is set by whoever loads a checkpoint; the model itself never uses it.
    `no_weight_decay` has the endings of the names of matrices without weight decay.
    `stacked_matrices` has the endings of the names of parameters that hold several matrices, one
    above the other, and how many.
    """

    tokenizer: Any = None
    no_weight_decay: tuple[str, ...] = ()
    stacked_matrices: Mapping[str, int] = MappingProxyType({})
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
        """Read ids (B, T), T >= 1, after what `state` has read; `state` is not changed."""
        raise NotImplementedError

    def init_weights(self, residual_projections: tuple[str, ...]) -> None:
        """Draw normal weights of deviation 0.02, smaller for projections to the residual stream.

        `residual_projections` are the endings of their names; each of config.n_layers layers has
        one of every name.
        """
        count = len(residual_projections) * self.config.n_layers
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                scale = count**-0.5 if name.endswith(residual_projections) else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)


def token_ids(model: LanguageModel[Any], text: str | Tensor | Sequence[int]) -> Tensor:
    """The token ids (T,) int64 of a text, or of ids in a tensor, an array or a list.

    Raises ValueError, with a sentence, where there are none, one is not in the vocabulary, or the
    model has no tokenizer for a text.
    """
    if isinstance(text, str):
        if model.tokenizer is None:
            raise ValueError("this model has no tokenizer; pass token ids instead of a text")
        text = model.tokenizer.encode(text)
    if not isinstance(text, Tensor):
        try:
            text = torch.tensor(text) if len(text) else torch.empty(0, dtype=torch.long)
        except (TypeError, ValueError, RuntimeError):
            kind = type(text).__name__
            raise ValueError(
                f"a text must be a str, or token ids in a tensor, an array or a list, not {kind}"
            ) from None
    check_text(text, model.config.vocab_size)
    return text.long()


def check_text(ids: Tensor, vocab_size: int) -> None:
    """Raise ValueError, with a sentence, on ids that are no text of such a vocabulary."""
    if ids.dim() != 1 or ids.dtype not in (torch.int64, torch.int32):
        actual = f"{ids.dtype} of shape {tuple(ids.shape)}"
        raise ValueError(f"token ids must be whole numbers, int64 of shape (T,), not {actual}")
    if len(ids) == 0:
        raise ValueError("the text has no tokens; give at least one character")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise ValueError(f"token id {wrong} is outside the vocabulary 0 .. {vocab_size - 1}")


def check_ids(ids: Tensor, state: Tensor | None) -> None:
    """Raise ValueError, with a sentence, on ids that no forward pass can take.

    `state` is a tensor of the state, whose first axis is the batch, or None before the first token.
    """
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"ids must have shape (batch, length >= 1), not {tuple(ids.shape)}")
    if state is not None and state.shape[0] != ids.shape[0]:
        raise ValueError(f"the state is of {state.shape[0]} texts, but ids are {ids.shape[0]}")
