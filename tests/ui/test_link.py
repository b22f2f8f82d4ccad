"""Links: every field comes back, nothing else gets in, and each thing wrong has a sentence."""

import base64
import json
import tracemalloc
import zlib
from dataclasses import fields, replace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retnet_viz.experiments.cost_model import CARDS, PRECISIONS, SIZES
from retnet_viz.experiments.learning.tasks import TASKS
from retnet_viz.experiments.learning.tiny_training import HEADS, LONGEST, SHORTEST
from retnet_viz.experiments.speed.machine import THIS_MACHINE
from retnet_viz.model import MODES, RetNetConfig
from retnet_viz.trace import edits
from retnet_viz.ui import ExplorerState, TrainingState
from retnet_viz.ui.core.state import link, state_file
from retnet_viz.ui.core.state import page_state as states
from retnet_viz.ui.core.state.link import LinkError
from retnet_viz.ui.core.state.page_layout import PageLayout
from retnet_viz.ui.pages.cost.cost_state import CONTEXTS, MOST_ROWS, REACHES, THESE, CostState
from retnet_viz.ui.pages.training.training_state import MAPS, MOST_SEED

CONFIG = RetNetConfig()
PANELS = ("text", "strip", "cost")
THEMES = st.sampled_from(states.THEME_CHOICES)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)
NUMBERS = st.integers(0, 2**31 - 1)
HEAD = st.integers(0, CONFIG.n_heads - 1)


def some_of(names):
    return st.sets(st.sampled_from(names)).map(lambda on: tuple(n for n in names if n in on))


# Where ranges of characters begin and end, in turn.
BOUNDS = st.sets(st.integers(0, 100), max_size=6).map(sorted)
RANGES = BOUNDS.map(lambda ends: tuple(zip(ends[::2], ends[1::2], strict=False)))
PLACES = st.integers(-100, 100)
EDITS = st.one_of(
    st.builds(edits.gamma, st.floats(0.01, 1), layer=st.none() | NUMBERS, head=st.none() | HEAD),
    st.builds(edits.silence, mean=st.booleans(), head=st.sets(HEAD, min_size=1)),
    st.builds(edits.forget, PLACES, PLACES),
    st.builds(edits.reset, PLACES, scale=st.floats(-2, 2)),
    st.builds(edits.cut, PLACES, PLACES, layer=NUMBERS),
    st.builds(edits.without, st.sampled_from(("rotation", "decay", "head_norm", "gate"))),
    st.builds(
        edits.swap,
        PLACES,
        ids=st.lists(NUMBERS, min_size=1, max_size=4),
        edits=st.just([edits.silence(layer=(0, 1))]),
    ),
    st.builds(
        edits.patch, st.just("retention.v"), st.lists(st.floats(-1, 1), min_size=1, max_size=3)
    ),
)
EXPLORERS = st.builds(
    ExplorerState,
    text=TEXTS,
    mode=st.sampled_from(MODES),
    chunk_size=st.integers(1, states.MAX_CHUNK),
    layer=st.integers(0, CONFIG.n_layers - 1),
    heads=some_of(range(CONFIG.n_heads - 1)),
    head=HEAD,
    token=st.none() | NUMBERS,
    cell=st.none() | st.tuples(HEAD, NUMBERS, NUMBERS),
    compare=st.none() | NUMBERS,
    view=st.sampled_from(states.VIEWS),
    precision=st.sampled_from(states.PRECISIONS),
    clock=st.sampled_from(states.CLOCKS),
    without=some_of(states.SWITCHES),
    layers=st.lists(NUMBERS, max_size=3).map(tuple),
    planes=st.lists(NUMBERS, max_size=3).map(tuple),
    gain=st.floats(*states.GAINS),
    edits=st.lists(EDITS, max_size=3, unique=True).map(tuple),
    written=RANGES,
    scale=st.sampled_from(states.SCALES),
    theme=THEMES,
    before=TEXTS,
)
COSTS = st.builds(
    CostState,
    reach=st.sampled_from(REACHES),
    size=st.sampled_from((*SIZES, THESE)),
    context=st.sampled_from(CONTEXTS),
    batch=st.integers(1, MOST_ROWS),
    precision=st.sampled_from(list(PRECISIONS)),
    card=st.sampled_from((*CARDS, THIS_MACHINE)),
    theme=THEMES,
)
TRAININGS = st.builds(
    TrainingState,
    task=st.sampled_from(list(TASKS)),
    seed=st.integers(0, MOST_SEED),
    half_lives=st.tuples(*[st.floats(SHORTEST, LONGEST)] * HEADS),
    learned=some_of(range(HEADS)),
    layer=st.integers(0, 3),
    shown=st.sampled_from(MAPS),
    theme=THEMES,
).map(TrainingState.checked)
LOOKS = st.builds(PageLayout, some_of(PANELS), st.booleans())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def query_of_bytes(content: bytes, version: str = "1") -> str:
    """A link over these bytes, as a person with a script would write one."""
    body = base64.urlsafe_b64encode(zlib.compress(content)).decode().rstrip("=")
    return f"s={version}.{body}"


