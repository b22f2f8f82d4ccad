"""The stage without a browser: ask for a scene as the page does, read what it would draw."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from ipywidgets.widgets.widget import CallbackDispatcher

import retnet_viz as rv
from retnet_viz.figures.base.scale import SCALES
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import formula, number
from retnet_viz.trace import ParallelTerms, RecurrentTerms
from retnet_viz.ui.core.state import link
from retnet_viz.ui.pages.text_page import TextPage
from retnet_viz.ui.panels.steps.step_player import StepPlayer

TEXT = "The fox had a red kite, and the kite had a long tail. The owl sat in the tree."
CASES = [("parallel", 8), ("recurrent", 8), ("chunkwise", 1), ("chunkwise", 5), ("chunkwise", 500)]
WINDOW = 128
# Which colour scale each picture is on.
STATES, OUTPUTS = ("before", "faded", "added", "state"), ("inner", "cross", "output")
SCALE_OF = (
    {"scores": "weights", "weights": "weights", "decay": "decay", "values": "values", "q": "query"}
    | dict.fromkeys(STATES, "state")
    | dict.fromkeys(OUTPUTS, "output")
)


@pytest.fixture(scope="module")
def reader(tiny_model, tiny_tokenizer):
    """A small float32 model that reads text."""
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(scope="module")
def traces(reader):
    """A trace of TEXT for each mode and chunk size, of its own: not the one that a board made."""
    return {case: rv.trace(reader, TEXT, *case) for case in CASES}


@pytest.fixture(autouse=True)
def callbacks_raise(monkeypatch):
    """What a message's callback raises fails the test; ipywidgets would only log it."""

    def call(self, *args):
        for callback in self.callbacks:
            callback(*args)

    monkeypatch.setattr(CallbackDispatcher, "__call__", call)


class Page:
    """The browser's side of a stage: asks, and keeps what is answered."""

    def __init__(self, stage):
        self.stage = stage
        self.answers = []
        stage.send = lambda content, buffers=None: self.answers.append((content, buffers))

    def tell(self, content):
        """What is sent back for a message."""
        self.answers.clear()
        self.stage._handle_custom_msg(content, [])
        return self.answers

    def question(self, name, about):
        """The one answer to a question, and its buffers."""
        ((content, buffers),) = self.tell({"question": "q", "ask": name, "about": about})
        assert content["answers"] == "q"
        json.dumps(content, allow_nan=False)  # what is not finite no page can read
        return content, buffers

    def ask(self, name, token, **more):
        """The answer about a token in the version that is shown."""
        return self.question(name, {"version": self.stage.version, "token": token, **more})

    def refusal(self, name, about):
        """Why a question has no other answer."""
        content, buffers = self.question(name, about)
        assert set(content) == {"answers", "error"}
        assert not buffers
        return content["error"]

    def scene(self, token):
        """The description of a token's scene, and its bytes."""
        content, (places,) = self.ask("scene", token)
        return content["scene"], np.frombuffer(places, np.uint8).astype(int)


def page_of(trace, layer=0, head=0, scale="linear", token=0):
    stage = StepPlayer(trace.n_heads if trace else 2)
    stage.show(trace, layer, head, scale, token=token)
    return Page(stage)


def pictures(scene):
    return {
        part["term"]: part for line in scene["lines"] for part in line if not isinstance(part, str)
    }


def matrix(places, part):
    """The places in the colour table of one picture."""
    count = part["height"] * part["width"]
    return places[part["at"] : part["at"] + count].reshape(part["height"], part["width"])


def expected_places(values, limit, scale, *, smallest=None):
    """Places by the three scales' own formulas; `smallest` is given for magnitudes."""
    share = np.abs(values) / limit
    if scale == "arcsinh":
        share = np.arcsinh(20 * share) / math.asinh(20)
    elif scale == "log":
        floor = max(1e-4, smallest / limit if smallest is not None else 0)
        with np.errstate(divide="ignore"):
            share = 1 - np.log10(share) / math.log10(floor)
    share = np.clip(share, 0, 1)
    if smallest is None:
        share = (np.copysign(share, values) + 1) / 2
    return 1 + 254 * share


