"""The three modes on one clock: steps, sums, precision, chunk sizes, and what was measured."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

import retnet_viz as rv
from retnet_viz.experiments import chunk_curve
from tests.support.modes_steps import CHUNK, HEAD, LAYER, LENGTH, MODES, TEXT, ModesPage, player_of


def show_race(board: ModesPage) -> None:
    """TEXT side by side, measured."""
    player_of(board, "chunkwise")
    board.open_view("Side by side")
    board.wait_measured()


def test_the_modes_race_on_one_clock(anywhere: ModesPage) -> None:
    show_race(anywhere)
    race, page = anywhere.race, anywhere.page
    counts = race.locator(".rv-timeline-count")
    race.focus()
    page.keyboard.press("Home")
    expect(race).to_have_attribute("data-tick", "0")
    expect(counts).to_have_text(["step 0 of 1", "step 0 of 11", "step 0 of 3"])
    page.keyboard.press("ArrowRight")
    expect(counts).to_have_text(["done: 1 step", "step 1 of 11", "step 1 of 3"])
    race.get_by_role("button", name="Step forward (→)").click()
    race.get_by_role("button", name="Step forward (→)").click()
    expect(counts).to_have_text(["done: 1 step", "step 3 of 11", "done: 3 steps"])
    race.get_by_role("button", name="Step back (←)").click()
    expect(counts).to_have_text(["done: 1 step", "step 2 of 11", "step 2 of 3"])
    boxes = race.locator(".rv-timeline-column").evaluate_all(BOXES)
    race.get_by_label("Speed").select_option("8")
    race.focus()
    page.keyboard.press("Space")
    expect(race).to_have_attribute("data-tick", "11")
    expect(race).to_have_attribute("data-playing", "false")
    expect(counts).to_have_text(["done: 1 step", "done: 11 steps", "done: 3 steps"])
    assert race.locator(".rv-timeline-column").evaluate_all(BOXES) == boxes
    race.get_by_label("Speed").select_option("1")
    race.get_by_role("button", name="Play (space)").click()  # anew from the start
    page.wait_for_function(
        "el => [2, 3, 4, 5].includes(Number(el.dataset.tick))", arg=race.element_handle()
    )
    race.get_by_role("button", name="Pause (space)").click()
    expect(race).to_have_attribute("data-playing", "false")
    assert 2 <= int(race.get_attribute("data-tick") or 0) < LENGTH


BOXES = (
    "all => all.map(({ offsetLeft, offsetTop, offsetWidth, offsetHeight }) => "
    "[offsetLeft, offsetTop, offsetWidth, offsetHeight])"
)


def test_the_race_adds_up_to_the_schedules(anywhere: ModesPage, model) -> None:
    show_race(anywhere)
    rows = {row[0]: row[1:] for row in anywhere.read_table(anywhere.race)}
    assert rows[""] == list(MODES)
    trace = rv.trace(model, TEXT, "chunkwise", CHUNK)
    schedules = [rv.schedule(trace.in_mode(mode), LAYER, HEAD) for mode in MODES]
    heads = trace.n_heads

    def three_digits(value: float) -> str:
        return f"{value:,.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")

    assert rows["steps in all"] == [str(len(schedule)) for schedule in schedules]
    assert rows["FLOPs in all, MFLOP"] == [
        three_digits(heads * sum(step.flops for step in schedule.steps) / 1e6)
        for schedule in schedules
    ]
    assert rows["most held in all, kB"] == [
        three_digits(heads * max(step.held_bytes for step in schedule.steps) / 1e3)
        for schedule in schedules
    ]
    assert all(float(entry.replace(",", "")) > 0 for entry in rows["time in all, ms"])


def test_the_precision_changes_how_far_the_modes_are_apart(board: ModesPage) -> None:
    show_race(board)
    apart = {}
    for precision in ("float64", "bfloat16", "float32"):
        board.choose(precision)
        expect(board.root.locator(".rv-view-side .rv-bar")).to_contain_text(f"modes in {precision}")
        apart[precision] = float(board.meter.inner_text())
    board.wait_measured()
    assert 0 < apart["float64"] < 1e-4 * apart["float32"]
    assert apart["float32"] < 1e-2 * apart["bfloat16"]


def test_the_chunk_sizes_are_those_that_were_measured(board: ModesPage, model) -> None:
    show_race(board)
    plot = board.plot("Time and peak memory by chunk size")
    header, *rows = board.read_table(plot)
    sizes = [1, 2, 4, 8, LENGTH]
    assert [int(row[0]) for row in rows] == sizes
    assert header == ["chunk size", "time, ms", "predicted, ms", "memory, kB", "predicted, kB"]
    time, memory = 1, 3
    assert all(float(row[time]) > 0 for row in rows)
    curve = chunk_curve(rv.trace(model, TEXT, "chunkwise", CHUNK), LAYER, sizes=sizes)
    assert [float(row[memory]) for row in rows] == pytest.approx(
        [peak / 1e3 for peak in curve.peak_bytes], rel=1e-3
    )


def test_measuring_can_be_cancelled(board: ModesPage, model) -> None:
    player_of(board, "chunkwise")
    board.text.fill("word and tree " * 200)
    expect(board.player.tokens).to_have_count(602)
    board.open_view("Side by side")
    board.root.get_by_role("button", name="Cancel", exact=True).click()
    expect(board.activity).to_have_text("cancelled")
    expect(board.root.get_by_role("button", name="Measure again", exact=True)).to_be_visible()
    show_race(board)  # a text that is soon measured
    expect(board.activity).to_have_text("")
    counts = board.race.locator(".rv-timeline-count")
    expect(counts).to_have_text([re.compile("of 1$|1 step$"), re.compile("11"), re.compile("3")])
    again = board.root.get_by_role("button", name="Measure again", exact=True)
    again.click()
    expect(board.root.locator(".rv-stale")).to_have_count(2)
    board.wait_measured()
