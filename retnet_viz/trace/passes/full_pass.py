"""One pass over a whole text: the ids checked, the memory foreseen, all of it captured."""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model import Output, RetNetState
from retnet_viz.model.observe import overhearing
from retnet_viz.trace.passes.budget import check_memory, foreseen_once
from retnet_viz.trace.passes.capture import Capture, state_stride
from retnet_viz.trace.passes.external_tensors import Observed


def captured(model: Observed, ids: Tensor, mode: str, chunk_size: int) -> Capture:
    """All that `model` publishes while it reads ids (T,); NotEnoughMemory where it is too much."""
    call = (model, len(ids), mode, chunk_size)
    check_memory(foreseen_once(*call), *call)
    steps = len(ids) if mode == "recurrent" else -(-len(ids) // chunk_size)
    capture = Capture(state_stride(model, steps))
    with torch.no_grad(), overhearing(capture):
        forward(model, ids, mode, chunk_size)
    return capture


def forward(model: Observed, ids: Tensor, mode: str, chunk_size: int) -> Output[RetNetState]:
    """The logits of ids (T,), with a batch axis of 1, and the state after them."""
    batch = ids.to(model.device)[None]
    output: Output[RetNetState] = model(batch, mode=mode, chunk_size=chunk_size)
    return output


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Raise ValueError, with a sentence, on ids that are no text of such a vocabulary."""
    if not isinstance(ids, Tensor):
        raise ValueError(f"a text must be a str or a LongTensor of ids, not {type(ids).__name__}")
    if ids.dim() != 1 or ids.dtype not in (torch.int64, torch.int32):
        found = f"{ids.dtype} of shape {tuple(ids.shape)}"
        raise ValueError(f"token ids must be a LongTensor of shape (T,), not {found}")
    if len(ids) == 0:
        raise ValueError("the text has no tokens; give at least one character")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise ValueError(f"token id {wrong} is outside the vocabulary 0 .. {vocab_size - 1}")
