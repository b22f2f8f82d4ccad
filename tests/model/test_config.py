"""A configuration is checked field by field, and survives JSON."""

from __future__ import annotations

import json
import math

import pytest
import torch

from retnet_viz.model import ConfigError, RetNetConfig, Variant


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": "4096"}, "vocab_size"),
        ({"d_model": -4}, "d_model"),
        ({"d_model": 10, "n_heads": 4}, "d_model 10 does not divide into n_heads 4"),
        ({"n_layers": 2.0}, "n_layers"),
        ({"n_heads": True}, "n_heads"),
        ({"value_factor": 0.0}, "value_factor"),
        ({"value_factor": math.nan}, "value_factor"),
        ({"value_factor": 0.3}, "value_factor"),
        ({"ffn_factor": math.inf}, "ffn_factor"),
        ({"ffn_factor": 1e-9}, "ffn_factor"),
        ({"rotation_base": -1}, "rotation_base"),
        ({"norm_eps": "small"}, "norm_eps"),
        ({"norm_eps": True}, "norm_eps"),
        ({"rotation": "spiral"}, "rotation"),
        ({"norm": None}, "norm"),
        ({"norm": "none"}, "norm must be one of"),
        ({"head_norm": ["layer"]}, "head_norm"),
        ({"head_norm": None}, "head_norm"),
        ({"feed_forward": "tanh"}, "feed_forward"),
        ({"feed_forward": "swiglu", "ffn_bias": True}, "swiglu.* has no bias and no norm"),
        ({"key_factor": 0.3}, "key_factor 0.3 times 64 is not a whole number"),
        ({"n_kv_heads": 3}, "n_heads 4 does not divide among n_kv_heads 3"),
        ({"n_kv_heads": 0}, "n_kv_heads must be a whole number"),
        ({"residual_scale": -1}, "residual_scale must be a finite number above 0"),
        ({"decay_norm": 1}, "decay_norm must be true or false"),
        ({"norm_place": "between"}, "norm_place must be one of"),
        ({"tie_embeddings": "false"}, "tie_embeddings"),
        ({"d_model": 12, "n_heads": 4}, "head_dim 3 must be even"),
        ({"decay": "slow"}, "decay"),
        ({"decay": None}, "decay"),
        ({"decay": 0.9}, "decay"),
        ({"decay": [0.9, 0.9]}, "decay lists 2 gammas for 4 heads"),
        ({"decay": [0.9, 0.9, 0.9, 1.5]}, "gamma of head 3"),
        ({"decay": [0.9, 0.0, 0.9, 0.9]}, "gamma of head 1"),
        ({"decay": [math.nan, 0.9, 0.9, 0.9]}, "gamma of head 0"),
        ({"decay": ["a", 0.9, 0.9, 0.9]}, "decay"),
    ],
)
def test_a_bad_field_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RetNetConfig.from_dict(fields)


def test_a_field_that_no_config_has_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="dropout, n_experts"):
        RetNetConfig.from_dict({"n_experts": 8, "d_model": 64, "dropout": 0.1})
    with pytest.raises(ConfigError, match="unknown fields in the model's config: variant"):
        RetNetConfig.from_dict({"variant": {"norm": "rms"}})


def test_json_holds_the_fields_of_the_variant_beside_the_others() -> None:
    config = RetNetConfig(d_model=64, variant=Variant(norm="rms", n_kv_heads=2))
    fields = config.to_dict()
    assert (fields["d_model"], fields["norm"], fields["n_kv_heads"]) == (64, "rms", 2)
    assert not any(isinstance(value, dict) for value in fields.values())
    assert RetNetConfig.from_dict({"norm": "rms", "n_kv_heads": 2, "d_model": 64}) == config


@pytest.mark.parametrize(
    "config",
    [
        RetNetConfig(),
        RetNetConfig(
            vocab_size=7, d_model=6, n_heads=3, decay=(0.9, 1 - 2**-40, 1.0), head_norm="none"
        ),
        RetNetConfig(
            decay="torchscale", rotation="half", head_norm="rms", tie_embeddings=False,
            value_factor=1, norm_eps=1e-5, variant=Variant(norm="rms", feed_forward="swiglu"),
        ),
    ],
)  # fmt: skip
def test_a_config_survives_json(config: RetNetConfig) -> None:
    copy = RetNetConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert copy == config
    assert hash(copy) == hash(config)
    assert torch.equal(copy.gammas(), config.gammas())


def test_listed_gammas_become_a_tuple_and_are_used_exactly() -> None:
    gammas = [0.9, 1 - 2**-40]
    config = RetNetConfig(d_model=8, n_heads=2, decay=gammas)  # type: ignore[arg-type]
    assert config.decay == tuple(gammas)
    assert config.gammas().tolist() == gammas


def test_gammas_are_numbers_also_where_a_model_is_built_without_memory() -> None:
    for decay in ("paper", "torchscale", (0.9, 0.8)):
        config = RetNetConfig(d_model=8, n_heads=2, decay=decay)
        with torch.device("meta"):
            gammas = config.gammas()
        assert torch.equal(gammas, config.gammas())


def test_widths_follow_from_the_factors() -> None:
    config = RetNetConfig(d_model=48, n_heads=4, value_factor=1.5, ffn_factor=2.25)
    assert (config.head_dim, config.value_dim, config.ffn_dim) == (12, 18, 108)
