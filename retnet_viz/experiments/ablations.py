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

from retnet_viz.model import RetNet
from retnet_viz.model.shared_weights import retentions, share_weights

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
        for retention in retentions(ablated):
            retention.gamma = ablated.config.gammas()
    return ablated
