"""Bad input to a trace: an error whose sentence names the thing, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from retnet_viz.baselines import Transformer, TransformerConfig
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace

ModelFactory = Callable[..., RetNet]


@pytest.fixture
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(params=MODES)
def sample(request: pytest.FixtureRequest, model: RetNet) -> Trace:
    return trace(model, torch.tensor([5, 3, 8, 13, 21]), request.param, 2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "text has no tokens"),
        (torch.tensor([], dtype=torch.long), "text has no tokens"),
        (torch.tensor([1.0, 2.0]), r"ids must be whole numbers.*float32"),
        (torch.tensor([True, False]), r"ids must be whole numbers.*bool"),
        (torch.tensor([[1, 2]]), r"ids must be whole numbers, int64 of shape \(T,\).*\(1, 2\)"),
        (torch.tensor(3), r"ids must be whole numbers, int64 of shape \(T,\).*\(\)"),
        (torch.tensor([0, 300]), r"token id 300 is outside the vocabulary 0 \.\. 299"),
        (torch.tensor([5, -1]), r"token id -1 is outside the vocabulary 0 \.\. 299"),
        ([1.5, 2.0], "ids must be whole numbers.*float"),
        ([[1], [2, 3]], "text must be a str, or token ids in .* not list"),
        (None, "text must be a str, or token ids in .* not NoneType"),
        (5, "text must be a str, or token ids in .* not int"),
    ],
)
def test_a_text_that_is_none_is_refused(text: Any, sentence: str, mode: str, model: RetNet) -> None:
    with pytest.raises(ValueError, match=sentence):
        trace(model, text, mode)


def test_a_text_needs_a_tokenizer_and_ids_do_not(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="no tokenizer; pass token ids"):
        trace(model, "Once")
    assert trace(model, torch.tensor([1])).length == 1


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_ids_may_be_in_a_list_an_array_or_a_tensor(make: Any, model: RetNet) -> None:
    expected = trace(model, torch.tensor([5, 3, 8]))
    assert torch.equal(trace(model, make([5, 3, 8])).logits, expected.logits)


def test_a_model_of_another_kind_is_refused_with_a_way_to_go(tiny_model: ModelFactory) -> None:
    transformer = Transformer(TransformerConfig(vocab_size=300, d_model=16, n_layers=1, n_heads=2))
    with pytest.raises(ValueError, match=r"is a Transformer; rv\.compare shows"):
        trace(transformer, [1, 2])  # type: ignore[arg-type]


def test_ids_of_32_bits_are_taken(model: RetNet) -> None:
    sample = trace(model, torch.tensor([1, 2], dtype=torch.int32))
    assert sample.ids.dtype == torch.int64


@pytest.mark.parametrize("mode", ["", "Parallel", "attention", None])
def test_an_unknown_mode_is_refused(mode: Any, model: RetNet) -> None:
    with pytest.raises(ValueError, match="mode must be one of parallel, recurrent, chunkwise"):
        trace(model, "Once", mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "8", None, True])
def test_a_chunk_size_that_is_no_whole_number_above_0_is_refused(
    chunk_size: Any, mode: str, model: RetNet
) -> None:
    with pytest.raises(ValueError, match="chunk_size must be a whole number of 1 or more"):
        trace(model, "Once", mode, chunk_size)


ACCESSORS = (
    *("q", "k", "v", "gamma", "half_life", "horizon", "decay", "scores", "retention"),
    *("state_norm", "inner", "cross", "head_output", "normed", "gate", "output"),
)


@pytest.mark.parametrize("layer", [2, -1, 99])
def test_a_layer_that_the_model_lacks_is_refused_by_every_accessor(
    layer: int, sample: Trace
) -> None:
    for name in ACCESSORS:
        with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
            getattr(sample, name)(layer)
    with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
        sample.state(layer, 0)
    with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
        sample.cell(layer, 0, 0, 0)


@pytest.mark.parametrize("position", [5, -6, 1000])
def test_a_position_outside_the_text_has_no_state(position: int, sample: Trace) -> None:
    with pytest.raises(IndexError, match=f"position {position} is outside a text of 5 tokens"):
        sample.state(0, position)


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ((2, 0, 0), r"head 2 is outside 0 \.\. 1"),
        ((-1, 0, 0), r"head -1 is outside 0 \.\. 1"),
        ((0, 5, 0), "position 5 is outside a text of 5 tokens"),
        ((0, 0, 5), "position 5 is outside a text of 5 tokens"),
        ((0, -1, 0), "position -1 is outside a text of 5 tokens"),
        ((0, 4, -1), "position -1 is outside a text of 5 tokens"),
    ],
)
def test_a_cell_outside_the_planes_is_refused(
    cell: tuple[int, int, int], sentence: str, sample: Trace
) -> None:
    with pytest.raises(IndexError, match=sentence):
        sample.cell(0, *cell)


def test_a_mode_that_there_is_not_is_refused_when_asked_for_later(sample: Trace) -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        sample.in_mode("attention")


def _set_gamma(model: RetNet) -> None:
    model.blocks[0].retention.gamma = torch.tensor([0.5, 0.5], dtype=torch.float64)


def _change_a_weight(model: RetNet) -> None:
    with torch.no_grad():
        model.blocks[1].ffn_norm.weight.add_(0.1)


@pytest.mark.parametrize(
    "change",
    [_set_gamma, _change_a_weight, lambda model: model.float()],
    ids=["γ", "weight", "dtype"],
)
@pytest.mark.parametrize(
    "ask",
    [Trace.agreement, lambda t: t.cost, lambda t: t.in_mode("recurrent")],
    ids=["agreement", "cost", "mode"],
)
def test_what_would_run_a_changed_model_says_so(ask: Any, change: Any, model: RetNet) -> None:
    """It would compare two models, as if their modes disagreed."""
    sample = trace(model, [5, 3, 8], "parallel")
    logits = sample.logits.clone()
    change(model)
    with pytest.raises(RuntimeError, match="model has changed since this trace was made; trace"):
        ask(sample)
    assert torch.equal(sample.logits, logits)  # what was observed is still there
    ask(trace(model, [5, 3, 8], "parallel"))


def test_what_has_run_before_a_change_is_kept(model: RetNet) -> None:
    sample = trace(model, [5, 3, 8], "parallel")
    before, cost = sample.agreement(), sample.cost
    _set_gamma(model)
    assert sample.agreement() == before
    assert sample.cost == cost
