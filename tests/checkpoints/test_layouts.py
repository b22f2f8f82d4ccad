"""Published layouts: recognised, computed as their codes do, and whatever else refused by name."""

from __future__ import annotations

import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import (
    Config,
    Tensors,
    fla_checkpoint,
    fla_logits,
    syncdoth_checkpoint,
    torchscale_checkpoint,
    torchscale_logits,
)
from safetensors.torch import load_file, save_file

from retnet_viz.checkpoints import CheckpointError, inspect, load, save
from retnet_viz.model import MODES, RetNet
from tests.support.examples import examples

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
IDS = [3, 30, 0, 7, 7, 19, 2, 11, 5, 23, 1]
Checkpoint = tuple[Config, Tensors]

pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer|.*without a tokenizer")


def write(folder: Path, checkpoint: Checkpoint, *, name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    config, tensors = checkpoint
    (folder / "config.json").write_text(json.dumps(config))
    if name.endswith(".safetensors"):
        save_file(tensors, folder / name)
    else:
        torch.save(tensors, folder / name)
    return folder


def literal(checkpoint: Checkpoint) -> tuple[torch.Tensor, list[torch.Tensor]]:
    logits = fla_logits if "hidden_size" in checkpoint[0] else torchscale_logits
    return logits(*checkpoint, IDS)


def expect_same(model: RetNet, checkpoint: Checkpoint, limit: float = 1e-5) -> None:
    """All modes give what the published formula gives; the states too."""
    expected, states = literal(checkpoint)
    dtype = next(model.parameters()).dtype
    outputs = []
    for mode in MODES:
        with torch.no_grad():
            output = model(torch.tensor([IDS]), mode=mode, chunk_size=4)
        outputs.append(output.logits[0].double())
        assert (outputs[-1] - expected).abs().max() <= limit * expected.abs().max()
        for state, other in zip(output.state.layers, states, strict=True):
            assert state is not None
            if model.config.variant.scaled == "q":
                other = other.to(state)
            assert (state[0].double() - other).abs().max() <= limit * other.abs().max()
    if dtype == torch.float64:
        assert max((each - outputs[0]).abs().max() for each in outputs) < 1e-10


FLA = st.fixed_dictionaries(
    {
        "expand_k": st.sampled_from([1.0, 0.5]),
        "expand_v": st.sampled_from([2.0, 1.0, 1.5]),
        "num_kv_heads": st.sampled_from([None, 1, 2, 3, 6]),
        "fuse_norm": st.booleans(),
        "elementwise_affine": st.booleans(),
        "use_output_gate": st.booleans(),
        "tie_word_embeddings": st.booleans(),
        "norm_eps": st.sampled_from([1e-6, 1e-2]),
        "intermediate_size": st.sampled_from([20, 24, 37]),
    }
)
DECODER = st.fixed_dictionaries(
    {
        "deepnorm": st.booleans(),
        "subln": st.booleans(),
        "decoder_normalize_before": st.booleans(),
        "activation_fn": st.sampled_from(["swish", "gelu", "relu"]),
        "no_scale_embedding": st.booleans(),
        "layernorm_embedding": st.booleans(),
        "layernorm_eps": st.sampled_from([1e-6, 1e-2]),
        "norm_bias": st.booleans(),
        "gammas": st.sampled_from([None, [0.5, 0.9, 0.999]]),
        "decoder_layers": st.sampled_from([1, 3]),
    }
)
SYNCDOTH = st.fixed_dictionaries(
    {
        "use_lm_decay": st.booleans(),
        "use_glu": st.booleans(),
        "tie_word_embeddings": st.booleans(),
        "ffn_norm_bias": st.booleans(),
    }
)
many = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25)
)


@given(changes=FLA, seed=st.integers(0, 99))
@many
def test_fla_is_computed_as_published(tmp_path: Path, changes: dict[str, Any], seed: int) -> None:
    checkpoint = fla_checkpoint(seed, **changes)
    model = load(write(tmp_path, checkpoint), dtype=torch.float64)
    expect_same(model, checkpoint, 1e-9)
    assert inspect(tmp_path).layout == "fla"


