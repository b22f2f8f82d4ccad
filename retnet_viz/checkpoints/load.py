"""A checkpoint folder -> a model: of this package's own format, or of a published one.

The checks that need no tensor come first: the config, that each tensor of the model is in the files
with its shape, and that the files hold nothing else. Then the tensors are read one at a time, so
that at most one of them is in memory twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import read_json
from retnet_viz.checkpoints.foreign_tokenizer import find_tokenizer
from retnet_viz.checkpoints.hub import local_folder
from retnet_viz.checkpoints.layouts import LAYOUTS, Fields, Layout
from retnet_viz.checkpoints.native import (
    DEFAULT,
    FORMAT,
    TITLES,
    build,
    kind_of,
    parse_config,
    saved_tensors,
    shipped,
)
from retnet_viz.checkpoints.tokenizer import Tokenizer
from retnet_viz.checkpoints.weights import PICKLES, Weights, pickle_advice
from retnet_viz.model import ConfigError, LanguageModel, RetNet, RetNetConfig

EMBEDDING, HEAD = "embedding.weight", "head.weight"  # our names of the two that may be tied
TIED = "tied to the embedding"


@dataclass(frozen=True)
class Plan:
    """What a checkpoint holds, and which of its tensors would be loaded.

    folder    of the checkpoint
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

    def describe(self) -> str:
        """The plan as lines of text, with each head's decay per token and half-life."""
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
    dtype: torch.dtype | str = torch.float32,
    device: str | torch.device = "cpu",
    layers: slice = slice(None),
) -> RetNet:
    """The RetNet in the checkpoint folder `path`, or the shipped trained one.

    `path` may also be the name of a model on the Hugging Face Hub (see `hub`). The format is this
    package's own, or one of `layouts.LAYOUTS`. The model has `.config` and `.tokenizer` and is in
    evaluation mode; its weights are converted to `dtype`, a format of torch or its name, such as
    "float16". Only the layers of the slice `layers` are read: the model ends with the last of them.
    Raises CheckpointError with a sentence that names the file, and the tensor where one is at
    fault, ValueError on another `dtype` or on layers that are no slice; nothing is loaded then.
    """
    folder = DEFAULT if path is None else Path(path)
    model = load_model(folder, dtype=dtype, device=device, layers=layers)
    if not isinstance(model, RetNet):
        raise CheckpointError(f"{folder} holds a {kind_of(model.config)}, not a retnet")
    return model


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype | str = torch.float32,
    device: str | torch.device = "cpu",
    layers: slice = slice(None),
) -> LanguageModel[Any]:
    """`load` for a model of any kind that this package has."""
    dtype = _number_format(dtype)
    plan = inspect(path, layers=layers)
    tokenizer = _load_tokenizer(plan)
    model = _build_empty(plan.config)
    tensors = {
        # copy: a tensor may be mapped from the file
        name: plan.weights[stored_name].to(device, dtype, copy=True)
        for name, stored_name in plan.names.items()
    }
    model.load_state_dict(tensors, strict=False, assign=True)
    if plan.config.tie_embeddings:
        _check_tied(plan)
        model.head.weight = model.embedding.weight
    model.tokenizer = tokenizer
    return model.eval()


def load_shipped() -> dict[str, LanguageModel[Any]]:
    """The trained models that ship, by the names RetNet, Transformer and Mamba."""
    return {TITLES[kind]: load_model(folder) for kind, folder in shipped().items()}


def _number_format(dtype: torch.dtype | str) -> torch.dtype:
    """A floating point format by its name; ValueError where it is none."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ValueError(f"dtype must be a floating point format such as float32, not {dtype}")
    return found


def inspect(path: str | Path, *, layers: slice = slice(None)) -> Plan:
    """What loading a checkpoint would do; raises the errors that `load` raises for its shape."""
    if not isinstance(layers, slice):
        raise ValueError(f"layers must be a slice, such as slice(0, 2), not {layers!r}")
    folder = local_folder(path)
    if folder.suffix.lower() in PICKLES and not folder.is_dir():
        raise CheckpointError(pickle_advice(folder))
    if not folder.exists():
        raise CheckpointError(f"there is no checkpoint folder at {folder}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; name the folder that holds config.json")
    fields = read_json(folder / "config.json")
    layout = next((candidate for candidate in LAYOUTS if candidate.matches(fields)), None)
    if layout is None:
        config = parse_config(folder / "config.json", fields)
        weights = Weights([folder / "model.safetensors"])
    else:
        weights = Weights.of(folder)
        config = _read_config(layout, folder / "config.json", fields, weights)
    if config.n_layers > len(weights):
        raise CheckpointError(
            f"{_files(weights)} holds {len(weights)} tensors, too few for the {config.n_layers} "
            "layers that config.json asks for"
        )
    try:
        indices = range(config.n_layers)[layers]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"layers must be a slice of numbers, not {layers!r}") from error
    if not indices:
        raise CheckpointError(f"{layers} leaves none of the {config.n_layers} layers")
    part = replace(config, n_layers=len(indices))
    return _match_tensors(layout, folder, part, dict(enumerate(indices)), weights, config.n_layers)


def _read_config(
    layout: Layout, path: Path, fields: Mapping[str, Any], weights: Weights
) -> RetNetConfig:
    try:
        return layout.read_config(Fields(path, fields), weights)
    except (ConfigError, OverflowError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _match_tensors(
    layout: Layout | None,
    folder: Path,
    config: Any,
    layers: dict[int, int],
    weights: Weights,
    n_layers: int,
) -> Plan:
    """Match the model's tensors with those of the files; CheckpointError where they differ."""
    model = _build_on_meta(config, folder / "config.json")
    shapes = {name: tuple(tensor.shape) for name, tensor in saved_tensors(model).items()}
    names = {}
    for name, shape in shapes.items():
        candidates = _stored_names(layout, name, layers)
        if layout is not None and config.tie_embeddings and name == EMBEDDING:
            candidates += _stored_names(layout, HEAD, layers)  # a tied tensor has either name
        match = next((candidate for candidate in candidates if candidate in weights), None)
        if match is None:
            expected = " or ".join(candidates) or name
            raise CheckpointError(f"{_files(weights)} lacks the tensor {expected}")
        if weights.shapes[match] != shape:
            raise CheckpointError(
                f"{weights.path_of(match)}: tensor {match} has shape {weights.shapes[match]}, "
                f"but config.json asks for {shape}"
            )
        names[name] = match
    unused = weights.keys() - names.values()
    ignored = _explain_unused(layout, config, n_layers, unused, layers)
    for name in sorted(unused - ignored.keys()):
        raise CheckpointError(
            f"{weights.path_of(name)} holds a tensor {name} that this model does not have"
        )
    label = FORMAT if layout is None else layout.name
    return Plan(folder, label, config, shapes, names, ignored, weights)


