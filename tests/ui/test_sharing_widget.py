"""Sharing, undoing and the look of the pages, without a browser."""

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets import Widget

import retnet_viz as rv
from retnet_viz.ui import ExplorerState
from retnet_viz.ui.core.state import link, undo
from retnet_viz.ui.core.state.history import PAUSE
from retnet_viz.ui.core.state.link import LinkError
from retnet_viz.ui.core.state.page_layout import PageLayout
from retnet_viz.ui.pages.explorer.explorer import Explorer
from retnet_viz.ui.pages.modes.modes import Modes
from retnet_viz.ui.pages.presets import PRESETS
from retnet_viz.ui.pages.text_page import TextPage
from tests.support.examples import examples

MODEL = rv.load()
TEXT = "The old man said to the boy"
# A text that does not pack into 2,000 characters.
LONG = "".join(chr(97 + n * n * n % 1009 % 26) + " " * (n % 7 == 0) for n in range(2800))


@pytest.fixture
def clock(monkeypatch):
    """The time of the histories, which stands still until a test lets it pass."""
    times = [0.0]
    monkeypatch.setattr(undo, "History", lambda start: undo_history(start, lambda: times[0]))
    return times


undo_history = undo.History


@pytest.fixture
def board(clock):
    page = rv.explore(MODEL, TEXT)
    yield page
    page.stop()
    page.close_all()


def press(page: TextPage, what: str) -> None:
    """Press a key of the page, as the browser tells it."""
    page.page._handle_custom_msg({"do": what}, [])


def ask_for_file(page) -> tuple[str, bytes]:
    sent = []
    page.page.send = lambda content, buffers=None: sent.append((content, buffers))
    page.page._handle_custom_msg({"question": 1, "ask": "save"}, [])
    ((content, buffers),) = sent
    assert content["answers"] == 1
    return content["file"], buffers[0]


# -- undo and redo ------------------------------------------------------------------------------


def test_undo_goes_back_step_by_step_and_redo_on(board, clock):
    start = board.state
    for text in ("The old", "The old man", "The old man sat"):  # typed without a pause
        board.text.value = text
    clock[0] += 2 * PAUSE
    for layer in (1, 2, 3):  # dragged
        board.layer.value = layer
    board.mode.value = "recurrent"
    board.strip.selected = 2
    board.strip.selected = 1
    end = board.state
    states = []
    while not board.history.back.disabled:
        board.history.back.click()
        states.append((board.state.text, board.state.layer, board.state.mode, board.state.token))
    typed = "The old man sat"
    assert states == [
        (typed, 3, "recurrent", 2),
        (typed, 3, "recurrent", None),
        (typed, 3, "parallel", None),
        (typed, 0, "parallel", None),
        (TEXT, 0, "parallel", None),
    ]
    assert board.state == start
    assert board.text.value == TEXT
    assert board.trace.tokens == rv.trace(MODEL, TEXT).tokens
    press(board, "undo")  # nothing to go back to
    assert board.state == start
    while not board.history.on.disabled:
        press(board, "redo")
    assert board.state == end
    assert board.strip.selected == 1


def test_the_theme_is_not_undone(board):
    board.layer.value = 2
    board.theme.value = "dark"
    press(board, "undo")
    assert (board.state.layer, board.state.theme, board.theme.value) == (0, "dark", "dark")
    assert board.history.back.disabled


def test_what_the_stage_plays_is_one_step(board, clock):
    board.mode.value = "recurrent"
    board.stage.playing = True
    for token in (1, 2, 3, 4):
        clock[0] += 10 * PAUSE
        board.stage.token = token
    board.stage.playing = False
    clock[0] += 10 * PAUSE
    board.stage.token = 5
    press(board, "undo")
    assert board.selected == 4
    press(board, "undo")
    assert board.state.token is None
    assert board.state.mode == "recurrent"


