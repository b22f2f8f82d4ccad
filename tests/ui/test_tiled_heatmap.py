"""The matrix of long texts without a browser: what it sends, says and prepares, and when."""

from __future__ import annotations

import logging
import math
import re
import threading
import time

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.figures.base.scale import SCALES, ColorScale, color_scale, raster
from retnet_viz.trace.tiles.pictures import KINDS, RESOLUTION, Plane, View
from retnet_viz.ui.panels.tiled import drawing
from retnet_viz.ui.panels.tiled.tiled_captions import at_least, note
from retnet_viz.ui.panels.tiled.tiled_heatmap import MOST_TABLE, OVERVIEW_SIDE, TiledHeatmap

LENGTH, HEADS, WIDTH = 300, 3, 4
GAMMAS = (0.8, 0.95, 0.99)


def plane_of(kind="retention", length=LENGTH, seed=0, gammas=GAMMAS, **options):
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, len(gammas), length, WIDTH, generator=generator, dtype=torch.float64)
    return Plane(q, k, torch.tensor(gammas, dtype=torch.float64), kind, **options)


def dense(plane):
    """(H, T, T) float32 values as the cells give them, NaN above the diagonal."""
    lag = torch.arange(plane.length)[:, None] - torch.arange(plane.length)
    values = torch.ones(plane.n_heads, plane.length, plane.length, dtype=torch.float64)
    if plane.kind != "decay":
        values = plane._q @ plane._k.mT
    if plane.kind != "scores":
        values = values * plane.gamma[:, None, None] ** lag.clamp(min=0)
    return values.masked_fill(lag < 0, math.nan).float().numpy()


def pieces(start, stop):
    return [f" <{token}>" for token in range(start, stop)]


def describe_cell(cell):
    return "head {}: {} reads {}".format(*cell)


class Page:
    """A TiledHeatmap and what it sends to its page."""

    def __init__(self, describe=describe_cell):
        self.widget = TiledHeatmap(describe)
        self.sent = []
        self.widget.send = lambda content, buffers=(): self.sent.append((content, list(buffers)))

    def show(self, *arguments, **options):
        self.widget.show(*arguments, **options)
        self.widget.settle()

    def says(self, **content):
        self.widget._handle_custom_msg(content, [])
        return self.sent[-1] if self.sent else None

    def asks(self, name, about=None):
        """The answer to a question, and its buffers."""
        count = len(self.sent)
        self.widget._handle_custom_msg({"question": count, "ask": name, "about": about}, [])
        ((answer, buffers),) = self.sent[count:]
        assert answer.pop("answers") == count
        return answer, buffers

    def window(self, rows, cols, side, overview=False):
        request = {"rows": rows, "cols": cols, "side": side, "overview": overview}
        answer, buffers = self.asks("pictures", request)
        return answer["pictures"], buffers

    def read(self, *spot):
        return self.asks("cell", list(spot))[0]["text"]


@pytest.fixture
def page():
    return Page()


def places_of(picture, buffer):
    """(heads, height, width) of what was sent."""
    shape = (len(picture["heads"]), picture["height"], picture["width"])
    return np.frombuffer(buffer, np.uint8).reshape(shape)


@given(
    data=st.data(),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from(SCALES),
    heads=st.sampled_from([[0, 1, 2], [2, 0], [1]]),
)
def test_single_cells_have_the_colours_that_the_whole_plane_gives_them(data, kind, scale, heads):
    plane = plane_of(kind)
    full = dense(plane)
    causal = ~np.isnan(full[heads])
    limit = 1.0 if kind == "decay" else None
    colors = color_scale(full[heads][causal], scale, signed=kind != "decay", limit=limit)
    expected = raster(full[heads], colors, mask=causal)
    page = Page()
    page.show(plane, heads, scale=scale)
    assert page.widget.meta["ticks"] == colors.ticks()
    for _ in range(3):
        rows, cols = (sorted(data.draw(st.integers(0, LENGTH - 1)) for _ in "ab") for _ in "nm")
        (picture,), (buffer,) = page.window([rows[0], rows[1] + 1], [cols[0], cols[1] + 1], 400)
        assert picture["pixel"] == 1
        assert picture["heads"] == heads
        pixels = places_of(picture, buffer).astype(int)
        expected_colors = expected[:, slice(*picture["rows"]), slice(*picture["cols"])].astype(int)
        assert pixels.shape == expected_colors.shape
        assert ((pixels == 0) == (expected_colors == 0)).all()
        # Between two colours the rounding of float32 decides.
        assert np.abs(pixels - expected_colors).max() <= 1
        assert (pixels != expected_colors).mean() < 0.02


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_left_out_has_the_colour_of_zero(scale):
    colors = ColorScale(scale, 7.0, True)
    page = Page()
    page.show(plane_of(), [0], scale=scale)
    share = page.widget._drawing.resolution
    values = 7.0 * share * np.array([0.999, -0.999, 1.01, -1.01])
    zero = raster(np.zeros(1), colors)[0]
    assert list(raster(values, colors) == zero) == [True, True, False, False]
    assert scale != "linear" or share == pytest.approx(RESOLUTION)


