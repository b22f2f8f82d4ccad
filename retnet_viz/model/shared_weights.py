"""A second RetNet on the weights of a first: to change what computes with them, and not them."""

from __future__ import annotations

import torch

from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.retnet import MultiScaleRetention, RetNet


def share_weights(
    model: RetNet, *, config: RetNetConfig | None = None, dtype: torch.dtype | None = None
) -> RetNet:
    """A second RetNet on the weights of `model`, rounded to `dtype` where one is given.

    Weights that already have that dtype are shared, not copied. The gammas are those of `model`,
    also where they were set by hand.
    """
    with torch.device("meta"):  # its weights are replaced: no memory and no random numbers for them
        other = RetNet(config or model.config)
    weights = {
        name: weight.detach().to(dtype or weight.dtype)
        for name, weight in model.state_dict().items()
    }
    other.load_state_dict(weights, assign=True)
    if other.config.tie_embeddings:
        other.head.weight = other.embedding.weight
    for retention, source in zip(retentions(other), retentions(model), strict=True):
        retention.gamma = source.gamma.clone()  # no parameter, so the state dict lacks it
    other.tokenizer = model.tokenizer
    return other.requires_grad_(False).eval()


def retentions(model: RetNet) -> list[MultiScaleRetention]:
    """The retention of every layer, in order."""
    return [part for part in model.modules() if isinstance(part, MultiScaleRetention)]
