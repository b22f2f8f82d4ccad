"""A model in training: what it reports against counts of its own, and what gamma does to it."""

from __future__ import annotations

import math

import pytest
import torch

from retnet_viz.experiments.learning.learner import TinyTrainingError
from retnet_viz.experiments.learning.tasks import TASKS
from retnet_viz.experiments.learning.tiny_training import (
    HALF_LIVES,
    HEADS,
    LONGEST,
    TinyTraining,
    gamma_of,
    paper_half_lives,
)
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import MultiScaleRetention

ALL = pytest.mark.parametrize("task", TASKS)


def trained(task: str, steps: int, **options: object) -> TinyTraining:
    practice = TinyTraining(task, **options)
    for _ in range(steps):
        practice.step()
    return practice


def gammas(practice: TinyTraining) -> list[list[float]]:
    layers = [m for m in practice.model.modules() if isinstance(m, MultiScaleRetention)]
    return [layer.gamma.tolist() for layer in layers]


# -- the report ---------------------------------------------------------------------------------


@ALL
def test_accuracy_by_lag_is_a_count_of_right_answers(task: str) -> None:
    practice = trained(task, 3)
    report = practice.report()
    held_out = practice.held_out
    likeliest = practice.model(held_out.ids).logits.argmax(-1)
    hits = {group: [] for group in range(len(practice.task.groups))}
    for row in range(held_out.ids.shape[0]):
        for n in range(held_out.ids.shape[1]):
            lag = held_out.lags[row, n].item()
            if lag < 0:
                continue
            (group,) = (g for g, lags in enumerate(practice.task.groups) if lag in lags)
            hits[group].append(likeliest[row, n].item() == held_out.targets[row, n].item())
    assert report.counts == tuple(len(each) for each in hits.values())
    expected = [sum(each) / len(each) for each in hits.values()]
    assert report.by_group == pytest.approx(expected, abs=1e-6)
    every = [hit for each in hits.values() for hit in each]
    assert report.accuracy == pytest.approx(sum(every) / len(every), abs=1e-6)
    query_logits = practice.model(held_out.ids).logits.log_softmax(-1)[held_out.is_query]
    answers = held_out.targets[held_out.is_query]
    wanted_loss = -query_logits.gather(1, answers[:, None]).mean().item()
    assert report.loss == pytest.approx(wanted_loss, rel=1e-5)


@ALL
def test_what_heads_read_is_the_share_of_their_weights_on_the_source(task: str) -> None:
    practice = trained(task, 2)
    report = practice.report()
    recorded = []
    with listening(lambda name, x: recorded.append(x) if name == "retention.weights" else None):
        practice.model(practice.held_out.ids)
    for layer, weights in enumerate(recorded):
        assert torch.equal(report.weights[layer], weights[0])
        shares = {group: [] for group in range(len(practice.task.groups))}
        for row, lags in enumerate(practice.held_out.lags.tolist()):
            for n, lag in enumerate(lags):
                if lag >= 0:
                    line = weights[row, 1, n].abs()
                    (group,) = (g for g, of in enumerate(practice.task.groups) if lag in of)
                    shares[group].append((line[n - lag] / line.sum()).item())
        expected = [sum(each) / len(each) for each in shares.values()]
        assert report.reads[layer, 1].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_probabilities_of_the_example_are_the_models() -> None:
    practice = trained("recall", 2)
    report = practice.report()
    with torch.no_grad():
        expected = practice.model(practice.example.ids).logits[0].softmax(-1)
    assert torch.allclose(report.answers, expected, atol=1e-6)


def test_a_silent_head_is_one_whose_output_is_zero() -> None:
    practice = trained("recall", 30)
    without = practice.without_heads()
    held_out, task = practice.held_out[:64], practice.task
    groups = task.group_of(held_out.lags)

    def accuracies() -> torch.Tensor:
        with torch.no_grad():
            is_correct = practice.model(held_out.ids).logits.argmax(-1) == held_out.targets
        return torch.stack(
            [is_correct[groups == g].float().mean() for g in range(len(task.groups))]
        )

    before = practice.report().accuracy
    whole = accuracies()
    retention = practice.model.blocks[1].retention
    normalize = retention.normalize
    keep = torch.ones(HEADS)[:, None, None]
    keep[2] = 0
    retention.normalize = lambda heads, start: normalize(heads, start) * keep
    assert torch.allclose(without[1, 2], accuracies() - whole, atol=1e-6)
    retention.normalize = normalize
    assert practice.report().accuracy == before  # the model itself is unchanged
    assert practice.without_heads(lambda: False) is None