def test_pixels_show_the_largest_of_their_cells(page):
    plane = plane_of()
    page.show(plane, [1, 2])
    (picture,), (buffer,) = page.window([0, LENGTH], [0, LENGTH], 60)
    p = picture["pixel"]
    assert p == 8
    places = places_of(picture, buffer)
    colors = page.widget._drawing.colors
    for i, head in enumerate([1, 2]):
        full = dense(plane)[head]
        for row, col in ((0, 0), (20, 20), (20, 19), (37, 36), (10, 20)):
            cells = full[row * p : row * p + p, col * p : col * p + p]
            cells = cells[~np.isnan(cells)]
            if not cells.size:
                assert places[i, row, col] == 0
                continue
            largest = cells[np.abs(cells).argmax()]
            assert abs(int(places[i, row, col]) - int(raster(largest, colors))) <= 1


@given(data=st.data(), length=st.integers(1, 200))
def test_moving_the_window_changes_no_colour_and_no_tokens_per_pixel(data, length):
    page = Page()
    page.show(plane_of(length=length), [0, 1])
    tokens = data.draw(st.integers(1, length))
    colors_of = {}
    for _ in range(4):
        n, m = (data.draw(st.integers(0, length - tokens)) for _ in "nm")
        (picture,), (buffer,) = page.window([n, n + tokens], [m, m + tokens], 50)
        places = places_of(picture, buffer)
        for i in range(picture["height"]):
            for j in range(picture["width"]):
                spot = (
                    picture["rows"][0] // picture["pixel"] + i,
                    picture["cols"][0] // picture["pixel"] + j,
                )
                colors = (picture["pixel"], *places[:, i, j])
                assert colors_of.setdefault(spot, colors) == colors


def test_the_whole_triangle_comes_with_a_window_where_it_is_asked_for(page):
    page.show(plane_of(), [0, 2])
    (picture, overview), (_, buffer) = page.window([10, 30], [5, 25], 40, overview=True)
    assert picture["rows"] == [10, 30]
    assert overview["rows"] == overview["cols"] == [0, LENGTH]
    assert overview["height"] <= OVERVIEW_SIDE + 1
    assert places_of(overview, buffer).any()
    assert "30" not in page.read(0, 12, 8)  # the window is pointed at, not the overview
    assert page.read(0, 12, 8) == "head 0: 12 reads 8"


def test_a_request_outside_the_text_or_of_any_size_is_answered(page):
    page.show(plane_of(), [0, 1, 2])
    for rows, side in (([-50, 9999], 10**9), ([299, 299], 1), ([400, 500], 0), ([20, 3], 7)):
        (picture,), (buffer,) = page.window(rows, rows, side)
        assert 0 <= picture["rows"][0] < picture["rows"][1] <= LENGTH
        assert len(buffer) == 3 * picture["height"] * picture["width"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "MOST_PIXELS", 3 * 20**2)
        (picture,), _ = page.window([0, LENGTH], [0, LENGTH], 300)
        assert picture["height"] <= 21


def test_what_fails_is_answered_with_a_sentence(page, caplog):
    page.show(plane_of(), [0])
    for request in ({}, {"rows": "x", "cols": [0, 1], "side": 3}):
        with caplog.at_level(logging.CRITICAL):
            answer, buffers = page.asks("pictures", request)
        assert buffers == []
        assert "could not be computed" in answer["error"]
    page.window([0, 9], [0, 9], 9)
    for spot in ([0, LENGTH, 0], [1, 0, 0], [0, -1, 0], [0, 0], "0", [0, 1.5, 0], [True, 0, 0]):
        assert page.asks("cell", spot)[0] == {"error": "This cell is not shown any more."}
        sent = len(page.sent)
        page.says(pin=spot)
        assert len(page.sent) == sent
        assert page.widget.cell == []


# -- tokens, readouts, tables ---------------------------------------------------------------------


