"""Training live without a browser: playing, pausing, what is shown, and what is kept in a link."""

from __future__ import annotations

import math
import time

import pytest
import torch

import retnet_viz as rv
from retnet_viz.experiments import TASKS
from retnet_viz.experiments.learning.tiny_training import HALF_LIVES, HEADS, TinyTraining, gamma_of
from retnet_viz.figures.experiments import learning
from retnet_viz.ui import ExplorerState, TrainingState
from retnet_viz.ui.core.state import link
from retnet_viz.ui.pages.training.gamma_controls import SCHEDULES
from retnet_viz.ui.pages.training.training_state import MAPS

WAIT = 120  # seconds, at most, for a thread


@pytest.fixture
def open_training(opened):
    """Opens the widget; all that were opened are stopped and closed after the test."""

    def make(task="copy", seed=0, **fields):
        return opened(rv.practice(task, seed, **fields))

    return make


def until(condition, widget):
    """Let the widget draw until the condition holds."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        widget.settle()
        time.sleep(0.01)


def sentence(plot):
    return plot.figure["layout"]["meta"]["sentence"]


def bars(widget):
    return widget.lags.figure["data"][0]["y"]


# -- playing ------------------------------------------------------------------------------------


def test_it_opens_paused_and_shows_the_untrained_model(open_training):
    widget = open_training()
    assert not widget.playing
    assert widget.report.step == 0
    assert "paused" in widget.status.value
    assert widget.play_button.description == "▶ Play"
    assert bars(widget) == pytest.approx(TinyTraining("copy").report().by_group, rel=1e-4)


def test_play_trains_and_shows_it_and_pause_stops(open_training):
    widget = open_training()
    widget.play_button.click()
    assert widget.playing
    assert widget.play_button.description == "❚❚ Pause"
    until(lambda: widget.report.step >= 5, widget)
    assert len(widget.report.records) > 1
    assert "training" in widget.status.value
    widget.play_button.click()
    assert not widget.playing
    step = widget.practice.step_count
    assert widget.report.step == step  # the last word is of the model as it now is
    assert f"step {step:,}<" in widget.status.value
    assert "paused" in widget.status.value
    figure = widget.curve.figure
    time.sleep(0.3)
    widget.settle()
    assert widget.practice.step_count == step
    assert widget.curve.figure is figure
    widget.play()
    until(lambda: widget.report.step > step, widget)


def test_pausing_waits_for_no_more_than_the_step_that_runs(open_training):
    """Steps are what takes time: once the pause is asked for, at most the running one is taken."""
    widget = open_training()
    widget.play()
    until(lambda: widget.practice.step_count > 0, widget)
    before = widget.practice.step_count
    widget.stop()
    assert widget.practice.step_count <= before + 2
    assert not widget.playing


def test_nothing_is_drawn_after_a_stop(open_training):
    widget = open_training()
    widget.play()
    until(lambda: widget._trainer._report_waits, Quiet)  # a report is on its way, not yet drawn
    figure = widget.curve.figure
    widget.stop()
    widget.settle()
    assert widget.curve.figure is figure


class Quiet:
    """Draws nothing while a test waits."""

    @staticmethod
    def settle():
        pass


def test_reports_do_not_queue_while_nobody_draws(open_training):
    widget = open_training()
    widget.play()
    until(lambda: widget.practice.step_count >= 40, Quiet)
    assert widget._main_thread._waiting.qsize() <= 1


def test_a_step_is_one_step(open_training):
    widget = open_training()
    other = TinyTraining("copy")
    for _ in range(2):
        widget.step_button.click()
        other.step()
    assert widget.report.step == 2
    assert widget.report.loss == pytest.approx(other.report().loss)
    widget.play()
    widget.step()  # pauses first
    assert not widget.playing


def test_reset_starts_anew_with_the_same_gammas(open_training):
    widget = open_training("recall", 3)
    untrained = widget.report.loss
    widget.step()
    widget.gammas.half_lives[2].value = 4.0
    widget.play()
    widget.reset_button.click()
    assert not widget.playing
    assert widget.report.step == 0
    assert len(widget.report.records) == 1
    assert widget.practice.half_lives == pytest.approx((2, 8, 4, 128))
    assert widget.gammas.half_lives[2].value == 4.0
    widget.gammas.half_lives[2].value = HALF_LIVES[2]
    assert widget.report.loss == untrained


@pytest.mark.parametrize("task", TASKS)
def test_a_task_can_be_chosen_while_another_trains(open_training, task):
    widget = open_training()
    widget.play()
    widget.task.value = task
    widget.seed.value = 7
    assert not widget.playing
    widget.stop()
    assert (widget.practice.task.name, widget.practice.seed) == (task, 7)
    assert TASKS[task].rule.split(":")[0].split("?")[0] in widget.notice.value
    symbols = [TASKS[task].symbols[i] for i in widget.practice.example.ids[0]]
    assert widget.example.strip.tokens == symbols
    assert len(widget.layer.options) == TASKS[task].shape["n_layers"]


def test_two_pages_train_apart(open_training):
    one, other = open_training(seed=1), open_training(seed=1)
    one.play()
    until(lambda: one.report.step > 0, one)
    one.stop()
    assert other.practice.step_count == 0
    assert other.report.loss == TinyTraining("copy", 1).report().loss


def test_a_loss_that_is_no_number_is_told_and_training_ends(open_training):
    widget = open_training()
    with torch.no_grad():
        widget.practice.model.head.weight.fill_(math.nan)
    widget.play()
    until(lambda: not widget.playing, widget)
    assert "The loss is no number any more at step 0" in widget.notice.value
    assert 'role="alert"' in widget.notice.value
    assert widget.play_button.description == "▶ Play"
    widget.reset_button.click()
    assert "alert" not in widget.notice.value
    widget.step()
    assert widget.report.step == 1


def test_what_goes_wrong_otherwise_is_told_too(open_training, monkeypatch):
    widget = open_training()

    def fail():
        raise RuntimeError("<no> memory")

    monkeypatch.setattr(widget.practice, "step", fail)
    widget.step_button.click()
    assert "(RuntimeError: &lt;no&gt; memory)" in widget.notice.value
    widget.play()
    until(lambda: not widget.playing, widget)
    assert "(RuntimeError: &lt;no&gt; memory)" in widget.notice.value


def test_a_page_that_gives_no_sign_of_life_trains_no_more(open_training, monkeypatch):
    monkeypatch.setattr("retnet_viz.ui.pages.training.training._SILENCE", 0.0)
    widget = open_training()
    widget.page._receive(widget.page, {"ping": 1}, [])
    widget.play()
    until(lambda: not widget.playing, widget)
    assert "Paused" in widget.notice.value


# -- gamma --------------------------------------------------------------------------------------


def test_a_dragged_half_life_is_that_of_the_running_model(open_training):
    widget = open_training()
    widget.step()
    before = widget.report.by_group
    widget.gammas.half_lives[3].value = 2.0
    assert widget.practice.half_lives == pytest.approx((2, 8, 32, 2))
    assert widget.practice.step_count == 1
    assert "γ 0.7071" in widget.gammas.gammas[3].value
    assert widget.report.half_lives == pytest.approx((2, 8, 32, 2))
    assert bars(widget) == pytest.approx(widget.report.by_group, rel=1e-4)
    line = widget.lags.figure["data"][-1]
    assert line["name"] == "before γ was changed"
    assert line["y"] == pytest.approx(before, rel=1e-4)
    widget.gammas.half_lives[3].value = 4.0  # the same gesture
    assert widget.lags.figure["data"][-1]["y"] == pytest.approx(before, rel=1e-4)


def test_gammas_can_be_dragged_while_it_trains(open_training):
    widget = open_training()
    widget.play()
    for value in (1.0, 2.0, 16.0):
        widget.gammas.half_lives[0].value = value
    until(lambda: widget.report.half_lives[0] == pytest.approx(16), widget)
    assert widget.playing


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_sets_every_head(open_training, name):
    widget = open_training(half_lives=(3.0, 3.0, 3.0, 3.0))
    widget.gammas.schedules[name].click()
    assert widget.practice.half_lives == pytest.approx(SCHEDULES[name])
    assert [slider.value for slider in widget.gammas.half_lives] == pytest.approx(SCHEDULES[name])
    shares = [line["y"][1] for line in widget.gammas.fading.figure["data"]]
    assert shares == pytest.approx([gamma_of(value) for value in SCHEDULES[name]], rel=1e-4)


def test_a_head_that_is_not_frozen_learns_its_half_life(open_training):
    widget = open_training()
    widget.gammas.frozen[1].value = False
    assert widget.gammas.frozen[1].description == "learned"
    assert widget.practice.free == {1}
    for _ in range(3):
        widget.step()
    learned = widget.practice.half_lives
    assert learned[1] != pytest.approx(8)
    assert widget.gammas.half_lives[1].value == pytest.approx(learned[1])
    assert widget.state.half_lives == learned
    widget.gammas.frozen[1].value = True
    assert widget.gammas.frozen[1].description == "frozen"
    widget.step()
    assert widget.practice.half_lives == learned


# -- what is shown ------------------------------------------------------------------------------


def test_the_map_shows_what_is_read_or_what_is_lost(open_training):
    widget = open_training("recall")
    widget.step()
    assert widget.heads.figure["data"][0]["zmin"] == 0
    widget.shown.value = learning.WITHOUT
    cells = torch.tensor(widget.heads.figure["data"][0]["z"])
    expected = widget.practice.without_heads().flatten(0, 1)
    assert torch.allclose(cells, expected, atol=1e-3)
    widget.play()
    until(lambda: widget.report.step > 2, widget)
    assert widget.heads.figure["data"][0]["zmin"] == -1
    widget.stop()
    widget.shown.value = learning.READS
    assert widget.heads.figure["data"][0]["zmin"] == 0


def test_the_example_says_what_is_asked_and_what_the_model_answers(open_training):
    widget = open_training()
    example, task = widget.practice.example, widget.practice.task
    n = int(example.is_query[0].nonzero().flatten()[3])
    widget.example.strip.selected = n
    lag = int(example.lags[0, n])
    assert f"n = {n} “?{lag}” asks for “{task.symbols[example.targets[0, n]]}”" in (
        widget.example.question.value
    )
    assert f"lag {lag}." in widget.example.question.value
    best = task.symbols[int(widget.report.answers[n].argmax())]
    assert f"says “{best}”" in widget.example.question.value
    assert widget.example.matrix.selected == n
    quiet = int((~example.is_query[0]).nonzero()[1])
    widget.example.matrix.selected = quiet
    assert widget.example.strip.selected == quiet
    assert "asks for nothing" in widget.example.question.value


def test_the_matrix_and_its_tables_are_the_models_weights(open_training):
    widget = open_training("induction")
    widget.step()
    widget.layer.value = 1
    length = widget.practice.task.length
    assert widget.example.matrix.meta["length"] == length
    assert "layer 1" in widget.example.matrix.meta["title"]
    assert len(widget.example.matrix.cells) == HEADS * length**2
    weight = widget.report.weights[1, 2, 9, 4].item()
    assert f"weight {weight:.3g}," in widget.example._describe((2, 9, 4))
    assert "comes later" in widget.example._describe((2, 4, 9))
    assert widget.example._describe((9, 4, 1)) == ""
    ((_, header, rows),) = widget.example._tables()
    assert header[2:] == [f"head {head}" for head in range(HEADS)]
    expected = widget.report.weights[1, 2, widget.example.strip.selected].tolist()
    assert [float(row[4]) for row in rows] == pytest.approx(expected[: len(rows)], rel=1e-3)


def test_a_theme_is_that_of_every_figure(open_training):
    widget = open_training()
    widget.page.shown = "dark"
    for plot in (widget.curve, widget.lags, widget.heads, widget.gammas.fading):
        assert plot.figure["layout"]["template"]["layout"]["paper_bgcolor"] == "#1b1e23"


# -- links --------------------------------------------------------------------------------------


def test_a_link_opens_the_same_page(open_training):
    widget = open_training()
    state = TrainingState(
        "brackets", 12, (1.0, 2.0, 3.0, 4.0), (2,), layer=1, shown=MAPS[1], theme="dark"
    )
    widget.apply_state(state)
    again = open_training()
    again.open_link(widget.page.query)
    assert again.state == state
    assert again.practice.half_lives == pytest.approx(state.half_lives)
    assert again.practice.free == {2}
    assert again.theme.value == again.page.theme == "dark"


def test_a_link_keeps_what_the_other_apps_hold(open_training):
    widget = open_training()
    widget.open_link(ExplorerState("A fox", layer=2).query())
    widget.task.value = "recall"
    saved_link = link.read_link(widget.page.query)
    assert saved_link.fields("explorer") == {"text": "A fox", "layer": 2}
    assert saved_link.fields("training") == {"task": "recall"}


@pytest.mark.parametrize(
    "part",
    [
        {"task": "sorting", "seed": -1, "half_lives": [0, 1]},
        {"half_lives": [1, 2, 3, 1e9], "learned": [9], "layer": -2},
        {"seed": True, "learned": 7, "shown": [], "theme": 1},
        {"learned": [[1], "a"], "folder": "/etc"},
    ],
)
def test_what_a_link_cannot_mean_is_left_out_and_told(open_training, part):
    widget = open_training()
    widget.open_link(link.query_of({"training": part}))
    assert widget.state == TrainingState()
    for name in part:
        assert f"“{name}”" in widget.notice.value


def test_a_link_that_is_cut_off_changes_nothing(open_training):
    widget = open_training("recall")
    widget.open_link(TrainingState("induction").query()[:-4])
    assert widget.state.task == "recall"
    assert "incomplete" in widget.notice.value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "sorting"}, "task must be one of"),
        ({"seed": 10_000}, "seed must lie in"),
        ({"half_lives": (1.0, 2.0)}, "half_lives must be 4 numbers"),
        ({"learned": (4,)}, "learned must name heads"),
        ({"layer": -1}, "layer must be 0 or more"),
        ({"shown": "all"}, "shown must be one of"),
    ],
)
def test_what_cannot_be_shown_is_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        rv.practice(**wrong)
