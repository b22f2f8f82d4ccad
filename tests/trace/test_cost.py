"""What a pass costs: steps, arithmetic and bytes by hand, and the meter on small programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import trace
from retnet_viz.trace.passes import capture
from retnet_viz.trace.views.pass_cost import Meter, measure
from tests.support.examples import examples

ModelFactory = Callable[..., RetNet]
KB = 1000 * 8  # bytes of 1,000 float64


def ids(length: int) -> torch.Tensor:
    return torch.arange(length) * 7 % 50


@settings(max_examples=examples(10))
@given(length=st.integers(1, 12), chunk_size=st.integers(1, 15))
def test_steps_are_one_every_token_or_every_chunk(
    length: int, chunk_size: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(d_model=4, n_layers=1, vocab_size=50)
    steps = {mode: trace(model, ids(length), mode, chunk_size).cost.steps for mode in MODES}
    chunks = len(range(0, length, chunk_size))
    assert steps == {"parallel": 1, "recurrent": length, "chunkwise": chunks}


def test_states_that_were_not_kept_count_as_steps(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", 1)
    model = tiny_model(d_model=4, n_layers=1, vocab_size=50)
    assert trace(model, ids(9), "recurrent").cost.steps == 9
    assert trace(model, ids(9), "chunkwise", 2).cost.steps == 5


def projections(model: RetNet, length: int) -> int:
    """Operations of all matrix products with weights, the same in every mode."""
    c = model.config
    inner = c.n_heads * c.value_dim
    ffn = (3 if c.variant.feed_forward == "swiglu" else 2) * c.d_model * c.ffn_dim
    layer = 2 * c.d_model**2 + 3 * c.d_model * inner + ffn
    return 2 * length * (c.n_layers * layer + c.d_model * c.vocab_size)


@pytest.mark.parametrize("feed_forward", ["gelu", "swiglu"])
def test_arithmetic_is_that_of_the_matrix_products_and_little_more(
    feed_forward: str, tiny_model: ModelFactory
) -> None:
    model = tiny_model(d_model=64, vocab_size=50, n_layers=3, feed_forward=feed_forward)
    length, chunk_size = 50, 16
    heads, d_k, d_v = 2, 32, 64
    products = {
        # Q K^T and (Q K^T * D) V over the whole plane, K^T V once
        "parallel": heads * (length**2 * (d_k + d_v) + length * d_k * d_v),
        # q S, and k^T v as one product of a column by a row, per token
        "recurrent": heads * length * d_k * d_v,
        # the same as parallel over the blocks 16, 16, 16, 2, and Q S and K^T V for every token
        "chunkwise": heads * ((3 * 16**2 + 2**2) * (d_k + d_v) + 2 * length * d_k * d_v),
    }
    for mode in MODES:
        exact = projections(model, length) + 3 * 2 * products[mode]
        flops = trace(model, ids(length), mode, chunk_size).cost.flops
        states = 3 * heads * length * d_k * d_v  # the state's elements over all tokens and layers
        # recurrent makes gamma S + k^T v element by element, in two or three operations
        least, most = (2 * states, 3 * states) if mode == "recurrent" else (0, 0)
        assert exact + least <= flops <= 1.2 * exact + most, mode


@pytest.mark.parametrize("mode", MODES)
def test_the_state_handed_on_is_the_same_for_every_length(
    mode: str, tiny_model: ModelFactory
) -> None:
    for dtype, size in ((torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 4)):
        model = tiny_model(dtype=dtype, n_layers=3, value_factor=1.5)
        sizes = [trace(model, ids(length), mode, 4).cost.state_bytes for length in (1, 5, 17)]
        assert sizes == [3 * 2 * 8 * 12 * size] * 3


def test_the_memory_of_parallel_grows_with_the_square_and_of_recurrent_does_not(
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(d_model=16, vocab_size=50, n_layers=2)
    short, long = 96, 384
    peak = {
        (mode, length): trace(model, ids(length), mode, 16).cost.peak_bytes
        for mode in MODES
        for length in (short, long)
    }
    plane = 2 * long**2 * 8
    assert 2 * plane <= peak["parallel", long] <= 5 * plane  # scores, decay and their product
    assert peak["parallel", long] >= 10 * peak["parallel", short]
    for mode in ("recurrent", "chunkwise"):
        assert peak[mode, long] <= 4.5 * peak[mode, short]
        assert peak[mode, long] < plane


def test_a_parallel_pass_holds_two_planes_and_a_watched_one_three(
    tiny_model: ModelFactory,
) -> None:
    model, length = tiny_model(d_model=4, vocab_size=5, n_layers=1, dtype=torch.float32), 400
    text = ids(length)[None] % 5
    plane = model.config.n_heads * length**2 * 4
    kept: dict[str, torch.Tensor] = {}
    alone = measure(lambda: model(text))[1]
    with listening(kept.__setitem__):
        watched_bytes = measure(lambda: model(text))[1]
    assert 2 * plane < alone < 2.2 * plane
    assert 3 * plane < watched_bytes < 3.3 * plane
    planes = [kept[f"retention.{name}"] for name in ("scores", "decay", "weights")]
    assert len({x.data_ptr() for x in planes}) == 3


@pytest.mark.parametrize("mode", MODES)
def test_the_time_is_measured_and_the_cost_is_measured_once(
    mode: str, tiny_model: ModelFactory
) -> None:
    sample = trace(tiny_model(), ids(9), mode, 4)
    assert sample.cost.milliseconds > 0
    assert sample.cost is sample.cost


def test_the_meter_counts_two_tensors_that_live_at_once() -> None:
    a = torch.ones(1000, dtype=torch.float64)

    def both() -> torch.Tensor:
        b = a + 1
        c = a + 2
        return b * c  # b, c and the product

    flops, peak = measure(both)
    assert peak == 3 * KB
    assert flops == 3 * 1000


def test_the_meter_lets_go_of_freed_tensors() -> None:
    a = torch.ones(1000, dtype=torch.float64)

    def one_after_the_other() -> None:
        for _ in range(10):
            b = a + 1
            del b

    assert measure(one_after_the_other) == (10 * 1000, KB)


def test_the_meter_sees_the_peak_not_the_end() -> None:
    a = torch.ones(1000, dtype=torch.float64)

    def rise_and_fall() -> None:
        kept = [a + i for i in range(5)]
        del kept
        _ = a + 1
        _ = a[:10] + 1

    assert measure(rise_and_fall)[1] == 5 * KB


def test_to_the_meter_views_and_writing_in_place_hold_nothing() -> None:
    a = torch.ones(1000, dtype=torch.float64)

    def views() -> None:
        b = a.view(10, 100).mT[:5].unsqueeze(0).expand(3, -1, -1)
        assert b.shape == (3, 5, 10)

    def in_place() -> None:
        b = a + 1
        b.add_(1).mul_(2)
        b[:500] -= 1
        c = b.view(-1)
        c.clamp_(min=0)

    assert measure(views) == (0, 0)
    assert measure(in_place)[1] == KB


def test_a_view_keeps_what_it_looks_at_alive() -> None:
    a = torch.ones(1000, dtype=torch.float64)

    def keep_a_view() -> torch.Tensor:
        b = (a + 1)[:1]  # one element, but the storage of a thousand
        return (a + b)[:1]

    assert measure(keep_a_view)[1] == 2 * KB


def test_the_meter_does_not_count_what_was_there_before() -> None:
    weight = torch.ones(100, 100)
    flops, peak = measure(lambda: weight @ weight[:, :1])
    assert peak == 100 * 4
    assert flops == 2 * 100 * 100


@given(b=st.integers(1, 3), n=st.integers(1, 5), m=st.integers(1, 5), k=st.integers(1, 5))
def test_the_meter_counts_two_operations_per_multiply_add(b: int, n: int, m: int, k: int) -> None:
    x, y = torch.ones(b, n, k), torch.ones(b, k, m)
    assert measure(lambda: x @ y)[0] == 2 * b * n * m * k
    assert measure(lambda: torch.nn.functional.linear(x, torch.ones(m, k)))[0] == 2 * b * n * m * k
    assert measure(lambda: (x > 0) & (x < 2))[0] == 0  # comparisons are no floating-point results


def test_the_meter_gives_what_the_program_gives() -> None:
    with Meter():
        value = torch.arange(6.0).view(2, 3).softmax(-1) @ torch.ones(3, 1)
    assert torch.allclose(value, torch.ones(2, 1))
