"""A checkpoint folder -> a model: of this package's own format, or of a published one.

First everything is checked that can be without reading a tensor: the config, that each tensor of
the model is in the files with its shape, and that the files hold nothing else. Then the tensors are
read one at a time, so that at no moment more than one of them is in memory twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import read_json
from retnet_viz.checkpoints.foreign_tokenizer import tokenizer_in
from retnet_viz.checkpoints.hub import local_folder
from retnet_viz.checkpoints.layouts import LAYOUTS, Fields, Layout
from retnet_viz.checkpoints.native import (
    DEFAULT,
    FORMAT,
    build,
    config_in,
    kind_of,
    shipped,
    stored,
)
from retnet_viz.checkpoints.tokenizer import Tokenizer
from retnet_viz.checkpoints.weights import PICKLES, Weights, pickle_advice
from retnet_viz.model import ConfigError, LanguageModel, RetNet, RetNetConfig

EMBEDDING, HEAD = "embedding.weight", "head.weight"  # our names of what may be tied
TIED = "tied to the embedding"


@dataclass(frozen=True)
class Plan:
    """What a checkpoint holds, and what would be loaded of it.

    folder    where it lies
    layout    the name of the format
    config    of the model
    shapes    of the model's tensors
    names     the model's name of a tensor -> that in the files
    ignored   tensors of the files that are not loaded -> why not
    """

    folder: Path
    layout: str
    config: Any
    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[str, str]
    ignored: Mapping[str, str]
    weights: Weights

    @property
    def n_parameters(self) -> int:
        """Numbers that would be loaded."""
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())

    def described(self) -> str:
        """All of that as lines of text, with each head's decay per token and half-life."""
        files = ", ".join(path.name for path in self.weights.paths)
        lines = [
            f"{self.folder}: a {kind_of(self.config)} in the layout of {self.layout}",
            f"parameters  {self.n_parameters:,} in {len(self.names)} tensors of {files}",
            "config",
            *(f"  {name:<18} {value}" for name, value in self.config.to_dict().items()),
        ]
        if isinstance(self.config, RetNetConfig):
            lines.append("head   γ           half-life, tokens")
            for head, gamma in enumerate(self.config.gammas().tolist()):
                half_life = math.log(0.5) / math.log(gamma) if gamma < 1 else math.inf
                lines.append(f"{head:>4}   {gamma:.8f}  {half_life:,.1f}")
        lines.append("ignored" if self.ignored else "ignored     nothing")
        lines += [f"  {name}: {why}" for name, why in self.ignored.items()]
        return "\n".join(lines)


def load(
    path: str | Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    layers: slice = slice(None),
) -> RetNet:
    """The RetNet in the checkpoint folder `path`, or the shipped trained one.

    `path` may also be the name of a model on the Hugging Face Hub (see `hub`). The format is this
    package's own, or one of `layouts.LAYOUTS`. The model has `.config` and
    `.tokenizer` and is in evaluation mode; its weights are converted to `dtype`. Only the `layers`
    chosen are read: the model ends with the last of them. Raises CheckpointError with a sentence
    that names the file, and the tensor where one is at fault; nothing is loaded then.
    """
    folder = DEFAULT if path is None else Path(path)
    model = load_model(folder, dtype=dtype, device=device, layers=layers)
    if not isinstance(model, RetNet):
        raise CheckpointError(f"{folder} holds a {kind_of(model.config)}, not a retnet")
    return model


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    layers: slice = slice(None),
) -> LanguageModel[Any]:
    """`load` for a model of any kind that this package has."""
    plan = inspect(path, layers=layers)
    tokenizer = _tokenizer_of(plan)
    with torch.device("meta"):
        model = build(plan.config)
    tensors = {
        # copy: a tensor that is read may lie on the file itself
        name: plan.weights[theirs].to(device, dtype, copy=True)
        for name, theirs in plan.names.items()
    }
    model.load_state_dict(tensors, strict=False, assign=True)
    if plan.config.tie_embeddings:
        _check_tied(plan)
        model.head.weight = model.embedding.weight
    model.tokenizer = tokenizer
    return model.eval()


def inspect(path: str | Path, *, layers: slice = slice(None)) -> Plan:
    """What loading a checkpoint would do; raises what `load` would raise for its shape."""
    folder = local_folder(path)
    if folder.suffix.lower() in PICKLES and not folder.is_dir():
        raise CheckpointError(pickle_advice(folder))
    if not folder.exists():
        raise CheckpointError(f"there is no checkpoint folder at {folder}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; name the folder that holds config.json")
    fields = read_json(folder / "config.json")
    layout = next((each for each in LAYOUTS if each.recognises(fields)), None)
    if layout is None:
        config = config_in(folder / "config.json", fields)
        weights = Weights([folder / "model.safetensors"])
    else:
        weights = Weights.of(folder)
        config = _config_of(layout, folder / "config.json", fields, weights)
    if config.n_layers > len(weights):
        raise CheckpointError(
            f"{_files(weights)} holds {len(weights)} tensors, too few for the {config.n_layers} "
            "layers that config.json asks for"
        )
    try:
        chosen = range(config.n_layers)[layers]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"layers must be a slice of numbers, not {layers!r}") from error
    if not chosen:
        raise CheckpointError(f"{layers} leaves none of the {config.n_layers} layers")
    part = replace(config, n_layers=len(chosen))
    return _planned(layout, folder, part, dict(enumerate(chosen)), weights, config.n_layers)


