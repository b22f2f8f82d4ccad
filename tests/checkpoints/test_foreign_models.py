"""Models of other codes in every view: nothing assumes how this package's own models are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published import fla_checkpoint, syncdoth_checkpoint, torchscale_checkpoint
from safetensors.torch import save_file

import retnet_viz as rv
from retnet_viz.model import MODES
from retnet_viz.ui.core.state.page_state import VIEWS

TEXT = "abc abd, abe"
MADE = {
    "fla": fla_checkpoint(vocab_size=256, num_kv_heads=2, expand_k=0.5),
    "torchscale": torchscale_checkpoint(vocab_size=256, deepnorm=True, no_scale_embedding=False),
    "syncdoth": syncdoth_checkpoint(vocab_size=256, use_glu=False, layernorm_embedding=True),
}


@pytest.fixture(params=MADE)
def model(request, tmp_path: Path):
    config, tensors = MADE[request.param]
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="read as bytes"):
        return rv.load(tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_the_explorer_shows_it_and_the_modes_agree(model, mode):
    explorer = rv.explore(model, TEXT, mode=mode, chunk_size=5)
    explorer.settle()
    assert explorer.strip.tokens == ["·" if letter == " " else letter for letter in TEXT]
    assert explorer.agreement.worst <= 1e-4 * explorer.agreement.scale
    assert set(explorer.costs) == set(MODES)
    assert "role=alert" not in explorer.notice.value
    explorer.strip.selected = 4
    explorer.layer.value = 1
    assert "role=alert" not in explorer.notice.value
    explorer.stop()


@pytest.mark.parametrize("view", VIEWS)
def test_the_modes_at_work_show_it(model, view):
    modes = rv.modes(model, TEXT, view=view)
    modes.settle()
    for switch in modes.parts.switches.values():
        switch.value = False
    modes.settle()
    assert "alert" not in modes.notice.value
    modes.stop()


def test_generating_goes_on_as_reading_does(model):
    ids = rv.trace(model, TEXT).ids[None]
    new = rv.generate(model, ids, 5)
    for i in range(5):
        before = rv.trace(model, torch.cat((ids[0], new[0, :i])))
        assert before.logits[-1].argmax() == new[0, i]
