"""Rows in which something comes again: what each kind promises."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.checkpoints.native import DEFAULT
from retnet_viz.training import TrainingConfig
from retnet_viz.training.loop import rows_of_step
from retnet_viz.training.recall import NAMES
from retnet_viz.training.recurring import (
    IGNORE_INDEX,
    KINDS,
    SHORT,
    SPANS,
    RecurringRows,
    invented_name,
)

STORY = (
    "The old man looked at Peter, and Peter looked at the sea. There was no wind on that day. "
    "Then the boat came back, and Peter went down to the shore with a lantern in his hand. "
)
LENGTH = 300


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(DEFAULT / "tokenizer.json")


@pytest.fixture(scope="module")
def rows(tokenizer: Tokenizer) -> RecurringRows:
    return RecurringRows(torch.tensor(tokenizer.encode(STORY * 40), dtype=torch.int32), tokenizer)


def drawn(rows: RecurringRows, kind: str, seed: int, length: int = LENGTH):
    return rows.draw(kind, length, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_drawn_by_the_seed_and_its_targets_are_the_next_tokens(
    rows: RecurringRows, kind: str
) -> None:
    inputs, targets = drawn(rows, kind, 3)
    assert inputs.shape == targets.shape == (LENGTH,)
    is_target = targets[:-1] != IGNORE_INDEX
    assert torch.equal(inputs[1:][is_target], targets[:-1][is_target])
    repeated = drawn(rows, kind, 3)
    assert torch.equal(repeated[0], inputs)
    assert torch.equal(repeated[1], targets)
    assert not torch.equal(drawn(rows, kind, 4)[0], inputs)


def spans(inputs: torch.Tensor) -> list[tuple[int, int]]:
    """(tokens, passes) of the spans of a row, but of the last one or two, which it may cut off."""
    spans: list[tuple[int, int]] = []
    row, start = inputs.tolist(), 0
    while start < len(row):
        sizes = range(SPANS[0], (len(row) - start) // 2)
        size = next(
            (n for n in sizes if row[start : start + n] == row[start + n : start + 2 * n]), 0
        )
        if not size:
            break
        repeated = row[start + 2 * size : start + 3 * size]
        passes = 3 if row[start : start + size] == repeated else 2
        spans.append((size, passes))
        start += size * passes
    return spans[:-1]


@pytest.fixture(scope="module")
def numbered(tokenizer: Tokenizer) -> RecurringRows:
    """Rows of a corpus in which no token comes twice."""
    return RecurringRows(torch.arange(tokenizer.vocab_size), tokenizer)


@pytest.mark.parametrize("kind", ["random", "shuffled", "span"])
def test_spans_come_two_or_three_times_each(numbered: RecurringRows, kind: str) -> None:
    sizes, all_passes = set(), set()
    for seed in range(30):
        inputs, targets = drawn(numbered, kind, seed)
        start = 0
        for size, passes in spans(inputs):
            sizes.add(size)
            all_passes.add(passes)
            # Counted is what the first pass tells, and nothing of that pass itself.
            is_counted = targets[start : start + size * passes - 1] != IGNORE_INDEX
            foretold = torch.arange(size * passes - 1) >= size
            assert torch.equal(is_counted, foretold | (kind == "span"))
            start += size * passes
    assert all_passes == {2, 3}
    assert len(sizes) > 15
    assert SPANS[0] <= min(sizes)
    assert max(sizes) <= SPANS[1]


def test_spans_grow_from_short_ones(numbered: RecurringRows) -> None:
    def longest(growth: float) -> int:
        rows = (
            numbered.draw("random", LENGTH, torch.Generator().manual_seed(seed), growth)[0]
            for seed in range(25)
        )
        return max(size for row in rows for size, _ in spans(row))

    assert longest(0.0) <= SHORT
    assert SHORT < longest(0.5) <= (SHORT * SPANS[1]) ** 0.5
    assert longest(0.5) < longest(1.0) <= SPANS[1]


def test_random_rows_use_the_whole_vocabulary_and_shuffled_ones_the_corpus(
    rows: RecurringRows, tokenizer: Tokenizer
) -> None:
    of_corpus = set(rows.ids.tolist())
    some = torch.cat([drawn(rows, "random", seed)[0] for seed in range(40)])
    assert len(set(some.tolist()) - of_corpus) > 500
    shuffled = torch.cat([drawn(rows, "shuffled", seed)[0] for seed in range(40)])
    assert set(shuffled.tolist()) <= of_corpus


def test_sentences_come_again_with_the_words_that_replaced_others(
    rows: RecurringRows, tokenizer: Tokenizer
) -> None:
    changed = 0
    for seed in range(20):
        text = tokenizer.decode(drawn(rows, "sentence", seed)[0].tolist())
        sentences = [sentence.strip() for sentence in re.findall(r"[^.]+\.", text)]
        new = [sentence for sentence in sentences[1:] if f"{sentence} " not in STORY]
        repeated = {sentence for sentence in new if new.count(sentence) > 1}
        changed += len(repeated)
        # The corpus says only three sentences: what is told twice was told twice by the row.
        assert all(len(sentence.split()) >= 3 for sentence in repeated)
    assert changed > 10


def test_a_name_is_replaced_wherever_it_stands(rows: RecurringRows, tokenizer: Tokenizer) -> None:
    names = set()
    for seed in range(10):
        inputs, targets = drawn(rows, "name", seed)
        text = tokenizer.decode(inputs.tolist())
        assert "Peter" not in text
        (name,) = set(re.findall(r"and ([A-Z]\w+) (?:looked|went)", text))
        assert text.count(name) > 5
        assert (targets != IGNORE_INDEX).all()
        names.add(name)
    assert len(names) > 8


def test_a_corpus_without_names_or_sentences_still_gives_rows(tokenizer: Tokenizer) -> None:
    plain = RecurringRows(torch.tensor(tokenizer.encode("and so on " * 3)), tokenizer)
    for kind in KINDS:
        inputs, _ = drawn(plain, kind, 1)
        assert inputs.shape == (LENGTH,)


def test_a_word_is_replaced_wherever_it_stands_and_its_first_place_is_not_counted(
    rows: RecurringRows,
) -> None:
    n_replaced = 0
    for start in range(0, 400, 80):
        story = rows.ids[start : start + 81].long()
        generator = torch.Generator().manual_seed(start)
        rows._window = lambda length, _, story=story: story[:length]  # type: ignore[method-assign]
        inputs, targets = rows.draw("word", 80, generator)
        row = torch.cat([inputs, torch.where(targets == IGNORE_INDEX, story[1:], targets)[-1:]])
        for word in story[row != story].unique().tolist():
            at = (story == word).nonzero().flatten()
            assert len(at) > 1
            assert len(row[at].unique()) == 1
            assert at[0] == 0 or targets[at[0] - 1] == IGNORE_INDEX
            n_replaced += 1
        assert (targets == IGNORE_INDEX).sum() <= len(story[row != story].unique())
    assert n_replaced


def test_names_of_training_are_not_those_that_recall_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    invented = {invented_name(generator) for _ in range(5000)}
    assert len(invented) > 3000
    assert not invented & set(NAMES)


def test_the_share_of_recurring_rows_falls_over_its_steps(rows: RecurringRows) -> None:
    config = TrainingConfig(
        "d", "o", batch_size=50, context=60, copy_steps=20,
        recurring=0.8, recurring_end=0.2, recurring_steps=100, recurring_kinds="random",
    )  # fmt: skip
    assert [config.recurring_share(step) for step in (0, 19, 20, 70, 120, 5000)] == pytest.approx(
        [1, 1, 0.8, 0.5, 0.2, 0.2]
    )

    last = dataclasses.replace(
        config, schedule="stable", steps=200, decay_share=0.25, recurring_last=0.6
    )
    assert [last.recurring_share(step) for step in (120, 149, 150, 199)] == pytest.approx(
        [0.2, 0.2, 0.6, 0.6]
    )

    def share(step: int) -> float:
        inputs, targets = rows_of_step(rows, config, step)
        assert inputs.shape == targets.shape == (50, 60)
        return (targets[:, 0] == IGNORE_INDEX).float().mean().item()

    early, late = (sum(map(share, steps)) / 10 for steps in (range(20, 30), range(120, 130)))
    assert early == pytest.approx(0.77, abs=0.1)
    assert late == pytest.approx(0.2, abs=0.1)
    assert torch.equal(rows_of_step(rows, config, 7)[0], rows_of_step(rows, config, 7)[0])


def test_the_first_steps_are_for_copying_and_their_spans_grow(rows: RecurringRows) -> None:
    config = TrainingConfig(
        "d", "o", batch_size=20, context=400, copy_steps=10, recurring_kinds="sentence"
    )

    def longest(step: int) -> int:
        inputs, targets = rows_of_step(rows, config, step)
        assert (targets[:, 0] == IGNORE_INDEX).all()
        return max(size for row in inputs for size, _ in spans(row))

    assert longest(0) <= SHORT < longest(5) < longest(9) <= SPANS[1]
    _, targets = rows_of_step(rows, config, 10)
    assert (targets != IGNORE_INDEX).all()


def test_rows_of_the_corpus_stay_as_they_were_beside_recurring_ones(rows: RecurringRows) -> None:
    plain = TrainingConfig("d", "o", batch_size=30, context=40)
    mixed = TrainingConfig("d", "o", batch_size=30, context=40, recurring=0.5, recurring_end=0.5)
    plain_rows, mixed_rows = rows_of_step(rows, plain, 5), rows_of_step(rows, mixed, 5)
    same = (plain_rows[0] == mixed_rows[0]).all(1)
    assert 5 < int(same.sum()) < 25
    assert torch.equal(plain_rows[1][same], mixed_rows[1][same])
    # Inputs and targets of each row belong together, recurring or not.
    is_target = mixed_rows[1][:, :-1] != IGNORE_INDEX
    assert torch.equal(mixed_rows[0][:, 1:][is_target], mixed_rows[1][:, :-1][is_target])
