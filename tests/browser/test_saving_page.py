"""Saving from the running page: what is downloaded opens, and shows what the page showed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

import retnet_viz as rv
from tests.support.explorer_steps import ExplorerPage

TEXT = "the cat and the dog"


@pytest.fixture
def explorer(explorer: ExplorerPage) -> Iterator[ExplorerPage]:
    explorer.type(TEXT)
    explorer.choose_mode("recurrent")
    expect(explorer.notice).to_contain_text("5 tokens")
    yield explorer
    explorer.page.keyboard.press("Escape")  # closes the menu
    expect(explorer.page.get_by_role("dialog", name="Save")).to_be_hidden()


def save(explorer: ExplorerPage, what: str, kind: str, folder: Path) -> Path:
    """Choose in the menu, and keep what the browser downloads."""
    menu = explorer.page.get_by_role("dialog", name="Save")
    if not menu.is_visible():
        explorer.root.get_by_role("button", name="save", exact=True).click()
    menu.get_by_label("What").select_option(what)
    menu.get_by_label("As").select_option(kind)
    with explorer.page.expect_download(timeout=120_000) as download:
        menu.get_by_role("button", name="Save").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    expect(menu.get_by_role("status")).to_contain_text(f"Saved as {path.name}")
    return path


def test_the_page_is_saved_and_opens_without_a_server(
    explorer: ExplorerPage, browser: Browser, tmp_path: Path
) -> None:
    explorer.tokens.nth(3).click()
    path = save(explorer, "page", "html", tmp_path)
    context = browser.new_context(offline=True)
    copy = context.new_page()
    copy.goto(path.as_uri())
    expect(copy.locator(".rv-strip").get_by_role("option")).to_have_count(5)
    expect(copy.locator(".rv-strip .rv-name")).to_have_text(
        explorer.strip.locator(".rv-name").inner_text()
    )
    expect(copy.locator(".rv-area-agree")).to_contain_text("recurrent − parallel")
    context.close()


def test_pictures_and_numbers_are_of_what_is_shown(explorer: ExplorerPage, tmp_path: Path) -> None:
    svg = save(explorer, "retention", "svg", tmp_path).read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "Retention weights" in svg
    png = save(explorer, "page", "png", tmp_path).read_bytes()
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert width == 2000
    arrays = np.load(io.BytesIO(save(explorer, "trace", "npz", tmp_path).read_bytes()))
    trace = rv.trace(rv.load(), TEXT, "recurrent", 8)
    np.testing.assert_allclose(arrays["state_norm"][2], trace.state_norm(2), rtol=1e-5)


def test_what_cannot_be_saved_is_said_in_the_menu(explorer: ExplorerPage) -> None:
    explorer.text.fill("a cat " * 200)
    expect(explorer.notice).to_contain_text("recomputed")
    explorer.root.get_by_role("button", name="save", exact=True).click()
    menu = explorer.page.get_by_role("dialog", name="Save")
    menu.get_by_label("What").select_option("page")
    menu.get_by_label("As").select_option("html")
    menu.get_by_role("button", name="Save").click()
    expect(menu.get_by_role("status")).to_contain_text("up to 256 tokens")
    explorer.page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(explorer.root.get_by_role("button", name="save", exact=True)).to_be_focused()
