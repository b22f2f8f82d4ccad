"""The learning rate over the steps of a run, as a factor of its peak."""

import math

SCHEDULES = ("cosine", "stable")
MIN_FACTOR = 0.1  # the cosine's last value


def lr_factor(step: int, steps: int, warmup: int, schedule: str, decay_share: float) -> float:
    """A linear rise over `warmup` steps, then down from 1.

    "cosine" is a half cosine down to LEAST. "stable" stays at 1 and falls in a straight line to 0
    over the last `decay_share` of the steps (Hu et al. 2024, arXiv:2404.06395, section 4): the
    steps before do not depend on the length of the run, so that runs of several lengths can branch
    off from one.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "cosine":
        progress = (step - warmup) / max(1, steps - warmup)
        return MIN_FACTOR + (1 - MIN_FACTOR) / 2 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(1.0, max(0, steps - step) / max(1, steps - decay_start(steps, decay_share)))


def decay_start(steps: int, decay_share: float) -> int:
    """The first step of a "stable" run that has less than the whole rate."""
    return steps - round(steps * decay_share)
