"""Tensors of a trace as arrays of numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor


def to_array(values: Tensor) -> np.ndarray:
    """The same numbers on the CPU; formats of 16 bits become float32, which holds them exactly."""
    values = values.detach().cpu()
    is_small = values.dtype.is_floating_point and values.dtype.itemsize < 4
    return (values.float() if is_small else values).numpy()


def text_array(texts: Sequence[str]) -> np.ndarray:
    """Texts (T,) as Python's own strings: numpy's would lose a NUL at the end of one."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