def explorer_of(result):
    return ExplorerState().with_fields(result.fields("explorer"), CONFIG)


def assert_allowed(state: ExplorerState) -> None:
    """The state is one that a model of CONFIG can show."""
    assert state.checked(CONFIG) == state
    assert isinstance(state.text, str)
    assert all(type(head) is int for head in state.heads)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [(ExplorerState, EXPLORERS), (CostState, COSTS), (TrainingState, TRAININGS)],
)
def test_the_strategies_vary_every_field(kind, strategy):
    """So that the properties below are about every field, also one that is new."""
    names = {field.name for field in fields(kind)}
    varied = set()

    # As many examples in the fast loop as in the whole one: a quarter of them may miss a field.
    @given(strategy)
    @settings(deadline=None, database=None, max_examples=25)
    def look(state):
        varied.update(name for name in names if getattr(state, name) != getattr(kind(), name))

    look()
    assert varied == names


@given(EXPLORERS, COSTS, TRAININGS, LOOKS)
@settings(deadline=None)
def test_a_link_brings_back_every_field_of_every_state_and_the_look(state, cost, training, look):
    others = {
        app: {**cost.link_parts(), **training.link_parts()}[app] for app in ("cost", "training")
    }
    result = link.read_link("&".join(part for part in (state.query(others), look.query()) if part))
    assert explorer_of(result) == (replace(state, before=""), [])  # which a file alone holds
    theme = state.theme  # all apps share that of the page that made the link
    assert CostState().with_fields(result.fields("cost")) == (replace(cost, theme=theme), [])
    assert TrainingState().with_fields(result.fields("training")) == (
        replace(training, theme=theme),
        [],
    )
    assert result.other_parts("explorer") == json.loads(json.dumps(others))
    assert (result.look, result.ignored) == (look, ())


@given(EXPLORERS, COSTS, LOOKS)
@settings(deadline=None)
def test_a_file_brings_back_the_same_and_the_whole_text(state, cost, look):
    parts = {"cost": cost.link_parts()["cost"], **state.link_parts(full_text=True)}
    content = state_file.encode(parts, look).encode()
    assert state_file.is_state(content)
    result = state_file.decode(content, "a.json", len(content))
    assert explorer_of(result) == (state, [])
    assert CostState().with_fields(result.fields("cost")) == (
        replace(cost, theme=state.theme),
        [],
    )
    assert (result.look, result.ignored) == (look, ())


# -- what is wrong with a link ------------------------------------------------------------------


@given(EXPLORERS, st.data())
@settings(deadline=None)
def test_a_link_whose_end_is_missing_is_told_so(state, data):
    query = state.query()
    end = data.draw(st.integers(len("s="), len(query) - 1))
    with pytest.raises(LinkError, match="link is incomplete"):
        link.read_link(query[:end])
    content = state_file.encode(state.link_parts(full_text=True), PageLayout()).encode()
    start = content.index(b",")
    end = data.draw(st.integers(start, len(content) - 3))  # its line break may go
    with pytest.raises(LinkError, match=r"a\.json (is incomplete|was changed)"):
        state_file.decode(content[:end], "a.json", end)


