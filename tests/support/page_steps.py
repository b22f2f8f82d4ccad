"""What the pages of all apps have in common, as a person uses them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from playwright.sync_api import Locator, Page


class AppPage:
    """An app's page in a dashboard or in a notebook: its controls, its tables, its places."""

    selector: ClassVar[str]  # of the app's own element

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(self.selector)
        self.text = self.root.locator(".rv-area-text textarea")
        self.notice = self.root.locator(".rv-notice")
        self.strip = self.root.locator(".rv-strip")
        self.tokens = self.strip.get_by_role("option")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def drag_handle(self, slider: Locator, share: float) -> None:
        """Drag a slider's handle to `share` of its track, in small steps."""
        slider.scroll_into_view_if_needed()
        track = slider.locator(".noUi-base").bounding_box()
        handle = slider.locator(".noUi-handle").bounding_box()
        assert track
        assert handle
        y = handle["y"] + handle["height"] / 2
        self.page.mouse.move(handle["x"] + handle["width"] / 2, y)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + share * track["width"], y, steps=12)
        self.page.mouse.up()

    def read_table(self, panel: Locator) -> list[list[str]]:
        """Header and rows of the table that a panel shows in place of its drawing."""
        toggle = panel.get_by_role("button", name="table", exact=True).first
        toggle.click()
        table = panel.locator(".rv-alternative").first
        table.wait_for()
        rows = read_rows(table)
        toggle.click()
        return rows

    def boxes(self) -> dict[str, list[int]]:
        """Where each panel is in the page, to see whether anything jumped."""
        return self.root.evaluate(
            """root => Object.fromEntries([...root.querySelectorAll("[class*=rv-area]")].map(el => {
                const box = el.getBoundingClientRect();
                const { x, y } = root.getBoundingClientRect();
                const name = [...el.classList].find(c => c.startsWith("rv-area-"));
                return [name, [box.x - x, box.y - y, box.width, box.height].map(Math.round)];
            }))"""
        )


def read_rows(table: Locator) -> list[list[str]]:
    """The text of a table's cells, row by row."""
    return table.evaluate(
        "table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )


def cell_centre(matrix: Locator, n: int, m: int, length: int) -> tuple[float, float]:
    """Where cell (n, m) of a heatmap is when it shows one head; the square is centred."""
    box = matrix.locator(".rv-canvas-box canvas").bounding_box()
    assert box
    side = min(int(box["width"]), int(box["height"]) - 18)
    left = box["x"] + (box["width"] - side) / 2
    return left + (m + 0.5) * side / length, box["y"] + 18 + (n + 0.5) * side / length


def wait_until(page: Page, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Let the page go on, frame by frame, until something has happened outside of it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        page.evaluate("new Promise(requestAnimationFrame)")
