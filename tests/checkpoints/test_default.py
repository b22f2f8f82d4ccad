"""The checkpoint that ships: small, whole, trained, and described by its card."""

import math

import torch
import torch.nn.functional as F
from safetensors import safe_open

import retnet_viz as rv
from retnet_viz.checkpoints.native import DEFAULT

SENTENCE = "The old man looked at the boy and said that he would go with him to the house."


def test_it_is_small_and_holds_16_bit_weights():
    assert sum(path.stat().st_size for path in DEFAULT.iterdir()) < 12e6
    with safe_open(DEFAULT / "model.safetensors", "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_it_is_the_model_that_the_project_describes():
    model = rv.load()
    assert 3.8e6 < model.n_parameters < 4.6e6
    assert (model.config.n_layers, model.config.n_heads) == (4, 4)
    assert model.config.vocab_size == model.tokenizer.vocab_size == 4096


def test_it_has_learned_the_order_of_words():
    model = rv.load()

    def loss(text: str) -> float:
        ids = torch.tensor([model.tokenizer.encode(text)])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        return F.cross_entropy(logits, ids[0, 1:]).item()

    backwards = " ".join(reversed(SENTENCE.split()))
    assert loss(SENTENCE) < loss(backwards) - 1
    assert loss(SENTENCE) < 0.6 * math.log(4096)  # what guessing among all tokens would cost


def test_the_card_says_where_it_comes_from():
    card = (DEFAULT / "MODEL_CARD.md").read_text(encoding="utf-8")
    for stated in (
        "SHA-256",
        "tokens seen",
        "steps",
        "validation loss",
        "bits per byte",
        "retnet-viz train --data",
        f"{rv.load().n_parameters:,}",
    ):
        assert stated in card
