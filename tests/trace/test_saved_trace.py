"""Traces in files: what is loaded equals what was saved to the last bit, all else is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import retnet_viz as rv
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace.files import saved
from retnet_viz.trace.passes import capture, incremental
from tests.support.examples import examples

ModelFactory = Callable[..., RetNet]
IDS = torch.tensor([5, 3, 8, 13, 21, 34, 55, 89, 144, 233, 5])
T = len(IDS)
NAMES = (
    *("gamma", "q", "k", "v", "head_output", "normed", "gate", "output"),
    *("decay", "scores", "retention", "state_norm", "inner", "cross"),
)
fuzzing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_equal(actual: rv.Trace, expected: rv.Trace) -> None:
    """Every accessor gives the same, to the last bit."""

    def same(a: Tensor, b: Tensor) -> bool:
        return a.dtype == b.dtype and torch.equal(a, b)

    assert (actual.mode, actual.chunk_size, actual.length) == (
        expected.mode,
        expected.chunk_size,
        expected.length,
    )
    assert (actual.n_layers, actual.n_heads) == (expected.n_layers, expected.n_heads)
    assert same(actual.ids, expected.ids)
    assert actual.tokens == expected.tokens
    assert same(actual.logits, expected.logits)
    assert actual.config == expected.config
    last = expected.length - 1
    for name in (*NAMES, "state", "logits"):
        assert actual.origin(name) == expected.origin(name)
    for layer in range(expected.n_layers):
        for name in NAMES:
            assert same(getattr(actual, name)(layer), getattr(expected, name)(layer)), name
        for position in range(expected.length):
            assert same(actual.state(layer, position), expected.state(layer, position))
        rows, cols = slice(last // 2, last + 1), slice(0, last // 2 + 1, 2)
        for name in ("decay", "scores", "retention"):
            window = getattr(actual, name)(layer, rows, cols)
            assert same(window, getattr(expected, name)(layer, rows, cols)), name
        assert actual.cell(layer, 0, last, 0) == expected.cell(layer, 0, last, 0)
    for position in (0, last, -1):
        assert same(actual.logits_after(position), expected.logits_after(position))
    assert len(rv.schedule(actual, 0, 0)) == len(rv.schedule(expected, 0, 0))


def save_and_load(trace: rv.Trace, folder: Path, model: RetNet | None = None) -> rv.Trace:
    trace.save(folder / "trace.safetensors")
    return rv.Trace.load(folder / "trace.safetensors", model)


@pytest.mark.parametrize("chunk_size", [1, 3, 4, T, T + 5])
@pytest.mark.parametrize("mode", MODES)
def test_a_loaded_trace_equals_the_saved_one(
    mode: str,
    chunk_size: int,
    tmp_path: Path,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    model = tiny_model(decay=(0.5, 0.9), value_factor=1.5)
    model.tokenizer = tiny_tokenizer
    expected = rv.trace(model, IDS, mode, chunk_size)
    for given_model in (None, model):
        loaded_trace = save_and_load(expected, tmp_path, given_model)
        assert_equal(loaded_trace, expected)
        assert [loaded_trace.piece(i) for i in range(300)] == [
            expected.piece(i) for i in range(300)
        ]
    assert list(tmp_path.iterdir()) == [tmp_path / "trace.safetensors"]
    assert_equal(save_and_load(loaded_trace, tmp_path), expected)  # and once more


@pytest.mark.parametrize("mode", MODES)
@given(
    fields=st.fixed_dictionaries(
        {
            "seed": st.integers(0, 99),
            "n_heads": st.sampled_from([1, 2, 4]),
            "n_kv_heads": st.sampled_from([None, 1]),
            "n_layers": st.integers(1, 3),
            "value_factor": st.sampled_from([0.5, 1.0, 2.0]),
            "gate": st.sampled_from(["swish", "none"]),
            "head_norm": st.sampled_from(["layer", "none"]),
            "dtype": st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
        }
    ),
    length=st.integers(1, 20),
    chunk_size=st.integers(1, 22),
)
@fuzzing
def test_a_trace_of_any_model_and_text_is_loaded_as_it_was(
    mode: str,
    fields: dict[str, Any],
    length: int,
    chunk_size: int,
    tmp_path: Path,
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(**fields)
    expected = rv.trace(model, torch.arange(length) * 7 % 300, mode, chunk_size)
    assert_equal(save_and_load(expected, tmp_path), expected)
    assert_equal(save_and_load(expected, tmp_path, model), expected)


@pytest.mark.parametrize("budget", [5000, 1])
@pytest.mark.parametrize("chunk_size", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_states_between_those_that_were_kept_are_replayed_alike(
    mode: str,
    chunk_size: int,
    budget: int,
    tmp_path: Path,
    tiny_model: ModelFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    expected = rv.trace(tiny_model(), IDS, mode, chunk_size)
    assert expected._capture.layers[0].stride > 1
    loaded_trace = save_and_load(expected, tmp_path)
    assert len(loaded_trace._capture.layers[0].states) == len(expected._capture.layers[0].states)
    assert_equal(loaded_trace, expected)


@pytest.mark.parametrize("chunk_size", [1, 4, 20])
@pytest.mark.parametrize("mode", MODES)
def test_a_trace_of_tensors_is_loaded_as_it_was(mode: str, chunk_size: int, tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, T, d, generator=random) for d in (4, 4, 5))
    tokens = [f"t{n}\ud800\n<b>" for n in range(T)]
    for texts in (tokens, None):
        gamma = [[0.5, 0.9, 1.0], [0.25, 0.75, 1 - 2**-40]]
        expected = rv.Trace.from_tensors(q, k, v, gamma, texts, mode, chunk_size)
        loaded_trace = save_and_load(expected, tmp_path)
        assert_equal(loaded_trace, expected)
        assert loaded_trace.agreement() == expected.agreement()
        for other in MODES:
            assert_equal(loaded_trace.in_mode(other), expected.in_mode(other))


@pytest.mark.parametrize(("row_budget", "keep_logits"), [(2**30, 4), (0, None), (0, 4)])
@pytest.mark.parametrize("mode", MODES)
def test_the_trace_of_a_live_text_is_saved_as_it_is(
    mode: str,
    row_budget: int,
    keep_logits: int | None,
    tmp_path: Path,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incremental, "ROW_BUDGET", row_budget)
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    live = rv.live(model, "The fox had a red kite", mode, 4, keep_logits=keep_logits)
    live.append(" and ran")
    expected = live.trace
    assert expected is not None
    loaded_trace = save_and_load(expected, tmp_path, model)
    alone = rv.Trace.load(tmp_path / "trace.safetensors")
    kept = expected._capture.logits
    if len(kept) < expected.length:
        with pytest.raises(RuntimeError, match="keep_logits"):
            _ = alone.logits
        with pytest.raises(RuntimeError, match="were not kept"):
            alone.logits_after(0)
        assert torch.equal(loaded_trace.logits_after(0), expected.logits_after(0))
        assert torch.equal(alone.logits_after(-1), expected.logits_after(-1))
    else:
        assert_equal(alone, expected)
    for layer in range(2):
        for name in NAMES:
            assert torch.equal(getattr(alone, name)(layer), getattr(expected, name)(layer)), name
            assert alone.origin(name) == expected.origin(name)
        for position in range(expected.length):
            assert torch.equal(alone.state(layer, position), expected.state(layer, position))
    live.append("!")
    with pytest.raises(RuntimeError, match="was edited since"):
        expected.save(tmp_path / "late.safetensors")
    assert not (tmp_path / "late.safetensors").exists()


# -- other modes of a loaded trace ----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_with_its_model_a_loaded_trace_is_compared_as_before(
    mode: str, tmp_path: Path, tiny_model: ModelFactory
) -> None:
    model = tiny_model()
    expected = rv.trace(model, IDS, mode, 4)
    loaded_trace = save_and_load(expected, tmp_path, model)
    assert loaded_trace.agreement() == expected.agreement()
    assert loaded_trace.cost.flops == expected.cost.flops
    assert (loaded_trace.cost.steps, loaded_trace.cost.state_bytes) == (
        expected.cost.steps,
        expected.cost.state_bytes,
    )
    for other in MODES:
        assert_equal(loaded_trace.in_mode(other), expected.in_mode(other))


@pytest.mark.parametrize("mode", MODES)
def test_without_its_model_the_retention_of_the_stored_tensors_is_compared(
    mode: str, tmp_path: Path, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    expected = rv.trace(model, IDS, mode, 4)
    loaded_trace = save_and_load(expected, tmp_path)
    assert loaded_trace.in_mode(mode) is loaded_trace
    agreement = loaded_trace.agreement()
    assert agreement.logits == {}
    assert 0 < agreement.worst < 1e-10
    for other in set(MODES) - {mode}:
        again = loaded_trace.in_mode(other)
        assert (again.mode, again.chunk_size, again.tokens) == (other, 4, expected.tokens)
        assert again.logits.shape == (T, 0)
        assert {again.origin("q"), again.origin("logits")} == {"given", "not there"}
        for layer in range(2):
            assert torch.equal(again.q(layer), expected.q(layer))
            assert torch.allclose(again.head_output(layer), expected.head_output(layer))
    assert loaded_trace.cost.steps == {"parallel": 1, "recurrent": T, "chunkwise": 3}[mode]
    assert loaded_trace.cost.flops < expected.cost.flops


def test_another_model_is_refused(tmp_path: Path, tiny_model: ModelFactory) -> None:
    path = tmp_path / "trace.safetensors"
    rv.trace(tiny_model(), IDS).save(path)
    other_gammas = tiny_model()
    other_gammas.blocks[1].retention.gamma[:] = 0.5
    for model, sentence in (
        (tiny_model(n_layers=3), "another model: its config is RetNetConfig"),
        (tiny_model(dtype=torch.float32), "in torch.float64, but the model is torch.float32"),
        (other_gammas, "with other gammas"),
    ):
        with pytest.raises(rv.TraceFileError, match=sentence):
            rv.Trace.load(path, model)
    tensors = torch.ones(1, 1, 3, 1)
    rv.Trace.from_tensors(tensors, tensors, tensors, 0.5).save(path)
    with pytest.raises(rv.TraceFileError, match="another model"):
        rv.Trace.load(path, tiny_model())


# -- files ----------------------------------------------------------------------------------------


def test_what_was_there_stays_where_saving_fails(
    tmp_path: Path, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "trace.safetensors"
    loaded_trace = rv.trace(tiny_model(), IDS)
    loaded_trace.save(path)
    before = path.read_bytes()

    def full(tensors: Any, scratch: Path, metadata: Any) -> None:
        scratch.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saved, "save_file", full)
        with pytest.raises(OSError, match="No space left"):
            loaded_trace.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    loaded = rv.Trace.load(path)
    rv.trace(tiny_model(seed=1), IDS).save(path)  # does not change what was loaded
    assert_equal(loaded, loaded_trace)


@pytest.mark.parametrize("name", ["trace", "trace.pt", "trace.npz"])
def test_a_trace_has_the_name_of_a_safetensors_file(
    name: str, tmp_path: Path, tiny_model: ModelFactory
) -> None:
    with pytest.raises(rv.TraceFileError, match=r"must have a name that ends in \.safetensors"):
        rv.trace(tiny_model(), IDS).save(tmp_path / name)
    with pytest.raises(rv.TraceFileError, match=r"must have a name that ends in \.safetensors"):
        rv.Trace.load(str(tmp_path / name))
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(rv.TraceFileError, match="is a folder"):
        rv.trace(tiny_model(), IDS).save(tmp_path / "folder.safetensors")
    with pytest.raises(rv.TraceFileError, match="is missing"):
        rv.Trace.load(tmp_path / "none.safetensors")


def test_a_trace_that_overflowed_is_not_saved(tmp_path: Path) -> None:
    large = torch.full((1, 3, 2), 300.0, dtype=torch.float16)
    loaded_trace = rv.Trace.from_tensors(large, large, large, 0.9)
    with pytest.raises(rv.TraceFileError, match="would hold NaN or infinite values"):
        loaded_trace.save(tmp_path / "trace.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelFactory) -> Path:
    """A file with a trace in it, of 5 tokens in chunks of 2."""
    path = tmp_path_factory.mktemp("sound") / "trace.safetensors"
    model = tiny_model(vocab_size=7, dtype=torch.float32)
    model.tokenizer = rv.Trace.from_tensors(
        *[torch.ones(1, 7, 1)] * 3, 0.5, [f"p{i}" for i in range(7)]
    ).model.tokenizer
    rv.trace(model, torch.tensor([1, 2, 3, 4, 5]), "chunkwise", 2).save(path)
    return path


def read_description(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        description: dict[str, Any] = json.loads(file.metadata()["trace"])
    return description


def assert_refused(path: Path, sentence: str) -> None:
    with pytest.raises(rv.TraceFileError, match=sentence) as caught:
        rv.Trace.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other"}, "not of the format"),
        ({"version": 2}, "has version 2; this program reads 1"),
        ({"version": None}, "has version None"),
        ({"surprise": 1}, "missing or unknown fields: surprise"),
        ({"mode": "serial"}, "mode of the trace"),
        ({"mode": []}, "mode of the trace"),
        ({"mode": "parallel"}, "holds a tensor .*retention.cross|lacks|needs"),
        ({"chunk_size": 0}, "chunk_size must be"),
        ({"chunk_size": 10**12}, "chunk_size must be"),
        ({"chunk_size": 2.5}, "chunk_size must be"),
        ({"chunk_size": 3}, "tensor layers.0.retention.scores has shape"),
        ({"ids": [1, 2, 3]}, "tensor logits has shape"),
        ({"ids": []}, "none of its tokens"),
        ({"ids": [1, 2, 3, 4, -5]}, "ids of the trace"),
        ({"ids": [1, 2, 3, 4, 7]}, "token id 7 is outside the vocabulary"),
        ({"ids": [1, 2, 3, 4, 10**30]}, "ids of the trace"),
        ({"ids": [1, 2, 3, 4, True]}, "ids of the trace"),
        ({"ids": "12345"}, "ids of the trace"),
        ({"pieces": ["a"]}, "has 1 texts for the 7 ids"),
        ({"pieces": [1] * 7}, "pieces of the trace"),
        ({"config": None}, "config of the trace"),
        ({"config": {}}, "tensor gamma has shape|vocabulary|needs|texts"),
        ({"config": {"code": "import os"}}, "unknown fields in the model's config: code"),
        ({"of_tensors": True}, "unknown fields in the model's config"),
        ({"of_tensors": 1}, "of_tensors of the trace"),
        ({"first_logits": 5}, "first_logits of the trace"),
        ({"first_logits": 1}, "tensor logits has shape"),
        ({"stride": 0}, "stride of the trace"),
        ({"stride": 2}, "tensor layers.0.retention.states has shape"),
        ({"keeps_blocks": False}, "holds a tensor layers.0.retention"),
        ({"keeps_rows": None}, "keeps_rows of the trace"),
    ],
)
def test_a_description_that_is_no_traces_is_refused(
    changes: dict[str, Any], sentence: str, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.safetensors"
    description = read_description(sound) | changes
    save_file(load_file(sound), path, metadata={"trace": json.dumps(description)})
    assert_refused(path, sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_layers": 10**12}, "holds fewer tensors than"),
        ({"n_layers": 1}, "tensor gamma has shape|holds a tensor layers.1"),
        ({"n_heads": 0}, "n_heads must be a whole number"),
        ({"d_model": 10**15}, "has shape"),
        ({"value_factor": 1e308}, "value_factor|infinity|too large"),
        ({"decay": "import os"}, "decay must be one of"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(
    fields: dict[str, Any], sentence: str, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.safetensors"
    description = read_description(sound)
    description["config"] |= fields
    save_file(load_file(sound), path, metadata={"trace": json.dumps(description)})
    assert_refused(path, sentence)


@pytest.mark.parametrize(
    "metadata", [None, {"other": "{}"}, {"trace": "{"}, {"trace": "[" * 10**5}]
)
def test_a_file_that_describes_no_trace_is_refused(
    metadata: dict[str, str] | None, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.safetensors"
    save_file(load_file(sound), path, metadata=metadata)
    assert_refused(path, "describes none|no readable JSON")


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: x for key, x in tensors.items() if key != name}


def change_file(
    name: str, change: Callable[[Tensor], Tensor]
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: tensors | {name: change(tensors[name]).contiguous()}


def spoiled(x: Tensor) -> Tensor:
    x.view(-1)[-1] = torch.inf
    return x


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (without("layers.1.retention.q"), "lacks the tensor layers.1.retention.q"),
        (without("logits"), "lacks the tensor logits"),
        (lambda x: x | {"layers.2.a": torch.ones(1)}, "holds a tensor layers.2.a"),
        (change_file("layers.0.retention.v", lambda x: x[:, 1:]), "layers.0.retention.v has shape"),
        (
            change_file("layers.0.retention.k", Tensor.double),
            "layers.0.retention.k is torch.float64",
        ),
        (change_file("layers.1.retention.last_state", Tensor.half), "last_state is torch.float16"),
        (change_file("logits", Tensor.long), "logits holds torch.int64, not floats"),
        (change_file("gamma", Tensor.float), "gamma is torch.float32"),
        (change_file("gamma", lambda x: x + 1), r"gamma has values outside \(0, 1\]"),
        (change_file("gamma", spoiled), "gamma holds NaN or infinite values"),
        (
            change_file("layers.1.layer.output", spoiled),
            "layers.1.layer.output holds NaN or infinite",
        ),
    ],
)
def test_tensors_that_are_no_traces_are_refused_by_name(
    edit: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    sentence: str,
    sound: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "trace.safetensors"
    save_file(edit(load_file(sound)), path, metadata={"trace": json.dumps(read_description(sound))})
    assert_refused(path, sentence)


def read(path: Path) -> str:
    """Load a file and read everything in it; "", or the sentence with which it is refused."""
    try:
        loaded_trace = rv.Trace.load(path)
    except rv.TraceFileError as error:
        return str(error)
    for layer in range(loaded_trace.n_layers):
        for name in NAMES:
            getattr(loaded_trace, name)(layer)
        for position in range(loaded_trace.length):
            loaded_trace.state(layer, position)
    loaded_trace.agreement()
    return "" if len(loaded_trace.tokens) == loaded_trace.length else "tokens"


def assert_refused_or_harmless(path: Path) -> None:
    description = read(path)
    assert not description or (str(path) in description and description.isprintable())


@given(data=st.data())
@fuzzing
def test_a_truncated_file_is_refused(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    content = sound.read_bytes()
    path = tmp_path / "trace.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert_refused(path, "is not a whole safetensors file|is a pickle")


@given(
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4
    ),
    in_header=st.booleans(),
)
@settings(parent=fuzzing, max_examples=examples(150))
def test_flipped_bytes_are_refused_or_harmless(
    flips: list[tuple[float, int]], in_header: bool, sound: Path, tmp_path: Path
) -> None:
    content = bytearray(sound.read_bytes())
    end = 8 + struct.unpack("<Q", content[:8])[0] if in_header else len(content)
    for share, mask in flips:
        content[int(share * end)] ^= mask
    path = tmp_path / "trace.safetensors"
    path.write_bytes(content)
    assert_refused_or_harmless(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(data=st.data())
@settings(parent=fuzzing, max_examples=examples(100))
def test_a_changed_description_is_refused_or_harmless(
    data: st.DataObject, sound: Path, tmp_path: Path
) -> None:
    description = read_description(sound)
    place = data.draw(st.sampled_from([description, description["config"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    path = tmp_path / "trace.safetensors"
    save_file(load_file(sound), path, metadata={"trace": json.dumps(description)})
    assert_refused_or_harmless(path)


@pytest.mark.parametrize("size", [2**37, 2**63, 2**64 - 1, 10**8, 0, 1])
def test_a_header_that_claims_another_size_is_refused(
    size: int, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.safetensors"
    path.write_bytes(struct.pack("<Q", size) + sound.read_bytes()[8:])
    assert_refused(path, "is not a whole safetensors file|is a pickle")
