"""The models that the speed benchmark compares: RetNets and a Transformer, with one interface.

All have 4 layers of 12 d² weights, give or take 1 %, d = 256, 4 heads and a vocabulary of 4,096.
yet-another-retnet has values as wide as its keys, so its feed-forward is wider; that of torchscale
is gated, so it is narrower. Weights are random: they do not change what is computed.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retnet_viz.baselines import KVCache, Transformer, TransformerConfig, TransformerState
from retnet_viz.model import RetNet, RetNetConfig, RetNetState, Stepper

CONFIG = RetNetConfig()
CHUNK_SIZES = (64, 128, 256)
MIDDLE_CHUNK = CHUNK_SIZES[1]  # where only one size is run, because each takes long
ATTENTION = "Transformer, KV cache"
COMPILED = "retnet_viz, compiled"
HALF = "retnet_viz, bfloat16"


class Contender(ABC):
    """A model that reads ids (1, T) to logits, and goes on from a position token by token."""

    modes: tuple[str, ...] = ("parallel", "chunkwise")
    chunk_sizes: tuple[int, ...] = CHUNK_SIZES  # of which the fastest counts
    model: Any

    @abstractmethod
    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""

    def plain(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """`forward` without torch.compile."""
        return self.forward(ids, mode, chunk_size)

    @abstractmethod
    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens, with room for `steps` more.

        The state is random: what a step costs does not depend on what was read.
        """

    @abstractmethod
    def step(self, token: int) -> Tensor:
        """Read one more token: the logits of the next."""


class Ours(Contender):
    """retnet_viz, in float32 or another precision."""

    modes: tuple[str, ...] = ("parallel", "recurrent", "chunkwise")

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.model = RetNet(CONFIG).eval().to(dtype)

    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""
        logits: Tensor = self.model(ids, mode=mode, chunk_size=chunk_size).logits
        return logits

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens."""
        shape = (1, CONFIG.n_heads, CONFIG.head_dim, CONFIG.value_dim)
        layers: list[Tensor | None] = [torch.randn(shape) for _ in range(CONFIG.n_layers)]
        self.stepper = Stepper(self.model, RetNetState(layers, position))

    def step(self, token: int) -> Tensor:
        """Read one more token: the logits of the next."""
        return self.stepper.step(token)


class Compiled(Ours):
    """retnet_viz through torch.compile, which translates anew for each length and chunk size."""

    modes = ("chunkwise",)
    chunk_sizes = (MIDDLE_CHUNK,)

    def __init__(self, compiler: Callable[..., Any] = torch.compile) -> None:
        super().__init__()
        self._compiler = compiler
        self._forward = compiler(self.model)
        self._has_begun = False

    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""
        logits: Tensor = self._forward(ids, mode=mode, chunk_size=chunk_size).logits
        return logits

    def plain(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """`forward` without torch.compile."""
        return super().forward(ids, mode, chunk_size)

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens."""
        if not self._has_begun:  # another stepper would be translated anew
            super().begin(position, steps)
            self.stepper = Stepper(self.model, self.stepper.state, self._compiler)
            self._has_begun = True
        self.stepper.position = position


class Attention(Contender):
    """A plain Transformer with scaled_dot_product_attention; its room is there beforehand."""

    modes = ("parallel",)

    def __init__(self) -> None:
        self.model = Transformer(TransformerConfig()).eval()

    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""
        logits: Tensor = self.model(ids).logits
        return logits

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens, with room for `steps` more."""
        config = self.model.config
        shape = (2, 1, config.n_heads, position + steps, config.head_dim)
        layers: list[KVCache | None] = [
            KVCache(torch.randn(shape), position) for _ in range(config.n_layers)
        ]
        self.state = TransformerState(layers, position)

    def step(self, token: int) -> Tensor:
        """Read one more token: the logits of the next."""
        output = self.model(torch.tensor([[token]]), self.state)
        self.state = output.state
        logits: Tensor = output.logits[0, 0]
        return logits


class YetAnotherRetNet(Contender):
    """yet-another-retnet 0.5: a text is read chunk by chunk through all layers."""

    def __init__(self) -> None:
        from yet_another_retnet.retnet import RetNet as Peer

        d, layers, heads = CONFIG.d_model, CONFIG.n_layers, CONFIG.n_heads
        self.model = Peer(
            CONFIG.vocab_size,
            d_model=d,
            nhead=heads,
            num_layers=layers,
            dropout=0.0,
            activation="gelu",
            dim_feedforward=7 * d // 2,
        ).eval()

    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""
        if mode == "parallel":
            logits: Tensor = self.model.forward_parallel(ids)
            return logits
        states: list[Tensor] = []
        parts = []
        for start in range(0, ids.shape[1], chunk_size):
            chunk = ids[:, start : start + chunk_size]
            part, states = self.model.forward_chunkwise(chunk, start, states)
            parts.append(part)
        return torch.cat(parts, dim=1)

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens."""
        shape = (1, CONFIG.n_heads, CONFIG.head_dim, CONFIG.head_dim)
        self.states = [torch.randn(shape) for _ in range(CONFIG.n_layers)]
        self.position = position

    def step(self, token: int) -> Tensor:
        """Read one more token: the logits of the next."""
        logits, self.states = self.model.forward_recurrent(
            torch.tensor([token]), self.position, self.states
        )
        self.position += 1
        last: Tensor = logits[0]
        return last


