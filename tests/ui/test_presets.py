"""Each preset predicts what its sentence says, in the shipped model and for the reason given."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import retnet_viz as rv
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.presets import PRESETS, START, WHAT_IF, Preset


@dataclass(frozen=True)
class Prediction:
    """What the text of a preset goes on with.

    back       how many tokens before the last one the head reads it
    instead    what stands in its place in a text that is to go on with something else
    """

    answer: str
    probability: float
    back: int
    word: str
    instead: str


PREDICTIONS = {
    "Near copy": Prediction(" dog", 0.8, 5, "dog", "bird"),
    "Far repetition": Prediction(" V", 0.2, 55, "Vosko", "Pellow"),
    "A list": Prediction(" w", 0.8, 7, "wolf", "lamp"),
    "Dialogue": Prediction(" woman", 0.5, 23, "woman", "man"),
}
# What was to come, what comes with the edits, and a word of the point that names each.
CHANGED = {
    "What if: a head is silent": (" V", None),
    "What if: a shorter memory": (" V", None),
    "What if: the state of another story": (" dog", " king"),
}
BY_NAME = {preset.name: preset for preset in PRESETS}


def next_token(model: RetNet, state: ExplorerState) -> Tensor:
    """The probabilities of what comes after a preset's text, (vocab,)."""
    trace = rv.trace(model, state.text, state.mode, state.chunk_size)
    probabilities: Tensor = trace.logits[-1].softmax(-1)
    return probabilities


def token(model: RetNet, text: str) -> int:
    (token_id,) = model.tokenizer.encode(text)
    return int(token_id)


def without_head(model: RetNet, layer: int, head: int) -> RetNet:
    """A copy in which what a head retains does not reach the layer's output: W_O is 0 there."""
    silent = copy.deepcopy(model)
    width = model.config.value_dim
    with torch.no_grad():
        weight = silent.blocks[layer].retention.out_proj.weight
        weight[:, head * width : (head + 1) * width] = 0
    return silent


@pytest.fixture(params=PREDICTIONS)
def preset(request: pytest.FixtureRequest) -> tuple[ExplorerState, Prediction]:
    return BY_NAME[request.param].state, PREDICTIONS[request.param]


def test_the_text_goes_on_as_the_sentence_says(
    preset: tuple[ExplorerState, Prediction], shipped_model: RetNet
) -> None:
    state, prediction = preset
    probabilities = next_token(shipped_model, state)
    assert probabilities.argmax() == token(shipped_model, prediction.answer)
    assert probabilities.max() > prediction.probability


def test_the_head_reads_the_answer_where_it_stood_before(
    preset: tuple[ExplorerState, Prediction], shipped_model: RetNet
) -> None:
    state, prediction = preset
    trace = rv.trace(shipped_model, state.text, state.mode, state.chunk_size)
    (head,) = state.heads
    row = trace.retention(state.layer, rows=slice(-1, None))[head, 0]
    strongest = int(row.abs().argmax())
    assert trace.tokens[strongest] == prediction.answer
    assert trace.length - 1 - strongest == prediction.back
    assert row[strongest] > 0


def test_it_is_gone_when_the_head_is_silent(
    preset: tuple[ExplorerState, Prediction], shipped_model: RetNet
) -> None:
    state, prediction = preset
    answer = token(shipped_model, prediction.answer)
    before = next_token(shipped_model, state)[answer]
    (head,) = state.heads
    after = next_token(without_head(shipped_model, state.layer, head), state)[answer]
    assert after < before / 2


def test_it_is_gone_when_the_earlier_word_is_another(
    preset: tuple[ExplorerState, Prediction], shipped_model: RetNet
) -> None:
    state, prediction = preset
    other = ExplorerState(state.text.replace(prediction.word, prediction.instead))
    assert other.text != state.text
    probabilities = next_token(shipped_model, other)
    assert probabilities.argmax() != token(shipped_model, prediction.answer)


def test_the_sentences_name_the_head_that_is_shown() -> None:
    for name in PREDICTIONS:
        preset = BY_NAME[name]
        (head,) = preset.state.heads
        assert f"ead {head} of layer {preset.state.layer}" in preset.point


def test_a_long_opening_parts_the_heads_and_its_beginning_matters_little(
    shipped_model: RetNet,
) -> None:
    state = BY_NAME["A long story opening"].state
    trace: Trace = rv.trace(shipped_model, state.text, state.mode, state.chunk_size)
    assert trace.length > 200
    first = trace.decay(0, rows=slice(-1, None), cols=slice(0, 1))[:, 0, 0]
    assert first[0] < 0.01
    assert first[3] > 0.4
    opening, rest = state.text.split(".", 1)
    assert "king" in opening
    likeliest = next_token(shipped_model, state)
    other = next_token(shipped_model, ExplorerState(f"It was a cold day in the north.{rest}"))
    near = next_token(shipped_model, ExplorerState(state.text.rsplit(" ", 3)[0] + " went on and"))
    assert (likeliest - other).abs().sum() < (likeliest - near).abs().sum() / 2


def test_the_page_starts_with_a_right_prediction() -> None:
    assert START.text == BY_NAME["Near copy"].state.text
    assert START.layer == BY_NAME["Near copy"].state.layer


@pytest.mark.parametrize("preset", WHAT_IF, ids=lambda preset: preset.name)
def test_what_a_preset_changes_takes_the_prediction_away(
    shipped_model: RetNet, preset: Preset
) -> None:
    before, after = CHANGED[preset.name]
    state = preset.state
    base = rv.trace(shipped_model, state.text, state.mode)
    edited = rv.trace(shipped_model, state.text, state.mode, edits=state.edits)
    was, came = (x.logits[-1].argmax().item() for x in (base, edited))
    assert was == token(shipped_model, before)
    assert came != was
    if after is not None:
        assert came == token(shipped_model, after)
        assert f"“{after.strip()}”" in preset.point
    assert f"“{before.strip()}”" in preset.point or "Vosko" in preset.point
    change = edited.compare(base)
    assert change.after.probabilities[-1, was] < 0.5 * change.before.probabilities[-1, was]


def test_the_state_of_another_story_is_that_of_the_king(shipped_model: RetNet) -> None:
    (edit,) = WHAT_IF[2].state.edits
    text = shipped_model.tokenizer.decode(list(edit.ids))
    assert text == "The king ran to the wood. The king was hungry, and"
    assert shipped_model.tokenizer.encode(text) == list(edit.ids)
    state = WHAT_IF[2].state
    assert edit.start == rv.trace(shipped_model, state.text).length - 1
    goes_on = rv.trace(shipped_model, state.text, edits=state.edits).model
    ids = torch.tensor(shipped_model.tokenizer.encode(state.text))
    new = rv.generate(goes_on, ids, 4).tolist()
    assert shipped_model.tokenizer.decode(new) == " king was hungry"
