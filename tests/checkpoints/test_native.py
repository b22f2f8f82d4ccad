"""Native checkpoints: what is saved is loaded, and whatever else is refused by name."""

from __future__ import annotations

import io
import json
import math
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from retnet_viz.checkpoints import CheckpointError, Tokenizer, load, load_model, native, save
from retnet_viz.model import MODES, RetNet
from retnet_viz.training.data import train_tokenizer
from tests.support.examples import examples

ModelFactory = Callable[..., RetNet]
WEIGHTS = "model.safetensors"
IDS = torch.tensor([[7, 99, 3, 260, 41, 0, 5]])

# A checkpoint folder is made once for all examples, and each example writes it anew.
fuzzing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(folder: Path, *parts: str) -> str:
    """Load the folder, expect a refusal whose message has all the parts, and return it."""
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    for part in parts:
        assert part in message
    return message


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["model"].update(fields)
    path.write_text(json.dumps(content))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tie_embeddings": False},
        {"decay": (0.9, 1 - 2**-30), "rotation": "half", "feed_forward": "swiglu", "norm": "rms"},
    ],
)
def test_a_loaded_model_is_the_saved_one(
    tmp_path: Path, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer, fields: dict[str, Any]
) -> None:
    model = tiny_model(dtype=torch.float32, **fields)
    model.tokenizer = tiny_tokenizer
    save(model, tmp_path / "deep" / "er")
    loaded = load(tmp_path / "deep" / "er")
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded.tokenizer.encode("a red kite") == tiny_tokenizer.encode("a red kite")
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(
            tensor, expected[name].half().float()
        )  # stored in 16 bits, exactly those
    rounded = model.half().float()
    for mode in MODES:  # and it computes, gammas included
        assert torch.equal(loaded(IDS, mode=mode).logits, rounded(IDS, mode=mode).logits)


@pytest.mark.parametrize("kind", [kind for kind in native.KINDS if kind != "retnet"])
def test_what_a_retnet_is_compared_with_is_saved_and_loaded_too(
    tmp_path: Path, tiny_tokenizer: Tokenizer, kind: str
) -> None:
    torch.manual_seed(0)
    model = native.build(native.KINDS[kind][0](vocab_size=300, d_model=16, n_layers=2)).eval()
    model.tokenizer = tiny_tokenizer
    save(model, tmp_path, dtype=torch.float32)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    refused(tmp_path, f"holds a {kind}, not a retnet")  # where a RetNet is asked for


def test_a_tied_model_is_tied_again_and_stores_the_weight_once(tiny_checkpoint: Path) -> None:
    loaded = load(tiny_checkpoint)
    assert loaded.head.weight is loaded.embedding.weight
    assert "head.weight" not in load_file(tiny_checkpoint / WEIGHTS)


def test_weights_come_in_the_type_asked_for(tiny_checkpoint: Path) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        model = load(str(tiny_checkpoint), dtype=dtype)
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert model(IDS).logits.dtype == dtype


def test_float32_can_be_stored_without_loss(tmp_path: Path, tiny_model: ModelFactory) -> None:
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = train_tokenizer(["aaaa bbbb"], 258)
    save(model, tmp_path / "full", dtype=torch.float32)
    for name, tensor in load(tmp_path / "full").state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_a_loaded_model_does_not_depend_on_its_files(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint, dtype=torch.float16)
    before = model.state_dict()["embedding.weight"].clone()
    size = (tiny_checkpoint / WEIGHTS).stat().st_size
    (tiny_checkpoint / WEIGHTS).write_bytes(bytes(size))
    assert torch.equal(model.state_dict()["embedding.weight"], before)


# What is refused


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no checkpoint folder", str(tmp_path / "nowhere"))


def test_a_file_in_place_of_the_folder_is_named(tiny_checkpoint: Path) -> None:
    refused(tiny_checkpoint / "config.json", "config.json", "is a file")


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json"])
def test_a_missing_file_is_named(tiny_checkpoint: Path, name: str) -> None:
    (tiny_checkpoint / name).unlink()
    refused(tiny_checkpoint, name)


