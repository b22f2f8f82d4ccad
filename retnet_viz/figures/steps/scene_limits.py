"""What all steps of a head share: the schedule, and the ends of the colour scales."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from retnet_viz.figures.base.scale import ColorScale, color_scale
from retnet_viz.model.observe import listening
from retnet_viz.model.retention import retain
from retnet_viz.trace import Schedule, Trace, schedule

_TINY = float(np.finfo(np.float32).tiny)  # stands for a decay that has fallen to 0


@dataclass(frozen=True)
class HeadData:
    """The schedule of one head, and the largest and smallest numbers that any step shows."""

    schedule: Schedule
    limits: dict[str, float]
    largest_contribution: float
    smallest_decay: float


_memo: WeakKeyDictionary[Trace, dict[tuple[int, int], HeadData]] = WeakKeyDictionary()


def head_data(trace: Trace, layer: int, head: int) -> HeadData:
    """The data that the steps of one head share; computed once, and cached with the trace."""
    heads = _memo.setdefault(trace, {})
    if (layer, head) not in heads:
        k, v = trace.k(layer)[head].double(), trace.v(layer)[head].double()
        norms = torch.linalg.vector_norm(k, dim=-1) * torch.linalg.vector_norm(v, dim=-1)
        smallest = 1.0
        if trace.mode == "parallel":  # the others draw no decay
            smallest = trace.decay(layer, slice(trace.length - 1, None), slice(0, 1))[head].item()
        heads[layer, head] = HeadData(
            schedule=schedule(trace, layer, head),
            limits=_limits(trace, layer, head),
            largest_contribution=norms.max().item(),
            smallest_decay=smallest or _TINY,
        )
    return heads[layer, head]


def _limits(trace: Trace, layer: int, head: int) -> dict[str, float]:
    """The largest magnitude that any step shows on each colour scale.

    A scale per step would make the colours flicker, and hide that a state fades.
    """
    k, v = trace.k(layer)[head], trace.v(layer)[head]
    largest = {"values": _largest(v), "output": _largest(trace.head_output(layer)[head])}
    if trace.mode == "parallel":
        return largest | {"decay": 1.0, "weights": _largest(trace.scores(layer)[head])}
    # A trace keeps only some of the states, and its blocks of weights are slow to read: so the
    # form itself runs again, for this head alone.
    maxima = {"retention.state": 0.0, "retention.weights": 0.0}

    def look(name: str, tensor: Tensor) -> None:
        if name in maxima:
            maxima[name] = max(maxima[name], _largest(tensor))

    q, k, v = (x[None, head : head + 1] for x in (trace.q(layer), trace.k(layer), trace.v(layer)))
    with torch.no_grad(), listening(look):
        retain(q, k, v, trace.gamma(layer)[head : head + 1], None, trace.mode, trace.chunk_size)
    if trace.mode == "chunkwise":
        largest["output"] = max(
            largest["output"],
            *(_largest(accessor(layer)[head]) for accessor in (trace.inner, trace.cross)),
        )
        return largest | {
            "state": maxima["retention.state"],
            "weights": maxima["retention.weights"],
        }
    outer = (k.abs().amax(-1).float() * v.abs().amax(-1).float()).max().item()
    return largest | {"state": max(maxima["retention.state"], outer), "query": _largest(q)}


def _largest(values: Tensor) -> float:
    return values.abs().max().float().item()


def scales(limits: dict[str, float], kind: str, smallest_decay: float) -> dict[str, ColorScale]:
    """The colour scale of each limit; one of magnitudes, for the decay, down to the smallest."""
    return {
        name: color_scale(
            np.array([] if name != "decay" else [smallest_decay]),
            kind,
            signed=name != "decay",
            limit=limit,
        )
        for name, limit in limits.items()
    }
