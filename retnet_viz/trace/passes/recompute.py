"""What one layer published, had again from what was given to it.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values, d that of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

import torch
from torch import Tensor

from retnet_viz.model import RetNet
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import Place, RetNetBlock

STRETCH = 2048  # tokens that are read at once, if a chunk is no longer than that
# A name is had together with those that are hardly ever asked for without it; and the name after
# which a layer need not go on.
_TOGETHER = {
    name: (names, enough)
    for *names, enough in (
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
    rounding; token by token it would take ten times as long. `given(layer, start, stop)` is what
    the layer was given, (stop - start, d). The tensors of the layer asked for last are kept.
    """

    def __init__(
        self,
        model: RetNet,
        chunk_size: int,
        given: Callable[[int, int, int], Tensor],
    ) -> None:
        self._model = model
        self._chunk_size = chunk_size
        self._given = given
        self.forget()

    def forget(self) -> None:
        """Let go of what was replayed: the text is another one."""
        self._layer = -1
        self._kept: dict[str, Tensor] = {}

    def __call__(self, layer: int, name: str, length: int) -> Tensor:
        """What a layer published under a name: (T, ...) or (H, T, ...) of the T = `length` tokens.

        Raises KeyError on a name under which the layer publishes nothing for each token.
        """
        if layer != self._layer:
            self.forget()
            self._layer = layer
        if name not in self._kept:
            self._kept |= self._run(layer, *_TOGETHER[name], length)
        return self._kept[name]

    def _run(
        self, layer: int, names: Collection[str], enough: str, length: int
    ) -> dict[str, Tensor]:
        config = self._model.config
        block = self._model.blocks[layer]
        assert isinstance(block, RetNetBlock)
        gathered = Gathered(names, length, enough)
        stretch = whole_steps(self._chunk_size)
        for start in range(0, length, stretch):
            x = self._given(layer, start, min(start + stretch, length))[None]
            place = Place.of(config, start, x.shape[1], x)
            with torch.no_grad(), listening(gathered), suppress(Enough):
                x = block.retention_input(x)
                block.retention(x, place, gathered.state, "chunkwise", self._chunk_size)
        return gathered.tensors


class Enough(Exception):
    """All that was asked for has been published: what the layer would go on to do is not needed."""


class Gathered:
    """A listener (see model.observe) that joins what is published under some names, T rows each.

    `state` is the last state published. After the name `enough` it ends the run with `Enough`.
    """

    def __init__(self, names: Collection[str], length: int, enough: str | None = None) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.state: Tensor | None = None
        self._filled = dict.fromkeys(names, 0)
        self._length = length
        self._enough = enough

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Put a published tensor, without its batch axis, after what was published before."""
        if name == "retention.state":
            self.state = tensor
        if name in self._filled:
            self._add(name, tensor.detach()[0])
        if name == self._enough:
            raise Enough

    def _add(self, name: str, part: Tensor) -> None:
        if name not in self.tensors:
            shape = list(part.shape)
            shape[-2] = self._length
            self.tensors[name] = part.new_empty(shape)
        at = self._filled[name]
        self._filled[name] = at + part.shape[-2]
        self.tensors[name].narrow(-2, at, part.shape[-2]).copy_(part)


def whole_steps(step: int) -> int:
    """Tokens of a stretch that is made of whole steps of so many tokens."""
    return max(1, STRETCH // step) * step
