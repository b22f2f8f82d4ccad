"""What generating costs, in a real browser: run, cancelled, calculated, in light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from retnet_viz.checkpoints import load_shipped
from retnet_viz.experiments.cost_model import (
    CARDS,
    KINDS,
    PRECISIONS,
    SIZES,
    estimate,
    largest_batch,
    precision_of,
    state_bytes,
)
from retnet_viz.experiments.generation_cost import positions
from retnet_viz.figures.base.captions import data_size, number
from retnet_viz.ui.core.state import link
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.cost.cost_state import CostState
from tests.support.cost_steps import CostPage
from tests.support.explorer_steps import ExplorerPage
from tests.support.observed import Observed, observed_page
from tests.support.page_steps import read_rows

REACH = 1024
LONG = 60_000  # ms: the machine may be busy


@pytest.fixture(scope="module")
def open_page(browser: Browser, voila_url: str) -> Iterator[tuple[CostPage, Observed]]:
    """One page for the tests of this file, and what it did so far."""
    with observed_page(browser, 1280, 800) as (page, observed):
        page.goto(cost_url(voila_url))
        board = CostPage(page)
        board.wait()
        yield board, observed


@pytest.fixture
def board(open_page: tuple[CostPage, Observed]) -> Iterator[CostPage]:
    board, observed = open_page
    yield board
    observed.expect_nothing()


def cost_url(url: str) -> str:
    return f"{url}voila/render/cost.ipynb"


def test_a_run_shows_points_of_three_models_and_their_crossover(board: CostPage) -> None:
    expect(board.times).to_contain_text("Nothing measured yet")
    boxes = board.boxes()
    board.button("1,024").click()
    board.button("Start").click()
    expect(board.button("Cancel")).to_be_visible()
    expect(board.now).to_contain_text(re.compile(r"at position \d"), timeout=LONG)
    expect(board.activity).to_have_text(f"measured up to position {REACH:,}", timeout=LONG)
    expect(board.button("Start")).to_be_visible()
    assert board.boxes() == boxes

    places = [f"{place}" for place in positions(REACH)]
    header, *rows = board.read_table(board.times)
    assert header == ["position, tokens read", *KINDS]
    assert [row[0].replace(",", "") for row in rows] == places
    assert all(float(entry) > 0 for row in rows for entry in row[1:])
    expect(board.times.locator(".rv-sentence")).to_contain_text(
        re.compile("slower than .+ from [0-9,]+ on|no crossover")
    )

    header, *rows = board.read_table(board.sizes)
    measured = {name: header.index(name) for name in KINDS}
    formula = {name: header.index(f"{name}, formula") for name in KINDS}
    row_of = {row[0].replace(",", ""): row for row in rows}
    precision = precision_of(torch.float32)
    for name, model in load_shipped().items():
        for place in positions(REACH):
            row, expected = row_of[str(place)], state_bytes(model.config, place, precision)
            assert row[measured[name]] == str(expected)
            assert row[formula[name]] in ("", str(expected))
    expect(board.sizes.locator(".rv-sentence")).to_contain_text("from 65 tokens on")
    expect(board.sizes.locator(".shapelayer path, .shape-group path")).not_to_have_count(0)


def test_a_run_can_be_cancelled(board: CostPage) -> None:
    board.button("32,768").click()
    board.button("Start").click()
    expect(board.now).to_contain_text(re.compile(r"at position \d"), timeout=LONG)
    board.button("Cancel").click()
    expect(board.activity).to_have_text("cancelled")
    expect(board.button("Start")).to_be_visible()
    measured = board.times.get_attribute("data-drawn")
    board.page.evaluate("() => new Promise(done => setTimeout(done, 600))")
    assert board.times.get_attribute("data-drawn") == measured
    expect(board.activity).to_have_text("cancelled")


def test_the_calculator_shows_what_the_library_calculates(board: CostPage) -> None:
    root = board.root
    board.button("2.7B").click()
    root.get_by_label("batch", exact=True).fill("3")
    root.get_by_label("batch", exact=True).press("Enter")
    root.get_by_label("numbers", exact=True).select_option("float32")
    root.get_by_label("card", exact=True).select_option("L4 24 GB")
    handle = root.locator(".rv-area-calc .noUi-handle")
    handle.focus()
    handle.press("End")
    expect(root.locator(".rv-area-calc .widget-readout")).to_have_text("1M")
    handle.press("ArrowLeft")
    expect(root.locator(".rv-area-calc .widget-readout")).to_have_text("768k")

    size, context, card = SIZES["2.7B"], 768 * 1024, CARDS["L4 24 GB"]
    inputs = (context, 3, PRECISIONS["float32"], card)
    estimates = [estimate(config, *inputs) for config in size.configs.values()]
    expect(board.memory.locator(".rv-sentence")).to_contain_text(
        f"At {context:,} tokens and 3 rows"
    )
    expect(board.estimates).to_contain_text("L4 24 GB: 300 GB/s")
    rows = {row[0]: row[1:] for row in read_rows(board.estimates.locator("table"))}
    assert rows[""] == list(KINDS)
    assert rows["state, all rows"] == [data_size(each.state_bytes) for each in estimates]
    assert rows["ms per step"] == [number(1000 * each.seconds) for each in estimates]
    assert rows["tokens / s"] == [number(each.tokens_second) for each in estimates]
    assert rows["largest batch"] == [
        f"{largest_batch(config, context, PRECISIONS['float32'], card):,}"
        for config in size.configs.values()
    ]
    table = {row[0]: row[1:] for row in board.read_table(board.memory)}
    assert table["768k" if "768k" in table else str(context)] == [
        str(each.held_bytes) for each in estimates
    ]
    assert "✗" in rows["memory"][1]  # told without colour

    rows = {row[0]: row[1:] for row in read_rows(board.claims.locator("table"))}
    assert rows["the paper"] == ["70%", "8.4 ×"]
    assert rows["formulas, 8 rows each"] == ["70%", "3.09 ×"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_nothing_is_cut_off(board: CostPage, width: int, height: int) -> None:
    board.page.set_viewport_size({"width": width, "height": height})
    cut = board.root.evaluate(
        """root => [...root.querySelectorAll(".rv-cost-panel > .widget-html-content, .rv-bar")]
            .filter(el => el.scrollWidth > el.clientWidth || el.scrollHeight > el.clientHeight + 1)
            .map(el => el.textContent.slice(0, 40))"""
    )
    assert cut == []
    top = board.root.bounding_box()["y"]
    assert max(top + y + tall for _, y, _, tall in board.boxes().values()) <= height


def test_a_link_opens_in_the_dark_with_what_was_chosen(page: Page, voila_url: str) -> None:
    theirs = ExplorerState("The queen sat down", "chunkwise", 2)
    state = CostState(size="1.3B", context=2**20, batch=2, theme="dark")
    page.goto(f"{cost_url(voila_url)}?{state.query(theirs.link_parts())}")
    board = CostPage(page)
    board.wait()
    expect(board.root).to_have_attribute("data-theme", "dark")
    expect(board.memory.locator(".rv-sentence")).to_contain_text("At 1,048,576 tokens and 2 rows")
    expect(board.button("1.3B")).to_have_class(re.compile("mod-active"))
    for panel in (board.times, board.claims):
        background = panel.evaluate("el => getComputedStyle(el).backgroundColor")
        assert background == "rgb(27, 30, 35)"
    assert board.claims.evaluate("el => getComputedStyle(el).color") == "rgb(230, 232, 235)"
    # The other pages open with the text that came along.
    page.get_by_role("link", name="Explorer", exact=True).click()
    explorer = ExplorerPage(page)
    explorer.wait()
    expect(explorer.text).to_have_value(theirs.text)
    href = page.get_by_role("link", name="Cost").get_attribute("href")
    assert href
    assert "cost.ipynb?" in href
    assert link.read_link(href).parts.keys() == {"explorer", "cost"}
    assert link.read_link(href).parts["explorer"]["text"] == theirs.text
