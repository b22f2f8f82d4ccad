"""Take the pictures of the README from the running explorer.

make test                                   # once: it installs what this needs
.venv/bin/python docs/screenshots.py        # writes docs/images/*.png
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from chromium import find  # noqa: E402
from explorer_steps import ExplorerPage  # noqa: E402
from serving import serving  # noqa: E402

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


def main() -> None:
    """Write every picture of SHOTS and MODES."""
    with serving("explore", "--no-browser", "--port", "0") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
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
            stage = root.locator(".rv-stage-player")
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
        browser.close()


if __name__ == "__main__":
    main()
