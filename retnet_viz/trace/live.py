"""A text that is edited while it is observed: an edit recomputes only what it can change.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values, B the chunk size.

What token n is computed from is the state after token n - 1 and token n itself. So a pass that
kept some states along the text goes on, after an edit at token p, from the last state kept before
p; what stands before that is as it was. All that is kept grows with T alone: the tensors of each
token, and as many states as fit into a budget.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import RetNet, RetNetState
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.capture import Capture, LayerRecord, state_stride
from retnet_viz.trace.observables import Trace, check_ids

Progress = Callable[[int, int], None]

SEGMENT = 64  # characters, at least, of what the tokenizer is given at once
STRETCH = 2048  # tokens that the model reads between two calls of `progress`
RECENT = 32  # states before the end of the text that are kept besides every stride-th one
BLOCK_BUDGET = 64 * 2**20  # bytes of scores, decay and weights of chunks; beyond it none are kept

_ROWS = {
    *("retention.q", "retention.k", "retention.v", "retention.output", "retention.normed"),
    *("retention.gate", "retention.inner", "retention.cross", "layer.output"),
}
_BLOCKS = {"retention.scores", "retention.decay", "retention.weights"}


@dataclass(frozen=True)
class Recomputed:
    """What an edit cost.

    tokens   tokens that the model ran
    of       tokens of the text as it is now
    encoded  characters that the tokenizer was given
    """

    tokens: int
    of: int
    encoded: int

    def __str__(self) -> str:
        return f"recomputed {self.tokens:,} of {self.of:,} tokens"


def live(
    model: RetNet,
    text: str = "",
    mode: str = "chunkwise",
    chunk_size: int = 64,
    *,
    keep_logits: int | None = 4096,
    progress: Progress | None = None,
) -> Live:
    """A text under observation that may be edited; `Live.trace` is its trace at any time.

    The logits of the last `keep_logits` tokens are kept, those of all with None. `progress` is
    called during the first run as in `Live.splice`. Raises ValueError where the text is no str, the
    model has no tokenizer or one with more ids than it has embeddings for, the mode is unknown, or
    the chunk size or `keep_logits` is below 1.
    """
    return Live(model, text, mode, chunk_size, keep_logits=keep_logits, progress=progress)


class Live:
    """Made by `live`. Its trace equals `trace(model, text, mode, chunk_size)` after every edit.

    In recurrent mode an edit runs the tokens from the last state kept before the first id that
    changed, in chunkwise mode from the last such state at the beginning of a chunk, so that the
    chunks are those of a fresh pass. Near the end of the text every state is kept, which makes
    appending cost the same at any length. Parallel mode carries no state: each edit runs all.

    An edit that an error or `progress` ends leaves everything as it was. The weights of the model
    must not change meanwhile, and edits must not run at the same time.
    """

    def __init__(
        self,
        model: RetNet,
        text: str = "",
        mode: str = "chunkwise",
        chunk_size: int = 64,
        *,
        keep_logits: int | None = 4096,
        progress: Progress | None = None,
    ) -> None:
        check_call(torch.zeros(1, 1), mode, chunk_size)
        if model.tokenizer is None:
            raise ValueError("this model has no tokenizer, which a live text needs")
        if keep_logits is not None and keep_logits < 1:
            raise ValueError(f"keep_logits must be 1 or more, or None for all, not {keep_logits}")
        self.model = model
        self.mode = mode
        self.chunk_size = chunk_size
        self._text = _Segments(model.tokenizer)
        self._ids = _Rows(axis=-1)
        self._pass: _Carried | _Whole
        if mode == "parallel":
            self._pass = _Whole(model)
        else:
            self._pass = _Carried(model, mode, chunk_size, keep_logits)
        self.edition = 0  # how many edits changed an id
        self._trace: Trace | None = None
        self.append(text, progress)

    def __repr__(self) -> str:
        return f"<Live text of {self.length} tokens, {self.mode} mode>"

    def __len__(self) -> int:
        return self.length

    @property
    def length(self) -> int:
        """T, the number of tokens."""
        return self._ids.stop

    @property
    def text(self) -> str:
        """The text as it is."""
        return self._text.whole

    @property
    def trace(self) -> Trace | None:
        """The trace of the text as it is; None where it has no tokens.

        It reads what the edits keep, without a copy: it is valid until the next edit that changes
        an id, and raises RuntimeError when asked for data after that. Tensors taken from it before
        may then change too; clone what is to last.
        """
        if self._trace is None and self.length:
            record = _Record(self, self._pass)
            self._trace = Trace(self.model, self._ids.tensor, self.mode, self.chunk_size, record)
        return self._trace

    def edit(self, text: str, progress: Progress | None = None) -> Recomputed:
        """Make `text` the text; what it has in common with the one before is found out.

        As `splice`, but it compares all characters.
        """
        _check_text(text)
        old = self.text
        start = _common_start(old, text)
        end = min(_common_end(old, text), len(old) - start, len(text) - start)
        return self.splice(start, len(old) - end, text[start : len(text) - end], progress)

    def append(self, text: str, progress: Progress | None = None) -> Recomputed:
        """Add `text` at the end, at a cost that does not depend on the length of what is there."""
        return self.splice(self._text.length, self._text.length, text, progress)

    def splice(
        self, start: int, stop: int, text: str, progress: Progress | None = None
    ) -> Recomputed:
        """Put `text` in place of the characters start .. stop - 1 of the text.

        `progress(done, total)` is called with the tokens that were run and are to be run: before
        the first and after every 2,048 or so. What it raises ends the edit and is passed on.
        Raises IndexError where the text has no such characters, ValueError where `text` is no str.
        """
        _check_text(text)
        if not 0 <= start <= stop <= self._text.length:
            raise IndexError(
                f"characters {start} .. {stop} are not a stretch of a text of {self._text.length}"
            )
        if start == stop and not text:
            return Recomputed(0, self.length, 0)
        change = self._text.splice(start, stop, text, self.length)
        if change.ids:
            check_ids(torch.tensor(change.ids), self.model.config.vocab_size)
        tail = self._tail(change)
        if tail is None:  # other characters, the same ids
            self._text.accept(change)
            return Recomputed(0, self.length, change.encoded)
        first, ids = tail
        length = first + len(ids)
        restart = self._pass.restart(first)
        before = self._ids.tensor[restart:first] if restart < first else ids[:0]
        take_over = self._pass.run(torch.cat((before, ids)), restart, progress)
        room = self._ids.room(first, length, [ids])
        take_over()  # from here on nothing can fail
        self._ids.replace(room, first, [ids])
        self._text.accept(change)
        self.edition += 1
        self._trace = None
        return Recomputed(length - restart, length, change.encoded)

    def _tail(self, change: _Change) -> tuple[int, Tensor] | None:
        """The first token whose id the change alters, and all ids from there on; None if none."""
        first, stop = change.tokens
        old = self._ids.tensor[first:] if self.length else torch.zeros(0, dtype=torch.long)
        if change.ids == old[: stop - first].tolist():
            return None
        new = torch.cat((torch.tensor(change.ids, dtype=torch.long), old[stop - first :]))
        shared = min(len(old), len(new))
        differ = (old[:shared] != new[:shared]).nonzero()
        same = int(differ[0]) if len(differ) else shared
        return first + same, new[same:]


# -- the text ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    """Segments `first` .. `stop` - 1 give way to others, made of `ids` in place of `tokens`."""

    first: int
    stop: int
    segments: list[str]
    starts: list[int]  # character at which each segment from `first` on starts, to the end
    token_starts: list[int]
    tokens: tuple[int, int]
    ids: list[int]
    length: int
    encoded: int


class _Segments:
    """A text in pieces, cut where the tokenizer can be given each by itself.

    So an edit encodes the pieces that it touches and no more. A cut is certain by the characters
    on its two sides: it stands while an edit changes neither of them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._segments: list[str] = []
        self._starts: list[int] = []
        self._token_starts: list[int] = []
        self._joined: str | None = ""
        self.length = 0

    @property
    def whole(self) -> str:
        if self._joined is None:
            self._joined = "".join(self._segments)
        return self._joined

    def splice(self, start: int, stop: int, text: str, n_tokens: int) -> _Change:
        """What changes with `text` in place of characters start .. stop - 1; nothing does yet."""
        first = max(0, bisect_left(self._starts, start) - 1)
        last = bisect_right(self._starts, stop)
        begin, token_begin = self._start(first, n_tokens)
        end, token_end = self._start(last, n_tokens)
        old = "".join(self._segments[first:last])
        segments = self._cut(old[: start - begin] + text + old[stop - begin :])
        encoded = [self._tokenizer.encode(segment) for segment in segments]
        starts = [begin, *accumulate(map(len, segments), initial=begin)][1:]
        token_starts = [token_begin, *accumulate(map(len, encoded), initial=token_begin)][1:]
        moved, tokens_moved = starts.pop() - end, token_starts.pop() - token_end
        return _Change(
            first=first,
            stop=last,
            segments=segments,
            starts=starts + [place + moved for place in self._starts[last:]],
            token_starts=token_starts + [n + tokens_moved for n in self._token_starts[last:]],
            tokens=(token_begin, token_end),
            ids=[token_id for ids in encoded for token_id in ids],
            length=self.length + moved,
            encoded=sum(map(len, segments)),
        )

    def accept(self, change: _Change) -> None:
        self._segments[change.first : change.stop] = change.segments
        self._starts[change.first :] = change.starts
        self._token_starts[change.first :] = change.token_starts
        self._joined = None
        self.length = change.length

    def _start(self, index: int, n_tokens: int) -> tuple[int, int]:
        if index < len(self._starts):
            return self._starts[index], self._token_starts[index]
        return self.length, n_tokens

    def _cut(self, text: str) -> list[str]:
        segments, start = [], 0
        while start < len(text):
            # A piece is cut off only where as much is left for the next: none is ever tiny.
            cut = len(text)
            if len(text) - start >= 2 * SEGMENT:
                cut = self._tokenizer.next_boundary(text, start + SEGMENT)
            segments.append(text[start:cut])
            start = cut
        return segments


