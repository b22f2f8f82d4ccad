"""Which characters, and which tokens, the model wrote, while the text is edited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.ui.core.state.written import add_range, after_edit, are_ranges, written_tokens

BOUNDS = st.sets(st.integers(0, 12), max_size=6).map(sorted)
RANGES = BOUNDS.map(lambda ends: tuple(zip(ends[::2], ends[1::2], strict=False)))


def characters(ranges):
    return {i for start, stop in ranges for i in range(start, stop)}


@given(RANGES, st.integers(0, 12), st.integers(0, 12), st.text("XY", max_size=4))
def test_an_edit_moves_what_stays_and_takes_what_is_typed_over(ranges, a, b, typed):
    old = "abcdefghijkl"  # no character twice, and none that is typed
    start, stop = sorted((a, b))
    new = old[:start] + typed + old[stop:]
    moved = after_edit(ranges, old, new)
    assert are_ranges(moved)
    expected = {old[i] for i in characters(ranges) if not start <= i < stop}
    assert {new[i] for i in characters(moved)} == expected


def test_what_is_written_behind_joins_what_it_touches():
    assert add_range((), 3, 5) == ((3, 5),)
    assert add_range(((3, 5),), 5, 9) == ((3, 9),)
    assert add_range(((3, 5),), 6, 9) == ((3, 5), (6, 9))


@pytest.mark.parametrize(
    "value",
    ["ab", 1, [[1]], [[2, 1]], [[0, 2], [1, 3]], [[0, True]], [[0, 1.5]], [[-1, 2]], [3, 4]],
)
def test_what_is_no_ranges_is_told(value):
    assert not are_ranges(value)
    assert are_ranges([[0, 2], [3, 4]])


TEXT = "Das Mädchen sagte: “na\u00efve” \U0001f98a, and the boy said \ud83e no"


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 9), st.sampled_from([0, 7]))
def test_tokens_are_marked_that_hold_a_character_of_a_range(shipped_model, start, count, before):
    trace = rv.trace(shipped_model, TEXT)
    ranges = ((start, min(len(TEXT), start + count)),)
    shown = TEXT[before:]
    own = tuple((max(0, a - before), b - before) for a, b in ranges if b > before)
    marked = written_tokens(trace, shown, own)
    # Each token's characters, by the tokenizer itself.
    clean = TEXT.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    spans = shipped_model.tokenizer.backend.encode(clean, add_special_tokens=False).offsets
    wanted = characters((a + before, b + before) for a, b in own)
    expected = {n for n, (a, b) in enumerate(spans) if wanted & set(range(a, b))}
    assert characters(marked) == expected


def test_of_a_text_without_ranges_no_token_is_marked(shipped_model):
    trace = rv.trace(shipped_model, "The boy")
    assert written_tokens(trace, "The boy", ()) == []
    assert written_tokens(trace, "The boy", ((20, 30),)) == []
