"""What a forward pass published, kept as it was: the very tensors that the pass used."""

from __future__ import annotations

from torch import Tensor

# A state per token is d_k * d_v floats per head, by far the largest thing a recurrent pass
# publishes. Beyond this many bytes every n-th is kept and those between are replayed on demand.
STATE_BUDGET = 64 * 2**20


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

    `steps` is the number of states that each layer is expected to publish; it decides how many of
    them fit into STATE_BUDGET.
    """

    def __init__(self, n_layers: int, state_bytes: int, steps: int) -> None:
        self.layers: list[LayerCapture] = []
        self.logits: Tensor | None = None
        self._stride = max(1, -(-n_layers * steps * state_bytes // STATE_BUDGET))

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Keep a published tensor with the layer that published it."""
        if name == "logits":
            self.logits = tensor.detach()[0]
        elif name != "embedding":  # belongs to no layer, and is the first layer's input
            if name == "layer.input":
                self.layers.append(LayerCapture())
                self.layers[-1].stride = self._stride
            self.layers[-1].add(name, tensor)