def values_of_text(terms, trace, layer, head):
    """term -> (values, number of the first row, of the first column), whole as the mode has it."""
    n = terms.n
    if isinstance(terms, ParallelTerms):
        row = slice(n, n + 1)

        def masked(read):  # the cells m > n are computed too, and masked to 0
            return torch.cat([read, torch.zeros(trace.length - n - 1)])[None], n, 0

        scores = trace.q(layer)[head, row] @ trace.k(layer)[head].mT
        torch.testing.assert_close(scores[0, : n + 1], terms.scores)
        return {
            "scores": (scores, n, 0),
            "decay": masked(terms.decay),
            "weights": masked(terms.weights),
            "values": (trace.v(layer)[head], 0, 0),
            "output": (terms.output[None], n, 0),
        }
    if isinstance(terms, RecurrentTerms):
        values = {name: (getattr(terms, name), 0, 0) for name in STATES}
        return values | {"q": (terms.q[None], n, 0), "output": (terms.output[None], n, 0)}
    first = terms.tokens.start
    values = {name: (getattr(terms, name), 0, 0) for name in ("before", "state")}
    values |= {name: (getattr(terms, name), first, 0) for name in OUTPUTS}
    return values | {"weights": (terms.weights, first, first)}


def window_of(part, values, first_row, first_column):
    """What of `values` a picture shows."""
    row, column = part["rowStart"] - first_row, part["colStart"] - first_column
    assert row >= 0
    assert column >= 0
    window = values[row : row + part["height"], column : column + part["width"]].double().numpy()
    assert window.shape == (part["height"], part["width"])
    return window


def check_scene(page, trace, layer, head, n, scale="linear"):
    """Everything that the page gets for a token against the terms and the schedule of the trace."""
    scene, places = page.scene(n)
    terms = rv.terms(trace, layer, head, n)
    schedule = rv.schedule(trace, layer, head)
    step = schedule.steps[schedule.step_of(n)]
    smallest = trace.gamma(layer)[head].item() ** (trace.length - 1)
    limits = page.stage.scene(n).limits
    assert scene["limits"] == {name: number(limit) for name, limit in limits.items()}
    expected = values_of_text(terms, trace, layer, head)
    parts = pictures(scene)
    assert parts.keys() == expected.keys()
    n_places = 0
    for term, part in parts.items():
        values = window_of(part, *expected[term])
        signed = term != "decay"
        assert (part["scale"], part["signed"]) == (SCALE_OF[term], signed)
        assert part["norm"] == number(float(np.linalg.norm(values)))
        floor = None if signed else smallest
        expected_pixels = expected_places(values, limits[part["scale"]], scale, smallest=floor)
        pixels = matrix(places, part)
        assert pixels.min() >= 1  # 0 is "nothing here"
        assert np.abs(pixels - expected_pixels).max() <= 1, term
        n_places += pixels.size
    check_plane(scene["plane"], places, trace, layer, head, n, step, limits, scale)
    check_bars(scene["bars"], trace, terms, scene["plane"])
    assert (scene["step"], scene["steps"]) == (step.index, len(schedule))
    assert scene["formula"] == formula(terms)
    for count in (step.flops, step.held_bytes, step.carried_bytes):
        assert number(count / 1e3) in scene["cost"]
    window = slice(scene["plane"]["first"], scene["plane"]["last"])
    assert scene["tokens"] == [visible(token) for token in trace.tokens[window]]
    if trace.mode == "recurrent":
        assert n_places == len(places)  # no bytes that nothing shows
    return scene


