"""This project's own checkpoints: a folder of config.json, model.safetensors and tokenizer.json.

Nothing in such a folder is code. Each file is checked before it is used: keys, shapes, number type
and finite values of the tensors, fields of the config, vocabulary of the tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import read_json, replaced_folder, write_json
from retnet_viz.checkpoints.tokenizer import Tokenizer
from retnet_viz.model import ConfigError, LanguageModel, RetNet, RetNetConfig

FORMAT = "retnet_viz"
VERSION = 1
KINDS: dict[str, tuple[type[Any], type[LanguageModel[Any]]]] = {
    "retnet": (RetNetConfig, RetNet),
    "transformer": (TransformerConfig, Transformer),
    "mamba": (MambaConfig, Mamba),
}
DEFAULT = Path(__file__).parent / "default"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


def load(
    path: str | Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> RetNet:
    """The RetNet in the checkpoint folder `path`, or the shipped trained one.

    The model has `.config` and `.tokenizer` and is in evaluation mode. Weights are stored in 16
    bits and converted to `dtype`. Raises CheckpointError with a sentence that names the file, and
    the tensor where one is at fault; nothing is loaded then.
    """
    folder = DEFAULT if path is None else Path(path)
    model = load_model(folder, dtype=dtype, device=device)
    if not isinstance(model, RetNet):
        raise CheckpointError(f"{folder} holds a {kind_of(model.config)}, not a retnet")
    return model


def shipped() -> dict[str, Path]:
    """The folders of the trained models that ship, by kind: the RetNet's, and its baselines'."""
    folders = {kind: DEFAULT if kind == "retnet" else DEFAULT.with_name(kind) for kind in KINDS}
    return {kind: path for kind, path in folders.items() if (path / "config.json").is_file()}


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> LanguageModel[Any]:
    """`load` for a model of any of the KINDS."""
    folder = Path(path)
    _refuse_pickle(folder)
    if not folder.exists():
        raise CheckpointError(f"there is no checkpoint folder at {folder}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; name the folder that holds config.json")
    config = load_config(folder)
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder / 'tokenizer.json'} has {tokenizer.vocab_size} tokens, "
            f"but config.json gives the model {config.vocab_size}"
        )
    path = folder / "model.safetensors"
    tensors = read_tensors(path)
    if config.n_layers > len(tensors):
        raise CheckpointError(
            f"{path} holds {len(tensors)} tensors, too few for the {config.n_layers} layers that "
            "config.json asks for"
        )
    try:
        with torch.device("meta"):  # shapes only: a wrong config must not take memory
            model = build(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{folder / 'config.json'} asks for too large a model") from error
    check(model, tensors, path)
    # copy: a tensor of load_file may lie on the file itself
    weights = {name: tensor.to(device, dtype, copy=True) for name, tensor in tensors.items()}
    model.load_state_dict(weights, strict=False, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.tokenizer = tokenizer
    return model.eval()


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
        for name, tensor in stored(model).items()
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


def stored(model: LanguageModel[Any]) -> dict[str, Tensor]:
    """The tensors that a file holds: the state dict without the second name of a tied weight."""
    tensors = model.state_dict()
    if model.config.tie_embeddings:
        del tensors["head.weight"]
    return tensors


def kind_of(config: Any) -> str:
    """Which of the KINDS a config is of."""
    return next(kind for kind, (made_of, _) in KINDS.items() if isinstance(config, made_of))


def build(config: Any) -> LanguageModel[Any]:
    """The model of a config, with random weights."""
    return KINDS[kind_of(config)][1](config)


def load_config(folder: Path) -> Any:
    """The checked config of a native checkpoint folder."""
    path = folder / "config.json"
    content = read_json(path)
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; CheckpointError where it is missing or not whole."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        # Only now: the header of a good file may have a length that begins with these bytes.
        if _begins_as_pickle(path):
            raise CheckpointError(_pickle_advice(path)) from error
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def check(model: LanguageModel[Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Raise CheckpointError unless `tensors` are exactly the model's own, and finite floats."""
    wanted = stored(model)
    for name in wanted:
        if name not in tensors:
            raise CheckpointError(f"{path} lacks the tensor {name}")
    for name, tensor in tensors.items():
        if name not in wanted:
            raise CheckpointError(f"{path} holds a tensor {name} that this model does not have")
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"but config.json asks for {tuple(wanted[name].shape)}"
            )
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{path}: tensor {name} holds {tensor.dtype}, not floats")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: tensor {name} holds NaN or infinite values")


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise CheckpointError(_pickle_advice(path))


def _begins_as_pickle(path: Path) -> bool:
    """Whether a file begins as torch.save's zip archives or as a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        head = file.read(2)
    return head == b"PK" or head[:1] == b"\x80"


def _pickle_advice(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code when it is opened. Convert it on a machine where "
        "you trust it: safetensors.torch.save_file(torch.load(path, weights_only=True), "
        "'model.safetensors')"
    )
