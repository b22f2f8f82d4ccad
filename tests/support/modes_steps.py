"""The modes at work in a page, as a person uses them: the stage, the views, and what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from playwright.sync_api import Locator, Page, expect

from tests.support.page_steps import AppPage

TEXT = "The king had three sons, and the youngest"
TOKENS = ["The", "·king", "·had", "·three", "·s", "ons", ",", "·and", "·the", "·young", "est"]
LENGTH = len(TOKENS)
OTHER = "The queen sat down"
ONE_MORE = f"{TEXT} one"  # 12 tokens, so that a chunk size of 11 leaves one alone
CHUNK = 4  # the last chunk has 3 tokens
LAYER, HEAD = 1, 2
MODES = ("parallel", "recurrent", "chunkwise")
LAST_OF_STEP = {  # the token that each step ends with
    "parallel": [10],
    "recurrent": list(range(11)),
    "chunkwise": [3, 7, 10],
}
THUMB = 16  # pixels: the handle of a range stays within the ends of its track


class Player:
    """The stage that plays a mode, on any board that has one."""

    def __init__(self, page: Page, board: Locator) -> None:
        self.page = page
        self.root = board.locator(".rv-step-player")
        self.tokens = board.locator(".rv-strip").get_by_role("option")
        self.strip_title = board.locator(".rv-strip .rv-name")
        self.range = self.root.get_by_role("slider", name="Step")
        self.counter = self.root.locator(".rv-step")
        self.speed = self.root.get_by_label("Speed, steps per second")
        self.saying = self.root.locator(".rv-saying")
        self.formula = self.root.locator(".rv-formula")
        self.readout = self.root.locator(".rv-readout")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def picture(self, term: str) -> Locator:
        return self.root.locator(f'.rv-picture[data-term="{term}"]').first

    def term(self, key: str) -> Locator:
        return self.formula.locator(f'[data-term="{key}"]').first

    def press(self, *keys: str) -> None:
        """Press keys while the stage itself has the focus."""
        self.root.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def expect_drawn(self) -> None:
        expect(self.root).to_have_attribute("data-drawn", re.compile(r"\d"))

    def expect_at(self, step: int, steps: int, token: int) -> None:
        """Everything that says where the stage stands says the same."""
        expect(self.root).to_have_attribute("data-step", str(step))
        expect(self.root).to_have_attribute("data-token", str(token))
        expect(self.counter).to_have_text(f"step {step + 1} of {steps}")
        expect(self.range).to_have_value(str(step))
        expect(self.range).to_have_attribute("aria-valuetext", f"step {step + 1} of {steps}")
        expect(self.tokens.nth(token)).to_have_attribute("aria-selected", "true")
        expect(self.strip_title).to_contain_text(f"n = {token} ")

    def expect_playing(self, playing: bool) -> None:
        expect(self.root).to_have_attribute("data-playing", str(playing).lower())
        expect(self.root.locator(".rv-play")).to_have_text("❚❚ Pause" if playing else "▶ Play")

    def step(self) -> int:
        return int(self.root.get_attribute("data-step") or -1)

    def note_steps(self) -> None:
        """Write down every step that is drawn from now on, see `noted`."""
        self.root.evaluate(
            """el => {
                el.noted = [];
                const note = () => el.noted.push(Number(el.dataset.step));
                el.noting?.disconnect();
                el.noting = new MutationObserver(note);
                el.noting.observe(el, { attributeFilter: ["data-step"] });
            }"""
        )

    def noted(self) -> list[int]:
        """The steps that were drawn since `note_steps`, each once however often it was drawn."""
        return self.root.evaluate(
            "el => el.noted.filter((step, i, all) => i === 0 || step !== all[i - 1])"
        )

    def wait_for_noted(self, step: int) -> None:
        """Until a step is the last that was noted."""
        self.page.wait_for_function(
            "([el, step]) => el.noted.at(-1) === step", arg=[self.root.element_handle(), step]
        )

    def wait_for_step(self, step: int) -> None:
        """Until the stage has come to a step, or past it; looked at in every frame."""
        self.page.wait_for_function(
            "([el, step]) => Number(el.dataset.step) >= step",
            arg=[self.root.element_handle(), step],
        )

    def scrub(self, start: int, stop: int, steps: int) -> None:
        """Drag the handle of the range from one step to another, of `steps`."""
        self.range.scroll_into_view_if_needed()
        box = self.range.bounding_box()
        assert box

        def x(step: int) -> float:
            return box["x"] + THUMB / 2 + step / (steps - 1) * (box["width"] - THUMB)

        y = box["y"] + box["height"] / 2
        self.page.mouse.move(x(start), y)
        self.page.mouse.down()
        self.page.mouse.move(x(stop), y, steps=8)
        self.page.mouse.up()

    def point_at(self, term: str, row: int, column: int) -> None:
        """Move the pointer onto an entry of a picture."""
        canvas = self.picture(term).locator("canvas")
        canvas.scroll_into_view_if_needed()
        x, y, width, height = canvas.evaluate(
            """canvas => {
                const { x, y, width, height } = canvas.getBoundingClientRect();
                return [x, y, width / canvas.width, height / canvas.height];
            }"""
        )
        self.page.mouse.move(x + (column + 0.5) * width, y + (row + 0.5) * height)

    def point_away(self) -> None:
        self.page.mouse.move(0, 0)

    def show_table(self, shown: bool = True) -> None:
        toggle = self.root.get_by_role("button", name="table", exact=True)
        if (toggle.get_attribute("aria-pressed") == "true") != shown:
            toggle.click()

    def boxes(self) -> list[list[object]]:
        """Where every part of the stage is within it, but the formula's own parts."""
        return self.root.evaluate(
            """root => {
                const { x, y } = root.getBoundingClientRect();
                const parts = [root, ...root.querySelectorAll("*:not(math, math *)")];
                return parts.filter(el => !el.matches(".rv-mark, option, caption, b, span"))
                    .map(el => {
                        const box = el.getBoundingClientRect();
                        const sides = [box.x - x, box.y - y, box.width, box.height];
                        return [`${el.tagName} ${el.className}`, ...sides.map(Math.round)];
                    });
            }"""
        )


