"""What a forward pass published: the very tensors that the pass used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from retnet_viz.trace.passes.external_tensors import ObservedModel

# A state per token is d_k * d_v floats per head, by far the largest thing a recurrent pass
# publishes. Beyond this many bytes every n-th is kept and those between are replayed on demand.
STATE_BUDGET = 64 * 2**20


class LayerRecord(Protocol):
    """What a `Trace` reads of one layer; `states` holds at least every `stride`-th step."""

    @property
    def states(self) -> Mapping[int, Tensor]:
        """step -> S (H, d_k, d_v) after that step."""

    @property
    def last_state(self) -> Tensor:
        """S (H, d_k, d_v) after the last token."""

    @property
    def stride(self) -> int:
        """How many steps lie between two kept states."""

    @property
    def steps(self) -> int:
        """How many steps the layer took."""

    def __getitem__(self, name: str) -> Sequence[Tensor]:
        """What was published under a name, one item per step or all steps in one."""


class Record(Protocol):
    """What a `Trace` reads of a forward pass."""

    @property
    def layers(self) -> Sequence[LayerRecord]:
        """One record per layer."""

    @property
    def logits(self) -> Tensor:
        """(T - first_logits, vocab)."""

    @property
    def first_logits(self) -> int:
        """The token whose logits are the first that were kept."""

    @property
    def keeps_blocks(self) -> bool:
        """Whether the scores, decay and weights that the mode computed were kept."""

    @property
    def keeps_rows(self) -> bool:
        """Whether the layers' tensors of each token were kept; else they are recomputed."""

    def check(self) -> None:
        """Raise RuntimeError where the text has changed since the pass."""


class LayerCapture:
    """The tensors that one layer published, in order, by name; one list entry per step."""

    def __init__(self) -> None:
        self.tensors: dict[str, list[Tensor]] = {}
        self.states: dict[int, Tensor] = {}  # step -> S after that step, without the batch axis
        self.steps = 0
        self.stride = 1

    def __getitem__(self, name: str) -> list[Tensor]:
        return self.tensors[name]

    def add(self, name: str, tensor: Tensor) -> None:
        """Keep a published tensor, dropping its batch axis."""
        tensor = tensor.detach()
        if name == "retention.decay":  # (H, T, T): has no batch axis
            self.tensors.setdefault(name, []).append(tensor)
        elif name == "retention.state":
            if self.steps % self.stride == 0:
                self.states[self.steps] = tensor[0]
            self.last_state = tensor[0]
            self.steps += 1
        else:
            self.tensors.setdefault(name, []).append(tensor[0])


class Capture:
    """A listener (see model.observe) that keeps everything, layer by layer.

    Of the states every `stride`-th one; see `state_stride`.
    """

    logits: Tensor
    first_logits = 0
    keeps_blocks = True
    keeps_rows = True

    def __init__(self, stride: int) -> None:
        self.layers: list[LayerCapture] = []
        self._stride = stride

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Keep a published tensor with the layer that published it."""
        if name == "logits":
            self.logits = tensor.detach()[0]
        elif name != "embedding":  # belongs to no layer, and is the first layer's input
            if name == "layer.input":
                self.layers.append(LayerCapture())
                self.layers[-1].stride = self._stride
            self.layers[-1].add(name, tensor)

    def check(self) -> None:
        """Nothing to check: a capture is of one pass for good."""


def state_stride(model: ObservedModel, steps: int) -> int:
    """Of how many states one is kept, so that those of `steps` steps fit into STATE_BUDGET."""
    config = model.config
    state_bytes = max(4, model.dtype.itemsize)
    state_bytes *= config.n_heads * config.head_dim * config.value_dim
    return max(1, -(-config.n_layers * steps * state_bytes // STATE_BUDGET))
