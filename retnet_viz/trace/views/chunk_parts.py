"""The two parts of a layer's head outputs: from inside each token's chunk, and from the state.

Shapes: T tokens, H heads, d_v the width of a head's values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retnet_viz.model.observe import listening
from retnet_viz.model.retention import chunkwise
from retnet_viz.trace.edits.edited_forms import retain_edited
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.passes.recompute import Collector

_PARTS = ("retention.inner", "retention.cross")


class ChunkParts:
    """A cache of the parts of a trace's layers, (H, T, d_v) each.

    In a mode without chunks it holds one layer's parts only, because they are large.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], Tensor] = {}

    def of(self, layer: ObservedLayer, name: str) -> Tensor:
        """The part that is published as `name`."""
        if layer.mode == "chunkwise":
            parts = layer.record[name]
            if len(parts) == 1:
                return parts[0]
            if (name, layer.index) not in self._parts:
                self._parts[name, layer.index] = torch.cat(list(parts), dim=-2)
        elif (name, layer.index) not in self._parts:
            self._parts.clear()
            collector = Collector(_PARTS, layer.length)
            q, k, v = (x[None] for x in (layer.q, layer.k, layer.v))
            with torch.no_grad(), listening(collector):
                if layer.changes is None:
                    chunkwise(q, k, v, layer.gamma, None, layer.chunk_size)
                else:
                    retain_edited(
                        q, k, v, layer.gamma, None, "chunkwise", layer.chunk_size, layer.changes,
                        0, layer.key_value,
                    )  # fmt: skip
            self._parts |= {(part, layer.index): x for part, x in collector.tensors.items()}
        return self._parts[name, layer.index]
