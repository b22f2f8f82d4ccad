"""What edits change: each against a literal computation, and exact in every mode."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import retnet_viz as rv
from retnet_viz.model import MODES, RetNet, RetNetState
from retnet_viz.trace import Trace
from retnet_viz.trace.edits.apply import apply, resolve
from retnet_viz.trace.edits.edit import (
    Cut,
    Edit,
    EditError,
    Forget,
    Patch,
    Reset,
    Swap,
    edit_from_dict,
)
from retnet_viz.trace.edits.patches import PUBLISHED
from tests.support.examples import examples
from tests.support.variants import variants

HEADS, TOKENS = 2, 9
SHAPE = {"vocab_size": 23, "d_model": 8, "n_heads": HEADS}  # two layers; d_k 4, d_v 8


ModelFactory = Callable[..., RetNet]


def text(seed: int, length: int = TOKENS) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(SHAPE["vocab_size"], (length,), generator=generator)


@pytest.fixture(scope="module")
def model(tiny_model: ModelFactory) -> RetNet:
    return tiny_model(**SHAPE)


def by_head(x: Tensor) -> Tensor:
    """(T, H * d_v) as (H, T, d_v)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(0, 1)


def names(numbers: tuple[int, ...] | None, number: int) -> bool:
    return numbers is None or number in numbers


# -- what tokens read, and the state ---------------------------------------------------------------


def literal_retention(
    trace: rv.Trace, layer: int, head: int, swapped: dict[Edit, RetNetState]
) -> tuple[Tensor, Tensor]:
    """o (T, d_v) and S (T, d_k, d_v) of a head, from its q, k and v: what each token left in the
    state is a matrix of its own, so that a token can be taken out."""
    q, k, v = (x(layer)[head] for x in (trace.q, trace.k, trace.v))
    gamma = trace.gamma(layer)[head]
    edits = [e for e in trace.edits if names(e.layer, layer) and names(e.head, head)]
    left: dict[int, Tensor] = {}
    if trace.started_from is not None:
        left[-1] = trace.started_from.layers[layer][0, head]
    outputs, states = [], []
    for n in range(trace.length):
        for edit in edits:
            if isinstance(edit, Forget) and edit.start == n:
                left[edit.token] = torch.zeros_like(left[edit.token])
            if isinstance(edit, Reset) and edit.start == n:
                left = {m: edit.scale * part for m, part in left.items()}
            if isinstance(edit, Swap) and edit.start == n:
                left = {m: 0 * part for m, part in left.items()}
                left[-2] = swapped[edit].layers[layer][0, head]
        left = {m: gamma * part for m, part in left.items()}
        left[n] = torch.outer(k[n], v[n])
        state = sum(left.values())
        skipped = [left[e.read] for e in edits if isinstance(e, Cut) and e.reader == n]
        outputs.append(q[n] @ (state - sum(skipped)))
        states.append(state)
    return torch.stack(outputs), torch.stack(states)


@st.composite
def retention_edits(draw: st.DrawFn, heads: int, layers: int) -> list[Edit]:
    """Some edits of what tokens read and of the state that do not contradict each other."""
    position = st.integers(0, TOKENS - 1)
    found: list[Edit] = []
    taken: set[int] = set()
    for kind in draw(st.lists(st.sampled_from(["forget", "reset", "swap", "cut"]), max_size=5)):
        where = {
            "layer": draw(st.sampled_from([None, *range(layers)])),
            "head": draw(st.sampled_from([None, *range(heads)])),
        }
        first, second = sorted(draw(st.lists(position, min_size=2, max_size=2, unique=True)))
        if kind == "forget":
            found.append(rv.edits.forget(token=first, start=second, **where))
        elif kind == "cut":
            reader = draw(st.sampled_from([first, second]))
            found.append(rv.edits.cut(reader=reader, read=first, **where))
        elif second not in taken:
            taken.add(second)
            if kind == "reset":
                scale = draw(st.sampled_from([0.0, 0.5, -2.0]))
                found.append(rv.edits.reset(start=second, scale=scale, **where))
            else:
                found.append(rv.edits.swap(start=second, ids=text(7, 5).tolist(), **where))
    return found


