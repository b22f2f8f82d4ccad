"""The cost of one more token for each of several models, measured while they generate in turns.

At every position the models take turns, a few tokens each, so that other load on the machine
affects all of them alike. To reach the next position they read random tokens many at a time, as
they would read a prompt: the cost of a step does not depend on the tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model import LanguageModel, RetNet

FIRST = 32  # tokens before the first measured step
STEPS = 32  # tokens generated at a position, at most
TURN = 8  # tokens per turn of a model
PREFILL_LENGTH = 128  # tokens read at once: between two prefills the measurement can be stopped


@dataclass(frozen=True)
class Point:
    """The cost of one more token for a model that has read `position` tokens.

    milliseconds  median of `steps` tokens, generated one after the other from there
    state_bytes   of the model's state, before the first of them
    """

    position: int
    milliseconds: float
    steps: int
    state_bytes: int


def positions(reach: int) -> tuple[int, ...]:
    """Where to measure: 32, 48, 64, 96, ... up to `reach`, which is the last one.

    Raises ValueError where `reach` is below the first.
    """
    if reach < FIRST:
        raise ValueError(f"reach must be {FIRST} or more, not {reach}")
    powers = [FIRST * 2**i for i in range((reach // FIRST).bit_length())]
    return tuple(
        sorted({p for power in powers for p in (power, power * 3 // 2) if p < reach} | {reach})
    )


@torch.inference_mode()
def generation_cost(
    models: Mapping[str, LanguageModel[Any]],
    reach: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    seed: int = 0,
) -> Iterator[dict[str, Point]]:
    """A Point of every model at each of the `positions(reach)`, as soon as it is measured.

    Each model continues with its own likeliest tokens, one per call of `forward`, the same way for
    all; `generate` steps a RetNet faster than that, through its Stepper. `progress(done, total)`
    counts the tokens read or generated, of all models together. An exception that it raises ends
    the measurement, and so does closing the iterator.
    """
    places = positions(reach)
    counter = _Counter(progress, len(models) * (reach + STEPS))
    runs = {name: _Generation(model, seed) for name, model in models.items()}
    for position, following in zip(places, [*places[1:], reach + STEPS], strict=True):
        for run in runs.values():
            run.read(position - run.position, counter)
        before = {name: run.state.nbytes for name, run in runs.items()}
        steps = min(STEPS, following - position)
        seconds_by_name: dict[str, list[float]] = {name: [] for name in runs}
        while any(len(seconds) < steps for seconds in seconds_by_name.values()):
            for name, run in runs.items():
                for _ in range(min(TURN, steps - len(seconds_by_name[name]))):
                    seconds_by_name[name].append(run.step())
                    counter.add(1)
        yield {
            name: Point(position, 1000 * statistics.median(seconds), steps, before[name])
            for name, seconds in seconds_by_name.items()
        }


class _Counter:
    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, tokens: int) -> None:
        self._done += tokens
        self._progress(self._done, self._total)


class _Generation:
    """One model, and its state in the middle of a text."""

    def __init__(self, model: LanguageModel[Any], seed: int) -> None:
        self.model = model
        self.state: Any = model.empty_state()
        self._token: Tensor = torch.empty(0)
        self._random = torch.Generator().manual_seed(seed)
        is_retnet = isinstance(model, RetNet)
        self._prefill_arguments = {"mode": "chunkwise"} if is_retnet else {}
        self._step_arguments = {"mode": "recurrent"} if is_retnet else {}

    @property
    def position(self) -> int:
        return int(self.state.position)

    def read(self, count: int, counter: _Counter) -> None:
        """Read random tokens, a piece at a time."""
        while count > 0:
            length = min(PREFILL_LENGTH, count)
            size = (1, length)
            ids = torch.randint(self.model.config.vocab_size, size, generator=self._random)
            self._forward(ids.to(self.model.embedding.weight.device), self._prefill_arguments)
            counter.add(length)
            count -= length

    def step(self) -> float:
        """Generate one token: the seconds that it took."""
        start = time.perf_counter()
        self._forward(self._token[:, None], self._step_arguments)
        return time.perf_counter() - start

    def _forward(self, ids: Tensor, arguments: dict[str, Any]) -> None:
        output = self.model(ids, self.state, **arguments)
        self.state, self._token = output.state, output.logits[:, -1].argmax(dim=-1)
        self._token.tolist()  # waits until a graphics card is done


def crossover(growing: Sequence[Point], steady: Sequence[Point]) -> int | None:
    """The first position from which on every measured step of `growing` took longer than the other.

    Both are measured at the same positions, in order. None where the last step did not.
    """
    first = None
    for slow, fast in zip(reversed(growing), reversed(steady), strict=True):
        if slow.milliseconds <= fast.milliseconds:
            break
        first = slow.position
    return first
