"""Elementwise operations that overwrite their first operand where nobody needs it again.

The numbers are the same to the last bit. This saves memory, and the time to allocate it: the T x T
scores of parallel mode, say, need no second array as large.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from retnet_viz.model.observe import may_overwrite


def multiply(x: Tensor, factor: Tensor | float) -> Tensor:
    """x * factor; may overwrite x, which must be the caller's own."""
    return x.mul_(factor) if may_overwrite() else x * factor


def add(x: Tensor, term: Tensor) -> Tensor:
    """x + term; may overwrite x, which must be the caller's own."""
    return x.add_(term) if may_overwrite() else x + term


def swish(x: Tensor) -> Tensor:
    """x * sigmoid(x); may overwrite x, which must be the caller's own."""
    return F.silu(x, inplace=may_overwrite())