def _config_of(
    layout: Layout, path: Path, fields: Mapping[str, Any], weights: Weights
) -> RetNetConfig:
    try:
        return layout.config_of(Fields(path, fields), weights)
    except (ConfigError, OverflowError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _planned(
    layout: Layout | None,
    folder: Path,
    config: Any,
    layers: dict[int, int],
    weights: Weights,
    n_layers: int,
) -> Plan:
    """Match the model's tensors with those of the files; CheckpointError where they differ."""
    model = _skeleton(config, folder / "config.json")
    shapes = {name: tuple(tensor.shape) for name, tensor in stored(model).items()}
    names = {}
    for name, shape in shapes.items():
        theirs = _names_of(layout, name, layers)
        if layout is not None and config.tie_embeddings and name == EMBEDDING:
            theirs += _names_of(layout, HEAD, layers)  # of two that are one, either is stored
        found = next((each for each in theirs if each in weights), None)
        if found is None:
            wanted = " or ".join(theirs) or name
            raise CheckpointError(f"{_files(weights)} lacks the tensor {wanted}")
        if weights.shapes[found] != shape:
            raise CheckpointError(
                f"{weights.path_of(found)}: tensor {found} has shape {weights.shapes[found]}, "
                f"but config.json asks for {shape}"
            )
        names[name] = found
    left = weights.keys() - names.values()
    ignored = _ignored(layout, config, n_layers, left, layers)
    for name in sorted(left - ignored.keys()):
        raise CheckpointError(
            f"{weights.path_of(name)} holds a tensor {name} that this model does not have"
        )
    label = FORMAT if layout is None else layout.name
    return Plan(folder, label, config, shapes, names, ignored, weights)


def _check_tied(plan: Plan) -> None:
    """Raise CheckpointError where what is said to be one tensor is stored as two that differ."""
    embedding = plan.names[EMBEDDING]
    for name in (name for name, why in plan.ignored.items() if why == TIED):
        if not torch.equal(plan.weights[name], plan.weights[embedding]):
            raise CheckpointError(
                f"{plan.weights.path_of(name)}: {name} differs from {embedding}, "
                "but config.json says that the two are tied"
            )


def _skeleton(config: Any, path: Path) -> LanguageModel[Any]:
    """The model without memory for its weights: a wrong config must not take any."""
    try:
        with torch.device("meta"):
            return build(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} asks for too large a model") from error


def _names_of(layout: Layout | None, name: str, layers: Mapping[int, int]) -> list[str]:
    """What the files may call one of our tensors; `layers` gives the files' number of a layer."""
    if layout is not None:
        return layout.alternatives(name, layers)
    parts = name.split(".")
    if parts[0] == "blocks":
        parts[1] = str(layers[int(parts[1])])
    return [".".join(parts)]


def _ignored(
    layout: Layout | None,
    config: Any,
    n_layers: int,
    left: Set[str],
    layers: Mapping[int, int],
) -> dict[str, str]:
    """Why each of the tensors that are `left` is not needed, as far as there is a reason."""
    reasons: dict[str, str] = {}
    numbers = dict(enumerate(range(n_layers)))
    if layout is not None:
        for pattern, why in layout.ignored.items():
            for i in range(n_layers):
                reasons[pattern.format(i=i)] = why
        if config.tie_embeddings:
            tied = layout.alternatives(HEAD, numbers)
            reasons |= dict.fromkeys(tied, TIED)
    if len(layers) < n_layers:
        whole = stored(_skeleton(replace(config, n_layers=n_layers), Path("config.json")))
        for name in whole:
            if not name.startswith("blocks."):
                continue
            i = int(name.split(".")[1])
            if i not in layers.values():
                theirs = _names_of(layout, name, numbers)
                reasons |= dict.fromkeys(theirs, f"of layer {i}, which was not asked for")
    return {name: reasons[name] for name in sorted(left) if name in reasons}


def _files(weights: Weights) -> str:
    return ", ".join(str(path) for path in weights.paths)


def _tokenizer_of(plan: Plan) -> Tokenizer | None:
    """The tokenizer of a checkpoint; a foreign one may have none."""
    path = plan.folder / "tokenizer.json"
    if plan.folder in shipped().values():
        path = DEFAULT / path.name  # the shipped models have one vocabulary, stored once
    if plan.layout == FORMAT:
        tokenizer: Tokenizer | None = Tokenizer.from_file(path)
    else:
        tokenizer = tokenizer_in(plan.folder, plan.config.vocab_size)
    if tokenizer is not None and tokenizer.vocab_size > plan.config.vocab_size:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} tokens, "
            f"but config.json gives the model {plan.config.vocab_size}"
        )
    return tokenizer
