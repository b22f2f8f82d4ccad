"""A model changed in one point of its config, on the same weights: what does that part do?

    variant(model, rotation="none")         positions no longer turn q and k
    variant(model, decay=(1.0,) * 4)        no head forgets
    variant(model, head_norm="none")        heads speak as loud as they are

The paper trains each of its ablations anew (section 3.6). A variant is not trained: it shows what
the trained weights rely on, not how well a model without that part could learn to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.model.retnet import MultiScaleRetention

CHANGEABLE = ("rotation", "rotation_base", "angles", "head_norm", "norm_eps", "decay")


def variant(model: RetNet, **changes: Any) -> RetNet:
    """A RetNet with `changes` to the config of `model`, which itself is not changed.

    It reads the very weights of `model` (same storage, no copies), so it must not be trained; its
    parameters ask for no gradient. It has the same tokenizer and is in evaluation mode.
    Raises ValueError on a field that gives weights another shape or meaning, and ConfigError (a
    ValueError) on a value that the field cannot have.
    """
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise ValueError(
            f"a variant keeps the weights of its model, so {', '.join(fixed)} cannot change; "
            f"what can are {', '.join(CHANGEABLE)}"
        )
    made = twin(model, config=replace(model.config, **changes))
    if "decay" in changes:
        for retention in _retentions(made):
            retention.gamma = made.config.gammas()
    return made


def twin(
    model: RetNet, *, config: RetNetConfig | None = None, dtype: torch.dtype | None = None
) -> RetNet:
    """A second RetNet on the weights of `model`, rounded to `dtype` where one is given.

    Weights that have that dtype already are shared, not copied. The gammas are those that `model`
    uses, also where somebody has set them by hand.
    """
    with torch.device("meta"):  # no memory, and no random numbers, for weights soon replaced
        made = RetNet(config or model.config)
    weights = {
        name: weight.detach().to(dtype or weight.dtype)
        for name, weight in model.state_dict().items()
    }
    made.load_state_dict(weights, assign=True)
    if made.config.tie_embeddings:
        made.head.weight = made.embedding.weight
    for retention, given in zip(_retentions(made), _retentions(model), strict=True):
        retention.gamma = given.gamma.clone()  # no parameter, so the state dict lacks it
    made.tokenizer = model.tokenizer
    return made.requires_grad_(False).eval()


def _retentions(model: RetNet) -> list[MultiScaleRetention]:
    """The retention of every layer, in order."""
    return [part for part in model.modules() if isinstance(part, MultiScaleRetention)]