def state_of_other(model: RetNet, edit: Swap, offset: int) -> RetNetState:
    """The other text read so that its last token has the position before the swap's start."""
    config = model.config
    empty = torch.zeros(1, config.n_heads, config.head_dim, config.value_dim).double()
    first = edit.start + offset - len(edit.ids)
    start = RetNetState([empty] * config.n_layers, first)
    return model(torch.tensor(edit.ids)[None], start).state


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_retention_is_that_of_tokens_taken_out_one_by_one(
    tiny_model: ModelFactory, data: st.DataObject
) -> None:
    model = tiny_model(seed=data.draw(st.integers(0, 9)), **data.draw(variants()))
    config = model.config
    edits = data.draw(retention_edits(config.n_heads, config.n_layers))
    start = model(text(3, 4)[None]).state if data.draw(st.booleans()) else None
    offset = start.position if start else 0
    size = data.draw(st.integers(1, TOKENS))
    mode = data.draw(st.sampled_from(MODES))
    trace = rv.trace(model, text(1), mode=mode, chunk_size=size, edits=edits, state=start)
    swapped = {e: state_of_other(model, e, offset) for e in trace.edits if isinstance(e, Swap)}
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            output, states = literal_retention(trace, layer, head, swapped)
            close(trace.head_output(layer)[head], output)
            close(trace.state_norm(layer)[head], states.flatten(1).norm(dim=-1))
            for n in range(TOKENS):
                close(trace.state(layer, n)[head], states[n])
        close(trace.inner(layer) + trace.cross(layer), trace.head_output(layer))
        close(trace.retention(layer), trace.scores(layer) * trace.decay(layer))


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_all_modes_agree_on_an_edited_pass(tiny_model: ModelFactory, data: st.DataObject) -> None:
    model = tiny_model(seed=data.draw(st.integers(0, 9)), **data.draw(variants()))
    config = model.config
    edits = data.draw(retention_edits(config.n_heads, config.n_layers))
    where = {"layer": data.draw(st.sampled_from([None, 0])), "head": 0}
    edits.append(
        data.draw(
            st.sampled_from(
                [
                    rv.edits.gamma(0.7, **where),
                    rv.edits.silence(**where),
                    rv.edits.silence(mean=True, **where),
                    rv.edits.patch("retention.v", 0.3, position=4, **where),
                    rv.edits.patch("layer.input", -0.5, layer=0),
                    *(rv.edits.without(part, **where) for part in ("decay", "head_norm", "gate")),
                ]
            )
        )
    )
    size = data.draw(st.integers(1, TOKENS))
    trace = rv.trace(model, text(1), mode="chunkwise", chunk_size=size, edits=edits)
    agreement = trace.agreement()
    assert agreement.worst < 1e-10 * max(1, agreement.scale)
    if not any(isinstance(edit, Patch) and edit.name == "layer.input" for edit in edits):
        parts = trace.attribution(3, -2)
        assert abs(parts.total - parts.logit) < 1e-8 * max(1, agreement.scale)


def close(actual: Tensor, expected: Tensor) -> None:
    """Equal but for the rounding of float64."""
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected.to(actual), rtol=0, atol=1e-10 * scale)


def test_a_reading_that_is_cut_is_that_of_one_token(model: RetNet) -> None:
    base = rv.trace(model, text(1))
    trace = rv.trace(model, text(1), edits=[rv.edits.cut(reader=6, read=2, layer=0, head=1)])
    expected = base.head_output(0).clone()
    expected[1, 6] -= base.retention(0)[1, 6, 2] * base.v(0)[1, 2]
    close(trace.head_output(0), expected)
    close(trace.output(1)[:6], base.output(1)[:6])
    assert (trace.output(1)[6:] - base.output(1)[6:]).abs().min(-1).values.max() > 1e-6


