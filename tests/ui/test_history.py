"""Undo and redo: whatever was done, all of it can be taken back and done again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.ui.core.state.history import MOST_STEPS, PAUSE, History

GESTURES = st.sampled_from(["", "text", "layer"])
EDITS = st.lists(st.tuples(st.integers(0, 3), GESTURES, st.floats(0, 2 * PAUSE)), max_size=40)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def edited(edits, start=0):
    """A history after these edits, (state, gesture, seconds before it)."""
    clock = Clock()
    history = History(start, clock)
    for state, gesture, seconds in edits:
        clock.now += seconds
        history.record(state, gesture)
        assert history.current == state
        assert not history.can_redo
    return history


def steps(history, move, can):
    """The states that one comes by, going one way to the end."""
    shown_states = []
    while getattr(history, can):
        shown_states.append(getattr(history, move)())
    return shown_states


@given(EDITS)
def test_all_that_was_done_can_be_taken_back_and_done_again(edits):
    history = edited(edits)
    end = history.current
    back = [end, *steps(history, "undo", "can_undo")]
    assert history.current == history.undo() == back[-1] == 0
    forth = [0, *steps(history, "redo", "can_redo")]
    assert history.current == history.redo() == end
    assert forth == back[::-1]
    assert all(one != next_one for one, next_one in pairwise(back))


@given(EDITS.map(lambda edits: [(state, "", seconds) for state, _, seconds in edits]))
def test_without_gestures_every_change_is_a_step_unless_it_undoes_itself(edits):
    history = edited(edits)
    states = [0]
    for state, _, _ in edits:
        if state != states[-1]:
            states.append(state)
    assert steps(history, "undo", "can_undo") == states[-2::-1]


@given(EDITS, st.integers(0, 40), st.integers(4, 9))
def test_a_new_choice_ends_what_could_be_redone(edits, back, new):
    history = edited(edits)
    for _ in range(back):
        history.undo()
    state = history.current
    history.record(new)
    assert not history.can_redo
    assert history.undo() == state


def test_changes_of_one_gesture_are_one_step_until_a_pause():
    quick, slow = PAUSE / 2, 2 * PAUSE
    history = edited(
        [("a", "text", 0), ("ab", "text", quick), ("abc", "text", quick), ("abcd", "text", slow)],
        start="",
    )
    assert steps(history, "undo", "can_undo") == ["abc", ""]


def test_the_pause_begins_when_the_last_change_is_done():
    clock = Clock()
    history = History("", clock)
    for text, pause in (("a", 0), ("ab", PAUSE / 2), ("abc", 2 * PAUSE)):
        clock.now += pause
        history.record(text, "text")
        clock.now += 10 * PAUSE  # the page works on it
        history.begin_pause()
    assert steps(history, "undo", "can_undo") == ["ab", ""]


def test_another_gesture_or_an_undo_begins_a_step():
    history = edited([("a", "text", 0), ("b", "layer", 0), ("c", "text", 0)], start="")
    assert history.undo() == "b"
    history.record("d", "text")
    assert steps(history, "undo", "can_undo") == ["b", "a", ""]


def test_a_gesture_that_ends_where_it_began_is_no_step():
    history = edited([(1, "", 0), (2, "layer", 0), (1, "layer", 0)])
    assert steps(history, "undo", "can_undo") == [0]


def test_a_change_can_go_on_as_long_as_it_says():
    clock = Clock()
    history = History(0, clock)
    for token in (1, 2, 3):
        clock.now += 100 * PAUSE
        history.record(token, "playing", float("inf"))
    assert steps(history, "undo", "can_undo") == [0]


def test_what_becomes_of_a_choice_is_no_step():
    history = edited([("parallel", "", 0)], start="recurrent")
    history.amend("chunkwise")
    assert steps(history, "undo", "can_undo") == ["recurrent"]
    history.redo()
    history.amend("recurrent")
    assert not history.can_undo


def test_the_oldest_steps_are_forgotten():
    history = edited([(n, "", 0) for n in range(1, 3 * MOST_STEPS)])
    back = steps(history, "undo", "can_undo")
    assert len(back) == MOST_STEPS
    assert back[-1] == 3 * MOST_STEPS - 1 - MOST_STEPS
