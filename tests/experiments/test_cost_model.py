"""The calculator's formulas against models: weights counted, states measured, products counted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from retnet_viz.baselines import MambaConfig, TransformerConfig
from retnet_viz.checkpoints.native import build
from retnet_viz.experiments.cost_model import (
    CARDS,
    CLAIM_BATCH,
    CLAIM_CARD,
    CLAIM_CONTEXT,
    CLAIM_SAVED,
    CLAIM_SIZE,
    KINDS,
    MAMBA,
    PRECISIONS,
    RETNET,
    SIZES,
    TRANSFORMER,
    Card,
    Config,
    batch_that_saves,
    bytes_crossover,
    compare,
    counts,
    estimate,
    largest_batch,
    precision_of,
    state_bytes,
)
from retnet_viz.model import RetNetConfig

WHOLE = st.integers(1, 3)
RETNETS = st.builds(
    lambda heads, width, **fields: RetNetConfig.from_dict(
        {"d_model": 2 * heads * width, "n_heads": heads, **fields}
    ),
    heads=WHOLE,
    width=WHOLE,
    vocab_size=st.integers(2, 40),
    n_layers=WHOLE,
    value_factor=st.sampled_from((0.5, 1.0, 2.0)),
    ffn_factor=st.sampled_from((1.0, 1.75, 2.0)),
    norm=st.sampled_from(("layer", "rms")),
    gate=st.sampled_from(("swish", "none")),
    feed_forward=st.sampled_from(("gelu", "swiglu")),
    tie_embeddings=st.booleans(),
)
TRANSFORMERS = st.builds(
    lambda heads, width, **fields: TransformerConfig(
        d_model=2 * heads * width, n_heads=heads, **fields
    ),
    heads=WHOLE,
    width=WHOLE,
    vocab_size=st.integers(2, 40),
    n_layers=WHOLE,
    ffn_factor=st.sampled_from((1.0, 4.0)),
    tie_embeddings=st.booleans(),
)
MAMBAS = st.builds(
    MambaConfig,
    vocab_size=st.integers(2, 40),
    d_model=st.integers(1, 20),
    n_layers=WHOLE,
    expand=WHOLE,
    state_size=st.integers(1, 5),
    conv_width=st.integers(1, 4),
    delta_rank=st.integers(0, 3),
    tie_embeddings=st.booleans(),
)
CONFIGS = st.one_of(RETNETS, TRANSFORMERS, MAMBAS)


def run_model(config: Config, context: int, batch: int, dtype: torch.dtype) -> Any:
    """A model of this config, and its state after `context` tokens of each row."""
    model = build(config).eval().to(dtype)
    with torch.no_grad():
        return model, model(torch.zeros(batch, context, dtype=torch.long)).state


@given(CONFIGS)
def test_the_weights_are_those_of_the_model(config: Config) -> None:
    model = build(config)
    assert counts(config).parameters == model.n_parameters
    spared = 0 if config.tie_embeddings else model.embedding.weight.numel()
    assert counts(config).read_parameters == model.n_parameters - spared


@given(
    CONFIGS,
    st.integers(1, 9),
    WHOLE,
    st.sampled_from((torch.float32, torch.float64, torch.bfloat16)),
)
def test_the_bytes_of_a_state_are_those_that_are_measured(
    config: Config, context: int, batch: int, dtype: torch.dtype
) -> None:
    _, state = run_model(config, context, batch, dtype)
    assert batch * state_bytes(config, context, precision_of(dtype)) == state.nbytes


@settings(phases=[Phase.explicit, Phase.generate])  # a flop counter makes shrinking slow
@given(CONFIGS, st.integers(1, 9))
def test_the_matrix_products_are_those_that_torch_counts(config: Config, context: int) -> None:
    model, state = run_model(config, context, 1, torch.float32)
    counter: Any = FlopCounterMode(display=False)
    how = {"mode": "recurrent"} if isinstance(config, RetNetConfig) else {}
    with torch.no_grad(), counter:
        model(torch.zeros(1, 1, dtype=torch.long), state, **how)
    result = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    count = counts(config)
    # Of the work on a recurrent state torch counts the product that reads it: 2 per number.
    products = result.get("aten.mm", 0) + result.get("aten.bmm", 0)
    assert products == 2 * (count.matrix_parameters + count.recurrent)
    if isinstance(config, RetNetConfig):
        assert count.state_flops == 5 * count.recurrent


def test_attention_is_counted_as_the_products_of_its_two_matrices() -> None:
    config = TransformerConfig(vocab_size=7, d_model=12, n_layers=3, n_heads=2)
    q, k, v = (torch.ones(2, length, 6) for length in (1, 9, 9))
    counter: Any = FlopCounterMode(display=False)
    with counter:
        (q @ k.mT) @ v
    extra = counts(config).flops(8) - counts(config).flops(0)
    assert extra == 3 * counter.get_total_flops()


# -- the published sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_published_size_has_the_parameters_that_its_model_would_have(
    name: str, kind: str
) -> None:
    with torch.device("meta"):  # shapes only
        model = build(SIZES[name].configs[kind])
    result = counts(SIZES[name].configs[kind]).parameters
    assert result == model.n_parameters
    assert result == pytest.approx(float(name[:-1]) * 1e9, rel=0.06)


def test_the_published_mambas_are_those_of_its_paper() -> None:
    # arXiv:2312.00752, and the checkpoints mamba-1.4b and mamba-2.8b.
    shapes = {name: SIZES[name].configs[MAMBA] for name in ("1.3B", "2.7B")}
    assert {name: (c.n_layers, c.d_model) for name, c in shapes.items()} == {
        "1.3B": (48, 2048),
        "2.7B": (64, 2560),
    }
    assert counts(shapes["1.3B"]).parameters == 1_372_178_432
    assert counts(shapes["2.7B"]).parameters == 2_768_345_600


def test_retnet_and_transformer_are_of_one_size() -> None:
    for size in SIZES.values():
        retnet, transformer = (counts(size.configs[kind]) for kind in (RETNET, TRANSFORMER))
        assert retnet.parameters == transformer.parameters
        config = size.configs[RETNET]
        assert (config.head_dim, config.value_dim) == (256, 512)


# -- estimates ----------------------------------------------------------------------------------

SLOW = Card("slow", bandwidth=1e9, memory=1e6, flops=1e15, flops32=1e15)
SMALL = RetNetConfig(vocab_size=10, d_model=8, n_layers=1, n_heads=2)


def test_a_step_moves_the_weights_once_and_every_state_to_and_fro() -> None:
    precision = PRECISIONS["float32"]
    one, three = (estimate(SMALL, 100, batch, precision, SLOW) for batch in (1, 3))
    state = 4 * 1 * 2 * 4 * 8
    assert one.weight_bytes == 4 * build(SMALL).n_parameters
    assert one.moved_bytes == one.weight_bytes + 2 * state
    assert three.moved_bytes == one.weight_bytes + 6 * state
    assert three.seconds == pytest.approx(three.moved_bytes / 1e9)
    assert three.tokens_second == pytest.approx(3 / three.seconds)
    assert (one.limit, one.fits) == ("memory", True)


def test_a_cache_is_read_whole_and_grows_by_one_token() -> None:
    config = TransformerConfig(vocab_size=10, d_model=8, n_layers=3, n_heads=2)
    result = estimate(config, 100, 2, PRECISIONS["bfloat16"], SLOW)
    per_token = 2 * 2 * 3 * 8
    assert result.state_bytes == 2 * 100 * per_token
    assert result.moved_bytes == result.weight_bytes + 2 * 101 * per_token


def test_much_arithmetic_is_what_limits_a_large_batch() -> None:
    card = replace(SLOW, bandwidth=1e12, flops=1e6, flops32=1e3)
    result = estimate(SMALL, 1, 4, PRECISIONS["bfloat16"], card)
    assert result.limit == "arithmetic"
    assert result.seconds == pytest.approx(4 * result.flops / 1e6)
    wider = estimate(SMALL, 1, 4, PRECISIONS["float32"], card)
    assert wider.seconds == pytest.approx(1000 * result.seconds)


@given(CONFIGS, st.integers(1, 5000), st.floats(1e3, 1e7))
def test_the_largest_batch_fits_and_one_more_does_not(
    config: Config, context: int, memory: float
) -> None:
    card, precision = replace(SLOW, memory=memory), PRECISIONS["bfloat16"]
    result = largest_batch(config, context, precision, card)
    assert not estimate(config, context, result + 1, precision, card).fits
    assert result == 0 or estimate(config, context, result, precision, card).fits


@given(TRANSFORMERS, st.one_of(RETNETS, MAMBAS), st.sampled_from(list(PRECISIONS.values())))
def test_from_the_crossover_on_the_cache_is_larger(growing, steady, precision) -> None:
    at = bytes_crossover(growing, steady, precision)
    fixed = state_bytes(steady, 1, precision)
    assert state_bytes(growing, at, precision) > fixed
    assert (at - 1) * state_bytes(growing, 1, precision) <= fixed


@pytest.mark.parametrize(("context", "batch"), [(0, 1), (1, 0)])
def test_nothing_to_do_is_refused(context: int, batch: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        estimate(SMALL, context, batch, PRECISIONS["float32"], SLOW)


# -- the paper's claims -------------------------------------------------------------------------


def test_seventy_per_cent_are_saved_at_the_batch_where_the_papers_figure_ends() -> None:
    size, card = SIZES[CLAIM_SIZE], CARDS[CLAIM_CARD]
    precision = PRECISIONS["bfloat16"]
    batch = batch_that_saves(CLAIM_SAVED, size, CLAIM_CONTEXT, precision)
    assert round(batch) == CLAIM_BATCH
    below, above = (
        compare(size, CLAIM_CONTEXT, rows, precision, card).memory_saving
        for rows in (math.floor(batch), math.ceil(batch))
    )
    assert below <= CLAIM_SAVED <= above


def test_each_has_its_largest_batch_where_none_is_given() -> None:
    size, card, precision = SIZES[CLAIM_SIZE], CARDS[CLAIM_CARD], PRECISIONS["bfloat16"]
    result = compare(size, CLAIM_CONTEXT, None, precision, card)
    for kind, each in ((RETNET, result.retnet), (TRANSFORMER, result.transformer)):
        assert each.batch == largest_batch(size.configs[kind], CLAIM_CONTEXT, precision, card)
        assert each.fits
    ratio = result.retnet.tokens_second / result.transformer.tokens_second
    assert result.speedup == pytest.approx(ratio)


def test_what_no_batch_can_save_is_refused() -> None:
    with pytest.raises(ValueError, match="no batch saves 70%"):
        batch_that_saves(CLAIM_SAVED, SIZES[CLAIM_SIZE], 16, PRECISIONS["bfloat16"])