class ModesPage(AppPage):
    """The board of the modes at work, the same in a dashboard and in a notebook."""

    selector = ".rv-modes-page"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.player = Player(page, self.root)
        self.race = self.root.locator(".rv-timeline")
        self.activity = self.root.locator(".rv-doing")
        self.meter = self.root.locator(".rv-view-side .rv-bar .rv-big")

    def wait(self) -> None:
        """Until the stage has been drawn."""
        self.root.wait_for()
        self.player.expect_drawn()

    def open_view(self, name: str) -> None:
        views = self.root.locator(".rv-views")
        views.get_by_role("button", name=name, exact=True).click()

    def choose(self, name: str) -> None:
        """Press one of the buttons, such as a mode's or a precision's."""
        self.root.get_by_role("button", name=name, exact=True).first.click()

    def choose_head(self, head: int) -> None:
        self.root.locator(".rv-head-choices").get_by_role("button", name=str(head)).click()

    def set_slider(self, label: str, value: int) -> None:
        """Type a slider's number."""
        readout = self.root.locator(".widget-slider", has_text=label).locator(".widget-readout")
        readout.fill(str(value))
        readout.press("Enter")
        expect(readout).to_have_text(str(value))

    def show(
        self,
        text: str,
        tokens: Sequence[str],
        mode: str,
        *,
        chunk: int = 8,
        layer: int = 0,
        head: int = 0,
    ) -> None:
        """The stage on a text of these visible tokens, in a mode, at its last step."""
        self.open_view("Step by step")
        self.choose(mode.capitalize())
        self.set_slider("chunk size", chunk)
        self.set_slider("layer", layer)
        self.choose_head(head)
        self.text.fill(text)
        expect(self.player.tokens).to_have_text(tokens)
        origin = self.player.root.locator(".rv-origin")
        expect(origin).to_have_text(f"{mode}, layer {layer}, head {head}")
        self.player.show_table(False)
        self.player.tokens.last.click()
        last = len(tokens) - 1
        steps = {"parallel": 1, "recurrent": last + 1}.get(mode, -(-len(tokens) // chunk))
        self.player.expect_at(steps - 1, steps, last)

    def plot(self, title: str) -> Locator:
        """The figure with this in its title."""
        return self.root.locator(".rv-plot", has=self.page.locator(".gtitle", has_text=title))

    def wait_measured(self, timeout: float = 60_000) -> None:
        """Until nothing is measured any more in the side by side view."""
        again = self.root.get_by_role("button", name="Measure again", exact=True)
        expect(self.root.locator(".rv-stale")).to_have_count(0, timeout=timeout)
        expect(self.race.locator(".rv-timeline-column")).to_have_count(3)
        expect(again).to_be_visible()


def modes_url(voila_url: str) -> str:
    return f"{voila_url}voila/render/modes.ipynb"


def player_of(board: ModesPage, mode: str) -> Player:
    """The stage on TEXT in `mode`, in the layer and the head that these tests look at."""
    board.show(TEXT, TOKENS, mode, chunk=CHUNK, layer=LAYER, head=HEAD)
    return board.player


def expect_step(player: Player, mode: str, step: int) -> None:
    """The player stands at the end of a step of TEXT; -1 is the last one."""
    ends = LAST_OF_STEP[mode]
    player.expect_at(step % len(ends), len(ends), ends[step])
