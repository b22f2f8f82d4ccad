"""What a model is judged by, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import RetNet
from retnet_viz.training.evaluation import evaluate
from retnet_viz.training.lr_schedule import lr_factor

ModelFactory = Callable[..., RetNet]


def test_bits_per_byte_equal_a_sum_over_single_tokens(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, context = tiny_model(), 8
    ids = torch.tensor(
        tiny_tokenizer.encode("The fox had a red kite and the owl saw it fall. " * 3)
    )
    size = len(tiny_tokenizer.decode(ids.tolist()).encode())
    model.train()
    result = evaluate(model, ids, size / len(ids), context, batch_size=2)
    assert model.training  # as it was

    bits, count = 0.0, 0
    for start in range(0, len(ids) - context, context):
        for n in range(context):  # each window is read anew, each token predicted from those before
            logits = model(ids[None, start : start + n + 1]).logits[0, -1].tolist()
            target = int(ids[start + n + 1])
            total = sum(math.exp(x - logits[target]) for x in logits)
            bits += math.log2(total)
            count += 1
    assert result.tokens == count
    assert result.loss == pytest.approx(bits / count * math.log(2), rel=1e-5)
    assert result.bits_per_byte == pytest.approx(bits / count * len(ids) / size, rel=1e-5)


def test_an_evaluation_can_stop_early(tiny_model: ModelFactory) -> None:
    ids = torch.randint(0, 300, (500,), generator=torch.Generator().manual_seed(0))
    model = tiny_model()
    part = evaluate(model, ids, 3.0, 16, max_tokens=100)
    assert part.tokens == 96
    assert part == evaluate(model, ids[:97], 3.0, 16)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_a_tenth() -> None:
    factors = [lr_factor(step, 100, 10, "cosine", 0.2) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert max(factors) == factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[55] == pytest.approx(0.55)
    assert lr_factor(100, 100, 10, "cosine", 0.2) == pytest.approx(0.1)
    assert lr_factor(0, 5, 0, "cosine", 0.2) == 1


def test_a_stable_rate_falls_at_the_end_alone_and_to_nothing() -> None:
    factors = [lr_factor(step, 100, 10, "stable", 0.25) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert set(factors[10:76]) == {1.0}
    assert factors[75:] == pytest.approx([1 - n / 25 for n in range(26)])
    # What comes before the fall is that of a longer run.
    assert factors[:76] == [lr_factor(step, 300, 10, "stable", 0.25) for step in range(76)]
    assert lr_factor(4, 5, 0, "stable", 0.0) == 1
