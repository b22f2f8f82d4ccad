"""A model changed in one point of its config, on the same weights: what does that part do?

    ablate(model, rotation="none")         q and k no longer rotate with the position
    ablate(model, decay=(1.0,) * 4)        no head forgets
    ablate(model, head_norm="none")        heads keep the scale of their outputs

The paper trains each of its ablations anew (section 3.6). This one is not trained: it shows what
the trained weights rely on, not how well a model without that part could learn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.model.retnet import MultiScaleRetention

CHANGEABLE = ("rotation", "rotation_base", "angles", "head_norm", "norm_eps", "decay")


def ablate(model: RetNet, **changes: Any) -> RetNet:
    """A RetNet with `changes` to the config of `model`; `model` itself is not changed.

    It shares the weights of `model` (same storage, no copies), so it must not be trained; its
    parameters require no gradient. It has the same tokenizer and is in evaluation mode.
    Raises ValueError on a field that gives weights another shape or meaning, and ConfigError (a
    ValueError) on a value that the field cannot have.
    """
    unsupported = [name for name in changes if name not in CHANGEABLE]
    if unsupported:
        raise ValueError(
            f"a variant keeps the weights of its model, so {', '.join(unsupported)} cannot change; "
            f"what can are {', '.join(CHANGEABLE)}"
        )
    ablated = share_weights(model, config=replace(model.config, **changes))
    if "decay" in changes:
        for retention in _retentions(ablated):
            retention.gamma = ablated.config.gammas()
    return ablated


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
    for retention, source in zip(_retentions(other), _retentions(model), strict=True):
        retention.gamma = source.gamma.clone()  # no parameter, so the state dict lacks it
    other.tokenizer = model.tokenizer
    return other.requires_grad_(False).eval()


def _retentions(model: RetNet) -> list[MultiScaleRetention]:
    """The retention of every layer, in order."""
    return [part for part in model.modules() if isinstance(part, MultiScaleRetention)]
