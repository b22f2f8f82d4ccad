"""The first weights of a run: their scale, and whether retention begins positive."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from runs import arguments

from retnet_viz.baselines import MambaConfig, TransformerConfig
from retnet_viz.checkpoints import load
from retnet_viz.cli import main
from retnet_viz.model import RetNetConfig
from retnet_viz.model.observe import listening
from retnet_viz.training.run import init_model

SHAPE = {"vocab_size": 60, "d_model": 64, "n_layers": 3}


def make_model(config, *options):
    torch.manual_seed(4)
    return init_model(config, None, *options)


@pytest.mark.parametrize("kind", [RetNetConfig, TransformerConfig, MambaConfig])
def test_matrices_between_layers_are_scaled_and_nothing_else(kind) -> None:
    plain, scaled = make_model(kind(**SHAPE)), make_model(kind(**SHAPE), 3.0)
    ratios = {
        name: (scaled.get_parameter(name) / parameter).nan_to_num(1.0)
        for name, parameter in plain.named_parameters()
    }
    for name, ratio in ratios.items():
        is_matrix = plain.get_parameter(name).dim() == 2
        is_inner = is_matrix and "embedding" not in name and not name.endswith("A_log")
        assert torch.allclose(ratio, torch.full_like(ratio, 3.0 if is_inner else 1.0)), name


def near_weights(model) -> torch.Tensor:
    """(layers, B, H, T, 3): what each token retains of itself and of the two before it."""
    published: list[torch.Tensor] = []
    ids = torch.randint(60, (8, 40), generator=torch.Generator().manual_seed(1))
    with (
        torch.no_grad(),
        listening(lambda name, x: published.append(x) if name == "retention.weights" else None),
    ):
        model(ids)
    weights = torch.stack(published)[..., 2:, :]
    rows = torch.arange(2, 40)
    return torch.stack([weights[..., rows - 2, rows - lag] for lag in (0, 1, 2)], -1)


def test_retention_begins_positive_near_the_diagonal_where_that_is_asked_for() -> None:
    config = RetNetConfig(**SHAPE, angles="half_turn", rotation_base=100.0)
    free, positive = (near_weights(make_model(config, 3.0, each)) for each in ("free", "positive"))
    assert (free[..., 1:] > 0).float().mean() == pytest.approx(0.5, abs=0.06)
    assert (positive[..., 0] > 0).all()
    assert (positive > 0).float().mean() > 0.75


def test_a_transformer_begins_to_read_what_is_near_in_the_same_way() -> None:
    config = TransformerConfig(**SHAPE, angles="half_turn", rotation_base=100.0)

    def near(weights: str) -> float:
        """How much of each token's attention is on itself and the two before it, on average."""
        published: dict[str, list[torch.Tensor]] = {"attention.q": [], "attention.k": []}
        ids = torch.randint(60, (8, 40), generator=torch.Generator().manual_seed(1))
        with (
            torch.no_grad(),
            listening(lambda name, x: published[name].append(x) if name in published else None),
        ):
            make_model(config, 3.0, weights)(ids)
        q, k = (torch.stack(each) for each in published.values())
        scores = q @ k.mT / 4  # d_k is 16
        attention = scores.masked_fill(~torch.ones(40, 40).bool().tril(), -math.inf).softmax(-1)
        return attention.triu(-2)[..., 20:, :].sum(-1).mean().item()

    assert near("free") == pytest.approx(0.1, abs=0.03)
    assert near("positive") > 0.2


def test_a_mamba_has_nothing_to_make_positive() -> None:
    config = MambaConfig(**SHAPE)
    free, positive = make_model(config, 1.0, "free"), make_model(config, 1.0, "positive")
    for name, parameter in free.named_parameters():
        assert torch.equal(positive.get_parameter(name), parameter)


@pytest.mark.slow
def test_a_run_says_how_it_began(stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = arguments(
        stories, run, steps=1, validate_every=1, initial_weights="positive", initial_scale=2.0
    )
    assert main([*words, "--angles", "half_turn", "--rotation-base", "50"]) == 0
    card = (run / "model" / "MODEL_CARD.md").read_text()
    assert "--initial-scale 2.0 --initial-weights positive" in card
    config = load(run / "model").config
    assert (config.angles, config.rotation_base) == ("half_turn", 50.0)
