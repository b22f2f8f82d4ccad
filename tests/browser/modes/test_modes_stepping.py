"""Stepping and playing, by buttons, keys and the range."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

import retnet_viz as rv
from tests.support.modes_steps import (
    LAST_OF_STEP,
    LENGTH,
    MODES,
    ONE_MORE,
    OTHER,
    ModesPage,
    expect_step,
    player_of,
)


@pytest.mark.parametrize("mode", MODES)
def test_buttons_and_keys_step(anywhere: ModesPage, mode: str) -> None:
    player = player_of(anywhere, mode)
    last = len(LAST_OF_STEP[mode]) - 1
    player.button("To the first step").click()
    expect_step(player, mode, 0)
    player.button("Step forward").click()
    expect_step(player, mode, min(1, last))
    player.button("Step back").click()
    expect_step(player, mode, 0)
    player.button("Step back").click()  # there is nothing before the first step
    expect_step(player, mode, 0)
    player.button("To the last step").click()
    expect_step(player, mode, last)
    player.press("ArrowLeft")
    expect_step(player, mode, max(0, last - 1))
    player.press("ArrowRight", "ArrowRight")
    expect_step(player, mode, last)
    player.press("Home")
    expect_step(player, mode, 0)
    player.press("End")
    expect_step(player, mode, last)
    # Up and down go from token to token; the step is the one that gives its output.
    token = LENGTH - 1
    for key, by in [("ArrowUp", -1)] * 4 + [("ArrowDown", 1)] * 2:
        player.press(key)
        token += by
    step = next(i for i, end in enumerate(LAST_OF_STEP[mode]) if token <= end)
    player.expect_at(step, last + 1, token)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_a_token_chosen_in_the_strip_is_a_step(board: ModesPage, mode: str) -> None:
    player = player_of(board, mode)
    player.tokens.nth(5).click()
    steps = len(LAST_OF_STEP[mode])
    player.expect_at(5 if mode == "recurrent" else 1, steps, 5)
    board.page.keyboard.press("ArrowLeft")  # the strip has the focus
    player.expect_at(4 if mode == "recurrent" else 1, steps, 4)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_dragging_the_range_scrubs(anywhere: ModesPage, mode: str) -> None:
    player = player_of(anywhere, mode)
    steps = len(LAST_OF_STEP[mode])
    player.scrub(steps - 1, 1, steps)
    expect_step(player, mode, 1)
    player.scrub(1, 0, steps)
    expect_step(player, mode, 0)
    player.range.focus()
    anywhere.page.keyboard.press("ArrowRight")
    expect_step(player, mode, 1)
    anywhere.page.keyboard.press(" ")  # plays here too
    player.expect_playing(True)
    anywhere.page.keyboard.press(" ")
    player.expect_playing(False)


@pytest.mark.parametrize("mode", MODES)
def test_playing_goes_on_to_the_end_and_stops(anywhere: ModesPage, mode: str) -> None:
    player = player_of(anywhere, mode)
    player.speed.select_option("30")
    ends = len(LAST_OF_STEP[mode]) - 1
    for start in ("button", "key"):  # from the last step it starts anew
        player.note_steps()
        if start == "button":
            player.button("Play").click()
        else:
            player.press(" ")
        if mode != "parallel":  # its one step is shown already
            player.wait_for_noted(ends)
            assert player.noted() == list(range(ends + 1))
        expect_step(player, mode, ends)
        player.expect_playing(False)


def test_playing_pauses_in_the_middle_and_goes_on(anywhere: ModesPage) -> None:
    player = player_of(anywhere, "recurrent")
    player.speed.select_option("2")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.expect_playing(True)
    player.wait_for_step(3)
    player.press(" ")
    player.expect_playing(False)
    stopped = player.step()
    assert 3 <= stopped < LENGTH - 1
    expect_step(player, "recurrent", stopped)
    player.button("Play").click()
    player.wait_for_step(stopped + 1)
    player.button("Pause").click()
    player.expect_playing(False)
    assert stopped < player.step() < LENGTH
    expect_step(player, "recurrent", player.step())
    # A step by hand stops playing too.
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.wait_for_step(2)
    player.press("End")
    player.expect_playing(False)
    expect_step(player, "recurrent", -1)


@pytest.mark.parametrize("token", [5, 9])
def test_a_token_chosen_while_playing_stops_it_there(board: ModesPage, token: int) -> None:
    player = player_of(board, "recurrent")
    player.speed.select_option("1")  # so that the choice and a step do not come at once
    player.tokens.nth(4).click()
    player.expect_at(4, LENGTH, 4)
    player.press(" ")
    player.wait_for_step(6)
    player.tokens.nth(token).click()
    player.expect_playing(False)
    expect_step(player, "recurrent", token)


@pytest.mark.parametrize("text", [OTHER, ONE_MORE])
def test_a_new_text_while_playing_is_shown_from_its_end(board: ModesPage, model, text: str) -> None:
    player = player_of(board, "recurrent")
    player.speed.select_option("8")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.wait_for_step(6)
    board.text.fill(text)
    length = rv.trace(model, text).length
    expect(player.tokens).to_have_count(length)
    player.expect_playing(False)
    player.expect_at(length - 1, length, length - 1)
    player.press("ArrowLeft")
    player.expect_at(length - 2, length, length - 2)