class TorchScale(Contender):
    """torchscale 0.3, the code of the paper's authors."""

    def __init__(self) -> None:
        _stub_torchscale_imports()
        from torchscale.architecture.config import RetNetConfig as PeerConfig
        from torchscale.architecture.retnet import RetNetDecoder

        d = CONFIG.d_model
        config = PeerConfig(
            decoder_embed_dim=d,
            decoder_value_embed_dim=2 * d,
            decoder_retention_heads=CONFIG.n_heads,
            decoder_ffn_embed_dim=344,
            decoder_layers=CONFIG.n_layers,
            vocab_size=CONFIG.vocab_size,
        )
        embedding = torch.nn.Embedding(CONFIG.vocab_size, d)
        self.model = RetNetDecoder(config, embed_tokens=embedding).eval()

    def forward(self, ids: Tensor, mode: str, chunk_size: int) -> Tensor:
        """ids (1, T) -> logits (1, T, vocab)."""
        self.model.chunkwise_recurrent = mode == "chunkwise"
        self.model.recurrent_chunk_size = chunk_size
        self.model.retnet_rel_pos.recurrent_chunk_size = chunk_size
        logits: Tensor = self.model(ids)[0]
        return logits

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens."""
        self.model.chunkwise_recurrent = False
        shape = (1, CONFIG.n_heads, 2 * CONFIG.head_dim, CONFIG.head_dim)
        self.state: dict[Any, Any] = {
            layer: {"prev_key_value": torch.randn(shape), "scale": torch.ones(CONFIG.n_heads)}
            for layer in range(CONFIG.n_layers)
        }
        # Of the ids it takes the last one, and from their number the position.
        self.ids = torch.zeros(1, position + steps + 1, dtype=torch.long)
        self.position = position

    def step(self, token: int) -> Tensor:
        """Read one more token: the logits of the next."""
        self.ids[0, self.position] = token
        self.position += 1
        logits: Tensor = self.model(self.ids[:, : self.position], incremental_state=self.state)[0]
        return logits[0, 0]


def _stub_torchscale_imports() -> None:
    """Replace fairscale and timm, which torchscale imports for features that are off here.

    Both are old releases that need other versions of torch.
    """

    def unused(*_arguments: Any, **_keywords: Any) -> Any:
        raise RuntimeError("switched off in this benchmark")

    for name, attributes in {
        "fairscale": (),
        "fairscale.nn": ("checkpoint_wrapper", "wrap"),
        "timm": (),
        "timm.models": (),
        "timm.models.layers": ("drop_path",),
    }.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, unused)
        sys.modules.setdefault(name, module)


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "retnet_viz": Ours,
    HALF: lambda: Ours(torch.bfloat16),
    "yet-another-retnet": YetAnotherRetNet,
    "torchscale": TorchScale,
    ATTENTION: Attention,
}
_PACKAGES = {"yet-another-retnet": "yet_another_retnet", "torchscale": "torchscale"}


def missing(name: str) -> bool:
    """Whether a contender is a package that is not installed."""
    return name in _PACKAGES and importlib.util.find_spec(_PACKAGES[name]) is None


def build(name: str) -> Contender:
    """The contender, with random weights that are the same at every call."""
    torch.manual_seed(0)
    return Compiled() if name == COMPILED else CONTENDERS[name]()