# -- what is kept of a pass -------------------------------------------------------------------


class _Rows:
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
        self.rows: dict[str, _Rows] = {}
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


class _Carried:
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
        self._logits = _Rows(keep=self._keep_logits)
        self.keeps_blocks = True

    @property
    def logits(self) -> Tensor:
        return self._logits.tensor

    @property
    def first_logits(self) -> int:
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

        def move(rows: _Rows, at: int, parts: Sequence[Tensor]) -> None:
            room = rows.room(at, length, parts)
            moves.append(lambda: rows.replace(room, at, parts))

        move(self._logits, *self._logits_of(run))
        for layer, part in zip(self.layers, run.layers, strict=True):
            for name in part.rows or layer.rows:
                move(layer.rows.setdefault(name, _Rows()), run.start, part.rows.get(name, []))

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


class _Whole:
    """A pass in parallel mode: it carries no state, so every run is one over the whole text."""

    first_logits = 0
    keeps_blocks = True

    def __init__(self, model: RetNet) -> None:
        self._model = model
        self._capture = Capture(stride=1)

    @property
    def layers(self) -> Sequence[LayerRecord]:
        return self._capture.layers

    @property
    def logits(self) -> Tensor:
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


class _Record:
    """What a trace reads of a live text, until the next edit."""

    def __init__(self, live: Live, source: _Carried | _Whole) -> None:
        self._live = live
        self._edition = live.edition
        self._source = source

    def check(self) -> None:
        """Raise RuntimeError where the text was edited since."""
        if self._edition != self._live.edition:
            raise RuntimeError(
                "this trace is of a live text that was edited since; take the trace of the Live "
                "again, or rv.trace for one that lasts"
            )

    @property
    def layers(self) -> Sequence[LayerRecord]:
        self.check()
        return self._source.layers

    @property
    def logits(self) -> Tensor:
        self.check()
        return self._source.logits

    @property
    def first_logits(self) -> int:
        self.check()
        return self._source.first_logits

    @property
    def keeps_blocks(self) -> bool:
        self.check()
        return self._source.keeps_blocks


# -- comparing --------------------------------------------------------------------------------


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise ValueError(f"a live text must be a str, not {type(text).__name__}")


def _common_start(a: str, b: str) -> int:
    """How many characters a and b have in common from the start on."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # a[:low] and b[:low] are equal; each round compares half of what is left
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(a: str, b: str) -> int:
    """How many characters a and b have in common up to the end."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low