def _check_tied(plan: Plan) -> None:
    """Raise CheckpointError where two tensors that the config ties differ."""
    embedding = plan.names[EMBEDDING]
    for name in (name for name, why in plan.ignored.items() if why == TIED):
        if not torch.equal(plan.weights[name], plan.weights[embedding]):
            raise CheckpointError(
                f"{plan.weights.path_of(name)}: {name} differs from {embedding}, "
                "but config.json says that the two are tied"
            )


class _NoInitialValues(TorchFunctionMode):
    """Draw no initial weights: without memory for them torch imports its compiler, for seconds."""

    def __torch_function__(
        self, function: Any, _: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__module__", "") == torch.nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return function(*args, **(kwargs or {}))


def _build_empty(config: Any) -> LanguageModel[Any]:
    """The model on the meta device: its tensors have shapes, and neither memory nor values."""
    with torch.device("meta"), _NoInitialValues():
        return build(config)


def _build_on_meta(config: Any, path: Path) -> LanguageModel[Any]:
    """The model without memory; CheckpointError where its config asks for more than can be."""
    try:
        return _build_empty(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} asks for too large a model") from error


def _stored_names(layout: Layout | None, name: str, layers: Mapping[int, int]) -> list[str]:
    """The possible names in the files of one of our tensors; `layers` maps our layers to theirs."""
    if layout is not None:
        return layout.alternatives(name, layers)
    parts = name.split(".")
    if parts[0] == "blocks":
        parts[1] = str(layers[int(parts[1])])
    return [".".join(parts)]


def _explain_unused(
    layout: Layout | None,
    config: Any,
    n_layers: int,
    unused: Set[str],
    layers: Mapping[int, int],
) -> dict[str, str]:
    """Why each of the `unused` tensors is not needed, as far as there is a reason."""
    reasons: dict[str, str] = {}
    numbers = dict(enumerate(range(n_layers)))
    if layout is not None:
        for pattern, why in layout.ignored.items():
            for i in range(n_layers):
                reasons[pattern.format(i=i)] = why
        if config.tie_embeddings:
            head_names = layout.alternatives(HEAD, numbers)
            reasons |= dict.fromkeys(head_names, TIED)
    if len(layers) < n_layers:
        full = _build_on_meta(replace(config, n_layers=n_layers), Path("config.json"))
        for name in saved_tensors(full):
            if not name.startswith("blocks."):
                continue
            i = int(name.split(".")[1])
            if i not in layers.values():
                stored_names = _stored_names(layout, name, numbers)
                reasons |= dict.fromkeys(stored_names, f"of layer {i}, which was not asked for")
    return {name: reasons[name] for name in sorted(unused) if name in reasons}


def _files(weights: Weights) -> str:
    return ", ".join(str(path) for path in weights.paths)


def _load_tokenizer(plan: Plan) -> Tokenizer | None:
    """The tokenizer of a checkpoint; a foreign one may have none."""
    path = plan.folder / "tokenizer.json"
    if plan.folder in shipped().values():
        path = DEFAULT / path.name  # the shipped models have one vocabulary, stored once
    if plan.layout == FORMAT:
        tokenizer: Tokenizer | None = Tokenizer.from_file(path)
    else:
        tokenizer = find_tokenizer(plan.folder, plan.config.vocab_size)
    if tokenizer is not None and tokenizer.vocab_size > plan.config.vocab_size:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} tokens, "
            f"but config.json gives the model {plan.config.vocab_size}"
        )
    return tokenizer
