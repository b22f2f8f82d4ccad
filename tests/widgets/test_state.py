"""The explorer's state: what a link carries, and what no link can do."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retnet_viz.model import MODES, RetNetConfig
from retnet_viz.widgets import ExplorerState
from retnet_viz.widgets.state import CLOCKS, GAINS, MAX_CHUNK, PRECISIONS, SWITCHES, VIEWS

NUMBERS = st.integers(0, 2**31 - 1)
STATES = st.builds(
    ExplorerState,
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80),
    mode=st.sampled_from(MODES),
    chunk_size=NUMBERS,
    layer=NUMBERS,
    heads=st.lists(NUMBERS, max_size=4).map(tuple),
    token=st.none() | NUMBERS,
    cell=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    head=NUMBERS,
    compare=st.none() | NUMBERS,
    view=st.sampled_from(VIEWS),
    precision=st.sampled_from(PRECISIONS),
    clock=st.sampled_from(CLOCKS),
    without=st.sets(st.sampled_from(SWITCHES)).map(
        lambda off: tuple(name for name in SWITCHES if name in off)
    ),
    gain=st.floats(0.01, 100),
    scale=st.sampled_from(("linear", "log", "arcsinh")),
    theme=st.sampled_from(("auto", "light", "dark")),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(STATES)
@settings(deadline=None)
def test_a_link_brings_back_every_field(state):
    assert ExplorerState(**ExplorerState.fields_of(state.query())) == state


@given(st.text())
@settings(deadline=None)
def test_any_query_is_read_without_an_error(query):
    ExplorerState(**ExplorerState.fields_of(query))


@given(st.dictionaries(st.sampled_from([*ExplorerState.__dataclass_fields__, "path"]), JSON))
@settings(deadline=None)
def test_fields_of_the_wrong_kind_are_ignored(fields):
    read = ExplorerState.fields_of(urlencode({"state": json.dumps(fields)}))
    fitted = ExplorerState(**read).fitted(RetNetConfig())
    assert "path" not in read
    assert fitted.mode in MODES
    assert 1 <= fitted.chunk_size <= MAX_CHUNK
    assert 0 <= fitted.head < 4
    assert GAINS[0] <= fitted.gain <= GAINS[1]
    assert 0 <= fitted.layer < 4
    assert all(0 <= head < 4 for head in fitted.heads)


@pytest.mark.parametrize("heads", [(0, 1, 2, 3), (9, 12), ()])
def test_all_heads_or_none_that_exist_mean_all(heads):
    assert ExplorerState(heads=heads).fitted(RetNetConfig()).heads == ()
