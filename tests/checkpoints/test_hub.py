"""Models of the Hugging Face Hub by name, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from published import fla_checkpoint
from safetensors.torch import save_file

from retnet_viz import cli
from retnet_viz.checkpoints import CheckpointError, inspect, load

pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer|.*without a tokenizer")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Snapshots come from a folder; what was asked for is listed."""
    requests = []

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        requests.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return requests


@pytest.mark.parametrize("pickled", [False, True])
def test_a_name_is_looked_up_and_pickles_only_where_there_is_nothing_else(
    tmp_path: Path, hub: list[Any], pickled: bool
) -> None:
    config, tensors = fla_checkpoint()
    (tmp_path / "config.json").write_text(json.dumps(config))
    if pickled:
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        save_file(tensors, tmp_path / "model.safetensors")
    assert load("fla-hub/retnet-small").n_parameters == sum(t.numel() for t in tensors.values())
    assert [name for name, _ in hub] == ["fla-hub/retnet-small"] * (2 if pickled else 1)
    requests = [pattern for _, patterns in hub for pattern in patterns]
    assert any("bin" in pattern for pattern in requests) == pickled
    assert {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"} <= set(requests)
    assert not any(pattern.endswith((".py", "*")) for pattern in requests)  # no code


@pytest.mark.parametrize(
    "name", ["tests/nothing", "nowhere", "/nowhere/model", "../up/model", "a/b/c", "~/model", "./a"]
)
def test_a_path_is_no_name(hub: list[Any], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(CheckpointError, match="there is no checkpoint folder at"):
        inspect(name)
    assert hub == []


def test_without_a_network_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    said = "there is no folder owner/model here, and no model owner/model could be fetched"
    with pytest.raises(CheckpointError, match=said):
        load("owner/model")


def test_inspect_prints_what_a_checkpoint_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, tensors = fla_checkpoint(tie_word_embeddings=True)
    tensors["lm_head.weight"] = tensors["model.embeddings.weight"].clone()
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    assert cli.main(["inspect", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "layout of fla" in said
    assert f"{load(tmp_path).n_parameters:,} in" in said
    assert "0.96875000  21.8" in said  # ln 0.5 / ln 0.96875 = 21.83
    assert "lm_head.weight: tied to the embedding" in said
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(["inspect", str(tmp_path)]) == 2
    assert "config.json is not of the format" in capsys.readouterr().err
