"""How far the three modes are apart on one text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences of a trace from the same text in the other two modes.

    `logits` and `outputs` (the output of every layer) hold one figure per other mode; `scale` is
    the largest absolute logit, to judge the differences by.
    """

    logits: dict[str, float]
    outputs: dict[str, float]
    scale: float

    @property
    def worst(self) -> float:
        """The largest of all differences."""
        return max(*self.logits.values(), *self.outputs.values())
