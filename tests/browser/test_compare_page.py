"""The comparison in a real browser: typed on, selected in, told apart; in light and dark."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from retnet_viz.checkpoints import load_model, shipped
from retnet_viz.experiments.token_reads import read

TEXT = "the cat and the dog, the cat and the"
KINDS = shipped()
PATIENT = 90_000  # milliseconds


@pytest.fixture
def board(page: Page, voila_url: str) -> Locator:
    page.goto(f"{voila_url}voila/render/compare.ipynb")
    root = page.locator(".rv-compare-page")
    expect(root.locator(".rv-column")).to_have_count(len(KINDS), timeout=PATIENT)
    fill(root, TEXT)
    return root


def fill(root: Locator, text: str) -> None:
    """Type a text, and wait until all columns show it."""
    root.locator(".rv-area-text textarea").fill(text)
    ids = load_model(KINDS["retnet"]).tokenizer.encode(text)
    for column in root.locator(".rv-column").all():
        expect(column.get_by_role("option")).to_have_count(len(ids), timeout=PATIENT)
        expect(column.locator(".rv-plot")).not_to_have_class(re.compile("rv-stale"))


def test_the_columns_show_what_each_model_reads(board: Locator) -> None:
    n = 7
    board.locator(".rv-column").last.get_by_role("option").nth(n).click()
    for column, folder in zip(board.locator(".rv-column").all(), KINDS.values(), strict=True):
        reading = read(load_model(folder), TEXT)
        expect(column.get_by_role("option", selected=True)).to_have_attribute("data-n", str(n))
        expect(column.locator(".rv-heatmap .rv-name")).to_have_text(reading.kind.capitalize())
        row = reading.weights(0)[0, n, : n + 1]
        most = int(row.abs().argmax())
        expect(column.locator(".rv-heatmap")).to_contain_text(f"reads most of token {most} ")
        likeliest = reading.model.tokenizer.piece(int(reading.logits[n].argmax())).strip()
        expect(column.locator(".rv-plot")).to_contain_text(likeliest)
        expect(column.locator(".rv-plot .gtitle")).to_contain_text(f"n = {n}")
    expect(board.locator(".rv-area-decays")).to_contain_text("γ of 0.969 to 0.996")


def test_no_sentence_below_a_picture_is_cut(board: Locator, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    for sentence in board.locator(".rv-readout, .rv-sentence, .rv-strip .rv-title").all():
        expect(sentence).not_to_be_empty()
        assert sentence.evaluate(
            "el => el.scrollHeight <= el.clientHeight && el.scrollWidth <= el.clientWidth"
        ), sentence.text_content()


def test_a_layer_a_head_and_a_text_are_chosen(board: Locator, page: Page) -> None:
    first = board.locator(".rv-column").first
    readout = first.locator(".widget-slider .widget-readout")
    readout.fill("3")
    readout.press("Enter")
    first.get_by_role("button", name="3", exact=True).click()
    note = first.locator(".rv-strip .rv-origin")
    expect(note).to_have_text("head 3, layer 3")
    reading = read(load_model(KINDS["retnet"]), TEXT)
    n = reading.length - 1
    most = int(reading.weights(3)[3, n].abs().argmax())
    expect(first.locator(".rv-heatmap")).to_contain_text(f"reads most of token {most} ")
    boxes = [column.bounding_box() for column in board.locator(".rv-column").all()]
    fill(board, "Once upon a time there was a king")
    assert [column.bounding_box() for column in board.locator(".rv-column").all()] == boxes
    page.locator(".rv-area-head select").last.select_option(label="theme: dark")
    expect(board).to_have_attribute("data-theme", "dark")
    fill(board, "")


def test_a_matrix_tells_a_cell_in_every_column(board: Locator, page: Page) -> None:
    canvas = board.locator(".rv-column").first.locator(".rv-heatmap canvas").first
    canvas.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    for column in board.locator(".rv-column").all():
        expect(column.locator(".rv-heatmap")).to_contain_text(re.compile(r"weight -?[\d.]+"))


def test_recall_of_the_three_models_is_measured_on_the_page(page: Page, voila_url: str) -> None:
    page.goto(f"{voila_url}voila/render/compare.ipynb")
    recall = page.locator(".rv-area-recall")
    expect(recall).to_contain_text("Nothing measured yet", timeout=PATIENT)
    recall.get_by_role("button", name="Measure").click()
    done = recall.locator(".rv-doing")
    expect(done).to_contain_text("none of them trained on", timeout=3 * PATIENT)
    for name in ("RetNet", "Transformer", "Mamba"):
        expect(recall).to_contain_text(f"{name} recalls half")
    # Measured again, and ended with a click: what was found until then stays.
    recall.get_by_role("button", name="Measure").click()
    recall.get_by_role("button", name="Cancel").click()
    expect(done).to_contain_text("cancelled")
    expect(recall.get_by_role("button", name="Measure")).to_be_visible()
