"""Generation on the carried state against re-reading the whole text, and sampling's promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet, generate, stream
from retnet_viz.model.generate import sample

ModelFactory = Callable[..., RetNet]
PROMPT = torch.tensor([[5, 17, 200, 3, 3, 80], [9, 9, 1, 250, 40, 2]])


@pytest.mark.parametrize("prefill_mode", MODES)
def test_greedy_generation_equals_reading_everything_again_for_each_token(
    tiny_model: ModelFactory, prefill_mode: str
) -> None:
    model = tiny_model()
    text = PROMPT
    for _ in range(25):
        likeliest = model(text).logits[:, -1].argmax(dim=-1)
        text = torch.cat((text, likeliest[:, None]), dim=1)
    expected = text[:, PROMPT.shape[1] :]
    assert len(expected.unique()) > 5  # a model that repeats one token would prove nothing
    assert torch.equal(generate(model, PROMPT, 25, prefill_mode=prefill_mode), expected)


def test_generation_goes_on_from_a_given_state(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    whole = generate(model, PROMPT, 8)
    state = model(PROMPT[:, :4]).state
    assert torch.equal(generate(model, PROMPT[:, 4:], 8, state=state), whole)
    assert torch.equal(generate(model, PROMPT[:, 4:], 8, state=state), whole)  # state unchanged


def test_rows_of_a_batch_generate_as_they_do_alone(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    together = generate(model, PROMPT, 10)
    assert together.shape == (2, 10)
    for row in range(2):
        assert torch.equal(generate(model, PROMPT[row : row + 1], 10)[0], together[row])


def test_a_seed_repeats_a_draw_and_another_seed_does_not(tiny_model: ModelFactory) -> None:
    model = tiny_model()

    def draw(seed: int | None) -> list[list[int]]:
        return generate(model, PROMPT, 20, temperature=1.0, seed=seed).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    before = torch.get_rng_state()
    draw(3)
    assert torch.equal(torch.get_rng_state(), before)  # a seeded draw takes nothing from others


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-9}, {"top_k": 300, "top_p": 1e-9}])
def test_the_narrowest_sampling_is_greedy(tiny_model: ModelFactory, narrow: dict[str, Any]) -> None:
    model = tiny_model()
    assert torch.equal(
        generate(model, PROMPT, 15, temperature=2.0, seed=0, **narrow), generate(model, PROMPT, 15)
    )


# Quarters: all differ in float32 too, or tie.
LOGITS = st.lists(st.integers(-32, 32).map(lambda i: i / 4), min_size=2, max_size=12)


@given(logits=LOGITS, top_k=st.integers(1, 14), seed=st.integers(0, 99))
def test_top_k_draws_only_from_the_k_likeliest(logits: list[float], top_k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    samples = set(sample(torch.tensor([logits] * 60), 4.0, top_k, None, generator).tolist())
    assert len(samples) <= top_k  # also among equally likely ones
    assert min(logits[i] for i in samples) >= sorted(logits)[-min(top_k, len(logits))]


@given(logits=LOGITS, top_p=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_top_p_draws_only_from_the_smallest_set_that_reaches_p(
    logits: list[float], top_p: float, seed: int
) -> None:
    temperature = 1.5
    weights = [math.exp(x / temperature) for x in logits]
    allowed, reached = [], 0.0
    for weight in sorted(weights, reverse=True):
        if reached >= top_p + 1e-6:
            break
        allowed.append(weight)
        reached += weight / sum(weights)
    generator = torch.Generator().manual_seed(seed)
    samples = set(sample(torch.tensor([logits] * 60), temperature, None, top_p, generator).tolist())
    assert len(samples) <= len(allowed)
    assert min(weights[i] for i in samples) >= min(allowed)


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    generator = torch.Generator().manual_seed(0)

    def shares(temperature: float, **cut: Any) -> list[float]:
        samples = sample(probabilities.log().expand(20_000, 4), temperature, **cut,
                       generator=generator)  # fmt: skip
        return (samples.bincount(minlength=4) / 20_000).tolist()

    assert shares(1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.02)
    sharper = [p**2 / 0.365 for p in (0.5, 0.3, 0.15, 0.05)]
    assert shares(0.5) == pytest.approx(sharper, abs=0.02)
    assert shares(1.0, top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.02)
    assert shares(1.0, top_p=0.9) == pytest.approx([0.526, 0.316, 0.158, 0], abs=0.02)


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 5e-324])
def test_a_temperature_next_to_0_is_greedy(temperature: float) -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample(logits, temperature), logits.argmax(dim=-1))


def test_the_state_does_not_grow_with_the_text(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    sizes, positions, state = set(), [], None
    for length in (1, 2, 50, 400):
        state = model(torch.ones(1, length, dtype=torch.long), state, mode="chunkwise").state
        sizes.add(state.nbytes)
        positions.append(state.position)
    assert sizes == {2 * 2 * 8 * 16 * 8}  # layers * heads * d_k * d_v * bytes of a float64
    assert positions == [1, 3, 53, 453]


def test_generation_reads_one_token_a_step(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    lengths: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, arguments: lengths.append(arguments[0].shape[1])
    )
    generate(model, PROMPT, 5)
    hook.remove()
    assert lengths == [6, 1, 1, 1, 1]


def test_stream_yields_the_tokens_of_generate(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    expected = generate(model, PROMPT, 6, temperature=1.0, seed=4)
    tokens = list(stream(model, PROMPT, 6, temperature=1.0, seed=4))
    assert torch.equal(torch.stack(tokens, dim=1), expected)


def test_no_tokens_asked_for_are_no_tokens(tiny_model: ModelFactory) -> None:
    assert generate(tiny_model(), PROMPT, 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be 0 or more, not -1"),
        ({"temperature": -0.1}, "temperature must be a finite number of 0 or more, not -0.1"),
        ({"temperature": math.nan}, "temperature must be a finite number"),
        ({"temperature": math.inf}, "temperature must be a finite number"),
        ({"top_k": 0}, "top_k must be 1 or more, not 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], not 0.0"),
        ({"top_p": 1.1}, r"top_p must lie in \(0, 1\], not 1.1"),
        ({"top_p": math.nan}, "top_p must lie in"),
        ({"prefill_mode": "sideways"}, "mode must be one of .*'sideways'"),
        ({"text": torch.zeros(1, 0, dtype=torch.long)}, "the text has no tokens"),
        ({"text": [5, 10**6]}, r"token id 1000000 is outside the vocabulary 0 \.\. 299"),
        ({"text": "Once"}, "no tokenizer; pass token ids"),
        ({"text": {"ids": 5}}, "a text must be a str, or token ids in .* not dict"),
    ],
)
def test_a_bad_argument_is_refused_with_a_sentence(
    tiny_model: ModelFactory, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        generate(tiny_model(), **{"text": PROMPT, "max_new_tokens": 2, **arguments})


def test_what_follows_a_text_is_a_text_and_what_follows_ids_are_ids(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    ids = tiny_tokenizer.encode("The fox ran")
    expected = generate(model, torch.tensor([ids]), 6)
    assert expected.shape == (1, 6)
    for same in (ids, tuple(ids), np.array(ids), torch.tensor(ids)):
        assert torch.equal(generate(model, same, 6), expected[0])
    assert generate(model, "The fox ran", 6) == tiny_tokenizer.decode(expected[0].tolist())
