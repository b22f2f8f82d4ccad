"""Traces in files: what a pass computed, as safetensors with a JSON description in the header.

Shapes: L layers, T tokens, H heads, d_k and d_v the widths of a head's keys and values, B the
tokens of a block: a chunk, or in parallel mode the text. What layer l published as NAME is called
`layers.l.NAME` in the file. Blocks of full size are stacked (N, H, B, B); a shorter last one is
`layers.l.NAME.rest`. The states are (N, H, d_k, d_v).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import replaced_file
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import MODES, RetNet, RetNetConfig
from retnet_viz.model.language_model import check_text
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.passes.capture import LayerRecord
from retnet_viz.trace.passes.external_tensors import (
    ExternalConfig,
    ExternalTensors,
    ObservedModel,
    Vocabulary,
)
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.views.observables import Trace

SUFFIX = ".safetensors"
FORMAT, VERSION = "retnet_viz trace", 1
_BLOCKS = ("retention.scores", "retention.decay", "retention.weights")
_STATES, _LAST_STATE, _REST = "retention.states", "retention.last_state", ".rest"


class TraceFileError(ValueError):
    """A trace cannot be saved so, or its file is refused; the message names the file."""

    def __init__(self, sentence: str) -> None:
        # What a file calls its parts may be anything, line breaks too.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence))


@dataclass(frozen=True)
class TraceHeader:
    """The JSON in the header of a file: what describes a trace besides its tensors.

    config        fields of the RetNetConfig, or of the ExternalConfig of tensors without a model
    of_tensors    whether `config` is an ExternalConfig
    pieces        the texts of all ids, None where the tokens have no texts
    first_logits  the first token whose logits were kept
    stride        every how many steps a state was kept
    keeps_rows, keeps_blocks  as `capture.Record`
    """

    mode: str
    chunk_size: int
    ids: list[int]
    config: dict[str, Any]
    of_tensors: bool
    pieces: list[str] | None
    first_logits: int
    stride: int
    keeps_rows: bool
    keeps_blocks: bool

    @property
    def length(self) -> int:
        """T, the number of tokens."""
        return len(self.ids)

    @property
    def step(self) -> int:
        """B, how many tokens the mode computes in one step."""
        return FORMS[self.mode].stride(self.length, self.chunk_size)

    @property
    def steps(self) -> int:
        """How many steps the mode takes."""
        return -(-self.length // self.step)

    def parse_config(self) -> RetNetConfig | ExternalConfig:
        """Build the config; ConfigError or TypeError where the fields are wrong."""
        return (ExternalConfig if self.of_tensors else RetNetConfig).from_dict(self.config)

    def rows(self) -> tuple[str, ...]:
        """The names under which a layer publishes something for each token."""
        names = ("q", "k", "v", "output", "normed", "gate")
        parts = ("inner", "cross") if self.mode == "chunkwise" else ()
        return (*(f"retention.{name}" for name in (*names, *parts)), "layer.output")


# -- writing ------------------------------------------------------------------------------------


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace into a file; see `Trace.save`."""
    path = _check_path(path)
    if path.is_dir():
        raise TraceFileError(f"{path} is a folder; name a file to write to")
    if trace.edits or trace.started_from is not None:
        raise TraceFileError(
            f"{path}: a trace with edits, or one that started from a state, is not saved; keep its "
            "edits (Edit.to_dict) and its text, and trace them again"
        )
    record = trace._capture
    record.check()
    first = record.layers[0]
    is_of_tensors = isinstance(trace.config, ExternalConfig)
    size = trace.config.vocab_size or trace.length  # ids of given tensors are their places
    has_texts = trace.model.tokenizer is not None
    header = TraceHeader(
        mode=trace.mode,
        chunk_size=trace.chunk_size,
        ids=trace.ids.tolist(),
        config=trace.config.to_dict(),
        of_tensors=is_of_tensors,
        pieces=[trace.piece(token_id) for token_id in range(size)] if has_texts else None,
        first_logits=record.first_logits,
        stride=first.stride,
        keeps_rows=record.keeps_rows,
        keeps_blocks=record.keeps_blocks,
    )
    tensors = {"gamma": torch.stack([trace.gamma(layer) for layer in range(trace.n_layers)])}
    if record.logits.numel():
        tensors["logits"] = record.logits
    for index, layer in enumerate(record.layers):
        tensors |= {f"layers.{index}.{name}": x for name, x in _layer_tensors(header, layer)}
    # Copies: layers may share their decay, and a safetensors file holds nothing twice.
    tensors = {
        name: x.cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()
    }
    dtype = trace.q(0).dtype
    for name, shape in _shapes(header, trace.config):
        _check(path, name, tensors[name], shape, dtype)
        if not bool(torch.isfinite(tensors[name]).all()):
            raise TraceFileError(f"{path}: tensor {name} would hold NaN or infinite values")
    content = {"format": FORMAT, "version": VERSION, **asdict(header)}
    with replaced_file(path) as scratch:
        save_file(tensors, scratch, metadata={"trace": json.dumps(content)})


