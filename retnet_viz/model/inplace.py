"""Elementwise steps of a pass that write over their first operand where nobody needs that again.

The numbers are the same to the last bit. What is saved is memory, and the time to get it: the T x T
scores of parallel mode, say, need no second array as large.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from retnet_viz.model.observe import overwritable


def times(x: Tensor, factor: Tensor | float) -> Tensor:
    """x * factor; x must be the caller's own, and is lost."""
    return x.mul_(factor) if overwritable() else x * factor


def plus(x: Tensor, term: Tensor) -> Tensor:
    """x + term; x must be the caller's own, and is lost."""
    return x.add_(term) if overwritable() else x + term


def swish(x: Tensor) -> Tensor:
    """x * sigmoid(x); x must be the caller's own, and is lost."""
    return F.silu(x, inplace=overwritable())
