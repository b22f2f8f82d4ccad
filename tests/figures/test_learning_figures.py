"""The figures of a model in training hold the numbers of its report."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from retnet_viz import figures
from retnet_viz.experiments import TASKS, Report, TinyTraining
from retnet_viz.experiments.learning.tasks import group_name
from retnet_viz.figures.base.theme import THEMES
from tests.support.figures import sentence_of

TASK = TASKS["recall"]


@pytest.fixture(scope="module")
def report() -> Report:
    practice = TinyTraining(TASK.name)
    for _ in range(3):
        practice.report()
        practice.step()
    return practice.report()


@pytest.mark.parametrize("theme", THEMES)
def test_the_learning_curve_is_that_of_the_records(report: Report, theme: str) -> None:
    figure = figures.learning_curve(report, theme=theme)
    trained, loss, accuracy = figure.data
    for line in figure.data:
        assert list(line.x) == [record.step for record in report.records] == [0, 1, 2, 3]
    assert trained.y[0] is None  # nothing was trained before
    assert list(trained.y[1:]) == pytest.approx(
        [r.train_loss for r in report.records[1:]], rel=1e-4
    )
    assert list(loss.y) == pytest.approx([r.loss for r in report.records], rel=1e-4)
    assert list(accuracy.y) == pytest.approx([r.accuracy for r in report.records], rel=1e-4)
    assert accuracy.yaxis == "y2"
    assert figure.layout.yaxis2.side == "right"
    assert figure.layout.yaxis.title.text == "loss, nats per answer"


def test_the_learning_curve_says_when_the_task_was_learned(report: Report) -> None:
    sentence = figures.learning_curve.spec(report)["layout"]["meta"]["sentence"]
    assert sentence.startswith(
        f"After 3 steps {100 * report.accuracy:.1f} % of the held-out answers"
    )
    assert "came after" not in sentence
    learned = replace(report, learned_at=(2, 7.25))
    sentence = figures.learning_curve.spec(learned)["layout"]["meta"]["sentence"]
    assert sentence.endswith("95 % came after 2 steps and 7.2 s of training.")


def test_the_bars_are_the_accuracies_by_lag(report: Report) -> None:
    figure = figures.accuracy_by_lag(TASK, report)
    bars, guessing, labels = figure.data
    assert list(labels.text) == [f"{value:.0%}" for value in report.by_group]
    assert list(bars.y) == pytest.approx(list(report.by_group), rel=1e-4)
    assert set(guessing.y) == {TASK.chance}
    names = [group_name(group) for group in TASK.groups]
    assert list(figure.layout.xaxis.ticktext) == names
    assert bars.customdata[0] == f"lag {names[0]}, {report.counts[0]:,} answers"


def test_the_bars_can_be_compared_with_those_before(report: Report) -> None:
    before = [0.1 * i for i in range(len(TASK.groups))]
    markers = figures.accuracy_by_lag(TASK, report, before=before).data[3]
    assert markers.name == "before γ was changed"
    assert list(markers.y) == pytest.approx(before)


def test_lost_lags_are_named(report: Report) -> None:
    lost = replace(report, by_group=(1.0, 0.9, 0.8, 0.7, TASK.chance))
    sentence = figures.accuracy_by_lag.spec(TASK, lost)["layout"]["meta"]["sentence"]
    assert sentence.startswith("Best at lag 1 (100.0 %), worst at lag 17–31 (20.0 %)")
    assert sentence.endswith("No better than that: lag 17–31.")
    kept = replace(report, by_group=(1.0, 0.9, 0.8, 0.7, 0.6))
    assert "No better" not in figures.accuracy_by_lag.spec(TASK, kept)["layout"]["meta"]["sentence"]


def test_a_lag_that_nothing_asks_for_has_no_bar(report: Report) -> None:
    none = replace(report, by_group=(math.nan, *report.by_group[1:]))
    assert figures.accuracy_by_lag(TASK, none).data[0].y[0] is None


def test_the_map_of_heads_is_what_they_read(report: Report) -> None:
    figure = figures.heads_by_lag(TASK, report)
    (cells,) = figure.data
    assert torch.tensor(cells.z).flatten().tolist() == pytest.approx(
        report.reads.flatten().tolist(), rel=1e-3
    )
    assert list(figure.layout.yaxis.ticktext[3:5]) == ["layer 0, head 3", "layer 1, head 0"]
    assert (cells.zmin, cells.zmax) == (0, 1)


def test_the_map_of_heads_is_what_is_lost_without_them(report: Report) -> None:
    without = torch.zeros_like(report.reads)
    without[1, 2, 0], without[0, 3, 4] = -0.5, -0.25
    figure = figures.heads_by_lag(TASK, report, without=without)
    assert torch.allclose(torch.tensor(figure.data[0].z), without.flatten(0, 1))
    assert sentence_of(figure) == (
        "Lag 1 suffers most without head 2 of layer 1 (-50.0 points), "
        "lag 17–31 suffers most without head 3 of layer 0 (-25.0 points)."
    )


def test_a_lag_that_any_head_can_carry_is_said_to_need_none(report: Report) -> None:
    sentence = figures.heads_by_lag.spec(TASK, report, without=torch.zeros_like(report.reads))
    assert sentence["layout"]["meta"]["sentence"] == (
        "Lag 1 needs no single head, lag 17–31 needs no single head."
    )


def test_a_lag_that_no_head_looks_at_is_said_to_be_read_by_none(report: Report) -> None:
    blind = replace(report, reads=torch.zeros_like(report.reads))
    sentence = figures.heads_by_lag.spec(TASK, blind)["layout"]["meta"]["sentence"]
    assert sentence == "Lag 1 is read by no head, lag 17–31 is read by no head."


def test_what_is_left_of_a_token_is_a_power_of_gamma() -> None:
    figure = figures.decay_by_lag([2.0, 8.0], 16)
    fast, slow = figure.data
    assert list(fast.x) == list(range(17))
    assert list(fast.y) == pytest.approx([0.5 ** (lag / 2) for lag in range(17)], rel=1e-4)
    assert slow.y[8] == pytest.approx(0.5)
    assert sentence_of(figure) == (
        "After 16 tokens head 0 has 0.00391 of one left, head 1 has 0.25."
    )


@pytest.mark.parametrize("theme", THEMES)
def test_every_figure_can_be_sent_and_has_a_sentence(report: Report, theme: str) -> None:
    for spec in (
        figures.learning_curve.spec(report, theme=theme),
        figures.accuracy_by_lag.spec(TASK, report, theme=theme),
        figures.heads_by_lag.spec(TASK, report, theme=theme),
    ):
        assert "NaN" not in json.dumps(spec)
        assert spec["layout"]["meta"]["sentence"].endswith(".")
        assert spec["layout"]["title"]["text"]


# -- a Mamba beside -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two() -> TinyTraining:
    practice = TinyTraining("selective", seed=1)
    practice.step()
    return practice


def test_the_curves_and_bars_of_both_models_are_told_apart_without_colour(
    two: TinyTraining,
) -> None:
    report = two.report()
    curve = figures.learning_curve(report)
    assert [(trace.name, trace.line.dash) for trace in curve.data] == [
        ("RetNet: loss, held out", "solid"),
        ("RetNet: accuracy, held out", "solid"),
        ("Mamba: loss, held out", "dot"),
        ("Mamba: accuracy, held out", "dot"),
    ]
    assert list(curve.data[3].y) == pytest.approx(
        [record.accuracy for record in report.mamba.records], rel=1e-4
    )
    bars = {trace.name: trace for trace in figures.accuracy_by_lag(two.task, report).data}
    assert list(bars["Mamba"].y) == pytest.approx(list(report.mamba.by_group), rel=1e-4)
    assert bars["Mamba"].marker.pattern.shape == "/"


def test_each_token_stands_once_among_letters_noise_and_questions(two: TinyTraining) -> None:
    report, layer = two.report(), 1
    figure = figures.selection(two.task, two.example, two.half_lives, report.mamba, layer)
    lines, points = figure.data[:4], figure.data[4:]
    assert [line.y[0] for line in lines] == pytest.approx(list(two.half_lives))
    symbols = [two.task.symbols[token] for token in two.example.ids[0].tolist()]
    points_in_order = sorted((n, trace.name) for trace in points for n in trace.x)
    assert [n for n, _ in points_in_order] == list(range(len(symbols)))
    kinds = {
        "Mamba: letter": str.isalpha,
        "Mamba: noise": "·".__eq__,
        "Mamba: question": "?".__eq__,
    }
    assert all(kinds[name](symbols[n]) for n, name in points_in_order)
    assert len({trace.marker.symbol for trace in points}) == 3
    for trace in points:
        for n, y in zip(trace.x, trace.y, strict=True):
            share = report.mamba.decay[layer, n].median().item()
            assert y == pytest.approx(math.log(0.5) / math.log(share), rel=0.02)
    assert "the same at every token" in sentence_of(figure)