# -- the parts of a layer --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_silent_head_gives_zero_or_its_mean_after_its_norm(model: RetNet, mode: str) -> None:
    base = rv.trace(model, text(1))
    width = model.config.value_dim
    for mean in (False, True):
        edit = rv.edits.silence(mean=mean, layer=1, head=1)
        trace = rv.trace(model, text(1), mode=mode, edits=[edit])
        normed = base.normed(1).clone()
        normed[:, width:] = normed[:, width:].mean(0) if mean else 0
        close(trace.normed(1), normed)
        close(trace.output(0), base.output(0))
        block = model.blocks[1]
        y = base.output(0) + block.retention.out_proj(base.gate(1) * normed)
        close(trace.output(1), y + block.ffn(block.ffn_norm(y)))
        close(trace.logits, model.head(model.norm(trace.output(1))))


@pytest.mark.parametrize("mode", MODES)
def test_without_a_part_a_head_does_without_it(model: RetNet, mode: str) -> None:
    base = rv.trace(model, text(1))
    width = model.config.value_dim
    retention = model.blocks[0].retention

    def edited(part: str) -> rv.Trace:
        return rv.trace(model, text(1), mode=mode, edits=[rv.edits.without(part, layer=0, head=1)])

    gate = base.gate(0).clone()
    gate[:, width:] = 1
    close(edited("gate").gate(0), gate)
    normed = base.normed(0).clone()
    normed[:, width:] = base.head_output(0)[1]
    close(edited("head_norm").normed(0), normed)
    x = model.blocks[0].retention_norm(model.embed(text(1)))
    straight = retention.q_proj(x).unflatten(-1, (HEADS, -1)).transpose(0, 1)
    rotated = edited("rotation")
    close(rotated.q(0)[1], straight[1])
    close(rotated.q(0)[0], base.q(0)[0])
    scale = model.config.head_dim**-0.5
    close(rotated.k(0)[1], scale * retention.k_proj(x).unflatten(-1, (HEADS, -1))[:, 1])
    decayed = edited("decay")
    assert decayed.gamma(0)[1] == 1
    close(decayed.decay(0)[1], torch.ones(TOKENS, TOKENS).tril())
    close(decayed.decay(0)[0], base.decay(0)[0])


def test_without_a_part_everywhere_is_the_copy_without_it(model: RetNet) -> None:
    from retnet_viz.experiments import ablate

    for part, fields in (
        ("rotation", {"rotation": "none"}),
        ("decay", {"decay": (1.0,) * HEADS}),
        ("head_norm", {"head_norm": "none"}),
    ):
        copy = rv.trace(ablate(model, **fields), text(1))
        close(rv.trace(model, text(1), edits=[rv.edits.without(part)]).logits, copy.logits)


def test_a_gamma_is_that_of_a_model_with_it(model: RetNet, tiny_model: ModelFactory) -> None:
    other = tiny_model(**SHAPE)
    other.blocks[1].retention.gamma[0] = 0.9
    edit = rv.edits.gamma(half_life=torch.tensor(0.5).log().item() / torch.tensor(0.9).log().item())
    trace = rv.trace(model, text(1), edits=[rv.edits.gamma(0.9, layer=1, head=0)])
    close(trace.logits, rv.trace(other, text(1)).logits)
    assert edit.gamma == pytest.approx(0.9, abs=1e-6)
    assert trace.gamma(1)[0] == 0.9
    assert not torch.equal(trace.gamma(0), trace.gamma(1))