def test_the_learning_curve_keeps_its_ends_and_stays_short(monkeypatch) -> None:
    monkeypatch.setattr("retnet_viz.experiments.learning.learner.MAX_RECORDS", 8)
    practice = TinyTraining("copy")
    first = practice.report().records[0]
    assert (first.step, math.isnan(first.train_loss)) == (0, True)
    for _ in range(20):
        practice.step()
        report = practice.report()
        assert len(report.records) <= 8
        assert report.records[0] == first
        assert report.records[-1].step == report.step
    assert practice.report().records == report.records  # nothing was trained since


def test_a_new_gamma_is_felt_in_the_report_without_a_step() -> None:
    practice = trained("copy", 20)
    before = practice.report()
    practice.set_half_life(0, LONGEST)
    after = practice.report()
    assert after.loss != before.loss
    assert [r.step for r in after.records] == [r.step for r in before.records] == [20]
    assert after.records[-1].train_loss == before.records[-1].train_loss


def test_a_record_has_the_mean_loss_of_its_steps() -> None:
    practice = TinyTraining("copy")
    losses = [practice.step() for _ in range(3)]
    report = practice.report()
    assert report.records[-1].train_loss == pytest.approx(sum(losses) / 3)
    assert (report.step, report.tokens) == (3, 3 * 32 * TASKS["copy"].length)
    assert report.seconds > 0


# -- training -----------------------------------------------------------------------------------


