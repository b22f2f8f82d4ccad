"""From values to places on a colour scale and in a colour table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retnet_viz.figures.base.scale import SCALES, ColorScale, color_scale, raster

FINITE = st.floats(-1e6, 1e6, width=32)
VALUES = arrays(np.float32, st.integers(1, 30), elements=FINITE)
KINDS = st.sampled_from(SCALES)


@given(values=VALUES, kind=KINDS, signed=st.booleans())
def test_places_keep_order_and_sign_and_stay_in_range(
    values: np.ndarray, kind: str, signed: bool
) -> None:
    values = values if signed else np.abs(values)
    scale = color_scale(values, kind, signed=signed)
    positions = scale.position(np.sort(values))
    assert not np.isnan(positions).any()
    assert (np.diff(positions) >= 0).all()
    assert positions.min() >= (-1 if signed else 0)
    assert positions.max() <= 1
    assert (positions[np.sort(values) == 0] == 0).all()
    largest = np.abs(values).max()
    if largest > 0:
        assert np.abs(positions).max() == pytest.approx(1, abs=1e-6)
        assert scale.limit == largest


@given(values=VALUES, kind=KINDS)
def test_a_signed_scale_is_odd(values: np.ndarray, kind: str) -> None:
    scale = color_scale(values, kind, signed=True)
    assert np.array_equal(scale.position(-values), -scale.position(values))
    mirrored = color_scale(-values, kind, signed=True)
    assert mirrored == scale


@given(
    values=arrays(np.float64, 20, elements=st.floats(1e-3, 1e3)),
    kind=KINDS,
    signed=st.booleans(),
    position=st.floats(0, 1),
)
def test_the_value_at_a_place_is_found_at_that_place(
    values: np.ndarray, kind: str, signed: bool, position: float
) -> None:
    values[:2] = 1e-3, 1e3  # so that no scale is a single point
    scale = color_scale(values, kind, signed=signed)
    for end in (position, -position) if signed else (position,):
        value = scale.value(end)
        assert float(scale.position(np.array([value]))[0]) == pytest.approx(end, abs=1e-9)


@pytest.mark.parametrize("kind", SCALES)
@given(limit=st.floats(1e-30, 1e30))
def test_limits_and_zero_lie_at_the_ends_and_the_centre(kind: str, limit: float) -> None:
    signed = color_scale(np.array([limit, -limit / 3]), kind, signed=True)
    assert signed.position(np.array([-limit, 0.0, limit])).tolist() == [-1, 0, 1]
    assert signed.value(1) == pytest.approx(limit)
    assert signed.value(-1) == pytest.approx(-limit)
    plain = color_scale(np.array([limit, 0.0]), kind, signed=False)
    assert plain.position(np.array([0.0, limit])).tolist() == [0, 1]


@pytest.mark.parametrize("kind", SCALES)
def test_a_given_limit_is_the_end_of_the_scale_whatever_the_values(kind: str) -> None:
    scale = color_scale(np.array([0.25, 0.5]), kind, signed=False, limit=1.0)
    assert scale.limit == 1
    positions = scale.position(np.array([0.5, 1.0, 2.0]))
    assert positions[0] < 1
    assert positions[1:].tolist() == [1, 1]


def test_log_and_arcsinh_spread_small_magnitudes_out() -> None:
    values = np.array([1.0, 0.1, 0.01])
    linear, log, arcsinh = (
        color_scale(values, kind, signed=True).position(values) for kind in SCALES
    )
    assert np.allclose(linear, values)
    assert np.allclose(log, [1, 0.75, 0.5])  # four decades from end to centre
    assert (log[1:] > arcsinh[1:]).all()
    assert (arcsinh[1:] > linear[1:]).all()


def test_a_log_scale_of_magnitudes_starts_at_the_smallest_above_zero() -> None:
    values = np.array([0.0, 0.25, 0.5, 1.0])
    scale = color_scale(values, "log", signed=False)
    assert np.allclose(scale.position(values), [0, 0, 0.5, 1])
    assert scale.value(0) == pytest.approx(0.25)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], []])
def test_nothing_but_zeros_lies_at_zero(values: list[float], kind: str, signed: bool) -> None:
    array = np.array(values, dtype=np.float32)
    scale = color_scale(array, kind, signed=signed)
    assert scale.position(array).tolist() == values
    assert all(math.isfinite(scale.value(position)) for position, _ in scale.ticks())
    assert (raster(array, scale) == (128 if signed else 1)).all()


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("value", [3.5, 1e-20])
def test_a_single_value_lies_at_the_end(kind: str, value: float) -> None:
    for signed in (True, False):
        scale = color_scale(np.array([value]), kind, signed=signed)
        assert scale.position(np.array([value])).tolist() == [1]
    scale = color_scale(np.array([-value]), kind, signed=True)
    assert scale.position(np.array([-value])).tolist() == [-1]


def number_of(text: str) -> float:
    return float(text.replace(",", ""))


@given(values=VALUES, kind=KINDS)
def test_marks_of_a_legend_stand_in_order_with_their_values(values: np.ndarray, kind: str) -> None:
    for signed in (True, False):
        scale = color_scale(values if signed else np.abs(values), kind, signed=signed)
        ticks = scale.ticks()
        positions = [position for position, _ in ticks]
        assert positions == sorted(positions)
        assert (positions[0], positions[-1]) == (-1 if signed else 0, 1)
        for position, text in ticks:
            value = 0.0 if signed and position == 0 else scale.value(position)
            assert number_of(text) == pytest.approx(value, rel=0.06)
        tick_values = [number_of(text) for _, text in ticks]
        assert tick_values == sorted(tick_values)


@given(
    values=arrays(np.float32, (5, 6), elements=FINITE | st.just(float("nan"))),
    mask=arrays(np.bool_, (5, 6)),
    kind=KINDS,
    signed=st.booleans(),
)
def test_a_raster_is_0_only_where_nothing_is_shown(
    values: np.ndarray, mask: np.ndarray, kind: str, signed: bool
) -> None:
    values = values if signed else np.abs(values)
    scale = color_scale(values[~np.isnan(values)], kind, signed=signed)
    positions = raster(values, scale, mask=mask)
    assert positions.dtype == np.uint8
    assert positions.shape == values.shape
    assert ((positions == 0) == ~mask).all()
    everywhere = raster(values, scale)
    assert everywhere.min() >= 1
    assert (everywhere[mask] == positions[mask]).all()
    is_number = ~np.isnan(values)
    share = scale.position(values[is_number])
    share = (share + 1) / 2 if signed else share
    assert (np.abs(everywhere[is_number] - (1 + 254 * share)) <= 0.5 + 1e-4).all()


def test_a_raster_has_zero_in_the_middle_and_the_limits_at_its_ends() -> None:
    values = np.array([-2.0, 0.0, 2.0])
    for kind in SCALES:
        signed = color_scale(values, kind, signed=True)
        assert raster(values, signed).tolist() == [1, 128, 255]
        plain = color_scale(values[1:], kind, signed=False)
        assert raster(values[1:], plain).tolist() == [1, 255]


@pytest.mark.parametrize("kind", ["", "Linear", "symlog"])
def test_an_unknown_scale_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"scale must be one of .*not '{kind}'"):
        color_scale(np.array([1.0]), kind, signed=True)


@pytest.mark.parametrize(
    ("limit", "text"),
    [(0.0001234, "0.00012"), (17.4, "17"), (116.4, "116"), (2877.0, "2,880"), (3e7, "3e+07")],
)
def test_a_tick_is_written_as_people_write_numbers(limit: float, text: str) -> None:
    ticks = ColorScale("linear", limit, signed=True).ticks()
    assert [ticks[0][1], ticks[-1][1]] == [f"-{text}", text]