def test_letters_that_wait_for_a_slow_reading_are_one_step(board, clock, monkeypatch):
    """On a busy machine a letter comes to the page long after it was typed."""
    read = board._read_text

    def read_slowly():
        read()
        clock[0] += 3 * PAUSE

    monkeypatch.setattr(board, "_read_text", read_slowly)
    for letters in ("A", "A k", "A king"):
        board.text.value = letters
    press(board, "undo")
    assert board.state.text == TEXT


def test_a_preset_and_a_file_are_steps(board):
    board.preset.value = 2
    assert PRESETS[2].point.split(",")[0] in board.notice.value
    content = b"A text of a file"
    board._on_file("a.txt", len(content), content)
    press(board, "undo")
    assert board.text.value == PRESETS[2].state.text
    press(board, "undo")
    assert board.text.value == TEXT
    assert PRESETS[2].point.split(",")[0] not in board.notice.value
    assert board.preset.value == -1


def test_a_mode_that_was_refused_is_no_step(board, monkeypatch):
    """What is shown in its place is what can be undone."""
    board.mode.value = "recurrent"
    real = board._reader.read

    def refuse(request):
        if request.mode == "parallel":
            from retnet_viz.trace.passes.budget import NotEnoughMemory

            request.on_failure(NotEnoughMemory("too much"))
            return True
        return real(request)

    monkeypatch.setattr(board._reader, "read", refuse)
    board.mode.value = "parallel"
    assert board.state.mode == "chunkwise"
    board.mode.value = "parallel"  # which leads to chunkwise mode again
    monkeypatch.undo()
    board.scale.value = "log"
    press(board, "undo")
    assert board.state.mode == "chunkwise"  # as it was, though parallel mode would do by now
    press(board, "undo")
    assert board.state.mode == "recurrent"


ACTIONS = st.one_of(
    st.tuples(st.just("text"), st.text("ab ", max_size=8)),
    st.tuples(st.just("mode"), st.sampled_from(("parallel", "recurrent", "chunkwise"))),
    st.tuples(st.just("chunk"), st.integers(1, 20)),
    st.tuples(st.just("layer"), st.integers(0, 3)),
    st.tuples(st.just("scale"), st.sampled_from(("linear", "log", "arcsinh"))),
    st.tuples(st.just("theme"), st.sampled_from(("auto", "light", "dark"))),
    st.tuples(st.just("selected"), st.integers(0, 6)),
    st.tuples(st.just("undo"), st.just(0)),
    st.tuples(st.just("redo"), st.just(0)),
)


@given(st.lists(ACTIONS, max_size=8))
@settings(deadline=None, max_examples=examples(25))
def test_after_any_actions_all_can_be_undone_and_redone_and_shared(actions):
    page = rv.explore(MODEL, "one two three")
    start = page.state
    for control, value in actions:
        if control in ("undo", "redo"):
            press(page, control)
        elif control == "selected":
            page.strip.selected = value
        else:
            getattr(page, control).value = value
    end = page.state
    while not page.history.back.disabled:
        press(page, "undo")
    assert page.state == replace(start, theme=end.theme)
    while not page.history.on.disabled:
        press(page, "redo")
    assert {**vars(page.state)}.keys() == {field.name for field in fields(ExplorerState)}
    again = rv.explore(MODEL)
    again.open_link(page.shared_link()[0])
    assert again.state == page.state
    assert again.history.back.disabled  # a page that was opened by a link begins there
    for each in (page, again):
        each.stop()
        each.close_all()


# -- links --------------------------------------------------------------------------------------


