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

TOKENS = 128  # of the rows that are read and learned from
ROWS = 4  # which are as fast, each, as many are
RUNS = 3
HOPELESS = 3.0  # times as slow on one row: not tried on more


@dataclass(frozen=True)
class Pace:
    """The precision that a run has, why, and how many tokens a second it reads about."""

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
        return Pace(
            config.precision, f"training in {config.precision}", probe.rate(config.precision)
        )
    full, half = probe.row("float32"), probe.row("bfloat16")
    if half < HOPELESS * full:
        times = [(probe.rows("float32"), probe.rows("bfloat16")) for _ in range(RUNS)]
        full, half = (statistics.median(found) for found in zip(*times, strict=True))
    best, other = ("float32", "bfloat16") if full <= half else ("bfloat16", "float32")
    ratio = max(full, half) / min(full, half)
    reason = f"training in {best}: {other} takes {ratio:.1f} times as long here"
    return Pace(best, reason, probe.rate(best))


class _Probe:
    """Times steps without the optimizer, on rows of a single token that comes again."""

    def __init__(self, model: LanguageModel[Any], config: TrainingConfig) -> None:
        self.model = model
        self.config = config
        self.length = min(TOKENS, config.context)

    def rate(self, precision: str) -> float:
        """Tokens a second."""
        one = self.row(precision)
        # A row says enough where it takes long; the first steps of a kind take longer than others.
        rows = min(ROWS, self.config.batch_size)
        seconds = one if one > 1 else min(self.rows(precision), self.rows(precision)) / rows
        return self.length / seconds

    def row(self, precision: str) -> float:
        """Seconds of one row, read once before where that is quick."""
        first = self._seconds(precision, 1)
        return min(first, self._seconds(precision, 1)) if first < 1 else first

    def rows(self, precision: str) -> float:
        """Seconds of ROWS rows, or of as many as a step has."""
        return self._seconds(precision, min(ROWS, self.config.batch_size))

    def _seconds(self, precision: str, count: int) -> float:
        config, model = replace(self.config, precision=precision), self.model
        training = model.training
        ids = torch.zeros(count, self.length, dtype=torch.long, device=config.device)
        how: dict[str, Any] = {}
        if isinstance(model, RetNet):
            how = {"mode": "chunkwise", "chunk_size": config.chunk_size}
        model.train()
        start = time.perf_counter()
        with half_precision(config):
            logits = model(ids, **how).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = next(model.parameters()).grad
        assert gradient is not None
        gradient.flatten()[0].item()  # waits until the device is done
        seconds = time.perf_counter() - start
        model.zero_grad(set_to_none=True)
        model.train(training)
        return seconds
