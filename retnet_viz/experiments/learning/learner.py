"""A tiny model that takes training steps, and its learning curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from retnet_viz.experiments.learning.tasks import IGNORE_INDEX, Batch
from retnet_viz.model import LanguageModel

LEARNED = 0.95  # the accuracy from which on a task counts as learned
MAX_RECORDS = 400
_WARMUP, _CLIP = 20, 1.0


class TinyTrainingError(RuntimeError):
    """The training cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Record:
    """A point of the learning curve.

    `train_loss` is the mean loss of the steps since the last record, NaN where there was none;
    `loss` and `accuracy` are on the held-out sequences. Losses in nats per answer.
    """

    step: int
    train_loss: float
    loss: float
    accuracy: float


class Learner:
    """A model, its optimizer, and how well it did so far.

    step_count  training steps taken
    records     the learning curve
    learned_at  (step, seconds) when the accuracy first reached LEARNED, None before
    """

    def __init__(self, model: LanguageModel[Any], rate: float) -> None:
        self.model = model
        self.rate = rate
        self.step_count = 0
        self.records: list[Record] = []
        self.learned_at: tuple[int, float] | None = None
        self._losses: list[float] = []
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )

    def step(self, batch: Batch) -> float:
        """Learn from a batch; the loss before it, in nats per answer.

        Raises TinyTrainingError where the loss is not a finite number; the model is as before then.
        """
        loss = loss_of(self.model(batch.ids).logits, batch)
        value = loss.item()
        if not math.isfinite(value):
            raise TinyTrainingError(
                f"The loss is no number any more at step {self.step_count}. "
                "Reset, or take another seed."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, (self.step_count + 1) / _WARMUP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step_count += 1
        self._losses.append(value)
        return value

    def record(self, logits: Tensor, held_out: Batch, seconds: float) -> None:
        """Add a point to the learning curve, from the logits of sequences never trained on."""
        is_correct = logits.argmax(-1) == held_out.targets
        accuracy = is_correct[held_out.is_query].float().mean().item()
        train_loss = sum(self._losses) / len(self._losses) if self._losses else math.nan
        self._losses = []
        if self.records and self.records[-1].step == self.step_count:
            train_loss = self.records.pop().train_loss  # no step since, but gamma may be another
        loss = loss_of(logits, held_out).item()
        self.records.append(Record(self.step_count, train_loss, loss, accuracy))
        if len(self.records) > MAX_RECORDS:  # the first and the last stay
            self.records = [*self.records[:-1:2], self.records[-1]]
        if self.learned_at is None and accuracy >= LEARNED:
            self.learned_at = (self.step_count, seconds)


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross entropy of the answers, nats."""
    return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE_INDEX)