@given(part=st.floats(0, 1, exclude_max=True))
@fuzzing
def test_a_truncated_weights_file_is_refused_at_any_length(
    tiny_checkpoint: Path, part: float
) -> None:
    whole = tiny_checkpoint.parent / "whole"
    if not whole.exists():
        shutil.copy(tiny_checkpoint / WEIGHTS, whole)
    content = whole.read_bytes()
    for length in {int(part * len(content)), int(part * 200), len(content) - 1}:
        (tiny_checkpoint / WEIGHTS).write_bytes(content[:length])
        refused(tiny_checkpoint, WEIGHTS, "not a whole safetensors file")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl", ".PICKLE"])
def test_a_pickle_is_refused_by_its_name_with_the_way_to_convert_it(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"anything")
    refused(path, path.name, "pickle", "save_file", "weights_only=True")


class Trap:
    """An object whose pickle writes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", *range(2, 6)])
def test_a_pickle_named_safetensors_is_refused_and_its_code_does_not_run(
    tiny_checkpoint: Path, kind: str | int
) -> None:
    mark = tiny_checkpoint.parent / "it-ran"
    buffer = io.BytesIO()
    if isinstance(kind, int):
        pickle.dump(Trap(mark), buffer, protocol=kind)
    else:
        torch.save(Trap(mark), buffer, _use_new_zipfile_serialization=kind == "torch zip")
    (tiny_checkpoint / WEIGHTS).write_bytes(buffer.getvalue())
    refused(tiny_checkpoint, WEIGHTS, "is a pickle", "save_file")
    assert not mark.exists()
    buffer.seek(0)
    pickle_or_torch: Callable[..., Any] = torch.load if isinstance(kind, str) else pickle.load
    pickle_or_torch(buffer, **({"weights_only": False} if isinstance(kind, str) else {}))
    assert mark.exists()  # the trap works: whoever opens it is caught


def test_a_pickle_of_the_text_protocol_is_refused_too(tiny_checkpoint: Path) -> None:
    mark = tiny_checkpoint.parent / "it-ran"
    (tiny_checkpoint / WEIGHTS).write_bytes(pickle.dumps(Trap(mark), protocol=0))
    refused(tiny_checkpoint, WEIGHTS)
    assert not mark.exists()


def test_a_good_file_that_begins_with_the_byte_of_a_pickle_is_loaded(tiny_checkpoint: Path) -> None:
    # A safetensors file begins with the length of its header, which may be any multiple of 8.
    tensors = load_file(tiny_checkpoint / WEIGHTS)
    first_bytes = set()
    for padding in range(256):
        save_file(tensors, tiny_checkpoint / WEIGHTS, metadata={"note": "x" * padding})
        first = (tiny_checkpoint / WEIGHTS).read_bytes()[0]
        first_bytes.add(first)
        if first == 0x80:
            assert load(tiny_checkpoint)(IDS).logits.isfinite().all()
    assert 0x80 in first_bytes


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(tiny_checkpoint: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["blocks.1.ffn.up_proj.weight"][3, 2] = value

    edit_tensors(tiny_checkpoint, spoil)
    refused(tiny_checkpoint, WEIGHTS, "blocks.1.ffn.up_proj.weight", "NaN or infinite")


def test_a_missing_tensor_is_named(tiny_checkpoint: Path) -> None:
    edit_tensors(tiny_checkpoint, lambda t: t.pop("blocks.0.retention.q_proj.weight"))
    refused(tiny_checkpoint, WEIGHTS, "lacks", "blocks.0.retention.q_proj.weight")


def test_a_tensor_too_many_is_named(tiny_checkpoint: Path) -> None:
    edit_tensors(tiny_checkpoint, lambda t: t.update(extra=torch.zeros(3)))
    refused(tiny_checkpoint, WEIGHTS, "extra", "does not have")


def test_a_wrong_shape_is_named_with_both_shapes(tiny_checkpoint: Path) -> None:
    edit_tensors(tiny_checkpoint, lambda t: t.update({"norm.weight": torch.ones(17)}))
    refused(tiny_checkpoint, WEIGHTS, "norm.weight", "(17,)", "(16,)")


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.uint8])
def test_a_tensor_that_holds_no_floats_is_named(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    edit_tensors(tiny_checkpoint, lambda t: t.update({"norm.bias": torch.ones(16).to(dtype)}))
    refused(tiny_checkpoint, WEIGHTS, "norm.bias", str(dtype))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "not a readable JSON file"),
        ("{", "not a readable JSON file"),
        ('{"format": ' + "1" * 5000 + "}", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ("\ufeff{}", "not a readable JSON file"),
        ("[]", "must hold a JSON object, not a list"),
        ("null", "must hold a JSON object"),
        ("{}", "not of the format 'retnet_viz'"),
        ('{"format": "torchscale"}', "not of the format 'retnet_viz'"),
        ('{"format": "retnet_viz", "version": 2, "model": {}}', "version 2"),
        ('{"format": "retnet_viz", "model": {}}', "version None"),
        ('{"format": "retnet_viz", "version": 1, "model": {}}', "kind None"),
        ('{"format": "retnet_viz", "version": 1, "kind": ["retnet"]}', "kind ['retnet']"),
        ('{"format": "retnet_viz", "version": 1, "kind": "rwkv"}', "reads retnet, transformer"),
        ('{"format": "retnet_viz", "version": 1, "kind": "retnet", "model": 5}', "object 'model'"),
        ('{"format": "retnet_viz", "version": 1, "kind": "retnet"}', "no object 'model'"),
    ],
)
def test_a_config_that_is_none_is_refused(tiny_checkpoint: Path, content: str, part: str) -> None:
    (tiny_checkpoint / "config.json").write_text(content, encoding="utf-8")
    refused(tiny_checkpoint, "config.json", part)


def test_a_config_of_other_bytes_is_refused(tiny_checkpoint: Path) -> None:
    (tiny_checkpoint / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(tiny_checkpoint, "config.json", "not a readable JSON file")


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"experts": 8}, "experts"),
        ({"rotation": "spiral"}, "rotation"),
        ({"n_heads": 3}, "n_heads 3"),
        ({"decay": [0.9, 2.0]}, "gamma of head 1"),
        ({"norm_eps": None}, "norm_eps"),
    ],
)
def test_a_bad_field_of_the_config_is_named(
    tiny_checkpoint: Path, fields: dict[str, Any], part: str
) -> None:
    edit_config(tiny_checkpoint, **fields)
    refused(tiny_checkpoint, "config.json", part)


@pytest.mark.parametrize(
    "fields",
    [
        {"n_layers": 10**9},
        {"d_model": 2**40},
        {"d_model": 2**30},
        {"vocab_size": 2**50},
        {"ffn_factor": 1e300},
        {"value_factor": 2.0**60},
    ],
)
def test_a_config_that_asks_for_a_giant_is_refused_before_it_takes_memory(
    tiny_checkpoint: Path, fields: dict[str, Any]
) -> None:
    edit_config(tiny_checkpoint, **fields)
    refused(tiny_checkpoint)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tiny_checkpoint: Path) -> None:
    larger = Tokenizer.from_file(tiny_checkpoint / "tokenizer.json")
    larger.backend.add_tokens(["one more"])
    larger.backend.save(str(tiny_checkpoint / "tokenizer.json"))
    refused(tiny_checkpoint, "tokenizer.json", "301", "300")


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"model": {"type": "BPE"}}'])
def test_a_tokenizer_file_that_is_none_is_refused(tiny_checkpoint: Path, content: str) -> None:
    (tiny_checkpoint / "tokenizer.json").write_text(content)
    refused(tiny_checkpoint, "tokenizer.json")


def test_a_vocabulary_that_is_not_of_bytes_is_refused(tiny_checkpoint: Path) -> None:
    path = tiny_checkpoint / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["two words"] = content["model"]["vocab"].pop("a")
    content["model"]["merges"] = []
    path.write_text(json.dumps(content))
    refused(tiny_checkpoint, "tokenizer.json", "'two words'")


def test_a_giant_header_length_is_refused(tiny_checkpoint: Path) -> None:
    content = (tiny_checkpoint / WEIGHTS).read_bytes()
    for length in (2**63, 2**64 - 1, len(content), 2**27):
        header = length.to_bytes(8, "little")
        (tiny_checkpoint / WEIGHTS).write_bytes(header + content[8:])
        refused(tiny_checkpoint, WEIGHTS, "not a whole safetensors file")


@given(data=st.data())
@settings(fuzzing, max_examples=examples(150))
def test_a_damaged_header_never_causes_anything_but_a_refusal(
    tiny_checkpoint: Path, data: st.DataObject
) -> None:
    whole = tiny_checkpoint.parent / "whole"
    if not whole.exists():
        shutil.copy(tiny_checkpoint / WEIGHTS, whole)
    content = bytearray(whole.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    flips = data.draw(st.lists(st.tuples(st.integers(0, end - 1), st.integers(1, 255)), min_size=1,
                               max_size=3))  # fmt: skip
    for at, bits in flips:
        content[at] ^= bits
    (tiny_checkpoint / WEIGHTS).write_bytes(content)
    with suppress(CheckpointError):  # a flip in the free text of the header may be harmless
        load(tiny_checkpoint)


# Saving


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("broken", ["save_file", "write_json"])
def test_a_save_that_fails_leaves_the_last_checkpoint_whole(
    tiny_checkpoint: Path, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    before = listing(tiny_checkpoint.parent)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on the disk")

    monkeypatch.setattr(native, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        save(tiny_model(seed=1), tiny_checkpoint)
    assert listing(tiny_checkpoint.parent) == before
    assert [p.name for p in tiny_checkpoint.parent.iterdir()] == ["checkpoint"]


def test_a_rename_that_fails_leaves_the_last_checkpoint_in_its_place(
    tiny_checkpoint: Path, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(tiny_checkpoint.parent)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == tiny_checkpoint and not self.name.endswith("-old"):
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        save(tiny_model(seed=1), tiny_checkpoint)
    assert listing(tiny_checkpoint.parent) == before
    assert [p.name for p in tiny_checkpoint.parent.iterdir()] == ["checkpoint"]


def test_a_save_replaces_the_last_checkpoint_and_leaves_nothing_beside_it(
    tiny_checkpoint: Path, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(seed=1, dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    save(model, tiny_checkpoint)
    assert torch.equal(load(tiny_checkpoint).norm.weight, model.norm.weight.half().float())
    assert [p.name for p in tiny_checkpoint.parent.iterdir()] == ["checkpoint"]
    with safe_open(tiny_checkpoint / WEIGHTS, "pt") as file:
        assert file.metadata() == {"format": "retnet_viz"}


def test_a_save_does_not_replace_somebodys_other_files(
    tmp_path: Path, tiny_model: ModelFactory
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.txt").write_text("dear")
    (tmp_path / "notes").write_text("dear too")
    before = listing(tmp_path)
    for name in ("photos", "notes"):
        with pytest.raises(CheckpointError, match=name):
            save(tiny_model(), tmp_path / name)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("value", [math.nan, 1e6])
def test_weights_that_could_not_be_loaded_again_are_not_saved(
    tiny_checkpoint: Path, tiny_model: ModelFactory, value: float
) -> None:
    before = listing(tiny_checkpoint.parent)
    model = tiny_model()
    with torch.no_grad():
        model.norm.weight[0] = value  # 1e6 is beyond float16
    with pytest.raises(CheckpointError, match=r"norm\.weight is not finite in torch\.float16"):
        save(model, tiny_checkpoint)
    assert listing(tiny_checkpoint.parent) == before