def test_an_empty_text_is_shared_as_one(board):
    board.text.value = ""
    again = rv.explore(MODEL)
    again.open_link(board.shared_link()[0])
    assert again.text.value == ""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("s=2.anything", "newer version"),
        ("s=0.anything", "older version"),
        (ExplorerState("A fox").query()[:-5], "incomplete"),
        (ExplorerState("A fox").query()[:-5] + "AAAAA", "was changed"),
        (ExplorerState("A fox").query()[:-5] + "&hide=cost&present=1", "incomplete"),
    ],
)
def test_a_link_that_cannot_be_read_is_told_and_nothing_changes(board, query, message):
    board.layer.value = 2
    board.arrange(["next"])
    before, look, cells = board.state, board.look, board.weights.cells
    board.open_link(query)
    assert message in board.notice.value
    assert 'role="alert"' in board.notice.value
    assert (board.state, board.look, board.weights.cells) == (before, look, cells)
    assert not board.history.back.disabled
    board.text.value = "It works on"
    assert message not in board.notice.value


def test_what_a_link_cannot_name_is_left_out_and_named(board):
    parts = {"explorer": {"text": "A fox", "layer": 7, "heads": [9], "<i>path": "/etc/passwd"}}
    board.open_link(f"{link.query_of(parts)}&hide=cost,kitchen")
    assert board.state == ExplorerState("A fox")
    assert board.look == PageLayout(("cost",))
    assert "“layer”, “heads”, “&lt;i&gt;path”, “kitchen”" in board.notice.value
    assert "<i>" not in board.notice.value
    assert "passwd" not in board.notice.value + board.page.query


@pytest.mark.slow
def test_a_text_too_long_for_a_link_goes_as_a_file(board):
    board.mode.value = "chunkwise"
    board.text.value = LONG
    board.arrange(["cost"], present=True)
    assert board.shared_link()[0] == ""
    assert "2,000 characters" in board.shared_link()[1]
    name, content = ask_for_file(board)
    assert name.endswith(".json")
    again = rv.explore(MODEL, "before")
    again._on_file(name, len(content), content)
    assert again.state == board.state
    assert again.look == board.look
    assert again.trace.ids.tolist() == MODEL.tokenizer.encode(LONG)
    # The pages of one server hand it to each other all the same.
    other = rv.modes(MODEL, "before")
    other.open_link(board.page.query)
    assert other.state.text == LONG
    press(again, "undo")
    assert again.text.value == "before"
    for each in (again, other):
        each.stop()
        each.close_all()


@pytest.mark.parametrize("change", [lambda c: c[:-9], lambda c: c.replace(b'n": 1', b'n": 2')])
def test_a_state_file_that_cannot_be_read_changes_nothing(board, change):
    before = board.state
    content = change(ask_for_file(board)[1])
    board._on_file("<b>.json", len(content), content)
    assert board.state == before
    assert "&lt;b&gt;.json" in board.notice.value


def test_a_link_is_never_longer_than_it_may_be(board, monkeypatch):
    monkeypatch.setattr(board._reader, "read", lambda request: True)
    for length in range(400, len(LONG), 50):
        board.text.value = LONG[:length]
        assert len(board.shared_link()[0]) <= link.MOST_SHARED
        assert bool(board.shared_link()[0]) != bool(board.shared_link()[1])


def test_the_page_of_costs_is_shared_without_a_long_text():
    page = rv.cost(batch=3)
    page.open_link(ExplorerState(LONG).query())
    assert link.read_link(page.shared_link()[0]).fields("cost") == {"batch": 3}
    assert "explorer" not in link.read_link(page.shared_link()[0]).parts
    assert link.read_link(page.page.query).parts["explorer"]["text"] == LONG
    page.stop()
    page.close_all()


