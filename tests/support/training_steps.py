"""Training live in a page, as a person uses it."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.support.page_steps import AppPage


class TrainingPage(AppPage):
    """The controls and the panels by name."""

    selector = ".rv-training-page"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.status = self.root.locator(".rv-status")
        self.steps = self.root.locator(".rv-steps")
        self.question = self.root.locator(".rv-question")
        self.matrix = self.root.locator(".rv-heatmap")
        self.curve, self.lags, self.heads, self.gammas = (
            self.root.locator(f".rv-area-{name}") for name in ("curve", "lags", "heads", "gammas")
        )

    def wait(self) -> None:
        """Until every panel has been drawn."""
        self.root.wait_for()
        for panel in (self.curve, self.lags, self.heads):
            expect(panel.locator(".main-svg").first).to_be_visible()
        expect(self.matrix).to_have_attribute("data-drawn", re.compile(r"\d"))
        expect(self.slider(0)).to_be_visible()

    def slider(self, head: int) -> Locator:
        return self.root.locator(".rv-gamma-row .widget-slider").nth(head)

    def step(self) -> int:
        found = re.search(r"step ([\d,]+)", self.steps.inner_text())
        assert found
        return int(found[1].replace(",", ""))

    def wait_for_step(self, least: int) -> None:
        """Until the page shows that so many steps were taken."""
        self.page.wait_for_function(
            """least => {
                const text = document.querySelector(".rv-steps")?.textContent ?? "";
                return Number(text.replace(/[^0-9]/g, "")) >= least;
            }""",
            arg=least,
        )

    def drag_half_life(self, head: int, share: float) -> None:
        """Drag a head's handle to `share` of its track."""
        self.drag_handle(self.slider(head), share)

    def places(self) -> list[list[int]]:
        """Where every panel and every control is, to see whether anything jumped."""
        return self.root.evaluate(
            """root => [...root.querySelectorAll(
                "[class*=rv-area], .rv-gamma-row, .jupyter-button, .rv-sentence, .rv-drawing"
            )].map(el => {
                const { x, y, width, height } = el.getBoundingClientRect();
                return [x, y, width, height].map(Math.round);
            })"""
        )
