"""A tiny RetNet that learns one of the tasks, step by step, and reports on the way.

Shapes: L layers, H heads, T tokens, G groups of lags (see `tasks.Task.groups`).

RetNet fixes gamma (section 2.4 of the paper). Here it may be set while the model trains, in all
layers at once, and a free head learns its half-life with the weights.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from retnet_viz.experiments.learning.learner import Learner, Record
from retnet_viz.experiments.learning.tasks import TASKS, Batch
from retnet_viz.experiments.learning.tiny_mamba import TinyMamba, TinyMambaReport
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import MultiScaleRetention

HEADS = 4
HALF_LIVES = (2.0, 8.0, 32.0, 128.0)  # tokens, of heads 0 .. 3
SHORTEST, LONGEST = 0.125, 1024.0  # half-lives in tokens: gamma 0.0039 and 0.9993
_BATCH = 32
_HELD_OUT = 128  # sequences
_ABLATED = 64  # of them, those that are read without a head
_GAMMA_RATE = 0.01  # octaves of half-life a step
_HELD_OUT_SEED = 2**32  # added to the seed: no training batch is drawn from it


@dataclass(frozen=True)
class Report:
    """What a model in training did on the held-out sequences after so many steps.

    step, tokens, seconds  what the training took; tokens are those read, answers among them
    records      the learning curve so far, this report's record last
    learned_at   (step, seconds) when the accuracy first reached LEARNED, None before
    by_group     accuracy for each group of lags, NaN where nothing is asked
    counts       number of answers in each group
    reads        (L, H, G) share of the magnitudes of a head's retention weights, at the positions
                 that ask, that lies on the source of the answer; mean over them
    half_lives   tokens, by head
    weights      (L, H, T, T) retention weights of the example, the first held-out sequence
    answers      (T, V) probabilities that the model gives for the example
    mamba        the report of the Mamba that learns from the same rows, where the task has one
    """

    step: int
    tokens: int
    seconds: float
    records: tuple[Record, ...]
    learned_at: tuple[int, float] | None
    by_group: tuple[float, ...]
    counts: tuple[int, ...]
    reads: Tensor
    half_lives: tuple[float, ...]
    weights: Tensor
    answers: Tensor
    mamba: TinyMambaReport | None = None

    @property
    def loss(self) -> float:
        """Mean loss on the held-out sequences, in nats per answer."""
        return self.records[-1].loss

    @property
    def accuracy(self) -> float:
        """Share of the held-out answers that are right."""
        return self.records[-1].accuracy


def gamma_of(half_life: float) -> float:
    """The decay per token that leaves half after `half_life` tokens."""
    return float(0.5 ** (1 / half_life))


def paper_half_lives() -> tuple[float, ...]:
    """The half-lives of the paper's schedule `1 - 2**(-5-h)` (equation 8)."""
    gammas = RetNetConfig(n_heads=HEADS, d_model=HEADS * 2).gammas()
    return tuple((math.log(0.5) / gammas.log()).tolist())


