"""The terms of each mode's equation: the tensors of its pass, and that they make its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz import terms
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import ChunkTerms, ParallelTerms, RecurrentTerms, Trace, trace
from retnet_viz.trace.passes import capture
from retnet_viz.trace.views.pass_cost import Meter

ModelFactory = Callable[..., RetNet]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@st.composite
def traces(draw: st.DrawFn) -> Callable[[ModelFactory, str], Trace]:
    heads = draw(st.integers(1, 3))
    gammas = st.lists(st.sampled_from([0.3, 0.9, 1.0]), min_size=heads, max_size=heads)
    fields = {
        "seed": draw(st.integers(0, 99)),
        "n_heads": heads,
        "d_model": heads * draw(st.sampled_from([2, 4])),
        "value_factor": draw(st.sampled_from([0.5, 2.0])),
        "decay": draw(gammas.map(tuple)),
        "n_layers": 2,
        "dtype": draw(st.sampled_from(DTYPES)),
    }
    ids = torch.tensor(draw(st.lists(st.integers(0, 49), min_size=1, max_size=9)))
    chunk_size = draw(st.integers(1, 11))
    return lambda model, mode: trace(model(vocab_size=50, **fields), ids, mode, chunk_size)


def places(sample: Trace) -> Iterator[tuple[int, int, int]]:
    """Every head and token of the last layer."""
    for head in range(sample.n_heads):
        for n in range(sample.length):
            yield sample.n_layers - 1, head, n


def capture_layer(sample: Trace, layer: int) -> dict[str, list[Tensor]]:
    """What a fresh pass publishes in one layer, all heads, without the batch axis."""
    layers: list[dict[str, list[Tensor]]] = []

    def keep(name: str, tensor: Tensor) -> None:
        if name == "layer.input":
            layers.append({})
        if layers:
            tensor = tensor if name == "retention.decay" else tensor[0]
            layers[-1].setdefault(name, []).append(tensor)

    with torch.no_grad(), listening(keep):
        sample.model(sample.ids[None], mode=sample.mode, chunk_size=sample.chunk_size)
    return layers[layer]


def near(sample: Trace, a: Tensor, b: Tensor) -> bool:
    """Equal up to the rounding of the trace's precision."""
    digits = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 3e-2}
    tolerance = digits[sample.q(0).dtype]
    scale = max(1.0, b.double().abs().max().item())
    return bool((a.double() - b.double()).abs().max() <= tolerance * scale)


@given(make=traces())
def test_parallel_terms_are_row_n_of_the_pass_and_sum_to_its_output(
    make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, "parallel")
    for layer, head, n in places(sample):
        tensors = capture_layer(sample, layer)
        step_terms = terms(sample, layer, head, n)
        assert isinstance(step_terms, ParallelTerms)
        assert (step_terms.n, step_terms.gamma) == (n, sample.gamma(layer)[head].item())
        cols = slice(0, n + 1)
        assert torch.equal(step_terms.scores, tensors["retention.scores"][0][head, n, cols])
        assert torch.equal(step_terms.decay, tensors["retention.decay"][0][head, n, cols])
        assert torch.equal(step_terms.weights, tensors["retention.weights"][0][head, n, cols])
        assert torch.equal(step_terms.values, tensors["retention.v"][0][head, cols])
        assert torch.equal(step_terms.output, tensors["retention.output"][0][head, n])
        assert torch.equal(step_terms.weights, step_terms.scores * step_terms.decay)
        assert near(
            sample, step_terms.weights.double() @ step_terms.values.double(), step_terms.output
        )


