"""The loop that lets models generate side by side: where it measures, whose turn it is, its end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.experiments.cost_model import counts, precision_of, state_bytes
from retnet_viz.experiments.generation_cost import (
    FIRST,
    STEPS,
    TURN,
    Point,
    crossover,
    generation_cost,
    positions,
)
from retnet_viz.model import LanguageModel, RetNet, RetNetConfig

REACH = 200
SHAPE = {"vocab_size": 11, "d_model": 8, "n_layers": 2}


@pytest.fixture(scope="module")
def models() -> dict[str, LanguageModel[Any]]:
    torch.manual_seed(0)
    return {
        "RetNet": RetNet(RetNetConfig(**SHAPE, n_heads=2)).eval(),
        "Transformer": Transformer(TransformerConfig(**SHAPE, n_heads=2)).eval(),
        "Mamba": Mamba(MambaConfig(**SHAPE)).eval(),
    }


@given(st.integers(FIRST, 100_000))
def test_positions_grow_by_half_or_a_third_and_end_at_the_reach(reach: int) -> None:
    places = positions(reach)
    assert places[0] == FIRST
    assert places[-1] == reach
    assert all(0 < later - earlier <= earlier / 2 for earlier, later in pairwise(places))


def test_a_reach_before_the_first_position_is_refused() -> None:
    with pytest.raises(ValueError, match=f"reach must be {FIRST} or more"):
        positions(FIRST - 1)


def test_every_model_has_a_point_at_every_position(models) -> None:
    results = list(generation_cost(models, REACH))
    assert [{point.position for point in points.values()} for points in results] == [
        {place} for place in positions(REACH)
    ]
    for points in results:
        assert list(points) == list(models)
        for name, point in points.items():
            assert point.milliseconds > 0
            config = models[name].config
            expected = state_bytes(config, point.position, precision_of(torch.float32))
            assert point.state_bytes == expected
    assert [points["RetNet"].steps for points in results] == [
        min(STEPS, later - here)
        for here, later in zip(
            positions(REACH), [*positions(REACH)[1:], REACH + STEPS], strict=True
        )
    ]


def test_the_models_take_turns_and_each_token_is_the_likeliest_after_the_last(models) -> None:
    calls: list[tuple[str, int, int]] = []  # model, position, tokens
    choices: dict[str, list[tuple[int, int]]] = {name: [] for name in models}

    def note(name: str):
        def hook(_model, arguments, output) -> None:
            ids, state = arguments
            calls.append((name, state.position, ids.shape[1]))
            choices[name].append((int(ids[0, 0]), int(output.logits[0, -1].argmax())))

        return hook

    hooks = [model.register_forward_hook(note(name)) for name, model in models.items()]
    try:
        list(generation_cost(models, 64))
    finally:
        for hook in hooks:
            hook.remove()
    singles = [name for name, _, count in calls if count == 1]
    turns = [singles[i : i + TURN] for i in range(0, len(singles), TURN)]
    assert all(len(set(turn)) == 1 for turn in turns)
    assert [turn[0] for turn in turns[:6]] == list(models) * 2
    for name in models:
        own = [(at, count) for who, at, count in calls if who == name]
        assert [at for at, _ in own] == [sum(n for _, n in own[:i]) for i in range(len(own))]
        for (_, likeliest), (first, _), (_, count) in zip(
            choices[name], choices[name][1:], own[1:], strict=False
        ):
            assert count > 1 or first == likeliest


def test_all_models_read_the_same_tokens(models) -> None:
    texts: dict[str, list[int]] = {name: [] for name in models}
    hooks = [
        model.register_forward_hook(
            lambda _model, arguments, _output, name=name: texts[name].extend(
                arguments[0][0].tolist() if arguments[0].shape[1] > 1 else []
            )
        )
        for name, model in models.items()
    ]
    list(generation_cost(models, REACH))
    for hook in hooks:
        hook.remove()
    first, *others = texts.values()
    assert len(first) > FIRST
    assert all(other == first for other in others)


def test_progress_counts_every_token_once(models) -> None:
    calls: list[tuple[int, int]] = []
    list(generation_cost(models, REACH, lambda *done: calls.append(done)))
    total = 3 * (REACH + STEPS)
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


@pytest.mark.parametrize("after", [1, 4, 70])  # while reading, then while generating
def test_progress_may_end_it(models, after: int) -> None:
    calls_heard = 0

    def cancel(_done: int, _total: int) -> None:
        nonlocal calls_heard
        calls_heard += 1
        if calls_heard == after:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        list(generation_cost(models, REACH, cancel))
    assert calls_heard == after
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_whoever_asks_for_no_more_is_not_left_in_inference_mode(models) -> None:
    for _ in generation_cost(models, REACH):
        assert not torch.is_inference_mode_enabled()
        break
    assert not torch.is_inference_mode_enabled()


def test_the_models_are_as_they_were(models) -> None:
    before = {name: [p.clone() for p in model.parameters()] for name, model in models.items()}
    list(generation_cost(models, 64))
    for name, model in models.items():
        assert all(map(torch.equal, model.parameters(), before[name]))
        assert counts(model.config).parameters == model.n_parameters


def curve(*milliseconds: float) -> list[Point]:
    return [Point(100 * (i + 1), each, 8, 0) for i, each in enumerate(milliseconds)]


@pytest.mark.parametrize(
    ("growing", "steady", "expected"),
    [
        ((1, 2, 3, 4), (2.5, 2.5, 2.5, 2.5), 300),
        ((3, 2, 3, 4), (2.5, 2.5, 2.5, 2.5), 300),  # what comes before a dip is noise
        ((3, 3, 3, 3), (2, 2, 2, 2), 100),
        ((3, 3, 3, 1), (2, 2, 2, 2), None),
        ((2, 2), (2, 2), None),
        ((), (), None),
    ],
)
def test_the_crossover_is_where_every_later_step_is_slower(growing, steady, expected) -> None:
    assert crossover(curve(*growing), curve(*steady)) == expected
