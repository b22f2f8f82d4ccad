"""Training live in a real browser: it learns, stops, and loses the lags that gamma forbids."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from retnet_viz.experiments.learning.tasks import TASKS, group_name
from retnet_viz.experiments.learning.tiny_training import TinyTraining
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.training.training_state import MAPS, TrainingState
from tests.support.training_steps import TrainingPage


def open_page(page: Page, voila_url: str, query: str = "") -> TrainingPage:
    page.goto(f"{voila_url}voila/render/training.ipynb{query and '?'}{query}")
    board = TrainingPage(page)
    board.wait()
    return board


def test_it_learns_and_pauses_and_a_gamma_can_be_dragged(page: Page, voila_url: str) -> None:
    board = open_page(page, voila_url)
    expect(board.status).to_contain_text("paused: step 0")
    untrained = TinyTraining("copy").report()
    rows = board.read_table(board.lags)
    assert rows[0][1] == "accuracy"
    assert [row[0] for row in rows[1:]] == [group_name(g) for g in TASKS["copy"].groups]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(untrained.by_group, rel=1e-3)
    before = board.places()

    board.button("▶ Play").click()
    expect(board.status).to_contain_text("training: step")
    board.wait_for_step(60)
    expect(board.button("❚❚ Pause")).to_be_visible()
    board.button("❚❚ Pause").click()
    expect(board.status).to_contain_text("paused: step")
    steps = board.step()
    losses = [float(row[2]) for row in board.read_table(board.curve)[1:]]
    assert losses[0] == pytest.approx(untrained.loss, rel=1e-3)
    assert losses[-1] < 0.8 * losses[0]
    assert float(board.read_table(board.lags)[1][1]) > 2 * TASKS["copy"].chance
    expect(board.curve.locator(".rv-sentence")).to_contain_text(f"After {steps:,} steps")
    assert board.places() == before  # nothing has moved

    board.button("Step").click()
    expect(board.steps).to_have_text(f"step {steps + 1:,}")  # paused was paused
    board.drag_half_life(3, 0.0)
    expect(board.slider(3).locator(".widget-readout")).to_have_text("0.125")
    expect(board.gammas.locator(".rv-gamma-row").nth(3)).to_contain_text("γ 0.0039")
    expect(board.lags.locator(".rv-names")).to_contain_text("before γ was changed")
    assert board.step() == steps + 1

    board.button("Reset").click()
    expect(board.status).to_contain_text("paused: step 0")
    expect(board.slider(3).locator(".widget-readout")).to_have_text("0.125")


def test_a_task_is_chosen_while_another_trains_and_the_page_answers(
    page: Page, voila_url: str
) -> None:
    board = open_page(page, voila_url, TrainingState("induction", seed=3).query({}))
    expect(board.button("Induction")).to_have_class(re.compile("mod-active"))
    board.button("▶ Play").click()
    board.wait_for_step(1)
    board.button(MAPS[1]).click()
    expect(board.heads.locator(".gtitle")).to_have_text("What each head carries")
    board.tokens.nth(2).click()
    expect(board.question).to_contain_text("n = 2 ")
    board.button("Associative recall").click()
    expect(board.status).to_contain_text("paused: step 0")
    expect(board.notice).to_contain_text(TASKS["recall"].rule)
    expect(board.tokens).to_have_count(TASKS["recall"].length)
    expect(board.matrix.locator(".rv-name")).to_contain_text("layer 0")
    board.button("1").click()
    expect(board.matrix.locator(".rv-name")).to_contain_text("layer 1")
    link = page.get_by_role("link", name="Training live")
    query = TrainingState("recall", seed=3, layer=1, shown=MAPS[1]).query()
    expect(link).to_have_attribute("href", re.compile(re.escape(query)))


def test_a_dark_page_fits_its_window_and_is_labelled(page: Page, voila_url: str) -> None:
    query = f"theme=dark&{ExplorerState('A fox', layer=2).query()}"
    board = open_page(page, voila_url, query)
    expect(board.root).to_have_attribute("data-theme", "dark")
    for width, height in ((1920, 1080), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollHeight") <= height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = board.matrix.evaluate("el => getComputedStyle(el).backgroundColor")
    assert background == "rgb(27, 30, 35)"
    figure = board.curve.locator(".main-svg").first
    expect(figure).to_have_css("background-color", "rgb(27, 30, 35)")
    for head in range(4):
        expect(page.get_by_role("slider", name=f"head {head}: half-life")).to_be_visible()
    expect(page.get_by_role("combobox", name="Theme")).to_be_visible()
    expect(page.get_by_role("spinbutton", name="seed")).to_be_visible()
    # What the other apps showed is kept in their links.
    query = TrainingState().query({"explorer": {"text": "A fox", "layer": 2}})
    expect(page.get_by_role("link", name="Explorer", exact=True)).to_have_attribute(
        "href", re.compile(re.escape(query))
    )
    page.get_by_role("slider", name="head 0: half-life").press("ArrowRight")
    expect(board.slider(0).locator(".widget-readout")).to_have_text("2.38")


def test_selective_copying_shows_both_models_and_what_decayed_where(
    page: Page, voila_url: str
) -> None:
    board = open_page(page, voila_url, TrainingState("selective", seed=1).query({}))
    expect(board.root.locator(".rv-rule")).to_contain_text("A Mamba learns from the same rows")
    board.root.get_by_role("button", name="Step", exact=True).click()
    board.wait_for_step(1)
    practice = TinyTraining("selective", 1)
    practice.step()
    report = practice.report()
    sentence = board.curve.locator(".rv-sentence")
    expect(sentence).to_contain_text(
        f"{100 * report.accuracy:.1f} % of the held-out answers of the"
    )
    expect(sentence).to_contain_text(f"{100 * report.mamba.accuracy:.1f} % of those of the Mamba")
    expect(board.gammas).to_contain_text("Half-life at each token, layer 0")
    board.root.locator(".rv-area-rule").get_by_role("button", name="1", exact=True).click()
    expect(board.gammas).to_contain_text("Half-life at each token, layer 1")
    board.root.get_by_role("button", name="Induction").click()
    expect(board.gammas).to_contain_text("What is left of a token")
