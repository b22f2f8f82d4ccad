"""The learning rate over the steps of a run."""

import math


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear rise over `warmup` steps, then a half cosine from `peak` down to a tenth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress))))