def check_plane(plane, places, trace, layer, head, n, step, limits, scale):
    first, last = plane["first"], plane["last"]
    assert last - first == min(trace.length, WINDOW)
    assert first <= n < last
    assert plane["row"] == n
    assert plane["built"] == (trace.mode != "recurrent")
    if trace.mode == "recurrent":
        assert (plane["lit"], plane["done"], plane["cells"]) == (None, [], None)
        return
    tokens, cells = step.tokens, step.cells
    assert plane["lit"] == [tokens.start, tokens.stop, cells.start, cells.stop]
    earlier = set(range(step.index * trace.chunk_size))
    covered = [m for n0, n1, m0, m1 in plane["done"] if (n0, n1) == (m0, m1) for m in range(n0, n1)]
    assert earlier >= set(covered) >= earlier & set(range(first, last))
    rows = slice(max(first, tokens.start), min(last, tokens.stop))
    block = trace.retention(layer, rows, rows)[head].double().numpy()
    assert plane["cells"] == list(block.shape)
    pixels = places[plane["at"] :][: block.size].reshape(block.shape)
    expected = expected_places(block, limits["weights"], scale)
    assert np.abs(pixels - expected).max() <= 1


def check_bars(bars, trace, terms, plane):
    if isinstance(terms, ParallelTerms):
        assert bars is None
        return
    recurrent = isinstance(terms, RecurrentTerms)
    start, values = (0, terms.contributions) if recurrent else (terms.tokens.start, terms.share)
    stop = start + len(values)
    window = range(max(start, plane["first"]), min(stop, plane["last"]))
    assert bars["first"] == window.start
    expected = values[window.start - start : window.stop - start].tolist()
    assert bars["values"] == pytest.approx(expected, rel=1e-4, abs=1e-30)
    assert bars["labels"] == [visible(trace.tokens[m]) for m in window]
    assert max(bars["values"]) <= bars["limit"] * (1 + 1e-4)
    assert bars["slots"] >= len(bars["values"])


@pytest.mark.parametrize("case", CASES)
def test_a_scene_shows_the_terms_of_the_trace(traces, case):
    trace = traces[case]
    last = trace.length - 1
    for layer, head, tokens in ((0, 0, (0, 7, last)), (1, 1, (0, 4, 5, last - 1)), (0, 1, (last,))):
        page = page_of(trace, layer, head)
        for n in tokens:
            check_scene(page, trace, layer, head, n)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3]])
def test_a_scene_is_coloured_by_the_chosen_scale(traces, case, scale):
    check_scene(page_of(traces[case], 1, 0, scale), traces[case], 1, 0, 9, scale)


@pytest.mark.parametrize("case", CASES)
def test_the_limit_of_a_scale_is_the_largest_value_that_any_step_shows(traces, case):
    trace = traces[case]
    stage = page_of(trace, 1, 1).stage
    largest = {"decay": 1.0} if trace.mode == "parallel" else {}
    for n in range(trace.length):
        for term, (values, _, _) in values_of_text(rv.terms(trace, 1, 1, n), trace, 1, 1).items():
            maximum = values.abs().max().item()
            largest[SCALE_OF[term]] = max(largest.get(SCALE_OF[term], 0.0), maximum)
        assert stage.scene(n).limits == stage.scene(0).limits
    for name, limit in stage.scene(0).limits.items():
        assert limit == pytest.approx(largest.get(name, limit), rel=1e-5)
    assert stage.scene(0).limits.keys() >= largest.keys()


@pytest.mark.parametrize(
    ("mode", "chunk"),
    [("parallel", 8), ("recurrent", 8), ("chunkwise", 8), ("chunkwise", 300), ("chunkwise", 2048)],
)
def test_a_text_of_2048_tokens_is_shown_by_a_window(reader, mode, chunk):
    ids = torch.arange(2048) % 300
    trace = rv.trace(reader, ids, mode, chunk)
    page = page_of(trace, 1, 1)
    for n in (0, 1000, 2047):
        scene = check_scene(page, trace, 1, 1, n)
        assert "of 2,048 are shown" in scene["sentence"]
        ((content, (places,)),) = page.answers
        assert len(json.dumps(content)) + len(places) < 200_000