# -- patches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("embedding", (8,)),
        ("layer.input", (8,)),
        ("layer.output", (8,)),
        ("retention.q", (4,)),
        ("retention.v", (8,)),
        ("retention.output", (8,)),
        ("retention.normed", (8,)),
        ("retention.gate", (8,)),
        ("logits", (23,)),
    ],
)
def test_a_patch_puts_a_value_at_a_layer_head_and_position(
    model: RetNet, name: str, shape: tuple[int, ...]
) -> None:
    value = torch.arange(1.0, 1 + shape[0]).double() / 10
    where: dict[str, Any] = {"position": -3}
    if "." in name:
        where["layer"] = 1
    if name.startswith("retention"):
        where["head"] = 1
    for mode in MODES:
        edits = [rv.edits.patch(name, value, **where)]
        trace = rv.trace(model, text(1), mode=mode, chunk_size=4, edits=edits)
        base = rv.trace(model, text(1), mode=mode, chunk_size=4)
        if name.startswith("retention"):
            short = name.removeprefix("retention.").replace("output", "head_output")
            found, before = getattr(trace, short)(1), getattr(base, short)(1)
            if short in ("normed", "gate"):
                found, before = by_head(found), by_head(before)
            close(found[1, -3], value)
            close(found[0], before[0])
            close(found[1, :-3], before[1, :-3])
        elif name == "logits":
            close(trace.logits[-3], value)
            close(trace.logits[-2:], base.logits[-2:])
        elif name == "layer.output":
            close(trace.output(1)[-3], value)
            close(trace.logits[-3], model.head(model.norm(value)))
        else:
            assert not torch.allclose(trace.logits[-3], base.logits[-3])
            close(trace.logits[:-3], base.logits[:-3])


def test_patched_weights_are_what_parallel_mode_reads(model: RetNet) -> None:
    edit = rv.edits.patch("retention.weights", torch.eye(TOKENS)[4], layer=0, head=1, position=6)
    trace = rv.trace(model, text(1), edits=[edit])
    close(trace.head_output(0)[1, 6], trace.v(0)[1, 4])
    with pytest.raises(EditError, match=r"recurrent mode does not compute retention\.weights"):
        trace.in_mode("recurrent")


def test_a_patched_state_is_a_swapped_one(model: RetNet) -> None:
    state = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).double()
    edit = rv.edits.patch("retention.state", state, layer=0, head=1, position=3)
    recurrent = rv.trace(model, text(1), mode="recurrent", edits=[edit])
    chunks = rv.trace(model, text(1), mode="chunkwise", chunk_size=4, edits=[edit])
    close(recurrent.state(0, 3)[1], state)
    close(recurrent.head_output(0)[1, 3], recurrent.q(0)[1, 3] @ state)
    close(chunks.logits[4:], chunks.logits[4:])
    close(recurrent.head_output(0)[:, 4:], chunks.head_output(0)[:, 4:])
    for n in range(3, TOKENS):
        close(recurrent.state(0, n), chunks.state(0, n))
    close(recurrent.state_norm(0)[:, 4:], chunks.state_norm(0)[:, 4:])
    with pytest.raises(EditError, match="after each chunk of 3 tokens, and not after token 3"):
        rv.trace(model, text(1), mode="chunkwise", chunk_size=3, edits=[edit])


# -- what holds of all -----------------------------------------------------------------------------

EDITS = [
    rv.edits.gamma(0.9, layer=1, head=(0, 1)),
    rv.edits.silence(mean=True, layer=0, head=1),
    rv.edits.forget(token=2, start=4),
    rv.edits.reset(start=5, scale=0.5, layer=0),
    rv.edits.swap(start=3, ids=(1, 2), edits=(rv.edits.reset(1),), head=0),
    rv.edits.cut(reader=-1, read=0),
    rv.edits.patch("retention.v", [[1.0, 2.0]] * 4, layer=0, head=0, position=2),
    rv.edits.without("gate", layer=0),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.kind)
def test_an_edit_is_data_and_prints_as_the_line_that_makes_it(edit: Edit) -> None:
    import json

    assert edit_from_dict(json.loads(json.dumps(edit.to_dict()))) == edit
    assert eval(repr(edit), {"rv": rv}) == edit
    assert hash(edit) == hash(edit_from_dict(edit.to_dict()))


def test_the_model_is_not_changed(model: RetNet) -> None:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    gammas = [gamma.clone() for gamma in model.gammas]
    base = rv.trace(model, text(1))
    rv.trace(model, text(1), edits=[rv.edits.gamma(0.5), rv.edits.silence(), rv.edits.reset(3)])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(map(torch.equal, model.gammas, gammas))
    assert torch.equal(rv.trace(model, text(1)).logits, base.logits)