@pytest.mark.parametrize("budget", [capture.STATE_BUDGET, 1])
@given(make=traces())
def test_recurrent_terms_are_the_step_that_the_pass_took(
    budget: int, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # a budget of one byte keeps no state but two
        patch.setattr(capture, "STATE_BUDGET", budget)
        sample = make(tiny_model, "recurrent")
    for layer, head, n in places(sample):
        tensors = capture_layer(sample, layer)
        step_terms = terms(sample, layer, head, n)
        assert isinstance(step_terms, RecurrentTerms)
        assert (step_terms.n, step_terms.gamma) == (n, sample.gamma(layer)[head].item())
        states = tensors["retention.state"]
        before = states[n - 1][head] if n else torch.zeros_like(states[0][head])
        assert torch.equal(step_terms.before, before)
        assert torch.equal(step_terms.state, states[n][head])
        for name in ("q", "k", "v", "output"):
            assert torch.equal(
                getattr(step_terms, name), tensors[f"retention.{name}"][0][head, n]
            ), name
        # the operation of the pass itself, from these very tensors, ends in its very state
        step = torch.addcmul(
            step_terms.faded[None],
            step_terms.k.to(step_terms.state)[None, :, None],
            step_terms.v.to(step_terms.state)[None, None],
        )[0]
        assert torch.equal(step, step_terms.state)
        assert torch.equal(step_terms.faded, sample.gamma(layer)[head].to(before) * before)
        outer = [[a * b for b in step_terms.v.tolist()] for a in step_terms.k.tolist()]
        assert np.allclose(step_terms.added.numpy(), outer, rtol=1e-6, atol=1e-30)
        assert step_terms.added.dtype == step_terms.state.dtype
        assert near(sample, step_terms.faded + step_terms.added, step_terms.state)
        assert near(sample, step_terms.q.double() @ step_terms.state.double(), step_terms.output)
        assert step_terms.contributions.shape == (n + 1,)
        newest = torch.linalg.matrix_norm(step_terms.added.double()).item()
        assert step_terms.contributions[-1].item() == pytest.approx(newest, rel=1e-5)


@given(make=traces())
def test_chunk_terms_are_the_chunk_that_the_pass_took(
    make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, "chunkwise")
    for layer, head, n in places(sample):
        tensors = capture_layer(sample, layer)
        step_terms = terms(sample, layer, head, n)
        assert isinstance(step_terms, ChunkTerms)
        assert (step_terms.n, step_terms.gamma) == (n, sample.gamma(layer)[head].item())
        i = step_terms.chunk
        assert n in step_terms.tokens
        assert step_terms.tokens.start == i * sample.chunk_size
        assert step_terms.tokens.stop == min((i + 1) * sample.chunk_size, sample.length)
        states = tensors["retention.state"]
        before = states[i - 1][head] if i else torch.zeros_like(states[0][head])
        assert torch.equal(step_terms.weights, tensors["retention.weights"][i][head])
        assert torch.equal(step_terms.before, before)
        assert torch.equal(step_terms.state, states[i][head])
        assert torch.equal(step_terms.inner, tensors["retention.inner"][i][head])
        assert torch.equal(step_terms.cross, tensors["retention.cross"][i][head])
        chunk = slice(step_terms.tokens.start, step_terms.tokens.stop)
        assert torch.equal(step_terms.output, tensors["retention.output"][0][head, chunk])
        assert torch.equal(step_terms.output, step_terms.inner + step_terms.cross)
        values = sample.v(layer)[head, chunk].double()
        assert near(sample, step_terms.weights.double() @ values, step_terms.inner)
        q, k = (x[head, chunk].double() for x in (sample.q(layer), sample.k(layer)))
        b = len(step_terms.tokens)
        xi = torch.tensor([[step_terms.gamma ** (j + 1)] for j in range(b)], dtype=torch.float64)
        assert near(sample, q @ before.double() * xi, step_terms.cross)
        zeta = torch.tensor(
            [[step_terms.gamma ** (b - j - 1)] for j in range(b)], dtype=torch.float64
        )
        assert near(sample, step_terms.added, k.mT @ (values * zeta))
        assert step_terms.added.dtype == step_terms.state.dtype
        assert near(
            sample, step_terms.added + step_terms.gamma**b * before.double(), step_terms.state
        )
        for share, inner, cross in zip(
            step_terms.share, step_terms.inner, step_terms.cross, strict=True
        ):
            one, other = (np.linalg.norm(x.double().numpy()) for x in (cross, inner))
            expected_share = one / (one + other) if one + other else 0.0
            assert share.item() == pytest.approx(expected_share, rel=1e-5, abs=1e-9)


def test_nothing_comes_from_a_state_before_the_text(tiny_model: ModelFactory) -> None:
    ids = torch.arange(5)
    first = terms(trace(tiny_model(), ids, "recurrent"), 0, 1, 0)
    assert isinstance(first, RecurrentTerms)
    for empty in (first.before, first.faded):
        assert empty.shape == first.state.shape
        assert not empty.any()
    assert torch.allclose(first.state, first.added)
    chunk = terms(trace(tiny_model(), ids, "chunkwise", 3), 0, 1, 2)
    assert isinstance(chunk, ChunkTerms)
    assert not chunk.before.any()
    assert chunk.share.tolist() == [0, 0, 0]


def test_a_share_of_nothing_is_nothing(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    with torch.no_grad():
        for block in model.blocks:
            block.retention.v_proj.weight.zero_()
    step_terms = terms(trace(model, torch.arange(5), "chunkwise", 2), 0, 0, 3)
    assert isinstance(step_terms, ChunkTerms)
    assert step_terms.share.tolist() == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_terms_refuse_what_there_is_not(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(5), mode, 2)
    for n in (5, -1):
        with pytest.raises(IndexError, match=f"position {n} is outside a text of 5 tokens"):
            terms(sample, 0, 0, n)
    for head in (2, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 1"):
            terms(sample, 0, head, 0)
    for layer in (2, -1):
        with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
            terms(sample, layer, 0, 0)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_terms_of_a_long_text_build_no_plane(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(d_model=4, n_layers=1), torch.arange(1000) % 300, mode, 16)
    sample.inner(0), sample.cross(0)
    with Meter() as meter:
        terms(sample, 0, 0, 700)
    assert meter.peak_bytes < 8 * 1000 * 50  # 8 T^2 bytes are twenty times as many
