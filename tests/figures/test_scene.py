"""Scenes: what the stage player draws, against the tensors that the modes computed."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable
from dataclasses import fields
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz import schedule, terms
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.figures.base.scale import SCALES
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import number
from retnet_viz.figures.steps.scene import WINDOW, Picture, Scene, scene
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.passes import capture

ModelFactory = Callable[..., RetNet]
NASTY = "Once <b>\n&\u202e upon"
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@st.composite
def places(draw: st.DrawFn) -> tuple[Callable[[ModelFactory, str], Trace], int, int]:
    """A maker of traces, a head, and a token."""
    options = {
        "seed": draw(st.integers(0, 99)),
        "decay": draw(st.sampled_from([(0.3, 0.9), (0.99, 1.0)])),
        "value_factor": draw(st.sampled_from([0.5, 2.0])),
        "dtype": draw(st.sampled_from(DTYPES)),
    }
    ids = torch.tensor(draw(st.lists(st.integers(0, 299), min_size=1, max_size=10)))
    chunk_size = draw(st.integers(1, 12))
    head, n = draw(st.integers(0, 1)), draw(st.integers(0, len(ids) - 1))
    return lambda model, mode: trace(model(**options), ids, mode, chunk_size), head, n


def pictures(step_scene: Scene) -> dict[str, Picture]:
    return {picture.term: picture for picture in step_scene.pictures}


def signs(step_scene: Scene) -> list[list[str]]:
    """Each line with the labels of its pictures and the signs between them."""
    return [
        [part.label if isinstance(part, Picture) else part for part in line]
        for line in step_scene.lines
    ]


def expected_pictures(sample: Trace, head: int, n: int) -> dict[str, torch.Tensor]:
    """The tensors that a scene of layer 1 of a short text shows, from the trace's accessors."""
    if sample.mode == "parallel":
        row = slice(n, n + 1)
        return {
            "scores": sample.scores(1, row)[head],
            "decay": sample.decay(1, row)[head],
            "weights": sample.retention(1, row)[head],
            "values": sample.v(1)[head],
            "output": sample.head_output(1)[head, row],
        }
    if sample.mode == "recurrent":
        state = sample.state(1, n)[head]
        before = sample.state(1, n - 1)[head] if n else torch.zeros_like(state)
        k, v = (x[head, n].to(state.dtype) for x in (sample.k(1), sample.v(1)))
        return {
            "before": before,
            "faded": sample.gamma(1)[head].to(state.dtype) * before,
            "added": k[:, None] * v[None],
            "state": state,
            "q": sample.q(1)[head, n][None],
            "output": sample.head_output(1)[head, n][None],
        }
    first = n - n % sample.chunk_size
    last = min(first + sample.chunk_size, sample.length)
    part = slice(first, last)
    state = sample.state(1, last - 1)[head]
    return {
        "weights": sample.retention(1, part, part)[head],
        "before": sample.state(1, first - 1)[head] if first else torch.zeros_like(state),
        "state": state,
        "inner": sample.inner(1)[head, part],
        "cross": sample.cross(1)[head, part],
        "output": sample.head_output(1)[head, part],
    }


def value(shown: str) -> float:
    """The number that `formula.number` has written."""
    powers = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    plain = shown.replace("−", "-").replace(",", "").replace(" × 10", "e")
    return float(plain.translate(powers))


# -- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@given(place=places())
def test_pictures_are_the_tensors_of_the_pass_to_the_last_bit(
    mode: str,
    place: tuple[Callable[[ModelFactory, str], Trace], int, int],
    tiny_model: ModelFactory,
) -> None:
    make, head, n = place
    sample = make(tiny_model, mode)
    drawn = scene(sample, 1, head, n)
    assert (drawn.mode, drawn.layer, drawn.head, drawn.n) == (mode, 1, head, n)
    shown, expected = pictures(drawn), expected_pictures(sample, head, n)
    assert list(shown) == list(expected)
    for name, picture in shown.items():
        exact = expected[name].float().numpy()
        assert picture.values.dtype == np.float32
        assert np.array_equal(picture.values, exact), name
        norm = math.sqrt(sum(value**2 for value in expected[name].double().flatten().tolist()))
        assert picture.norm == pytest.approx(norm, rel=1e-12)
        assert picture.signed is (name != "decay")
        assert picture.origin == ("derived" if name == "added" else "computed")
        with pytest.raises(ValueError, match="read-only"):
            picture.values[0, 0] = 1


