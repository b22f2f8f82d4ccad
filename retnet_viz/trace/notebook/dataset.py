"""A trace as arrays with named axes, of xarray.

Shapes: L layers, H heads, T tokens, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retnet_viz.trace.notebook.arrays import text_array, to_array
from retnet_viz.trace.notebook.optional import import_optional
from retnet_viz.trace.passes.budget import NotEnoughMemory, available_memory

if TYPE_CHECKING:
    import xarray

    from retnet_viz.trace.views.observables import Trace

_MISSING = "not there"  # what `Trace.origin` says of what tensors without a model lack


@dataclass(frozen=True)
class _Quantity:
    """The axes of a quantity, and what a plot calls it."""

    dims: tuple[str, ...]
    label: str


_PER_HEAD = ("layer", "head", "position")
_PLANE = (*_PER_HEAD, "source")
_QUANTITIES = {
    "q": _Quantity((*_PER_HEAD, "key"), "queries after rotation"),
    "k": _Quantity((*_PER_HEAD, "key"), "keys after rotation, scaled"),
    "v": _Quantity((*_PER_HEAD, "value"), "values"),
    "state_norm": _Quantity(_PER_HEAD, "Frobenius norm of the state"),
    "head_output": _Quantity((*_PER_HEAD, "value"), "head output before normalisation"),
    "inner": _Quantity((*_PER_HEAD, "value"), "head output from inside the chunk"),
    "cross": _Quantity((*_PER_HEAD, "value"), "head output from the carried state"),
    "normed": _Quantity((*_PER_HEAD, "value"), "head output after normalisation"),
    "gate": _Quantity((*_PER_HEAD, "value"), "gate"),
    "output": _Quantity(("layer", "position", "feature"), "layer output"),
    # What is not O(T), or O(T) with a large factor, is there for those who name it.
    "decay": _Quantity(_PLANE, "decay"),
    "scores": _Quantity(_PLANE, "scores before the decay"),
    "retention": _Quantity(_PLANE, "retention weight"),
    "state": _Quantity((*_PER_HEAD, "key", "value"), "state"),
    "logits": _Quantity(("position", "vocabulary"), "logits of the next token"),
}
_LARGE = ("decay", "scores", "retention", "state", "logits")


def dataset(trace: Trace, *names: str) -> xarray.Dataset:
    """A Dataset with the variables, dims and coordinates of `Trace.to_xarray`."""
    found = _select(trace, names)
    xarray = import_optional("xarray", "to_xarray")
    _check_memory(trace, found)
    variables = {
        name: (
            quantity.dims,
            _values(trace, name, quantity.dims),
            {"long_name": quantity.label, "origin": trace.origin(name)},
        )
        for name, quantity in found.items()
    }
    dims = {dim for quantity in found.values() for dim in quantity.dims}
    return xarray.Dataset(
        variables,
        coords=_coordinates(trace, with_sources="source" in dims),
        attrs={"mode": trace.mode, "chunk_size": trace.chunk_size},
    )


def _select(trace: Trace, names: tuple[str, ...]) -> dict[str, _Quantity]:
    """The quantities of these names, or all that are small; ValueError where there is none."""
    if not names:
        return {
            name: quantity
            for name, quantity in _QUANTITIES.items()
            if name not in _LARGE and trace.origin(name) != _MISSING
        }
    for name in names:
        if trace.origin(name) == _MISSING:
            raise ValueError(f"a trace of tensors has no {name}")
    return {name: _QUANTITIES[name] for name in names if name != "gamma"}  # a coordinate


def _sizes(trace: Trace) -> dict[str, int]:
    config, length = trace.config, trace.length
    return {
        "layer": config.n_layers,
        "head": config.n_heads,
        "position": length,
        "source": length,
        "key": config.head_dim,
        "value": config.value_dim,
        "feature": config.d_model,
        "vocabulary": config.vocab_size,
    }


def _shape(trace: Trace, dims: tuple[str, ...]) -> tuple[int, ...]:
    sizes = _sizes(trace)
    return tuple(sizes[dim] for dim in dims)


def _check_memory(trace: Trace, found: dict[str, _Quantity]) -> None:
    """Raise NotEnoughMemory where the arrays would not fit."""
    item = trace.state(0, -1).dtype.itemsize  # float32 at least, as all arrays
    needed = {
        name: item * int(np.prod(_shape(trace, quantity.dims), dtype=object))
        for name, quantity in found.items()
    }
    available = available_memory()
    if sum(needed.values()) > available:
        largest = max(needed, key=lambda name: needed[name])
        raise NotEnoughMemory(
            f"The arrays would hold {sum(needed.values()) / 1e9:,.1f} GB, most of them in "
            f"{largest}, and this machine has {available / 1e9:,.1f} GB free. Name fewer of them, "
            "or ask the trace itself for one layer or for a window."
        )


def _values(trace: Trace, name: str, dims: tuple[str, ...]) -> np.ndarray:
    """A quantity of all layers. No more is held at a time than the whole and one layer."""
    if name == "logits":
        return to_array(trace.logits).copy()
    whole = None
    for layer in range(trace.n_layers):
        values = to_array(_of_layer(trace, name, layer))
        if "head" in dims and values.ndim == 2 and "value" in dims:  # heads side by side
            values = values.reshape(trace.length, trace.n_heads, -1).swapaxes(0, 1)
        if whole is None:
            whole = np.empty(_shape(trace, dims), values.dtype)
        whole[layer] = values
    assert whole is not None  # there is no model without layers
    return whole


def _of_layer(trace: Trace, name: str, layer: int) -> torch.Tensor:
    if name == "state":
        return torch.stack([trace.state(layer, n) for n in range(trace.length)], dim=1)
    values: torch.Tensor = getattr(trace, name)(layer)
    return values


def _coordinates(trace: Trace, with_sources: bool) -> dict[str, Any]:
    layers, tokens = range(trace.n_layers), text_array(trace.tokens)
    gamma, half_life = (
        np.stack([to_array(values(layer)) for layer in layers])
        for values in (trace.gamma, trace.half_life)
    )
    about_gamma = {"long_name": "decay per token", "origin": trace.origin("gamma")}
    about_half_life = {"long_name": "half-life", "units": "tokens", "origin": "derived"}
    coordinates = {
        "layer": np.arange(trace.n_layers),
        "head": np.arange(trace.n_heads),
        "position": np.arange(trace.length),
        "token": ("position", tokens),
        "id": ("position", trace.ids.numpy().copy()),
        "gamma": (("layer", "head"), gamma, about_gamma),
        "half_life": (("layer", "head"), half_life, about_half_life),
    }
    if with_sources:
        coordinates |= {"source": np.arange(trace.length), "source_token": ("source", tokens)}
    return coordinates
