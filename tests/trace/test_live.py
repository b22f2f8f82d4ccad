"""A live text after any edits is what a fresh trace of it is, and ran no more than it had to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Live, Recomputed, Trace, live, trace
from retnet_viz.trace.passes import capture, growable_buffer, incremental, recompute, segments
from tests.support.examples import examples

ModelFactory = Callable[..., RetNet]

SMALL = {"d_model": 4, "n_layers": 2, "n_heads": 2, "decay": (0.9, 1.0)}
LINE = "The fox had a red kite, and the kite had a long tail. It's 12 o'clock!\n"
PARTS = [
    *("fox", " fox", " the", "kite", "'s", "'", "'ll", "s", "12", "1", "!", ", ", ".\n", "\n", " "),
    *("  ", "\t", "é", "e\u0301", "字", "🦊", "👩‍👧", "\u3000", "\xa0", "\ud83e", "\udd8a"),
    *("<|endofstory|>", "<|", "|>", "endofstory", LINE, "x" * 70),
]
WORDS = st.lists(
    st.one_of(st.sampled_from(PARTS), st.text(st.characters(), max_size=2)), max_size=4
).map("".join)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "append", "edit"]),
        st.floats(0, 1),
        st.integers(0, 90),
        WORDS,
    ),
    max_size=7,
)
LIMITS = st.fixed_dictionaries(
    {
        "SEGMENT": st.sampled_from([1, 7, 64]),
        "STRETCH": st.sampled_from([1, 10, 2048]),
        "RECENT": st.sampled_from([1, 32]),
        "BLOCK_BUDGET": st.sampled_from([0, 3000, 2**26]),
        "ROW_BUDGET": st.sampled_from([0, 70_000, 2**30]),
        "STATE_BUDGET": st.sampled_from([3000, 2**26]),
    }
)
HOMES = {
    "SEGMENT": segments,
    "STRETCH": recompute,
    "RECENT": incremental,
    "BLOCK_BUDGET": incremental,
    "ROW_BUDGET": incremental,
    "STATE_BUDGET": capture,
}
ROWS = ("q", "k", "v", "head_output", "normed", "gate", "output", "state_norm", "inner", "cross")


def reader(make: ModelFactory, tokenizer: Tokenizer, **fields: Any) -> tuple[RetNet, list[int]]:
    """A model, and a list that grows by the number of tokens of each call of it."""
    model = make(**{**SMALL, **fields})
    model.tokenizer = tokenizer
    counts: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: counts.append(inputs[0].shape[-1]))
    return model, counts


def limited(patch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    for name, value in limits.items():
        patch.setattr(HOMES[name], name, value)


def apply(live_text: Live, edit: tuple[str, float, int, str]) -> tuple[str, Recomputed]:
    """The text after an edit, made by hand, and what the edit told."""
    kind, share, count, words = edit
    text = live_text.text
    start = round(share * len(text))
    if kind == "append":
        return text + words, live_text.append(words)
    stop = start if kind == "insert" else min(start + count, len(text))
    words = "" if kind == "delete" else words
    expected = text[:start] + words + text[stop:]
    if kind == "edit":
        return expected, live_text.edit(expected)
    return expected, live_text.splice(start, stop, words)


def close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-10 * max(1, b.abs().max()))


def assert_equal(actual: Trace, expected: Trace, keep: int | None, at: list[float]) -> None:
    """All accessors agree, windows and positions at the given shares of the text."""
    length = expected.length
    assert len(actual) == length
    assert (actual.mode, actual.chunk_size) == (expected.mode, expected.chunk_size)
    assert actual.ids.tolist() == expected.ids.tolist()
    assert actual.ids.dtype == torch.int64
    assert actual.tokens == expected.tokens
    positions = sorted({round(share * (length - 1)) for share in at} | {0, length - 1})
    if keep is None or keep >= length or actual.mode == "parallel":
        keep = length
        assert close(actual.logits, expected.logits)
    for n in {*positions, length - keep} & set(range(length)):
        assert close(actual.logits_after(n), expected.logits[n])
        assert close(actual.logits_after(n - length), expected.logits[n])
        assert actual.pieces(n, length) == expected.tokens[n:]
    rows = slice(positions[0], positions[-1] + 1, max(1, length // 20))
    cols = slice(positions[len(positions) // 2], None)
    for layer in range(expected.n_layers):
        for name in ROWS:
            assert close(getattr(actual, name)(layer), getattr(expected, name)(layer)), name
        for name in ("retention", "scores", "decay"):
            window = getattr(actual, name)(layer, rows, cols)
            assert close(window, getattr(expected, name)(layer, rows, cols)), name
        for n in positions:
            assert close(actual.state(layer, n), expected.state(layer, n))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=examples(20))
@given(
    text=WORDS,
    edits=EDITS,
    chunk_size=st.sampled_from([1, 3, 7, 16, 64, 1000]),
    keep=st.sampled_from([1, 5, 20, 4096, None]),
    limits=LIMITS,
    at=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
@example(  # longer, shorter, longer: logits and states that were dropped are needed again
    text=LINE,
    edits=[("append", 0, 0, LINE * 3), ("delete", 0.4, 90, ""), ("delete", 0.3, 500, ""),
        ("append", 0, 0, "a"), ("delete", 0, 500, ""), ("append", 0, 0, LINE)],
    chunk_size=7, keep=20, at=[0.2, 0.5, 0.9],
    limits={"SEGMENT": 7, "STRETCH": 10, "RECENT": 1, "BLOCK_BUDGET": 3000, "STATE_BUDGET": 3000,
        "ROW_BUDGET": 70_000},
)  # fmt: skip
@example(  # all read anew into a buffer that older logits stand in, then shorter: those are stale
    text="",
    edits=[("delete", 0.8324668, 51, ""), ("replace", 0, 30, "\U0004daa5👩\u200d👧s"),
        ("delete", 0.5454432, 18, ""), ("edit", 0, 17, ".\n")],
    chunk_size=1000, keep=20, at=[0.2, 0.5, 0.9],
    limits={"SEGMENT": 1, "STRETCH": 2048, "RECENT": 1, "BLOCK_BUDGET": 2**26,
        "STATE_BUDGET": 2**26, "ROW_BUDGET": 70_000},
)  # fmt: skip
def test_a_live_text_equals_a_fresh_trace_after_any_edits(
    mode: str,
    text: str,
    edits: list[tuple[str, float, int, str]],
    chunk_size: int,
    keep: int | None,
    limits: dict[str, int],
    at: list[float],
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    model, counts = reader(tiny_model, tiny_tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, limits)
        live_text = live(model, LINE + text + LINE, mode, chunk_size, keep_logits=keep)
        for edit in [("append", 0.0, 0, ""), *edits]:
            before, old_ids = live_text.trace, tiny_tokenizer.encode(live_text.text)
            counts.clear()
            expected, told = apply(live_text, edit)
            token_counts = sum(counts)
            ids = tiny_tokenizer.encode(expected)
            assert live_text.text == expected
            assert live_text.length == len(live_text) == told.of == len(ids)
            assert told.tokens == token_counts
            if ids == old_ids:
                assert token_counts == 0
                assert live_text.trace is before
            elif before is not None:
                with pytest.raises(RuntimeError, match="edited since"):
                    before.q(0)
            if not ids:
                assert live_text.trace is None
                continue
            assert_equal(live_text.trace, trace(model, expected, mode, chunk_size), keep, at)
            for layer in live_text._pass.layers if mode != "parallel" else ():
                # none is missing, and none of a longer text before is left
                assert list(layer.states) == list(range(0, layer.steps, layer.stride))
                assert set(layer.recent) <= set(range(layer.steps))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=examples(40))
@given(text=WORDS, edits=EDITS, chunk_size=st.sampled_from([1, 3, 16, 1000]))
def test_no_token_before_the_first_change_is_run_again(
    mode: str,
    text: str,
    edits: list[tuple[str, float, int, str]],
    chunk_size: int,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, text, mode, chunk_size)
    for edit in edits:
        old = tiny_tokenizer.encode(live_text.text)
        new, told = apply(live_text, edit)
        ids = tiny_tokenizer.encode(new)
        pairs = zip(old, ids, strict=False)
        shared = min(len(old), len(ids))
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), shared)
        step = {"parallel": len(ids) + 1, "recurrent": 1, "chunkwise": chunk_size}[mode]
        assert told.tokens == (0 if ids == old else len(ids) - first // step * step)


@pytest.mark.parametrize("segment", [1, 4, 64])
def test_the_ids_after_any_edit_of_a_text_are_those_of_the_whole(
    segment: int, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # words that are one token each, so that a cut in one of them would be seen in the ids
    monkeypatch.setattr(segments, "SEGMENT", segment)
    text = "the red ki 1kite's had it'll 2"
    ids = tiny_tokenizer.encode(text)
    for start in range(len(text) + 1):
        for stop in range(start, min(len(text), start + 9) + 1):
            for words in ("", " ", "te", " the", "'", "1", "river!"):
                expected = text[:start] + words + text[stop:]
                pieces_of_text = segments.Segments(tiny_tokenizer)
                pieces_of_text.accept(pieces_of_text.splice(0, 0, text, 0))
                change = pieces_of_text.splice(start, stop, words, len(ids))
                first, last = change.tokens
                assert ids[:first] + change.ids + ids[last:] == tiny_tokenizer.encode(expected)
                pieces_of_text.accept(change)
                assert pieces_of_text.text == expected
                assert pieces_of_text.length == len(expected)
                pieces = pieces_of_text._segments
                assert pieces_of_text._starts == [
                    len("".join(pieces[:i])) for i in range(len(pieces))
                ]
                assert pieces_of_text._token_starts == [
                    len(tiny_tokenizer.encode("".join(pieces[:i]))) for i in range(len(pieces))
                ]


@pytest.mark.parametrize("budget", [1, 20_000])
@pytest.mark.parametrize(("mode", "step"), [("recurrent", 1), ("chunkwise", 3)])
def test_beyond_the_budget_states_are_thinned_out_and_an_edit_starts_at_the_nearest(
    mode: str,
    step: int,
    budget: int,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, LINE, mode, step)
    state_bytes = 2 * 2 * 2 * 4 * 8  # layers, heads, d_k, d_v, float64
    for _ in range(5):
        live_text.append(live_text.text)
        strides = {layer.stride for layer in live_text.trace._capture.layers}
        assert len(strides) == 1
        stride = strides.pop()
        steps = -(-live_text.length // step)
        assert stride >= steps * state_bytes / budget
        assert stride == 1 or stride < 2 * steps * state_bytes / budget
        for layer in live_text._pass.layers:
            assert list(layer.states) == list(range(0, steps, stride))
            assert list(layer.recent) == list(range(max(0, steps - 32), steps))
    for place in (
        len(live_text.text) - 9,
        len(live_text.text) - 70,
        len(live_text.text) // 2,
        40,
        1,
    ):
        layer, old = live_text._pass.layers[1], tiny_tokenizer.encode(live_text.text)
        kept = list(layer.states | layer.recent)
        told = live_text.splice(place, place + 1, "~")
        ids = tiny_tokenizer.encode(live_text.text)
        first = next(i for i, (a, b) in enumerate(zip(old, ids, strict=False)) if a != b)
        starts = [0, *((i + 1) * step for i in kept)]
        assert told.tokens == len(ids) - max(start for start in starts if start <= first)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_appending_costs_the_same_at_any_length(
    mode: str,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", 40_000)  # states far back are few
    model, counts = reader(tiny_model, tiny_tokenizer, n_layers=1)
    given_: list[str] = []
    encode = tiny_tokenizer.encode

    def spy(text: str) -> list[int]:
        given_.append(text)
        return encode(text)

    per_line = len(encode(LINE))
    costs = {}
    for lines in (4, 4 + 64 * 12):
        live_text = live(model, LINE * lines, mode, 64)
        monkeypatch.setattr(tiny_tokenizer, "encode", spy)
        token_counts = []
        for word in (" kite", " fox", "!", " long", " tail"):
            counts.clear()
            given_.clear()
            length = live_text.length
            told = live_text.append(word)
            token_counts.append((sum(counts), live_text.length - length))
            assert told.tokens == sum(counts) <= live_text.length - length + 64
            assert told.encoded == len("".join(given_)) <= 2 * 64 + 80
            assert str(told) == f"recomputed {told.tokens} of {live_text.length:,} tokens"
        monkeypatch.undo()
        monkeypatch.setattr(capture, "STATE_BUDGET", 40_000)
        costs[lines] = token_counts
        assert len(live_text._pass.layers[0].rows["retention.q"].tensor[0]) == live_text.length
    short, long = costs.values()
    assert short == long
    assert mode == "chunkwise" or all(tokens == new for tokens, new in short)
    assert per_line * (4 + 64 * 12) > 20_000


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_appending_copies_no_more_than_is_new(
    mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, LINE * 4, mode, 8)
    live_text.append(LINE)  # now every buffer has room
    places = [
        live_text.trace.q(0).data_ptr(),
        live_text.trace.ids.data_ptr(),
        live_text.trace.logits.data_ptr(),
    ]
    assert live_text.trace is live_text.trace
    live_text.append(" and more")
    after = [
        live_text.trace.q(0).data_ptr(),
        live_text.trace.ids.data_ptr(),
        live_text.trace.logits.data_ptr(),
    ]
    assert places == after
    grown = {layer.rows["retention.q"]._data.shape[-2] for layer in live_text._pass.layers}
    assert all(size <= 2 * live_text.length for size in grown)


@given(cut=st.integers(0, 60), keep=st.sampled_from([1, 10]))
@settings(max_examples=examples(8))
def test_of_the_logits_the_last_are_kept(
    cut: int, keep: int, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, LINE * 3, "recurrent", keep_logits=keep)
    for _ in range(30):
        live_text.append("!")
        assert live_text._pass._logits._data.shape[-2] <= 2 * keep + 1
    live_text.edit(live_text.text[: len(live_text.text) - cut])
    expected = trace(model, live_text.text, "recurrent").logits
    with pytest.raises(RuntimeError, match=f"only the last {keep} have their logits kept"):
        live_text.trace.logits  # noqa: B018
    for n in range(live_text.length):  # those that were not kept are made again
        assert close(live_text.trace.logits_after(n), expected[n])
    with pytest.raises(IndexError, match=f"outside a text of {live_text.length} tokens"):
        live_text.trace.logits_after(live_text.length)


def test_blocks_of_chunks_are_kept_within_a_budget_and_derived_beyond(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    length = len(tiny_tokenizer.encode(LINE * 8))
    monkeypatch.setattr(incremental, "BLOCK_BUDGET", incremental.block_bytes(model, 32, length))
    live_text = live(model, LINE * 8, "chunkwise", 32)
    fresh = trace(model, LINE * 8, "chunkwise", 32)
    assert live_text.trace.origin("scores") == fresh.origin("scores") != "derived"
    for i, block in enumerate(live_text.trace._capture.layers[1]["retention.scores"]):
        assert close(block, fresh._capture.layers[1]["retention.scores"][i])
    live_text.append(" a")
    for name in ("scores", "decay", "retention"):
        assert live_text.trace.origin(name) == "derived"
    assert live_text.trace.origin("inner") == "computed"
    assert not any(layer.blocks for layer in live_text._pass.layers)
    window = live_text.trace.scores(1, slice(30, 70), slice(20, 90))
    expected = trace(model, live_text.text, "chunkwise", 32)
    assert close(window, expected.scores(1, slice(30, 70), slice(20, 90)))
    live_text.edit("~" + LINE)  # all of it is run again, and it is short
    assert live_text.trace.origin("scores") == fresh.origin("scores")


def test_what_is_kept_grows_with_the_length_alone(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer, n_layers=1)
    live_text = live(model, LINE * 180, "chunkwise", 2000)
    assert live_text.length > 4096
    layer = live_text._pass.layers[0]
    assert not layer.blocks
    assert len(layer.states | layer.recent) == -(-live_text.length // 2000)
    per_token = 3 * 4 + 6 * 8  # q, k and output; v, head output, normed, gate, inner and cross
    assert (
        sum(rows._data.numel() for rows in layer.rows.values()) <= live_text.length * 2 * per_token
    )
    assert live_text._pass.logits.shape == (4096, 300)


class Stop(Exception):
    pass


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop_after", [0, 1, 2, 3])
def test_a_cancelled_edit_leaves_all_as_it_was(
    mode: str, stop_after: int, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recompute, "STRETCH", 10)
        live_text = live(model, LINE * 3, mode, 4, keep_logits=30)
        calls: list[tuple[int, int]] = []

        def progress(done: int, total: int) -> None:
            calls.append((done, total))
            if len(calls) > stop_after:
                raise Stop

        for edit in (live_text.edit, live_text.append):
            before, text, length = live_text.trace, live_text.text, live_text.length
            calls.clear()
            new = "~" + LINE * 4
            if mode == "parallel" and stop_after > 1:
                break  # called before and after its one pass, never a third time
            with pytest.raises(Stop):
                edit(new, progress)
            assert (live_text.text, live_text.length, live_text.trace) == (text, length, before)
            assert [done for done, _ in calls] == sorted({done for done, _ in calls})
            assert_equal(before, trace(model, text, mode, 4), 30, [0.3, 0.6])
        live_text.splice(5, 9, " owl")
        expected = LINE[:5] + " owl" + LINE[9:] + LINE * 2
        assert live_text.text == expected
        assert_equal(live_text.trace, trace(model, expected, mode, 4), 30, [0.3, 0.6])


def test_a_failing_model_or_tokenizer_leaves_all_as_it_was(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, LINE * 3, "chunkwise", 4)
    before = live_text.trace

    def fail(*_: object) -> None:
        raise MemoryError

    for target, name in (
        (model.blocks[1], "forward"), (tiny_tokenizer, "encode"), (growable_buffer.Draft, "add")
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(MemoryError):
                live_text.splice(20, 22, "xyz")
    assert live_text.text == LINE * 3
    assert live_text.trace is before
    assert_equal(before, trace(model, LINE * 3, "chunkwise", 4), None, [0.5])


def test_progress_tells_how_far_a_run_is(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, counts = reader(tiny_model, tiny_tokenizer, n_layers=1)
    calls: list[tuple[int, int]] = []
    live_text = live(model, LINE * 200, "chunkwise", 64, progress=lambda *call: calls.append(call))
    total = live_text.length
    assert calls == [*((done, total) for done in range(0, total, 2048)), (total, total)]
    assert len(counts) == -(-total // 2048)
    calls.clear()
    live_text.append("", lambda *call: calls.append(call))
    assert calls == []


@pytest.mark.parametrize("mode", MODES)
def test_an_outdated_trace_says_so(
    mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, LINE, mode, 8)
    old = live_text.trace
    old.state_norm(0), old.inner(0), old.logits  # what was derived before is outdated too
    length = old.length
    live_text.append(" more")
    reads: list[Callable[[], object]] = [
        *(lambda name=name: getattr(old, name)(0) for name in (*ROWS, "gamma", "half_life")),
        *(lambda name=name: getattr(old, name)(0) for name in ("decay", "scores", "retention")),
        *(lambda name=name: getattr(old, name) for name in ("ids", "logits", "tokens", "cost")),
        lambda: old.logits_after(0),
        lambda: old.state(0, 0),
        lambda: old.cell(0, 0, 1, 0),
        lambda: old.in_mode("parallel" if mode != "parallel" else "recurrent"),
        lambda: old.origin("scores"),
    ]
    for read in reads:
        with pytest.raises(RuntimeError, match="live text that was edited since"):
            read()
    assert repr(old) == f"<Trace of {length} tokens, {mode} mode, 2 layers>"
    assert live_text.trace.length > length


def test_other_characters_with_the_same_ids_run_nothing(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, counts = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, "a\ud800b", "recurrent")
    before = live_text.trace
    counts.clear()
    assert live_text.edit("a\ufffdb").tokens == 0
    assert counts == []
    assert live_text.text == "a\ufffdb"
    assert live_text.trace is before
    assert before.q(0).shape[1] == before.length


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_text_has_no_trace(
    mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, counts = reader(tiny_model, tiny_tokenizer)
    live_text = live(model, "", mode, 4)
    assert (live_text.length, live_text.text, live_text.trace, counts) == (0, "", None, [])
    assert live_text.append("") == Recomputed(0, 0, 0)
    told = live_text.append("once")
    assert told == Recomputed(live_text.length, live_text.length, 4)
    old = live_text.trace
    assert live_text.edit("") == Recomputed(0, 0, 0)
    assert (live_text.length, live_text.text, live_text.trace) == (0, "", None)
    with pytest.raises(RuntimeError, match="edited since"):
        old.q(0)
    live_text.append(LINE)
    assert_equal(live_text.trace, trace(model, LINE, mode, 4), None, [0.5])


def test_a_live_text_takes_what_a_trace_takes(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, counts = reader(tiny_model, tiny_tokenizer)
    with pytest.raises(ValueError, match="mode must be one of parallel, recurrent, chunkwise"):
        live(model, "a", "attention")
    for chunk_size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="chunk_size must be a whole number of 1 or more"):
            live(model, "a", "chunkwise", chunk_size)
    with pytest.raises(ValueError, match="keep_logits must be 1 or more"):
        live(model, "a", keep_logits=0)
    with pytest.raises(ValueError, match="has no tokenizer"):
        live(tiny_model(), "a")
    for text in (None, 3, torch.tensor([1])):
        with pytest.raises(ValueError, match="a live text must be a str, not"):
            live(model, text)
    small, _ = reader(tiny_model, tiny_tokenizer, vocab_size=70)
    with pytest.raises(ValueError, match=r"is outside the vocabulary 0 \.\. 69"):
        live(small, "zebra")
    assert counts == []
    live_text = live(model, "once")
    for start, stop in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(IndexError, match=f"characters {start} .. {stop} are not"):
            live_text.splice(start, stop, "x")
    for call in (live_text.edit, live_text.append):
        with pytest.raises(ValueError, match="a live text must be a str, not NoneType"):
            call(None)
    assert live_text.text == "once"


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_precision_goes_on_from_its_states(
    dtype: torch.dtype, mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, _ = reader(tiny_model, tiny_tokenizer, dtype=dtype)
    live_text = live(model, LINE * 2, mode, 8)
    live_text.splice(40, 44, " owl")
    expected = trace(model, live_text.text, mode, 8)
    tolerance = {torch.float32: 1e-4, torch.bfloat16: 0.1}[dtype]
    for name in ROWS:
        a, b = getattr(live_text.trace, name)(1), getattr(expected, name)(1)
        assert a.dtype == b.dtype
        assert not a.requires_grad
        assert (a - b).abs().max() <= tolerance * b.abs().max()
    assert live_text.trace.state(1, 5).dtype == expected.state(1, 5).dtype == torch.float32


def test_an_edit_is_prepared_without_a_change_and_refused_after_another(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    live_text = live(model, "the old fox", "chunkwise", 4)
    before = live_text.trace
    commit = live_text.prepare("the old fox ran home")
    late = live_text.prepare("the young fox")
    assert (live_text.text, live_text.trace) == ("the old fox", before)
    assert before is not None
    assert before.logits.isfinite().all()
    assert commit().of == live_text.length
    assert live_text.text == "the old fox ran home"
    with pytest.raises(RuntimeError, match="edited since"):
        late()
    assert live_text.text == "the old fox ran home"
