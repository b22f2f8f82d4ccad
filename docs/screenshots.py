"""Take the pictures of the README from the running explorer.

make test                                   # once: it installs what this needs
.venv/bin/python -m docs.screenshots        # writes docs/images/*.png
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import retnet_viz as rv
from tests.support.chromium import launch
from tests.support.explorer_steps import ExplorerPage
from tests.support.serving import serving
from tests.support.training_steps import TrainingPage

ROOT = Path(__file__).parents[1]
MODES = (
    # file name, width, height, query, mode, view
    ("modes.png", 1280, 800, "", "recurrent", "Step by step"),
    ("modes-dark.png", 1920, 1080, "?theme=dark", "chunkwise", "Side by side"),
)
SHOTS = (
    # file name, width, height, query, preset, mode
    ("explorer.png", 1280, 800, "", "Dialogue", "parallel"),
    ("explorer-dark.png", 1920, 1080, "?theme=dark", "A long story opening", "chunkwise"),
)


MOVIE = "explorer.webp"  # moves: a text is typed, and the modes are chosen one after the other
MOVIE_WIDTH = 1000  # pixels, of 1280
TYPED = ("the cat", " and the dog,", " the cat", " and the dog,", " the cat", " and the")
TRAINING = (
    # file name, width, height, query, task, accuracy in percent that it waits for
    ("training.png", 1280, 800, "", "Copy", 95),
    ("training-dark.png", 1920, 1080, "?theme=dark", "Induction", 80),
)


def main() -> None:
    """Write every picture of SHOTS, MODES and TRAINING."""
    with serving("explore", "--no-browser", "--port", "0") as url, sync_playwright() as playwright:
        browser = launch(playwright)
        for name, width, height, query, preset, mode in SHOTS:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(url + query)
            explorer = ExplorerPage(page)
            explorer.wait()
            explorer.root.locator("select", has_text="Dialogue").select_option(label=preset)
            expect(explorer.notice).to_contain_text("tokens. ")
            for toggle in explorer.root.locator(".rv-head-toggle").all():
                if "mod-active" not in (toggle.get_attribute("class") or ""):
                    toggle.click()
            explorer.choose_mode(mode)
            expect(explorer.weights.locator(".rv-origin")).to_contain_text(
                "inside" if mode == "chunkwise" else "computed"
            )
            expect(explorer.strip.locator(".rv-origin")).to_contain_text("all heads")
            page.wait_for_function(
                "document.querySelector('.rv-area-cost[aria-busy=true]') === null"
                " && document.querySelector('.rv-area-agree .rv-pending') === null"
            )
            page.mouse.move(0, 0)
            page.screenshot(path=ROOT / "docs" / "images" / name)
            print(f"docs/images/{name}")
            page.close()
        for name, width, height, query, mode, view in MODES:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{url}voila/render/modes.ipynb{query}")
            root = page.locator(".rv-explorer")
            stage = root.locator(".rv-step-player")
            expect(stage).to_have_attribute("data-drawn", re.compile(r"\d"))
            root.get_by_role("button", name=mode.capitalize(), exact=True).click()
            expect(stage.locator(".rv-origin")).to_contain_text(mode)
            root.get_by_role("button", name=view, exact=True).click()
            if view == "Side by side":
                expect(root.locator(".rv-doing")).to_have_text("", timeout=60_000)
                expect(root.get_by_role("button", name="Measure again")).to_be_visible()
            page.mouse.move(0, 0)
            page.screenshot(path=ROOT / "docs" / "images" / name)
            print(f"docs/images/{name}")
            page.close()
        for name, width, height, query, task, accuracy in TRAINING:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{url}voila/render/training.ipynb{query}")
            _shoot_training(page, name, task, accuracy)
            page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        _shoot_long(page)
        page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}?layer=1")
        _shoot_movie(page)
        browser.close()


def _shoot_movie(page: Page) -> None:
    """The explorer while a text is typed, its modes are chosen and an earlier token is selected."""
    explorer = ExplorerPage(page)
    explorer.wait()
    frames: list[tuple[Image.Image, int]] = []

    def keep(milliseconds: int) -> None:
        page.wait_for_function(
            "document.querySelector('[aria-busy=true], .rv-area-agree .rv-pending') === null"
        )
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        height = round(picture.height * MOVIE_WIDTH / picture.width)
        frames.append((picture.resize((MOVIE_WIDTH, height)), milliseconds))

    text = ""
    for part in TYPED:
        text += part
        explorer.text.fill(text)
        expect(explorer.tokens).to_have_count(len(rv.trace(rv.load(), text).tokens))
        keep(700)
    frames[-1] = (frames[-1][0], 2500)
    for mode in ("recurrent", "chunkwise", "parallel"):
        explorer.choose_mode(mode)
        expect(explorer.weights.locator(".rv-origin")).to_contain_text(
            {"recurrent": "derived", "chunkwise": "inside", "parallel": "computed"}[mode]
        )
        keep(1500)
    explorer.tokens.nth(4).click()
    expect(explorer.tokens.nth(4)).to_have_attribute("aria-selected", "true")
    keep(2000)
    first, *others = (picture for picture, _ in frames)
    first.save(
        ROOT / "docs" / "images" / MOVIE,
        save_all=True,
        append_images=others,
        duration=[milliseconds for _, milliseconds in frames],
        loop=0,
        quality=80,
        method=6,
    )
    print(f"docs/images/{MOVIE}")


def _shoot_training(page: Page, name: str, task: str, accuracy: int) -> None:
    """A task that has been learned, to some extent, and then all half-lives at one token."""
    board = TrainingPage(page)
    board.wait()
    board.button(task).click()
    expect(board.button(task)).to_have_class(re.compile("mod-active"))
    board.button("▶ Play").click()
    page.wait_for_function(
        """least => {
            const said = document.querySelector(".rv-area-curve .rv-sentence")?.textContent;
            return Number(/([\\d.]+) % of the held-out/.exec(said)?.[1]) >= least;
        }""",
        arg=accuracy,
        timeout=300_000,
    )
    if task == "Copy":
        board.button("all short").click()
        expect(board.lags.locator(".rv-sentence")).to_contain_text("No better", timeout=60_000)
    board.button("❚❚ Pause").click()
    expect(board.status).to_contain_text("paused")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=ROOT / "docs" / "images" / name)
    print(f"docs/images/{name}")


def _shoot_long(page: Page) -> None:
    """131,072 tokens that the model wrote, over and over, zoomed to single weights."""
    model = rv.load()
    ids = [*model.tokenizer.encode("Once upon a time")]
    ids += rv.generate(model, torch.tensor([ids]), 8192, temperature=1.0, seed=0)[0].tolist()
    explorer = ExplorerPage(page)
    explorer.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "story.txt"
        path.write_text(model.tokenizer.decode(ids) * 18)
        explorer.root.locator(".rv-file input").set_input_files(path)
        expect(explorer.notice).to_contain_text("131,072 ×", timeout=300_000)
    matrix = explorer.root.locator(".rv-area-weights .rv-tiled")
    expect(matrix.locator(".rv-tiled-note")).to_contain_text("pixel", timeout=120_000)
    matrix.get_by_role("button", name="to the selected token").click()
    expect(matrix.locator(".rv-tiled-note")).to_contain_text("one weight", timeout=120_000)
    expect(matrix.locator(".rv-tiled-status")).to_be_hidden(timeout=120_000)
    page.screenshot(path=ROOT / "docs" / "images" / "long.png")
    print("docs/images/long.png")


if __name__ == "__main__":
    main()
