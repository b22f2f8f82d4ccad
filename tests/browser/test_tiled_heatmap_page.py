"""The matrix of long texts in JupyterLab: it pans and zooms, and shows the numbers of the plane."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, WebSocket, expect

from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.trace.tiles.pictures import Plane
from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook

LENGTH, SELECTED = 3000, 1234
# What the notebook makes and what the tests compare with is one text.
PLANE = f"""
import torch
from retnet_viz.trace.tiles.pictures import Plane

def plane(kind=Plane, gammas=(0.97, 0.99), length={LENGTH}):
    q, k = torch.randn(2, len(gammas), length, 16, generator=torch.Generator().manual_seed(0))
    return kind(q, k, torch.tensor(gammas, dtype=torch.float64))
"""
CODE = f"""
import time
import ipywidgets
from retnet_viz.ui.core.host_bridge import HostBridge
from retnet_viz.ui.panels.tiled.tiled_heatmap import TiledHeatmap

class Slow(Plane):
    def view(self, *arguments, **options):
        time.sleep(0.2)
        return super().view(*arguments, **options)

class Thorough(Plane):
    def prepare(self, head, limit, resolution, progress):
        def slowly(done, total):
            time.sleep(0.05)
            progress(done, total)

        super().prepare(head, limit, resolution, slowly)

def panel(shown, name, height="400px"):
    describe = lambda cell: "%d: %d reads %d: %.6g" % (*cell, shown.cell(*cell).weight)
    tiled = TiledHeatmap(describe, selected={SELECTED}, layout=ipywidgets.Layout(height=height))
    tiled.add_class(name)
    pieces = lambda start, stop: [f"<b>{{token}}" for token in range(start, stop)]
    tiled.show(shown, range(shown.n_heads), origin=name, pieces=pieces)
    return tiled

planes = {{
    "quick": plane,
    "slow": lambda: plane(Slow),
    "long": lambda: plane(Thorough, (0.9, 0.9999), 40_000),
}}
box = ipywidgets.VBox([HostBridge(theme="dark"), panel(planes[NAME](), NAME)])
box.add_class("rv-explorer")
box
"""
View = tuple[float, float, float]  # n, m and the tokens along a square


class TiledPage:
    """A panel, and what a person does with it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(".rv-tiled")
        self.canvas = self.root.locator(".rv-canvas-box canvas")
        self.note = self.root.locator(".rv-tiled-note")
        self.readout = self.root.locator(".rv-readout")
        self.canvas.scroll_into_view_if_needed()

    def settle(self) -> None:
        """Until the picture that is drawn is that of the window."""
        self.page.wait_for_function(
            """(el) => el.dataset.sharp && el.dataset.sharp === el.dataset.drawn &&
                 el.querySelector(".rv-tiled-status").hidden""",
            arg=self.root.element_handle(),
        )

    @property
    def view(self) -> View:
        n, m, tokens = json.loads(self.root.get_attribute("data-view") or "")
        return n, m, tokens

    def press(self, name: str) -> None:
        self.root.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def squares(self) -> list[tuple[float, float, float]]:
        """x, y and side of each head's square in the window."""
        box = self.canvas.bounding_box()
        assert box
        squares = json.loads(self.root.get_attribute("data-squares") or "")
        return [(box["x"] + x, box["y"] + y, side) for x, y, side in squares]

    def point(self, head: int, x: float, y: float) -> tuple[float, float]:
        """The whole pixel in the window at shares of a square's side."""
        left, top, side = self.squares()[head]
        return round(left + x * side), round(top + y * side)

    def tokens_at(self, head: int, x: float, y: float) -> tuple[float, float]:
        """n and m at a place in the window."""
        left, top, side = self.squares()[head]
        n, m, tokens = self.view
        return n + (y - top) / side * tokens, m + (x - left) / side * tokens

    def color(self, x: float, y: float) -> list[int]:
        """The colour at a place in the window."""
        box = self.canvas.bounding_box()
        assert box
        return self.canvas.evaluate(
            """(canvas, [x, y]) => {
              const ratio = canvas.width / canvas.clientWidth;
              return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data];
            }""",
            [x - box["x"], y - box["y"]],
        )


@pytest.fixture
def tiled(page: Page, lab_url: str, lab_folder: Path) -> Callable[[str], TiledPage]:
    """Opens a notebook with one panel."""

    def open_page(name: str) -> TiledPage:
        write_notebook(lab_folder / f"tiled_{name}.ipynb", f"{PLANE}NAME = {name!r}{CODE}")
        open_notebook(page, lab_url, f"tiled_{name}.ipynb")
        run_all_cells(page)
        panel = TiledPage(page)
        if name != "long":
            panel.settle()
        return panel

    return open_page


