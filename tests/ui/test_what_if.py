"""What is changed on the page is what the same edits change in Python."""

from __future__ import annotations

import html
from typing import Any

import pytest
import torch

import retnet_viz as rv
from retnet_viz.model import RetNet
from retnet_viz.ui.core.state.link import read_link
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.explorer.explorer import Explorer
from retnet_viz.ui.pages.explorer.trace_explorer import TraceExplorer
from retnet_viz.ui.pages.modes.modes import Modes
from retnet_viz.ui.panels.what_if import ALL_LAYERS

TEXT = "the cat and the dog, the cat and the dog, the cat and the"
KING = "The king ran to the wood. The king was hungry, and"


@pytest.fixture
def explorer(shipped_model: RetNet) -> Explorer:
    return Explorer(shipped_model, ExplorerState(TEXT, layer=1))


def expect(explorer: Explorer, *edits: Any) -> None:
    """The page shows the pass with just these edits, and compares it with that without them."""
    assert explorer.state.edits == edits
    fresh = rv.trace(explorer.model, explorer.state.text, explorer.state.mode, edits=edits)
    torch.testing.assert_close(explorer.trace.logits, fresh.logits, rtol=1e-4, atol=1e-3)
    if edits:
        base = rv.trace(explorer.model, explorer.state.text)
        torch.testing.assert_close(explorer.base.logits, base.logits, rtol=1e-4, atol=1e-3)
        for trace in (base, fresh):
            assert f"{trace.loss.mean():.3f}" in explorer.what_if.effect.value
    else:
        assert explorer.base is None
        assert "Nothing is changed" in explorer.what_if.effect.value
    lines = [html.unescape(row.children[1].value) for row in explorer.what_if.changes.children]
    assert len(lines) == len(edits)
    assert all(repr(edit) in line for edit, line in zip(edits, lines, strict=True))


def test_a_head_is_silenced_and_speaks_again(explorer: Explorer) -> None:
    explorer.what_if.silent[1].value = True
    expect(explorer, rv.edits.silence(layer=1, head=1))
    explorer.what_if.scope.value = ALL_LAYERS
    explorer.what_if.silent[1].value = False
    expect(explorer)
    explorer.what_if.silent[0].value = True
    expect(explorer, rv.edits.silence(head=0))
    explorer.what_if.scope.value = "layer 1"
    explorer.what_if.silent[0].value = False
    expect(explorer, rv.edits.silence(layer=(0, 2, 3), head=0))
    explorer.history.undo()
    expect(explorer, rv.edits.silence(head=0))
    explorer.what_if.silence(2, 0)
    expect(explorer, rv.edits.silence(layer=(0, 1, 3), head=0))


def test_a_half_life_is_dragged_in_one_step(explorer: Explorer) -> None:
    slider = explorer.what_if.half_lives[2]
    for value in (40.0, 20.0, 10.0):
        slider.value = value
    expect(explorer, rv.edits.gamma(half_life=10, layer=1, head=2))
    assert "half in 10 tokens" in explorer.what_if.gammas[2].value
    assert "was 88" in explorer.what_if.gammas[2].value
    assert explorer.gammas.value.count("10") >= 1
    explorer.history.undo()
    expect(explorer)
    assert slider.value == pytest.approx(88.38, abs=0.01)


def test_a_browser_that_rounds_a_slider_changes_nothing(explorer: Explorer) -> None:
    slider = explorer.what_if.half_lives[2]
    slider.value = slider.value * 1.01
    expect(explorer)


def test_without_a_part_and_half_lives_do_not_contradict_each_other(explorer: Explorer) -> None:
    what_if = explorer.what_if
    what_if.half_lives[0].value = 4.0
    what_if.without["decay"].value = True
    expect(explorer, rv.edits.without("decay", layer=1))
    what_if.half_lives[0].value = 4.0
    expect(
        explorer,
        rv.edits.without("decay", layer=1, head=(1, 2, 3)),
        rv.edits.gamma(half_life=4, layer=1, head=0),
    )
    what_if.without["gate"].value = True
    assert rv.edits.without("gate", layer=1) in explorer.state.edits
    what_if.undo_all.click()
    expect(explorer)


