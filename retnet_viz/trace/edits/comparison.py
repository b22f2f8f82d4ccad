"""A text before and after something was edited: what is predicted, and how well.

Shapes: T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from retnet_viz.trace.edits.edit import EditError

if TYPE_CHECKING:
    from retnet_viz.trace.views.observables import Trace


@dataclass(frozen=True, eq=False)  # tensors do not compare to a truth value
class Prediction:
    """What a pass predicts.

    logits         (T, vocab), of the token after each token
    probabilities  (T, vocab), softmax of them
    loss           (T - 1,), -ln of the probability of each token but the first, in nats
    """

    logits: Tensor
    loss: Tensor

    @cached_property
    def probabilities(self) -> Tensor:
        """(T, vocab), softmax of the logits."""
        return self.logits.softmax(dim=-1)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The predictions of one text `before`, by the base, and `after`, by the trace itself."""

    before: Prediction
    after: Prediction

    @property
    def loss_change(self) -> Tensor:
        """(T - 1,), the loss after less that before: above 0 where the edits do harm."""
        return self.after.loss - self.before.loss


def compare(trace: Trace, base: Trace) -> Comparison:
    """See `Trace.compare`."""
    if not torch.equal(trace.ids, base.ids):
        raise EditError("the two traces are of different texts, so their tokens do not compare")
    if trace.config.vocab_size != base.config.vocab_size:
        raise EditError("the two traces are of models with different vocabularies")
    return Comparison(*(Prediction(source.logits, source.loss) for source in (base, trace)))
