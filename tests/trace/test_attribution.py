"""A logit in parts: they leave nothing over, and each is what pushing it through by hand gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import retnet_viz as rv
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace.views.attribution import Attribution
from tests.support.examples import examples
from tests.support.variants import variants

TEXT = "the cat and the dog, the cat and the dog, the cat and the"
Parts = dict[Any, Tensor]


def through(norm: nn.Module, parts: Parts) -> Parts:
    """Every part through a norm whose mean and scale are those of their sum; its bias is a part."""
    if not isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        return parts
    is_layer = isinstance(norm, nn.LayerNorm)
    x = sum(parts.values())
    scale = (x.var(correction=0) if is_layer else x.square().mean()).add(norm.eps).sqrt()
    after = {
        name: (part - part.mean() if is_layer else part) / scale * norm.weight
        for name, part in parts.items()
        if name != "bias"
    }
    bias = parts["bias"]
    after["bias"] = (bias - bias.mean() if is_layer else bias) / scale * norm.weight
    if is_layer:
        after["bias"] = after["bias"] + norm.bias
    return after


def head_parts(model: RetNet, trace: rv.Trace, layer: int, n: int) -> Parts:
    """What each head brings from each source token into the residual stream."""
    config, own = model.config, model.blocks[layer].retention
    d_v = config.value_dim
    parts: Parts = {}
    for h in range(config.n_heads):
        terms = [trace.retention(layer)[h, n, m] * trace.v(layer)[h, m] for m in range(n + 1)]
        if config.variant.decay_norm:
            gamma = trace.gamma(layer)[h]
            terms = [term / sum(gamma**i for i in range(n + 1)) ** 0.5 for term in terms]
        output = sum(terms)
        if config.head_norm == "layer":
            scale = (output.var(correction=0) + config.norm_eps).sqrt()
            terms = [(term - term.mean()) / scale for term in terms]
        elif config.head_norm == "rms":
            scale = (output.square().mean() + config.norm_eps).sqrt()
            terms = [term / scale for term in terms]
        if own.head_norm_weight is not None:
            terms = [term * own.head_norm_weight for term in terms]
        columns = slice(h * d_v, (h + 1) * d_v)
        for m, term in enumerate(terms):
            gated = trace.gate(layer)[n, columns] * term
            parts[layer, h, m] = own.out_proj.weight[:, columns] @ gated
    return parts


@torch.no_grad()
def literal_parts(model: RetNet, trace: rv.Trace, n: int) -> Parts:
    """The input of the head at token n, in parts."""
    variant = model.config.variant
    embedding = model.embed(trace.ids[n])
    parts: Parts = {"embedding": embedding, "bias": torch.zeros_like(embedding)}

    def carried(parts: Parts) -> Parts:
        return {name: variant.residual_scale * part for name, part in parts.items()}

    for layer, block in enumerate(model.blocks):
        parts = carried(parts) | head_parts(model, trace, layer, n)
        if variant.norm_place == "after":
            parts = through(block.retention_norm, parts)
        y = sum(parts.values())
        read = block.ffn_norm(y) if variant.norm_place == "before" else y
        parts = carried(parts) | {("ffn", layer): block.ffn(read)}
        if variant.norm_place == "after":
            parts = through(block.ffn_norm, parts)
    return through(model.norm, parts)


def expect_parts(found: Attribution, reading: Tensor, parts: Parts, atol: float) -> None:
    """Every part of `found` is the product of the reading and the literal part."""
    shares = {name: (reading @ part).item() for name, part in parts.items()}
    for name, share in shares.items():
        if name == "embedding":
            ours = found.embedding
        elif name == "bias":
            ours = found.bias
        elif name[0] == "ffn":
            ours = found.feed_forward[name[1]].item()
        else:
            ours = found.heads[name].item()
        assert abs(ours - share) < atol, name
    assert abs(sum(shares.values()) - found.total) < atol


@given(fields=variants(), seed=st.integers(0, 99), mode=st.sampled_from(MODES), data=st.data())
@settings(max_examples=examples(60))
def test_the_parts_of_any_model_are_those_pushed_through_by_hand(
    tiny_model: Callable[..., RetNet],
    fields: dict[str, Any],
    seed: int,
    mode: str,
    data: st.DataObject,
) -> None:
    model = tiny_model(seed=seed, **fields)
    ids = torch.randint(0, 23, (5,), generator=torch.Generator().manual_seed(seed))
    trace = rv.trace(model, ids, mode, chunk_size=2)
    n, token = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 22))
    found = trace.attribution(token, n)
    scale = max(1.0, trace.logits.abs().max().item())
    parts = literal_parts(model, trace, n)
    largest = max(part.abs().max().item() for part in parts.values())
    with torch.no_grad():
        expect_parts(found, model.head.weight[token], parts, 1e-8 * max(scale, largest))
    assert found.logit == trace.logits[n, token].item()
    assert abs(found.total - found.logit) < 1e-8 * max(scale, largest)
    assert not found.heads[:, :, n + 1 :].any()


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_left_over_in_the_shipped_model(shipped_model: RetNet, mode: str) -> None:
    trace = rv.trace(shipped_model, TEXT, mode, chunk_size=8)
    for position in (0, 7, -1):
        found = trace.attribution(position=position)
        assert found.token == trace.logits[position].argmax()
        assert abs(found.total - found.logit) < 1e-5 * trace.logits.abs().max()
        assert found.heads.shape == (4, 4, trace.length)


def test_dog_is_said_by_the_earlier_dog(shipped_model: RetNet) -> None:
    trace = rv.trace(shipped_model, TEXT)
    found = trace.attribution(" dog")
    by_source = found.heads.sum(dim=(0, 1))
    assert trace.tokens[int(by_source.argmax())] == " dog"


def test_against_another_token_it_is_the_difference(shipped_model: RetNet) -> None:
    trace = rv.trace(shipped_model, TEXT)
    dog, cat = trace.attribution(" dog"), trace.attribution(" cat")
    found = trace.attribution(" dog", against=cat.token)
    assert found.against == cat.token
    torch.testing.assert_close(found.heads, dog.heads - cat.heads)
    torch.testing.assert_close(found.feed_forward, dog.feed_forward - cat.feed_forward)
    assert found.logit == pytest.approx(dog.logit - cat.logit)
    assert found.total == pytest.approx(found.logit, abs=1e-4)


def test_the_lens_of_the_last_layer_is_the_prediction(tiny_model: Callable[..., RetNet]) -> None:
    model = tiny_model(n_layers=3)
    trace = rv.trace(model, torch.arange(6))
    torch.testing.assert_close(trace.lens(2), trace.logits)
    x = trace.output(0)[2]
    centred = x - x.mean()
    normed = centred / (centred.square().mean() + model.config.norm_eps).sqrt()
    read = normed * model.norm.weight + model.norm.bias
    torch.testing.assert_close(trace.lens(0, slice(2, 3))[0], model.head.weight @ read)
    with pytest.raises(IndexError, match="layer 3"):
        trace.lens(3)


def test_what_cannot_be_asked_is_refused_with_a_sentence(
    tiny_model: Callable[..., RetNet], shipped_model: RetNet
) -> None:
    trace = rv.trace(shipped_model, TEXT)
    with pytest.raises(ValueError, match=r"' dog cat' is 2 tokens"):
        trace.attribution(" dog cat")
    with pytest.raises(ValueError, match="outside the vocabulary"):
        trace.attribution(4096)
    with pytest.raises(IndexError, match="position 16 is outside a text of 16 tokens"):
        trace.attribution(position=16)
    of_tensors = rv.Trace.from_tensors(*torch.rand(3, 1, 4, 2), [0.5])
    for ask in (of_tensors.attribution, lambda: of_tensors.lens(0)):
        with pytest.raises(ValueError, match="no model"):
            ask()
    model = tiny_model()
    changing = rv.trace(model, torch.arange(4))
    model.blocks[0].retention.gamma = model.blocks[0].retention.gamma * 0.5
    with pytest.raises(RuntimeError, match="has changed"):
        changing.attribution()
