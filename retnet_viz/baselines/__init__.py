"""What RetNet is compared with: language models of the same public shape and size."""

from retnet_viz.baselines.mamba import Mamba, MambaConfig, MambaState
from retnet_viz.baselines.transformer import (
    KVCache,
    Transformer,
    TransformerConfig,
    TransformerState,
)

__all__ = [
    "KVCache",
    "Mamba",
    "MambaConfig",
    "MambaState",
    "Transformer",
    "TransformerConfig",
    "TransformerState",
]
