"""Each preset shows what its sentence says, in the model that ships."""

import pytest

import retnet_viz as rv
from retnet_viz.ui.pages.presets import PRESETS


@pytest.fixture(scope="module")
def shown(shipped_model):
    """The trace of each preset, and the weights with which its last token reads each token."""

    def weights(name):
        state = next(preset.state for preset in PRESETS if preset.name == name)
        trace = rv.trace(shipped_model, state.text, state.mode, state.chunk_size)
        row = trace.retention(state.layer, rows=slice(-1, None))[:, 0]
        return trace.tokens, row[state.heads[0]] if state.heads else row, trace

    return weights


def strongest(tokens, row, count):
    return [tokens[m].strip(" ") for m in row.abs().topk(count).indices.tolist()]


def test_near_copy_reads_what_followed_before(shown):
    tokens, row, _ = shown("Near copy")
    assert set(strongest(tokens, row, 4)) == {"dog", "cat"}


def test_far_repetition_reads_what_followed_far_back(shown):
    tokens, row, trace = shown("Far repetition")
    last = trace.length - 1
    assert tokens[last] == " the"
    back = row[:last].abs().argmax().item()
    assert tokens[back] == " ship"
    assert last - back == 47


def test_a_list_reads_the_commas(shown):
    tokens, row, _ = shown("A list")
    commas = [m for m, token in enumerate(tokens) if token == ","]
    assert strongest(tokens, row, 6).count(",") >= 4
    others = [m for m in range(len(tokens)) if tokens[m] not in (",", " and")]
    assert row[commas].abs().min() > row[others].abs().median() * 1.5


def test_dialogue_reads_the_ends_of_lines(shown):
    tokens, row, _ = shown("Dialogue")
    read = strongest(tokens, row, 6)
    assert sorted(read) == ["\n"] * 3 + ["."] * 3


def test_the_long_opening_parts_the_heads(shown):
    tokens, _, trace = shown("A long story opening")
    assert len(tokens) > 200
    first = trace.decay(0, rows=slice(-1, None), cols=slice(0, 1))[:, 0, 0]
    assert first[0] < 0.01
    assert first[3] > 0.4
