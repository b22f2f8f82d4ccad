"""The steps of each mode against its forward pass: what it published and what a meter counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz import schedule
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.model.retention import retain
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.views.pass_cost import Meter

ModelFactory = Callable[..., RetNet]
BLOCKS = ("retention.scores", "retention.decay", "retention.weights")
NAMES = {  # what a mode publishes, as a trace names it
    "retention.scores": "scores",
    "retention.decay": "decay",
    "retention.weights": "retention",
    "retention.inner": "inner",
    "retention.cross": "cross",
    "retention.state": "state",
}


@st.composite
def traces(draw: st.DrawFn) -> Callable[[ModelFactory, str], Trace]:
    """A maker of traces over drawn lengths, chunk sizes, widths and precisions."""
    heads = draw(st.integers(1, 3))
    fields = {
        "n_heads": heads,
        "d_model": heads * draw(st.sampled_from([2, 4, 6])),
        "value_factor": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "n_layers": draw(st.integers(1, 2)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16])),
    }
    length, chunk_size = draw(st.integers(1, 13)), draw(st.integers(1, 16))
    ids = torch.arange(length) * 7 % 50

    def make(model: ModelFactory, mode: str) -> Trace:
        return trace(model(vocab_size=50, **fields), ids, mode, chunk_size)

    return make


def one_head(sample: Trace, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v (1, 1, T, ...) and gamma (1,) of one head."""
    q, k, v = (
        x[None, head : head + 1] for x in (sample.q(layer), sample.k(layer), sample.v(layer))
    )
    return q, k, v, sample.gamma(layer)[head : head + 1]


def capture_head(sample: Trace, layer: int, head: int) -> dict[str, list[Tensor]]:
    """All that the mode publishes when it runs for one head."""
    tensors: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad(), listening(lambda name, tensor: tensors[name].append(tensor)):
        retain(*one_head(sample, layer, head), None, sample.mode, sample.chunk_size)
    return tensors


