"""The explorer in a page, as a person uses it: its panels by name, and what they say."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

import retnet_viz as rv
from retnet_viz.figures.base.tokens import visible
from retnet_viz.ui import ExplorerState
from retnet_viz.ui.core.state import state_file
from retnet_viz.ui.core.state.page_layout import PageLayout
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

    def expect_state(self, state: ExplorerState) -> None:
        """The controls and the panels show this state."""
        expect(self.text).to_have_value(state.text)
        for name in (state.mode.capitalize(), state.scale):
            button = self.root.get_by_role("button", name=name, exact=True)
            expect(button).to_have_class(re.compile("mod-active"))
        for label, value in (("chunk size", state.chunk_size), ("layer", state.layer)):
            expect(self.slider(label).locator(".widget-readout")).to_have_text(str(value))
        tokens = rv.trace(rv.load(), state.text).tokens
        expect(self.tokens).to_have_text([visible(token) for token in tokens])
        selected = len(tokens) - 1 if state.token is None else state.token
        option = self.strip.get_by_role("option", selected=True)
        expect(option).to_have_attribute("data-n", str(selected))
        for head in range(4):
            toggle = self.root.locator(f".rv-head-toggle.rv-head-{head}")
            on = not state.heads or head in state.heads
            expect(toggle).to_have_class(
                re.compile("mod-active" if on else r"^((?!mod-active).)*$")
            )

    def open_state(self, state: ExplorerState) -> None:
        """Open a file with this state, and nothing hidden, and wait until it is shown.

        The text must be another than the page has: it tells that the file was read.
        """
        content = state_file.encode(state.link_parts(full_text=True), PageLayout()).encode()
        self.root.locator("input[type=file]").set_input_files(
            {"name": state_file.NAME, "mimeType": "application/json", "buffer": content}
        )
        self.expect_state(state)

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
                self.root.locator(f".rv-head-toggle.rv-head-{other}").click()

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