# -- the look -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "panels"), [(rv.explore, Explorer.panels), (rv.modes, Modes.panels)]
)
def test_panels_are_hidden_and_shown_again(make, panels):
    page = make(MODEL, TEXT, hide=[panels[1], panels[0]], present=True)
    classes = set(page._dom_classes)
    assert {"rv-reduced", "rv-present"} < classes
    assert {name for name in panels if f"rv-without-{name}" in classes} == set(panels[:2])
    assert page.page.look == f"hide={panels[1]},{panels[0]}&present=1"
    assert page.shared_link()[0].endswith(f"&{page.page.look}")
    assert page.show_all.description == "show 2 hidden"
    press(page, "leave")
    assert page.look == PageLayout((panels[1], panels[0]))
    assert not page.present.value
    page.show_all.click()
    assert page.look == PageLayout()
    assert page.show_all.layout.display == "none"
    assert not {"rv-reduced", "rv-present"} & set(page._dom_classes)
    page.present.value = True
    assert page.look == PageLayout(present=True)
    again = make(MODEL)
    again.open_link(page.shared_link()[0])
    assert again.look == page.look
    with pytest.raises(ValueError, match="hide must name some of"):
        page.arrange(["kitchen"])
    for height in (12, "tall", 400.5):
        with pytest.raises(ValueError, match="height must be a number of pixels, 300 or more"):
            page.arrange(height=height)
    page.arrange(height=500)
    page.present.value = True  # which leaves the height as it is
    assert page.layout.height == "500px"
    assert {"rv-scrolling", "rv-present"} <= set(page._dom_classes)
    page.arrange()
    assert page.layout.height is None
    assert "rv-scrolling" not in page._dom_classes
    for each in (page, again):
        each.stop()
        each.close_all()


def test_a_page_that_has_opened_is_told_again_what_is_shown(board, monkeypatch):
    sent = {}
    monkeypatch.setattr(Widget, "send_state", lambda widget, key=None: sent.update({widget: key}))
    press(board, "opened")
    assert "figure" in sent[board.comparison.cost]
    assert "value" in sent[board.comparison.agree]
    assert {"value", "max"} <= sent[board.reading.bar]
    assert sent[board.reading.layout] == "display"
    assert sent[board.page] == "query"
    # Not what a person may be changing at that moment.
    assert not {board.text, board.layer, board.mode} & sent.keys()


@pytest.mark.parametrize("make", [rv.explore, rv.modes, rv.compare, rv.cost])
def test_the_page_chooses_its_panels_by_name(make):
    page = make(present=True)
    assert tuple(page.page.panels) == page.panels
    assert all(page.page.panels.values())
    assert (page.choose in page.children[1].children[0].children) == bool(page.panels)
    before = page.look
    for names in (["kitchen"], [{}, None, 7], "text", None):
        page.page._handle_custom_msg({"do": "hide", "names": names}, [])
        assert page.look == before
    page.page._handle_custom_msg({"do": "hide", "names": [*page.panels[:2], "kitchen"]}, [])
    assert page.look == PageLayout(page.panels[:2], present=True)
    page.stop()
    page.close_all()


@pytest.mark.parametrize("make", [rv.cost, rv.practice])
def test_the_other_pages_are_presented_too(make):
    page = make(present=True)
    assert "rv-present" in page._dom_classes
    page.open_link("present=1&hide=cost")
    assert "“cost”" in page.activity.value if make is rv.cost else page.notice.value
    assert page.look == PageLayout(present=True)
    page.stop()
    page.close_all()


def test_every_area_of_the_explorer_but_the_first_line_can_be_hidden():
    for make in (rv.explore, rv.modes):
        page = make(MODEL, TEXT)
        grid = page.children[1]
        areas = [
            name.removeprefix("rv-area-")
            for child in grid.children
            for name in child._dom_classes
            if name.startswith("rv-area-")
        ]
        assert set(page.panels) == set(areas) - {"head", "view"}
        page.stop()
        page.close_all()


def test_a_look_alone_changes_no_state(board):
    board.layer.value = 1
    board.open_link("present=1")
    assert board.state.layer == 1
    assert board.look.present
    with pytest.raises(LinkError):
        link.read_link("s=")


def test_a_link_without_a_layer_is_of_the_first_wherever_the_page_starts(shipped_model):
    explorer = rv.explore(shipped_model)
    explorer.open_link(ExplorerState("A fox").query())
    assert (explorer.state.text, explorer.state.layer) == ("A fox", 0)
    explorer.stop()
