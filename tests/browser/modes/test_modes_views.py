"""The other views, texts of all kinds, and links."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from playwright.sync_api import Page, expect

import retnet_viz as rv
from retnet_viz.experiments import ablate
from retnet_viz.figures.base.tokens import visible
from retnet_viz.ui.core.state.page_state import ExplorerState
from tests.support.explorer_steps import ExplorerPage
from tests.support.modes_steps import (
    CHUNK,
    HEAD,
    LAYER,
    LENGTH,
    MODES,
    OTHER,
    TEXT,
    ModesPage,
    modes_url,
    player_of,
)


def test_the_state_view_shows_the_states_of_the_trace(board: ModesPage, model) -> None:
    player_of(board, "recurrent")
    board.open_view("State")
    board.player.tokens.nth(5).click()
    trace = rv.trace(model, TEXT, "recurrent")
    token_names = {n: f"token {n} “{visible(trace.tokens[n])}”" for n in range(LENGTH)}
    state = trace.state(LAYER, 5).double()

    # Beside one another, the two figures that have the state's number in their titles.
    spectrum = board.plot("Singular values")
    expect(spectrum.locator(".rv-sentence")).to_contain_text(f"After {token_names[5]}")
    _, *rows = board.read_table(spectrum)
    differences = torch.tensor([[float(entry) for entry in row[1:]] for row in rows]).double()
    values = torch.linalg.svd(state)[1].T
    assert differences.shape == values.shape
    assert torch.allclose(differences, values, rtol=1e-3, atol=1e-3 * values.max().item())

    remembered = board.plot("remembers after")
    expect(remembered.locator(".rv-sentence")).to_contain_text(f"After {token_names[5]}")
    _, *rows = board.read_table(remembered)
    k, v = trace.k(LAYER)[HEAD, :6].double(), trace.v(LAYER)[HEAD, :6].double()
    cosines = torch.cosine_similarity(k @ state[HEAD], v)
    assert [float(row[1]) for row in rows] == pytest.approx(cosines.tolist(), abs=1e-3)

    heat = board.plot("State S")
    sentence = board.root.locator(".rv-plot .rv-sentence", has_text="tate of head").first
    expect(sentence).to_contain_text(f"The state of head {HEAD} after {token_names[5]}")
    check_heatmap(board.read_table(heat), state[HEAD])
    board.set_slider("token m", 2)
    board.choose("compare with")
    expect(sentence).to_contain_text(f"from {token_names[2]} to {token_names[5]}")
    earlier = trace.state(LAYER, 2).double()
    check_heatmap(board.read_table(board.plot("Difference S")), (state - earlier)[HEAD])
    expect(board.root.locator(".rv-view-state .rv-bar")).to_contain_text("minus S after m = 2")
    board.choose("compare with")
    expect(sentence).to_contain_text(f"The state of head {HEAD} after {token_names[5]}")


def check_heatmap(table: list[list[str]], values: torch.Tensor) -> None:
    """The table, without its header and the names of its rows, has the values it has room for."""
    entries = torch.tensor([[float(entry) for entry in row[1:]] for row in table[1:]]).double()
    assert entries.shape == (64, 64)
    assert torch.allclose(entries, values[:64, :64], rtol=1e-3, atol=1e-6)


def test_a_part_switched_off_in_the_copy_leaves_the_model_alone(board: ModesPage, model) -> None:
    player_of(board, "recurrent")
    board.open_view("Normalisation and position")

    def expect_next(whose: str, trace: rv.Trace) -> None:
        top = trace.logits[-1].double().softmax(-1).topk(10)
        plot = board.plot(f"{whose}: next after")
        shares = [f"{100 * value:.1f} %" for value in top.values.tolist()]
        names = [visible(trace.piece(token_id)) for token_id in top.indices.tolist()]
        expect(plot.locator(".ytick")).to_have_text(
            [f"{name} {share}" for name, share in zip(names, shares, strict=True)]
        )

    trace = rv.trace(model, TEXT, "recurrent")
    expect_next("The model", trace)
    expect_next("The copy", trace)
    board.choose("rotation")
    without_rotation = rv.trace(ablate(model, rotation="none"), TEXT, "recurrent")
    assert (without_rotation.logits - trace.logits).abs().max() > 1
    expect_next("Without rotation", without_rotation)
    expect_next("The model", trace)
    board.choose("rotation")
    expect_next("The copy", trace)
    expect_next("The model", trace)


HOSTILE = "<script>window.hacked = 1</script> 🦊 <b onclick='window.hacked = 1'>"
VIEWS = ("Side by side", "State", "Normalisation and position", "Step by step")


def test_an_empty_text_says_so_in_every_view(board: ModesPage) -> None:
    player = player_of(board, "recurrent")
    board.text.fill("")
    expect(board.strip).to_contain_text("No text yet")
    expect(player.saying).to_have_text("No text yet.")
    expect(player.counter).to_have_text("")
    expect(player.button("Play")).to_be_disabled()
    player.press(" ", "ArrowRight", "End")
    player.expect_playing(False)
    for view in VIEWS:
        board.open_view(view)
        expect(board.notice).to_have_text("0 tokens")
        if view == "Side by side":
            expect(board.race).to_contain_text("No text yet")
    expect(player.saying).to_have_text("No text yet.")
    player_of(board, "recurrent")


@pytest.mark.parametrize("mode", MODES)
def test_a_text_is_never_markup(board: ModesPage, model, mode: str) -> None:
    trace = rv.trace(model, HOSTILE, mode, CHUNK)
    names = [visible(token) for token in trace.tokens]
    board.show(HOSTILE, names, mode, chunk=CHUNK)
    player = board.player
    player.show_table()
    first = {"parallel": 0, "recurrent": 0, "chunkwise": (trace.length - 1) // CHUNK * CHUNK}[mode]
    cells = player.root.locator(".rv-alternative").nth(1).locator("tbody td:nth-child(2)")
    expect(cells).to_have_text(names[first:])
    player.show_table(False)
    if mode != "parallel":
        box = player.root.locator(".rv-bars canvas").bounding_box()
        assert box
        board.page.mouse.move(box["x"] + 46 + 4, box["y"] + 20)
        expect(player.readout).to_contain_text(f"“{names[first]}”")
        player.point_away()
    assert player.root.locator("script, b[onclick]").count() == 0
    assert board.page.evaluate("window.hacked") is None


def test_a_link_opens_the_step_that_it_names(page: Page, voila_url: str, model) -> None:
    state = ExplorerState(
        TEXT, "chunkwise", CHUNK, layer=LAYER, head=HEAD, token=5, view="state", scale="log"
    )
    page.goto(f"{modes_url(voila_url)}?theme=dark&{state.query()}")
    board = ModesPage(page)
    expect(board.text).to_have_value(TEXT)
    trace = rv.trace(model, TEXT, "chunkwise", CHUNK)
    sentence = board.root.locator(".rv-plot .rv-sentence", has_text=f"state of head {HEAD}").first
    expect(sentence).to_contain_text(f"token 5 “{visible(trace.tokens[5])}”")
    expect(board.root).to_have_attribute("data-theme", "dark")
    board.open_view("Step by step")
    player = board.player
    player.expect_at(1, 3, 5)
    expect(player.root.locator(".rv-origin")).to_have_text(f"chunkwise, layer {LAYER}, head {HEAD}")
    background = player.root.evaluate("el => getComputedStyle(el).backgroundColor")
    assert background == "rgb(27, 30, 35)"
    assert player.saying.evaluate("el => getComputedStyle(el).color") == "rgb(230, 232, 235)"
    # The page's own link holds what was chosen since.
    player.press("Home")
    player.expect_at(0, 3, 3)
    here = page.get_by_role("link", name="Modes at work")
    query = replace(state, token=3, view="step by step").query()
    expect(here).to_have_attribute("href", re.compile(re.escape(query)))


def test_the_explorer_links_to_the_modes_with_its_text(page: Page, voila_url: str, model) -> None:
    state = ExplorerState(OTHER, "chunkwise", 2, layer=LAYER)
    page.goto(f"{voila_url}?{state.query()}")
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    explorer_page.choose_mode("recurrent")
    link = page.get_by_role("link", name="Modes at work")
    query = replace(state, mode="recurrent").query()
    expect(link).to_have_attribute("href", re.compile(re.escape(query)))
    link.click()
    board = ModesPage(page)
    board.wait()
    length = rv.trace(model, OTHER).length
    expect(board.text).to_have_value(OTHER)
    board.player.expect_at(length - 1, length, length - 1)
    expect(board.player.root.locator(".rv-origin")).to_have_text(
        f"recurrent, layer {LAYER}, head 0"
    )
