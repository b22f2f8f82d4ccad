"""How far the three modes are apart on one text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from retnet_viz.trace.passes.external_tensors import ExternalTensors

if TYPE_CHECKING:
    from retnet_viz.trace.views.observables import Trace


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences of a trace from the same text in the other two modes.

    `logits` and `outputs` (the output of every layer) hold one figure per other mode; `scale` is
    the largest absolute logit, to judge the differences by. Where there is no model `logits` is
    empty, `outputs` is of what the heads retained, and `scale` the largest of that.
    """

    logits: dict[str, float]
    outputs: dict[str, float]
    scale: float

    @property
    def worst(self) -> float:
        """The largest of all differences."""
        return max(*self.logits.values(), *self.outputs.values())


def compare_traces(trace: Trace, others: dict[str, Trace]) -> Agreement:
    """Compare a trace with those of the same text in other modes."""
    has_model = not isinstance(trace.model, ExternalTensors)

    def outputs(source: Trace) -> list[Tensor]:
        accessor = source.output if has_model else source.head_output
        return [accessor(layer) for layer in range(source.n_layers)]

    own = outputs(trace)
    return Agreement(
        logits={mode: _difference(trace.logits, other.logits) for mode, other in others.items()}
        if has_model
        else {},
        outputs={
            mode: max(_difference(*pair) for pair in zip(own, outputs(other), strict=True))
            for mode, other in others.items()
        },
        scale=max(x.abs().max().item() for x in ([trace.logits] if has_model else own)),
    )


def _difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()
