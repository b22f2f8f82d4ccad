"""A real browser and real servers for the tests; pages that must be silent and stay at home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chromium import launch
from tests.support.serving import serving

CHECKOUT = Path(__file__).resolve().parents[2]
HOME_HOSTS = {"127.0.0.1", "localhost"}

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
    # The user's own settings and workspaces must not change what the tests see, nor be changed.
    home = tmp_path_factory.mktemp("jupyter")
    environment = {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    arguments = ("lab", str(lab_folder), "--no-browser", "--port", "0")
    with serving(*arguments, environment=environment) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@dataclass
class Observed:
    """What a page did that a person would not see."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """The requests that left this machine."""
        return [url for url in self.requests if not _is_home(url)]


def _is_home(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.hostname in HOME_HOSTS


def observe(page: Page) -> Observed:
    """Record the errors and the requests of `page` from now on."""
    observed = Observed()
    page.on("console", lambda m: observed.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: observed.errors.append(str(error)))
    page.on("request", lambda request: observed.requests.append(request.url))
    page.on("websocket", lambda websocket: observed.requests.append(websocket.url))
    return observed


def leave(page: Page) -> None:
    """Go away from a dashboard as a person does, so that its kernel ends: each holds 300 MB."""
    if "/lab" not in page.url:  # JupyterLab would ask whether to leave
        page.goto("about:blank")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails if it logged an error or asked another machine for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    observed = observe(page)
    yield page
    outside, errors = observed.outside, list(observed.errors)
    leave(page)
    context.close()
    assert outside == []
    assert errors == []
