"""Pages of the browser that are watched: what they log, and whom they ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, ViewportSize

HOME_HOSTS = {"127.0.0.1", "localhost"}
SIZE: ViewportSize = {"width": 1440, "height": 900}  # of a window, unless a test says otherwise


@dataclass
class Observed:
    """What a page did that a person would not see."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """The requests that left this machine."""
        return [url for url in self.requests if not _is_home(url)]

    def expect_nothing(self) -> None:
        """The page logged no error and asked no other machine for anything."""
        assert self.outside == []
        assert self.errors == []


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


@contextmanager
def observed_page(
    browser: Browser, width: int = SIZE["width"], height: int = SIZE["height"]
) -> Iterator[tuple[Page, Observed]]:
    """A fresh page, and what it did so far that a person would not see."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(60_000)  # a busy machine is slow, not wrong
    observed = observe(page)
    try:
        yield page, observed
    finally:
        leave(page)
        context.close()
