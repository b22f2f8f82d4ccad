"""The panel of all heads: what the kernel sends it, and what a click and a switch there do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.model import MODES, RetNet
from retnet_viz.ui.pages.explorer import all_heads
from retnet_viz.ui.pages.explorer.explorer import MOST_CELLS, Explorer

LONG = "The old man said to the boy, and the boy said to the old man. " * 5
TOO_LONG = "a fox and a dog " * (MOST_CELLS // 4)


def pictures(explorer: Explorer) -> np.ndarray:
    """(L, H, P, P): the places in the colour table that the panel shows."""
    meta = explorer.heads_grid.meta
    shape = (meta["layers"], meta["heads"], meta["side"], meta["side"])
    return np.frombuffer(explorer.heads_grid.pictures, np.uint8).reshape(shape)


def literal(weights: np.ndarray, scale: str) -> np.ndarray:
    """(P, P): of each block of a plane (T, T) the weight farthest from 0, as its colour's place."""
    step = -(-len(weights) // 48)
    side = -(-len(weights) // step)
    pooled = np.zeros((side, side), np.float32)
    for i, j in np.ndindex(side, side):
        block = weights[i * step : (i + 1) * step, j * step : (j + 1) * step].ravel()
        pooled[i, j] = block[np.abs(block).argmax()]
    return raster(pooled, color_scale(pooled, scale, signed=True), np.tri(side, dtype=bool))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_thumbnail_is_the_max_pooled_plane_of_its_head(
    explorer: Explorer, mode: str, scale: str
) -> None:
    explorer.text.value = LONG
    explorer.mode.value = mode
    explorer.scale.value = scale
    shown = pictures(explorer).astype(int)
    assert explorer.trace.length > 48 >= shown.shape[-1]
    for layer in range(explorer.trace.n_layers):
        weights = explorer.trace.retention(layer).numpy()
        for head in range(explorer.trace.n_heads):
            apart = np.abs(shown[layer, head] - literal(weights[head], scale))
            assert apart.max() <= 1  # of rounding
    assert (
        explorer.heads_grid.meta["computed"]
        == {
            "parallel": "all",
            "recurrent": "none",
            "chunkwise": "blocks",
        }[mode]
    )
    assert explorer.heads_grid.meta["origin"].startswith(explorer.trace.origin("retention"))


def test_half_life_and_decay_stand_beside_each_head(explorer: Explorer) -> None:
    meta = explorer.heads_grid.meta
    assert meta["halfLives"][1] == ["22 tokens", "44 tokens", "88 tokens", "177 tokens"]
    assert meta["gammas"][0][0] == f"{explorer.trace.gamma(0)[0].item():.6g}"
    largest = explorer.trace.retention(2)[3].abs().max().item()
    assert float(meta["largest"][2][3].replace(",", "")) == pytest.approx(largest, rel=5e-3)


def test_the_shares_come_after_a_pause_and_are_of_the_selected_token(explorer: Explorer) -> None:
    grid = explorer.heads_grid
    assert grid.shares == {"state": "pending"}
    for token in (None, 4):
        if token is not None:
            explorer.strip.selected = token
            assert grid.shares == {"state": "pending"}
        explorer.settle()
        found = explorer.trace.attribution(position=-1 if token is None else token)
        assert grid.shares["state"] == "ready"
        shown = np.array(grid.shares["values"])
        np.testing.assert_allclose(shown, found.heads.sum(-1).numpy())
        assert grid.shares["texts"][1][2] == f"{shown[1, 2]:+.2f}"
        assert grid.shares["token"][1:-1].replace("·", " ") == explorer.trace.piece(found.token)
        assert grid.shares["sentence"].startswith("The logit of “")
    before = grid.shares
    explorer.layer.value = 2  # which changes no share
    assert grid.shares == before
    explorer.text.value += " more"
    assert grid.shares == {"state": "pending"}


def test_another_token_does_not_measure_the_modes_again(explorer: Explorer) -> None:
    explorer.settle()
    costs = explorer.costs
    explorer.strip.selected = 2
    explorer.settle()
    assert explorer.costs is costs


def test_a_click_selects_layer_and_head_as_often_as_it_is_made(explorer: Explorer) -> None:
    explorer.heads[0].value = False
    shown = explorer.shown_heads
    for _ in range(2):
        explorer.heads_grid.clicked = [2, 3]
        assert (explorer.state.layer, explorer.state.head) == (2, 3)
        assert explorer.heads_grid.selected == [2, 3]
        assert explorer.layer.value == 2
        assert explorer.stage.head == 3
        assert explorer.heads_grid.clicked == []
        explorer.layer.value = 0
        assert explorer.heads_grid.selected == [0, 3]
    assert explorer.shown_heads == shown


@pytest.mark.parametrize("place", [[9, 0], [0, -1], [1], [1, 2, 3]])
def test_a_click_on_no_head_changes_nothing(explorer: Explorer, place: list[int]) -> None:
    before = explorer.state
    explorer.heads_grid.clicked = place
    assert explorer.state == before


def test_a_switch_tells_its_head_and_shows_what_came_of_it(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent: set[tuple[int, int]] = set()
    monkeypatch.setattr(explorer, "_silent_heads", lambda: silent)
    monkeypatch.setattr(
        explorer, "_on_silence", lambda *place: silent.symmetric_difference_update({place})
    )
    for expected in ([[1, 2]], []):
        explorer.heads_grid.toggled = [1, 2]
        assert explorer.heads_grid.silent == expected
        assert explorer.heads_grid.toggled == []


def test_no_text_and_a_long_text_have_no_thumbnails(explorer: Explorer) -> None:
    explorer.settle()
    explorer.text.value = ""
    assert explorer.heads_grid.pictures == b""
    assert explorer.heads_grid.meta["side"] == 0
    assert explorer.heads_grid.shares == {"state": "pending"}
    explorer.text.value = TOO_LONG
    explorer.settle()
    assert explorer.trace.length > MOST_CELLS
    assert explorer.heads_grid.pictures == b""
    assert explorer.heads_grid.meta["origin"].endswith(f"of up to {MOST_CELLS:,} tokens.")
    explorer.text.value = "Short again"
    explorer.settle()
    assert pictures(explorer).shape[-1] == explorer.trace.length
    assert explorer.heads_grid.shares["state"] == "ready"


def test_thumbnails_that_take_long_follow_after_a_pause(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_heads, "_QUICK", {"computed": 0, "derived": 0})
    before = explorer.heads_grid.pictures
    explorer.text.value = "Once upon a time"
    assert explorer.heads_grid.stale
    assert explorer.heads_grid.pictures == before
    explorer.settle()
    assert not explorer.heads_grid.stale
    assert pictures(explorer).shape[-1] == explorer.trace.length


def test_nothing_is_predicted_from_tensors_alone(opened) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 6, 4, generator=generator) for _ in range(3))
    page = opened(rv.explore(rv.Trace.from_tensors(q, k, v, torch.tensor([[0.9, 1.0]] * 2))))
    page.settle()
    assert page.heads_grid.meta["halfLives"][0][1] == "∞ tokens"
    assert pictures(page).shape == (2, 2, 6, 6)
    assert page.heads_grid.shares["state"] == "none"
    assert "no model" in page.heads_grid.shares["sentence"]


def test_many_layers_and_heads(opened) -> None:
    model = RetNet(rv.RetNetConfig(vocab_size=60, d_model=32, n_layers=24, n_heads=16)).eval()
    page = opened(rv.explore(rv.trace(model, torch.arange(50))))
    assert pictures(page).shape == (24, 16, 25, 25)
    page.settle()
    assert np.array(page.heads_grid.shares["values"]).shape == (24, 16)
