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
from retnet_viz.trace.views.cost import Meter

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


def places(found: Trace) -> Iterator[tuple[int, int, int]]:
    """Every head and token of the last layer."""
    for head in range(found.n_heads):
        for n in range(found.length):
            yield found.n_layers - 1, head, n


def published(found: Trace, layer: int) -> dict[str, list[Tensor]]:
    """What a fresh pass publishes in one layer, all heads, without the batch axis."""
    layers: list[dict[str, list[Tensor]]] = []

    def keep(name: str, tensor: Tensor) -> None:
        if name == "layer.input":
            layers.append({})
        if layers:
            tensor = tensor if name == "retention.decay" else tensor[0]
            layers[-1].setdefault(name, []).append(tensor)

    with torch.no_grad(), listening(keep):
        found.model(found.ids[None], mode=found.mode, chunk_size=found.chunk_size)
    return layers[layer]


def near(found: Trace, a: Tensor, b: Tensor) -> bool:
    """Equal up to the rounding of the trace's precision."""
    digits = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 3e-2}
    tolerance = digits[found.q(0).dtype]
    scale = max(1.0, b.double().abs().max().item())
    return bool((a.double() - b.double()).abs().max() <= tolerance * scale)


@given(make=traces())
def test_parallel_terms_are_row_n_of_the_pass_and_sum_to_its_output(
    make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    found = make(tiny_model, "parallel")
    for layer, head, n in places(found):
        tensors = published(found, layer)
        part = terms(found, layer, head, n)
        assert isinstance(part, ParallelTerms)
        assert (part.n, part.gamma) == (n, found.gamma(layer)[head].item())
        read = slice(0, n + 1)
        assert torch.equal(part.scores, tensors["retention.scores"][0][head, n, read])
        assert torch.equal(part.decay, tensors["retention.decay"][0][head, n, read])
        assert torch.equal(part.weights, tensors["retention.weights"][0][head, n, read])
        assert torch.equal(part.values, tensors["retention.v"][0][head, read])
        assert torch.equal(part.output, tensors["retention.output"][0][head, n])
        assert torch.equal(part.weights, part.scores * part.decay)
        assert near(found, part.weights.double() @ part.values.double(), part.output)


@pytest.mark.parametrize("budget", [capture.STATE_BUDGET, 1])
@given(make=traces())
def test_recurrent_terms_are_the_step_that_the_pass_took(
    budget: int, make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # a budget of one byte keeps no state but two
        patch.setattr(capture, "STATE_BUDGET", budget)
        found = make(tiny_model, "recurrent")
    for layer, head, n in places(found):
        tensors = published(found, layer)
        part = terms(found, layer, head, n)
        assert isinstance(part, RecurrentTerms)
        assert (part.n, part.gamma) == (n, found.gamma(layer)[head].item())
        states = tensors["retention.state"]
        before = states[n - 1][head] if n else torch.zeros_like(states[0][head])
        assert torch.equal(part.before, before)
        assert torch.equal(part.state, states[n][head])
        for name in ("q", "k", "v", "output"):
            assert torch.equal(getattr(part, name), tensors[f"retention.{name}"][0][head, n]), name
        # the operation of the pass itself, from these very tensors, ends in its very state
        step = torch.addcmul(
            part.faded[None],
            part.k.to(part.state)[None, :, None],
            part.v.to(part.state)[None, None],
        )[0]
        assert torch.equal(step, part.state)
        assert torch.equal(part.faded, found.gamma(layer)[head].to(before) * before)
        outer = [[a * b for b in part.v.tolist()] for a in part.k.tolist()]
        assert np.allclose(part.added.numpy(), outer, rtol=1e-6, atol=1e-30)
        assert part.added.dtype == part.state.dtype
        assert near(found, part.faded + part.added, part.state)
        assert near(found, part.q.double() @ part.state.double(), part.output)
        assert part.contributions.shape == (n + 1,)
        newest = torch.linalg.matrix_norm(part.added.double()).item()
        assert part.contributions[-1].item() == pytest.approx(newest, rel=1e-5)


@given(make=traces())
def test_chunk_terms_are_the_chunk_that_the_pass_took(
    make: Callable[[ModelFactory, str], Trace], tiny_model: ModelFactory
) -> None:
    found = make(tiny_model, "chunkwise")
    for layer, head, n in places(found):
        tensors = published(found, layer)
        part = terms(found, layer, head, n)
        assert isinstance(part, ChunkTerms)
        assert (part.n, part.gamma) == (n, found.gamma(layer)[head].item())
        i = part.chunk
        assert n in part.tokens
        assert part.tokens.start == i * found.chunk_size
        assert part.tokens.stop == min((i + 1) * found.chunk_size, found.length)
        states = tensors["retention.state"]
        before = states[i - 1][head] if i else torch.zeros_like(states[0][head])
        assert torch.equal(part.weights, tensors["retention.weights"][i][head])
        assert torch.equal(part.before, before)
        assert torch.equal(part.state, states[i][head])
        assert torch.equal(part.inner, tensors["retention.inner"][i][head])
        assert torch.equal(part.cross, tensors["retention.cross"][i][head])
        chunk = slice(part.tokens.start, part.tokens.stop)
        assert torch.equal(part.output, tensors["retention.output"][0][head, chunk])
        assert torch.equal(part.output, part.inner + part.cross)
        values = found.v(layer)[head, chunk].double()
        assert near(found, part.weights.double() @ values, part.inner)
        q, k = (x[head, chunk].double() for x in (found.q(layer), found.k(layer)))
        b = len(part.tokens)
        xi = torch.tensor([[part.gamma ** (j + 1)] for j in range(b)], dtype=torch.float64)
        assert near(found, q @ before.double() * xi, part.cross)
        zeta = torch.tensor([[part.gamma ** (b - j - 1)] for j in range(b)], dtype=torch.float64)
        assert near(found, part.added, k.mT @ (values * zeta))
        assert part.added.dtype == part.state.dtype
        assert near(found, part.added + part.gamma**b * before.double(), part.state)
        for share, inner, cross in zip(part.share, part.inner, part.cross, strict=True):
            one, other = (np.linalg.norm(x.double().numpy()) for x in (cross, inner))
            wanted_share = one / (one + other) if one + other else 0.0
            assert share.item() == pytest.approx(wanted_share, rel=1e-5, abs=1e-9)


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
    part = terms(trace(model, torch.arange(5), "chunkwise", 2), 0, 0, 3)
    assert isinstance(part, ChunkTerms)
    assert part.share.tolist() == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_terms_refuse_what_there_is_not(mode: str, tiny_model: ModelFactory) -> None:
    found = trace(tiny_model(), torch.arange(5), mode, 2)
    for n in (5, -1):
        with pytest.raises(IndexError, match=f"position {n} is outside a text of 5 tokens"):
            terms(found, 0, 0, n)
    for head in (2, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 1"):
            terms(found, 0, head, 0)
    for layer in (2, -1):
        with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
            terms(found, layer, 0, 0)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_terms_of_a_long_text_build_no_plane(mode: str, tiny_model: ModelFactory) -> None:
    found = trace(tiny_model(d_model=4, n_layers=1), torch.arange(1000) % 300, mode, 16)
    found.inner(0), found.cross(0)
    with Meter() as meter:
        terms(found, 0, 0, 700)
    assert meter.peak_bytes < 8 * 1000 * 50  # 8 T^2 bytes are twenty times as many
