"""A question in JupyterLab, answered with the mouse and with the keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook

CODE = """
import ipywidgets
from retnet_viz.ui.panels.quiz import Question

ipywidgets.VBox([
    Question("How many cells?", [22, 253, 484], lambda: 22 * 22, "<b>All</b> of them."),
    Question("How many steps?", range(1, 23), lambda: 3, "One for each chunk."),
    Question("Which?", ["a", "b"], lambda: 1 / 0),
])
"""


@pytest.fixture
def questions(page: Page, lab_url: str, lab_folder: Path) -> Locator:
    write_notebook(lab_folder / "questions.ipynb", CODE)
    open_notebook(page, lab_url, "questions.ipynb")
    run_all_cells(page)
    widgets = page.locator(".rv-question")
    expect(widgets).to_have_count(3)
    return widgets


def test_questions_are_answered(page: Page, questions: Locator) -> None:
    cells = page.get_by_role("group", name="How many cells?")
    status = cells.get_by_role("status")
    expect(status).to_have_text("")
    cells.get_by_role("button", name="253").click()
    expect(status).to_have_text("Not quite: 484, not 253. <b>All</b> of them.")
    expect(cells.get_by_role("button")).to_have_text(["22", "✗253", "✓484"])
    expect(cells.locator("[aria-pressed=true]")).to_have_text(["✗253"])

    # From button to button by Tab, an answer by Enter: JupyterLab takes neither for itself.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(status).to_have_text("Right: 484. <b>All</b> of them.")
    expect(cells.get_by_role("button")).to_have_text(["22", "253", "✓484"])
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(status).to_have_text("Not quite: 484, not 253. <b>All</b> of them.")

    steps = page.get_by_role("group", name="How many steps?")
    slider = steps.get_by_role("slider", name="Your prediction")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(steps.locator("output")).to_have_text("2")
    expect(steps.get_by_role("status").last).to_have_text("")  # a slide is no answer yet
    steps.get_by_role("button", name="Check").click()
    expect(steps.get_by_role("status").last).to_have_text(
        "Not quite: 3, not 2. One for each chunk."
    )
    slider.press("ArrowRight")
    steps.get_by_role("button", name="Check").press("Enter")
    expect(steps.get_by_role("status").last).to_have_text("Right: 3. One for each chunk.")

    broken = page.get_by_role("group", name="Which?")
    for name in "ab":
        broken.get_by_role("button", name=name).click()
        expect(broken.get_by_role("status")).to_have_text(
            "The answer could not be computed (ZeroDivisionError: division by zero)."
        )
