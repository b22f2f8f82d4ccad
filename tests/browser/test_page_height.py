"""A page of a height of its own in a notebook: it scrolls in its box, with its controls in view."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.lab_steps import open_notebook, run_cell, write_notebook

HEIGHT = 420
CALLS = {
    "explorer": f"rv.explore(text='A fox', height={HEIGHT})",
    "modes": f"rv.modes(text='A fox', height={HEIGHT})",
    "compare": f"rv.compare('A fox', height={HEIGHT})",
    "cost": f"rv.cost(height={HEIGHT})",
    "training": f"rv.practice(height={HEIGHT})",
}
STAY = {"explorer": 2, "modes": 2, "compare": 2, "cost": 0, "training": 1}  # text and controls


@pytest.fixture
def notebook(page: Page, lab_url: str, lab_folder: Path) -> Page:
    write_notebook(lab_folder / "height.ipynb", "import retnet_viz as rv", *CALLS.values())
    open_notebook(page, lab_url, "height.ipynb")
    run_cell(page, 0)
    return page


def test_pages_scroll_in_their_boxes_with_text_and_controls_in_view(notebook: Page) -> None:
    for cell, (name, stay) in enumerate(STAY.items(), start=1):
        run_cell(notebook, cell)
        box = notebook.locator(f".rv-{name}-page")
        box.scroll_into_view_if_needed()
        expect(box.locator(".rv-area-head")).to_be_visible()
        if stay == 2:  # the controls know how high the text is
            notebook.wait_for_function(
                "box => parseFloat(box.style.getPropertyValue('--rv-text-height')) > 0",
                arg=box.element_handle(),
            )
        assert box.bounding_box()["height"] == HEIGHT
        assert box.evaluate("box => box.scrollHeight - box.clientHeight") > 100, name
        box.evaluate("box => { box.scrollTop = box.scrollHeight; }")
        in_view = box.locator(":is(.rv-area-text, .rv-area-control):visible")
        expect(in_view).to_have_count(stay)
        end = box.bounding_box()["y"] - 1
        for i in range(stay):
            place = in_view.nth(i).bounding_box()
            assert place["y"] >= end, name  # below one another, from the box's edge on
            end = place["y"] + place["height"]
        assert end <= box.bounding_box()["y"] + HEIGHT / 2, name