class TinyTraining:
    """One training run. Its methods may be called from several threads: each waits for a step.

    `seed` draws the weights and every batch, so that a run can be repeated: same seed, same
    numbers. `held_out` are sequences that are never trained on, `example` the first of them.
    """

    def __init__(self, task: str, seed: int = 0, half_lives: Sequence[float] = HALF_LIVES) -> None:
        """Raises ValueError on an unknown task, a seed below 0 or half-lives out of range."""
        if task not in TASKS:
            raise ValueError(f"task must be one of {tuple(TASKS)}, not {task!r}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}")
        if len(half_lives) != HEADS:
            raise ValueError(f"half_lives must be {HEADS} numbers, not {len(half_lives)}")
        self.task = TASKS[task]
        self.seed = seed
        self.seconds = 0.0
        self._lock = threading.RLock()
        self._generator = torch.Generator().manual_seed(seed)
        self.held_out = self.task.draw(
            _HELD_OUT, torch.Generator().manual_seed(_HELD_OUT_SEED + seed)
        )
        self._groups = self.task.group_of(self.held_out.lags)
        config = RetNetConfig(
            vocab_size=len(self.task.symbols),
            n_heads=HEADS,
            ffn_factor=2.0,
            tie_embeddings=False,
            **self.task.shape,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = RetNet(config)
        self._retentions = [m for m in self.model.modules() if isinstance(m, MultiScaleRetention)]
        self._octaves = torch.tensor(
            [math.log2(_check_half_life(value)) for value in half_lives], dtype=torch.float64
        ).requires_grad_()
        self._free: frozenset[int] = frozenset()
        self._use_gammas()
        self._learner = Learner(self.model, self.task.rate)
        self.mamba = None if self.task.mamba is None else TinyMamba(self.task, seed)
        self._gamma_optimizer = torch.optim.Adam([self._octaves], lr=_GAMMA_RATE)

    # -- the decay --------------------------------------------------------------------------

    @property
    def half_lives(self) -> tuple[float, ...]:
        """Tokens until half is left, by head."""
        return tuple(torch.exp2(self._octaves.detach()).tolist())

    @property
    def gammas(self) -> tuple[float, ...]:
        """The decay per token that the model uses, by head, the same in every layer."""
        return tuple(self._retentions[0].gamma.tolist())

    @property
    def free(self) -> frozenset[int]:
        """The heads whose half-life is learned; all others are frozen."""
        return self._free

    def set_half_life(self, head: int, tokens: float) -> None:
        """Set the half-life of a head in tokens, in all layers, from the next step on.

        Raises ValueError outside SHORTEST .. LONGEST, IndexError on a head that does not exist.
        """
        if not 0 <= head < HEADS:
            raise IndexError(f"head {head} is outside 0 .. {HEADS - 1}")
        octave = math.log2(_check_half_life(tokens))
        with self._lock, torch.no_grad():
            self._octaves[head] = octave
            self._use_gammas()

    def set_free(self, heads: Sequence[int]) -> None:
        """Learn the half-lives of these heads with the weights, and freeze the others."""
        with self._lock:
            self._free = frozenset(heads) & frozenset(range(HEADS))
            self._use_gammas()

    def _use_gammas(self) -> None:
        gammas = torch.exp2(-torch.exp2(-self._octaves))
        if not self._free:
            gammas = gammas.detach()
        for retention in self._retentions:
            retention.gamma = gammas

    # -- training ---------------------------------------------------------------------------

    @property
    def step_count(self) -> int:
        """Training steps so far."""
        return self._learner.step_count

    def step(self) -> float:
        """Take one training step on a new batch; the loss before it, in nats per answer.

        Raises TinyTrainingError where the loss is not a finite number; the model is as before then.
        """
        with self._lock, torch.enable_grad():
            start = time.perf_counter()
            batch = self.task.draw(_BATCH, self._generator)
            self._use_gammas()  # a graph of its own for every backward pass
            value = self._learner.step(batch)
            self._learn_gammas()
            self.seconds += time.perf_counter() - start
            if self.mamba is not None:
                self.mamba.step(batch)
            return value

    def _learn_gammas(self) -> None:
        gradient = self._octaves.grad
        if gradient is None:
            return
        with torch.no_grad():
            previous = self._octaves.clone()
            self._gamma_optimizer.step()
            for head in range(HEADS):  # Adam's momentum would move a frozen head too
                if head not in self._free:
                    self._octaves[head] = previous[head]
            self._octaves.clamp_(math.log2(SHORTEST), math.log2(LONGEST))
        self._gamma_optimizer.zero_grad(set_to_none=True)
        self._use_gammas()

    # -- observing --------------------------------------------------------------------------

    @property
    def example(self) -> Batch:
        """The first held-out sequence, (1, T)."""
        return self.held_out[:1]

    def report(self) -> Report:
        """Read the held-out sequences, and add a record to the learning curve."""
        with self._lock, torch.no_grad():
            weights: list[Tensor] = []

            def keep(name: str, tensor: Tensor) -> None:
                if name == "retention.weights":
                    weights.append(tensor)

            with listening(keep):
                logits = self.model(self.held_out.ids).logits
            is_correct = self._is_correct(logits, self.held_out)
            self._learner.record(logits, self.held_out, self.seconds)
            groups = range(len(self.task.groups))
            masks = [self._groups == group for group in groups]
            return Report(
                step=self.step_count,
                tokens=self.step_count * _BATCH * self.task.length,
                seconds=self.seconds,
                records=tuple(self._learner.records),
                learned_at=self._learner.learned_at,
                by_group=tuple(is_correct[mask].float().mean().item() for mask in masks),
                counts=tuple(int(mask.sum()) for mask in masks),
                reads=torch.stack([self._source_shares(layer, masks) for layer in weights]),
                half_lives=self.half_lives,
                weights=torch.stack([layer[0] for layer in weights]),
                answers=logits[0].softmax(-1),
                mamba=None if self.mamba is None else self.mamba.report(self.held_out, masks),
            )

    def without_heads(self, current: Callable[[], bool] = lambda: True) -> Tensor | None:
        """Accuracy with one head silent, minus the accuracy with all: (L, H, G), on some sequences.

        The head's columns of the output projection are zero for one pass; nothing is trained
        anew. None once `current()` is false, which is asked between two passes.
        """
        batch, groups = self.held_out[:_ABLATED], self._groups[:_ABLATED]
        masks = [groups == group for group in range(len(self.task.groups))]

        def accuracies(silent: tuple[int, int] | None) -> Tensor:
            with self._lock, torch.no_grad(), self._without_head(silent) as weights:
                logits = functional_call(self.model, weights, (batch.ids,)).logits
            is_correct = self._is_correct(logits, batch)
            return torch.stack([is_correct[mask].float().mean() for mask in masks])

        baseline = accuracies(None)
        differences = []
        for layer in range(len(self._retentions)):
            for head in range(HEADS):
                if not current():
                    return None
                differences.append(accuracies((layer, head)) - baseline)
        changes: Tensor = torch.stack(differences).unflatten(0, (-1, HEADS))
        return changes

    @contextmanager
    def _without_head(self, silent: tuple[int, int] | None) -> Iterator[dict[str, Tensor]]:
        """Weights in place of the model's, in which a head (layer, head) writes nothing."""
        if silent is None:
            yield {}
            return
        layer, head = silent
        name = f"blocks.{layer}.retention.out_proj.weight"
        width = self.model.config.value_dim
        weight = self.model.get_parameter(name).detach().clone()
        weight[:, head * width : (head + 1) * width] = 0
        yield {name: weight}

    def _is_correct(self, logits: Tensor, batch: Batch) -> Tensor:
        """(B, T) bool: where the likeliest token is the answer."""
        return logits.argmax(-1) == batch.targets

    def _source_shares(self, weights: Tensor, masks: list[Tensor]) -> Tensor:
        """(H, G) of one layer's retention weights (B, H, T, T)."""
        magnitude = weights.abs()
        share = magnitude / magnitude.sum(-1, keepdim=True).clamp(min=1e-30)
        position = torch.arange(self.task.length)
        source = (position - self.held_out.lags.clamp(min=0)).clamp(min=0)  # (B, T)
        index = source[:, None, :, None].expand(-1, HEADS, -1, 1)
        on_source = share.gather(-1, index)[..., 0]  # (B, H, T)
        return torch.stack([on_source.transpose(1, 2)[mask].mean(0) for mask in masks], -1)


def _check_half_life(half_life: float) -> float:
    if not SHORTEST <= half_life <= LONGEST:
        raise ValueError(
            f"a half-life must lie in {SHORTEST:g} .. {LONGEST:g} tokens, not {half_life!r}"
        )
    return half_life