def test_a_comparison_has_what_is_predicted_before_and_after(model: RetNet) -> None:
    base = rv.trace(model, text(1))
    trace = rv.trace(model, text(1), edits=[rv.edits.silence(layer=0)])
    change = trace.compare(base)
    assert torch.equal(change.before.logits, base.logits)
    close(change.after.probabilities, trace.logits.softmax(-1))
    expected = -trace.logits[:-1].log_softmax(-1)[range(TOKENS - 1), text(1)[1:]]
    close(change.after.loss, expected)
    close(change.loss_change, expected - base.loss)
    with pytest.raises(EditError, match="different texts"):
        trace.compare(rv.trace(model, text(2)))


def test_a_pass_goes_on_from_a_state(model: RetNet) -> None:
    whole = rv.trace(model, text(1))
    first = rv.trace(model, text(1)[:5], mode="recurrent")
    for mode in MODES:
        rest = rv.trace(model, text(1)[5:], mode=mode, chunk_size=3, state=first.end_state)
        close(rest.logits, whole.logits[5:])
        close(rest.state_norm(1), whole.state_norm(1)[:, 5:])
        close(rest.end_state.layers[0][0], whole.state(0, -1))
        assert rest.end_state.position == TOKENS
        close(rest.state_before(1, 0), whole.state(1, 4))
        close(rest.cross(0)[:, 0], whole.head_output(0)[:, 5] - rest.inner(0)[:, 0])


def test_generation_goes_on_with_the_edits_in_force() -> None:
    model = rv.load()
    ids = torch.tensor(model.tokenizer.encode("the cat and the dog, the cat and the"))
    edits = [rv.edits.silence(layer=1)]
    trace = rv.trace(model, ids, edits=edits)
    new = rv.generate(trace.model, ids, 4)
    whole = rv.trace(model, torch.cat((ids, new)), edits=edits)
    assert torch.equal(whole.logits[len(ids) - 1 : -1].argmax(-1), new)
    assert not torch.equal(new, rv.generate(model, ids, 4))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: rv.edits.gamma(1.5), "must lie in"),
        (lambda: rv.edits.gamma(), "gamma or half_life, one of them"),
        (lambda: rv.edits.gamma(half_life=0), "half_life must be above 0"),
        (lambda: rv.edits.gamma(0.5, layer=2), "layer 2 is outside 0 .. 1"),
        (lambda: rv.edits.silence(head=(0, 7)), "head 7 is outside 0 .. 1"),
        (lambda: rv.edits.silence(head=-1), "counts from 0"),
        (lambda: rv.edits.silence(head=()), "names none"),
        (lambda: rv.edits.silence(mean=1), "True or False"),
        (lambda: rv.edits.forget(token=4, start=9), "start 9 is outside a text of 9 tokens"),
        (lambda: rv.edits.forget(token=4, start=4), "does not hold token 4 yet"),
        (lambda: rv.edits.forget(token="a", start=4), "token must be a whole number"),
        (lambda: rv.edits.reset(start=3, scale=float("nan")), "must be finite"),
        (lambda: rv.edits.cut(reader=2, read=3), "does not read token 3 anyway"),
        (lambda: rv.edits.swap(start=3), "the trace of another text, or its ids"),
        (lambda: rv.edits.swap(start=3, ids=[]), "no tokens"),
        (lambda: rv.edits.swap(start=3, ids=[99]), "does not know"),
        (lambda: rv.edits.patch("attention", 0), "no 'attention'"),
        (lambda: rv.edits.patch("logits", 0, layer=1), "belongs to no layer"),
        (lambda: rv.edits.patch("layer.output", 0, head=1), "has no heads"),
        (lambda: rv.edits.patch("layer.output", [0, 1], layer=1), r"has the shape \(9, 8\)"),
        (lambda: rv.edits.patch("retention.state", 0), "name its position"),
        (lambda: rv.edits.patch("retention.v", "a"), "an array of numbers"),
        (lambda: rv.edits.without("memory"), "rotation, decay, head_norm, gate"),
        (lambda: "silence", "is no edit"),
    ],
)
def test_an_edit_that_there_cannot_be_is_refused_with_a_sentence(
    model: RetNet, make: Callable[[], Edit], sentence: str
) -> None:
    with pytest.raises(EditError, match=sentence):
        rv.trace(model, text(1), edits=[make()])


