"""A tiny Mamba that learns a task from the same rows as the tiny RetNet beside it.

RetNet's decay is the same for every token. Mamba's is made from the token (its selection): it may
let a token pass without a trace, or hold what stands before it. Shapes: T tokens, S numbers of a
layer's state, G groups of lags.
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

    records, learned_at, by_group, answers  as in `practice.Report`
    seconds       of training, without those of the RetNet
    n_parameters  numbers that are learned
    decay         (layers, T, S): the share that each token of the example leaves of each number of
                  the state before it
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

    def report(self, held_out: Batch, inside: Sequence[Tensor]) -> TinyMambaReport:
        """Read the held-out sequences; `inside` (B, T) bool says where each group of lags is."""
        logits = self.model(held_out.ids).logits
        self._learner.record(logits, held_out, self.seconds)
        right = logits.argmax(-1) == held_out.targets
        example = read(self.model, held_out.ids[0])
        return TinyMambaReport(
            seconds=self.seconds,
            n_parameters=self.model.n_parameters,
            records=tuple(self._learner.records),
            learned_at=self._learner.learned_at,
            by_group=tuple(right[each].float().mean().item() for each in inside),
            answers=logits[0].softmax(-1),
            decay=torch.stack([example.decay(layer) for layer in range(example.n_layers)]),
        )
