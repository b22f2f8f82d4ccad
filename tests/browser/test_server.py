"""The servers: what they print, what they refuse, and what a page of theirs is like."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook
from tests.support.serving import COMMAND, serving

WIDGETS = "#rendered_cells .jupyter-widgets"


def background(page: Page) -> float:
    """How bright the page's background is, from 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = re.findall(r"\d+", colour)
    assert len(channels) == 3, colour  # a fourth would be a transparent page
    return sum(map(int, channels)) / 3


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether `holds` becomes true in time; for what happens outside a page."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_page_opens_at_the_root(page: Page, voila_url: str) -> None:
    page.goto(voila_url)
    page.locator(WIDGETS).first.wait_for()
    expect(page.locator("#loading")).to_have_count(0)
    expect(page).to_have_title("RetNet Explorer")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert background(page) > 200


def test_the_page_says_that_it_is_starting(page: Page, voila_url: str) -> None:
    texts: list[str] = []

    def look(route: Route) -> None:
        texts.append(page.locator("#loading").inner_text())
        route.continue_()

    page.route("**/voila.js", look)  # the script that draws the widgets
    page.goto(voila_url)
    page.locator(WIDGETS).first.wait_for()
    assert texts == ["Starting RetNet Explorer …"]
    expect(page.locator("#loading")).to_have_count(0)


def test_widgets_may_take_longer_than_anywidget_waits(page: Page, voila_url: str) -> None:
    # As if three seconds went by between the start of a widget and whatever it needs.
    page.add_init_script(
        "const timeout = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (ms) => timeout(Math.max(0, ms - 3000));"
    )
    page.goto(voila_url)
    ExplorerPage(page).wait()


def test_the_page_uses_the_whole_width(page: Page, voila_url: str) -> None:
    page.goto(voila_url)
    page.locator(WIDGETS).first.wait_for()
    output = page.locator("#rendered_cells .jp-OutputArea-output").first
    box = output.bounding_box()
    assert box is not None
    assert box["x"] <= 8
    assert box["width"] >= 1440 - 32


def test_a_dark_page(page: Page, voila_url: str) -> None:
    page.goto(voila_url + "?theme=dark")
    page.locator(WIDGETS).first.wait_for()
    assert background(page) < 50
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")


def test_an_unknown_page_is_a_sentence(page: Page, voila_url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(voila_url + "nothing")
    assert refused.value.code == 404
    text = refused.value.read().decode()
    assert "Traceback" not in text
    assert "//cdn" not in text


def test_a_request_under_a_foreign_name_is_refused(voila_url: str) -> None:
    request = urllib.request.Request(voila_url, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403


@pytest.mark.parametrize("command", ["explore", "lab"])
def test_a_taken_port_is_a_sentence(command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        run = subprocess.run(
            [str(COMMAND), command, "--no-browser", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.returncode == 2
    assert run.stderr == (
        f"retnet-viz {command}: port {port} is taken; "
        "choose another with --port, or any free one: --port 0.\n"
    )


def test_a_server_ends_its_kernels_with_itself() -> None:
    before = set(psutil.Process().children())
    with serving("explore", "--no-browser", "--port", "0"):
        (server,) = [
            p
            for p in psutil.Process().children()
            if "explore" in p.cmdline()[-4:] and p not in before
        ]
        kernels = server.children(recursive=True)
        assert kernels
    assert psutil.wait_procs(kernels, timeout=10)[1] == []


def test_a_closed_page_ends_its_kernel(page: Page, voila_url: str) -> None:
    page.goto(voila_url)
    page.locator(WIDGETS).first.wait_for()
    kernel = page.evaluate(
        "JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId"
    )
    assert status(f"{voila_url}api/kernels/{kernel}") == 200
    page.goto("about:blank")
    assert soon(lambda: status(f"{voila_url}api/kernels/{kernel}") == 404)


def test_jupyterlab_runs_a_notebook(page: Page, lab_url: str, lab_folder: Path) -> None:
    slider = "ipywidgets.IntSlider(value=7, description='Layer')"
    write_notebook(lab_folder / "smoke.ipynb", "import ipywidgets, sys\nsys.prefix", slider)
    open_notebook(page, lab_url, "smoke.ipynb")
    run_all_cells(page)
    expect(page.locator(".jp-Notebook .widget-readout")).to_have_text("7")