def test_lines_of_each_mode_read_as_its_equation(tiny_model: ModelFactory) -> None:
    ids = torch.arange(12)
    parallel, recurrent, chunkwise = (
        scene(trace(tiny_model(), ids, mode, 5), 0, 1, 7) for mode in MODES
    )
    assert signs(parallel) == [
        ["q₇ Kᵀ", "×", "D₇", "=", "q₇ Kᵀ ⊙ D₇"],
        ["q₇ Kᵀ ⊙ D₇", "·", "V", "=", "o₇"],
    ]
    assert signs(recurrent) == [
        ["S₆", "→ ×γ", "γ S₆", "+", "k₇ᵀ v₇", "=", "S₇"],
        ["q₇", "· S₇ =", "o₇"],
    ]
    assert signs(chunkwise) == [
        ["Q₁ K₁ᵀ ⊙ D", "S₀", "→", "S₁"],
        ["inner", "+", "cross", "=", "O₁"],
    ]
    axes = {
        name: (p.rows, p.cols, p.row_start, p.col_start)
        for drawn in (parallel, recurrent, chunkwise)
        for name, p in ((f"{drawn.mode} {p.term}", p) for p in drawn.pictures)
    }
    row, state, part = ("", "token m", 7, 0), ("d_k", "d_v", 0, 0), ("token n", "d_v", 5, 0)
    assert axes == {
        "parallel scores": row,
        "parallel decay": row,
        "parallel weights": row,
        "parallel values": ("token m", "d_v", 0, 0),
        "parallel output": ("", "d_v", 7, 0),
        "recurrent before": state,
        "recurrent faded": state,
        "recurrent added": state,
        "recurrent state": state,
        "recurrent q": ("", "d_k", 7, 0),
        "recurrent output": ("", "d_v", 7, 0),
        "chunkwise weights": ("token n", "token m", 5, 5),
        "chunkwise before": state,
        "chunkwise state": state,
        "chunkwise inner": part,
        "chunkwise cross": part,
        "chunkwise output": part,
    }
    first = scene(trace(tiny_model(), ids, "recurrent"), 0, 1, 0)
    assert signs(first)[0][:3] == ["S₋₁", "→ ×γ", "γ S₋₁"]
    assert not pictures(first)["before"].values.any()


# -- plane and bars -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@given(place=places())
def test_lit_and_done_blocks_tile_the_cells_that_the_mode_builds(
    mode: str,
    place: tuple[Callable[[ModelFactory, str], Trace], int, int],
    tiny_model: ModelFactory,
) -> None:
    make, head, n = place
    sample = make(tiny_model, mode)
    steps = schedule(sample, 1, head)
    covered = np.zeros((sample.length, sample.length), dtype=int)
    for index, step in enumerate(steps.steps):
        drawn = scene(sample, 1, head, step.tokens[0])
        plane = drawn.plane
        assert (drawn.step, drawn.steps) == (index, len(steps))
        assert plane.built is (mode != "recurrent")
        assert (plane.lit is not None) is (plane.cells is not None) is plane.built
        assert plane.built or plane.done == ()
        before = np.zeros_like(covered)
        for rows, cols in plane.done:
            before[rows.start : rows.stop, cols.start : cols.stop] += 1
        assert np.array_equal(before, covered)  # done is what the steps before have lit
        if plane.lit is not None:
            (rows, cols), exact = plane.lit, sample.retention(1)[head].float().numpy()
            covered[rows.start : rows.stop, cols.start : cols.stop] += 1
            assert plane.row in rows
            assert np.array_equal(
                plane.cells, exact[rows.start : rows.stop, cols.start : cols.stop]
            )
    chunk = np.arange(sample.length) // (sample.chunk_size if mode == "chunkwise" else 99)
    same = chunk[:, None] == chunk[None]
    assert np.array_equal(covered, same.astype(int) if mode != "recurrent" else 0 * covered)
    assert scene(sample, 1, head, n).plane.row == n