@given(EXPLORERS, st.data())
@settings(deadline=None)
def test_a_link_with_another_letter_is_refused_or_means_the_same(state, data):
    query = state.query()
    at = data.draw(st.integers(len("s=1."), len(query) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.!ä%"))
    try:
        result = link.read_link(f"{query[:at]}{letter}{query[at + 1 :]}")
    except LinkError:
        return
    assert explorer_of(result) == (
        replace(state, before=""),
        [],
    )  # a spare bit of the last letter


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("s=", "incomplete"),
        ("s=1", "incomplete"),
        ("s=1.", "incomplete"),
        ("s=2.whatever comes then!", "newer version"),
        ("s=999999.", "newer version"),
        ("s=0.abc", "older version"),
        ("s=-1.abc", "was changed"),
        ("s=one.abc", "was changed"),
        ("s=state", "was changed"),
        ("s=1.!!!!", "was changed"),
        ("s=1.AAAA", "was changed"),
        (query_of_bytes(b"[]"), "was changed"),
        (query_of_bytes(b"nonsense"), "was changed"),
        (query_of_bytes(b"\xff\xfe"), "was changed"),
        (query_of_bytes(b'{"explorer": {"gain": NaN}}'), "was changed"),
        (query_of_bytes(b"[" * 100_000), "was changed"),
        (query_of_bytes(b"{}") + "AAAA", "was changed"),
        (query_of_bytes(b"{}", "2"), "newer version"),
        (query_of_bytes(b" " * (link.MOST_JSON_BYTES + 1)), "more than a link can hold"),
        ("s=1." + "A" * link.MOST_IN_QUERY, "longer than"),
    ],
)
def test_each_reason_has_its_sentence(query, message):
    with pytest.raises(LinkError, match=message):
        link.read_link(query)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": "retnet-viz state"', "incomplete"),
        (b'{"format": "retnet-viz state", "version": 1}', "was changed"),
        (b'{"format": "retnet-viz state", "version": 2}', "newer version"),
        (b'{"format": "retnet-viz state", "version": true}', "was changed"),
        (b'{"format": "retnet-viz state", "version": "1"}', "was changed"),
        (b'{"format": "retnet-viz state", "version": 1, "state": [], "look": ""}', "was changed"),
        (b'{"format": "retnet-viz state", "version": 1, "state": {}, "look": 1}', "was changed"),
        (b'{"format": "retnet-viz state"\xff}', "was changed"),
    ],
)
def test_each_reason_has_its_sentence_for_a_file_too(content, message):
    assert state_file.is_state(content)
    with pytest.raises(LinkError, match=message):
        state_file.decode(content, "a.json", len(content))


def test_a_file_that_is_too_large_or_not_whole_is_told_so():
    content = state_file.encode({}, PageLayout()).encode()
    with pytest.raises(LinkError, match="at most"):
        state_file.decode(content, "a.json", state_file.MOST_BYTES + 1)
    with pytest.raises(LinkError, match="incomplete"):
        state_file.decode(content, "a.json", len(content) + 1)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"a": "retnet-viz state"}', b"Once upon a time"])
def test_another_file_is_no_state_file(content):
    assert not state_file.is_state(content)


def test_a_small_link_does_not_become_large():
    """A bomb of 20 MB in 20 kB is refused before it is unpacked."""
    bomb = query_of_bytes(b" " * 20_000_000)
    assert len(bomb) < link.MOST_IN_QUERY
    tracemalloc.start()
    with pytest.raises(LinkError, match="more than a link can hold"):
        link.read_link(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 * link.MOST_JSON_BYTES
    tracemalloc.stop()


# -- what a link cannot do ----------------------------------------------------------------------


@given(st.text() | st.text().map(lambda text: f"s=1.{quote(text)}&hide={quote(text)}"))
@settings(deadline=None)
def test_any_query_is_read_or_refused_with_a_sentence(query):
    try:
        result = link.read_link(query)
    except LinkError:
        return
    assert_allowed(explorer_of(result)[0])


NAMES = st.sampled_from(
    [*(field.name for field in fields(ExplorerState)), "path", "model", "__class__", "preset"]
)


@given(st.dictionaries(NAMES, JSON | st.integers(-3, 10)))
@settings(deadline=None)
def test_whatever_the_fields_are_the_state_is_one_that_can_be_shown(part):
    content = json.dumps({"explorer": part}, allow_nan=True).encode()
    try:
        result = link.read_link(query_of_bytes(content))
    except LinkError:
        assert b"NaN" in content or b"Infinity" in content
        return
    state, refused = explorer_of(result)
    assert_allowed(state)
    defaults = ExplorerState()
    if result.parts:
        for name, value in part.items():
            if name in refused or not hasattr(defaults, name):
                assert name in refused
                assert not hasattr(defaults, name) or getattr(state, name) == getattr(
                    defaults, name
                )
            else:
                assert json.loads(json.dumps(getattr(state, name))) == value or name in (
                    "heads",  # all of them are none in particular
                    "without",  # in their own order
                    "gain",
                )
    else:
        assert result.ignored == ("explorer",)  # too deep to be handed on


@given(st.dictionaries(st.sampled_from(["cost", "training", "explorer", "theme", "path"]), JSON))
@settings(deadline=None)
def test_whatever_the_parts_are_the_other_states_are_ones_that_can_be_shown(parts):
    content = json.dumps(parts).encode()
    try:
        result = link.read_link(query_of_bytes(content))
    except LinkError:
        assert b"NaN" in content or b"Infinity" in content
        return
    assert CostState().with_fields(result.fields("cost"))[0].theme in states.THEME_CHOICES
    assert TrainingState().with_fields(result.fields("training"))[0].checked()
    assert "path" not in result.parts
    assert ("path" in result.ignored) == ("path" in parts)
    link.read_link(link.query_of(result.other_parts("cost")))  # it can be handed on


@pytest.mark.parametrize(
    "part",
    [[], 3, None, {"batch": float("inf")}, {"batch": [[[[[[[[[1]]]]]]]]]}, {"a": {"b": [1e999]}}],
)
def test_a_part_that_cannot_be_handed_on_is_none(part):
    content = json.dumps({"cost": part, "training": {"seed": 3}}).replace("Infinity", "1e999")
    result = link.read_link(query_of_bytes(content.encode()))
    assert result.ignored == ("cost",)
    assert result.other_parts("explorer") == {"training": {"seed": 3}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("without", ["rotation", "walls"]),
        ("without", [["rotation"]]),
        ("cell", [1, 2]),
        ("heads", [True]),
        ("gain", 1e9),
        ("gain", 10**400),
        ("token", -1),
        ("text", 5),
        ("mode", "serial"),
    ],
)
def test_a_field_out_of_its_range_is_left_out_and_named(name, value):
    result = link.read_link(
        query_of_bytes(json.dumps({"explorer": {name: value, "layer": 1}}).encode())
    )
    assert explorer_of(result) == (ExplorerState(layer=1), [name])