def _layer_tensors(header: TraceHeader, layer: LayerRecord) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a layer's record, by their names in the file."""
    for name in header.rows():
        tensors = layer[name]
        yield name, tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=-2)
    if header.keeps_blocks and header.mode != "recurrent":
        n_full = header.length // header.step
        for name in _BLOCKS:
            blocks = layer[name]
            # All chunks of one length decay alike, and most often share the tensor.
            full_blocks = blocks[: min(n_full, 1)] if name == "retention.decay" else blocks[:n_full]
            if n_full:
                yield name, torch.stack(list(full_blocks))
            if len(blocks) > n_full:
                yield f"{name}{_REST}", blocks[n_full]
    yield _STATES, torch.stack([layer.states[i] for i in range(0, header.steps, header.stride)])
    yield _LAST_STATE, layer.last_state


def _shapes(
    header: TraceHeader, config: RetNetConfig | ExternalConfig
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and shape of each tensor in the file."""
    heads, length, keys, values = config.n_heads, header.length, config.head_dim, config.value_dim
    yield "gamma", (config.n_layers, heads)
    if config.vocab_size:
        yield "logits", (length - header.first_logits, config.vocab_size)
    widths = {"retention.q": keys, "retention.k": keys}
    side_by_side = {
        "retention.normed": heads * values,
        "retention.gate": heads * values,
        "layer.output": config.d_model,
    }
    n_full, remainder = divmod(length, header.step)
    for index in range(config.n_layers):
        layer = f"layers.{index}."
        for name in header.rows():
            if name in side_by_side:
                yield layer + name, (length, side_by_side[name])
            else:
                yield layer + name, (heads, length, widths.get(name, values))
        if header.keeps_blocks and header.mode != "recurrent":
            for name in _BLOCKS:
                count = min(n_full, 1) if name == "retention.decay" else n_full
                if count:
                    yield layer + name, (count, heads, header.step, header.step)
                if remainder:
                    yield f"{layer}{name}{_REST}", (heads, remainder, remainder)
        n_states = -(-header.steps // header.stride)
        yield layer + _STATES, (n_states, heads, keys, values)
        yield layer + _LAST_STATE, (heads, keys, values)


# -- reading ------------------------------------------------------------------------------------


class SavedLayer:
    """One layer read from a file: a `capture.LayerRecord`."""

    def __init__(self, header: TraceHeader, read: Callable[[str], Tensor]) -> None:
        self.stride = header.stride
        self.steps = header.steps
        self.last_state = read(_LAST_STATE)
        self.states: Mapping[int, Tensor] = dict(
            zip(range(0, self.steps, self.stride), read(_STATES).unbind(), strict=True)
        )
        self._tensors: dict[str, list[Tensor]] = {name: [read(name)] for name in header.rows()}
        if header.keeps_blocks and header.mode != "recurrent":
            n_full, remainder = divmod(header.length, header.step)
            for name in _BLOCKS:
                blocks = list(read(name).unbind()) if n_full else []
                blocks *= n_full if name == "retention.decay" else 1
                self._tensors[name] = [*blocks, *([read(f"{name}{_REST}")] if remainder else [])]

    def __getitem__(self, name: str) -> Sequence[Tensor]:
        return self._tensors[name]


@dataclass(frozen=True)
class SavedRecord:
    """A pass read from a file: a `capture.Record`."""

    layers: Sequence[LayerRecord]
    logits: Tensor
    first_logits: int
    keeps_rows: bool
    keeps_blocks: bool

    def check(self) -> None:
        """Nothing to check: it is of one pass for good."""


def load_trace(path: str | os.PathLike[str], model: RetNet | None = None) -> Trace:
    """The trace in a file; see `Trace.load`."""
    path = _check_path(path)
    try:
        weights = Weights([path])
        header = _read_header(path, weights.metadata)
        config = _read_config(path, header, weights)
        shapes = dict(_shapes(header, config))
        _check_names(path, weights, shapes)
        tensors = _read_tensors(path, weights, shapes)
    except CheckpointError as error:
        raise TraceFileError(str(error)) from error
    if model is not None:
        tensors = {name: x.to(model.device) for name, x in tensors.items()}
    layers = [
        SavedLayer(header, partial(_tensor, tensors, f"layers.{index}."))
        for index in range(config.n_layers)
    ]
    logits = tensors.get("logits")
    if logits is None:
        logits = layers[0].last_state.new_empty(header.length, 0)
    record = SavedRecord(
        layers, logits, header.first_logits, header.keeps_rows, header.keeps_blocks
    )
    gammas = list(tensors["gamma"].cpu())
    source: ObservedModel
    if model is None:
        q, k, v = ([layer[f"retention.{name}"][0] for layer in layers] for name in "qkv")
        vocabulary = None if header.pieces is None else Vocabulary(header.pieces)
        source = ExternalTensors(q, k, v, gammas, vocabulary)
    else:
        _check_model(path, model, config, gammas, tensors["layers.0.retention.q"].dtype)
        source = model
    return Trace(source, torch.tensor(header.ids), header.mode, header.chunk_size, record, config)


def _tensor(tensors: Mapping[str, Tensor], prefix: str, name: str) -> Tensor:
    return tensors[prefix + name]


def _read_header(path: Path, metadata: Mapping[str, str]) -> TraceHeader:
    """Read and check the description in a file's header."""
    if "trace" not in metadata:
        raise TraceFileError(f"{path} is not a trace that was saved: its header describes none")
    try:
        content = json.loads(metadata["trace"])
    except (ValueError, RecursionError) as error:
        raise TraceFileError(f"{path} describes its trace in no readable JSON: {error}") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise TraceFileError(f"{path} is not of the format {FORMAT!r}")
    version = content.pop("version", None)
    if version != VERSION:
        raise TraceFileError(f"{path} has version {version!r}; this program reads {VERSION}")
    names = {field.name for field in fields(TraceHeader)}
    if content.keys() != names:
        wrong = ", ".join(sorted(content.keys() ^ names))
        raise TraceFileError(f"{path} describes its trace with missing or unknown fields: {wrong}")
    header = TraceHeader(**content)
    checks = {
        "mode": header.mode in MODES,
        "ids": _is_list(header.ids, int) and all(0 <= token_id < 2**31 for token_id in header.ids),
        "config": isinstance(header.config, dict),
        "pieces": header.pieces is None or _is_list(header.pieces, str),
        "stride": type(header.stride) is int and header.stride >= 1,
        **{
            name: isinstance(content[name], bool)
            for name in ("of_tensors", "keeps_rows", "keeps_blocks")
        },
    }
    for name, is_sound in checks.items():
        if not is_sound:
            raise TraceFileError(f"{path}: {name} of the trace is none that there can be")
    if type(header.first_logits) is not int or not 0 <= header.first_logits < header.length:
        raise TraceFileError(f"{path}: first_logits of the trace is none of its tokens")
    try:
        check_call(torch.tensor([header.ids]), header.mode, header.chunk_size)
    except ValueError as error:
        raise TraceFileError(f"{path}: {error}") from error
    return header


def _read_config(
    path: Path, header: TraceHeader, weights: Weights
) -> RetNetConfig | ExternalConfig:
    """Read the config in a file; it may not have more layers than the file has tensors."""
    try:
        config = header.parse_config()
        count = config.vocab_size or header.length  # ids of given tensors are their places
        check_text(torch.tensor(header.ids), count)
    except (TypeError, ValueError, OverflowError) as error:
        raise TraceFileError(f"{path}: {error}") from error
    if header.pieces is not None and len(header.pieces) != count:
        raise TraceFileError(f"{path} has {len(header.pieces)} texts for the {count} ids")
    if config.n_layers > len(weights):
        raise TraceFileError(f"{path} holds fewer tensors than its {config.n_layers} layers have")
    return config


def _check_names(path: Path, weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name in shapes:
        if name not in weights:
            raise TraceFileError(f"{path} lacks the tensor {name}")
    for name in weights:
        if name not in shapes:
            raise TraceFileError(f"{path} holds a tensor {name}, which such a trace has not")


def _read_tensors(
    path: Path, weights: Weights, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Copy the tensors of a file into memory; their shapes are checked first."""
    for name, shape in shapes.items():
        if weights.shapes[name] != shape:
            raise TraceFileError(
                f"{path}: tensor {name} has shape {weights.shapes[name]}; the trace needs {shape}"
            )
    dtype = weights["layers.0.retention.q"].dtype
    tensors = {}
    for name, shape in shapes.items():
        tensor = weights[name]
        _check(path, name, tensor, shape, dtype)
        tensors[name] = tensor.clone()  # the file may be replaced
    if not bool(((tensors["gamma"] > 0) & (tensors["gamma"] <= 1)).all()):
        raise TraceFileError(f"{path}: tensor gamma has values outside (0, 1]")
    return tensors


def _check(
    path: Path, name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Raise TraceFileError where a tensor has not the shape and dtype of such a trace."""
    if name == "gamma":
        dtype = torch.float64
    elif name.endswith((_STATES, _LAST_STATE)):
        dtype = torch.promote_types(dtype, torch.float32)
    if (tuple(tensor.shape), tensor.dtype) != (shape, dtype):
        raise TraceFileError(
            f"{path}: tensor {name} is {tensor.dtype} of shape {tuple(tensor.shape)}; "
            f"the trace needs {dtype} of shape {shape}"
        )


def _check_model(
    path: Path,
    model: RetNet,
    config: RetNetConfig | ExternalConfig,
    gammas: list[Tensor],
    dtype: torch.dtype,
) -> None:
    """Raise TraceFileError where a trace is of another model."""
    if model.config != config:
        raise TraceFileError(f"{path} holds a trace of another model: its config is {config}")
    if model.dtype != dtype:
        raise TraceFileError(f"{path} holds a trace in {dtype}, but the model is {model.dtype}")
    if not all(map(torch.equal, gammas, model.gammas)):
        raise TraceFileError(f"{path} holds a trace of a model with other gammas")


def _check_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != SUFFIX:
        raise TraceFileError(f"{path} must have a name that ends in {SUFFIX}")
    return path


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)
