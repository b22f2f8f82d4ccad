"""A thinned curve shows what the whole one would."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retnet_viz.trace.views.decimate import decimate
from tests.support.examples import examples


@settings(max_examples=examples(200))
@given(
    values=st.lists(
        st.floats(-100, 100, width=32) | st.sampled_from([math.nan, math.inf, -math.inf]),
        min_size=1,
        max_size=200,
    ),
    width=st.integers(1, 60),
)
def test_decimation_loses_no_spike_and_no_gap(values: list[float], width: int) -> None:
    curve = torch.tensor(values)
    positions, points = decimate(curve, width)
    torch.testing.assert_close(points, curve[positions], rtol=0, atol=0, equal_nan=True)
    assert (positions.diff() > 0).all()
    assert len(positions) <= 4 * width
    if len(curve) <= 2 * width:
        assert len(points) == len(curve)
        return
    size = -(-len(curve) // width)
    for start in range(0, len(curve), size):
        bucket = curve[start : start + size]
        inside = points[(positions >= start) & (positions < start + size)]
        finite, finite_points = bucket[~bucket.isnan()], inside[~inside.isnan()]
        assert bucket.isnan().any() == inside.isnan().any()
        if len(finite):
            assert finite.max() == finite_points.max()
            assert finite.min() == finite_points.min()
        assert start + len(bucket) - 1 in positions
        assert bucket.isnan().any() or start in positions
    assert len(curve) - 1 in positions


def test_decimation_keeps_a_spike_of_one_token() -> None:
    curve = torch.sin(torch.arange(131_072) / 1000)
    curve[77_777], curve[100_001] = 9.0, math.nan
    positions, values = decimate(curve, 800)
    assert len(positions) <= 3200
    assert values[positions == 77_777] == 9
    assert values[positions == 100_001].isnan()


def test_decimation_refuses_what_is_no_curve() -> None:
    with pytest.raises(ValueError, match="shape"):
        decimate(torch.zeros(2, 3), 5)
    with pytest.raises(ValueError, match="0 pixels"):
        decimate(torch.zeros(3), 0)
    positions, values = decimate(torch.zeros(0), 5)
    assert len(positions) == len(values) == 0
