"""A trace as named arrays, for code that knows nothing of this package."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np
from torch import Tensor

from retnet_viz.trace import Trace

MOST_BYTES = 5 * 10**8
_STACKED = (
    # accessor of a Trace, axes of the array; the first axis counts the layers
    "gamma",  # (L, H)
    "q",  # (L, H, T, d_k)
    "k",
    "v",  # (L, H, T, d_v)
    "scores",  # (L, H, T, T)
    "decay",
    "retention",
    "state_norm",  # (L, H, T)
    "head_output",  # (L, H, T, d_v)
    "inner",
    "cross",
    "normed",  # (L, T, H d_v)
    "gate",
    "output",  # (L, T, d)
)


def npz(trace: Trace) -> bytes:
    """A compressed .npz: one array per accessor of the trace, with a first axis of layers.

    Besides those of the docstring of Trace: `ids` (T,), `tokens` (T,) as text, `last_state`
    (L, H, d_k, d_v), `logits` (T, vocab), and `about`, a JSON text of mode, chunk size and config.
    bfloat16 becomes float32, which holds it exactly. Read it with numpy.load(allow_pickle=False).
    Raises ValueError where the T x T planes of the text would take over MOST_BYTES.
    """
    planes = 3 * trace.n_layers * trace.n_heads * trace.length**2 * 4
    if planes > MOST_BYTES:
        raise ValueError(
            f"The T x T planes of {trace.length:,} tokens take {planes / 1e9:.1f} GB: save the "
            "trace as safetensors, from which any window of them is made again."
        )
    layers = range(trace.n_layers)
    arrays = {
        name: np.stack([_array(getattr(trace, name)(layer)) for layer in layers])
        for name in _STACKED
    }
    arrays["last_state"] = np.stack([_array(trace.state(layer, -1)) for layer in layers])
    arrays["logits"] = _array(trace.logits)
    arrays["ids"] = trace.ids.numpy()
    arrays["tokens"] = np.array(trace.tokens)
    about = {"mode": trace.mode, "chunk_size": trace.chunk_size, "config": asdict(trace.config)}
    arrays["about"] = np.array(json.dumps(about))
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _array(values: Tensor) -> np.ndarray:
    array = values.detach().cpu()
    return (array.float() if array.dtype.itemsize < 4 else array).numpy()