@given(changes=DECODER, tied=st.booleans(), seed=st.integers(0, 99))
@many
def test_torchscale_is_computed_as_published(
    tmp_path: Path, changes: dict[str, Any], tied: bool, seed: int
) -> None:
    checkpoint = torchscale_checkpoint(seed, share_decoder_input_output_embed=tied, **changes)
    model = load(write(tmp_path, checkpoint), dtype=torch.float64)
    expect_same(model, checkpoint)  # the file rounds angles and decays to float32
    assert inspect(tmp_path).layout == "torchscale"


@given(changes=DECODER, more=SYNCDOTH, seed=st.integers(0, 99))
@many
def test_syncdoth_is_computed_as_published(
    tmp_path: Path, changes: dict[str, Any], more: dict[str, Any], seed: int
) -> None:
    checkpoint = syncdoth_checkpoint(seed, **changes, **more)
    model = load(write(tmp_path, checkpoint), dtype=torch.float64)
    expect_same(model, checkpoint)
    assert inspect(tmp_path).layout == "syncdoth"


def test_the_default_feed_forward_width_of_fla_is_a_multiple_of_256(tmp_path: Path) -> None:
    checkpoint = fla_checkpoint(hidden_size=48, hidden_ratio=9, intermediate_size=None)
    assert checkpoint[1]["model.layers.0.mlp.up_proj.weight"].shape[0] == 512
    expect_same(load(write(tmp_path, checkpoint), dtype=torch.float64), checkpoint, 1e-9)


@pytest.mark.parametrize(
    ("fields", "ratio", "width"), [({}, 2, 256), ({"hidden_ratio": None}, 4, 512)]
)
def test_a_ratio_that_fla_does_not_say_is_what_its_code_takes(
    tmp_path: Path, fields: Config, ratio: int, width: int
) -> None:
    config, tensors = checkpoint = fla_checkpoint(
        hidden_size=144, hidden_ratio=ratio, num_heads=3, intermediate_size=None
    )
    config = {name: value for name, value in config.items() if name != "hidden_ratio"} | fields
    write(tmp_path, (config, tensors))
    assert inspect(tmp_path).config.ffn_dim == width
    expect_same(load(tmp_path, dtype=torch.float64), checkpoint, 1e-9)


def test_a_null_affine_of_fla_has_no_weights(tmp_path: Path) -> None:
    checkpoint = fla_checkpoint(elementwise_affine=None)
    expect_same(load(write(tmp_path, checkpoint), dtype=torch.float64), checkpoint, 1e-9)


@pytest.mark.parametrize(
    ("make", "tied", "names"),
    [
        (fla_checkpoint, "tie_word_embeddings", ("model.embeddings", "lm_head")),
        (syncdoth_checkpoint, "tie_word_embeddings", ("model.embed_tokens", "lm_head")),
        (
            torchscale_checkpoint,
            "share_decoder_input_output_embed",
            ("embed_tokens", "output_projection"),
        ),
    ],
)
def test_of_two_tied_tensors_either_is_enough(
    tmp_path: Path, make: Callable[..., Checkpoint], tied: str, names: tuple[str, str]
) -> None:
    """safetensors' own save_model keeps whichever of the two names comes first."""
    config, tensors = checkpoint = make(**{tied: True})
    embedding, head = (f"{name}.weight" for name in names)
    stored = tensors[embedding]
    rest = {name: tensor for name, tensor in tensors.items() if name not in (embedding, head)}
    for given_ in ({head: stored}, {embedding: stored}, {head: stored, embedding: stored.clone()}):
        write(tmp_path, (config, rest | given_))
        expect_same(load(tmp_path, dtype=torch.float64), checkpoint)
    write(tmp_path, (config, rest | {head: stored + 1, embedding: stored}))
    refused(tmp_path, head, embedding, "tied")