@pytest.mark.parametrize("case", CASES)
def test_pointing_at_an_entry_tells_its_exact_number(traces, case):
    trace, n = traces[case], 11
    page = page_of(trace, 1, 0)
    scene, _ = page.scene(n)
    tensors = values_of_text(rv.terms(trace, 1, 0, n), trace, 1, 0)
    values = {term: window_of(part, *tensors[term]) for term, part in pictures(scene).items()}
    sums = {
        "state": ("faded", "+", "added"),
        "weights": ("scores", "×", "decay"),
        "output": ("inner", "+", "cross"),
    }
    for term, part in pictures(scene).items():
        for row, column in ((0, 0), (part["height"] - 1, part["width"] - 1), (0, 3)):
            if column >= part["width"]:
                continue
            content, _ = page.ask("probe", n, at=[term, row, column])
            value = number(values[term][row, column])
            first, sign, second = sums.get(term, ("", "", ""))
            if first in values:
                a, b = (number(values[name][row, column]) for name in (first, second))
                assert content["text"].endswith(f" = {a} {sign} {b} = {value}")
            else:
                assert content["text"].endswith(f" = {value}")
            name, place = content["text"].split("] = ")[0].split("[")
            assert name == part["label"]
            for axis, start, index in (("rows", "rowStart", row), ("cols", "colStart", column)):
                at = part[start] + index
                if part[axis].startswith("token"):
                    assert f"{part[axis][-1]} {at} “{visible(trace.tokens[at])}”" in place
                elif part[axis]:
                    assert f"{part[axis]} {at}" in place


@pytest.mark.parametrize(
    ("case", "cell", "when"),
    [
        (("parallel", 8), (11, 2), "(computed at this step)"),
        (("recurrent", 8), (11, 2), "(never built by this mode: derived)"),
        (("chunkwise", 5), (11, 10), "(computed at this step)"),
        (("chunkwise", 5), (4, 1), "(computed at an earlier step)"),
        (("chunkwise", 5), (16, 15), "(computed at a later step)"),
        (("chunkwise", 5), (11, 2), "(never built by this mode: derived)"),
        (("chunkwise", 5), (2, 11), "which comes later"),
    ],
)
def test_pointing_at_the_plane_tells_the_weight_and_when_it_is_computed(traces, case, cell, when):
    trace = traces[case]
    content, _ = page_of(trace, 1, 1).ask("probe", 11, at=["plane", *cell])
    assert content["text"].endswith(when)
    assert "head 1" in content["text"]
    if cell[1] < cell[0]:
        parts = trace.cell(1, 1, *cell)
        assert f"{parts.score:.3g} × γ" in content["text"]
        assert f"= {parts.weight:.3g} (" in content["text"]


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3]])
def test_the_tables_hold_the_numbers_of_the_scene(traces, case):
    trace, n = traces[case], 12
    page = page_of(trace, 0, 1)
    content, _ = page.ask("tables", n)
    (_, _, terms), (_, header, rows) = content["tables"]
    scene, _ = page.scene(n)
    assert [row[2] for row in terms] == [part["norm"] for part in pictures(scene).values()]
    assert [row[0] for row in terms] == [part["label"] for part in pictures(scene).values()]
    kept_terms = rv.terms(trace, 0, 1, n)
    first = 0
    if isinstance(kept_terms, ParallelTerms):
        columns = [kept_terms.scores, kept_terms.decay, kept_terms.weights]
    elif isinstance(kept_terms, RecurrentTerms):
        columns = [kept_terms.contributions]
    else:
        first = kept_terms.tokens.start
        columns = [kept_terms.inner.norm(dim=1), kept_terms.cross.norm(dim=1), kept_terms.share]
    assert len(header) == 2 + len(columns)
    assert [list(row) for row in rows] == [
        [str(first + i), visible(trace.tokens[first + i]), *map(number, values)]
        for i, values in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]


def test_more_scenes_than_are_kept_are_still_answered(traces):
    trace = traces["recurrent", 8]
    page = page_of(trace, 0, 0)
    before = page.scene(0)
    for n in range(trace.length):
        page.scene(n)
    after = page.scene(0)
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])