def test_tokens_come_as_text_where_they_can_be_written(page):
    page.show(plane_of(), [0], pieces=pieces)
    (picture,), _ = page.window([10, 14], [5, 8], 100)
    assert picture["names"] == [["·<10>", "·<11>", "·<12>", "·<13>"], ["·<5>", "·<6>", "·<7>"]]
    (picture,), _ = page.window([0, LENGTH], [0, LENGTH], 400)
    assert picture["names"] == [[], []]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixel_is_read_by_its_largest_cell(page, kind):
    plane = plane_of(kind)
    full = dense(plane)
    page.show(plane, [0, 1, 2])
    (picture,), _ = page.window([0, LENGTH], [0, LENGTH], 40)
    p = picture["pixel"]
    for head, n, m in ((2, 100, 95), (1, 299, 299), (0, 8, 8), (2, 64, 40)):
        text = page.read(head, n, m)
        i, j = n // p * p, m // p * p
        spans = re.findall(r"[nm] (\d+)–(\d+)", text)
        assert spans[0] == (str(i), str(min(i + p, LENGTH) - 1))
        assert spans[1] == (str(j), str(min(j + p, LENGTH) - 1))
        cells = np.nan_to_num(full[head, i : i + p, j : j + p])
        place = np.unravel_index(np.abs(cells).argmax(), cells.shape)
        assert text.endswith(describe_cell((head, i + place[0], j + place[1])))
        value = float(re.search(r"is (-?[\d.e+-]+)\. ", text)[1].replace(",", ""))
        assert value == pytest.approx(cells[place], rel=0.01)
    assert "cannot read" in page.read(1, 0, 299)
    if kind == "retention":  # beyond the reach of the fastest head
        bound = page.widget._views[0].bound
        text = page.read(0, 299, 0)
        limit = float(re.search(r"at most ([\d.e-]+) in magnitude", text)[1])
        assert bound <= limit <= 1.2 * bound


def test_a_click_pins_the_largest_cell_of_a_pixel_and_selects_its_token(page):
    plane = plane_of()
    page.show(plane, [0, 1])
    changes = []
    page.widget.observe(
        lambda _: changes.append((page.widget.cell, page.widget.selected)), ["cell"]
    )
    page.window([0, LENGTH], [0, LENGTH], 40)
    page.says(pin=[1, 100, 99])
    n, m = plane.largest(1, range(96, 104), range(96, 104))
    assert page.widget.cell == [1, n, m]
    assert page.widget.selected == n
    assert page.widget.readout == describe_cell((1, n, m))
    assert changes == [([1, n, m], n)]  # never one without the other
    page.window([90, 110], [90, 110], 40)
    page.says(pin=[0, 100, 95])
    assert page.widget.cell == [0, 100, 95]
    page.says(pin=[0, 100, 95])
    assert page.widget.cell == []
    assert page.widget.selected == 100
    assert page.widget.readout == ""
    page.says(restore={"cell": [1, n, m], "selected": 7})
    assert (page.widget.cell, page.widget.selected) == ([1, n, m], 7)


def test_a_pinned_cell_stays_while_it_is_drawn():
    texts = ["first"]
    page = Page(lambda cell: f"{texts[0]} {cell}")
    page.show(plane_of(), [0, 1])
    page.widget.cell = [1, 200, 100]
    assert page.widget.readout == "first (1, 200, 100)"
    texts[0] = "second"
    page.show(plane_of(seed=1), [0, 1])
    assert page.widget.readout == "second (1, 200, 100)"
    page.show(plane_of(length=200), [0, 1])
    assert (page.widget.cell, page.widget.readout) == ([], "")
    page.widget.cell = [1, 20, 10]
    page.show(plane_of(), [0])
    assert page.widget.cell == []


def test_a_picture_of_an_older_plane_is_not_read(page):
    page.show(plane_of(), [0, 1])
    page.window([0, LENGTH], [0, LENGTH], 40)
    assert "largest" in page.read(1, 50, 49)
    page.show(plane_of(seed=1), [0, 1])
    assert page.read(1, 50, 49) == describe_cell((1, 50, 49))
    assert page.asks("tables")[0] == {"tables": []}


