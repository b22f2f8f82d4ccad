"""This project's own checkpoints: a folder of config.json, model.safetensors and tokenizer.json.

Nothing in such a folder is code. Each file is checked before it is used: keys, shapes, number type
and finite values of the tensors, fields of the config, vocabulary of the tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import replaced_folder, write_json
from retnet_viz.model import ConfigError, LanguageModel, RetNet, RetNetConfig

FORMAT = "retnet_viz"
VERSION = 1
KINDS: dict[str, tuple[type[Any], type[LanguageModel[Any]]]] = {
    "retnet": (RetNetConfig, RetNet),
    "transformer": (TransformerConfig, Transformer),
    "mamba": (MambaConfig, Mamba),
}
DEFAULT = Path(__file__).parent / "default"

TITLES = {"retnet": "RetNet", "transformer": "Transformer", "mamba": "Mamba"}  # of the kinds


def shipped() -> dict[str, Path]:
    """The folders of the trained models that ship, by kind: the RetNet's, and its baselines'.

    The tokenizer, which all of them have, lies with the RetNet.
    """
    folders = {kind: DEFAULT if kind == "retnet" else DEFAULT.with_name(kind) for kind in KINDS}
    return {kind: path for kind, path in folders.items() if (path / "config.json").is_file()}


def save(
    model: LanguageModel[Any], folder: str | Path, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write the model and its tokenizer into `folder`, whole or not at all.

    Raises CheckpointError on weights that `dtype` cannot hold, since `load` would refuse them, and
    on a folder that holds something else; what was there stays.
    """
    with replaced_folder(Path(folder)) as scratch:
        write_model(model, scratch, dtype)


def write_model(model: LanguageModel[Any], folder: Path, dtype: torch.dtype) -> None:
    """Write config.json, model.safetensors and tokenizer.json into an existing folder."""
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in saved_tensors(model).items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"tensor {name} is not finite in {dtype}; it cannot be saved")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind_of(model.config),
        "model": model.config.to_dict(),
    }
    write_json(folder / "config.json", content)
    save_file(tensors, folder / "model.safetensors", metadata={"format": FORMAT})
    if model.tokenizer is not None:
        model.tokenizer.backend.save(str(folder / "tokenizer.json"))


def saved_tensors(model: LanguageModel[Any]) -> dict[str, Tensor]:
    """The tensors that go into a file: the state dict without the second name of a tied weight."""
    tensors = model.state_dict()
    if model.config.tie_embeddings:
        del tensors["head.weight"]
    return tensors


def kind_of(config: Any) -> str:
    """The kind of model that a config describes, a key of KINDS."""
    return next(kind for kind, (Config, _) in KINDS.items() if isinstance(config, Config))


def build(config: Any) -> LanguageModel[Any]:
    """The model of a config, with random weights."""
    return KINDS[kind_of(config)][1](config)


def parse_config(path: Path, content: dict[str, Any]) -> Any:
    """The checked config in the object `content` of the file `path`."""
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not of the format {FORMAT!r}")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {content.get('version')!r}; this program reads version {VERSION}"
        )
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{path} has kind {kind!r}; this program reads {', '.join(KINDS)}")
    if not isinstance(content.get("model"), dict):
        raise CheckpointError(f"{path} has no object 'model'")
    try:
        return KINDS[kind][0].from_dict(content["model"])
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
