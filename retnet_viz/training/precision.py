"""Which precision a model trains fastest in on this machine, and how fast.

Some processors multiply numbers of 16 bits much faster than of 32. Others emulate it: there a run
in bfloat16 takes twenty times as long.
"""

from __future__ import annotations

import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from retnet_viz.model import LanguageModel, RetNet
from retnet_viz.training.run import TrainingConfig

TOKENS = 128  # per row
ROWS = 4  # enough to be as fast per row as many are
RUNS = 3
MAX_SLOWDOWN = 3.0  # times as slow on one row: not tried on more


@dataclass(frozen=True)
class Pace:
    """The precision of a run, the reason for it, and about how many tokens a second it reads."""

    precision: str
    reason: str
    tokens_per_second: float


def half_precision(config: TrainingConfig) -> AbstractContextManager[Any]:
    """Products in bfloat16, where the run has that precision."""
    if config.precision == "bfloat16":
        return torch.autocast(config.device, torch.bfloat16)
    return nullcontext()


def fastest_precision(model: LanguageModel[Any], config: TrainingConfig) -> Pace:
    """The precision of `config`; for "auto" the faster one, measured in a second or two.

    The model is left as it was.
    """
    probe = _Probe(model, config)
    if config.precision != "auto":
        rate = probe.tokens_per_second(config.precision)
        return Pace(config.precision, f"training in {config.precision}", rate)
    full, half = probe.time_row("float32"), probe.time_row("bfloat16")
    if half < MAX_SLOWDOWN * full:
        times = [(probe.time_rows("float32"), probe.time_rows("bfloat16")) for _ in range(RUNS)]
        full, half = (statistics.median(seconds) for seconds in zip(*times, strict=True))
    best, other = ("float32", "bfloat16") if full <= half else ("bfloat16", "float32")
    ratio = max(full, half) / min(full, half)
    reason = f"training in {best}: {other} takes {ratio:.1f} times as long here"
    return Pace(best, reason, probe.tokens_per_second(best))


class _Probe:
    """Times steps without the optimizer, on rows of one repeated token."""

    def __init__(self, model: LanguageModel[Any], config: TrainingConfig) -> None:
        self.model = model
        self.config = config
        self.length = min(TOKENS, config.context)

    def tokens_per_second(self, precision: str) -> float:
        """Tokens a second."""
        row_seconds = self.time_row(precision)
        # A slow row is enough; else the faster of two, as the first step of a shape takes longer.
        n_rows = min(ROWS, self.config.batch_size)
        seconds = row_seconds
        if row_seconds <= 1:
            seconds = min(self.time_rows(precision), self.time_rows(precision)) / n_rows
        return self.length / seconds

    def time_row(self, precision: str) -> float:
        """Seconds of one row, with a warm-up where that is quick."""
        first = self._time_step(precision, 1)
        return min(first, self._time_step(precision, 1)) if first < 1 else first

    def time_rows(self, precision: str) -> float:
        """Seconds of ROWS rows, or of as many as a step has."""
        return self._time_step(precision, min(ROWS, self.config.batch_size))

    def _time_step(self, precision: str, count: int) -> float:
        config, model = replace(self.config, precision=precision), self.model
        training = model.training
        ids = torch.zeros(count, self.length, dtype=torch.long, device=config.device)
        kwargs: dict[str, Any] = {}
        if isinstance(model, RetNet):
            kwargs = {"mode": "chunkwise", "chunk_size": config.chunk_size}
        model.train()
        start = time.perf_counter()
        with half_precision(config):
            logits = model(ids, **kwargs).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = next(model.parameters()).grad
        assert gradient is not None
        gradient.flatten()[0].item()  # waits until the device is done
        seconds = time.perf_counter() - start
        model.zero_grad(set_to_none=True)
        model.train(training)
        return seconds
