"""A forward pass that can continue: its tensors in growing buffers, and states to restart from.

Shapes as in `live`: T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from retnet_viz.model import RetNet, RetNetState
from retnet_viz.model.observe import also_listening
from retnet_viz.trace.edits.edited_model import EditedRetNet
from retnet_viz.trace.passes.capture import Capture, LayerRecord, state_stride
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.trace.passes.growable_buffer import Draft, GrowableBuffer
from retnet_viz.trace.passes.recompute import LayerRecompute, stretch_length

Progress = Callable[[int, int], None]

RECENT = 32  # states before the end of the text that are kept besides every stride-th one
BLOCK_BUDGET = 64 * 2**20  # bytes of scores, decay and weights of chunks; beyond it none are kept
REPLAY_CHUNK = 64  # tokens a chunk when a layer of recurrent mode is replayed
ROW_BUDGET = 2**30  # bytes of what each token has in the layers; beyond it only their outputs

_ROWS = {
    *("retention.q", "retention.k", "retention.v", "retention.output", "retention.normed"),
    *("retention.gate", "retention.inner", "retention.cross", "layer.output"),
}
_LEAN_ROWS = {"layer.output"}  # all others can be recomputed from these
_BLOCKS = {"retention.scores", "retention.decay", "retention.weights"}


class _Layer:
    """The record of one layer: a `LayerRecord` that can be shortened and continued.

    `replay` computes a tensor that is not kept, by its name.
    """

    def __init__(self, replay: Callable[[str], Tensor]) -> None:
        self._replay = replay
        self.rows: dict[str, GrowableBuffer] = {}
        self.blocks: dict[str, list[Tensor]] = {}
        self.states: dict[int, Tensor] = {}  # every `stride`-th, in order
        self.recent: dict[int, Tensor] = {}  # all of the last steps that were run
        self.stride = 1
        self.steps = 0
        self.last_state: Tensor

    def __getitem__(self, name: str) -> Sequence[Tensor]:
        if name in self.rows:
            return [self.rows[name].tensor]
        return self.blocks[name] if name in self.blocks else [self._replay(name)]

    def last_state_before(self, steps: int) -> int:
        """The last step before step `steps` whose state is kept; -1 if there is none."""
        return max(
            (steps - 1) // self.stride * self.stride if steps else -1,
            max((step for step in self.recent if step < steps), default=-1),
        )

    def state(self, step: int) -> Tensor:
        """S (H, d_k, d_v) after a step whose state is kept."""
        return self.recent[step] if step in self.recent else self.states[step]

    def shorten(self, steps: int, stride: int) -> None:
        """Drop the blocks and states from step `steps` on, and the states between the strides."""
        for blocks in self.blocks.values():
            del blocks[steps:]
        while self.states and next(reversed(self.states)) >= steps:
            self.states.popitem()
        if stride != self.stride:
            self.states = {step: s for step, s in self.states.items() if step % stride == 0}
            self.stride = stride
        self.recent = {step: s for step, s in self.recent.items() if step < steps}
        self.steps = steps


class _LayerRun:
    """What to keep of one layer's tensors in a run."""

    def __init__(self, step: int) -> None:
        self.rows: dict[str, tuple[GrowableBuffer, Draft]] = {}
        self.blocks: dict[str, list[Tensor]] = {}
        self.states: dict[int, Tensor] = {}
        self.recent: dict[int, Tensor] = {}
        self.step = step
        self.last_state: Tensor | None = None