def test_tables_have_the_numbers_of_the_window(page):
    plane = plane_of()
    full = dense(plane)
    page.show(plane, [0, 2], pieces=pieces)
    page.window([90, 110], [80, 100], 40)
    tables = page.asks("tables")[0]["tables"]
    assert [caption.split(",")[0] for caption, _, _ in tables] == ["Head 0", "Head 2"]
    for head, (_, header, rows) in zip([0, 2], tables, strict=True):
        assert header == ["n \\ m", *(f"{m} “·<{m}>”" for m in range(80, 100))]
        assert [row[0] for row in rows] == [f"{n} “·<{n}>”" for n in range(90, 110)]
        for n, row in zip(range(90, 110), rows, strict=True):
            for m, text in zip(range(80, 100), row[1:], strict=True):
                if m > n:
                    assert text == ""
                elif text == "≈ 0":
                    assert abs(full[head, n, m]) <= page.widget._views[head].bound
                else:
                    assert float(text) == pytest.approx(full[head, n, m], rel=0.01)
    page.window([0, LENGTH], [0, LENGTH], 400)
    for _, header, rows in page.asks("tables")[0]["tables"]:
        assert len(rows) <= MOST_TABLE
        assert len(header) <= MOST_TABLE + 1
        assert rows[0][0] == "0–7"
        assert rows[-1][0] == "296–299"


# -- words ----------------------------------------------------------------------------------------


def view(pixel=1, reach=None, bound=0.0, exact=True):
    return View(torch.zeros(2, 2), range(2), range(2), pixel, 1.0, reach, bound, 0.0, exact)


def test_the_note_has_the_numbers_of_the_views():
    assert note("retention", {0: view()}) == "Each square is one weight."
    text = note("retention", {0: view(128, 1402, 0.000391)})
    assert text == (
        "128 tokens per pixel: each pixel shows the largest of 128 × 128 weights, with its sign. "
        "From 1,402 tokens back on γⁿ⁻ᵐ leaves at most 0.0004, under half a colour step: not "
        "computed."
    )
    both = note("retention", {3: view(2, 9000, 1e-3), 1: view(2, 70, 2e-3), 0: view(2, 80, 1e-3)})
    assert "From 70 tokens back on in head 1 and from 9,000 in head 3" in both
    assert "at most 0.002," in both
    assert note("decay", {0: view(4)}).endswith("the largest of 4 × 4 decays.")
    assert "left out" in note("scores", {0: view(4, None, 0.01)})


def test_the_note_names_the_heads_of_which_only_bounds_are_known():
    bound = view(8, 500, 1e-3, exact=False)
    text = note("retention", {0: view(8), 2: bound, 5: bound})
    assert text.startswith("8 tokens per pixel: each pixel shows the largest")
    assert "Heads 2 and 5 are grey" in text
    assert "upper bound" in text
    alone = note("scores", {1: view(8, exact=False)})
    assert alone.startswith("Head 1 is grey")
    assert "γ" not in alone
    assert "shows the largest" not in alone


@given(st.floats(1e-12, 1e12))
def test_a_bound_is_never_told_as_less_than_it_is(value):
    limit = float(at_least(value).replace(",", ""))
    assert value * (1 - 1e-6) <= limit <= 1.11 * value


def test_what_has_only_bounds_is_marked_and_read_as_such(page):
    plane = plane_of(gammas=(0.8, 1.0), max_cells=1000, max_view_cells=1000)
    page.show(plane, [0, 1])
    (picture,), _ = page.window([0, LENGTH], [0, LENGTH], 40)
    assert picture["bounds"] == [0, 1]
    assert "upper bound" in picture["note"]
    text = page.read(1, 200, 100)
    limit = float(re.search(r"larger in magnitude than ([\d.]+)", text)[1])
    assert limit >= np.abs(dense(plane)[1, 200:208, 96:104]).max()
    page.says(pin=[1, 200, 100])
    assert page.widget.cell == [1, 200, 100]


# -- preparing ------------------------------------------------------------------------------------


