"""A forward pass that can go on: its tensors in buffers that grow, and states to start again from.

Shapes as in `live`: T tokens, H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from retnet_viz.model import RetNet, RetNetState
from retnet_viz.model.observe import listening
from retnet_viz.trace.capture import Capture, LayerRecord, state_stride

Progress = Callable[[int, int], None]

STRETCH = 2048  # tokens that the model reads between two calls of `progress`
RECENT = 32  # states before the end of the text that are kept besides every stride-th one
BLOCK_BUDGET = 64 * 2**20  # bytes of scores, decay and weights of chunks; beyond it none are kept

_ROWS = {
    *("retention.q", "retention.k", "retention.v", "retention.output", "retention.normed"),
    *("retention.gate", "retention.inner", "retention.cross", "layer.output"),
}
_BLOCKS = {"retention.scores", "retention.decay", "retention.weights"}


class Rows:
    """Rows along one axis, in a buffer that grows by doubling; of many only the last `keep`."""

    def __init__(self, axis: int = -2, keep: int | None = None) -> None:
        self._axis = axis
        self._keep = keep
        self._data: Tensor | None = None
        self.first = 0  # which row stands first in the buffer
        self.stop = 0

    @property
    def tensor(self) -> Tensor:
        """A view of the rows that are kept."""
        return self.slice(self.begin(self.stop), self.stop)

    def slice(self, start: int, stop: int) -> Tensor:
        """A view of rows start .. stop - 1."""
        assert self._data is not None
        return self._data.narrow(self._axis, start - self.first, stop - start)

    def begin(self, length: int) -> int:
        """The first row to keep of `length` rows."""
        return 0 if self._keep is None else max(0, length - self._keep)

    def room(self, at: int, length: int, parts: Sequence[Tensor]) -> tuple[Tensor, int]:
        """A buffer for `length` rows that has those before `at`, and its first row.

        Nothing changes yet. `parts` tell what rows look like where there are none.
        """
        begin = self.begin(length)
        model = parts[0] if self._data is None else self._data
        last = self.first + model.shape[self._axis]
        if self._data is not None and self.first <= begin and length <= last:
            return self._data, self.first
        shape = list(model.shape)
        shape[self._axis] = 2 * (length - begin)  # as many again fit before the next copy
        data = model.new_empty(shape)
        if begin < at:
            data.narrow(self._axis, 0, at - begin).copy_(self.slice(begin, at))
        return data, begin

    def replace(self, room: tuple[Tensor, int], at: int, parts: Sequence[Tensor]) -> None:
        """Go on in the buffer from `room`, with `parts` in place of the rows from `at` on."""
        self._data, self.first = room
        self.stop = at
        for part in parts:
            self.stop += part.shape[self._axis]
            self.slice(at, self.stop).copy_(part)
            at = self.stop


class _Layer:
    """What is kept of one layer: a `LayerRecord` that can be shortened and go on."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {}
        self.blocks: dict[str, list[Tensor]] = {}
        self.states: dict[int, Tensor] = {}  # every `stride`-th, in order
        self.recent: dict[int, Tensor] = {}  # all of the last steps that were run
        self.stride = 1
        self.steps = 0
        self.last_state: Tensor

    def __getitem__(self, name: str) -> Sequence[Tensor]:
        return [self.rows[name].tensor] if name in self.rows else self.blocks[name]

    def last_kept(self, steps: int) -> int:
        """The last of the first `steps` steps whose state is kept; -1 if there is none."""
        return max(
            (steps - 1) // self.stride * self.stride if steps else -1,
            max((step for step in self.recent if step < steps), default=-1),
        )

    def state(self, step: int) -> Tensor:
        """S (H, d_k, d_v) after a step whose state is kept."""
        return self.recent[step] if step in self.recent else self.states[step]

    def shorten(self, steps: int, stride: int) -> None:
        """Forget the blocks and states from step `steps` on, and those between the strides."""
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
    """What one layer published in a run."""

    def __init__(self, step: int) -> None:
        self.rows: dict[str, list[Tensor]] = {}
        self.blocks: dict[str, list[Tensor]] = {}
        self.states: dict[int, Tensor] = {}
        self.recent: dict[int, Tensor] = {}
        self.step = step
        self.last_state: Tensor | None = None


