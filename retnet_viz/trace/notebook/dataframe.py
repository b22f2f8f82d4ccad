"""A trace as a table of pandas.

Shapes: L layers, H heads, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from retnet_viz.trace.notebook.arrays import text_array, to_array
from retnet_viz.trace.notebook.optional import import_optional

if TYPE_CHECKING:
    import pandas

    from retnet_viz.trace.views.observables import Trace

# Columns that are the norm of a quantity along its last axis.
_NORMS = {f"{name}_norm": name for name in ("q", "k", "v", "head_output")}
_AT_ONCE = 1024  # tokens whose probabilities are held at a time


def dataframe(trace: Trace, rows: str = "heads") -> pandas.DataFrame:
    """A table with the rows and columns of `Trace.to_pandas`."""
    if rows not in _COLUMNS:
        raise ValueError(f"rows must be one of {', '.join(_COLUMNS)}, not {rows!r}")
    pandas = import_optional("pandas", "to_pandas")
    columns, origin = _COLUMNS[rows](trace)
    frame = pandas.DataFrame(columns)
    frame.attrs = {"mode": trace.mode, "chunk_size": trace.chunk_size, "origin": origin}
    return frame


def _heads(trace: Trace) -> tuple[dict[str, Any], dict[str, str]]:
    """Columns of L * H * T rows, and where those that are observed come from."""
    shape = (trace.n_layers, trace.n_heads, trace.length)
    layer, head, position = (index.ravel() for index in np.indices(shape))
    gamma, half_life = (
        np.stack([to_array(values(index)) for index in range(trace.n_layers)])
        for values in (trace.gamma, trace.half_life)
    )
    observed: dict[str, list[np.ndarray]] = {name: [] for name in ("state_norm", *_NORMS)}
    for index in range(trace.n_layers):  # all of a layer before the next: it may be replayed
        observed["state_norm"].append(to_array(trace.state_norm(index)))
        for column, name in _NORMS.items():
            observed[column].append(to_array(_norm(getattr(trace, name)(index))))
    columns = {
        "layer": layer,
        "head": head,
        "position": position,
        "token": text_array(trace.tokens)[position],
        "gamma": gamma[layer, head],
        "half_life": half_life[layer, head],
        **{column: np.concatenate(norms).ravel() for column, norms in observed.items()},
    }
    sources = {"gamma": "gamma", "state_norm": "state_norm", **_NORMS}
    origin = {column: trace.origin(name) for column, name in sources.items()}
    return columns, {**origin, "half_life": "derived"}


def _norm(values: Tensor) -> Tensor:
    """Euclidean, along the last axis; float32 at least."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(values, dim=-1, dtype=dtype)
    return norm


def _tokens(trace: Trace) -> tuple[dict[str, Any], dict[str, str]]:
    """Columns of T rows, and where those that are observed come from."""
    columns: dict[str, Any] = {
        "position": np.arange(trace.length),
        "id": trace.ids.numpy(),
        "token": text_array(trace.tokens),
    }
    if not trace.config.vocab_size:  # of tensors, which predict nothing
        return columns, {}
    loss = np.full(trace.length, np.nan)
    loss[1:] = to_array(trace.loss)
    next_id, probability, entropy = _predictions(trace.logits)
    predicted = {
        "loss": loss,
        "next_id": next_id,
        "next_token": text_array([trace.piece(token_id) for token_id in next_id.tolist()]),
        "next_probability": probability,
        "next_entropy": entropy,
    }
    return {**columns, **predicted}, dict.fromkeys(predicted, trace.origin("logits"))


def _predictions(logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of logits (T, vocab): the likeliest id (T,), its probability, the entropy in nats."""
    parts = []
    for some in logits.split(_AT_ONCE):
        probabilities = some.cpu().double().softmax(-1)
        likeliest = probabilities.max(-1)
        entropy = torch.special.entr(probabilities).sum(-1)
        parts.append((likeliest.indices, likeliest.values, entropy))
    next_id, probability, entropy = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return next_id, probability, entropy


_COLUMNS = {"heads": _heads, "tokens": _tokens}
