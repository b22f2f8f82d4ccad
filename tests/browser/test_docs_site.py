"""The documentation in a browser, opened as files: its search works, and it asks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.observed import observed_page
from tests.support.site import build


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


def test_the_search_of_a_page_that_is_a_file_leads_to_a_function(
    browser: Browser, site: Path
) -> None:
    with observed_page(browser) as (page, observed):
        page.goto((site / "index.html").as_uri())
        box = page.get_by_role("textbox", name="Search")
        box.click()
        box.press_sequentially("state_norm")  # it listens to keys
        page.locator(".md-search-result__link", has_text="rv.figures.state_norm").first.click()
        heading = page.get_by_role("heading", name="rv.figures.state_norm")
        expect(heading).to_be_in_viewport()
        assert observed.errors == []
        assert {url.partition(":")[0] for url in observed.requests} <= {"file", "data", "about"}


@pytest.mark.parametrize("name", ["gallery", "reference/figures", "notebooks/02_three_modes"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_no_wider_than_its_window(
    browser: Browser, site: Path, name: str, width: int
) -> None:
    with observed_page(browser, width=width) as (page, _):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
