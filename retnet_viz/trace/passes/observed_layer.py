"""One layer of an observed pass: what it published, and by which mode.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from retnet_viz.trace.edits.layer_changes import LayerChanges
from retnet_viz.trace.passes.capture import LayerRecord, Record


@dataclass(frozen=True)
class ObservedLayer:
    """Layer `index` of a recorded pass, with gamma (H,) float64.

    `changes` are those that edits make to what tokens read and to the state, at positions of the
    text; a state that the text started from is added before token 0. None where there are none.
    All derived quantities of a layer are computed from this. Its properties raise RuntimeError
    where the record is outdated.
    """

    pass_record: Record
    index: int
    gamma: Tensor
    mode: str
    chunk_size: int
    length: int
    changes: LayerChanges | None = None

    @property
    def record(self) -> LayerRecord:
        """The record of this layer."""
        self.pass_record.check()
        return self.pass_record.layers[self.index]

    @property
    def q(self) -> Tensor:
        """(H, T, d_k), queries after rotation."""
        return self.record["retention.q"][0]

    @property
    def k(self) -> Tensor:
        """(H, T, d_k), keys after rotation."""
        return self.record["retention.k"][0]

    @property
    def v(self) -> Tensor:
        """(H, T, d_v), values."""
        return self.record["retention.v"][0]

    def key_value(self, n: int) -> tuple[Tensor, Tensor]:
        """k (1, H, 1, d_k) and v (1, H, 1, d_v) of token n."""
        return self.k[None, :, n : n + 1], self.v[None, :, n : n + 1]

    @property
    def output(self) -> Tensor:
        """(T, d), what the layer hands to the next."""
        return self.record["layer.output"][0]
