"""A notebook whose kernel runs another cell, and one whose kernel has ended: what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import retnet_viz as rv
from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_cell, write_notebook
from tests.support.observed import observed_page
from tests.support.serving import jupyter_home, serving

PATIENT = 120_000  # milliseconds
TEXT = "The queen sat down"
CELLS = (
    "import os, time\nimport retnet_viz as rv\nrv.explore(text='The king had three sons')",
    "while not os.path.exists('free'):\n    time.sleep(0.1)",
    "os.kill(os.getpid(), 9)",
)


def open_cells(page: Page, lab_url: str, folder: Path) -> None:
    write_notebook(folder / "kernel_state.ipynb", *CELLS)
    open_notebook(page, lab_url, "kernel_state.ipynb")


@pytest.fixture
def plain_lab_url(lab_folder: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab as older ones are: the messages of widgets wait for the cell that runs.

    A newer one has them answered in another thread of the kernel, where that can do it.
    """
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    chosen = '{"commsOverSubshells": "disabled"}'
    (settings / "kernels-settings.jupyterlab-settings").write_text(chosen)
    arguments = ("lab", str(lab_folder), "--no-browser", "--port", "0")
    with serving(*arguments, environment=jupyter_home(tmp_path)) as url:
        yield url


def kernel_line(explorer: ExplorerPage) -> Locator:
    return explorer.root.locator(".rv-kernel")


def test_a_busy_kernel_is_no_dead_one(
    browser: Browser, plain_lab_url: str, lab_folder: Path
) -> None:
    with observed_page(browser) as (page, observed):
        open_cells(page, plain_lab_url, lab_folder)
        run_cell(page, 0)
        run_cell(page, 1)  # which is queued while the first one still runs
        explorer = ExplorerPage(page)
        explorer.root.wait_for(timeout=PATIENT)
        explorer.root.scroll_into_view_if_needed()
        expect(explorer.norms.locator(".main-svg").first).to_be_visible(timeout=PATIENT)
        line = kernel_line(explorer)
        expect(line).to_have_text(
            "The kernel is busy. What you change here shows when it is free again.",
            timeout=PATIENT,
        )
        expect(line).to_have_role("status")
        explorer.text.fill(TEXT)
        (lab_folder / "free").touch()
        expect(line).to_have_count(0, timeout=PATIENT)
        expect(explorer.tokens).to_have_count(rv.trace(rv.load(), TEXT).length)
        observed.expect_nothing()
        run_cell(page, 2)
        expect(line).to_have_role("alert", timeout=PATIENT)
        expect(line).to_contain_text("does not answer")
        expect(line).to_contain_text("Run the cell again.")
