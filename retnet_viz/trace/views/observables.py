"""A Trace: all that can be observed of one forward pass over one text.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values. There is no batch
axis: a trace observes one sequence. What an accessor has to derive is derived in a file beside this
one: `plane`, `states`, `chunk_parts`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model import CHUNK_SIZE, MODES, RetNet, RetNetConfig
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.passes.capture import Record
from retnet_viz.trace.passes.external_tensors import (
    ExternalConfig,
    ExternalTensors,
    Observed,
    given_tensors,
)
from retnet_viz.trace.passes.full_pass import captured, check_ids, forward
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.views import plane
from retnet_viz.trace.views.agreement import Agreement, compared
from retnet_viz.trace.views.chunk_parts import ChunkParts
from retnet_viz.trace.views.cost import Cost, measure, median_milliseconds
from retnet_viz.trace.views.plane import Cell
from retnet_viz.trace.views.provenance import origin
from retnet_viz.trace.views.states import norms_of_states, state_after


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
        self._capture = captured(model, self._ids, mode, chunk_size) if record is None else record
        self._state_norms: dict[int, Tensor] = {}
        self._chunk_parts = ChunkParts()
        self._others: dict[str, Trace] = {}

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
        return self._layer(layer).gamma

    def half_life(self, layer: int) -> Tensor:
        """(H,) tokens after which half is left, ln 0.5 / ln gamma; infinite where gamma is 1."""
        return self.horizon(layer, 0.5)

    def horizon(self, layer: int, share: float = 0.01) -> Tensor:
        """(H,) tokens after which gamma**distance has fallen to `share`."""
        return -math.log(share) / self.gamma(layer).log().abs()  # abs: -0 would give -infinity

    def q(self, layer: int) -> Tensor:
        """(H, T, d_k), queries after rotation."""
        return self._layer(layer).q

    def k(self, layer: int) -> Tensor:
        """(H, T, d_k), keys after rotation, scaled by d_k**-0.5."""
        return self._layer(layer).k

    def v(self, layer: int) -> Tensor:
        """(H, T, d_v), values."""
        return self._layer(layer).v

    def head_output(self, layer: int) -> Tensor:
        """(H, T, d_v), what each head retained, before the per-head normalisation."""
        return self._layer(layer).record["retention.output"][0]

    def normed(self, layer: int) -> Tensor:
        """(T, H * d_v), the heads after the per-head normalisation, side by side."""
        return self._layer(layer).record["retention.normed"][0]

    def gate(self, layer: int) -> Tensor:
        """(T, H * d_v), swish(X W_G), which multiplies `normed`."""
        return self._layer(layer).record["retention.gate"][0]

    def output(self, layer: int) -> Tensor:
        """(T, d), what the layer hands to the next."""
        return self._layer(layer).output

    # -- the T x T plane --------------------------------------------------------------------

    def decay(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """D (H, rows, cols): gamma**(n-m) for n >= m, else 0. Magnitudes in [0, 1]."""
        return plane.window(self._layer(layer), "retention.decay", rows, cols)

    def scores(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """Q K^T (H, rows, cols), before the decay: signed, also above the diagonal."""
        return plane.window(self._layer(layer), "retention.scores", rows, cols)

    def retention(self, layer: int, rows: slice = slice(None), cols: slice = slice(None)) -> Tensor:
        """The weights Q K^T * D (H, rows, cols): signed; rows do not sum to 1; 0 for n < m."""
        return plane.window(self._layer(layer), "retention.weights", rows, cols)

    def cell(self, layer: int, head: int, n: int, m: int) -> Cell:
        """The weight with which token n reads token m, taken apart. For m > n it is 0."""
        if not 0 <= head < self.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {self.n_heads - 1}")
        for position in (n, m):
            if not 0 <= position < self.length:
                raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        return plane.cell(self._layer(layer), head, n, m)

    # -- the state --------------------------------------------------------------------------

    def state(self, layer: int, position: int) -> Tensor:
        """S (H, d_k, d_v) after the token at `position` (negative counts from the end)."""
        observed = self._layer(layer)
        if not -self.length <= position < self.length:
            raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        return state_after(observed, position % self.length)

    def state_norm(self, layer: int) -> Tensor:
        """(H, T), the Frobenius norm of S after each token.

        Of states that the mode computed, the norm of the very state; it is replayed where it was
        not kept. Of others, and of those between the kept ones of a text so long that layers are
        replayed, the norm that `state_norms` derives without them. Memory is O(T).
        """
        observed = self._layer(layer)
        if layer not in self._state_norms:
            self._state_norms[layer] = norms_of_states(observed)
        return self._state_norms[layer]

    # -- the chunks -------------------------------------------------------------------------

    def inner(self, layer: int) -> Tensor:
        """(H, T, d_v), the part of the head output that comes from inside each token's chunk."""
        return self._chunk_parts.of(self._layer(layer), "retention.inner")

    def cross(self, layer: int) -> Tensor:
        """(H, T, d_v), the part that comes from the state carried into each token's chunk."""
        return self._chunk_parts.of(self._layer(layer), "retention.cross")

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

    def agreement(self) -> Agreement:
        """Run the other two modes and compare: max |difference| of logits and layer outputs.

        Of a trace that has no model, the head outputs in place of both.
        """
        return compared(self, {mode: self.in_mode(mode) for mode in MODES if mode != self.mode})

    @cached_property
    def cost(self) -> Cost:
        """What such a pass costs, measured by running it again: metered, then timed."""
        self._capture.check()

        def run() -> Any:
            return forward(self.model, self._ids, self.mode, self.chunk_size)

        flops, peak_bytes = measure(run)
        return Cost(
            milliseconds=median_milliseconds(run),
            flops=flops,
            peak_bytes=peak_bytes,
            state_bytes=sum(layer.last_state.nbytes for layer in self._capture.layers),
            steps=self._layer(0).record.steps,
        )

    def _layer(self, layer: int) -> ObservedLayer:
        self._capture.check()
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} is outside 0 .. {self.n_layers - 1}")
        return ObservedLayer(
            self._capture, layer, self._gammas[layer], self.mode, self.chunk_size, self.length
        )
