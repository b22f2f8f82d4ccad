"""The cost dashboard in a page, as a person uses it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


class CostPage:
    """Steps and readings of the dashboard that shows what generating costs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(".rv-cost-board")
        self.doing = self.root.locator(".rv-doing")
        self.now = self.root.locator(".rv-area-now")
        self.times = self.root.locator(".rv-area-times")
        self.sizes = self.root.locator(".rv-area-sizes")
        self.held = self.root.locator(".rv-area-held")
        self.estimates = self.root.locator(".rv-area-estimates")
        self.claims = self.root.locator(".rv-area-claims")

    def wait(self) -> None:
        """Until every figure has been drawn."""
        self.root.wait_for()
        expect(self.root.locator(".rv-plot[data-drawn]")).to_have_count(3)

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def read_table(self, panel: Locator) -> list[list[str]]:
        """Header and rows of the table that a figure shows in place of its drawing."""
        toggle = panel.get_by_role("button", name="table", exact=True)
        toggle.click()
        table = panel.locator(".rv-alternative").first
        table.wait_for()
        rows = read_rows(table)
        toggle.click()
        return rows

    def boxes(self) -> dict[str, list[int]]:
        """Where each panel is, to see whether anything jumped."""
        return self.root.evaluate(
            """root => Object.fromEntries([...root.querySelectorAll("[class*=rv-area]")].map(el => {
                const { x, y, width, height } = el.getBoundingClientRect();
                const name = [...el.classList].find(c => c.startsWith("rv-area-"));
                return [name, [x, y, width, height].map(Math.round)];
            }))"""
        )


def read_rows(table: Locator) -> list[list[str]]:
    return table.evaluate(
        "table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
