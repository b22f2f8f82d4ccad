"""A tiny Mamba that learns a task from the same rows as the tiny RetNet beside it.

RetNet's decay is the same for every token. Mamba computes it from the token (its selection): it may
ignore a token, or keep the state before it. Shapes: T tokens, S numbers of a layer's state, G
groups of lags.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.baselines import Mamba, MambaConfig
from retnet_viz.experiments.learning.learner import Learner, Record
from retnet_viz.experiments.learning.tasks import Batch, Task
from retnet_viz.experiments.token_reads import read


@dataclass(frozen=True)
class TinyMambaReport:
    """What the Mamba did on the held-out sequences.

    records, learned_at, by_group, answers  as in `tiny_training.Report`
    seconds       of training, without those of the RetNet
    n_parameters  trainable parameters
    decay         (layers, T, S): the factor of each number of the state at each token of the
                  example
    """

    seconds: float
    n_parameters: int
    records: tuple[Record, ...]
    learned_at: tuple[int, float] | None
    by_group: tuple[float, ...]
    answers: Tensor
    decay: Tensor

    @property
    def accuracy(self) -> float:
        """Share of the held-out answers that are right."""
        return self.records[-1].accuracy


class TinyMamba:
    """The Mamba and its training. Steps and reports come from one thread at a time."""

    def __init__(self, task: Task, seed: int) -> None:
        config = MambaConfig(
            vocab_size=len(task.symbols), tie_embeddings=False, **(task.mamba or {})
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = Mamba(config)
        self._learner = Learner(self.model, task.rate)
        self.seconds = 0.0

    def step(self, batch: Batch) -> float:
        """Learn from the batch that the RetNet has just learned from; the loss before it."""
        start = time.perf_counter()
        loss = self._learner.step(batch)
        self.seconds += time.perf_counter() - start
        return loss

    def report(self, held_out: Batch, masks: Sequence[Tensor]) -> TinyMambaReport:
        """Read the held-out sequences; `inside` (B, T) bool says where each group of lags is."""
        logits = self.model(held_out.ids).logits
        self._learner.record(logits, held_out, self.seconds)
        is_correct = logits.argmax(-1) == held_out.targets
        example = read(self.model, held_out.ids[0])
        return TinyMambaReport(
            seconds=self.seconds,
            n_parameters=self.model.n_parameters,
            records=tuple(self._learner.records),
            learned_at=self._learner.learned_at,
            by_group=tuple(is_correct[mask].float().mean().item() for mask in masks),
            answers=logits[0].softmax(-1),
            decay=torch.stack([example.decay(layer) for layer in range(example.n_layers)]),
        )