@pytest.fixture(scope="module")
def plane() -> Plane:
    names: dict[str, Callable[[], Plane]] = {}
    exec(PLANE, names)
    return names["plane"]()


def expected_color(plane: Plane, head: int, n: int, m: int) -> list[int]:
    limit = max(plane.peak(head) for head in range(plane.n_heads))
    colors = color_scale(np.array([limit]), "linear", signed=True)
    place = int(raster(np.array([plane.cell(head, n, m).weight]), colors)[0])
    return [*map(int, color_table(DIVERGING)[place]), 255]


def test_from_the_whole_triangle_to_single_cells(
    page: Page, tiled: Callable[[str], TiledPage], plane: Plane
) -> None:
    panel = tiled("quick")
    assert panel.view == (0, 0, LENGTH)
    expect(panel.note).to_contain_text("16 tokens per pixel")
    expect(panel.note).to_contain_text("not computed")
    nodes = panel.root.locator("*").count()
    for name in ("zoom out", "whole"):
        expect(panel.root.get_by_role("button", name=name, exact=True)).to_be_disabled()

    # The wheel zooms around the pointer: what is under it stays there.
    x, y = panel.point(1, 0.25, 0.75)
    before = panel.tokens_at(1, x, y)
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -250)
    expect(panel.note).not_to_contain_text("16 tokens per pixel")
    panel.settle()
    n, m, tokens = panel.view
    assert tokens == pytest.approx(LENGTH * np.exp(-3), rel=1e-3)
    assert panel.tokens_at(1, x, y) == pytest.approx(before, abs=0.02 * tokens)

    # Dragging moves what is under the pointer with it.
    side = panel.squares()[0][2]
    page.mouse.down()
    page.mouse.move(x + 30, y - 50, steps=5)
    page.mouse.up()
    panel.settle()
    view = panel.view
    assert view[0] == pytest.approx(n + 50 / side * tokens, abs=0.02 * tokens)
    assert view[1] == pytest.approx(m - 30 / side * tokens, abs=0.02 * tokens)
    assert view[2] == tokens

    # Single cells, in the colours of their values, and their numbers.
    panel.press("whole")
    panel.press("to the selected token")
    expect(panel.note).to_contain_text("Each square is one weight.")
    n, m, tokens = panel.view
    assert n < SELECTED < n + tokens
    for head in (0, 1):
        for row, column in ((0.3, 0.1), (0.8, 0.4), (0.9, 0.3)):
            cell = int(n + row * tokens), int(m + column * tokens)
            place = panel.point(head, (cell[1] + 0.5 - m) / tokens, (cell[0] + 0.5 - n) / tokens)
            color, expected = panel.color(*place), expected_color(plane, head, *cell)
            assert np.abs(np.subtract(color, expected)).max() <= 4  # one step of the scale
            page.mouse.move(*place)
            weight = plane.cell(head, *cell).weight
            expect(panel.readout).to_have_text(f"{head}: {cell[0]} reads {cell[1]}: {weight:.6g}")
    page.mouse.click(*place)
    page.mouse.move(1, 1)
    expect(panel.readout).to_have_text(f"1: {cell[0]} reads {cell[1]}: {weight:.6g}")
    assert panel.root.locator("*").count() == nodes
    assert "<b>" not in panel.root.inner_html()

    # A double click gives back what its first click pinned and selected.
    place = panel.point(0, 0.2, 0.5)
    page.mouse.dblclick(*place)
    page.mouse.move(1, 1)
    panel.settle()
    assert panel.view == (0, 0, LENGTH)
    expect(panel.readout).to_have_text(f"1: {cell[0]} reads {cell[1]}: {weight:.6g}")


def test_the_keyboard_does_what_the_mouse_does(
    page: Page, tiled: Callable[[str], TiledPage]
) -> None:
    panel = tiled("quick")
    panel.canvas.focus()
    for _ in range(3):
        page.keyboard.press("+")
    panel.settle()
    n, m, tokens = panel.view
    assert tokens == pytest.approx(LENGTH / 1.5**3)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    panel.settle()
    assert panel.view == pytest.approx((n + 0.1 * tokens, m - 0.1 * tokens, tokens))
    page.keyboard.press("Shift+ArrowUp")
    panel.settle()
    assert panel.view == pytest.approx((n - 0.9 * tokens, m - 0.1 * tokens, tokens))
    page.keyboard.press("-")
    page.keyboard.press("Home")
    panel.settle()
    assert panel.view == (0, 0, LENGTH)
    page.keyboard.press("Enter")
    panel.settle()
    n, m, tokens = panel.view
    assert n + tokens / 2 == SELECTED + 0.5
    page.keyboard.press("PageDown")
    spot = f"1: {int(n + tokens / 2)} reads {int(m + tokens / 2)}: "
    expect(panel.readout).to_contain_text(spot)
    page.keyboard.press("Space")
    panel.canvas.blur()
    expect(panel.readout).to_contain_text(spot)
    panel.canvas.focus()
    page.keyboard.press("Escape")
    expect(panel.readout).to_have_text("")
    label = panel.canvas.get_attribute("aria-label") or ""
    assert re.search(r"weights of 3,000 tokens, head 0, head 1; n 1,2\d\d", label)
    assert "Each square is one weight." in label

    panel.root.get_by_role("button", name="table").click()
    table = panel.root.get_by_role("table").first
    expect(table.locator("caption")).to_contain_text("Head 0")
    expect(table.locator("tbody th").first).to_have_text(re.compile(r"^1,2\d\d “<b>12\d\d”$"))


