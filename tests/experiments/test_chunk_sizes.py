"""The curve over the chunk size: what is measured, what is foretold, and how it is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.experiments import ChunkCurve, chunk_curve
from retnet_viz.experiments.speed import chunk_sizes
from retnet_viz.experiments.speed.chunk_sizes import predicted_bytes
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.model.retention import chunkwise, retain
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.views.pass_cost import measure

ModelFactory = Callable[..., RetNet]


def make_trace(model: RetNet, length: int, mode: str = "parallel", chunk_size: int = 4) -> Trace:
    return trace(model, torch.arange(length) * 7 % 50, mode, chunk_size)


@pytest.fixture(scope="module")
def model(tiny_model: ModelFactory) -> RetNet:
    return tiny_model(vocab_size=50)


class Workshop:
    """Stands in for the clock and for the form: a run of chunk size B takes `seconds(B)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now = 0.0
        self.runs: list[int] = []  # chunk sizes, in the order in which they ran

        def run(*arguments: object) -> tuple[Tensor, Tensor]:
            size = arguments[-1]
            assert isinstance(size, int)
            self.runs.append(size)
            self.now += seconds(size)
            return chunkwise(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(chunk_sizes, "chunkwise", run)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def flops_of(traced: Trace, layer: int, size: int) -> int:
    q, k, v = (x[None] for x in (traced.q(layer), traced.k(layer), traced.v(layer)))
    return measure(lambda: retain(q, k, v, traced.gamma(layer), None, "chunkwise", size))[0]


# -- which sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "chunk_size", "sizes"),
    [
        (1, 1, (1,)),
        (1, 64, (1,)),
        (2, 64, (1, 2)),
        (8, 8, (1, 2, 4, 8)),
        (10, 3, (1, 2, 3, 4, 8, 10)),
        (10, 64, (1, 2, 4, 8, 10)),
    ],
)
def test_by_default_sizes_double_and_end_with_the_text(
    model: RetNet, length: int, chunk_size: int, sizes: tuple[int, ...]
) -> None:
    for mode in MODES:
        curve = chunk_curve(make_trace(model, length, mode, chunk_size), 1)
        assert curve.sizes == sizes
        assert (curve.layer, curve.length) == (1, length)
        for values in (curve.milliseconds, curve.predicted_milliseconds):
            assert len(values) == len(sizes)
            assert all(value > 0 for value in values)


def test_chosen_sizes_are_sorted_and_none_is_longer_than_the_text(model: RetNet) -> None:
    assert chunk_curve(make_trace(model, 9), 0, sizes=[5, 2, 100, 2, 9]).sizes == (2, 5, 9)


@pytest.mark.parametrize("size", [0, -3, 2.0, True, None, "4"])
def test_a_size_that_is_none_is_refused(model: RetNet, size: object) -> None:
    with pytest.raises(ValueError, match=f"a whole number of 1 or more, not {size!r}"):
        chunk_curve(make_trace(model, 5), 0, sizes=[1, size])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="sizes names no chunk size"):
        chunk_curve(make_trace(model, 5), 0, sizes=[])
    with pytest.raises(IndexError, match="layer 2 is outside"):
        chunk_curve(make_trace(model, 5), 2)


def test_sizes_beyond_the_budgets_are_left_out(
    model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = make_trace(model, 40, chunk_size=10)
    everything = chunk_curve(traced, 0)
    monkeypatch.setattr(chunk_sizes, "STEP_BUDGET", 10)
    assert chunk_curve(traced, 0).sizes == (4, 8, 10, 16, 32, 40)
    monkeypatch.setattr(chunk_sizes, "MEMORY_BUDGET", everything.predicted_bytes[5])
    assert everything.sizes[5] == 16
    assert chunk_curve(traced, 0).sizes == (4, 8, 10, 16)
    monkeypatch.setattr(chunk_sizes, "MEMORY_BUDGET", 0)
    assert chunk_curve(traced, 0).sizes == (10,)  # one at least
    assert chunk_curve(traced, 0, sizes=[1, 40]).sizes == (1, 40)  # who asks for it gets it


# -- memory -----------------------------------------------------------------------------------


@example(length=111, size=56, heads=1, widths=(8, 16), dtype=torch.float64)  # a last D peaks
@example(length=55, size=38, heads=6, widths=(2, 64), dtype=torch.bfloat16)  # copies in 32 bits
@given(
    length=st.integers(1, 70),
    size=st.integers(1, 70),
    heads=st.integers(1, 5),
    widths=st.sampled_from([(8, 8), (8, 16), (16, 4), (32, 64)]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
def test_bytes_foretold_from_the_shapes_are_those_the_meter_finds(
    length: int, size: int, heads: int, widths: tuple[int, int], dtype: torch.dtype
) -> None:
    d_k, d_v = widths
    q, k, v = (torch.ones(1, heads, length, width, dtype=dtype) for width in (d_k, d_k, d_v))
    gamma = torch.full((heads,), 0.9, dtype=torch.float64)
    size = min(size, length)
    peak = measure(lambda: retain(q, k, v, gamma, None, "chunkwise", size))[1]
    assert predicted_bytes(length, size, heads, d_k, d_v, dtype) == pytest.approx(peak, rel=0.02)


def test_the_memory_is_that_of_the_layers_retention_in_all_heads(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50, n_heads=4, d_model=64, value_factor=1.5)
    traced = make_trace(model, 60)
    curve = chunk_curve(traced, 1, sizes=[1, 16, 60])
    outputs = 4 * 60 * 24 * 8
    assert curve.peak_bytes[0] > 2 * outputs  # those of each token, and all as one tensor
    assert curve.peak_bytes[0] < 2 * outputs + 4 * (4 * 16 * 24 * 8)  # and a few states, no more
    plane = 4 * 60 * 60 * 8
    assert 2 * plane < curve.peak_bytes[2] < 3 * plane  # decay, and scores that become the weights
    for size, peak in zip(curve.sizes, curve.peak_bytes, strict=True):
        assert peak == pytest.approx(predicted_bytes(60, size, 4, 16, 24, torch.float64), rel=0.02)
    assert curve.predicted_bytes == tuple(
        predicted_bytes(60, size, 4, 16, 24, torch.float64) for size in curve.sizes
    )


# -- time -------------------------------------------------------------------------------------


def test_rounds_run_every_size_once_in_turn(model: RetNet, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(monkeypatch, lambda size: 0.06)
    curve = chunk_curve(make_trace(model, 8), 0)
    sizes = list(curve.sizes)
    rounds = [shop.runs[i : i + len(sizes)] for i in range(0, len(shop.runs), len(sizes))]
    assert rounds == [sizes] * (1 + 6)  # measured, then as many as 1.5 s have room for


@pytest.mark.parametrize(
    ("seconds", "rounds"), [(1e-5, 9), (0.1, 3), (0.24, 3), (0.26, 1), (9.0, 1)]
)
def test_there_are_at_least_three_rounds_unless_one_takes_a_second(
    model: RetNet, monkeypatch: pytest.MonkeyPatch, seconds: float, rounds: int
) -> None:
    shop = Workshop(monkeypatch, lambda size: seconds)
    steps: list[tuple[int, int]] = []
    chunk_curve(make_trace(model, 8), 0, progress=lambda *step: steps.append(step))
    assert len(shop.runs) == 4 * (1 + rounds)
    assert steps[-1] == (4 * (1 + rounds),) * 2


def test_a_time_is_the_median_of_its_rounds(model: RetNet, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([99.0, 99.0, 0.2, 0.3, 0.9, 0.1, 0.1, 0.2])  # measured; then rounds of two sizes
    Workshop(monkeypatch, lambda size: next(times))
    assert chunk_curve(make_trace(model, 8), 0, sizes=[2, 4]).milliseconds == pytest.approx(
        (200, 200)
    )


def test_the_two_constants_come_from_the_two_ends_alone(
    model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = make_trace(model, 50)
    flops = {size: flops_of(traced, 1, size) for size in (1, 2, 4, 8, 16, 32, 50)}

    def honest(size: int) -> float:
        return 3e-5 * -(-50 // size) + flops[size] / 2e9

    Workshop(monkeypatch, honest)
    curve = chunk_curve(traced, 1)
    expected = tuple(1000 * honest(size) for size in flops)
    assert curve.predicted_milliseconds == pytest.approx(expected)
    assert curve.step_milliseconds == pytest.approx(0.03)
    assert curve.flops_per_second == pytest.approx(2e9)
    # What lies between is measured as it is, and does not move what is foretold.
    Workshop(monkeypatch, lambda size: honest(size) * (1 if size in (1, 50) else 5))
    other = chunk_curve(traced, 1)
    assert other.milliseconds[1:-1] == pytest.approx([5 * value for value in expected[1:-1]])
    assert other.predicted_milliseconds == pytest.approx(expected)


@given(first=st.floats(1e-6, 1), last=st.floats(1e-6, 1))
def test_no_noise_makes_a_time_negative(
    tiny_model: ModelFactory, first: float, last: float
) -> None:
    traced = make_trace(tiny_model(vocab_size=50, n_layers=1), 12)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Workshop(monkeypatch, lambda size: first if size == 1 else last)
        curve = chunk_curve(traced, 0)
    assert curve.step_milliseconds >= 0
    assert curve.flops_per_second > 0
    assert all(value > 0 for value in curve.predicted_milliseconds)
    if curve.step_milliseconds > 0 and curve.flops_per_second < float("inf"):
        ends = (curve.predicted_milliseconds[0], curve.predicted_milliseconds[-1])
        assert ends == pytest.approx((1000 * first, 1000 * last))


def test_what_is_timed_is_the_layers_own_retention(model: RetNet) -> None:
    traced = make_trace(model, 9)
    states: list[Tensor] = []

    def keep(name: str, tensor: Tensor) -> None:
        if name == "retention.state":
            states.append(tensor[0])
            assert not tensor.requires_grad

    with listening(keep):
        chunk_curve(traced, 1, sizes=[9])
    assert len(states) >= 4  # measured, then timed
    for state in states:
        assert torch.equal(state, traced.state(1, -1))


def test_a_single_size_is_foretold_as_it_is_measured(model: RetNet) -> None:
    curve = chunk_curve(make_trace(model, 1), 0)
    assert curve.predicted_milliseconds == pytest.approx(curve.milliseconds)
    assert curve.flops_per_second == float("inf")
    assert curve.best == 1


def test_the_best_size_is_the_one_that_took_least() -> None:
    times = (4.0, 2.0, 1.0, 3.0)
    curve = ChunkCurve((1, 2, 4, 8), times, (9, 8, 7, 6), times, (9, 8, 7, 6), 0, 8, 1.0, 1.0)
    assert curve.best == 4


# -- cancelling -------------------------------------------------------------------------------


def test_progress_counts_every_run_and_ends_with_all_done(model: RetNet) -> None:
    steps: list[tuple[int, int]] = []
    curve = chunk_curve(make_trace(model, 9), 0, progress=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert all(done <= total for done, total in steps)
    totals = [total for _, total in steps]
    assert totals == sorted(totals, reverse=True)
    assert steps[-1][0] == steps[-1][1] >= 4 * len(curve.sizes)


@pytest.mark.parametrize("after", [1, 4, 7])  # while metering, at its end, in a round
def test_progress_may_end_it_and_leaves_nothing_running(
    model: RetNet, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    shop = Workshop(monkeypatch, lambda size: 0.01)
    traced = make_trace(model, 8)

    def cancel(done: int, _total: int) -> None:
        if done == after:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        chunk_curve(traced, 0, progress=cancel)
    assert len(shop.runs) == after
    assert (torch.ones(2) + 1).sum() == 4  # no meter is left behind
    assert torch.is_grad_enabled()
    assert chunk_curve(traced, 0).sizes == (1, 2, 4, 8)


@pytest.mark.parametrize("after", [1, 40, 400])
def test_a_listener_that_raises_stops_it_in_the_middle_of_a_run(model: RetNet, after: int) -> None:
    traced = make_trace(model, 16)
    states = 0

    def give_way(_name: str, _tensor: Tensor) -> None:
        nonlocal states
        states += 1
        if states >= after:
            raise InterruptedError

    with pytest.raises(InterruptedError), listening(give_way):
        chunk_curve(traced, 0)
    assert states == after
    chunk_curve(traced, 0)
    assert states == after


def test_the_trace_is_as_it_was(model: RetNet) -> None:
    traced = make_trace(model, 9, "chunkwise")
    before = [x.clone() for x in (traced.q(0), traced.k(0), traced.v(0), traced.gamma(0))]
    chunk_curve(traced, 0)
    for x, expected in zip(
        (traced.q(0), traced.k(0), traced.v(0), traced.gamma(0)), before, strict=True
    ):
        assert torch.equal(x, expected)
    assert traced.chunk_size == 4