def test_the_colours_are_a_signed_table_and_one_of_magnitudes(traces):
    stage = page_of(traces["parallel", 8]).stage
    tables = np.frombuffer(stage.colors, np.uint8).reshape(2, 256, 3)
    assert np.array_equal(tables[0], color_table(DIVERGING))
    assert np.array_equal(tables[1], color_table(SEQUENTIAL))
    assert stage.heads == [head_color(0), head_color(1)]


@pytest.mark.parametrize("case", CASES)
def test_the_page_counts_the_steps_of_the_schedule(traces, case):
    trace = traces[case]
    meta = page_of(trace, 1, 0).stage.meta
    schedule = rv.schedule(trace, 1, 0)
    assert (meta["length"], meta["mode"], meta["layer"]) == (trace.length, trace.mode, 1)
    assert math.ceil(meta["length"] / meta["stride"]) == len(schedule)
    for n in range(trace.length):
        assert n // meta["stride"] == schedule.step_of(n)


# -- messages -----------------------------------------------------------------------------------


def test_what_was_asked_before_an_edit_is_refused(traces):
    page = page_of(traces["recurrent", 8])
    old = page.stage.version
    assert "scene" in page.ask("scene", 3)[0]
    page.stage.show(traces["chunkwise", 5], 1, 1, "log", token=2)
    assert page.stage.version > old
    for version in (old, page.stage.version + 1, 0, -1):
        assert "earlier text" in page.refusal("scene", {"version": version, "token": 3})
    check_scene(page, traces["chunkwise", 5], 1, 1, 3, "log")


@pytest.mark.parametrize("kind", ["scene", "tables", "probe"])
def test_an_empty_text_has_nothing_to_answer(kind):
    page = page_of(None, token=-1)
    assert page.stage.meta["length"] == 0
    for token in (-1, 0, 1):
        about = {"version": page.stage.version, "token": token, "at": ["q", 0, 0]}
        assert page.refusal(kind, about) == "There is no such step."


LENGTH = 24
BAD_TOKENS = [-1, LENGTH * 9, 10**40, -(10**40), 2.0, float("nan"), "3", None, [3], {}, True, False]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=repr)
@pytest.mark.parametrize("kind", ["scene", "tables", "probe"])
def test_a_question_about_no_token_is_refused(traces, kind, token):
    page = page_of(traces["recurrent", 8])
    about = {"version": page.stage.version, "token": token, "at": ["state", 0, 0]}
    assert page.refusal(kind, about) == "There is no such step."


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("scene", None),
        ("scene", []),
        ("scene", {}),
        ("scene", {"token": 3}),
        ("scene", {"version": 1}),
        (None, {"version": 1, "token": 3}),
        (["scene"], {"version": 1, "token": 3}),
        ("scenes", {"version": 1, "token": 3}),
        ("scene", {"version": "1", "token": 3}),
        ("scene", {"version": [1], "token": 3}),
        ("probe", {"version": 1, "token": 3}),
        ("probe", {"version": 1, "token": 3, "at": None}),
        ("probe", {"version": 1, "token": 3, "at": "plane"}),
        ("probe", {"version": 1, "token": 3, "at": {"0": "plane"}}),
    ],
    ids=repr,
)
def test_a_question_that_means_nothing_is_refused(traces, name, about):
    page = page_of(traces["parallel", 8])
    assert page.stage.version == 1
    assert page.refusal(name, about)


@pytest.mark.parametrize("message", [None, [], "scene", 7, {}, {"ask": "scene"}], ids=repr)
def test_a_message_that_is_no_question_is_ignored(traces, message):
    assert page_of(traces["parallel", 8]).tell(message) == []


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.integers(),
    st.floats(),
    st.sampled_from(["plane", "state", "weights", "output", "q", "decay", "<b>", ""]),
    st.lists(st.integers(0, 3), max_size=2),
)


@given(case=st.sampled_from(CASES), at=st.lists(ODD, max_size=5))
@example(case=("recurrent", 8), at=["state", True, 0])
@example(case=("recurrent", 8), at=["plane", 3, False])
def test_pointing_at_no_entry_says_nothing(traces, case, at):
    page = page_of(traces[case], 1, 1)
    content, _ = page.ask("probe", 8, at=at)
    assert isinstance(content["text"], str)
    place = [*at, 0, 0, 0][:3]
    if not all(type(index) is int and index >= 0 for index in place[1:]) or max(place[1:]) > 99:
        assert content["text"] == ""