@ALL
def test_a_seed_gives_the_same_training_and_another_one_another(task: str) -> None:
    before = torch.random.get_rng_state()
    one, again, other = (trained(task, 2, seed=seed).report() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.loss == again.loss
    assert torch.equal(one.weights, again.weights)
    assert one.loss != other.loss


@pytest.mark.slow
@ALL
def test_a_short_training_lowers_the_loss(task: str) -> None:
    practice = TinyTraining(task)
    before = practice.report()
    for _ in range(40):
        practice.step()
    after = practice.report()
    assert after.loss < 0.95 * before.loss
    assert after.accuracy > before.accuracy


@pytest.mark.slow
def test_many_half_lives_learn_every_lag_and_short_ones_lose_the_long_lags() -> None:
    many = trained("copy", 150).report()
    short = trained("copy", 150, half_lives=(1.0,) * HEADS).report()
    assert min(many.by_group[:5]) > 0.9
    assert min(short.by_group[:2]) > 0.9
    assert max(short.by_group[4:]) < 2 * TASKS["copy"].chance  # lags 16 and 32


@pytest.mark.slow
def test_where_gamma_is_nearly_zero_only_lag_0_is_learned() -> None:
    """A pair that closes where it opened is read without looking back; others are guessed."""
    practice = trained("brackets", 60, half_lives=(0.125,) * HEADS)
    report = practice.report()
    assert gammas(practice) == [[pytest.approx(gamma_of(0.125))] * HEADS] * 2
    assert report.by_group[0] > 0.95
    assert max(report.by_group[2:]) < 0.5


@pytest.mark.slow
def test_learned_is_told_once_and_with_its_step(monkeypatch) -> None:
    monkeypatch.setattr("retnet_viz.experiments.learning.learner.LEARNED", 0.3)
    practice = TinyTraining("copy")
    assert practice.report().learned_at is None
    while practice.report().learned_at is None:
        practice.step()
        assert practice.step_count < 500
    step, seconds = practice.report().learned_at
    assert step == practice.step_count
    assert seconds <= practice.seconds
    practice.step()
    assert practice.report().learned_at == (step, seconds)


def test_a_loss_that_is_no_number_is_told_in_a_sentence() -> None:
    practice = trained("copy", 1)
    with torch.no_grad():
        practice.model.head.weight.fill_(math.nan)
    with pytest.raises(TinyTrainingError, match=r"step 1\. Reset"):
        practice.step()
    assert practice.step_count == 1


# -- gamma --------------------------------------------------------------------------------------


def test_a_half_life_is_set_in_all_layers_and_the_training_goes_on() -> None:
    practice = trained("recall", 1)
    expected = [gamma_of(value) for value in HALF_LIVES]
    assert gammas(practice) == [pytest.approx(expected)] * 2
    practice.set_half_life(1, 64.0)
    expected[1] = gamma_of(64)
    practice.step()
    assert practice.step_count == 2
    assert gammas(practice) == [pytest.approx(expected)] * 2
    assert practice.half_lives == pytest.approx((2, 64, 32, 128))
    assert practice.report().half_lives == practice.half_lives
    assert practice.gammas == pytest.approx(expected)


def test_a_freed_head_learns_its_half_life_and_frozen_ones_keep_theirs() -> None:
    practice = trained("copy", 2)
    practice.set_free([0, 2])
    for _ in range(5):
        practice.step()
    changed = [
        new != pytest.approx(old) for new, old in zip(practice.half_lives, HALF_LIVES, strict=True)
    ]
    assert changed == [True, False, True, False]
    practice.set_free([])
    previous = practice.half_lives
    practice.step()
    assert practice.half_lives == previous
    assert practice.free == frozenset()


def test_a_learned_half_life_stays_within_its_range() -> None:
    practice = TinyTraining("copy", half_lives=(0.125, 8, 32, LONGEST))
    practice.set_free([0, 3])
    for _ in range(8):
        practice.step()
    assert all(0.125 <= value <= LONGEST for value in practice.half_lives)


def test_the_papers_half_lives() -> None:
    assert [gamma_of(value) for value in paper_half_lives()] == pytest.approx(
        [1 - 2 ** (-5 - head) for head in range(HEADS)]
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"task": "sorting"}, "task must be one of"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"half_lives": (1.0,)}, "half_lives must be 4 numbers"),
        ({"half_lives": (0.0, 1.0, 1.0, 1.0)}, "half-life must lie in"),
        ({"half_lives": (math.nan, 1.0, 1.0, 1.0)}, "half-life must lie in"),
    ],
)
def test_what_cannot_be_trained_is_told(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TinyTraining(**{"task": "copy", **wrong})


def test_a_head_that_there_is_not_is_told() -> None:
    with pytest.raises(IndexError, match="head 4"):
        TinyTraining("copy").set_half_life(4, 2.0)


# -- a Mamba beside -------------------------------------------------------------------------------


def test_a_mamba_of_the_same_size_learns_from_the_same_rows(monkeypatch) -> None:
    practice = TinyTraining("selective", seed=3)
    assert practice.mamba is not None
    sizes = [practice.model.n_parameters, practice.mamba.model.n_parameters]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    read: list[torch.Tensor] = []
    for model in (practice.model, practice.mamba.model):
        forward = model.forward
        monkeypatch.setattr(
            model, "forward", lambda ids, forward=forward: read.append(ids) or forward(ids)
        )
    weights = [next(m.parameters()).clone() for m in (practice.model, practice.mamba.model)]
    practice.step()
    assert torch.equal(*read)
    for model, before in zip((practice.model, practice.mamba.model), weights, strict=True):
        assert not torch.equal(next(model.parameters()), before)


def test_a_report_says_how_the_mamba_did() -> None:
    practice = TinyTraining("selective", seed=3)
    for _ in range(2):
        practice.step()
    report = practice.report()
    mamba = report.mamba
    held_out = practice.held_out
    with torch.no_grad():
        logits = practice.mamba.model(held_out.ids).logits
    is_correct = (logits.argmax(-1) == held_out.targets)[held_out.is_query]
    assert mamba.accuracy == pytest.approx(is_correct.float().mean().item())
    assert mamba.records[-1].step == 2
    assert torch.equal(mamba.answers, logits[0].softmax(-1))
    # What a token leaves: exp(Δ A), from the tensors of the pass.
    published: list[torch.Tensor] = []
    with listening(lambda name, x: published.append(x) if name == "mamba.delta" else None):
        practice.mamba.model(held_out.ids[:1])
    rates = practice.mamba.model.blocks[1].A_log.exp()
    expected = torch.exp(-published[1][0, 5, :, None] * rates).flatten()
    assert torch.allclose(mamba.decay[1, 5], expected)
    assert TinyTraining("copy").report().mamba is None


@pytest.mark.slow
def test_the_same_seed_gives_the_same_two_runs() -> None:
    one, again = (TinyTraining("selective", seed=5) for _ in range(2))
    for _ in range(3):
        one.step()
        again.step()
    assert one.report().mamba.records == again.report().mamba.records
    assert one.report().records == again.report().records