@pytest.mark.parametrize(
    "edits",
    [
        [rv.edits.gamma(0.5), rv.edits.gamma(0.6, layer=0, head=1)],
        [rv.edits.gamma(0.5, layer=1), rv.edits.without("decay")],
        [rv.edits.silence(head=0), rv.edits.silence(mean=True)],
        [rv.edits.reset(3), rv.edits.swap(start=3, ids=[1])],
        [rv.edits.patch("logits", 0, position=-1), rv.edits.patch("logits", 1, position=8)],
    ],
)
def test_edits_that_contradict_each_other_are_refused(model: RetNet, edits: list[Edit]) -> None:
    with pytest.raises(EditError, match="contradict each other in layer"):
        rv.trace(model, text(1), edits=edits)


def test_a_state_of_another_shape_is_refused(model: RetNet, tiny_model: ModelFactory) -> None:
    other = tiny_model(**SHAPE | {"n_heads": 1})
    with pytest.raises(ValueError, match="this state is of 2 layers"):
        rv.trace(model, text(1), state=rv.trace(other, text(1)).end_state)
    with pytest.raises(ValueError, match="must be a RetNetState"):
        rv.trace(model, text(1), state="start")


@pytest.mark.parametrize(
    "fields",
    [{}, {"kind": "explode"}, {"kind": "reset"}, {"kind": "cut", "reader": 1, "read": 0, "x": 1}],
)
def test_data_that_describe_no_edit_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(EditError):
        edit_from_dict(fields)


# -- a text that is edited while it is observed ----------------------------------------------------


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_a_live_text_under_edits_is_that_of_a_fresh_pass(data: st.DataObject) -> None:
    model = rv.load()
    edits = resolve(model, data.draw(retention_edits(4, 4)), TOKENS)
    edits = [edit for edit in edits if not isinstance(edit, Swap)]  # its ids are of another model
    edited = apply(model, edits)
    word = st.sampled_from([" the", " cat", " and", " dog", ","])
    words = st.lists(word, min_size=3, max_size=14)
    mode = data.draw(st.sampled_from(("recurrent", "chunkwise")))
    live = rv.live(edited, "once", mode, 4)
    for _ in range(4):
        live.edit("once" + "".join(data.draw(words)))
        fresh = Trace(edited, live.trace.ids.clone(), mode, 4)
        scale = fresh.logits.abs().max().item()
        torch.testing.assert_close(live.trace.logits, fresh.logits, rtol=0, atol=1e-4 * scale)
        assert live.trace.edits == tuple(edits)


def test_a_trace_with_edits_is_not_saved(model: RetNet, tmp_path: Path) -> None:
    path = tmp_path / "trace.safetensors"
    with pytest.raises(rv.TraceFileError, match="keep its edits"):
        rv.trace(model, text(1), edits=[rv.edits.silence()]).save(path)
    assert not path.exists()


def test_the_table_of_what_can_be_patched_is_true() -> None:
    table = (Path(__file__).parents[2] / "docs" / "edits.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| (\([^|]*\).*?) \| ([\w, ]+) \|$", table, re.MULTILINE)
    letters = {"heads": "H", "tokens": "T", "sources": "T", "keys": "d_k", "values": "d_v"}
    letters |= {"embedding": "d", "vocabulary": "vocabulary"}
    expected = [
        (
            name,
            f"({', '.join(letters.get(axis, axis) for axis in published.axes)})",
            "all" if published.modes == MODES else ", ".join(published.modes),
        )
        for name, published in PUBLISHED.items()
    ]
    assert [(name, shape.split(" after")[0], modes) for name, shape, modes in rows] == expected
