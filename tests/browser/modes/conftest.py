"""The modes at work in Voila and in JupyterLab: one page each for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import retnet_viz as rv
from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook
from tests.support.modes_steps import TEXT, ModesPage, modes_url
from tests.support.observed import Observed, observed_page


@pytest.fixture(scope="module")
def model():
    return rv.load()


# A page of the modes takes seconds to open, so the tests share one in Voila and one in JupyterLab;
# each of them says what the page is to show before it looks.


@pytest.fixture(scope="module")
def voila_page(browser: Browser, voila_url: str) -> Iterator[tuple[Page, Observed]]:
    with observed_page(browser) as (page, observed):
        page.goto(modes_url(voila_url))
        ModesPage(page).wait()
        yield page, observed


@pytest.fixture(scope="module")
def lab_page(browser: Browser, lab_url: str, lab_folder: Path) -> Iterator[tuple[Page, Observed]]:
    code = f"import retnet_viz as rv\nrv.modes(text={TEXT!r})"
    write_notebook(lab_folder / "modes.ipynb", code)
    with observed_page(browser) as (page, observed):
        open_notebook(page, lab_url, "modes.ipynb")
        run_all_cells(page)
        board = ModesPage(page)
        board.root.scroll_into_view_if_needed()
        board.wait()
        yield page, observed


@pytest.fixture
def board(voila_page: tuple[Page, Observed]) -> Iterator[ModesPage]:
    """The modes at work in Voila."""
    page, observed = voila_page
    yield ModesPage(page)
    observed.expect_nothing()


@pytest.fixture
def lab_board(lab_page: tuple[Page, Observed]) -> Iterator[ModesPage]:
    page, observed = lab_page
    yield ModesPage(page)
    observed.expect_nothing()


@pytest.fixture(params=["board", "lab_board"])
def anywhere(request: pytest.FixtureRequest) -> ModesPage:
    """The modes at work in Voila, then in JupyterLab."""
    return request.getfixturevalue(request.param)