# -- on a board ---------------------------------------------------------------------------------


@pytest.fixture(params=[rv.explore, rv.modes], ids=["explorer", "modes"])
def board(request, reader, monkeypatch):
    monkeypatch.setattr(TextPage, "job_pause", 600.0)  # nothing is measured beside the test
    board = request.param(reader, TEXT, mode="recurrent")
    yield board
    board.stop()
    board.close_all()


def test_a_token_picked_on_the_stage_is_picked_everywhere(board):
    board.stage.token = 4
    assert board.state.token == board.selected == board.strip.selected == 4
    assert "n = 4" in board.strip.title


def test_a_token_picked_elsewhere_is_picked_on_the_stage(board, reader):
    board.strip.selected = 6
    assert board.stage.token == 6
    check_scene(
        Page(board.stage), rv.trace(reader, TEXT, "recurrent", 8), 0, 0, 6, board.state.scale
    )


def test_the_head_is_the_same_on_the_stage_and_in_the_state(board, reader):
    board.stage.head = 1
    assert board.state.head == 1
    check_scene(
        Page(board.stage), rv.trace(reader, TEXT, "recurrent", 8), 0, 1, 6, board.state.scale
    )
    board.apply_state(type(board.state)(TEXT, "recurrent", head=0))
    assert board.stage.head == 0


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("mode", "chunkwise"),
        ("mode", "parallel"),
        ("layer", 1),
        ("scale", "log"),
        ("text", "A fox"),
    ],
)
def test_an_edit_makes_earlier_scenes_stale(board, reader, control, value):
    old = board.stage.version
    getattr(board, control).value = value
    page = Page(board.stage)
    assert "earlier text" in page.refusal("scene", {"version": old, "token": 0})
    state = board.state
    trace = rv.trace(reader, state.text, state.mode, state.chunk_size)
    check_scene(page, trace, state.layer, state.head, 0, state.scale)


def test_a_token_picked_while_a_new_text_came_is_not_taken(board):
    earlier = board.stage.version
    board.text.value += " The fox ran."
    board.stage.set_state({"token": 2, "told": earlier})  # what a playing page had sent by then
    assert board.state.token is None
    assert board.stage.token == board.selected == board.trace.length - 1
    board.stage.set_state({"token": 2, "told": board.stage.version})
    assert board.state.token == board.stage.token == board.selected == 2


def test_selecting_a_token_makes_no_scene_stale(board):
    old = board.stage.version
    board.strip.selected = 3
    board.stage.token = 5
    assert board.stage.version == old


def test_a_new_text_is_read_to_its_end(board):
    """The last token is selected by nobody's choice: it moves on as one types."""
    board.strip.selected = 2
    board.text.value += " The fox ran."
    assert board.state.token is None
    assert "token" not in link.read_link(board.page.query).fields("explorer")
    assert board.stage.token == board.selected == board.trace.length - 1
    board.text.value = ""
    assert board.state.token is None
    assert (board.stage.token, board.stage.meta["length"]) == (-1, 0)


def test_what_comes_next_is_drawn_where_playing_stops(reader):
    explorer = rv.explore(reader, TEXT, mode="recurrent")
    before = explorer.next.figure
    explorer.stage.playing = True
    for token in (3, 4, 5):
        explorer.stage.token = token
        assert explorer.next.figure == before
        assert explorer.strip.selected == explorer.norms.cursor == token
    explorer.stage.playing = False
    assert "n = 5" in explorer.next.figure["layout"]["title"]["text"]
    trace = rv.trace(reader, TEXT, "recurrent", 8)
    top = trace.logits[5].double().softmax(-1).topk(10)
    assert explorer.next.figure["data"][0]["x"] == pytest.approx(top.values.tolist())
    explorer.stop()
    explorer.close_all()
