"""The explorer in a page, as a person uses it: its panels by name, and what they say."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.support.page_steps import AppPage


class ExplorerPage(AppPage):
    """Steps and readings that are the same in a dashboard and in a notebook."""

    selector = ".rv-explorer"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.weights = self.root.locator(
            ".rv-area-weights.rv-heatmap, .rv-area-weights .rv-heatmap"
        )
        self.decay = self.root.locator(".rv-area-decay .rv-heatmap")
        self.norms = self.root.locator(".rv-area-norms")
        self.all_heads = self.root.locator(".rv-area-heads")
        self.next = self.root.locator(".rv-area-next")
        self.cost = self.root.locator(".rv-area-cost")
        self.agreement = self.root.locator(".rv-area-agree")

    def wait(self) -> None:
        """Until every panel has been drawn."""
        self.root.wait_for()
        for panel in (self.strip, self.weights, self.decay, self.all_heads):
            expect(panel).to_have_attribute("data-drawn", re.compile(r"\d"))
        for figure in (self.norms, self.next, self.cost):
            expect(figure.locator(".main-svg").first).to_be_visible()

    def type(self, text: str) -> None:
        """Replace the text by typing."""
        self.text.click()
        self.page.keyboard.press("Control+A")
        if text:
            self.page.keyboard.type(text)
        else:
            self.page.keyboard.press("Delete")

    def choose_mode(self, mode: str) -> None:
        self.root.get_by_role("button", name=mode.capitalize(), exact=True).click()

    def slider(self, label: str) -> Locator:
        return self.root.locator(".widget-slider", has_text=label)

    def drag(self, label: str, share: float) -> None:
        """Drag a slider's handle to `share` of its track, in small steps."""
        self.drag_handle(self.slider(label), share)

    def value(self, label: str) -> int:
        return int(self.slider(label).locator(".widget-readout").inner_text())

    def show_only_head(self, head: int, count: int = 4) -> None:
        for other in range(count):
            if other != head:
                self.root.locator(f".rv-head-{other}").click()

    def pixel(self, matrix: Locator, x: float, y: float) -> tuple[int, ...]:
        """The colour of a canvas at a point of the screen, once its next frame is drawn."""
        return tuple(
            matrix.locator(".rv-canvas-box canvas").evaluate(
                """async (canvas, [x, y]) => {
                    await new Promise(requestAnimationFrame);
                    const box = canvas.getBoundingClientRect();
                    const scale = canvas.width / box.width;
                    const at = [(x - box.x) * scale, (y - box.y) * scale].map(Math.floor);
                    return [...canvas.getContext("2d").getImageData(...at, 1, 1).data];
                }""",
                [x, y],
            )
        )
