"""The cost dashboard in a page, as a person uses it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.page_steps import AppPage


class CostPage(AppPage):
    """Steps and readings of the dashboard that shows what generating costs."""

    selector = ".rv-cost-page"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.activity = self.root.locator(".rv-doing")
        self.now = self.root.locator(".rv-area-now")
        self.times = self.root.locator(".rv-area-times")
        self.sizes = self.root.locator(".rv-area-sizes")
        self.memory = self.root.locator(".rv-area-held")
        self.estimates = self.root.locator(".rv-area-estimates")
        self.claims = self.root.locator(".rv-area-claims")

    def wait(self) -> None:
        """Until every figure has been drawn."""
        self.root.wait_for()
        expect(self.root.locator(".rv-plot[data-drawn]")).to_have_count(3)