@given(place=places())
def test_bars_of_recurrent_mode_are_what_each_token_still_adds(
    place: tuple[Callable[[ModelFactory, str], Trace], int, int], tiny_model: ModelFactory
) -> None:
    make, head, n = place
    sample = make(tiny_model, "recurrent")
    bars = scene(sample, 1, head, n).bars
    assert bars is not None
    k, v = (x[head].double().numpy() for x in (sample.k(1), sample.v(1)))
    gamma = sample.gamma(1)[head].item()
    norms = [np.linalg.norm(np.outer(a, b)) for a, b in zip(k, v, strict=True)]
    expected = [gamma ** (n - m) * norms[m] for m in range(n + 1)]
    assert bars.values == pytest.approx(expected, rel=1e-9)
    assert (bars.first, bars.slots, len(bars.labels)) == (0, sample.length, n + 1)
    assert bars.limit == pytest.approx(max(norms), rel=1e-9)
    assert bars.title.endswith("derived")
    assert bars.term in pictures(scene(sample, 1, head, n))


@given(place=places())
def test_bars_of_chunkwise_mode_are_the_share_of_the_carried_state(
    place: tuple[Callable[[ModelFactory, str], Trace], int, int], tiny_model: ModelFactory
) -> None:
    make, head, n = place
    sample = make(tiny_model, "chunkwise")
    bars = scene(sample, 1, head, n).bars
    assert bars is not None
    first = n - n % sample.chunk_size
    part = slice(first, first + sample.chunk_size)
    inner, cross = (
        np.linalg.norm(x[head, part].double().numpy(), axis=1)
        for x in (sample.inner(1), sample.cross(1))
    )
    assert bars.values == pytest.approx(list(cross / (cross + inner)), rel=1e-5)
    assert bars.first == first
    assert bars.slots == len(bars.values) == len(bars.labels)
    assert bars.limit == 1
    assert bars.title.endswith("derived")


def test_parallel_mode_has_no_bars(tiny_model: ModelFactory) -> None:
    assert scene(trace(tiny_model(), torch.arange(5)), 0, 0, 2).bars is None


# -- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "chunk_size", "n", "first"),
    [
        ("parallel", 64, 0, 0), ("parallel", 64, 150, 86), ("parallel", 64, 299, 172),
        ("recurrent", 64, 63, 0), ("recurrent", 64, 65, 1), ("recurrent", 64, 298, 172),
        ("chunkwise", 10, 5, 0), ("chunkwise", 10, 150, 91), ("chunkwise", 10, 159, 91),
        ("chunkwise", 10, 299, 172), ("chunkwise", 128, 130, 128), ("chunkwise", 128, 255, 128),
        ("chunkwise", 140, 145, 140), ("chunkwise", 140, 279, 152), ("chunkwise", 140, 299, 172),
        ("chunkwise", 300, 200, 136), ("chunkwise", 2**31 - 1, 200, 136),
    ],
)  # fmt: skip
def test_a_long_text_is_shown_through_a_window(
    mode: str, chunk_size: int, n: int, first: int, tiny_model: ModelFactory
) -> None:
    length = 300
    sample = trace(tiny_model(n_layers=1, d_model=4, dtype=torch.float32), torch.arange(length),
                  mode, chunk_size)  # fmt: skip
    drawn = scene(sample, 0, 1, n)
    plane, shown = drawn.plane, pictures(drawn)
    last = first + WINDOW
    assert (plane.first, plane.last, plane.row) == (first, last, n)
    assert first <= n < last
    assert drawn.tokens == [visible(token) for token in sample.tokens[first:last]]
    assert drawn.sentence.endswith(f" Tokens {first} to {last - 1} of 300 are shown.")
    window = slice(first, last)
    weights = sample.retention(0)[1].numpy()
    if mode == "parallel":
        assert np.array_equal(shown["weights"].values[0], weights[n, window])
        assert np.array_equal(shown["scores"].values, sample.scores(0)[1, n : n + 1, window])
        assert np.array_equal(shown["values"].values, sample.v(0)[1, window].numpy())
        assert np.array_equal(plane.cells, weights[window, window])
        assert {shown[name].col_start for name in ("scores", "decay", "weights")} == {first}
        assert shown["values"].row_start == first
        return
    assert drawn.bars is not None
    if mode == "recurrent":
        expected = terms(sample, 0, 1, n).contributions[first : n + 1]
        assert drawn.bars.values == expected.tolist()
        assert (drawn.bars.first, drawn.bars.slots) == (first, WINDOW)
        assert drawn.bars.labels == drawn.tokens[: n + 1 - first]
        return
    chunk = range(length)[n - n % chunk_size : n - n % chunk_size + chunk_size]
    assert plane.lit == (chunk, chunk)  # the whole of it, also what is not shown
    part = range(max(first, chunk.start), min(last, chunk.stop))
    assert len(part) == min(len(chunk), WINDOW)
    rows = slice(part.start, part.stop)
    assert np.array_equal(plane.cells, weights[rows, rows])
    assert np.array_equal(shown["weights"].values, weights[rows, rows])
    assert (shown["weights"].row_start, shown["weights"].col_start) == (part.start, part.start)
    for name, values in (("inner", sample.inner(0)), ("cross", sample.cross(0))):
        assert np.array_equal(shown[name].values, values[1, rows].numpy())
        assert shown[name].row_start == part.start
    assert np.array_equal(shown["output"].values, sample.head_output(0)[1, rows].numpy())
    assert drawn.bars.first == part.start
    assert drawn.bars.labels == [visible(sample.tokens[m]) for m in part]
    shares = terms(sample, 0, 1, n).share[part.start - chunk.start : part.stop - chunk.start]
    assert drawn.bars.values == shares.tolist()


