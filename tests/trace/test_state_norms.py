"""The norms of all states, derived without the states, are those of the states."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.model import RetNet
from retnet_viz.trace import trace
from retnet_viz.trace.views import states
from retnet_viz.trace.views.pass_cost import Meter
from retnet_viz.trace.views.state_norms import state_norms

GAMMA = torch.tensor([0.3, 0.97, 1 - 2**-12, 1.0], dtype=torch.float64)


def direct(k: Tensor, v: Tensor, gamma: Tensor) -> Tensor:
    """(H, T), by the recurrence itself in float64."""
    state = torch.zeros(len(k), k.shape[-1], v.shape[-1], dtype=torch.float64)
    norms = []
    for k_n, v_n in zip(k.double().unbind(1), v.double().unbind(1), strict=True):
        state = gamma.view(-1, 1, 1) * state + k_n[:, :, None] * v_n[:, None, :]
        norms.append(torch.linalg.vector_norm(state, dim=(-2, -1)))
    return torch.stack(norms, dim=1)


def random_text(length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    k, v = (torch.randn(4, length, width, generator=generator) for width in (4, 6))
    return k, v


def relative(actual: Tensor, expected: Tensor) -> float:
    """The largest error; of norms below 1e-150, whose squares are no numbers, in those."""
    return float(((actual - expected).abs() / expected.clamp(min=1e-150)).max())


@given(length=st.integers(1, 400), seed=st.integers(0, 99), zero=st.floats(0, 1))
def test_they_are_the_norms_of_the_recurrence(length: int, seed: int, zero: float) -> None:
    k, v = random_text(length, seed)
    k[:, : round(zero * length)] = 0
    v[:, ::7] = 0
    expected = direct(k, v, GAMMA)
    actual = state_norms(k, v, GAMMA)
    assert actual.dtype == torch.float64
    assert actual.shape == (4, length)
    assert ((actual - expected).abs() <= 1e-12 * expected).all()
    assert (actual[expected == 0] == 0).all()


def test_no_error_adds_up_in_a_long_text() -> None:
    k, v = random_text(10_000)
    k[:, 4000:4500] = 0
    assert relative(state_norms(k, v, GAMMA), direct(k, v, GAMMA)) < 1e-11


@pytest.mark.parametrize("left", [0.0, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("at", [1, 37, 64, 100])
def test_terms_that_cancel_leave_what_the_recurrence_leaves(at: int, left: float) -> None:
    """Token `at` takes back what token 0 wrote, but for a share that is left."""
    k, v = torch.zeros(1, 130, 4, dtype=torch.float64), torch.zeros(1, 130, 6, dtype=torch.float64)
    k[0, 0, 0] = k[0, at, 0] = 1
    v[0, 0, 2] = 1e3
    gamma = torch.tensor([1.0], dtype=torch.float64)
    v[0, at, 2] = -1e3 * (1 - left)
    expected = direct(k, v, gamma)
    actual = state_norms(k, v, gamma)
    assert actual.isfinite().all()
    assert ((actual - expected).abs() <= 1e-6 * expected + 1e-12).all()


def test_keys_of_32_bits_are_summed_in_64() -> None:
    k, v = random_text(3000)
    assert relative(state_norms(k, v, GAMMA), direct(k, v, GAMMA)) < 1e-11
    assert state_norms(k.bfloat16(), v.bfloat16(), GAMMA).dtype == torch.float64


def test_memory_grows_with_the_text_and_not_with_the_states() -> None:
    peaks = []
    for length in (8192, 16384):
        k, v = random_text(length)
        with Meter() as meter:
            state_norms(k, v, GAMMA)
        peaks.append(meter.peak_bytes)
    # what is added for 8,192 tokens: their norms twice; the states would be 4 * 24 * 8 bytes each
    assert peaks[1] - peaks[0] <= 8192 * 4 * 8 * 2 + 1024


@pytest.mark.parametrize(("mode", "calls"), [("parallel", 1), ("chunkwise", 1), ("recurrent", 0)])
def test_only_a_mode_without_the_states_derives_them_so(
    mode: str,
    calls: int,
    tiny_model: Callable[..., RetNet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def spy(k: Tensor, v: Tensor, gamma: Tensor) -> Tensor:
        seen.append(k.shape[1])
        return state_norms(k, v, gamma)

    monkeypatch.setattr(states, "state_norms", spy)
    actual = trace(tiny_model(), torch.arange(30), mode, 4)
    first, again = actual.state_norm(1), actual.state_norm(1)
    assert seen == [30] * calls
    assert first is again
    for n in range(30):
        expected = torch.linalg.vector_norm(actual.state(1, n), dim=(-2, -1))
        assert torch.allclose(first[:, n], expected, rtol=1e-12, atol=0)
