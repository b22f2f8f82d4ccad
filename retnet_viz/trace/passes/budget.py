"""How much memory an observation will need, computed before it runs.

Shapes: T tokens, H heads, L layers, B the chunk size, d_k and d_v the widths of a head's keys and
values. A plane needs T x T numbers a head; everything else grows with T alone.
"""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from retnet_viz.model import CHUNK_SIZE
from retnet_viz.trace.passes import incremental
from retnet_viz.trace.passes.capture import state_stride
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.passes.growable_buffer import with_spare
from retnet_viz.trace.passes.incremental import RECENT, block_bytes, row_bytes
from retnet_viz.trace.passes.recompute import stretch_length


class NotEnoughMemory(MemoryError):
    """An observation would hold more than the machine has free; the message says what would not."""


def live_memory(
    model: ObservedModel,
    length: int,
    mode: str = "chunkwise",
    chunk_size: int = CHUNK_SIZE,
    keep_logits: int | None = 4096,
) -> int:
    """Bytes of tensors that a `Live` of `length` tokens holds at its peak, beyond the weights.

    In parallel mode those of two planes (scores, weights) a layer and head, and of one (decay) that
    the layers share; in the other modes O(T). What an accessor of its trace derives or replays
    later comes on top.
    """
    if length == 0:
        return 0
    if mode == "parallel":
        return trace_memory(model, length, mode, chunk_size)
    config, item = model.config, _item(model)
    step = FORMS[mode].stride(length, chunk_size)
    steps, stretch = -(-length // step), min(length, stretch_length(step))
    all_rows = row_bytes(model, mode) * length <= incremental.ROW_BUDGET
    blocks = block_bytes(model, step, length)
    stride = 1 << (state_stride(model, steps) - 1).bit_length()
    logit_rows = length if keep_logits is None else min(length, keep_logits)
    return (
        row_bytes(model, mode, all_rows) * with_spare(length)
        + (blocks if blocks <= incremental.BLOCK_BUDGET else 0)
        + min(steps, -(-steps // stride) + RECENT) * _state_bytes(model)
        + with_spare(logit_rows) * config.vocab_size * item
        + max(
            4 * _activation_bytes(model, stretch),
            _chunk_at_work(model, min(step, stretch)),
            stretch * config.vocab_size * item,
        )
    )


def trace_memory(
    model: ObservedModel, length: int, mode: str = "parallel", chunk_size: int = CHUNK_SIZE
) -> int:
    """The same for a `trace`, which keeps everything that the pass publishes."""
    config, item = model.config, _item(model)
    step = min(length, FORMS[mode].stride(length, chunk_size))
    steps = -(-length // step)
    planes = 0 if mode == "recurrent" else block_bytes(model, step, length)
    return (
        (row_bytes(model, mode) + config.d_model * item) * length
        + planes
        + -(-steps // state_stride(model, steps)) * _state_bytes(model)
        + length * config.vocab_size * item
        + 2 * _activation_bytes(model, length)
    )


def check_memory(
    needed_bytes: int,
    model: ObservedModel,
    length: int,
    mode: str,
    chunk_size: int,
    available: int | None = None,
) -> None:
    """Raise NotEnoughMemory, with what to do, where `needed_bytes` are more than
    are available.

    `available` is by default what the machine has free.
    """
    if available is None:
        available = available_memory(model.device)
    if needed_bytes <= available:
        return
    config = model.config
    has = f"{_size(needed_bytes)}, and this machine has {_size(available)} free"
    heads = f"{config.n_heads} heads x 2 planes (scores, weights) of"
    if mode == "parallel":
        raise NotEnoughMemory(
            f"Parallel mode would hold {config.n_layers} layers x {heads} {length:,} x {length:,} "
            f"numbers: {has}. Chunkwise and recurrent mode give the same result in O(T) memory."
        )
    chunk = min(chunk_size, length)
    if mode == "chunkwise" and 3 * config.n_heads * chunk**2 * _item(model) > needed_bytes / 2:
        raise NotEnoughMemory(
            f"A chunk would need {heads} {chunk:,} x {chunk:,} numbers: {has}. A smaller chunk "
            "size gives the same result in less memory."
        )
    raise NotEnoughMemory(
        f"{FORMS[mode].label} mode would hold what {length:,} tokens have in {config.n_layers} "
        f"layers: {has}. A shorter text needs less, in proportion."
    )


def available_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that are free where the tensors of a model live."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(int(psutil.virtual_memory().available), group_memory())


def group_memory(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that a container may still use; without a limit, more than any machine has."""
    try:
        limit = int((folder / "memory.max").read_text())
        current = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        files = dict(line.split() for line in lines).get("inactive_file", "0")
    except (OSError, ValueError):  # no such group, or "max"
        return 2**63
    return limit - current + int(files)  # copies of files make way when memory is short


def _activation_bytes(model: ObservedModel, tokens: int) -> int:
    """Bytes of one tensor of each width, which a layer makes several of and nobody keeps."""
    config = model.config
    return (config.d_model + config.n_heads * config.value_dim) * tokens * _item(model)


def _chunk_at_work(model: ObservedModel, size: int) -> int:
    """Bytes of the three planes of one chunk, of which a layer at work holds no more."""
    return 3 * model.config.n_heads * _item(model) * size**2


def _state_bytes(model: ObservedModel) -> int:
    """Bytes of one state of all layers: float32 at least."""
    config = model.config
    size = config.n_heads * config.head_dim * config.value_dim
    return config.n_layers * size * max(4, _item(model))


def _item(model: ObservedModel) -> int:
    return model.dtype.itemsize


def _size(count: int) -> str:
    """1,100 GB, 3.2 GB or 120 MB."""
    if count < 1e9:
        return f"{max(0, count) / 1e6:,.0f} MB"
    return f"{count / 1e9:,.{1 if count < 1e10 else 0}f} GB"