@dataclass
class _Run:
    """A listener (see model.observe) that collects what a run over tokens from `start` on adds."""

    start: int
    length: int  # of the whole text
    steps: int  # of the whole text
    stride: int
    keeps_rows: bool
    keeps_blocks: bool
    logits: Draft
    layers: list[_LayerRun]
    _layer: int = -1

    @property
    def names(self) -> set[str]:
        """The tensors that are kept for each token."""
        return _ROWS if self.keeps_rows else _LEAN_ROWS

    def __call__(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.detach()
        if name == "embedding":
            self._layer = -1
        elif name == "layer.input":
            self._layer += 1
        elif name == "logits":
            self.logits.add(tensor[0])
        elif name == "retention.state":
            self._keep_state(self.layers[self._layer], tensor[0])
        elif name in self.names:
            self.rows(self._layer, name, GrowableBuffer()).add(tensor[0])
        elif name in _BLOCKS and self.keeps_blocks:
            block = tensor if name == "retention.decay" else tensor[0]  # decay has no batch axis
            self.layers[self._layer].blocks.setdefault(name, []).append(block)

    def rows(self, layer: int, name: str, buffer: GrowableBuffer) -> Draft:
        """The draft of a layer's rows under a name; the first call makes it from `buffer`."""
        rows = self.layers[layer].rows
        if name not in rows:
            rows[name] = (buffer, buffer.draft(self.start, self.length))
        return rows[name][1]

    def _keep_state(self, layer: _LayerRun, state: Tensor) -> None:
        if layer.step % self.stride == 0:
            layer.states[layer.step] = state
        if layer.step >= self.steps - RECENT:
            layer.recent[layer.step] = state
        layer.last_state = state
        layer.step += 1


class IncrementalPass:
    """A pass in recurrent or chunkwise mode that can continue from the states it keeps.

    Where the tokens of a text would need more than ROW_BUDGET, only the layers' outputs are kept;
    the rest is recomputed on demand, a layer at a time. This stays so until a run starts again at
    the first token and the text is short enough. `ids` are those of the text; the caller of `run`
    keeps them up to date.
    """

    def __init__(
        self,
        model: RetNet,
        mode: str,
        chunk_size: int,
        keep_logits: int | None,
        ids: GrowableBuffer,
    ) -> None:
        self._model = model
        self._mode = mode
        self._chunk_size = chunk_size
        self._step = FORMS[mode].stride(0, chunk_size)  # tokens; no length is in it
        self._keep_logits = keep_logits
        self._ids = ids
        self._clear()

    def _clear(self) -> None:
        chunk_size = self._chunk_size if self._mode == "chunkwise" else REPLAY_CHUNK
        self._replay = LayerRecompute(self._model, chunk_size, self._input)
        self.layers = [
            _Layer(partial(self._replay_tensor, layer))
            for layer in range(self._model.config.n_layers)
        ]
        self._logits = GrowableBuffer(keep=self._keep_logits)
        self.keeps_blocks = True
        self.keeps_rows = True

    @property
    def logits(self) -> Tensor:
        """(rows, vocab), the logits of the last tokens."""
        return self._logits.tensor

    @property
    def first_logits(self) -> int:
        """The first token whose logits are kept."""
        return self._logits.begin(self._logits.stop)

    def restart(self, first: int) -> int:
        """The token from which to run so that all tokens from `first` on are run.

        A token that an edit of the model takes back later on has to be read once more.
        """
        while True:
            start = (self.layers[0].last_state_before(first // self._step) + 1) * self._step
            if not isinstance(self._model, EditedRetNet):
                return start
            first = self._model.oldest_needed(start)
            if first == start:
                return start

    def run(self, ids: Tensor, start: int, progress: Progress | None) -> Callable[[], None]:
        """Read `ids` (n,) from the state before token `start`; the returned function keeps them.

        Nothing changes before that is called, and it cannot fail.
        """
        length = start + len(ids)
        if length == 0:
            return self._clear
        run = self._new_run(start, length)
        state = self._model.empty_state()
        if start:
            step = start // self._step - 1
            state = RetNetState([layer.state(step)[None] for layer in self.layers], start)
            for layer, layer_run in zip(self.layers, run.layers, strict=True):
                layer_run.last_state = layer.state(step)
        device = self._model.device
        stretch = stretch_length(self._step)
        for offset in range(0, len(ids), stretch):
            if progress is not None:
                progress(offset, len(ids))
            stretch_ids = ids[None, offset : offset + stretch].to(device)
            with torch.no_grad(), also_listening(run):
                output = self._model(stretch_ids, state, self._mode, self._chunk_size)
            state = output.state
            del output  # its logits: the next stretch makes as many
        if progress is not None and len(ids):
            progress(len(ids), len(ids))
        return lambda: self._take_over(run)

    def _new_run(self, start: int, length: int) -> _Run:
        steps = -(-length // self._step)
        stride = 1 << (state_stride(self._model, steps) - 1).bit_length()
        fits = row_bytes(self._model, self._mode) * length <= ROW_BUDGET
        blocks_fit = block_bytes(self._model, self._step, length) <= BLOCK_BUDGET
        run = _Run(
            start=start,
            length=length,
            steps=steps,
            # A power of two that only grows: every second state is dropped, and none is missing.
            stride=max(stride, self.layers[0].stride) if start else stride,
            keeps_rows=fits and (self.keeps_rows or start == 0),
            keeps_blocks=blocks_fit and (self.keeps_blocks or start == 0),
            logits=self._draft_logits(start, length),
            layers=[_LayerRun(start // self._step) for _ in self.layers],
        )
        for index, layer in enumerate(self.layers):
            for name in run.names & layer.rows.keys():
                run.rows(index, name, layer.rows[name])
        return run

    def _take_over(self, run: _Run) -> None:
        run.logits.commit()
        self.keeps_rows, self.keeps_blocks = run.keeps_rows, run.keeps_blocks
        self._replay.forget()
        for layer, layer_run in zip(self.layers, run.layers, strict=True):
            for _, draft in layer_run.rows.values():
                draft.commit()
            layer.rows = {name: rows for name, (rows, _) in layer_run.rows.items()}
            layer.shorten(run.start // self._step, run.stride)
            layer.states |= layer_run.states
            layer.recent = {
                step: state
                for step, state in (layer.recent | layer_run.recent).items()
                if step >= run.steps - RECENT
            }
            layer.steps = run.steps
            assert layer_run.last_state is not None
            layer.last_state = layer_run.last_state
            if not run.keeps_blocks:
                layer.blocks.clear()
            for name, blocks in layer_run.blocks.items():
                layer.blocks.setdefault(name, []).extend(blocks)

    def _draft_logits(self, start: int, length: int) -> Draft:
        """A draft of the logits, with room for those from token `start` on.

        A text that became shorter needs some logits that were dropped when it was longer: they are
        computed again from the output of the last layer, which is kept.
        """
        begin, first_kept = self._logits.begin(length), self._logits.known
        if begin >= min(first_kept, start):
            return self._logits.draft(start, length)
        draft = self._logits.draft(begin, length)
        output = self.layers[-1].rows["layer.output"].slice(begin, min(first_kept, start))
        with torch.no_grad():
            draft.add(self._model.head(self._model.norm(output)))
        if first_kept < start:
            draft.add(self._logits.slice(first_kept, start))
        return draft

    def _input(self, layer: int, start: int, stop: int) -> Tensor:
        """(stop - start, d), the input of a layer for tokens start .. stop - 1."""
        if layer:
            return self.layers[layer - 1].rows["layer.output"].slice(start, stop)
        return self._model.embed(self._ids.slice(start, stop).to(self._model.device))

    def _replay_tensor(self, layer: int, name: str) -> Tensor:
        return self._replay(layer, name, self._ids.stop)


class ParallelPass:
    """A pass in parallel mode: without a state to continue from, every run reads the whole text."""

    first_logits = 0
    keeps_blocks = True
    keeps_rows = True

    def __init__(self, model: RetNet) -> None:
        self._model = model
        self._capture = Capture(stride=1)

    @property
    def layers(self) -> Sequence[LayerRecord]:
        """The record of the last run, layer by layer."""
        return self._capture.layers

    @property
    def logits(self) -> Tensor:
        """(T, vocab)."""
        return self._capture.logits

    def restart(self, first: int) -> int:
        """Always the first token."""
        return 0

    def run(self, ids: Tensor, start: int, progress: Progress | None) -> Callable[[], None]:
        """Read `ids` (T,) under observation; the returned function keeps it, and cannot fail."""
        capture = Capture(stride=1)
        if len(ids):
            if progress is not None:
                progress(0, len(ids))
            with torch.no_grad(), also_listening(capture):
                self._model(ids[None].to(self._model.device), mode="parallel")
            if progress is not None:
                progress(len(ids), len(ids))

        def take_over() -> None:
            self._capture = capture

        return take_over


def row_bytes(model: ObservedModel, mode: str, all_rows: bool = True) -> int:
    """Bytes that the layers publish for each token; without `all_rows`, of their outputs."""
    config = model.config
    width = config.d_model
    if all_rows:  # q, k; v, the head output, normed and gate, and the parts of a chunk's output
        width += 2 * config.n_heads * config.head_dim
        width += (6 if mode == "chunkwise" else 4) * config.n_heads * config.value_dim
    return config.n_layers * width * model.dtype.itemsize


def block_bytes(model: ObservedModel, chunk_size: int, length: int) -> int:
    """Bytes of the scores and weights of all chunks and layers, and of the decay that they share.

    In parallel mode the text is one chunk.
    """
    config, size = model.config, min(chunk_size, length)
    full, remainder = divmod(length, size)
    cells = 2 * config.n_layers * (full * size**2 + remainder**2) + size**2
    return config.n_heads * cells * model.dtype.itemsize
