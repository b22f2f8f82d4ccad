"""The two parts of a layer's head outputs: from inside each token's chunk, and from the state.

Shapes: T tokens, H heads, d_v the width of a head's values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.observe import listening
from retnet_viz.model.retention import chunkwise
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.passes.recompute import Gathered

_PARTS = ("retention.inner", "retention.cross")


class ChunkParts:
    """The parts of the layers of one trace, (H, T, d_v) each, kept once they were made.

    Of a mode that has no chunks, those of one layer: they are two of the largest tensors.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Tensor] = {}

    def of(self, layer: ObservedLayer, name: str) -> Tensor:
        """The part that is published as `name`."""
        if layer.mode == "chunkwise":
            parts = layer.record[name]
            if len(parts) == 1:
                return parts[0]
            if (name, layer.index) not in self._kept:
                self._kept[name, layer.index] = torch.cat(list(parts), dim=-2)
        elif (name, layer.index) not in self._kept:
            self._kept.clear()
            gathered = Gathered(_PARTS, layer.length)
            q, k, v = (x[None] for x in (layer.q, layer.k, layer.v))
            with torch.no_grad(), listening(gathered):
                chunkwise(q, k, v, layer.gamma, None, layer.chunk_size)
            self._kept |= {(part, layer.index): made for part, made in gathered.tensors.items()}
        return self._kept[name, layer.index]
