"""A trace as arrays with named axes: each against its accessor, and its axes by what they mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from literal import literal

from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import NotEnoughMemory, Trace, trace
from retnet_viz.trace.notebook import dataset

ModelFactory = Callable[..., RetNet]
IDS = [5, 3, 8, 13, 3]
SMALL = (
    *("state_norm", "q", "k", "v", "head_output", "inner", "cross", "normed", "gate", "output"),
)
LARGE = ("decay", "scores", "retention", "state", "logits")
SIDE_BY_SIDE = ("normed", "gate")


@pytest.fixture
def model(tiny_model: ModelFactory) -> RetNet:
    """All sizes differ, so that no two axes can be taken for each other."""
    return tiny_model(d_model=18, n_heads=3, n_layers=2, value_factor=0.5, rotation="half")


@pytest.fixture(params=MODES)
def sample(request: pytest.FixtureRequest, model: RetNet) -> Trace:
    return trace(model, IDS, request.param, 2)


def test_without_names_all_that_grow_with_the_text_alone_are_there(sample: Trace) -> None:
    data = sample.to_xarray()
    assert set(data.data_vars) == set(SMALL)
    for name in SMALL:
        for layer in range(2):
            values = data[name].sel(layer=layer)
            if name in SIDE_BY_SIDE:
                values = values.transpose("position", "head", "value")
                values = values.stack(side_by_side=("head", "value"))
            assert np.array_equal(values.to_numpy(), getattr(sample, name)(layer).numpy()), name


def test_what_is_named_is_there_and_no_more(sample: Trace) -> None:
    data = sample.to_xarray(*LARGE)
    assert set(data.data_vars) == set(LARGE)
    for layer in range(2):
        for name in ("decay", "scores", "retention"):
            plane = data[name].sel(layer=layer).to_numpy()
            assert np.array_equal(plane, getattr(sample, name)(layer).numpy()), name
        for n in range(len(IDS)):
            state = data["state"].sel(layer=layer, position=n)
            assert np.array_equal(state.to_numpy(), sample.state(layer, n).numpy())
    assert np.array_equal(data["logits"].to_numpy(), sample.logits.numpy())
    assert set(sample.to_xarray("q", "retention").data_vars) == {"q", "retention"}
    assert sample.to_xarray("gamma").data_vars.keys() == set()


def test_the_axes_have_the_names_of_what_they_count(sample: Trace, model: RetNet) -> None:
    data = sample.to_xarray(*SMALL, *LARGE)
    assert dict(data.sizes) == {
        **{"layer": 2, "head": 3, "position": 5, "source": 5},
        **{"key": 6, "value": 3, "feature": 18, "vocabulary": 300},
    }
    assert data["token"].to_numpy().tolist() == sample.tokens
    assert data["source_token"].dims == ("source",)
    assert data["id"].to_numpy().tolist() == IDS
    # Equation 5 by the names of the axes alone.
    by_hand = literal(model, IDS).layers
    weights = (data["q"] * data["k"].rename(position="source")).sum("key") * data["decay"]
    assert np.allclose(weights.transpose(*data["retention"].dims), data["retention"])
    output = (weights * data["v"].rename(position="source")).sum("source")
    output = output.transpose("layer", "head", "position", "value")
    assert np.allclose(output, [layer.head_output for layer in by_hand])
    assert np.allclose(data["gamma"], [layer.gamma for layer in by_hand])
    assert np.allclose(data["gamma"] ** data["half_life"], 0.5)


def test_each_array_says_where_it_comes_from_and_what_it_is(sample: Trace) -> None:
    data = sample.to_xarray(*SMALL, *LARGE)
    assert data.attrs == {"mode": sample.mode, "chunk_size": 2}
    for name in data.data_vars:
        assert data[name].attrs["origin"] == sample.origin(str(name))
        assert data[name].attrs["long_name"]
    assert data["half_life"].attrs["units"] == "tokens"


def test_the_arrays_are_copies(sample: Trace) -> None:
    data = sample.to_xarray(*SMALL, *LARGE)
    before = sample.q(0).clone(), sample.logits.clone()
    for variable in (*data.data_vars, "id"):
        data[variable].to_numpy()[...] = 0
    assert torch.equal(sample.q(0), before[0])
    assert torch.equal(sample.logits, before[1])
    assert sample.ids.tolist() == IDS


def test_numbers_of_16_bits_become_32(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(dtype=torch.bfloat16), IDS)
    values = sample.to_xarray("q")["q"].to_numpy()
    assert values.dtype == np.float32
    assert np.array_equal(values[1], sample.q(1).float().numpy())


def test_a_trace_of_tensors_has_what_was_given_to_it() -> None:
    q = torch.arange(12.0).reshape(1, 3, 4)
    sample = Trace.from_tensors(q, q, q[..., :2], 1.0, tokens=["a\0", "b", "c"])
    data = sample.to_xarray()
    assert set(data.data_vars) == set(SMALL) - {"gate"}
    assert data["token"].to_numpy().tolist() == ["a\0", "b", "c"]
    assert data["gamma"].attrs["origin"] == data["q"].attrs["origin"] == "given"
    assert np.isinf(data["half_life"]).all()
    for name in ("gate", "logits"):
        with pytest.raises(ValueError, match=f"a trace of tensors has no {name}"):
            sample.to_xarray(name)


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(sample: Trace) -> None:
    with pytest.raises(ValueError, match="unknown quantity 'attention'; a trace has cross, decay"):
        sample.to_xarray("q", "attention")


def test_arrays_that_would_not_fit_are_refused_before_they_are_made(
    sample: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = 2 * 3 * 5 * 5 + 2 * 3 * 5 * 6
    monkeypatch.setattr(dataset, "available_memory", lambda: 8 * numbers)
    assert sample.to_xarray("retention", "q")
    monkeypatch.setattr(dataset, "available_memory", lambda: 8 * numbers - 1)
    with pytest.raises(NotEnoughMemory, match="most of them in q, and this machine"):
        sample.to_xarray("retention", "q")
