"""The text goes on by itself, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

import retnet_viz as rv
from retnet_viz.figures.base.tokens import visible
from tests.support.explorer_steps import ExplorerPage
from tests.support.page_steps import wait_until

TEXT = "The old man said to the boy, and the boy said"


@pytest.fixture(scope="module")
def model():
    return rv.load()


@pytest.fixture
def explorer(page: Page, voila_url: str) -> ExplorerPage:
    page.goto(voila_url)
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    explorer_page.type(TEXT)
    return explorer_page


def test_the_text_grows_until_it_is_stopped_and_one_step_takes_it_back(
    explorer: ExplorerPage, model
) -> None:
    length = rv.trace(model, TEXT).length
    expect(explorer.tokens).to_have_count(length)
    before = explorer.boxes()
    written = explorer.tokens.and_(explorer.page.locator(".rv-written"))
    key = explorer.strip.get_by_text("written by the model")
    expect(key).to_be_hidden()
    explorer.button("go on").click()
    expect(written.nth(5)).to_be_visible()
    explorer.button("stop").click()
    expect(explorer.button("go on")).to_be_visible()
    expect(explorer.root.get_by_text(re.compile(r"^\d+ tokens written"))).to_be_attached()
    text = explorer.text.input_value()
    count = written.count()
    assert text == TEXT + rv.generate(model, TEXT, count)
    explorer.page.wait_for_timeout(500)  # that nothing comes any more has no end to wait for
    assert explorer.text.input_value() == text
    expect(explorer.tokens).to_have_count(length + count)
    expect(key).to_be_visible()
    written.first.hover()
    expect(written.first).to_have_attribute("title", re.compile("written by the model$"))
    assert explorer.boxes() == before
    explorer.root.locator(".rv-undo button").first.click()
    expect(explorer.text).to_have_value(TEXT)
    expect(written).to_have_count(0)
    expect(key).to_be_hidden()


def test_a_predicted_word_is_taken_by_mouse_and_by_keyboard(explorer: ExplorerPage, model) -> None:
    text = TEXT
    page = explorer.page

    def likeliest(place: int) -> str:
        trace = rv.trace(model, text)
        return trace.piece(int(trace.logits[-1].topk(10).indices[place]))

    rows = explorer.next.locator(".rv-choice")

    def expect_offer(place: int) -> None:
        name = re.escape(visible(likeliest(place)))
        expect(rows.nth(place)).to_have_attribute("title", re.compile(f"“{name}”"))

    expect(rows.nth(2)).to_have_attribute(
        "title", re.compile(f"“{re.escape(visible(likeliest(2)))}”")
    )
    rows.nth(2).click()
    text += likeliest(2)
    expect(explorer.text).to_have_value(text)
    expect(rows.nth(3)).to_have_attribute(
        "title", re.compile(f"“{re.escape(visible(likeliest(3)))}”")
    )
    page.keyboard.press("ArrowDown")
    expect(rows.nth(3)).to_be_focused()
    page.keyboard.press("Enter")
    text += likeliest(3)
    expect(explorer.text).to_have_value(text)
    explorer.tokens.nth(1).click()  # what is predicted after it does not follow the text
    expect(rows.first).to_be_hidden()


def test_a_setting_that_means_nothing_is_told_beside_it(explorer: ExplorerPage) -> None:
    page = explorer.page
    explorer.button("sampling").click()
    box = page.get_by_role("dialog", name="Sampling")
    expect(box.get_by_label("temperature")).to_be_focused()
    box.get_by_label("top-k").fill("many")
    expect(box.get_by_role("alert").filter(has_text="many")).to_be_visible()
    box.get_by_label("top-k").fill("40")
    expect(box.get_by_role("alert").filter(has_text="many")).to_have_count(0)
    box.get_by_label("temperature").fill("1.5")
    expect(box.locator("output")).to_have_text("1.5")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(explorer.button("sampling")).to_be_focused()
    explorer.button("one token").click()
    wait_until(page, lambda: explorer.text.input_value() != TEXT)
