"""Computes what one layer published again, from the layer's input.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values, d that of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

import torch
from torch import Tensor

from retnet_viz.model import RetNet
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import Positions, RetNetBlock

STRETCH = 2048  # tokens that are read at once, if a chunk is no longer than that
# Names that are read together are recomputed together. The last name of each row is the one after
# which the layer can stop.
_NAME_GROUPS = {
    name: (names, last_name)
    for *names, last_name in (
        ("retention.q", "retention.k", "retention.k"),
        ("retention.v", "retention.v"),
        ("retention.output", "retention.output"),
        ("retention.normed", "retention.gate", "retention.gate"),
        ("retention.inner", "retention.cross", "retention.output"),
    )
    for name in names
}


class LayerRecompute:
    """Runs a layer again in chunkwise form, in stretches as a pass in that mode runs it.

    Equal to the last bit to a chunkwise pass that read the whole text at once, and to any pass to
    rounding; token by token it would take ten times as long. `given(layer, start, stop)` is
    the input of the layer, (stop - start, d). The tensors of the last layer are cached.
    """

    def __init__(
        self,
        model: RetNet,
        chunk_size: int,
        layer_input: Callable[[int, int, int], Tensor],
    ) -> None:
        self._model = model
        self._chunk_size = chunk_size
        self._layer_input = layer_input
        self.forget()

    def forget(self) -> None:
        """Drop the cached tensors: the text has changed."""
        self._layer = -1
        self._tensors: dict[str, Tensor] = {}

    def __call__(self, layer: int, name: str, length: int) -> Tensor:
        """What a layer published under a name: (T, ...) or (H, T, ...) of the T = `length` tokens.

        Raises KeyError on a name under which the layer publishes nothing for each token.
        """
        if layer != self._layer:
            self.forget()
            self._layer = layer
        if name not in self._tensors:
            self._tensors |= self._run(layer, *_NAME_GROUPS[name], length)
        return self._tensors[name]

    def _run(
        self, layer: int, names: Collection[str], last_name: str, length: int
    ) -> dict[str, Tensor]:
        config = self._model.config
        block = self._model.blocks[layer]
        assert isinstance(block, RetNetBlock)
        collector = Collector(names, length, last_name)
        stretch = stretch_length(self._chunk_size)
        for start in range(0, length, stretch):
            x = self._layer_input(layer, start, min(start + stretch, length))[None]
            positions = Positions.of(config, start, x.shape[1], x)
            with torch.no_grad(), listening(collector), suppress(EarlyExit):
                x = block.retention_input(x)
                block.retention(x, positions, collector.state, "chunkwise", self._chunk_size)
        return collector.tensors


class EarlyExit(Exception):
    """All tensors are collected, so the layer need not run to its end."""


class Collector:
    """A listener (see model.observe) that joins what is published under some names: T rows each.

    `state` is the last state published. After `last_name` it ends the run with `EarlyExit`.
    """

    def __init__(self, names: Collection[str], length: int, last_name: str | None = None) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.state: Tensor | None = None
        self._row_counts = dict.fromkeys(names, 0)
        self._length = length
        self._last_name = last_name

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Append a published tensor, without its batch axis, to the rows before it."""
        if name == "retention.state":
            self.state = tensor
        if name in self._row_counts:
            self._add(name, tensor.detach()[0])
        if name == self._last_name:
            raise EarlyExit

    def _add(self, name: str, rows: Tensor) -> None:
        if name not in self.tensors:
            shape = list(rows.shape)
            shape[-2] = self._length
            self.tensors[name] = rows.new_empty(shape)
        at = self._row_counts[name]
        self._row_counts[name] = at + rows.shape[-2]
        self.tensors[name].narrow(-2, at, rows.shape[-2]).copy_(rows)


def stretch_length(step: int) -> int:
    """How many tokens a stretch has: a multiple of `step`, about STRETCH."""
    return max(1, STRETCH // step) * step
