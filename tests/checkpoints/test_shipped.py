"""The models that ship: small, of one size, trained on the same text, and described by cards."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

import retnet_viz as rv
from retnet_viz.checkpoints import load_model, shipped
from retnet_viz.checkpoints.native import KINDS
from retnet_viz.training import card

SENTENCE = "The old man looked at the boy and said that he would go with him to the house."
FOLDERS = shipped()
QUALITY = Path(__file__).parents[2] / "docs" / "quality.md"


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request) -> Path:
    return FOLDERS[request.param]


@pytest.fixture(scope="module")
def model(folder: Path):
    return load_model(folder)


def card_of(folder: Path) -> str:
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def stated(folder: Path, name: str) -> str:
    """What a card's table states."""
    match = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", card_of(folder), re.MULTILINE)
    assert match, name
    return match[1]


def test_a_model_of_each_kind_ships_and_the_default_is_the_retnet():
    assert set(FOLDERS) == set(KINDS)
    assert rv.load().state_dict().keys() == load_model(FOLDERS["retnet"]).state_dict().keys()
    total = sum(path.stat().st_size for folder in FOLDERS.values() for path in folder.iterdir())
    assert total < 40e6


def test_it_is_small_and_holds_16_bit_weights(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    with safe_open(folder / "model.safetensors", "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_it_has_the_size_that_the_project_describes(model, shipped_model):
    assert model.n_parameters == pytest.approx(shipped_model.n_parameters, rel=0.02)
    assert 3.8e6 < model.n_parameters < 4.6e6
    assert model.config.n_layers >= 4
    assert model.config.vocab_size == model.tokenizer.vocab_size == 4096


def test_the_default_has_four_layers_of_four_heads(shipped_model):
    config = shipped_model.config
    assert (config.n_layers, config.n_heads) == (4, 4)


def test_it_has_learned_the_order_of_words(model):
    def loss(text: str) -> float:
        ids = torch.tensor([model.tokenizer.encode(text)])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        return F.cross_entropy(logits, ids[0, 1:]).item()

    backwards = " ".join(reversed(SENTENCE.split()))
    assert loss(SENTENCE) < loss(backwards) - 1
    assert loss(SENTENCE) < 0.6 * math.log(4096)  # what guessing among all tokens would cost


def test_all_were_trained_on_the_same_text_with_one_tokenizer(folder, model, shipped_model):
    default = FOLDERS["retnet"]
    for name in ("SHA-256 of the text", "context in training"):
        assert stated(folder, name) == stated(default, name)
    assert model.tokenizer.to_json() == shipped_model.tokenizer.to_json()


def test_the_retnet_and_the_transformer_were_trained_alike():
    for name in ("tokens seen", "steps", card.RECURRING):
        assert stated(FOLDERS["transformer"], name) == stated(FOLDERS["retnet"], name)


def test_the_page_of_quality_says_on_how_many_tokens_each_was_trained(folder):
    tokens = stated(folder, "tokens seen")
    loss = stated(folder, "validation loss").split()[0]
    lines = QUALITY.read_text(encoding="utf-8").splitlines()
    assert any(tokens in line and loss in line for line in lines)


def test_the_card_says_where_it_comes_from(folder, model):
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["kind"]
    assert stated(folder, "parameters") == f"{model.n_parameters:,}"
    assert float(stated(folder, "bits per byte")) < 2
    assert "nats per token" in stated(folder, "validation loss")
    assert "retnet-viz train --data" in card_of(folder)
    assert kind in FOLDERS
