"""Times per step: as many as the schedule has steps, and together the whole run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from retnet_viz import schedule
from retnet_viz.experiments import step_times
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace, trace

ModelFactory = Callable[..., RetNet]


def make_trace(model: RetNet, length: int, mode: str = "parallel", chunk_size: int = 4) -> Trace:
    return trace(model, torch.arange(length) * 7 % 50, mode, chunk_size)


@pytest.fixture(scope="module")
def model(tiny_model: ModelFactory) -> RetNet:
    return tiny_model(vocab_size=50)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("length", "chunk_size"), [(1, 1), (1, 8), (11, 4), (12, 4), (5, 9)])
def test_there_is_a_time_for_each_step_of_the_schedule(
    model: RetNet, mode: str, length: int, chunk_size: int
) -> None:
    for own in MODES:  # whatever mode the trace itself ran in
        traced = make_trace(model, length, own, chunk_size)
        times = step_times(traced, 1, mode, repeats=2)
        assert len(times) == len(schedule(traced.in_mode(mode), 1, 0))
        assert all(milliseconds > 0 for milliseconds in times)


def ticking(monkeypatch: pytest.MonkeyPatch, ticks: Iterator[float], steps: int) -> None:
    """A clock that advances by one tick at every look; each run looks steps + 2 times."""
    looks, now, tick = 0, 0.0, 0.0

    def clock() -> float:
        nonlocal looks, now, tick
        if looks % (steps + 2) == 0:
            tick = next(ticks)
        looks += 1
        now += tick
        return now

    monkeypatch.setattr(time, "perf_counter", clock)


@pytest.mark.parametrize(("mode", "steps"), [("parallel", 1), ("recurrent", 7), ("chunkwise", 2)])
def test_the_steps_together_are_the_whole_run(
    model: RetNet, monkeypatch: pytest.MonkeyPatch, mode: str, steps: int
) -> None:
    traced = make_trace(model, 7)
    ticking(monkeypatch, iter([1.0] * 4), steps)
    # From the start to each state one tick, and one more to the end of the run.
    assert step_times(traced, 0, mode, repeats=3) == (*[1000.0] * (steps - 1), 2000.0)


def test_a_time_is_the_median_and_the_first_run_warms_up(
    model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = make_trace(model, 3)
    ticking(monkeypatch, iter([900.0, 1.0, 500.0, 3.0]), steps=3)
    assert step_times(traced, 0, "recurrent", repeats=3) == (3000.0, 3000.0, 6000.0)


def test_what_is_timed_is_the_layers_own_retention(model: RetNet) -> None:
    traced = make_trace(model, 11, "chunkwise")
    published: list[tuple[str, Tensor]] = []
    with listening(lambda name, tensor: published.append((name, tensor))):
        step_times(traced, 1, "chunkwise", repeats=1)
    states = [tensor[0] for name, tensor in published if name == "retention.state"]
    assert len(states) == 2 * 3  # the run that warms up, and the one that counts
    for state, last in zip(states, (3, 7, 10, 3, 7, 10), strict=True):
        assert torch.equal(state, traced.state(1, last))
    assert not torch.equal(traced.state(0, 10), traced.state(1, 10))


@pytest.mark.parametrize("mode", MODES)
def test_a_listener_that_raises_stops_it_at_once(model: RetNet, mode: str) -> None:
    traced = make_trace(model, 9)
    published = 0

    def give_way(_name: str, _tensor: Tensor) -> None:
        nonlocal published
        published += 1
        raise InterruptedError

    with pytest.raises(InterruptedError), listening(give_way):
        step_times(traced, 0, mode)
    assert published == 1
    step_times(traced, 0, mode, repeats=1)
    assert published == 1


def test_what_there_is_not_is_refused(model: RetNet) -> None:
    traced = make_trace(model, 3)
    with pytest.raises(ValueError, match=r"mode must be one of .*, not 'diagonal'"):
        step_times(traced, 0, "diagonal")
    with pytest.raises(IndexError, match="layer 2 is outside"):
        step_times(traced, 2, "parallel")
    for repeats in (0, -1):
        with pytest.raises(ValueError, match=f"repeats must be 1 or more, not {repeats}"):
            step_times(traced, 0, "parallel", repeats)
