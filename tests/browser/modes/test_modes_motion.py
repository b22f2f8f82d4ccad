"""Nothing moves but what plays, and that rests where it is out of sight or not wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

import retnet_viz as rv
from tests.support.explorer_steps import ExplorerPage
from tests.support.modes_steps import (
    LAST_OF_STEP,
    LENGTH,
    MODES,
    ONE_MORE,
    OTHER,
    TOKENS,
    ModesPage,
    Player,
    expect_step,
    player_of,
)

SHIFTS = """() => {
    window.shifts = [];
    const note = entries => entries.forEach(entry => {
        if (entry.value > 0.001) window.shifts.push(entry.value);
    });
    window.shiftObserver?.disconnect();
    const observer = new PerformanceObserver(list => note(list.getEntries()));
    observer.observe({ type: "layout-shift" });
    window.shiftObserver = observer;
    window.shiftsSoFar = () => (note(observer.takeRecords()), window.shifts);
}"""


@pytest.mark.parametrize(
    ("where", "mode"),
    [*(("board", mode) for mode in MODES), ("lab_board", "recurrent"), ("lab_board", "chunkwise")],
)
def test_no_step_moves_anything(request: pytest.FixtureRequest, where: str, mode: str) -> None:
    player = player_of(request.getfixturevalue(where), mode)
    player.press("Home")
    expect_step(player, mode, 0)
    boxes = player.boxes()
    assert len(boxes) > 30
    if mode == "parallel":  # one step, but of another token
        for token in range(LENGTH - 2, -1, -3):
            player.press("ArrowUp", "ArrowUp", "ArrowUp")
            expect(player.root).to_have_attribute("data-token", str(max(0, token - 2)))
            assert player.boxes() == boxes
    for step in range(1, len(LAST_OF_STEP[mode])):
        player.press("ArrowRight")
        expect_step(player, mode, step)
        assert player.boxes() == boxes


def test_a_last_chunk_of_one_token_moves_nothing(board: ModesPage) -> None:
    board.show(ONE_MORE, [*TOKENS, "·one"], "recurrent", chunk=LENGTH)
    board.choose("Chunkwise")
    player = board.player  # the first that this mode draws is its last step
    player.expect_at(1, 2, LENGTH)
    boxes = player.boxes()
    player.press("Home")
    player.expect_at(0, 2, LENGTH - 1)
    assert player.boxes() == boxes
    box = player.picture("inner").locator("canvas").bounding_box()
    assert box
    assert box["height"] > 40  # eleven rows, not squeezed into the place of one


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_the_browser_sees_no_layout_shift_while_playing(board: ModesPage, mode: str) -> None:
    player = player_of(board, mode)
    player.speed.select_option("30")
    player.press("Home")
    expect_step(player, mode, 0)
    board.page.evaluate(SHIFTS)
    player.press(" ")
    player.wait_for_step(len(LAST_OF_STEP[mode]) - 1)
    player.expect_playing(False)
    assert board.page.evaluate("shiftsSoFar()") == []


def test_little_motion_where_a_person_wants_little(board: ModesPage) -> None:
    player = player_of(board, "recurrent")
    player.speed.select_option("30")
    board.page.emulate_media(reduced_motion="reduce")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    times = player.root.evaluate(
        """el => new Promise(resolve => {
            const times = [];
            let last = el.dataset.step;
            new MutationObserver((_, observer) => {
                if (el.dataset.step === last) return; // drawn once more
                last = el.dataset.step;
                times.push(performance.now());
                if (times.length < 4) return;
                observer.disconnect();
                resolve(times);
            }).observe(el, { attributeFilter: ["data-step"] });
            el.querySelector(".rv-play").click();
        })"""
    )
    player.press(" ")
    player.expect_playing(False)
    board.page.emulate_media(reduced_motion="null")
    # Two a second; a step that came late may be followed sooner, as long as the pace is kept.
    assert times[-1] - times[0] > 1000 * 3 / 2 * 0.66
    assert all(later - earlier > 100 for earlier, later in pairwise(times))


def test_the_explorers_stage_rests_until_it_is_seen(page: Page, voila_url: str, model) -> None:
    page.set_viewport_size({"width": 1440, "height": 560})
    page.goto(voila_url)
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    player = Player(page, explorer_page.root)
    box = player.root.bounding_box()
    assert box
    assert box["y"] > 560
    n_drawings = player.root.get_attribute("data-drawn")
    explorer_page.type(OTHER)
    length = rv.trace(model, OTHER).length
    expect(explorer_page.tokens).to_have_count(length)
    expect(explorer_page.next.locator(".gtitle")).to_contain_text(f"n = {length - 1}")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert player.root.get_attribute("data-drawn") == n_drawings

    player.root.scroll_into_view_if_needed()
    player.expect_drawn()
    explorer_page.choose_mode("recurrent")
    player.root.scroll_into_view_if_needed()
    player.expect_at(length - 1, length, length - 1)
    player.press("Home", "ArrowRight", "ArrowRight")
    player.expect_at(2, length, 2)
    expect(explorer_page.next.locator(".gtitle")).to_contain_text("n = 2")
    player.press("End")
    player.expect_at(length - 1, length, length - 1)
    expect(explorer_page.next.locator(".gtitle")).to_contain_text(f"n = {length - 1}")


@pytest.fixture
def on_a_phone(board: ModesPage) -> Iterator[ModesPage]:
    board.page.set_viewport_size({"width": 390, "height": 844})
    yield board
    board.page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("mode", MODES)
def test_on_a_phone_nothing_of_a_step_is_cut(on_a_phone: ModesPage, mode: str) -> None:
    player = player_of(on_a_phone, mode)
    box = player.root.bounding_box()
    assert box
    assert box["width"] <= 390
    controls = [
        *player.root.get_by_role("button").all(),
        player.range,
        player.counter,
        player.speed,
    ]
    assert len(controls) > 7
    for control in controls:
        place = control.bounding_box()
        assert place
        assert place["x"] >= box["x"]
        assert place["x"] + place["width"] <= box["x"] + box["width"]
    for picture in player.root.locator(".rv-picture canvas").all():
        place = picture.bounding_box()
        assert place
        assert min(place["width"], place["height"]) >= 20
    cut = "el => el.scrollHeight > el.clientHeight"
    assert not player.saying.evaluate(cut)
    if mode != "parallel":  # a sum over many tokens is as wide as it is, and can be scrolled
        assert player.formula.evaluate("el => el.scrollWidth <= el.clientWidth")
        assert not player.formula.evaluate(cut)
