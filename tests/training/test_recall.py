"""Recall is measured by what a model does: one that looks back finds all, one that guesses none."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.checkpoints.native import DEFAULT
from retnet_viz.cli import main
from retnet_viz.model import LanguageModel, RetNet, RetNetConfig
from retnet_viz.model.language_model import Output
from retnet_viz.training.data import END, HELD_OUT, VALIDATION_EVERY, read_corpus, read_held_out
from retnet_viz.training.recall import (
    COPY_LENGTHS,
    LAGS,
    NAMES,
    NOISES,
    PATTERNS,
    THINGS,
    Story,
    measure_recall,
    questions,
    recall_by_noise,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(DEFAULT / "tokenizer.json")


@pytest.fixture(scope="module")
def held_out(tokenizer: Tokenizer) -> Tensor:
    return read_held_out(tokenizer)[0]


class LooksBack(LanguageModel[Any]):
    """Says what followed the longest end of the text (up to `reach` tokens) that stood before."""

    def __init__(self, tokenizer: Tokenizer, reach: int = 4, sure: float = 9.0) -> None:
        super().__init__()
        self.config = RetNetConfig(vocab_size=tokenizer.vocab_size, d_model=8, n_layers=1)
        self.tokenizer, self.reach, self.sure = tokenizer, reach, sure
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, ids: Tensor, state: Any = None) -> Output[Any]:
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        for b, row in enumerate(ids.tolist()):
            for n in range(len(row)):
                for size in range(min(self.reach, n), 0, -1):
                    end = row[n - size + 1 : n + 1]
                    before = [m for m in range(size - 1, n) if row[m - size + 1 : m + 1] == end]
                    if before:
                        logits[b, n, row[before[-1] + 1]] = self.sure
                        break
        return Output(logits, None)


def test_a_model_that_looks_back_recalls_all_and_its_control_nothing(
    tokenizer: Tokenizer, held_out: Tensor
) -> None:
    recall = measure_recall(LooksBack(tokenizer), held_out[:4000], samples=3, lags=(16, 64))
    assert [figure.length for figure in recall.copies] == list(COPY_LENGTHS)
    assert all(figure.second > 0.97 and figure.third == 1 for figure in recall.copies)
    assert [(figure.kind, figure.lag) for figure in recall.words] == [
        (kind, lag) for kind in PATTERNS for lag in (16, 64)
    ]
    sure = math.exp(9) / (math.exp(9) + tokenizer.vocab_size - 1)
    for figure in recall.words:
        assert (figure.accuracy, figure.control_accuracy, figure.texts) == (1, 0, 3)
        assert figure.probability == pytest.approx(sure, rel=1e-5)
        assert figure.control_probability < 1e-3
    assert recall.second_reading < -2
    assert recall.late is not None


def test_a_model_that_knows_nothing_recalls_nothing(tokenizer: Tokenizer, held_out: Tensor) -> None:
    blank = LooksBack(tokenizer, reach=0)
    recall = measure_recall(blank, held_out[:4000], samples=2, lags=(16,))
    # A model that finds all alike says token 0, which a row may have.
    assert all(max(figure.second, figure.third) < 0.1 for figure in recall.copies)
    assert all(figure.accuracy == figure.control_accuracy == 0 for figure in recall.words)
    assert recall.second_reading == pytest.approx(0, abs=1e-5)
    assert recall.late == pytest.approx(0, abs=1e-5)


def test_copying_is_counted_in_its_pass(tokenizer: Tokenizer, held_out: Tensor) -> None:
    """A model that says the token `lag` tokens back: right from the second pass on, at one size."""

    class Echo(LooksBack):
        def forward(self, ids: Tensor, state: Any = None) -> Output[Any]:
            logits = torch.zeros(*ids.shape, self.config.vocab_size)
            for n in range(64, ids.shape[1]):  # two passes of 32
                logits[torch.arange(len(ids)), n, ids[:, n - 31]] = 1
            return Output(logits, None)

    results = measure_recall(Echo(tokenizer), held_out[:1200], samples=2, lags=()).copies
    assert [(figure.second < 0.1, figure.third) for figure in results[1:]] == [(True, 1), (True, 0)]


@pytest.mark.parametrize("kind", PATTERNS)
@pytest.mark.parametrize("lag", LAGS)
def test_a_word_comes_again_exactly_its_lag_later(
    tokenizer: Tokenizer, held_out: Tensor, kind: str, lag: int
) -> None:
    words = NAMES if kind == "name" else THINGS
    tests = list(questions(Story(held_out, tokenizer), kind, lag, 12))
    assert len(tests) == 12 or lag == 8
    for test in tests:
        text, control = tokenizer.decode(test.ids), tokenizer.decode(test.control)
        assert test.ids[-lag] == test.answer
        assert any(f" {word}" in text for word in words)
        # What is asked stands word for word before what was told.
        opening = test.ids[: len(test.ids) - lag]
        asks = next(
            size for size in range(len(opening), 0, -1) if opening[-size:] == test.ids[-size:]
        )
        assert len(tokenizer.decode(test.ids[-asks:]).split()) >= 2
        assert text != control
        same = [a == b for a, b in zip(reversed(test.ids), reversed(test.control), strict=False)]
        assert all(same[: lag - 8])


@pytest.mark.parametrize("noise", NOISES)
def test_the_distance_stays_where_less_of_it_is_noise(
    tokenizer: Tokenizer, held_out: Tensor, noise: float
) -> None:
    blank = tokenizer.encode("\n")[0]
    tests = list(questions(Story(held_out, tokenizer), "thing", 64, 6, noise))
    assert len(tests) == 6
    for test in tests:
        assert test.ids[-64] == test.answer
        between = test.ids[-64:]
        blanks = sum(a == b == blank for a, b in pairwise(between))
        assert 45 * (1 - noise) - 4 <= blanks <= 60 * (1 - noise) + 2


def test_recall_by_noise_asks_at_each_share(tokenizer: Tokenizer, held_out: Tensor) -> None:
    results = recall_by_noise(LooksBack(tokenizer), held_out[:6000], samples=2)
    assert [(figure.noise, figure.lag, figure.kind) for figure in results] == [
        (noise, 64, "thing") for noise in NOISES
    ]
    assert all((figure.accuracy, figure.control_accuracy) == (1, 0) for figure in results)


def test_the_stories_that_ship_are_held_out_and_their_names_are_not_asked_for(
    tokenizer: Tokenizer,
) -> None:
    texts = read_corpus(HELD_OUT).texts
    ids, size = read_held_out(tokenizer)
    assert len(texts) == 36
    assert size == sum(len((text + END).encode()) for text in texts)
    assert tokenizer.decode(ids.tolist()) == END.join([*texts, ""])
    everything = " ".join(texts)
    assert not [name for name in NAMES if name in everything]
    assert VALIDATION_EVERY * len(texts) <= 1825


def test_evaluate_prints_a_table_and_the_same_as_json(
    tmp_path, tiny_model, tiny_tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    from retnet_viz.checkpoints import save

    for name in ("one", "two"):
        model: RetNet = tiny_model()
        model.tokenizer = tiny_tokenizer
        save(model, tmp_path / name)
    few = tmp_path / "few.txt"
    few.write_text(f"\n{END}\n".join([*read_corpus(HELD_OUT).texts[:2], ""]))
    words = ["evaluate", *(str(tmp_path / name) for name in ("one", "two"))]
    words += ["--samples", "2", "--data", str(few)]
    assert main(words) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["one", "two"]
    assert main([*words, "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert {**one, "name": "two"} == two
    (loss,) = (line for line in table if line.startswith("loss, nats"))
    assert loss.split()[-2:] == [f"{one['evaluation']['loss']:.4f}"] * 2
    assert [figure["length"] for figure in one["recall"]["copies"]] == list(COPY_LENGTHS)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["/nowhere"], "/nowhere"),
        (["--samples", "0"], "samples must be 1 or more"),
        (["--context", "0"], "context must be 1 or more"),
        (["--data", "/nowhere.txt"], "there is no data at /nowhere.txt"),
    ],
)
def test_evaluate_refuses_what_it_cannot_read(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words]) == 2
    assert part in capsys.readouterr().err


def test_a_checkpoint_without_tokenizer_and_a_text_too_short_are_said(
    tmp_path, tiny_model, tiny_tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    from retnet_viz.checkpoints import save

    model: RetNet = tiny_model()
    model.tokenizer = None
    save(model, tmp_path / "bare")
    assert main(["evaluate", str(tmp_path / "bare")]) == 2
    assert "tokenizer.json cannot be read" in capsys.readouterr().err
    model.tokenizer = tiny_tokenizer
    save(model, tmp_path / "whole")
    (tmp_path / "short.txt").write_text("There was a fox. It ran. It ran. The end came soon.")
    words = ["evaluate", str(tmp_path / "whole"), "--data", str(tmp_path / "short.txt")]
    assert main([*words, "--samples", "1"]) == 0
    assert "text too short" in capsys.readouterr().out
