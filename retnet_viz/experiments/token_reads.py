"""One text through models of several kinds: which tokens each token reads, and how strongly.

    softmax attention   softmax(Q Kᵀ / √d_k): every row is non-negative and sums to 1
    retention           Q Kᵀ ⊙ D: signed, with a decay γⁿ⁻ᵐ that the text does not change
    hidden attention    the matrix that unrolling Mamba's recurrence gives (Ali et al. 2024,
                        arXiv:2403.01590): signed, with a decay that Δ makes from the text

Shapes: T tokens, P planes of a layer (heads; of a Mamba one, the mean over all channels), S numbers
of a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from retnet_viz.baselines import Mamba, Transformer
from retnet_viz.baselines.hidden_attention import decay, hidden_attention
from retnet_viz.model import LanguageModel, RetNet
from retnet_viz.model.language_model import token_ids
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace, trace


@dataclass(eq=False)  # tensors do not compare to a truth value
class TokenReads:
    """A model's pass over a text. The weights of a layer are computed on first use, then cached."""

    model: LanguageModel[Any]
    kind: str  # of the weights, one of the three above
    planes: Sequence[str]  # names of a layer's planes
    ids: Tensor  # (T,)
    logits: Tensor  # (T, vocab)
    _make_weights: Callable[[int], Tensor] = field(repr=False)
    _make_decay: Callable[[int], Tensor] = field(repr=False)
    _weights: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def length(self) -> int:
        """T, the number of tokens."""
        return len(self.ids)

    @property
    def n_layers(self) -> int:
        """Number of layers; they are counted from 0."""
        count: int = self.model.config.n_layers
        return count

    def weights(self, layer: int) -> Tensor:
        """(P, T, T): entry (n, m) is what token n reads of token m, 0 where m > n.

        Raises IndexError where the model has no such layer.
        """
        self._check(layer)
        if layer not in self._weights:
            self._weights[layer] = self._make_weights(layer).float()
        return self._weights[layer]

    def decay(self, layer: int) -> Tensor:
        """(T, S): the factor of each number of the state at each token.

        A RetNet has γ of each head, the same for all tokens, a Mamba exp(Δ A) of each channel and
        number, a Transformer no state that decays. Raises IndexError as `weights` does.
        """
        self._check(layer)
        return self._make_decay(layer)

    def has(self, layer: int) -> bool:
        """Whether the weights of a layer are computed already."""
        return layer in self._weights

    def piece(self, token_id: int) -> str:
        """The text of a token of the vocabulary."""
        text: str = self.model.tokenizer.piece(token_id)
        return text

    def pieces(self, start: int, stop: int) -> list[str]:
        """The text of tokens start .. stop - 1."""
        return [self.piece(token_id) for token_id in self.ids[start:stop].tolist()]

    def logits_after(self, position: int) -> Tensor:
        """(vocab,) what the model expects after a token."""
        return self.logits[position]

    def _check(self, layer: int) -> None:
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} is outside 0 .. {self.n_layers - 1}")


def half_life(shares: Tensor) -> Tensor:
    """The tokens over which a state decays to half if each token multiplies it by its share.

    ln 0.5 / ln share: 0 where the share is 0, infinite where it is 1.
    """
    return math.log(2) / shares.double().log().abs()


def read(model: LanguageModel[Any], text: str | Tensor | Sequence[int]) -> TokenReads:
    """Run a model over a text, or over token ids (T,), and record the inputs of its weights.

    Raises ValueError where the text has no tokens or an id is not in the vocabulary, TypeError on a
    model of another kind.
    """
    ids = token_ids(model, text)
    if isinstance(model, RetNet):
        return of_trace(trace(model, ids))
    if isinstance(model, Transformer):
        return _softmax_attention(model, ids)
    if isinstance(model, Mamba):
        return _hidden_attention(model, ids)
    raise TypeError(f"nothing is known of what a {type(model).__name__} reads")


def of_trace(source: Trace) -> TokenReads:
    """What a RetNet reads, from a trace; TypeError where the trace has no RetNet."""
    if not isinstance(source.model, RetNet):
        raise TypeError("a trace without a model is of no model's reading")
    return TokenReads(
        source.model,
        "retention",
        _heads(source.n_heads),
        source.ids,
        source.logits,
        source.retention,
        lambda layer: source.gamma(layer).expand(source.length, source.n_heads),
    )


def _softmax_attention(model: Transformer, ids: Tensor) -> TokenReads:
    published = _record(model, ids, "attention.q", "attention.k")
    future = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)

    def weights(layer: int) -> Tensor:
        q, k = (published[f"attention.{name}"][layer] for name in "qk")  # (H, T, d_k)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        attention: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1)
        return attention

    return TokenReads(
        model,
        "softmax attention",
        _heads(model.config.n_heads),
        ids,
        published["logits"][0],
        weights,
        lambda layer: torch.empty(len(ids), 0),
    )


def _hidden_attention(model: Mamba, ids: Tensor) -> TokenReads:
    published = _record(model, ids, "mamba.delta", "mamba.b", "mamba.c")
    rates = [-block.get_parameter("A_log").detach().float().exp() for block in model.blocks]

    def weights(layer: int) -> Tensor:
        delta, b, c = (published[f"mamba.{name}"][layer] for name in ("delta", "b", "c"))
        return hidden_attention(delta, rates[layer], b, c)[None]

    return TokenReads(
        model,
        "hidden attention",
        ("channel mean",),
        ids,
        published["logits"][0],
        weights,
        lambda layer: decay(published["mamba.delta"][layer], rates[layer]).flatten(1),
    )


def _record(model: LanguageModel[Any], ids: Tensor, *names: str) -> dict[str, list[Tensor]]:
    """The tensors that a pass publishes under these names, one per layer, and the logits."""
    published: dict[str, list[Tensor]] = {name: [] for name in (*names, "logits")}

    def record(name: str, tensor: Tensor) -> None:
        if name in published:
            published[name].append(tensor[0].cpu())

    with torch.no_grad(), listening(record):
        model(ids[None].to(model.embedding.weight.device))
    return published


def _heads(count: int) -> list[str]:
    return [f"head {head}" for head in range(count)]