class Slow(Plane):
    """A plane that takes steps until it is let go (or 20 seconds), and counts its users."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.go = threading.Event()
        self.steps = 0
        self.users = 0
        self.crowded = False

    def wait(self, progress):
        self.users -= 1
        progress(self.steps, 10**6)
        self.crowded |= self.users > 0
        self.users += 1

    def prepare(self, head, limit=None, resolution=RESOLUTION, progress=None):
        self.users += 1
        try:
            while head > 0 and self.steps < 2000 and not self.go.wait(0.01):
                self.steps += 1
                self.wait(progress)
            super().prepare(head, limit, resolution)
        finally:
            self.users -= 1

    def view(self, *arguments, **options):
        self.crowded |= self.users > 0
        return super().view(*arguments, **options)


def slow_plane(seed=0):
    plane = plane_of(seed=seed)
    return Slow(plane._q, plane._k, plane.gamma)


def until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_heads_are_drawn_as_they_are_ready_while_the_next_are_prepared(page):
    plane = slow_plane()
    page.widget.show(plane, [0, 1, 2])
    until(lambda: page.widget.ready == [0] and plane.steps > 0)
    for _ in range(20):  # between the steps, never in one
        (picture,), (buffer,) = page.window([0, LENGTH], [0, LENGTH], 40)
        assert picture["heads"] == [0]
        assert len(buffer) == picture["height"] * picture["width"]
    until(lambda: page.widget.status.get("text") == "Preparing head 1")
    assert page.widget.status["state"] == "preparing"
    assert 0.5 < page.widget.status["done"] < 1
    plane.go.set()
    page.widget.settle()
    assert page.widget.ready == [0, 1, 2]
    assert page.widget.status == {"state": "idle"}
    assert not plane.crowded


def test_cancelling_keeps_what_is_ready_and_can_be_taken_back(page):
    plane = slow_plane()
    page.widget.show(plane, [0, 1, 2])
    until(lambda: page.widget.ready == [0])
    page.says(cancel=True)
    assert page.widget.status["text"] == "Stopped: Heads 1 and 2 are not drawn."
    page.widget._thread.join(1)
    assert not page.widget._thread.is_alive()
    assert page.widget.status["state"] == "stopped"
    assert page.window([0, 9], [0, 9], 40)[0][0]["heads"] == [0]
    plane.go.set()
    page.says(resume=True)
    page.widget.settle()
    assert page.widget.ready == [0, 1, 2]
    page.says(cancel=True)  # too late to mean anything
    page.says(resume=True)
    assert page.widget.status == {"state": "idle"}


def test_a_newer_plane_ends_the_preparation_of_the_older(page):
    old, new = slow_plane(), plane_of(seed=1, length=100)
    page.widget.show(old, [0, 1, 2])
    until(lambda: page.widget.ready == [0])
    thread, version = page.widget._thread, page.widget.meta["version"]
    page.show(new, [2, 1])
    thread.join(1)
    assert not thread.is_alive()
    assert page.widget.meta["version"] > version
    assert page.widget.meta["length"] == 100
    assert page.widget.ready == [2, 1]
    page.widget.close()


def test_a_window_asked_for_before_anything_is_ready_is_answered(page):
    answer, buffers = page.asks("pictures", {"rows": [0, 1], "cols": [0, 1], "side": 9})
    assert answer == {"version": 0, "pictures": []}
    assert buffers == []
    page.show(None)
    assert page.widget.meta["length"] == 0
    assert page.window([0, 1], [0, 1], 9)[0] == []
    assert page.asks("tables")[0] == {"tables": []}


def test_what_cannot_be_prepared_is_said_and_logged(page, caplog):
    broken = plane_of()
    broken._k[1, 5, 0] = math.nan
    page.show(broken, [0, 1])
    status = page.widget.status
    assert status["state"] == "failed"
    assert "finite" in status["text"]
    assert "could not be prepared" in caplog.text
    page.show(plane_of(), [0])  # and the next is as good as new
    assert page.widget.status == {"state": "idle"}
    assert page.widget.ready == [0]


def test_errors_leave_what_is_shown(page):
    page.show(plane_of(), [0])
    before = page.widget.meta
    with pytest.raises(ValueError, match="scale must be one of"):
        page.widget.show(plane_of(), [0], scale="cubic")
    with pytest.raises(IndexError, match=r"head 3 is outside 0 \.\. 2"):
        page.widget.show(plane_of(), [0, 3])
    with pytest.raises(traitlets.TraitError):
        page.widget.cell = ["x"]
    assert page.widget.meta == before
    assert page.widget.ready == [0]


def test_a_mark_made_while_the_thread_tells_something_reaches_the_page():
    """`hold_sync` of two threads at once loses what one set between the other's send and clear."""
    reported = threading.Event()
    page = Page(lambda cell: f"read {reported.wait(5)}")  # holds the mark up once it set its token
    page.show(plane_of(), [0])
    marker = threading.Thread(target=page.widget.mark, args=(7, (0, 7, 3), "seven reads three"))
    arrived = {}
    send_state = page.widget.send_state

    def record(key=None):
        names = {key} if isinstance(key, str) else set(key or ())
        arrived.update({name: getattr(page.widget, name) for name in names})
        send_state(key)
        if not marker.ident:
            marker.start()
            marker.join(0.3)

    page.widget.send_state = record
    page.widget._set_traits(page.widget._drawing, ready=[])
    reported.set()
    marker.join()
    assert arrived["selected"] == 7
    assert arrived["readout"] == "seven reads three"