def test_a_path_or_a_model_is_no_field():
    fields = {"text": "A fox", "path": "/etc/passwd", "model": "/tmp/evil", "layer": 9, "head": 1}
    parts = {"explorer": fields, "checkpoint": "/tmp/evil.pt"}
    result = link.read_link(query_of_bytes(json.dumps(parts).encode()))
    state, refused = explorer_of(result)
    assert state == ExplorerState("A fox", head=1)
    assert refused == ["path", "model", "layer"]
    assert result.ignored == ("checkpoint",)
    assert link.query_of(result.other_parts("cost")).count(".") == 1
    assert "evil" not in json.dumps(result.other_parts("training") | {"explorer": {}})


def test_names_are_few_and_short():
    message = link.quote_names(["layer", "layer", "x" * 500, "a", "b", "c", "d"])
    assert message.startswith("“layer”, “xxx")
    assert message.endswith("“b”, 2 more")
    assert len(message) < 80


def test_an_address_is_as_good_as_its_query():
    query = ExplorerState("A fox?", layer=2).query()
    for address in (query, f"?{query}", f"http://host:1/voila/render/a.ipynb?theme=dark&{query}#x"):
        assert explorer_of(link.read_link(address))[0] == ExplorerState("A fox?", layer=2)


def test_other_parameters_are_left_to_others():
    assert link.read_link("theme=dark&voila-theme=x&state={}") == link.Link()
    assert link.read_link("") == link.Link()


# -- lengths ------------------------------------------------------------------------------------


@given(st.text(max_size=400), LOOKS)
@settings(deadline=None)
def test_a_link_is_given_only_where_it_is_short_enough(text, look):
    parts = ExplorerState(text).link_parts()
    query = "&".join(part for part in (link.query_of(parts), look.query()) if part)
    assert link.first_within(len(query), parts, look=look.query()) == query
    assert link.first_within(len(query) - 1, parts, look=look.query()) == ""


def test_what_the_other_apps_hold_gives_way_before_the_own_state_does():
    mine, theirs = (
        {"cost": {"batch": 3}},
        ExplorerState("".join(map(chr, range(33, 2000)))).link_parts(),
    )
    assert link.first_within(2000, {**theirs, **mine}, mine) == link.query_of(mine)
    assert link.first_within(9000, {**theirs, **mine}, mine) == link.query_of({**theirs, **mine})


def test_no_link_is_given_that_would_not_be_read_again():
    parts = ExplorerState("a" * (link.MOST_JSON_BYTES + 1)).link_parts()
    assert len(link.query_of(parts)) < link.MOST_SHARED  # it packs well
    assert link.first_within(link.MOST_SHARED, parts) == ""


# -- the look -----------------------------------------------------------------------------------


def test_a_page_takes_the_names_that_it_has():
    result = link.read_link("hide=cost,%20strip,cost,nonsense,&present=1")
    assert result.look.for_panels(PANELS) == (
        PageLayout(("cost", "strip"), present=True),
        ["nonsense"],
    )
    assert link.read_link("hide=&present=0").look == PageLayout()
    assert link.read_link("present=yes").ignored == ("present",)
