"""The tasks: every answer follows from the tokens before it, by the rule, told here once more."""

from __future__ import annotations

import pytest
import torch

from retnet_viz.experiments.learning.tasks import (
    ASK,
    BRACKETS,
    IGNORE_INDEX,
    NOISE,
    TASKS,
    Batch,
    Task,
    group_name,
)

ALL = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def draw(task: Task, count: int = 64, seed: int = 0) -> Batch:
    return task.draw(count, torch.Generator().manual_seed(seed))


def answer_copy(symbol: str, symbols: list[str]) -> tuple[str, int] | None:
    """What is asked after `symbols`, and how far back it stands."""
    if not symbols[-1].startswith("?"):
        return None
    lag = int(symbols[-1][1:])
    return symbols[-1 - lag], lag


def answer_recall(symbol: str, symbols: list[str]) -> tuple[str, int] | None:
    key, n = symbols[-1], len(symbols) - 1
    if not key.isalpha() or key not in symbols[:-1]:
        return None
    last = n - 1 - symbols[:-1][::-1].index(key)
    return symbols[last + 1], n - (last + 1)


def answer_brackets(symbol: str, symbols: list[str]) -> tuple[str, int] | None:
    """`read` is the token that comes next: it only says whether a pair closes."""
    closing = {pair[1]: pair[0] for pair in BRACKETS}
    if symbol not in closing:
        return None
    depth = 0
    for back, symbol in enumerate(reversed(symbols)):
        depth += 1 if symbol in closing else -1
        if depth < 0:
            return next(pair[1] for pair in BRACKETS if pair[0] == symbol), back
    raise AssertionError("a bracket closes that nothing opened")


def answer_induction(symbol: str, symbols: list[str]) -> tuple[str, int] | None:
    last, n = symbols[-1], len(symbols) - 1
    if last not in symbols[:-1]:
        return None
    before = n - 1 - symbols[:-1][::-1].index(last)
    return symbols[before + 1], n - (before + 1)


def answer_selective(symbol: str, symbols: list[str]) -> tuple[str, int] | None:
    if symbols[-1] != ASK:
        return None
    letters = [(n, symbol) for n, symbol in enumerate(symbols) if symbol.isalpha()]
    place, letter = letters[symbols.count(ASK) - 1]
    return letter, len(symbols) - 1 - place


RULES = {
    "copy": answer_copy,
    "recall": answer_recall,
    "brackets": answer_brackets,
    "induction": answer_induction,
    "selective": answer_selective,
}


@ALL
def test_every_target_and_every_lag_follows_from_the_tokens(task: Task) -> None:
    batch = draw(task)
    assert batch.ids.shape == batch.targets.shape == batch.lags.shape == (64, task.length)
    for ids, targets, lags in zip(*(x.tolist() for x in vars(batch).values()), strict=True):
        symbols = [task.symbols[token] for token in ids]
        for n in range(task.length):
            if task.name == "brackets" and n + 1 == task.length:
                # What comes next is not among the tokens, but what must be asked if it closes.
                if targets[n] != IGNORE_INDEX:
                    target = task.symbols[targets[n]]
                    assert answer_brackets(target, symbols) == (target, lags[n])
                continue
            upcoming = symbols[n + 1] if n + 1 < task.length else ""
            expected = RULES[task.name](upcoming, symbols[: n + 1])
            actual = None if targets[n] == IGNORE_INDEX else (task.symbols[targets[n]], lags[n])
            assert actual == expected
            assert (lags[n] == -1) == (actual is None)


@ALL
def test_every_answer_is_a_possible_one_and_every_lag_has_a_group(task: Task) -> None:
    batch = draw(task, 512)
    assert batch.is_query.sum() > 512
    assert set(batch.targets[batch.is_query].tolist()) == set(task.answers)
    groups = task.group_of(batch.lags)
    assert ((groups >= 0) == batch.is_query).all()
    assert set(groups[batch.is_query].tolist()) == set(range(len(task.groups)))
    for group, lag in zip(
        groups[batch.is_query].tolist(), batch.lags[batch.is_query].tolist(), strict=True
    ):
        assert lag in task.groups[group]
    assert task.chance == 1 / len(task.answers)


@ALL
def test_a_seed_gives_the_same_batch_and_another_one_another(task: Task) -> None:
    one, again, other = draw(task), draw(task), draw(task, seed=1)
    assert torch.equal(one.ids, again.ids)
    assert torch.equal(one.targets, again.targets)
    assert torch.equal(one.lags, again.lags)
    assert not torch.equal(one.ids, other.ids)


@ALL
def test_a_slice_is_of_whole_sequences(task: Task) -> None:
    batch = draw(task)
    assert torch.equal(batch[2:5].targets, batch.targets[2:5])


def test_letters_of_an_induction_are_distinct_within_a_period() -> None:
    batch = draw(TASKS["induction"])
    for ids, lags in zip(batch.ids.tolist(), batch.lags.tolist(), strict=True):
        period = max(lags) + 1
        assert len(set(ids[:period])) == period
        assert ids[period:] == ids[:-period]


def test_marked_letters_stand_anywhere_among_the_noise() -> None:
    task = TASKS["selective"]
    places = set()
    for ids in draw(task, 300).ids.tolist():
        text = "".join(task.symbols[token] for token in ids)
        body, asks = text.rstrip(ASK), text.count(ASK)
        assert set(text) <= set(task.symbols)
        assert len(body) - body.count(NOISE) == asks
        places |= {n for n, symbol in enumerate(body) if symbol != NOISE}
    assert places == set(range(task.length - asks))


def test_brackets_stay_nested() -> None:
    task = TASKS["brackets"]
    for ids in draw(task).ids.tolist():
        text = "".join(task.symbols[token] for token in ids)
        shorter = None
        while shorter != text:
            shorter = text
            for pair in BRACKETS:
                text = text.replace(pair, "")
        assert not set(text) & {pair[1] for pair in BRACKETS}


def test_groups_are_written_as_people_write_them() -> None:
    assert group_name(range(4, 5)) == "4"
    assert group_name(range(5, 9)) == "5–8"
