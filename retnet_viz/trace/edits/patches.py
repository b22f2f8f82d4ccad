"""Tensors that a pass publishes, and other values in their places.

Shapes: T tokens, H heads, d = d_model, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model import RetNetConfig
from retnet_viz.model.observe import Editor
from retnet_viz.trace.edits.edit import EditError, Patch
from retnet_viz.trace.passes.forms import FORMS


@dataclass(frozen=True)
class Published:
    """What a pass publishes under a name, without its batch axis.

    axes          the names of its axes
    modes         the modes that compute it for every token
    side_by_side  its heads are one axis, (T, H * d_v), though `axes` has them first
    """

    axes: tuple[str, ...]
    modes: tuple[str, ...] = ("parallel", "recurrent", "chunkwise")
    side_by_side: bool = False

    @property
    def has_layers(self) -> bool:
        """Whether there is one in every layer."""
        return self.axes[-1] not in ("embedding", "vocabulary")

    @property
    def has_heads(self) -> bool:
        """Whether it has a part for every head."""
        return self.axes[0] == "heads"


PUBLISHED = {
    "embedding": Published(("tokens", "embedding")),
    "layer.input": Published(("tokens", "d")),
    "retention.q": Published(("heads", "tokens", "keys")),
    "retention.k": Published(("heads", "tokens", "keys")),
    "retention.v": Published(("heads", "tokens", "values")),
    "retention.scores": Published(("heads", "tokens", "sources"), ("parallel",)),
    "retention.decay": Published(("heads", "tokens", "sources"), ("parallel",)),
    "retention.weights": Published(("heads", "tokens", "sources"), ("parallel",)),
    "retention.state": Published(("heads", "keys", "values"), ("recurrent", "chunkwise")),
    "retention.inner": Published(("heads", "tokens", "values"), ("chunkwise",)),
    "retention.cross": Published(("heads", "tokens", "values"), ("chunkwise",)),
    "retention.output": Published(("heads", "tokens", "values")),
    "retention.normed": Published(("heads", "tokens", "values"), side_by_side=True),
    "retention.gate": Published(("heads", "tokens", "values"), side_by_side=True),
    "layer.output": Published(("tokens", "d")),
    "logits": Published(("tokens", "vocabulary")),
}


def check_patch(config: RetNetConfig, patch: Patch, length: int) -> None:
    """Raise EditError where there is no such tensor, or the value does not fit into it."""
    if patch.name not in PUBLISHED:
        raise EditError(
            f"edits.patch: a pass publishes {', '.join(PUBLISHED)}, and no {patch.name!r}"
        )
    published = PUBLISHED[patch.name]
    if patch.layer is not None and not published.has_layers:
        raise EditError(f"edits.patch: {patch.name} belongs to no layer; leave layer out")
    if patch.head is not None and not published.has_heads:
        raise EditError(f"edits.patch: {patch.name} has no heads; leave head out")
    if patch.name == "retention.state" and patch.position is None:
        raise EditError("edits.patch: a state is that after one token; name its position")
    patch_value(config, patch, length)


def check_mode(patch: Patch, mode: str, chunk_size: int, length: int) -> None:
    """Raise EditError where the mode does not compute what is to be replaced."""
    modes = PUBLISHED[patch.name].modes
    if mode not in modes:
        raise EditError(
            f"edits.patch: {mode} mode does not compute {patch.name} of every token, so another "
            f"value has no place in it; {' and '.join(modes)} mode can be patched"
        )
    if patch.name == "retention.state" and patch.position is not None and mode == "chunkwise":
        step = FORMS[mode].stride(length, chunk_size)
        if (patch.position + 1) % step and patch.position + 1 < length:
            raise EditError(
                f"edits.patch: chunkwise mode computes the state after each chunk of {step} "
                f"tokens, and not after token {patch.position}; recurrent mode does"
            )


def patch_value(config: RetNetConfig, patch: Patch, length: int) -> Tensor:
    """The value with all axes of the tensor: as many heads as are named, one token or all.

    Raises EditError where it does not broadcast to the part that is replaced.
    """
    heads = range(config.n_heads) if patch.head is None else patch.head
    sizes = {
        "heads": len(heads),
        "tokens": length if patch.position is None else 1,
        "sources": length,
        "keys": config.head_dim,
        "values": config.value_dim,
        "d": config.d_model,
        "embedding": config.d_model,
        "vocabulary": config.vocab_size,
    }
    axes = PUBLISHED[patch.name].axes
    is_one = {"heads": len(heads) == 1, "tokens": patch.position is not None}
    shape = tuple(sizes[axis] for axis in axes)
    part = tuple(sizes[axis] for axis in axes if not is_one.get(axis, False))
    for selected in (part, shape):
        try:
            return torch.broadcast_to(patch.value, selected).reshape(shape)
        except RuntimeError:
            continue
    raise EditError(
        f"edits.patch: the part of {patch.name} that is replaced has the shape {part}, and the "
        f"value has {patch.shape}"
    )


def make_patcher(
    config: RetNetConfig, patches: Sequence[Patch], offset: int, length: int
) -> Callable[[int, str, int], Editor] | None:
    """Makes the editor of a pass from a position on; None where nothing is patched.

    The text has `length` tokens, the first at the position `offset`.
    """
    if not patches:
        return None
    values = [(patch, patch_value(config, patch, length)) for patch in patches]

    def editor(start: int, mode: str, chunk_size: int) -> Editor:
        return _Patcher(config, values, start - offset, FORMS[mode].stride(length, chunk_size))

    return editor


class _Patcher:
    """An editor (see model.observe) that puts the values of patches where they belong.

    It counts the layers and the tokens of what is published; `start` is the first token.
    """

    def __init__(
        self,
        config: RetNetConfig,
        values: Sequence[tuple[Patch, Tensor]],
        start: int,
        stride: int,
    ) -> None:
        self._config = config
        self._values = values
        self._start = self._stop = start  # of the segment that is read
        self._stride = stride
        self._layer = -1
        self._counts: dict[str, int] = {}  # tokens of the segment that a layer published already

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor that the pass goes on with: a copy where something is replaced in it."""
        if name == "embedding":
            self._layer = -1
            self._start, self._stop = self._stop, self._stop + tensor.shape[1]
        elif name == "layer.input":
            self._layer += 1
            self._counts.clear()
        if name == "logits":  # those of all segments at once
            first, length = self._stop - tensor.shape[1], tensor.shape[1]
        else:
            first = self._start + self._counts.get(name, 0)
            is_state = name == "retention.state"
            length = min(self._stride, self._stop - first) if is_state else tensor.shape[-2]
            self._counts[name] = self._counts.get(name, 0) + length
        result = tensor
        for patch, value in self._values:
            if patch.name == name and (patch.layer is None or self._layer in patch.layer):
                if result is tensor:
                    result = tensor.clone()
                self._write(result, patch, value, first, length)
        return result

    def _write(self, result: Tensor, patch: Patch, value: Tensor, first: int, length: int) -> None:
        """Put the value's rows of tokens first .. first + length - 1 into `result`."""
        published, position = PUBLISHED[patch.name], patch.position
        rows = slice(None)  # of all axes but the heads
        if position is None:
            value = value.narrow(published.axes.index("tokens"), first, length)
        elif patch.name == "retention.state":
            if position != first + length - 1:
                return
        elif first <= position < first + length:
            rows = slice(position - first, position - first + 1)
        else:
            return
        part = result if patch.name == "retention.decay" else result[0]  # that has no batch axis
        if published.side_by_side:
            part = part.unflatten(-1, (self._config.n_heads, -1)).transpose(0, 1)
        if not published.has_heads:
            part[rows] = value.to(part)
            return
        heads = range(self._config.n_heads) if patch.head is None else patch.head
        for head, rows_of_head in zip(heads, value.to(part), strict=True):
            part[head, rows] = rows_of_head