@pytest.mark.parametrize("layout", ["fla", "syncdoth", "torchscale"])
@pytest.mark.parametrize("mode", MODES)
def test_the_original_code_computed_the_same(layout: str, mode: str) -> None:
    """What flash-linear-attention, syncdoth's code and torchscale themselves gave."""
    folder = REFERENCE / layout
    if not folder.is_dir():
        pytest.skip(f"needs the outputs of the original codes in {folder}")
    model, given_ = load(folder), load_file(folder / "io.safetensors")
    with torch.no_grad():
        output = model(given_["input_ids"], mode=mode, chunk_size=8)
    suffix = "" if layout == "fla" else ".f32"
    for form in ("parallel", "recurrent"):
        expected = given_[f"logits_{form}{suffix}"]
        assert (output.logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    for i, state in enumerate(output.state.layers):
        if layout == "fla":
            expected = given_[f"state_after100_{i}"]
        else:
            root = given_[f"state_{i}.scale.f32"].reshape(-1, 4, 1, 1).sqrt()
            expected = given_[f"state_{i}.prev_key_value.f32"].mT * root
        assert (state - expected).abs().max() <= 1e-5 * expected.abs().max()


# -- files --------------------------------------------------------------------------------------


def shard(folder: Path, checkpoint: Checkpoint, suffix: str = ".safetensors") -> Path:
    """The checkpoint in three files with an index, as transformers writes them."""
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    config, tensors = checkpoint
    (folder / "config.json").write_text(json.dumps(config))
    names, weight_map = sorted(tensors), {}
    for i in range(3):
        part = {name: tensors[name] for name in names[i::3]}
        file = f"{stem}-{i + 1:05}-of-00003{suffix}"
        (save_file if suffix == ".safetensors" else torch.save)(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_sharded_files_give_the_same(tmp_path: Path, suffix: str) -> None:
    checkpoint = fla_checkpoint()
    expect_same(load(shard(tmp_path, checkpoint, suffix), dtype=torch.float64), checkpoint, 1e-9)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt", "weights.safetensors"])
def test_a_file_under_another_name_gives_the_same(tmp_path: Path, name: str) -> None:
    checkpoint = torchscale_checkpoint()
    expect_same(load(write(tmp_path, checkpoint, name=name), dtype=torch.float64), checkpoint)


def test_what_a_trainer_wraps_is_unwrapped(tmp_path: Path) -> None:
    checkpoint = torchscale_checkpoint()
    write(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"model": checkpoint[1]}, tmp_path / "checkpoint.pt")
    expect_same(load(tmp_path, dtype=torch.float64), checkpoint)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_16_bit_files_give_what_their_numbers_give(
    tmp_path: Path, dtype: torch.dtype, name: str
) -> None:
    config, tensors = fla_checkpoint()
    rounded = {key: tensor.to(dtype) for key, tensor in tensors.items()}
    model = load(write(tmp_path, (config, rounded), name=name), dtype=torch.float64)
    expect_same(model, (config, rounded), 1e-9)
    assert {p.dtype for p in load(tmp_path, dtype=dtype).parameters()} == {dtype}


@pytest.mark.parametrize("make", [fla_checkpoint, torchscale_checkpoint, syncdoth_checkpoint])
def test_some_layers_are_those_of_the_whole(
    tmp_path: Path, make: Callable[..., Checkpoint]
) -> None:
    layers = {"num_hidden_layers": 4} if make is fla_checkpoint else {"decoder_layers": 4}
    write(tmp_path, make(**layers))
    whole, part = load(tmp_path), load(tmp_path, layers=slice(1, 3))
    assert part.config.n_layers == 2
    for name, tensor in part.state_dict().items():
        words = name.split(".")
        if words[0] == "blocks":
            words[1] = str(int(words[1]) + 1)
        assert torch.equal(tensor, whole.state_dict()[".".join(words)])
    ignored = inspect(tmp_path, layers=slice(1, 3)).ignored
    assert {why for why in ignored.values() if "layer" in why} == {
        "of layer 0, which was not asked for",
        "of layer 3, which was not asked for",
    }
    with pytest.raises(CheckpointError, match="leaves none of the 4 layers"):
        load(tmp_path, layers=slice(4, 9))


def test_a_foreign_model_is_saved_in_this_packages_format(tmp_path: Path) -> None:
    checkpoint = syncdoth_checkpoint(deepnorm=True, use_glu=False)
    model = load(write(tmp_path / "theirs", checkpoint))
    save(model, tmp_path / "ours", dtype=torch.float32)
    (tmp_path / "ours" / "tokenizer.json").write_text("{}")
    assert inspect(tmp_path / "ours").layout == "retnet_viz"
    assert inspect(tmp_path / "ours").config == model.config


def test_a_plan_says_what_would_be_loaded(tmp_path: Path) -> None:
    config, tensors = syncdoth_checkpoint(tie_word_embeddings=True)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    plan = inspect(write(tmp_path, (config, tensors)))
    assert plan.n_parameters == load(tmp_path).n_parameters
    assert plan.ignored == {
        "lm_head.weight": "tied to the embedding",
        "model.retnet_rel_pos.angle": "the angles follow from the width of a head",
        "model.retnet_rel_pos.decay": "read as the gammas of the config",
    }
    loaded = {*plan.names.values(), *plan.ignored}
    assert loaded == set(tensors)  # every tensor is used or named


# -- what is refused ----------------------------------------------------------------------------


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("make", "changes", "part"),
    [
        (fla_checkpoint, {"attn": {"layers": [1]}}, "attn ="),
        (fla_checkpoint, {"use_short_conv": True}, "use_short_conv = True"),
        (fla_checkpoint, {"feature_map": "relu"}, "feature_map = 'relu'"),
        (fla_checkpoint, {"hidden_act": "gelu"}, "hidden_act must be one of swish"),
        (torchscale_checkpoint, {"moe_freq": 2}, "moe_freq = 2"),
        (torchscale_checkpoint, {"multiway": True}, "multiway"),
        (torchscale_checkpoint, {"no_output_layer": True}, "no_output_layer"),
    ],
)
def test_what_no_retnet_here_has_is_refused_by_its_field(
    tmp_path: Path, make: Callable[..., Checkpoint], changes: dict[str, Any], part: str
) -> None:
    config, tensors = make()
    refused(write(tmp_path, (config | changes, tensors)), "config.json", part)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"num_hidden_layers": 3}, ["lacks the tensor model.layers.2."]),
        ({"num_hidden_layers": 1}, ["model.layers.1.", "does not have"]),
        ({"num_hidden_layers": 10**9}, ["too few"]),
        ({"hidden_size": 48}, ["has shape"]),
        ({"hidden_size": "wide"}, ["hidden_size must be a whole number"]),
        ({"hidden_size": True}, ["hidden_size must be a whole number"]),
        ({"num_heads": 5}, ["5 equal heads"]),
        ({"num_heads": 7, "hidden_size": 28}, ["shape"]),
        ({"num_kv_heads": 5}, ["n_kv_heads 5"]),
        ({"num_kv_heads": 12}, ["n_kv_heads 12"]),
        ({"expand_v": 0}, ["above 0"]),
        ({"expand_v": 1e300}, ["config.json"]),
        ({"expand_k": -1.0}, ["above 0"]),
        ({"norm_eps": "small"}, ["norm_eps must be a number"]),
        ({"elementwise_affine": False}, ["g_norm", "does not have"]),
        ({"tie_word_embeddings": "yes"}, ["tie_word_embeddings must be true or false"]),
        ({"vocab_size": 32}, ["embeddings.weight", "(31, 24)", "(32, 24)"]),
        ({"vocab_size": 2**60}, ["config.json"]),
    ],
)
def test_a_config_that_contradicts_its_tensors_is_refused(
    tmp_path: Path, changes: dict[str, Any], parts: list[str]
) -> None:
    config, tensors = fla_checkpoint()
    refused(write(tmp_path, (config | changes, tensors)), *parts)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"use_glu": False}, "use_glu is false"),
        ({"activation_fn": "tanh"}, "activation_fn must be one of"),
        ({"decoder_value_embed_dim": 37}, "value_factor"),
        ({"decoder_retention_heads": 4}, "decays for 4 heads"),
        ({"deepnorm": "yes"}, "deepnorm must be true or false"),
        ({"deepnorm": True}, "model.layer_norm.weight"),
    ],
)
def test_a_decoder_config_that_contradicts_its_tensors_is_refused(
    tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    config, tensors = syncdoth_checkpoint()
    refused(write(tmp_path, (config | changes, tensors)), part)


def test_angles_of_another_kind_are_refused(tmp_path: Path) -> None:
    config, tensors = torchscale_checkpoint()
    tensors["retnet_rel_pos.angle"] = tensors["retnet_rel_pos.angle"] * 1.01
    refused(write(tmp_path, (config, tensors)), "retnet_rel_pos.angle", "not the angles")


@pytest.mark.parametrize("decay", [[0.1, -0.1, -0.1], [-math.inf, -0.1, -0.1], [math.nan] * 3])
def test_decays_that_no_head_can_have_are_refused(tmp_path: Path, decay: list[float]) -> None:
    config, tensors = torchscale_checkpoint()
    tensors["retnet_rel_pos.decay"] = torch.tensor(decay)
    refused(write(tmp_path, (config, tensors)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    config, tensors = fla_checkpoint()
    tensors["model.layers.1.mlp.up_proj.weight"][1, 2] = value
    refused(write(tmp_path, (config, tensors)), "model.layers.1.mlp.up_proj.weight", "NaN")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shard(tmp_path, fla_checkpoint())
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    refused(tmp_path, "model-00002-of-00003.safetensors", "is missing")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "", "..", 3, "a/b"])
def test_an_index_names_only_files_of_its_folder(tmp_path: Path, name: Any) -> None:
    shard(tmp_path, fla_checkpoint())
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = name
    index.write_text(json.dumps(content))
    refused(tmp_path, "names no file of the folder")


def test_an_index_that_promises_another_tensor_is_refused(tmp_path: Path) -> None:
    shard(tmp_path, fla_checkpoint())
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.extra"] = "model-00001-of-00003.safetensors"
    index.write_text(json.dumps(content))
    refused(tmp_path, "lacks the tensor model.extra")


def test_several_files_without_an_index_are_refused(tmp_path: Path) -> None:
    write(tmp_path, fla_checkpoint(), name="a.safetensors")
    write(tmp_path, fla_checkpoint(), name="b.safetensors")
    refused(tmp_path, "several files", "a.safetensors, b.safetensors")


class Trap:
    """An object whose pickle writes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, kind: str) -> None:
    config, tensors = fla_checkpoint()
    folder, mark = tmp_path / "folder", tmp_path / "it-ran"
    write(folder, (config, tensors))
    (folder / "model.safetensors").unlink()
    content = {**tensors, "trap": Trap(mark)}
    path = folder / "pytorch_model.bin"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused(folder, "pytorch_model.bin")
    assert not mark.exists()


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    write(tmp_path, fla_checkpoint(), name="pytorch_model.bin")
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/bomb", bytes(10**8))
    assert path.stat().st_size < 10**6
    refused(tmp_path, "compressed")


@given(data=st.data())
@settings(many, max_examples=examples(100))
def test_damage_never_causes_anything_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of the file and fields of the config, changed at random."""
    name = data.draw(st.sampled_from(["model.safetensors", "pytorch_model.bin"]))
    make = data.draw(st.sampled_from([fla_checkpoint, torchscale_checkpoint, syncdoth_checkpoint]))
    folder = tmp_path / name.replace(".", "-")
    config, tensors = make()
    fields = st.sampled_from(sorted(config))
    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    write(folder, (config | data.draw(st.dictionaries(fields, values, max_size=2)), tensors),
          name=name)  # fmt: skip
    content = bytearray((folder / name).read_bytes())
    for at, bits in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), max_size=3)
    ):
        content[at] ^= bits
    (folder / name).write_bytes(content)
    with suppress(CheckpointError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(folder)
