"""A Trace: all that can be observed of one forward pass over one text.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values. There is no batch
axis: a trace observes one sequence. What an accessor has to derive is derived in a file beside this
one: `plane`, `states`, `chunk_parts`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from retnet_viz.model import CHUNK_SIZE, MODES, RetNet, RetNetConfig, RetNetState
from retnet_viz.model.language_model import token_ids
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.edits.apply import apply, check_modes, resolve, view_changes
from retnet_viz.trace.edits.comparison import Comparison, compare
from retnet_viz.trace.edits.edit import Edit
from retnet_viz.trace.edits.edited_model import EditedRetNet
from retnet_viz.trace.edits.layer_changes import LayerChanges
from retnet_viz.trace.passes.capture import Record
from retnet_viz.trace.passes.external_tensors import (
    ExternalConfig,
    ExternalTensors,
    ObservedModel,
    make_external_tensors,
)
from retnet_viz.trace.passes.full_pass import capture_pass, forward, version_of
from retnet_viz.trace.passes.observed_layer import ObservedLayer
from retnet_viz.trace.views import plane
from retnet_viz.trace.views.agreement import Agreement, compare_traces
from retnet_viz.trace.views.attribution import Attribution, attribution, lens
from retnet_viz.trace.views.chunk_parts import ChunkParts
from retnet_viz.trace.views.pass_cost import Cost, measure, median_milliseconds
from retnet_viz.trace.views.plane import Cell
from retnet_viz.trace.views.provenance import origin
from retnet_viz.trace.views.states import layer_state_norms, state_after

if TYPE_CHECKING:
    import pandas
    import xarray


def trace(
    model: RetNet,
    text: str | Tensor | Sequence[int],
    mode: str = "parallel",
    chunk_size: int = CHUNK_SIZE,
    *,
    edits: Iterable[Edit] = (),
    state: RetNetState | None = None,
) -> Trace:
    """Run `model` over a text, or over token ids (T,), in one mode and observe it.

    The ids may be in a tensor, an array or a list. `edits`, made by `rv.edits`, change what the
    pass computes; the model itself is not changed. The text goes on from `state`, which another
    pass ended with (`Trace.end_state`); it is not written to.

    Raises EditError, a ValueError, on edits that do not fit the model, the text or the mode, or
    contradict each other; ValueError where the model is no RetNet, the text has no tokens, an id is
    not in the vocabulary, the mode is unknown, the chunk size is below 1 or the state has another
    shape; NotEnoughMemory where the machine has too little for it.
    """
    if not isinstance(model, RetNet):
        raise ValueError(
            f"a trace is of a RetNet, and this is a {type(model).__name__}; rv.compare shows what "
            "models of other kinds read"
        )
    ids = token_ids(model, text)
    state = _checked_state(model, state)
    resolved = resolve(model, edits, len(ids))
    if resolved:
        model = apply(model, resolved, ids, state)
    return Trace(model, ids, mode, chunk_size, start=state)


def traces(
    model: RetNet,
    texts: Iterable[str | Tensor | Sequence[int]],
    mode: str = "parallel",
    chunk_size: int = CHUNK_SIZE,
) -> list[Trace]:
    """The trace of each text, from a pass of its own: none is padded, so each is exact.

    Raises ValueError as `trace`, with the number of the text, which counts from 0.
    """
    if isinstance(texts, str):
        raise ValueError("one text is given where several are asked for; trace takes one")
    found = []
    for number, text in enumerate(texts):
        try:
            found.append(trace(model, text, mode, chunk_size))
        except ValueError as error:
            raise ValueError(f"text {number}: {error}") from error
    return found


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

    `model` is the one that ran: with edits one on the same weights. `started_from` is the state
    before the first token; None where the text begins with it.

    With a `record` of a pass over these ids nothing is run, and the ids are not copied. Where that
    record is outdated, whatever would read it raises RuntimeError.
    """

    def __init__(
        self,
        model: ObservedModel,
        ids: Tensor,
        mode: str,
        chunk_size: int,
        record: Record | None = None,
        config: RetNetConfig | ExternalConfig | None = None,
        start: RetNetState | None = None,
    ) -> None:
        self.model = model
        self.config = config or model.config
        self._ids = ids.detach().to("cpu", torch.long, copy=True) if record is None else ids
        self._length = len(ids)
        self.mode = mode
        self.chunk_size = chunk_size
        check_call(self._ids[None], mode, chunk_size)
        self._gammas = [gamma.clone() for gamma in model.gammas]
        self._version = version_of(model)
        self.started_from = start
        self._changes: dict[int, LayerChanges] = {}
        if record is None:
            check_modes(self.edits, mode, chunk_size, self._length)
            record = capture_pass(model, self._ids, mode, chunk_size, start)
        self._capture = record
        self._state_norms: dict[int, Tensor] = {}
        self._chunk_parts = ChunkParts()
        self._other_traces: dict[str, Trace] = {}

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
        tensors = make_external_tensors(q, k, v, gamma, tokens)
        return cls(tensors, torch.arange(tensors.length), mode, chunk_size)

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
        TraceFileError on another name, on values that are not finite, and on a trace with edits or
        one that started from a state; OSError where the file cannot be written; what was there
        stays.
        """
        from retnet_viz.trace.files.saved import save_trace

        save_trace(self, path)

    def __repr__(self) -> str:
        return f"<Trace of {self.length} tokens, {self.mode} mode, {self.n_layers} layers>"

    def _repr_html_(self) -> str:
        """What a notebook shows where a trace stands on a cell's last line.

        The mode, the model's size, the first tokens, each head's decay and the likeliest next
        token, escaped, in the colours of the notebook. Nothing runs for it.
        """
        from retnet_viz.trace.notebook.html_summary import html_summary

        return html_summary(self)

    def __len__(self) -> int:
        return self.length

    # -- the text ---------------------------------------------------------------------------

    @property
    def ids(self) -> Tensor:
        """(T,) int64 on the CPU, the ids of the tokens."""
        self._capture.check()
        return self._ids

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What was changed for this pass; positions count from the start of the text."""
        return self.model.edits if isinstance(self.model, EditedRetNet) else ()

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
        """The texts of tokens start .. stop - 1; the cost does not depend on the text's length.

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

        Where they were not kept they are computed from the output of the last layer. Raises
        IndexError on a token outside the text, RuntimeError where a model would be needed.
        """
        position = self.check_position(position)
        first = self._capture.first_logits
        if position >= first:
            return self._capture.logits[position - first]
        if isinstance(self.model, ExternalTensors):
            raise RuntimeError(f"the logits after token {position} were not kept")
        return lens(self, self.n_layers - 1, position)

    @property
    def loss(self) -> Tensor:
        """(T - 1,), -ln of the probability of each token but the first, in nats.

        Raises RuntimeError where the logits were not kept for all tokens, or there is no model.
        """
        logits = self.logits
        if not logits.shape[-1]:
            raise RuntimeError("a trace of tensors predicts no token, so it has no loss")
        return F.cross_entropy(logits[:-1], self._ids[1:], reduction="none")

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

    # -- what if ----------------------------------------------------------------------------

    def compare(self, base: Trace) -> Comparison:
        """The predictions of the same text by `base`, before, and by this trace, after.

        Logits, probabilities and loss of every token. Raises EditError where the texts or the
        vocabularies differ, RuntimeError as `logits`.
        """
        return compare(self, base)

    def changes(self, layer: int) -> LayerChanges:
        """What edits change in a layer of what tokens read and of the state, by position."""
        return self._layer(layer).changes or LayerChanges(self.n_heads)

    def left_in_state(self, layer: int, position: int) -> Tensor:
        """(H, T) float64: what edits leave of each token's share in S after a token, decay apart.

        1 where nothing was taken out; tokens after `position` count as left. Derived.
        """
        n = self.check_position(position)
        return self.changes(layer).factor(range(n, n + 1), range(self.length), cuts=False)[:, 0]

    # -- why this prediction ----------------------------------------------------------------

    def attribution(
        self,
        token: int | str | None = None,
        position: int = -1,
        against: int | str | None = None,
    ) -> Attribution:
        """The logit of `token` after token `position` as a sum of parts that leaves nothing over.

        The parts are the embedding, each head by source token, the feed-forwards and the biases of
        the norms; the statistics of all norms are held at the values of this pass, so a part says
        what it adds directly, not what would become of the pass without it. A token is an id or a
        text that is one token, by default the likeliest; with `against` it is the difference of two
        logits. Derived, in float64.

        Raises IndexError on a position outside the text, ValueError on what is no token or where
        there is no model, RuntimeError where the model has changed since this trace was made.
        """
        return attribution(self, token, position, against)

    def lens(self, layer: int, rows: slice = slice(None)) -> Tensor:
        """(rows, vocab), the logits that the output of a layer would give, were it the last.

        "Logit lens" (nostalgebraist 2020): the final norm and the head read an earlier layer. Of
        the last layer they are `logits`. Derived. Raises as `attribution`, and IndexError on a
        layer that there is not.
        """
        return lens(self, layer, rows)

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
        observed_layer = self._layer(layer)
        if not -self.length <= position < self.length:
            raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        return state_after(observed_layer, position % self.length)

    def state_before(self, layer: int, position: int) -> Tensor:
        """S (H, d_k, d_v) that the token at `position` finds, with what edits change of it there.

        Before the first token zeros, or the state that the text started from.
        """
        n, observed_layer = self.check_position(position), self._layer(layer)
        if n:
            before = state_after(observed_layer, n - 1)
        else:
            before = torch.zeros_like(observed_layer.record.last_state)
        if observed_layer.changes is None:
            return before
        return observed_layer.changes.make(
            before[None], n, observed_layer.gamma, observed_layer.key_value
        )[0]

    @property
    def end_state(self) -> RetNetState:
        """The state after the last token, from which a further pass or `rv.generate` can go on."""
        self._capture.check()
        position = 0 if self.started_from is None else self.started_from.position
        return RetNetState(
            [layer.last_state[None].clone() for layer in self._capture.layers],
            position + self.length,
        )

    def state_norm(self, layer: int) -> Tensor:
        """(H, T), the Frobenius norm of S after each token.

        Of states that the mode computed, the norm of the very state; it is replayed where it was
        not kept. Of others, and of those between the kept ones of a text so long that layers are
        replayed, the norm that `state_norms` derives without them. Memory is O(T).
        """
        observed_layer = self._layer(layer)
        if layer not in self._state_norms:
            self._state_norms[layer] = layer_state_norms(observed_layer)
        return self._state_norms[layer]

    # -- the chunks -------------------------------------------------------------------------

    def inner(self, layer: int) -> Tensor:
        """(H, T, d_v), the part of the head output that comes from inside each token's chunk."""
        return self._chunk_parts.of(self._layer(layer), "retention.inner")

    def cross(self, layer: int) -> Tensor:
        """(H, T, d_v), the part that comes from the state carried into each token's chunk."""
        return self._chunk_parts.of(self._layer(layer), "retention.cross")

    # -- for other libraries ----------------------------------------------------------------

    def to_pandas(self, rows: str = "heads") -> pandas.DataFrame:
        """A tidy table: one row per layer, head and token, or one per token.

        `rows` is "heads" or "tokens". With "heads" there are L * H * T rows:

        layer, head, position  which row it is, from 0
        token                  its text
        gamma                  of the head, per token
        half_life              of the head, in tokens
        state_norm             Frobenius norm of S after the token
        q_norm, k_norm, v_norm, head_output_norm  Euclidean norms of q, k, v, head_output

        With "tokens" there are T rows:

        position, id, token    which row it is, from 0; the token's id and its text
        loss                   -ln of its probability, in nats; NaN for the first
        next_id, next_token    the likeliest token after it
        next_probability       of that one
        next_entropy           of all that may come after it, in nats

        A trace of tensors predicts nothing: its table ends with `token`. `attrs` of the table hold
        `mode`, `chunk_size` and `origin`: by column, what `Trace.origin` says of the quantity that
        it is taken from.

        Needs pandas: ImportError where it is not installed. Raises ValueError on other rows;
        RuntimeError, with "tokens", where the logits were not kept for all tokens.
        """
        from retnet_viz.trace.notebook.dataframe import dataframe

        return dataframe(self, rows)

    def to_xarray(self, *names: str) -> xarray.Dataset:
        """Quantities of all layers, by the names of their accessors, as arrays with named axes.

        Without names, all that grow with T alone and that are there:

        state_norm             (layer, head, position)
        q, k                   (layer, head, position, key)
        v, head_output, inner, cross, normed, gate  (layer, head, position, value)
        output                 (layer, position, feature)

        Heads that an accessor gives side by side are apart here. What is larger has to be named:

        decay, scores, retention  (layer, head, position, source): tokens n and m
        state                  (layer, head, position, key, value): S after every token
        logits                 (position, vocabulary)

        Coordinates are `layer`, `head`, `position` and `source` from 0; `token` and `id` of each
        position, `source_token` of each source; `gamma` and `half_life`, in tokens, of each layer
        and head. `attrs` hold `mode` and `chunk_size`; those of a variable `origin`, as
        `Trace.origin` has it, and a `long_name`, which plots show. The arrays are copies; numbers
        of 16 bits become float32.

        Needs xarray: ImportError where it is not installed. Raises ValueError on a name that there
        is not, NotEnoughMemory where the arrays would not fit, RuntimeError as `logits`.
        """
        from retnet_viz.trace.notebook.dataset import dataset

        return dataset(self, *names)

    # -- what is known about all this -------------------------------------------------------

    def origin(self, name: str) -> str:
        """Whether this mode "computed" the quantity, the trace "derived" it, or which one where.

        "replayed" is what the mode computed and the record did not keep; see `Trace`. "given" is
        what `from_tensors` was given.
        """
        record, of_tensors = self._capture, isinstance(self.config, ExternalConfig)
        return origin(name, self.mode, record.keeps_rows, record.keeps_blocks, of_tensors)

    def in_mode(self, mode: str) -> Trace:
        """The trace of the same text in another mode; run once and kept.

        Raises RuntimeError where it has not run yet and the model has changed since this trace was
        made.
        """
        if mode == self.mode:
            return self
        if mode not in self._other_traces:
            self.check_model()
            self._other_traces[mode] = Trace(
                self.model, self.ids, mode, self.chunk_size, start=self.started_from
            )
        return self._other_traces[mode]

    def agreement(self) -> Agreement:
        """Run the other two modes and compare: max |difference| of logits and layer outputs.

        Of a trace that has no model, the head outputs in place of both. Raises RuntimeError as
        `in_mode` does.
        """
        others = {mode: self.in_mode(mode) for mode in MODES if mode != self.mode}
        return compare_traces(self, others)

    @cached_property
    def cost(self) -> Cost:
        """What such a pass costs, measured by running it again: metered, then timed.

        Raises RuntimeError where the model has changed since this trace was made.
        """
        self._capture.check()
        self.check_model()

        def run() -> Any:
            return forward(self.model, self._ids, self.mode, self.chunk_size, self.started_from)

        flops, peak_bytes = measure(run)
        return Cost(
            milliseconds=median_milliseconds(run),
            flops=flops,
            peak_bytes=peak_bytes,
            state_bytes=sum(layer.last_state.nbytes for layer in self._capture.layers),
            steps=self._layer(0).record.steps,
        )

    def check_position(self, position: int) -> int:
        """The position of a token counted from the start; IndexError outside the text."""
        if not -self.length <= position < self.length:
            raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        return position % self.length

    def check_model(self) -> None:
        """Raise RuntimeError where the model is no longer the one that was observed."""
        if version_of(self.model) != self._version:
            raise RuntimeError(
                "the model has changed since this trace was made; trace the text again"
            )

    def _layer(self, layer: int) -> ObservedLayer:
        self._capture.check()
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} is outside 0 .. {self.n_layers - 1}")
        return ObservedLayer(
            self._capture,
            layer,
            self._gammas[layer],
            self.mode,
            self.chunk_size,
            self.length,
            self._layer_changes(layer),
        )

    def _layer_changes(self, layer: int) -> LayerChanges | None:
        if layer not in self._changes:
            self._changes[layer] = view_changes(self.model, layer, self.started_from)
        return self._changes[layer] or None


def _checked_state(model: RetNet, state: RetNetState | None) -> RetNetState | None:
    """A state that a text can go on from; None for that before any token. ValueError on others."""
    if state is None or not isinstance(state, RetNetState):
        if state is None:
            return None
        raise ValueError(f"state must be a RetNetState, not a {type(state).__name__}")
    config = model.config
    shape = (1, config.n_heads, config.head_dim, config.value_dim)
    shapes = {None if layer is None else tuple(layer.shape) for layer in state.layers}
    if len(state.layers) != config.n_layers or shapes not in ({shape}, {None}):
        raise ValueError(
            f"this state is of {len(state.layers)} layers of the shape "
            f"{', '.join(map(str, sorted(shapes, key=str)))}; the model has {config.n_layers} of "
            f"{shape}"
        )
    return None if shapes == {None} else state
