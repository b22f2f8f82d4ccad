"""One pass over a whole text: checks the memory, and captures all tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model import Output, RetNetState
from retnet_viz.model.observe import also_listening
from retnet_viz.trace.passes.budget import check_memory, trace_memory
from retnet_viz.trace.passes.capture import Capture, state_stride
from retnet_viz.trace.passes.external_tensors import ObservedModel


def capture_pass(
    model: ObservedModel, ids: Tensor, mode: str, chunk_size: int, start: RetNetState | None
) -> Capture:
    """Capture what `model` publishes while it reads ids (T,) after `start`; NotEnoughMemory if it
    is too much."""
    call = (model, len(ids), mode, chunk_size)
    check_memory(trace_memory(*call), *call)
    steps = len(ids) if mode == "recurrent" else -(-len(ids) // chunk_size)
    capture = Capture(state_stride(model, steps))
    with torch.no_grad(), also_listening(capture):
        forward(model, ids, mode, chunk_size, start)
    return capture


def version_of(model: ObservedModel) -> tuple[object, ...]:
    """What changes whenever a weight or a decay of the model does."""
    weights = (
        (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        for weight in model.parameters()
    )
    return (*weights, *(tuple(gamma.tolist()) for gamma in model.gammas))


def forward(
    model: ObservedModel, ids: Tensor, mode: str, chunk_size: int, start: RetNetState | None = None
) -> Output[RetNetState]:
    """The logits of ids (T,) after `start`, with a batch axis of 1, and the state after them."""
    batch = ids.to(model.device)[None]
    output: Output[RetNetState] = model(batch, start, mode=mode, chunk_size=chunk_size)
    return output
