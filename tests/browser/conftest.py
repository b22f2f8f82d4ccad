"""A real browser and real servers for the tests; pages that must be silent and stay at home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retnet_viz.ui.pages.presets import START
from tests.support.chromium import launch
from tests.support.explorer_steps import ExplorerPage
from tests.support.observed import SIZE, Observed, observed_page
from tests.support.serving import jupyter_home, serving

CHECKOUT = Path(__file__).resolve().parents[2]

# A busy machine is slow, not wrong.
expect.set_options(timeout=30_000)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser's tests last: the others are faster, and want no event loop around them.

    They are marked, so that `make test` can choose them before anything is left out.
    """

    def needs_browser(item: pytest.Item) -> bool:
        return Path(__file__).parent in item.path.parents

    items.sort(key=needs_browser)
    for item in filter(needs_browser, items):
        item.add_marker("browser")


@pytest.fixture(scope="session")
def voila_url() -> Iterator[str]:
    """The explorer, served as `make explore` serves it."""
    with serving("explore", "--no-browser", "--port", "0") as url:
        yield url


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks that a test may change."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(CHECKOUT / "notebooks", folder)
    return folder


@pytest.fixture(scope="session")
def lab_url(lab_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on `lab_folder`, with its token, as `make lab` serves it."""
    environment = jupyter_home(tmp_path_factory.mktemp("jupyter"))
    arguments = ("lab", str(lab_folder), "--no-browser", "--port", "0")
    with serving(*arguments, environment=environment) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails if it logged an error or asked another machine for anything."""
    with observed_page(browser) as (page, observed):
        yield page
        observed.expect_nothing()


@pytest.fixture(scope="module")
def explorer_page(browser: Browser, voila_url: str) -> Iterator[tuple[Page, Observed]]:
    """The explorer in Voila, opened once for the tests of a file that need no page of their own."""
    with observed_page(browser) as (page, observed):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=voila_url)
        page.goto(voila_url)
        ExplorerPage(page).wait()
        yield page, observed


@pytest.fixture
def explorer(
    explorer_page: tuple[Page, Observed], request: pytest.FixtureRequest
) -> Iterator[ExplorerPage]:
    """That page as it was opened, but for its text.

    A page and its kernel take seconds to open, and a file with the state is opened at once. The
    history of "undo" stays.
    """
    page, observed = explorer_page
    page.mouse.move(0, 0)
    page.set_viewport_size(SIZE)
    explorer = ExplorerPage(page)
    explorer.open_state(replace(START, text=request.function.__name__))
    yield explorer
    observed.expect_nothing()