@dataclass
class _Run:
    """A listener (see model.observe) that gathers what a run over tokens from `start` on adds."""

    start: int
    steps: int  # of the whole text
    stride: int
    first_logits: int
    keeps_blocks: bool
    layers: list[_LayerRun]
    logits: list[Tensor] = field(default_factory=list)
    read: int = 0
    _layer: int = -1

    def __call__(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.detach()
        if name == "embedding":
            self._layer = -1
        elif name == "layer.input":
            self._layer += 1
        elif name == "logits":
            begin = self.start + self.read
            self.read += tensor.shape[1]
            self.logits.append(tensor[0, max(0, self.first_logits - begin) :])
        elif name == "retention.state":
            self._keep_state(self.layers[self._layer], tensor[0])
        elif name in _ROWS:
            self.layers[self._layer].rows.setdefault(name, []).append(tensor[0])
        elif name in _BLOCKS and self.keeps_blocks:
            block = tensor if name == "retention.decay" else tensor[0]  # decay has no batch axis
            self.layers[self._layer].blocks.setdefault(name, []).append(block)

    def _keep_state(self, layer: _LayerRun, state: Tensor) -> None:
        if layer.step % self.stride == 0:
            layer.states[layer.step] = state
        if layer.step >= self.steps - RECENT:
            layer.recent[layer.step] = state
        layer.last_state = state
        layer.step += 1


class Carried:
    """A pass in recurrent or chunkwise mode that can go on from the states it keeps."""

    def __init__(self, model: RetNet, mode: str, chunk_size: int, keep_logits: int | None) -> None:
        self._model = model
        self._mode = mode
        self._chunk_size = chunk_size
        self._step = 1 if mode == "recurrent" else chunk_size  # tokens
        self._keep_logits = keep_logits
        self._clear()

    def _clear(self) -> None:
        self.layers = [_Layer() for _ in range(self._model.config.n_layers)]
        self._logits = Rows(keep=self._keep_logits)
        self.keeps_blocks = True

    @property
    def logits(self) -> Tensor:
        """(kept, vocab), the logits of the last tokens."""
        return self._logits.tensor

    @property
    def first_logits(self) -> int:
        """The first token whose logits are kept."""
        return self._logits.begin(self._logits.stop)

    def restart(self, first: int) -> int:
        """The token from which to run so that all tokens from `first` on are run."""
        return (self.layers[0].last_kept(first // self._step) + 1) * self._step

    def run(self, ids: Tensor, start: int, progress: Progress | None) -> Callable[[], None]:
        """Read `ids` (n,) from the state before token `start`; what it returns takes them over.

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
            for layer, part in zip(self.layers, run.layers, strict=True):
                part.last_state = layer.state(step)
        device = self._model.embedding.weight.device
        stretch = max(1, STRETCH // self._step) * self._step
        for at in range(0, len(ids), stretch):
            if progress is not None:
                progress(at, len(ids))
            part_ids = ids[None, at : at + stretch].to(device)
            with torch.no_grad(), listening(run):
                output = self._model(part_ids, state, self._mode, self._chunk_size)
            state = output.state
        if progress is not None and len(ids):
            progress(len(ids), len(ids))
        return self._taking_over(run, length)

    def _new_run(self, start: int, length: int) -> _Run:
        config = self._model.config
        steps = -(-length // self._step)
        stride = 1 << (state_stride(self._model, steps) - 1).bit_length()
        blocks = 3 * config.n_heads * length * min(self._step, length)
        blocks *= config.n_layers * self._model.embedding.weight.element_size()
        return _Run(
            start=start,
            steps=steps,
            # A power of two that only grows: every second state is dropped, and none is missing.
            stride=max(stride, self.layers[0].stride) if start else stride,
            first_logits=self._logits.begin(length),
            keeps_blocks=blocks <= BLOCK_BUDGET and (self.keeps_blocks or start == 0),
            layers=[_LayerRun(start // self._step) for _ in self.layers],
        )

    def _taking_over(self, run: _Run, length: int) -> Callable[[], None]:
        """Set up all room that the run needs, and give the function that fills it."""
        moves: list[Callable[[], None]] = []

        def move(rows: Rows, at: int, parts: Sequence[Tensor]) -> None:
            room = rows.room(at, length, parts)
            moves.append(lambda: rows.replace(room, at, parts))

        move(self._logits, *self._logits_of(run))
        for layer, part in zip(self.layers, run.layers, strict=True):
            for name in part.rows or layer.rows:
                move(layer.rows.setdefault(name, Rows()), run.start, part.rows.get(name, []))

        def take_over() -> None:
            for each in moves:
                each()
            self.keeps_blocks = run.keeps_blocks
            for layer, part in zip(self.layers, run.layers, strict=True):
                layer.shorten(run.start // self._step, run.stride)
                layer.states |= part.states
                layer.recent = {
                    step: state
                    for step, state in (layer.recent | part.recent).items()
                    if step >= run.steps - RECENT
                }
                layer.steps = run.steps
                assert part.last_state is not None
                layer.last_state = part.last_state
                if not run.keeps_blocks:
                    layer.blocks.clear()
                for name, blocks in part.blocks.items():
                    layer.blocks.setdefault(name, []).extend(blocks)

        return take_over

    def _logits_of(self, run: _Run) -> tuple[int, list[Tensor]]:
        """The logits to keep from a token on, and that token.

        A text that got shorter keeps some that were dropped when it was longer: they are made
        again, from the output of the last layer, which is kept.
        """
        begin, kept = run.first_logits, self._logits.first
        if begin >= min(kept, run.start):
            return max(begin, run.start), run.logits
        output = self.layers[-1].rows["layer.output"].slice(begin, min(kept, run.start))
        with torch.no_grad():
            parts = [self._model.head(self._model.norm(output))]
        if kept < run.start:
            parts.append(self._logits.slice(kept, run.start).clone())
        return begin, parts + run.logits


class Whole:
    """A pass in parallel mode: it carries no state, so every run is one over the whole text."""

    first_logits = 0
    keeps_blocks = True

    def __init__(self, model: RetNet) -> None:
        self._model = model
        self._capture = Capture(stride=1)

    @property
    def layers(self) -> Sequence[LayerRecord]:
        """What the last run kept, layer by layer."""
        return self._capture.layers

    @property
    def logits(self) -> Tensor:
        """(T, vocab)."""
        return self._capture.logits

    def restart(self, first: int) -> int:
        """Always the first token."""
        return 0

    def run(self, ids: Tensor, start: int, progress: Progress | None) -> Callable[[], None]:
        """Read `ids` (T,); what it returns takes the result over, and cannot fail."""
        capture = Capture(stride=1)
        if len(ids):
            if progress is not None:
                progress(0, len(ids))
            with torch.no_grad(), listening(capture):
                self._model(ids[None].to(self._model.embedding.weight.device), mode="parallel")
            if progress is not None:
                progress(len(ids), len(ids))

        def take_over() -> None:
            self._capture = capture

        return take_over
