"""Steps in JupyterLab that several tests take."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import Page, expect


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook with these code cells."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(notebook, path)


def open_notebook(page: Page, lab_url: str, name: str) -> None:
    """Open the notebook `name` alone in the window and wait for its kernel."""
    parts = urlsplit(lab_url)
    page.goto(f"{parts.scheme}://{parts.netloc}/lab/tree/{name}?reset&{parts.query}")
    page.locator(".jp-Notebook").wait_for()
    page.get_by_text(re.compile(r"\(ipykernel\) \| Idle$")).wait_for()


def run_all_cells(page: Page, timeout: float = 120_000) -> None:
    """Run every cell of the open notebook and wait, `timeout` milliseconds at most, for the end.

    A cell that fails ends the run and fails the test with what the cell printed.
    """
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    # Commands are for the widget that has the focus; one that is disabled would swallow the click.
    cells.first.locator(".jp-InputPrompt").click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]:not(.lm-mod-disabled)').click()
    # JupyterLab draws a number, a star or nothing beside a cell: it ran, it is running, it waits.
    expect(cells.last.locator(".jp-InputPrompt")).to_have_text(
        re.compile(r"\[\d+\]:"), timeout=timeout
    )
    expect(page.locator('.jp-OutputArea-output[data-mime-type*="error"]')).to_have_count(0)


def run_cell(page: Page, number: int) -> None:
    """Run one code cell of the open notebook, counted from 0; does not wait for its end."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()  # which takes the focus from a widget that has it
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[[*\d]+\]:"))