@pytest.mark.parametrize("mode", MODES)
@given(make=traces())
def test_the_steps_are_those_that_the_pass_took(
    mode: str, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, mode)
    layer, head = sample.n_layers - 1, sample.n_heads - 1
    steps = schedule(sample, layer, head)
    tensors = capture_head(sample, layer, head)
    assert len(steps) == len(steps.steps) == len(tensors["retention.state"]) == sample.cost.steps
    assert [step.index for step in steps.steps] == list(range(len(steps)))
    assert (steps.mode, steps.layer, steps.head) == (mode, layer, head)
    assert (steps.length, steps.chunk_size) == (sample.length, sample.chunk_size)

    # every token's output is given once, in order, by the step that `step_of` names
    assert [n for step in steps.steps for n in step.tokens] == list(range(sample.length))
    for n in range(sample.length):
        assert n in steps.steps[steps.step_of(n)].tokens

    # the cells of each step are the block of scores that the pass published
    shapes = [(len(step.tokens), len(step.cells)) for step in steps.steps if step.cells]
    assert shapes == [tuple(block.shape[-2:]) for block in tensors["retention.scores"]]
    for step, block in zip(steps.steps, tensors["retention.scores"], strict=bool(shapes)):
        q = sample.q(layer)[head, step.tokens.start : step.tokens.stop]
        k = sample.k(layer)[head, step.cells.start : step.cells.stop]
        assert torch.allclose(block[0, 0].double(), q.double() @ k.double().mT, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("mode", MODES)
@given(make=traces())
def test_each_step_makes_what_the_pass_published_in_it(
    mode: str, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, mode)
    addresses: list[dict[str, int]] = [
        {}
    ]  # step -> name as a trace has it -> address of the tensor

    def listen(name: str, tensor: Tensor) -> None:
        kept.append(tensor)  # or another tensor may take its address
        addresses[-1][NAMES[name]] = tensor.data_ptr()
        if name == "retention.state":
            addresses.append({})

    kept: list[Tensor] = []
    with torch.no_grad(), listening(listen):
        retain(*one_head(sample, 0, 0), None, mode, sample.chunk_size)
    last_decay = None
    for step, names in zip(schedule(sample, 0, 0).steps, addresses, strict=False):
        assert {"q", "k", "v"} <= set(step.reads)
        assert "head_output" in step.writes
        decay = names.pop("decay", None)
        # the table of an earlier chunk is read again, not made again
        fresh = decay is not None and decay != last_decay
        assert ("decay" in step.writes) is fresh
        assert ("decay" in step.reads) is (decay is not None and not fresh)
        last_decay = decay
        assert set(step.writes) - {"head_output", "decay"} == set(names)
        assert ("state" in step.reads) is (step.carried_from is not None)


@pytest.mark.parametrize("mode", MODES)
@given(make=traces())
def test_the_arithmetic_of_each_step_is_what_a_meter_counts(
    mode: str, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, mode)
    layer, head = sample.n_layers - 1, sample.n_heads - 1
    counts = []
    with torch.no_grad(), Meter() as meter:

        def cut(name: str, _: Tensor) -> None:
            if name == "retention.state":
                counts.append(meter.flops)

        with listening(cut):
            retain(*one_head(sample, layer, head), None, mode, sample.chunk_size)
    flops = [step.flops for step in schedule(sample, layer, head).steps]
    assert sum(flops) == meter.flops
    totals = [sum(flops[: i + 1]) for i in range(len(flops))]
    if mode == "recurrent":  # publishes S_n before it reads it: q_n S_n falls behind the cut
        read = 2 * sample.k(layer).shape[-1] * sample.v(layer).shape[-1]
        assert [total - read for total in totals] == counts
    else:
        assert totals == counts


@pytest.mark.parametrize("mode", MODES)
@given(make=traces())
def test_the_bytes_of_each_step_are_those_of_the_tensors(
    mode: str, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, mode)
    tensors = capture_head(sample, 0, 0)
    states = [state.nbytes for state in tensors["retention.state"]]
    for i, step in enumerate(schedule(sample, 0, 0).steps):
        blocks = sum(tensors[name][i].nbytes for name in BLOCKS if name in tensors)
        read = 0 if step.carried_from is None else states[max(0, i - 1)]
        assert step.held_bytes == blocks + read + states[i]
        assert step.carried_bytes == states[i]
        assert step.carried_bytes * sample.n_heads == sample.state(0, step.tokens[-1]).nbytes


@pytest.mark.parametrize("mode", MODES)
@given(make=traces())
def test_a_step_reads_the_state_that_the_step_before_it_left(
    mode: str, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, mode)
    left = -1
    for step in schedule(sample, 0, 0).steps:
        assert step.carried_from == (None if mode == "parallel" else left)
        left = step.tokens[-1]


def test_the_steps_of_seven_tokens_in_chunks_of_three(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    ids = torch.arange(7)
    (whole,) = schedule(trace(model, ids, "parallel"), 0, 0).steps
    assert (whole.tokens, whole.cells) == (range(7), range(7))
    tokens = schedule(trace(model, ids, "recurrent"), 0, 0).steps
    assert [(step.tokens, len(step.cells)) for step in tokens] == [
        (range(n, n + 1), 0) for n in range(7)
    ]
    chunks = schedule(trace(model, ids, "chunkwise", 3), 0, 0)
    assert [step.cells for step in chunks.steps] == [range(3), range(3, 6), range(6, 7)]
    assert [step.carried_from for step in chunks.steps] == [-1, 2, 5]
    assert [chunks.step_of(n) for n in range(7)] == [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_a_schedule_refuses_what_there_is_not(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(5), mode, 2)
    for head in (2, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 1"):
            schedule(sample, 0, head)
    for layer in (2, -1):
        with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
            schedule(sample, layer, 0)
    steps = schedule(sample, 0, 0)
    for n in (5, -1):
        with pytest.raises(IndexError, match=f"position {n} is outside a text of 5 tokens"):
            steps.step_of(n)
    with pytest.raises(FrozenInstanceError):
        steps.steps[0].flops = 0  # type: ignore[misc]
