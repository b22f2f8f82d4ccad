"""A RetNet on the weights of another, with what edits change of it.

Shapes as in `model.retnet`: B batch, T tokens, H heads, d_k and d_v the widths of a head's keys and
values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retnet_viz.model import CHUNK_SIZE, Output, RetNet, RetNetState
from retnet_viz.model.observe import Editor, editing
from retnet_viz.model.retention import retain
from retnet_viz.model.retnet import MultiScaleRetention, Positions, RetNetBlock
from retnet_viz.model.shared_weights import share_weights
from retnet_viz.trace.edits.edit import Edit
from retnet_viz.trace.edits.edited_forms import retain_edited
from retnet_viz.trace.edits.layer_changes import LayerChanges


@dataclass(frozen=True, eq=False)
class LayerEdits:
    """What is changed of one layer.

    gamma      (H,) float64
    without    part -> (H,) bool, the heads that do without it; see `edits.without`
    constants  (H, d_v), in the place of a head's normed output; NaN where the head speaks
    changes    of what tokens read and of the state, at absolute positions
    """

    gamma: Tensor
    without: Mapping[str, Tensor]
    constants: Tensor | None
    changes: LayerChanges


class EditedRetention(MultiScaleRetention):
    """`MultiScaleRetention` on the parameters of another, with edits.

    It remembers the keys and values of tokens that are forgotten or not read later on, so a text
    may come in several calls.
    """

    def __init__(self, source: MultiScaleRetention, edits: LayerEdits) -> None:
        nn.Module.__init__(self)
        self.config = source.config
        self.q_proj, self.k_proj, self.v_proj = source.q_proj, source.k_proj, source.v_proj
        self.g_proj, self.out_proj = source.g_proj, source.out_proj
        self.head_norm_weight = source.head_norm_weight
        self.edits = edits
        self.gamma = edits.gamma
        self._remembered: dict[int, tuple[Tensor, Tensor]] = {}

    def project(self, x: Tensor, positions: Positions) -> tuple[Tensor, Tensor, Tensor]:
        """As of the original; heads without rotation are rotated by angles of 0."""
        q, k, v = super().project(x, positions)
        if (heads := self.edits.without.get("rotation")) is None:
            return q, k, v
        cos, sin = torch.ones_like(positions.cos), torch.zeros_like(positions.sin)
        straight_q, straight_k, _ = super().project(x, Positions(cos, sin, positions.start))
        mask = heads.to(q.device)[:, None, None]
        return torch.where(mask, straight_q, q), torch.where(mask, straight_k, k), v

    def retain(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        start: int,
        state: Tensor | None,
        mode: str,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        """As of the original, with the changes of what tokens read and of the state."""
        changes = self.edits.changes
        if not changes:
            return retain(q, k, v, self.gamma, state, mode, chunk_size)
        for n in changes.remembered():
            if start <= n < start + k.shape[-2]:
                token = slice(n - start, n - start + 1)
                self._remembered[n] = k[:, :, token].clone(), v[:, :, token].clone()
        return retain_edited(
            q, k, v, self.gamma, state, mode, chunk_size, changes, start,
            self._remembered.__getitem__,
        )  # fmt: skip

    def normalize(self, heads: Tensor, start: int = 0) -> Tensor:
        """As of the original; raw outputs of heads without a norm, constants of silent ones."""
        normed = super().normalize(heads, start)
        if (mask := self.edits.without.get("head_norm")) is not None:
            scaled = self.config.variant.normalize_decay(heads, self.gamma, start)
            if self.head_norm_weight is not None:
                scaled = scaled * self.head_norm_weight
            normed = torch.where(mask.to(heads.device)[:, None, None], scaled, normed)
        if self.edits.constants is not None:
            constants = self.edits.constants.to(normed)[:, None]
            normed = torch.where(constants.isnan(), normed, constants)
        return normed

    def gate(self, x: Tensor, normed: Tensor) -> Tensor:
        """As of the original; 1 for heads without a gate."""
        gate = super().gate(x, normed)
        if (heads := self.edits.without.get("gate")) is None:
            return gate
        mask = heads.to(gate.device).repeat_interleave(self.config.value_dim)
        return torch.where(mask, torch.ones_like(gate), gate)


class EditedRetNet(RetNet):
    """A RetNet on the weights of `model`, which is not changed, that runs with `edits`.

    `layers` are the edits as each layer takes them; `patch`, if there is one, makes an editor (see
    model.observe) for a pass from a position on, in a mode and chunk size.
    """

    def __init__(
        self,
        model: RetNet,
        edits: Sequence[Edit],
        layers: Sequence[LayerEdits],
        patch: Callable[[int, str, int], Editor] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        vars(self).update(vars(share_weights(model)))
        for block, layer_edits in zip(self.blocks, layers, strict=True):
            assert isinstance(block, RetNetBlock)
            block.retention = EditedRetention(block.retention, layer_edits)
        self.edits = tuple(edits)
        self._original = (model,)  # in a tuple, so that it is no part of this one
        self.layer_edits = list(layers)
        self._patch = patch

    def forward(
        self,
        ids: Tensor,
        state: RetNetState | None = None,
        mode: str = "parallel",
        chunk_size: int = CHUNK_SIZE,
    ) -> Output[RetNetState]:
        """As RetNet.forward, with the edits."""
        start = 0 if state is None else state.position
        with self.patched(start, mode, chunk_size):
            return super().forward(ids, state, mode, chunk_size)

    @property
    def original(self) -> RetNet:
        """The model without the edits."""
        return self._original[0]

    def patched(self, start: int, mode: str, chunk_size: int) -> AbstractContextManager[None]:
        """A `with` block in which a pass from position `start` on goes on with patched tensors."""
        if self._patch is None:
            return nullcontext()
        return editing(self._patch(start, mode, chunk_size))

    def oldest_needed(self, position: int) -> int:
        """The token from which to run so that a pass can go on at `position`.

        One that is forgotten, or not read, later on has to be read by this pass.
        """
        first = position
        for layer in self.layer_edits:
            for change in layer.changes.states:
                if change.token is not None and change.start >= position:
                    first = min(first, change.token)
            for cut in layer.changes.cuts:
                if cut.reader >= position:
                    first = min(first, cut.read)
        return first
