"""The grid of all heads in a real browser: what a click, a key and a switch do there."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

import retnet_viz as rv
from retnet_viz.figures.base.captions import share
from retnet_viz.figures.reading.heads import shares_of
from retnet_viz.ui.core.state.page_state import ExplorerState
from tests.support.explorer_steps import ExplorerPage

TEXT = "the cat and the dog, the cat and the dog, the cat and the"


@pytest.fixture
def explorer(page: Page, voila_url: str) -> ExplorerPage:
    page.goto(f"{voila_url}?{ExplorerState(TEXT).query()}")
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    expect(explorer_page.all_heads.locator(".rv-head-share").first).to_contain_text(".")
    return explorer_page


def test_a_click_and_a_key_choose_layer_and_head(explorer: ExplorerPage) -> None:
    shares = shares_of(rv.trace(rv.load(), TEXT).attribution())
    name = f"layer 2, head 1, half-life 44 tokens, {share(shares[2, 1])} to “·dog”"
    thumbnail = explorer.all_heads.get_by_role("button", name=name, exact=True)
    thumbnail.click()
    expect(explorer.slider("layer").locator(".widget-readout")).to_have_text("2")
    expect(explorer.strip.locator(".rv-origin")).to_contain_text("layer 2")
    stage = explorer.root.locator(".rv-step-player")
    expect(stage.locator(".rv-origin")).to_contain_text("layer 2, head 1")
    expect(thumbnail).to_have_attribute("aria-pressed", "true")
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        explorer.page.keyboard.press(key)
    expect(explorer.slider("layer").locator(".widget-readout")).to_have_text("3")
    expect(stage.locator(".rv-origin")).to_contain_text("layer 3, head 2")
    expect(explorer.all_heads.locator("[aria-pressed=true]")).to_have_count(1)
    # One head at a time is in the order of the Tab key: the thumbnail, then its switch.
    expect(explorer.all_heads.locator("button[tabindex='0']")).to_have_count(1)
    explorer.page.keyboard.press("Tab")
    expect(explorer.all_heads.get_by_label("silence layer 3, head 2")).to_be_focused()


def test_the_thumbnails_are_drawn_and_follow_the_text(explorer: ExplorerPage) -> None:
    canvas = explorer.all_heads.locator("canvas").nth(5)
    drawn = "canvas => [canvas.width, new Set(canvas.getContext('2d')" + (
        ".getImageData(0, 0, canvas.width, canvas.width).data).size > 9]"
    )
    assert canvas.evaluate(drawn) == [16, True]
    explorer.type("Once upon a time")
    expect(explorer.all_heads.locator(".rv-readout")).to_contain_text("“·time” is")
    length = rv.trace(rv.load(), "Once upon a time").length
    assert canvas.evaluate("canvas => canvas.width") == length


@pytest.mark.parametrize("size", [(390, 844), (1024, 768), (1920, 1080)])
def test_the_grid_scrolls_in_itself_and_not_the_page(
    explorer: ExplorerPage, size: tuple[int, int]
) -> None:
    page = explorer.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    panel = explorer.all_heads
    panel.scroll_into_view_if_needed()
    beside = panel.locator(".rv-heads-scroll.rv-beside")
    expect(beside).to_have_count(1 if size[0] > 1000 else 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    box = panel.bounding_box()
    assert box
    assert box["height"] <= 600
    last = panel.get_by_role("button", name=re.compile("^layer 3, head 3,"))
    last.scroll_into_view_if_needed()
    place = last.bounding_box()
    assert place
    assert box["x"] <= place["x"]
    assert place["x"] + place["width"] <= box["x"] + box["width"]