class Questions:
    """How many windows the page has asked of the kernel, and how many answers it waited for."""

    def __init__(self, page: Page, sockets: list[WebSocket]) -> None:
        self.asked = self.unanswered = self.most_unanswered = 0
        for socket in sockets:
            socket.on("framesent", lambda payload: self._note(payload, 1))
            socket.on("framereceived", lambda payload: self._note(payload, -1))

    def _note(self, payload: str | bytes, change: int) -> None:
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        if '"pictures"' in text:
            self.asked += change > 0
            self.unanswered += change
            self.most_unanswered = max(self.most_unanswered, self.unanswered)


def test_a_slow_kernel_is_asked_for_one_window_at_a_time(
    page: Page, tiled: Callable[[str], TiledPage], sockets: list[WebSocket]
) -> None:
    panel = tiled("slow")
    for _ in range(5):
        panel.press("zoom in")
    _, m, tokens = panel.view
    x, y = panel.point(0, 0.2, 0.8)
    before = panel.color(x, y - 1)
    questions = Questions(page, sockets)
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, 31):
        page.mouse.move(x + 2 * i, y - i)
    # At once, without the kernel: the last picture, where it belongs now.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    side = panel.squares()[0][2]
    assert panel.view[1] == pytest.approx(m - 60 / side * tokens, abs=0.02 * tokens)
    assert panel.color(x + 60, y - 31)[3] == 255
    assert np.abs(np.subtract(panel.color(x + 60, y - 31), before)).max() <= 40
    page.mouse.up()
    panel.settle()
    assert panel.view[1] == pytest.approx(m - 60 / side * tokens, abs=0.02 * tokens)
    # However slow the machine: never a second question before the first is answered.
    assert questions.asked >= 1
    assert questions.most_unanswered == 1
    page.wait_for_function("() => true")  # what was received before is noted
    assert questions.unanswered == 0


@pytest.fixture
def sockets(page: Page) -> list[WebSocket]:
    """The page's connections, from before it is opened."""
    sockets_opened: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets_opened.append(socket))
    return sockets_opened


def test_preparing_can_be_cancelled_and_taken_up_again(
    page: Page, tiled: Callable[[str], TiledPage]
) -> None:
    panel = tiled("long")
    status = panel.root.locator(".rv-tiled-status")
    expect(status).to_be_visible()
    expect(status.get_by_role("progressbar")).to_be_visible()
    status.get_by_role("button", name="cancel").click()
    expect(status).to_contain_text("not drawn", timeout=1500)
    expect(status.get_by_role("progressbar")).to_be_hidden()
    status.get_by_role("button", name="continue").click()
    expect(status.get_by_role("button", name="cancel")).to_be_visible()
    expect(status).to_be_hidden(timeout=120_000)
    panel.settle()
    assert panel.view == (0, 0, 40_000)
    expect(panel.note).to_contain_text("tokens per pixel")


def test_any_width(page: Page, tiled: Callable[[str], TiledPage]) -> None:
    panel = tiled("quick")
    for width in (360, 1600):
        panel.root.evaluate("(el, width) => { el.style.width = `${width}px`; }", width)
        page.wait_for_function(
            """([el, width]) => {
              const canvas = el.querySelector("canvas");
              return canvas.clientWidth <= width && canvas.width === canvas.clientWidth;
            }""",
            arg=[panel.root.element_handle(), width],
        )
        panel.settle()
        outer = panel.root.bounding_box()
        assert outer
        edges = [x + side for x, _, side in panel.squares()]
        for button in panel.root.locator(".rv-tiled-tools button").all():
            box = button.bounding_box()
            assert box
            edges.append(box["x"] + box["width"])
        assert len(edges) == 6
        assert max(edges) <= outer["x"] + width
        assert min(side for _, _, side in panel.squares()) > 90
    panel.press("to the selected token")
    expect(panel.note).to_contain_text("Each square is one weight.")
