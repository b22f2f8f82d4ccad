"""An ablated model computes what a model of that config would, on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.experiments import ablate
from retnet_viz.model import MODES, ConfigError, RetNet
from retnet_viz.model.shared_weights import share_weights
from retnet_viz.trace import trace

ModelFactory = Callable[..., RetNet]
IDS = torch.arange(11)[None] * 7 % 50
CHANGES: list[dict[str, Any]] = [
    {},
    {"rotation": "none"},
    {"rotation": "half"},
    {"rotation_base": 100.0},
    {"head_norm": "none"},
    {"head_norm": "rms"},
    {"norm_eps": 0.5},
    {"decay": "torchscale"},
    {"decay": (1.0, 1.0)},
    {"decay": [0.5, 0.9], "rotation": "none", "head_norm": "none"},
]


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest, tiny_model: ModelFactory) -> RetNet:
    return tiny_model(vocab_size=50, tie_embeddings=request.param)


def snapshot(model: RetNet) -> dict[str, Any]:
    """All of a model that an ablation could change."""
    gammas = [block.retention.gamma.tolist() for block in model.blocks]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits = {mode: model(IDS, mode=mode, chunk_size=4).logits.detach() for mode in MODES}
    requires_grad = [parameter.requires_grad for parameter in model.parameters()]
    others = (model.config, gammas, requires_grad, model.training, model.tokenizer)
    return {"others": others, **weights, **logits}


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    assert before.keys() == after.keys()
    assert before["others"] == after["others"]
    return all(torch.equal(before[name], after[name]) for name in before if name != "others")


@pytest.mark.parametrize("changes", CHANGES)
def test_an_ablated_model_computes_what_a_model_of_that_config_would(
    model: RetNet, changes: dict[str, Any]
) -> None:
    built = RetNet(replace(model.config, **changes)).double()
    built.load_state_dict(model.state_dict())
    ablated = ablate(model, **changes)
    assert ablated.config == built.config
    for mode in MODES:
        expected = built(IDS, mode=mode, chunk_size=4).logits
        assert torch.equal(ablated(IDS, mode=mode, chunk_size=4).logits, expected)
        if changes:
            assert (expected - model(IDS, mode=mode).logits).abs().max() > 1e-3


@pytest.mark.parametrize("changes", CHANGES)
def test_the_given_model_is_not_changed(model: RetNet, changes: dict[str, Any]) -> None:
    before = snapshot(model)
    ablated = ablate(model, **changes)
    trace(ablated, IDS[0], "recurrent")
    ablated.blocks[0].retention.gamma.fill_(0.5)
    assert same(before, snapshot(model))


def test_the_weights_are_the_given_ones_and_take_no_memory(model: RetNet) -> None:
    ablated = ablate(model, rotation="none")
    weights = dict(model.named_parameters())
    assert {name for name, _ in ablated.named_parameters()} == weights.keys()
    for name, parameter in ablated.named_parameters():
        assert parameter.data_ptr() == weights[name].data_ptr()
        assert parameter.shape == weights[name].shape
    assert ablated.n_parameters == model.n_parameters
    with torch.no_grad():
        model.embedding.weight[3, 0] = 77.0
    assert ablated.embedding.weight[3, 0] == 77.0
    assert (ablated.head.weight[3, 0] == 77.0) == model.config.tie_embeddings


def test_an_ablated_model_cannot_be_trained_by_mistake(model: RetNet) -> None:
    ablated = ablate(model.train(), decay=(1.0, 1.0))
    assert not ablated.training
    assert not ablated(IDS).logits.requires_grad
    assert model.training
    assert model(IDS).logits.requires_grad


def test_tokenizer_and_dtype_are_the_given_models(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(dtype=torch.bfloat16)
    model.tokenizer = tiny_tokenizer
    ablated = ablate(model, head_norm="none")
    assert ablated.tokenizer is tiny_tokenizer
    assert {parameter.dtype for parameter in ablated.parameters()} == {torch.bfloat16}
    assert trace(ablated, "a red kite").logits.dtype == torch.bfloat16
    assert ablate(tiny_model()).tokenizer is None


def test_without_decay_the_state_is_the_plain_sum(tiny_model: ModelFactory) -> None:
    ablated = trace(ablate(tiny_model(vocab_size=50), decay=(1.0, 1.0)), IDS[0])
    assert torch.equal(ablated.decay(0), torch.ones(2, 11, 11).double().tril())
    k, v = ablated.k(1), ablated.v(1)
    expected = sum(k[:, m, :, None] * v[:, m, None, :] for m in range(11))
    assert torch.allclose(ablated.state(1, -1), expected)


def test_without_rotation_a_token_is_read_alike_wherever_it_stands(
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(vocab_size=50)
    ids = torch.tensor([3, 9, 3, 9, 3])
    rotated_scores, plain = trace(model, ids).scores(0), trace(ablate(model, rotation="none"), ids)
    scores = plain.scores(0)
    assert torch.allclose(scores[:, 4, 0], scores[:, 4, 2])
    assert not torch.allclose(rotated_scores[:, 4, 0], rotated_scores[:, 4, 2])


def test_gammas_set_by_hand_stay_unless_the_decay_is_changed(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    model.blocks[1].retention.gamma = torch.tensor([0.25, 1 - 2**-40], dtype=torch.float64)
    ablated = ablate(model, rotation="none")
    assert ablated.blocks[1].retention.gamma.tolist() == [0.25, 1 - 2**-40]
    assert ablated.blocks[0].retention.gamma.tolist() == model.config.gammas().tolist()
    for block in ablate(model, decay=(0.5, 0.75)).blocks:
        assert block.retention.gamma.tolist() == [0.5, 0.75]


@pytest.mark.parametrize(
    "changes",
    [
        {"n_heads": 1},
        {"d_model": 32},
        {"n_layers": 1},
        {"vocab_size": 10},
        {"value_factor": 1.0},
        {"ffn_factor": 1.0},
        {"norm": "rms"},
        {"feed_forward": "swiglu"},
        {"tie_embeddings": False},
        {"dropout": 0.1},
        {"rotation": "none", "d_model": 32},
    ],
)
def test_what_gives_weights_another_shape_is_refused_by_name(
    tiny_model: ModelFactory, changes: dict[str, Any]
) -> None:
    model = tiny_model(vocab_size=50)
    before = snapshot(model)
    field = next(name for name in changes if name != "rotation")
    with pytest.raises(ValueError, match=f"so {field} cannot change; what can are rotation, "):
        ablate(model, **changes)
    assert same(before, snapshot(model))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rotation": "spiral"}, "rotation must be one of"),
        ({"head_norm": "batch"}, "head_norm must be one of"),
        ({"decay": (1.0,)}, "decay lists 1 gammas for 2 heads"),
        ({"decay": (1.0, 0.0)}, "gamma of head 1 must lie"),
        ({"norm_eps": 0}, "norm_eps must be a finite number above 0"),
    ],
)
def test_a_value_that_no_model_can_have_is_refused(
    tiny_model: ModelFactory, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ablate(tiny_model(), **changes)


def test_making_one_draws_no_random_numbers(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    before = torch.get_rng_state()
    ablate(model, rotation="none")
    assert torch.equal(torch.get_rng_state(), before)


def test_in_another_dtype_weights_are_rounded_and_gammas_exact(
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(vocab_size=50, decay=(1 - 2**-12, 1 - 2**-30), dtype=torch.float32)
    before = snapshot(model)
    rounded = share_weights(model, dtype=torch.bfloat16)
    for name, weight in rounded.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].to(torch.bfloat16))
    assert rounded.head.weight is rounded.embedding.weight
    assert rounded.blocks[0].retention.gamma.tolist() == [1 - 2**-12, 1 - 2**-30]
    assert same(before, snapshot(model))
