"""What rounding does, against the same passes run and compared by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor

from retnet_viz.experiments import Rounding, rounding
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace, trace

ModelFactory = Callable[..., RetNet]
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
IDS = torch.arange(23) * 11 % 50
EPSILON = {"float64": 2**-52, "float32": 2**-23, "bfloat16": 2**-7}


@pytest.fixture(scope="module", params=[torch.float64, torch.float32, torch.bfloat16], ids=str)
def model(request: pytest.FixtureRequest, tiny_model: ModelFactory) -> RetNet:
    return tiny_model(vocab_size=50, n_layers=3, dtype=request.param, decay=(0.9, 1 - 2**-12))


def difference(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).abs().max().item()


def by_hand(model: RetNet, dtype: torch.dtype) -> tuple[dict[str, Trace], Trace]:
    """The three modes in `dtype`, and the parallel pass of the same weights in float64."""
    rounded = copy.deepcopy(model).to(dtype)
    exact = copy.deepcopy(rounded).double()
    return {mode: trace(rounded, IDS, mode, 5) for mode in MODES}, trace(exact, IDS)


@pytest.mark.parametrize("name", DTYPES)
def test_differences_are_those_of_the_passes_run_by_hand(model: RetNet, name: str) -> None:
    result = rounding(model, IDS, DTYPES[name], 5)
    passes, exact = by_hand(model, DTYPES[name])
    assert result.dtype == name
    assert (result.length, result.chunk_size) == (23, 5)
    assert result.scale == exact.logits.abs().max().item()
    assert result.modes.keys() == result.logits.keys() == result.same_top.keys() == set(MODES)
    for mode, passed in passes.items():
        expected = [difference(passed.output(layer), exact.output(layer)) for layer in range(3)]
        assert result.modes[mode] == tuple(expected)
        assert result.logits[mode] == difference(passed.logits, exact.logits)
        hits = [a == b for a, b in zip(top(passed), top(exact), strict=True)]
        assert result.same_top[mode] == sum(hits) / 23
    differences = [
        difference(x, y)
        for a, b in combinations(passes.values(), 2)
        for x, y in [
            *((a.output(layer), b.output(layer)) for layer in range(3)),
            (a.logits, b.logits),
        ]
    ]
    assert result.between == max(differences)


def top(result: Trace) -> list[int]:
    return [row.index(max(row)) for row in result.logits.tolist()]


@pytest.mark.parametrize("name", DTYPES)
def test_the_size_of_the_differences_is_that_of_the_type(model: RetNet, name: str) -> None:
    result = rounding(model, IDS, name, 5)
    worst = max(*result.logits.values(), *(max(row) for row in result.modes.values()))
    assert EPSILON[name] / 100 < worst / result.scale < EPSILON[name] * 100
    assert 0 < result.between <= 2 * worst
    for mode in MODES[1:]:
        assert result.logits[mode] > 0


def test_in_float64_the_reference_is_the_parallel_pass_itself(model: RetNet) -> None:
    result = rounding(model, IDS, torch.float64, 5)
    assert result.modes["parallel"] == (0.0, 0.0, 0.0)
    assert result.logits["parallel"] == 0.0
    assert set(result.same_top.values()) == {1.0}


def test_only_the_arithmetic_rounds_not_the_weights(tiny_model: ModelFactory) -> None:
    # Against the weights as they were, bfloat16 is far off; against the rounded ones it is not.
    model = tiny_model(vocab_size=50)
    result = rounding(model, IDS, torch.bfloat16)
    as_it_was = trace(model, IDS).logits
    rounded = trace(copy.deepcopy(model).to(torch.bfloat16).double(), IDS).logits
    assert result.scale == rounded.abs().max().item() != as_it_was.abs().max().item()


def test_a_token_whose_likeliest_next_one_moves_is_counted(tiny_model: ModelFactory) -> None:
    # All logits lie within one step of bfloat16, so that it cannot tell which is the largest.
    model = tiny_model(vocab_size=50, tie_embeddings=False)
    with torch.no_grad():
        model.head.weight.copy_(1 + torch.randn(50, 16, generator=torch.Generator()) / 1e3)
    result = rounding(model, IDS, "bfloat16")
    assert max(result.same_top.values()) < 0.9
    assert set(rounding(model, IDS, "float64").same_top.values()) == {1.0}


def test_where_one_chunk_holds_the_text_chunkwise_is_parallel(model: RetNet) -> None:
    result = rounding(model, IDS, torch.float32, 23)
    assert result.logits["chunkwise"] == pytest.approx(result.logits["parallel"], rel=0.5)
    assert rounding(model, IDS[:1], torch.float32, 1).length == 1


def test_the_given_model_is_not_changed(model: RetNet) -> None:
    model = copy.deepcopy(model).train()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    ids, logits = IDS.clone(), model(IDS[None]).logits
    for name in DTYPES:
        rounding(model, ids, name)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, weight in model.state_dict().items():
        assert weight.dtype == weights[name].dtype
        assert torch.equal(weight, weights[name])
    assert torch.equal(model(IDS[None]).logits, logits)
    assert torch.equal(ids, IDS)


def test_gammas_of_the_model_are_used_exactly_in_every_type(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50)
    for block in model.blocks:
        block.retention.gamma = torch.tensor([0.5, 1 - 2**-30], dtype=torch.float64)
    passes, exact = by_hand(model, torch.bfloat16)  # a deep copy has the gammas set by hand
    result = rounding(model, IDS, "bfloat16", 5)
    assert result.logits["chunkwise"] == difference(passes["chunkwise"].logits, exact.logits)


def test_a_type_may_be_named(model: RetNet) -> None:
    assert rounding(model, IDS, "float32", 5) == rounding(model, IDS, torch.float32, 5)


@pytest.mark.parametrize(("name", "passes"), [("float64", 3), ("float32", 4), ("bfloat16", 4)])
def test_progress_counts_the_passes_and_may_end_them(model: RetNet, name: str, passes: int) -> None:
    steps: list[tuple[int, int]] = []
    rounding(model, IDS, name, progress=lambda *step: steps.append(step))
    assert steps == [(done, passes) for done in range(1, passes + 1)]

    def cancel(done: int, _total: int) -> None:
        steps.append((done, 0))
        if done == 2:
            raise InterruptedError

    steps.clear()
    with pytest.raises(InterruptedError):
        rounding(model, IDS, name, progress=cancel)
    assert len(steps) == 2


@pytest.mark.parametrize("after", [1, 30])
def test_a_listener_that_raises_stops_it_in_the_middle_of_a_pass(
    tiny_model: ModelFactory, after: int
) -> None:
    n_published = 0

    def give_way(_name: str, _tensor: Tensor) -> None:
        nonlocal n_published
        n_published += 1
        if n_published >= after:
            raise InterruptedError

    with pytest.raises(InterruptedError), listening(give_way):
        rounding(tiny_model(vocab_size=50), IDS, "float32")
    assert n_published == after


def test_what_cannot_be_read_is_refused_with_a_sentence(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50)
    for dtype in ("float16", torch.int64, "", None):
        with pytest.raises(ValueError, match=f"float64, float32, bfloat16, not {dtype}"):
            rounding(model, IDS, dtype)  # type: ignore[arg-type]
    for wrong in (50, -1):
        with pytest.raises(
            ValueError, match=rf"token id {wrong} is outside the vocabulary 0 .. 49"
        ):
            rounding(model, torch.tensor([3, wrong]), "float32")
    for ids in (IDS[:0], IDS[None], torch.tensor(3)):
        with pytest.raises(ValueError, match="ids must have shape"):
            rounding(model, ids, "float32")
    with pytest.raises(ValueError, match="chunk_size must be a whole number"):
        rounding(model, IDS, "float32", 0)


def test_a_number_that_is_none_is_not_hidden(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50, tie_embeddings=False)
    with torch.no_grad():
        model.head.weight[7] = float("inf")
    result = rounding(model, IDS, "float32")
    assert isinstance(result, Rounding)
    assert result.between != result.between  # NaN: infinity less infinity