def test_a_text_that_fits_is_shown_whole(tiny_model: ModelFactory) -> None:
    model = tiny_model(n_layers=1, d_model=4)
    for mode in MODES:
        drawn = scene(trace(model, torch.arange(WINDOW), mode, 5), 0, 0, WINDOW // 2)
        assert (drawn.plane.first, drawn.plane.last) == (0, WINDOW)
        assert "shown" not in drawn.sentence


# -- colour limits ------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [capture.STATE_BUDGET, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "chunk_size"), [("parallel", 4), ("recurrent", 4),
                                                  ("chunkwise", 4), ("chunkwise", 99)])  # fmt: skip
def test_limits_stay_the_same_over_all_steps_and_are_reached(
    mode: str, chunk_size: int, dtype: torch.dtype, budget: int, tiny_model: ModelFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    sample = trace(tiny_model(dtype=dtype), torch.arange(9) * 11 % 300, mode, chunk_size)
    drawn = [scene(sample, 1, 1, n) for n in range(9)]
    limits = drawn[0].limits
    assert all(one.limits == limits for one in drawn)
    maxima = dict.fromkeys(limits, 0.0)
    for one in drawn:
        for picture in one.pictures:
            largest = float(np.abs(picture.values).max())
            maxima[picture.scale] = max(maxima[picture.scale], largest)
        if one.plane.cells is not None:
            assert np.abs(one.plane.cells).max() <= limits["weights"] * (1 + 1e-6)
        if one.bars is not None:
            assert max(one.bars.values) <= one.bars.limit * (1 + 1e-12)
            assert one.bars.limit == drawn[0].bars.limit
    expected = {"values", "output", "decay", "weights"} if mode == "parallel" else None
    expected = expected or {
        "values",
        "output",
        "state",
        "query" if mode == "recurrent" else "weights",
    }
    assert set(limits) == expected
    for name, largest in maxima.items():
        if name == "values" and mode != "parallel":
            continue  # no picture of V there
        assert limits[name] == pytest.approx(largest, rel=1e-6), name


def test_the_limit_of_states_holds_for_what_is_added_too(tiny_model: ModelFactory) -> None:
    model = tiny_model(n_layers=1, norm="rms", rotation="none", decay=(1.0, 1.0))
    block = model.blocks[0]
    with torch.no_grad():
        block.retention_norm.weight.fill_(1)
        # keys read the first half of an embedding, values the second: token 1 takes away more than
        # token 0 has put in, so what it adds is larger than any state
        block.retention.k_proj.weight[:, 8:] = 0
        block.retention.v_proj.weight[:, :8] = 0
        model.embedding.weight[0] = torch.tensor([0.3] * 8 + [1.0] * 8)
        model.embedding.weight[1] = torch.tensor([-1.0] * 8 + [1.0] * 8)
    drawn = scene(trace(model, torch.tensor([0, 1]), "recurrent"), 0, 0, 1)
    shown = {term: np.abs(picture.values).max() for term, picture in pictures(drawn).items()}
    assert shown["added"] > 1.2 * max(shown["before"], shown["state"])
    assert drawn.limits["state"] == shown["added"]


def test_limits_are_those_of_the_layer_and_the_head(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(9), "recurrent")
    limits = {(layer, head): scene(sample, layer, head, 3).limits["state"]
              for layer in (0, 1) for head in (0, 1)}  # fmt: skip
    assert len(set(limits.values())) == 4
    again = {place: scene(sample, *place, 4).limits["state"] for place in limits}
    assert again == limits
    other = trace(tiny_model(seed=5), torch.arange(9), "recurrent")
    assert scene(other, 0, 0, 3).limits["state"] != limits[0, 0]


def test_what_is_kept_for_a_trace_dies_with_it(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(9), "recurrent")
    drawn = scene(sample, 0, 0, 3)
    reference = weakref.ref(sample)
    del sample
    gc.collect()
    assert reference() is None
    assert drawn.table()  # a scene needs no trace


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", MODES)
def test_each_picture_has_a_colour_scale_of_the_kind_asked_for(
    mode: str, scale: str, tiny_model: ModelFactory
) -> None:
    sample = trace(tiny_model(decay=(0.9, 1e-5), dtype=torch.float32), torch.arange(12), mode, 5)
    for head in (0, 1):
        drawn = scene(sample, 0, head, 7, scale)
        assert set(drawn.scales) == set(drawn.limits)
        for picture in drawn.pictures:
            colors = drawn.scales[picture.scale]
            assert (colors.kind, colors.signed) == (scale, picture.signed)
            assert colors.limit == drawn.limits[picture.scale]
            places = colors.position(picture.values)
            assert np.isfinite(places).all()
        if mode == "parallel" and scale == "log":  # 0.9^11 is the weakest of the text
            weakest = drawn.scales["decay"].floor
            assert weakest == pytest.approx(0.9**11) if head == 0 else 0 < weakest < 1e-30
            # the newest token is at the top of the scale, older ones are below it
            place = drawn.scales["decay"].position(pictures(drawn)["decay"].values[0])
            assert place[7] == 1
            assert (np.diff(place[:8]) >= 0).all()
            assert place[0] < 0.6


def test_zeros_have_scales_too(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    with torch.no_grad():
        for block in model.blocks:
            block.retention.v_proj.weight.zero_()
    for mode in MODES:
        drawn = scene(trace(model, torch.arange(6), mode, 4), 0, 0, 5)
        for picture in drawn.pictures:
            assert np.isfinite(drawn.scales[picture.scale].position(picture.values)).all()
        assert "not a number" not in drawn.sentence


# -- formula, sentence, table -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@given(place=places())
def test_every_term_of_the_formula_has_its_picture_and_the_other_way_round(
    mode: str,
    place: tuple[Callable[[ModelFactory, str], Trace], int, int],
    tiny_model: ModelFactory,
) -> None:
    make, head, n = place
    sample = make(tiny_model, mode)
    drawn = scene(sample, 1, head, n)
    keys = {part.get("data-term") for part in ElementTree.fromstring(drawn.formula).iter()} - {None}
    tokens = {key for key in keys if str(key).startswith("m:")}
    assert keys - tokens == set(pictures(drawn))
    assert tokens <= {f"m:{m}" for m in range(n + 1)}
    assert bool(tokens) is (mode == "parallel")


def scene_by(mode: str, n: int, tiny_model: ModelFactory, **options: object) -> Scene:
    model = tiny_model(**{"n_layers": 1, "decay": (0.9, 1.0), **options})
    return scene(trace(model, torch.arange(7), mode, 3), 0, 0, n)


def test_the_sentence_of_a_recurrent_step(tiny_model: ModelFactory) -> None:
    drawn = scene_by("recurrent", 4, tiny_model)
    norm = {name: number(picture.norm) for name, picture in pictures(drawn).items()}
    values = drawn.bars.values
    most = max(range(5), key=values.__getitem__)
    read = "this token" if most == 4 else f"token {most} “{most}”"
    assert drawn.sentence == (
        f"Step 5 of 7: head 0 keeps 0.9 of the state (‖S‖ {norm['before']} becomes "
        f"{norm['faded']}), adds “4” ({norm['added']}) and holds {norm['state']}; it retains most "
        f"from {read}."
    )
    drawn = scene_by("recurrent", 0, tiny_model)
    norm = {name: number(picture.norm) for name, picture in pictures(drawn).items()}
    assert drawn.sentence == (
        f"Step 1 of 7: head 0 starts with an empty state, adds “0” ({norm['added']}) and holds "
        f"{norm['state']}."
    )
    assert "keeps all of the state" in scene_by(
        "recurrent", 1, tiny_model, decay=(1.0, 0.5)
    ).sentence  # fmt: skip


def test_the_sentence_of_a_parallel_row(tiny_model: ModelFactory) -> None:
    drawn = scene_by("parallel", 4, tiny_model)
    shown = pictures(drawn)
    weights = shown["weights"].values[0, :5]
    m = int(np.abs(weights).argmax())
    score, decay = (number(float(shown[name].values[0, m])) for name in ("scores", "decay"))
    read = "itself" if m == 4 else f"token {m} “{m}”"
    assert drawn.sentence == (
        "One step computes all 7 tokens at once. In head 0 token 4 “4” reads 5 tokens, most "
        f"strongly {read}: score {score} × decay {decay} = weight {number(float(weights[m]))}."
    )
    only = number(float(pictures(scene_by("parallel", 0, tiny_model))["weights"].values[0, 0]))
    assert scene_by("parallel", 0, tiny_model).sentence == (
        "One step computes all 7 tokens at once. In head 0 token 0 “0” reads only itself, with "
        f"weight {only}."
    )
    alone = scene(trace(tiny_model(), torch.tensor([7])), 0, 0, 0)
    assert alone.sentence.startswith("One step computes the only token. In head 0 token 0 “7”")
    blind = tiny_model()
    with torch.no_grad():
        blind.blocks[0].retention.q_proj.weight.zero_()
    sentence = scene(trace(blind, torch.arange(3)), 0, 0, 2).sentence
    assert sentence.endswith("token 2 “2” reads 3 tokens, all with weight 0.")


def test_the_sentence_of_a_chunk(tiny_model: ModelFactory) -> None:
    drawn = scene_by("chunkwise", 4, tiny_model)
    norm = {name: number(picture.norm) for name, picture in pictures(drawn).items()}
    assert drawn.sentence == (
        "Step 2 of 3 computes tokens 3 to 5 at once. Head 0 carries what it holds of 3 earlier "
        f"tokens into this chunk (‖S‖ {norm['before']}, then {norm['state']}); it gives token 4 "
        f"“4” {number(100 * drawn.bars.values[1])} % of its output, by norm."
    )
    first = scene_by("chunkwise", 1, tiny_model)
    assert first.sentence == (
        "Step 1 of 3 computes tokens 0 to 2 at once. Head 0 carries nothing into the first chunk; "
        f"the state that it hands on has ‖S‖ {number(pictures(first)['state'].norm)}."
    )
    last = scene_by("chunkwise", 6, tiny_model).sentence
    assert last.startswith(
        "Step 3 of 3 computes token 6. Head 0 carries what it holds of 6 earlier"
    )
    single = scene(trace(tiny_model(), torch.arange(3), "chunkwise", 1), 0, 0, 1).sentence
    assert "of 1 earlier token into" in single


@pytest.mark.parametrize("mode", MODES)
def test_any_text_is_named_as_it_is_seen_and_never_in_the_formula(
    mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    sample = trace(model, NASTY, mode, 4)
    for n in range(sample.length):
        drawn = scene(sample, 0, 0, n)
        assert drawn.tokens == [visible(token) for token in sample.tokens]
        for character in "\n\u202e":
            texts = (drawn.sentence, drawn.formula, json.dumps(drawn.table(), ensure_ascii=False))
            assert not any(character in text for text in texts)
        ElementTree.fromstring(drawn.formula)


@pytest.mark.parametrize("mode", MODES)
@given(place=places())
def test_the_table_holds_every_number_that_is_drawn(
    mode: str,
    place: tuple[Callable[[ModelFactory, str], Trace], int, int],
    tiny_model: ModelFactory,
) -> None:
    make, head, n = place
    sample = make(tiny_model, mode)
    drawn = scene(sample, 1, head, n)
    (caption, header, rows), (token_caption, token_header, tokens) = drawn.table()
    step = f"step {drawn.step + 1} of {drawn.steps}, head {head}"
    assert caption.endswith(step)
    assert token_caption.endswith(step)
    assert header == ("term", "size", "norm", "origin")
    assert rows == [
        (p.label, f"{p.values.shape[0]} × {p.values.shape[1]}", number(p.norm), p.origin)
        for p in drawn.pictures
    ]
    assert all(len(row) == len(token_header) for row in tokens)
    if mode == "parallel":
        assert token_header == ("m", "token", "q·k", "γ^(n−m)", "weight")
        cells = [sample.cell(1, head, n, m) for m in range(n + 1)]
        numbers = [tuple(map(number, (c.score, c.decay, c.weight))) for c in cells]
        positions = list(range(n + 1))
    elif mode == "recurrent":
        numbers = [(number(value),) for value in drawn.bars.values]
        positions = list(range(n + 1))
    else:
        part = drawn.plane.lit[0]
        norms = [
            [float(torch.linalg.vector_norm(row.float())) for row in values[head]]
            for values in (sample.inner(1), sample.cross(1))
        ]
        assert token_header == ("n", "token", "|inner|", "|cross|", "share of the state")
        expected = [(norms[0][m], norms[1][m], drawn.bars.values[m - part.start]) for m in part]
        for row, exact in zip(tokens, expected, strict=True):
            assert [value(shown) for shown in row[2:]] == pytest.approx(exact, rel=6e-3)
        numbers = [row[2:] for row in tokens]
        positions = list(part)
    assert tokens == [
        (str(m), visible(sample.tokens[m]), *row) for m, row in zip(positions, numbers, strict=True)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_costs_are_those_of_the_step(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(7), mode, 3)
    steps = schedule(sample, 1, 0)
    for n in range(7):
        drawn, step = scene(sample, 1, 0, n), steps.steps[steps.step_of(n)]
        for name in ("flops", "held_bytes", "carried_bytes"):
            assert getattr(drawn, name) == getattr(step, name)
        assert drawn.step == step.index


def test_a_scene_is_plain_data_that_does_not_change(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(7), "recurrent")
    drawn = scene(sample, 0, 0, 3)
    for part in (drawn, drawn.plane, drawn.bars, drawn.pictures[0]):
        name = fields(part)[0].name
        with pytest.raises(AttributeError):
            setattr(part, name, None)
    drawn.limits["state"] = -1.0  # a copy: the next step is not harmed
    assert scene(sample, 0, 0, 3).limits["state"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_a_scene_refuses_what_there_is_not(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), torch.arange(5), mode, 2)
    for n in (5, -1):
        with pytest.raises(IndexError, match=f"position {n} is outside a text of 5 tokens"):
            scene(sample, 0, 0, n)
    for head in (2, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 1"):
            scene(sample, 0, head, 0)
    for layer in (2, -1):
        with pytest.raises(IndexError, match=rf"layer {layer} is outside 0 \.\. 1"):
            scene(sample, layer, 0, 0)
    with pytest.raises(ValueError, match=r"scale must be one of .*not 'cubic'"):
        scene(sample, 0, 0, 0, "cubic")
