"""Rotation against complex numbers, decay against powers, schedules against their formulas."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.model import RetNetConfig
from retnet_viz.model.position import (
    chunk_decay,
    decay_cache,
    decay_matrix,
    decay_powers,
    rotate,
    rotation_angles,
)

LAYOUTS = ("interleaved", "half")


@pytest.mark.parametrize("layout", LAYOUTS)
@given(start=st.integers(0, 5000), length=st.integers(1, 5), half=st.integers(2, 4))
def test_rotation_is_multiplication_by_a_complex_number(
    layout: str, start: int, length: int, half: int
) -> None:
    base = 10000.0
    x = torch.randn(length, 2 * half, generator=torch.Generator().manual_seed(start)).double()
    cos, sin = rotation_angles(2 * half, start, length, base)
    rotated = rotate(x, cos, sin, layout)
    for row in range(length):
        for i in range(half):
            a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + half)
            theta = base ** (-i / (half - 1))
            number = complex(x[row, a], x[row, b]) * cmath.exp(1j * (start + row) * theta)
            assert float(rotated[row, a]) == pytest.approx(number.real, abs=1e-9)
            assert float(rotated[row, b]) == pytest.approx(number.imag, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "fastest", "last"),
    [("inclusive", 1, 1), ("rope", 1, 3 / 4), ("half_turn", math.pi, 1)],
)
def test_the_angles_fall_from_the_fastest_by_equal_factors(
    kind: str, fastest: float, last: float
) -> None:
    cos, sin = rotation_angles(8, 1, 1, 100.0, kind=kind)
    for i in range(4):
        theta = fastest * 100 ** (-last * i / 3)
        assert float(cos[0, i]) == pytest.approx(math.cos(theta))
        assert float(sin[0, i]) == pytest.approx(math.sin(theta), abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(n=st.integers(0, 200), m=st.integers(0, 200), shift=st.integers(1, 100_000))
def test_a_score_depends_on_the_distance_only(layout: str, n: int, m: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(n)
    q, k = (torch.randn(1, 8, generator=generator).double() for _ in range(2))

    def score(q_at: int, k_at: int) -> float:
        q_turned = rotate(q, *rotation_angles(8, q_at, 1, 10000.0), layout)
        return float((q_turned * rotate(k, *rotation_angles(8, k_at, 1, 10000.0), layout)).sum())

    assert score(n + shift, m + shift) == pytest.approx(score(n, m), abs=1e-9)
    assert score(n + 1, m) != pytest.approx(score(n, m), abs=1e-6)


def test_no_rotation_leaves_q_and_k_alone() -> None:
    x = torch.randn(3, 7)
    assert rotate(x, *rotation_angles(7, 5, 3, 10000.0), "none") is x


@given(
    gamma=st.floats(0.01, 1.0),
    rows=st.tuples(st.integers(0, 40), st.integers(1, 20)),
    cols=st.tuples(st.integers(0, 40), st.integers(1, 20)),
)
def test_a_window_of_decay_equals_that_part_of_the_whole(
    gamma: float, rows: tuple[int, int], cols: tuple[int, int]
) -> None:
    g = torch.tensor([gamma, 0.5], dtype=torch.float64)
    position = torch.arange(60)
    matrix = decay_matrix(g, position, position, torch.float64)
    for n in range(0, 60, 7):
        for m in range(0, 60, 5):
            power = gamma ** (n - m) if n >= m else 0.0
            assert float(matrix[0, n, m]) == pytest.approx(power, rel=1e-12, abs=0)
    (row, height), (col, width) = rows, cols
    window = decay_matrix(
        g, position[row : row + height], position[col : col + width], torch.float64
    )
    assert torch.equal(window, matrix[:, row : row + height, col : col + width])


@given(
    gammas=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=3),
    rows=st.tuples(st.integers(0, 90), st.integers(1, 40)),
    cols=st.tuples(st.integers(0, 90), st.integers(1, 40)),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
def test_decay_between_ranges_is_that_between_the_same_positions(
    gammas: list[float], rows: tuple[int, int], cols: tuple[int, int], dtype: torch.dtype
) -> None:
    gamma = torch.tensor(gammas, dtype=torch.float64)
    n, m = (range(start, start + size) for start, size in (rows, cols))
    actual = decay_matrix(gamma, n, m, dtype)
    assert actual.dtype == dtype
    assert torch.equal(actual, decay_matrix(gamma, torch.tensor(n), torch.tensor(m), dtype))


def test_decays_are_made_once_for_each_length_type_and_gammas() -> None:
    gamma, other_gamma = (torch.tensor([g, 0.9], dtype=torch.float64) for g in (0.5, 0.6))
    arguments = [
        (gammas, torch.ones(1, 2, length, 4, dtype=dtype))
        for gammas in (gamma, other_gamma)
        for length in (3, 5)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    with decay_cache():
        actual = [chunk_decay(*each) for each in arguments]
        with decay_cache():
            assert chunk_decay(*arguments[0]) is actual[0]
        for (gammas, q), first in zip(arguments, actual, strict=True):
            assert chunk_decay(gammas.clone(), q + 1) is first
    for (gammas, q), first in zip(arguments, actual, strict=True):
        assert chunk_decay(gammas, q) is not first  # the block is over
        for power, expected in zip(first, chunk_decay(gammas, q), strict=True):
            assert power.dtype == expected.dtype
            assert torch.equal(power, expected)


def test_powers_of_a_16_bit_type_are_made_in_32_bits() -> None:
    gamma = torch.tensor([1 - 2**-12], dtype=torch.float64)  # bfloat16 would round it to 1
    power = decay_powers(gamma, torch.tensor([10_000]), torch.bfloat16)
    assert float(power[0, 0]) == pytest.approx((1 - 2**-12) ** 10_000, rel=2**-8)


def test_the_paper_schedule_is_equation_8() -> None:
    gamma = RetNetConfig(d_model=128, n_heads=8).gammas()
    assert gamma.dtype == torch.float64
    assert gamma.tolist() == [1 - 2.0 ** (-5 - h) for h in range(8)]


def test_the_torchscale_schedule_runs_from_1_in_32_to_1_in_512() -> None:
    gamma = RetNetConfig(d_model=40, n_heads=5, decay="torchscale").gammas().tolist()
    # In equal steps of the logarithm: each head forgets half as fast as the one before it.
    assert gamma == pytest.approx([1 - 1 / 32, 1 - 1 / 64, 1 - 1 / 128, 1 - 1 / 256, 1 - 1 / 512])


def test_half_lives_of_the_paper_schedule_double_with_each_head() -> None:
    gamma = RetNetConfig(d_model=64, n_heads=4).gammas()
    half_lives = [math.log(0.5) / math.log(g) for g in gamma.tolist()]
    assert half_lives == pytest.approx([21.83, 44.01, 88.38, 177.1], rel=1e-3)
    for g, tokens in zip(gamma, half_lives, strict=True):
        decay = decay_powers(g[None], torch.tensor([tokens], dtype=torch.float64), torch.float64)
        assert float(decay) == pytest.approx(0.5)
