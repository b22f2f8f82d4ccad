"""What a state holds: against loops in float64, and the properties that make the numbers useful."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.views.state_analysis import (
    contributions,
    effective_rank,
    norm_bound,
    recall,
    singular_values,
)

ModelFactory = Callable[..., RetNet]
GAMMAS = (0.3, 0.9, 1.0)


@st.composite
def traces(draw: st.DrawFn) -> Callable[[ModelFactory], Trace]:
    fields = {
        "seed": draw(st.integers(0, 99)),
        "n_heads": 3,
        "d_model": 3 * draw(st.sampled_from([2, 4])),
        "value_factor": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "decay": GAMMAS,
        "n_layers": 1,
    }
    ids = torch.tensor(draw(st.lists(st.integers(0, 49), min_size=1, max_size=9)))
    mode, chunk_size = draw(st.sampled_from(MODES)), draw(st.integers(1, 11))
    return lambda model: trace(model(vocab_size=50, **fields), ids, mode, chunk_size)


def keys_and_values(sample: Trace, head: int) -> tuple[np.ndarray, np.ndarray]:
    return sample.k(0)[head].double().numpy(), sample.v(0)[head].double().numpy()


def zero_weights(model: RetNet, name: str) -> RetNet:
    with torch.no_grad():
        for block in model.blocks:
            getattr(block.retention, name).weight.zero_()
    return model


@given(make=traces())
def test_a_contribution_is_the_norm_of_a_tokens_term_of_the_state(
    make: Callable[[ModelFactory], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model)
    for n in range(sample.length):
        given_ = contributions(sample, 0, n)
        assert given_.shape == (3, n + 1)
        for head, gamma in enumerate(GAMMAS):
            k, v = keys_and_values(sample, head)
            terms = [gamma ** (n - m) * np.outer(k[m], v[m]) for m in range(n + 1)]
            expected = [np.sqrt((term**2).sum()) for term in terms]
            assert np.allclose(given_[head], expected, rtol=1e-12, atol=0)
            # the terms are those that the state is the sum of
            state = sample.state(0, n)[head].numpy()
            assert np.allclose(sum(terms), state, atol=1e-12)
            norm = np.sqrt((state**2).sum())
            assert given_[head].sum().item() >= norm * (1 - 1e-12)
            assert norm >= np.abs(state).max()


@given(make=traces())
def test_no_state_exceeds_the_bound_and_gamma_1_has_none(
    make: Callable[[ModelFactory], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model)
    bound = norm_bound(sample, 0)
    assert bound.shape == (3,)
    assert (sample.state_norm(0) <= bound[:, None] * (1 + 1e-12)).all()
    for head, gamma in enumerate(GAMMAS[:2]):
        k, v = keys_and_values(sample, head)
        largest = max(math.hypot(*k[m]) * math.hypot(*v[m]) for m in range(sample.length))
        assert bound[head].item() == pytest.approx(largest / (1 - gamma), rel=1e-12)
    assert bound[2].item() == math.inf


def test_the_bound_is_reached_by_one_token_repeated_for_ever(tiny_model: ModelFactory) -> None:
    model = tiny_model(d_model=4, n_layers=1, n_heads=1, decay=(0.5,), rotation="none")
    sample = trace(model, torch.full((60,), 7), "recurrent")
    assert sample.state_norm(0)[0, -1].item() == pytest.approx(norm_bound(sample, 0)[0].item())


@given(make=traces())
def test_singular_values_and_effective_rank_are_those_of_the_state(
    make: Callable[[ModelFactory], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model)
    for n in range(sample.length):
        values, rank = singular_values(sample, 0, n), effective_rank(sample, 0, n)
        assert values.shape == (3, min(sample.k(0).shape[-1], sample.v(0).shape[-1]))
        assert rank.shape == (3,)
        for head in range(3):
            state = sample.state(0, n)[head].numpy()
            # the squares are the eigenvalues of S S^T, or of S^T S where that is smaller
            gram = state @ state.T if state.shape[0] <= state.shape[1] else state.T @ state
            squares = np.sort(np.linalg.eigvalsh(gram))[::-1].clip(min=0)
            assert np.allclose(values[head].numpy() ** 2, squares, atol=1e-12 * squares[0])
            share = [s / values[head].sum().item() for s in values[head].tolist()]
            entropy = -sum(p * math.log(p) for p in share if p > 0)
            assert rank[head].item() == pytest.approx(math.exp(entropy), rel=1e-12)
            full = min(n + 1, *state.shape)
            assert 1 - 1e-9 <= rank[head].item() <= full + 1e-6


def test_equal_directions_have_full_effective_rank(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = trace(tiny_model(), torch.arange(4))
    states = torch.stack([3 * torch.eye(8, 16), torch.diag(torch.tensor([5.0] + [0.0] * 7))
        @ torch.eye(8, 16)])  # fmt: skip
    monkeypatch.setattr(sample, "state", lambda layer, position: states.double())
    assert effective_rank(sample, 0, 1).tolist() == pytest.approx([8.0, 1.0])


@given(make=traces())
def test_recall_is_the_cosine_of_what_a_key_finds_and_its_value(
    make: Callable[[ModelFactory], Trace], tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model)
    for n in range(sample.length):
        cosines = recall(sample, 0, n)
        assert cosines.shape == (3, n + 1)
        assert (cosines.abs() <= 1).all()
        for head in range(3):
            k, v = keys_and_values(sample, head)
            state = sample.state(0, n)[head].numpy()
            for m in range(n + 1):
                answer = [sum(k[m] * column) for column in state.T]
                expected = sum(a * b for a, b in zip(answer, v[m], strict=True))
                lengths = math.hypot(*answer) * math.hypot(*v[m])
                assert cosines[head, m].item() * lengths == pytest.approx(expected, abs=1e-12)
                # with one value only there is but one direction, and rounding cannot leave it
                assert abs(cosines[head, m].item()) == pytest.approx(1) or len(v[m]) > 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_state_of_one_token_gives_its_value_back(
    dtype: torch.dtype, tiny_model: ModelFactory
) -> None:
    sample = trace(tiny_model(dtype=dtype), torch.tensor([7]), "recurrent")
    assert recall(sample, 1, 0).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    assert effective_rank(sample, 1, 0).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    norm = sample.state_norm(1)[:, 0].double()
    assert torch.allclose(contributions(sample, 1, 0)[:, 0], norm, rtol=1e-6)


@pytest.mark.parametrize("name", ["k_proj", "v_proj"])
def test_a_state_of_zeros_holds_nothing(name: str, tiny_model: ModelFactory) -> None:
    sample = trace(zero_weights(tiny_model(decay=(0.5, 1.0)), name), torch.arange(5), "recurrent")
    assert contributions(sample, 0, 3).tolist() == [[0.0] * 4] * 2
    assert singular_values(sample, 0, 3).sum().item() == 0
    assert effective_rank(sample, 0, 3).tolist() == [0.0, 0.0]
    assert recall(sample, 0, 3).tolist() == [[0.0] * 4] * 2
    assert norm_bound(sample, 0).tolist() == [0.0, math.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_precision_is_measured_in_float64(dtype: torch.dtype, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(dtype=dtype, decay=(1 - 2**-12, 1.0)), torch.arange(6), "recurrent")
    measures = [contributions, singular_values, effective_rank, recall]
    values = [measure(sample, 0, 4) for measure in measures] + [norm_bound(sample, 0)]
    assert {value.dtype for value in values} == {torch.float64}
    total, norm = contributions(sample, 0, 4).sum(-1), sample.state_norm(0)[:, 4].double()
    assert (total >= norm * (1 - 1e-5)).all()
    k, v = keys_and_values(sample, 0)
    expected = (1 - 2**-12) ** 4 * np.linalg.norm(k[0]) * np.linalg.norm(v[0])
    assert contributions(sample, 0, 4)[0, 0].item() == pytest.approx(expected, rel=1e-9)


def test_measures_refuse_what_there_is_not(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(5))
    for measure in (contributions, singular_values, effective_rank, recall):
        for n in (5, -1):
            with pytest.raises(IndexError, match=f"position {n} is outside a text of 5 tokens"):
                measure(sample, 0, n)
        with pytest.raises(IndexError, match=r"layer 2 is outside 0 \.\. 1"):
            measure(sample, 2, 0)
    with pytest.raises(IndexError, match=r"layer -1 is outside 0 \.\. 1"):
        norm_bound(sample, -1)
