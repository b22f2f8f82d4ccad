"""A Trace: all that can be observed of one forward pass over one text.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values. There is no batch
axis: a trace observes one sequence.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model import CHUNK_SIZE, MODES, Output, RetNet, RetNetConfig, RetNetState
from retnet_viz.model.observe import listening, overhearing
from retnet_viz.model.position import decay_matrix, stretch_decay
from retnet_viz.model.retention import chunkwise, next_state, recurrent
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.passes.budget import check_memory, foreseen_once
from retnet_viz.trace.passes.capture import Capture, LayerRecord, Record, state_stride
from retnet_viz.trace.passes.external_tensors import (
    ExternalConfig,
    ExternalTensors,
    Observed,
    given_tensors,
)
from retnet_viz.trace.passes.recompute import Gathered
from retnet_viz.trace.views.agreement import Agreement, compared
from retnet_viz.trace.views.cost import Cost, measure, median_milliseconds
from retnet_viz.trace.views.provenance import origin
from retnet_viz.trace.views.state_norms import state_norms

_PARTS = ("retention.inner", "retention.cross")


@dataclass(frozen=True)
class Cell:
    """One retention weight taken apart: `weight = score * decay`, `decay = gamma**distance`."""

    score: float
    gamma: float
    distance: int
    decay: float
    weight: float


def trace(
    model: RetNet,
    text: str | Tensor,
    mode: str = "parallel",
    chunk_size: int = CHUNK_SIZE,
) -> Trace:
    """Run `model` over a text, or over token ids (T,), in one mode and observe it.

    Raises ValueError where the text has no tokens, an id is not in the vocabulary, the mode is
    unknown or the chunk size is below 1; NotEnoughMemory where the machine has too little for it.
    """
    if isinstance(text, str):
        if model.tokenizer is None:
            raise ValueError("this model has no tokenizer; pass token ids (a LongTensor) instead")
        ids = torch.tensor(model.tokenizer.encode(text), dtype=torch.long)
    else:
        ids = text
    check_ids(ids, model.config.vocab_size)
    return Trace(model, ids, mode, chunk_size)


class Trace:
    """Made by `trace`, `Trace.from_tensors`, `Trace.load` or a `Live`.

    Accessors give what the pass computed, or derive it when asked.

    `origin(name)` tells which. What the mode computed is the very tensor that the pass used; treat
    it as read-only. `rows` and `cols` select tokens n (reading) and m (read) by a slice, and no
    more than the selected window is ever built.

    Of a long live text the record keeps the outputs of the layers, some states and the last logits.
    All else is replayed: the layer that is asked runs again over what it was given, in chunkwise
    form, and equals what the pass computed to rounding. What recurrent mode computes by another
    formula, the head output and what follows from it, is then "derived".

    With a `record` of a pass over these ids nothing is run, and the ids are not copied. Where that
    record is outdated, whatever would read it raises RuntimeError.
    """

    def __init__(
        self,
        model: Observed,
        ids: Tensor,
        mode: str,
        chunk_size: int,
        record: Record | None = None,
        config: RetNetConfig | ExternalConfig | None = None,
    ) -> None:
        self.model = model
        self.config = config or model.config
        self._ids = ids.detach().to("cpu", torch.long, copy=True) if record is None else ids
        self._length = len(ids)
        self.mode = mode
        self.chunk_size = chunk_size
        check_call(self._ids[None], mode, chunk_size)
        self._gammas = [gamma.clone() for gamma in model.gammas]
        self._capture = self._captured() if record is None else record
        self._derived: dict[tuple[str, int], Tensor] = {}

    @classmethod
    def from_tensors(
        cls,
        q: Any,
        k: Any,
        v: Any,
        gamma: Any,
        tokens: Sequence[str] | None = None,
        mode: str = "parallel",
        chunk_size: int = CHUNK_SIZE,
    ) -> Trace:
        """Observe the retention of queries, keys and values from any code, in one mode.

        q, k (H, T, d_k) and v (H, T, d_v) are those of one layer, after rotation; k carries the
        factor d_k**-0.5, or q does. (L, H, T, d), or a list of (H, T, d), are those of L layers; a
        batch axis of 1 may stand before H or before L. They are copied to the CPU, in the dtype
        that holds all of theirs. `gamma` is the decay per token: a number, (H,), or (L, H).
        `tokens` are the T tokens' texts; without them the tokens are their numbers.

        The trace has no model: it does the retention itself, layer by layer, and `origin` says what
        was given to it. `normed` and `output` are the head outputs side by side, `gate` is 1,
        `logits` has the shape (T, 0); `agreement` compares head outputs.

        Raises ValueError, with a sentence, on shapes that do not go together, on no tokens, on
        numbers that are not finite, on a gamma outside (0, 1], on tokens that are not T strings,
        and on a mode or chunk size that `trace` refuses; NotEnoughMemory as `trace`.
        """
        given = given_tensors(q, k, v, gamma, tokens)
        return cls(given, torch.arange(given.length), mode, chunk_size)

    @staticmethod
    def load(path: str | os.PathLike[str], model: RetNet | None = None) -> Trace:
        """The trace in a file that `save` wrote; its accessors give what the saved one's gave.

        What reads a text anew, in another mode say, needs a model. With `model`, which has to be
        that of the trace, it is done as before. Without one the retention alone is run again, on
        the q, k and v in the file, as of a trace `from_tensors`: `in_mode` and `cost` are of that,
        and `agreement` compares head outputs.

        Raises TraceFileError, with a sentence, on a file that is no whole and sound trace, and on a
        model of another config, dtype or other gammas. Nothing in a file is run.
        """
        from retnet_viz.trace.files.saved import load_trace

        return load_trace(path, model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace into a safetensors file (its name ends so), whole or not at all.

        In parallel mode that holds T x T numbers a head, else it grows with T. Raises
        TraceFileError on another name and on values that are not finite, OSError where the file
        cannot be written; what was there stays.
        """
        from retnet_viz.trace.files.saved import save_trace

        save_trace(self, path)

    def __repr__(self) -> str:
        return f"<Trace of {self.length} tokens, {self.mode} mode, {self.n_layers} layers>"

    def __len__(self) -> int:
        return self.length

    # -- the text ---------------------------------------------------------------------------

    @property
    def ids(self) -> Tensor:
        """(T,) int64 on the CPU, the ids of the tokens."""
        self._capture.check()
        return self._ids

    @property
    def length(self) -> int:
        """T, the number of tokens."""
        return self._length

    @property
    def n_layers(self) -> int:
        """Number of layers; they are counted from 0."""
        return self.config.n_layers

    @property
    def n_heads(self) -> int:
        """H, the number of heads; they are counted from 0."""
        return self.config.n_heads

    @cached_property
    def tokens(self) -> list[str]:
        """The text of each token; the bytes of a split character read as `\\xNN`."""
        return self.pieces(0, self.length)

    def pieces(self, start: int, stop: int) -> list[str]:
        """The texts of tokens start .. stop - 1, at a cost that the length of the text is not in.

        Raises IndexError where the text has no such tokens.
        """
        if not 0 <= start <= stop <= self.length:
            raise IndexError(
                f"tokens {start} .. {stop} are not a stretch of a text of {self.length} tokens"
            )
        return [self.piece(token_id) for token_id in self.ids[start:stop].tolist()]

    def piece(self, token_id: int) -> str:
        """The text of any token of the vocabulary; the id itself where it has no text."""
        try:
            return str(self.model.tokenizer.piece(token_id))  # type: ignore[union-attr]
        except (AttributeError, ValueError):  # no tokenizer, or an id that it does not use
            return str(token_id)

    # -- what every mode computes -----------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """(T, vocab), the scores of the next token after each token; (T, 0) without a model.

        Raises RuntimeError where they were not kept for all tokens; see `logits_after`.
        """
        if self._capture.first_logits:
            raise RuntimeError(
                f"of {self.length:,} tokens only the last {len(self._capture.logits):,} have their "
                "logits kept: ask logits_after(position) for those of one token, or for "
                "keep_logits=None"
            )
        return self._capture.logits

    def logits_after(self, position: int) -> Tensor:
        """(vocab,), the scores of the next token after one token (negative counts from the end).

        Where they were not kept they are made again from the output of the last layer. Raises
        IndexError on a token that there is not, RuntimeError where that would need a model.
        """
        if not -self.length <= position < self.length:
            raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        first = self._capture.first_logits
        position %= self.length
        if position >= first:
            return self._capture.logits[position - first]
        if isinstance(self.model, ExternalTensors):
            raise RuntimeError(f"the logits after token {position} were not kept")
        with torch.no_grad():
            logits: Tensor = self.model.head(
                self.model.norm(self.output(self.n_layers - 1)[position])
            )
        return logits

    def gamma(self, layer: int) -> Tensor:
        """(H,) float64, the decay per token of each head."""
        self._layer(layer)
        return self._gammas[layer]

    def half_life(self, layer: int) -> Tensor:
        """(H,) tokens after which half is left, ln 0.5 / ln gamma; infinite where gamma is 1."""
        return self.horizon(layer, 0.5)

    def horizon(self, layer: int, share: float = 0.01) -> Tensor:
        """(H,) tokens after which gamma**distance has fallen to `share`."""
        return -math.log(share) / self.gamma(layer).log().abs()  # abs: -0 would give -infinity

    def q(self, layer: int) -> Tensor:
        """(H, T, d_k), queries after rotation."""
        return self._layer(layer)["retention.q"][0]

    def k(self, layer: int) -> Tensor:
        """(H, T, d_k), keys after rotation, scaled by d_k**-0.5."""
        return self._layer(layer)["retention.k"][0]

    def v(self, layer: int) -> Tensor:
        """(H, T, d_v), values."""
        return self._layer(layer)["retention.v"][0]

    def head_output(self, layer: int) -> Tensor:
        """(H, T, d_v), what each head retained, before the per-head normalisation."""
        return self._layer(layer)["retention.output"][0]

    def normed(self, layer: int) -> Tensor:
        """(T, H * d_v), the heads after the per-head normalisation, side by side."""
        return self._layer(layer)["retention.normed"][0]

    def gate(self, layer: int) -> Tensor:
        """(T, H * d_v), swish(X W_G), which multiplies `normed`."""
        return self._layer(layer)["retention.gate"][0]

    def output(self, layer: int) -> Tensor:
        """(T, d), what the layer hands to the next."""
        return self._layer(layer)["layer.output"][0]

    # -- the T x T plane --------------------------------------------------------------------

    def decay(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """D (H, rows, cols): gamma**(n-m) for n >= m, else 0. Magnitudes in [0, 1]."""
        return self._plane("retention.decay", layer, rows, cols)

    def scores(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """Q K^T (H, rows, cols), before the decay: signed, also above the diagonal."""
        return self._plane("retention.scores", layer, rows, cols)

    def retention(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """The weights Q K^T * D (H, rows, cols): signed; rows do not sum to 1; 0 for n < m."""
        return self._plane("retention.weights", layer, rows, cols)

    def cell(self, layer: int, head: int, n: int, m: int) -> Cell:
        """The weight with which token n reads token m, taken apart. For m > n it is 0."""
        if not 0 <= head < self.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {self.n_heads - 1}")
        for position in (n, m):
            if not 0 <= position < self.length:
                raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        row, col = slice(n, n + 1), slice(m, m + 1)
        return Cell(
            score=self.scores(layer, row, col)[head].item(),
            gamma=self.gamma(layer)[head].item(),
            distance=n - m,
            decay=self.decay(layer, row, col)[head].item(),
            weight=self.retention(layer, row, col)[head].item(),
        )

    def _plane(self, name: str, layer: int, rows: slice, cols: slice) -> Tensor:
        capture = self._layer(layer)
        if self.mode == "parallel":
            return capture[name][0][:, rows, cols]
        n, m = range(self.length)[rows], range(self.length)[cols]
        device = self.output(layer).device
        window = self._derive_plane(
            name,
            layer,
            torch.tensor(n, dtype=torch.long, device=device),
            torch.tensor(m, dtype=torch.long, device=device),
        )
        if self.mode == "chunkwise" and self._capture.keeps_blocks and len(n) and len(m):
            # What the chunks computed, in place of what was derived. Blocks stand on the diagonal,
            # so only those count whose tokens are among the rows and the columns.
            size = self.chunk_size
            low, high = max(min(n), min(m)), min(max(n), max(m))
            for i in range(low // size, high // size + 1):
                block = capture[name][i]
                first, last = i * size, i * size + block.shape[-1]
                to_n, from_n = _overlap(n, first, last)
                to_m, from_m = _overlap(m, first, last)
                window[:, to_n, to_m] = block[:, from_n, from_m]
        return window

    def _derive_plane(self, name: str, layer: int, n: Tensor, m: Tensor) -> Tensor:
        if name == "retention.decay":
            return decay_matrix(self.gamma(layer), n, m, self.output(layer).dtype)
        q, k = self.q(layer), self.k(layer)
        scores = q[:, n] @ k[:, m].mT
        if name == "retention.scores":
            return scores
        return scores * decay_matrix(self.gamma(layer), n, m, q.dtype)

    # -- the state --------------------------------------------------------------------------

    def state(self, layer: int, position: int) -> Tensor:
        """S (H, d_k, d_v) after the token at `position` (negative counts from the end)."""
        capture = self._layer(layer)
        if not -self.length <= position < self.length:
            raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        position %= self.length
        if position == self.length - 1:
            return capture.last_state
        if self.mode == "recurrent":
            kept = position - position % capture.stride
            state = capture.states[kept]
            return state if kept == position else self._replay(layer, kept + 1, position, state)
        if self.mode == "parallel":
            return self._sum_state(layer, 0, position, None)
        chunk = (position + 1) // self.chunk_size  # chunks that end at or before the position
        kept = -1 if chunk == 0 else (chunk - 1) - (chunk - 1) % capture.stride
        state_before = capture.states[kept] if kept >= 0 else None
        for i in range(kept + 1, chunk):
            first = i * self.chunk_size
            state_before = self._sum_state(layer, first, first + self.chunk_size - 1, state_before)
        first = chunk * self.chunk_size
        if first > position:
            assert state_before is not None
            return state_before
        return self._sum_state(layer, first, position, state_before)

    def state_norm(self, layer: int) -> Tensor:
        """(H, T), the Frobenius norm of S after each token.

        Of states that the mode computed, the norm of the very state; it is replayed where it was
        not kept. Of others, and of those between the kept ones of a text so long that layers are
        replayed, the norm that `state_norms` derives without them. Memory is O(T).
        """
        key = ("state_norm", layer)
        capture = self._layer(layer)
        if key not in self._derived:
            if self.mode == "recurrent" and self._capture.keeps_rows:
                norms = self._norms_of_all(layer)
            else:
                norms = state_norms(self.k(layer), self.v(layer), self.gamma(layer))
                norms = norms.to(capture.last_state.dtype)
                for position, state in self._computed_states(layer):
                    norms[:, position] = _frobenius(state)
            self._derived[key] = norms
        return self._derived[key]

    def _norms_of_all(self, layer: int) -> Tensor:
        """(H, T), the norms of the states that recurrent mode computed, kept or replayed."""
        capture = self._layer(layer)
        if capture.stride == 1:
            norms = [_frobenius(capture.states[n]) for n in range(self.length)]
        else:
            norms = []
            self._recur(layer, 0, self.length, None, lambda s: norms.append(_frobenius(s)))
        return torch.stack(norms, dim=-1)

    def _computed_states(self, layer: int) -> Iterator[tuple[int, Tensor]]:
        """(position, S) of the states that the pass computed, and of the last one.

        Of a text whose layers are replayed those that are kept. Else the ones between two kept
        ones are summed up as chunkwise mode does.
        """
        capture = self._layer(layer)
        if self.mode == "recurrent":
            yield from capture.states.items()
        if self.mode == "chunkwise" and not self._capture.keeps_rows:
            for i, state in capture.states.items():
                yield min((i + 1) * self.chunk_size, self.length) - 1, state
        if self.mode == "chunkwise" and self._capture.keeps_rows:
            size, state = self.chunk_size, capture.last_state  # the first is always kept
            k, v = self.k(layer)[None], self.v(layer)[None]
            decay = stretch_decay(self.gamma(layer), k[:, :, :size])
            for i in range(capture.steps - 1):
                chunk = slice(i * size, (i + 1) * size)
                if i in capture.states:
                    state = capture.states[i]
                else:
                    with torch.no_grad():
                        state = next_state(k[:, :, chunk], v[:, :, chunk], state[None], decay)[0]
                yield (i + 1) * size - 1, state
        yield self.length - 1, capture.last_state

    def _replay(self, layer: int, start: int, stop: int, state: Tensor) -> Tensor:
        """The state after token `stop` from the one before `start`, by the recurrence itself."""
        return self._recur(layer, start, stop + 1, state, lambda _: None)

    def _recur(
        self,
        layer: int,
        start: int,
        stop: int,
        state: Tensor | None,
        keep: Callable[[Tensor], None],
    ) -> Tensor:
        """Run the recurrence over tokens start .. stop - 1, hand each state to `keep`; the last."""
        q, k, v = (x[None, :, start:stop] for x in (self.q(layer), self.k(layer), self.v(layer)))
        with torch.no_grad(), listening(lambda _, published: keep(published[0])):
            initial = None if state is None else state[None]
            return recurrent(q, k, v, self.gamma(layer), initial)[1][0]

    def _sum_state(self, layer: int, start: int, stop: int, state: Tensor | None) -> Tensor:
        """The state after token `stop`, as the chunkwise form sums it up from token `start`."""
        k, v = (x[None, :, start : stop + 1] for x in (self.k(layer), self.v(layer)))
        with torch.no_grad():
            before = None if state is None else state[None]
            return next_state(k, v, before, stretch_decay(self.gamma(layer), k))[0]

    # -- the chunks -------------------------------------------------------------------------

    def inner(self, layer: int) -> Tensor:
        """(H, T, d_v), the part of the head output that comes from inside each token's chunk."""
        return self._chunk_part("retention.inner", layer)

    def cross(self, layer: int) -> Tensor:
        """(H, T, d_v), the part that comes from the state carried into each token's chunk."""
        return self._chunk_part("retention.cross", layer)

    def _chunk_part(self, name: str, layer: int) -> Tensor:
        capture = self._layer(layer)
        if self.mode == "chunkwise":
            parts = capture[name]
            if len(parts) == 1:
                return parts[0]
            if (name, layer) not in self._derived:
                self._derived[name, layer] = torch.cat(list(parts), dim=-2)
            return self._derived[name, layer]
        if (name, layer) not in self._derived:
            for key in [key for key in self._derived if key[0] in _PARTS]:
                del self._derived[key]  # two of the largest tensors: those of one layer are kept
            gathered = Gathered(_PARTS, self.length)
            q, k, v = (x[None] for x in (self.q(layer), self.k(layer), self.v(layer)))
            with torch.no_grad(), listening(gathered):
                chunkwise(q, k, v, self.gamma(layer), None, self.chunk_size)
            self._derived |= {(part, layer): tensor for part, tensor in gathered.tensors.items()}
        return self._derived[name, layer]

    # -- what is known about all this -------------------------------------------------------

    def origin(self, name: str) -> str:
        """Whether this mode "computed" the quantity, the trace "derived" it, or where which.

        "replayed" is what the mode computed and the record did not keep; see `Trace`. "given" is
        what `from_tensors` was given.
        """
        record, of_tensors = self._capture, isinstance(self.config, ExternalConfig)
        return origin(name, self.mode, record.keeps_rows, record.keeps_blocks, of_tensors)

    def in_mode(self, mode: str) -> Trace:
        """The trace of the same text in another mode; run once and kept."""
        if mode == self.mode:
            return self
        if mode not in self._others:
            self._others[mode] = Trace(self.model, self.ids, mode, self.chunk_size)
        return self._others[mode]

    @cached_property
    def _others(self) -> dict[str, Trace]:
        return {}

    def agreement(self) -> Agreement:
        """Run the other two modes and compare: max |difference| of logits and layer outputs.

        Of a trace that has no model, the head outputs in place of both.
        """
        return compared(self, {mode: self.in_mode(mode) for mode in MODES if mode != self.mode})

    @cached_property
    def cost(self) -> Cost:
        """What such a pass costs, measured by running it again: metered, then timed."""
        self._capture.check()
        flops, peak_bytes = measure(self._forward)
        return Cost(
            milliseconds=median_milliseconds(self._forward),
            flops=flops,
            peak_bytes=peak_bytes,
            state_bytes=sum(layer.last_state.nbytes for layer in self._capture.layers),
            steps=self._layer(0).steps,
        )

    def _captured(self) -> Capture:
        call = (self.model, self.length, self.mode, self.chunk_size)
        check_memory(foreseen_once(*call), *call)
        steps = self.length if self.mode == "recurrent" else -(-self.length // self.chunk_size)
        capture = Capture(state_stride(self.model, steps))
        with torch.no_grad(), overhearing(capture):
            self._forward()
        return capture

    def _forward(self) -> Output[RetNetState]:
        ids = self._ids.to(self.model.device)[None]
        output: Output[RetNetState] = self.model(ids, mode=self.mode, chunk_size=self.chunk_size)
        return output

    def _layer(self, layer: int) -> LayerRecord:
        self._capture.check()
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} is outside 0 .. {self.n_layers - 1}")
        return self._capture.layers[layer]


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Raise ValueError, with a sentence, on ids that are no text of such a vocabulary."""
    if not isinstance(ids, Tensor):
        raise ValueError(f"a text must be a str or a LongTensor of ids, not {type(ids).__name__}")
    if ids.dim() != 1 or ids.dtype not in (torch.int64, torch.int32):
        found = f"{ids.dtype} of shape {tuple(ids.shape)}"
        raise ValueError(f"token ids must be a LongTensor of shape (T,), not {found}")
    if len(ids) == 0:
        raise ValueError("the text has no tokens; give at least one character")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise ValueError(f"token id {wrong} is outside the vocabulary 0 .. {vocab_size - 1}")


def _overlap(chosen: range, first: int, last: int) -> tuple[slice, slice]:
    """Where `chosen` lies in first .. last - 1: as a slice of itself, and of that stretch."""
    begin, end = (
        min(max(0, -(-(edge - chosen.start) // chosen.step)), len(chosen)) for edge in (first, last)
    )
    if begin >= end:
        return slice(0, 0), slice(0, 0)
    return slice(begin, end), slice(chosen[begin] - first, chosen[end - 1] - first + 1, chosen.step)


def _frobenius(state: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(state, dim=(-2, -1))
    return norm