def test_the_changes_at_a_token_are_made_in_the_heads_that_are_shown(explorer: Explorer) -> None:
    what_if = explorer.what_if
    assert what_if.forget.disabled  # nothing is read after the last token
    explorer._update_state(token=4)
    what_if.forget.click()
    expect(explorer, rv.edits.forget(token=4, start=5, layer=1))
    explorer.heads[0].value = False
    what_if.reset.click()
    explorer._update_state(token=9)
    what_if.read.value = 3
    assert "the" in what_if.about_read.value
    what_if.cut.click()
    expect(
        explorer,
        rv.edits.forget(token=4, start=5, layer=1),
        rv.edits.reset(start=4, layer=1, head=(1, 2, 3)),
        rv.edits.cut(reader=9, read=3, layer=1, head=(1, 2, 3)),
    )
    first = what_if.changes.children[0].children[0]
    first.click()
    assert len(explorer.state.edits) == 2


def test_the_state_of_another_text_is_taken(explorer: Explorer) -> None:
    what_if = explorer.what_if
    what_if.scope.value = ALL_LAYERS
    explorer._update_state(text="The dog ran to the wood. The dog was hungry, and the")
    what_if.swap.click()
    assert "Write the other text" in what_if.message.value
    what_if.other.value = KING
    what_if.swap.click()
    ids = explorer.model.tokenizer.encode(KING)
    expect(explorer, rv.edits.swap(start=14, ids=ids))
    king = explorer.model.tokenizer.encode(" king")[0]
    assert explorer.trace.logits[-1].argmax() == king


def test_every_mode_shows_the_edited_pass(explorer: Explorer) -> None:
    explorer._update_state(edits=(rv.edits.reset(start=5), rv.edits.silence(layer=0, head=2)))
    for mode in ("recurrent", "chunkwise", "parallel"):
        explorer.mode.value = mode
        expect(explorer, rv.edits.reset(start=5), rv.edits.silence(layer=0, head=2))
    explorer.settle()
    assert explorer.agreement.worst < 1e-4 * explorer.agreement.scale
    assert {trace.edits for _, trace in explorer._in_all_modes(explorer.trace)} == {
        explorer.state.edits
    }


def test_edits_travel_in_a_link_and_those_that_do_not_fit_are_named(
    explorer: Explorer, shipped_model: RetNet
) -> None:
    edits = (rv.edits.forget(token=8, start=9), rv.edits.silence(layer=1, head=1))
    explorer._update_state(edits=edits)
    other = Explorer(shipped_model, ExplorerState())
    other.open_link("?" + explorer.state.query())
    expect(other, *edits)
    other._update_state(text="the cat and")
    assert other.state.edits == edits
    assert other.trace.edits == edits[1:]
    assert "left out: edits.forget: token 8" in other.what_if.changes.children[0].children[1].value
    other._update_state(text=TEXT)
    expect(other, *edits)


def test_a_link_with_what_is_no_edit_opens_without_it(shipped_model: RetNet) -> None:
    explorer = Explorer(shipped_model, ExplorerState(TEXT))
    state, refused = explorer.state.with_fields({"edits": [{"kind": "run"}]}, shipped_model.config)
    assert refused == ["edits"]
    assert state.edits == ()
    assert read_link(state.query()).fields("explorer")["text"] == TEXT


def test_a_long_text_takes_changes_of_heads_alone(shipped_model: RetNet) -> None:
    edits = (rv.edits.reset(start=3), rv.edits.silence(layer=1, head=1))
    explorer = Explorer(shipped_model, ExplorerState("the cat and the dog " * 300, edits=edits))
    explorer._reader.wait()
    assert explorer.trace.length > 1024
    assert explorer.trace.edits == edits[1:]
    assert "texts of up to 1,024 tokens" in explorer.left_out[edits[0]]


def test_an_edited_trace_opens_with_its_edits(shipped_model: RetNet) -> None:
    edits = (rv.edits.silence(layer=1, head=1),)
    explorer = rv.explore(rv.trace(shipped_model, TEXT, edits=edits))
    expect(explorer, *edits)
    assert explorer.model is shipped_model
    state = rv.trace(shipped_model, "Once upon a time").end_state
    assert isinstance(rv.explore(rv.trace(shipped_model, TEXT, state=state)), TraceExplorer)


def test_another_page_shows_the_model_itself(shipped_model: RetNet) -> None:
    page = Modes(shipped_model, ExplorerState(TEXT, edits=(rv.edits.silence(),)))
    assert page.trace.edits == ()
    assert page.state.edits == (rv.edits.silence(),)


def test_the_switch_of_a_head_in_the_grid_silences_it(explorer: Explorer) -> None:
    explorer.heads_grid.toggled = [2, 3]
    expect(explorer, rv.edits.silence(layer=2, head=3))
    assert explorer._silent_heads() == {(2, 3)}
    assert explorer.what_if.silent[3].value is False  # that is of layer 1
    explorer.heads_grid.toggled = [2, 3]
    expect(explorer)
