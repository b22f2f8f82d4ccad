"""A text that is edited while it is observed: an edit recomputes only what it can change.

Shapes: T tokens, H heads, d_k and d_v the widths of a head's keys and values, B the chunk size.

What token n is computed from is the state after token n - 1 and token n itself. So a pass that
kept some states along the text continues, after an edit at token p, from the last state kept before
p; everything before that state stays. Memory grows with T alone: the tensors of each token, and as
many states as fit into a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model import CHUNK_SIZE, RetNet
from retnet_viz.model.language_model import check_text
from retnet_viz.model.retnet import check_call
from retnet_viz.trace.passes.budget import check_memory, live_memory
from retnet_viz.trace.passes.capture import LayerRecord
from retnet_viz.trace.passes.growable_buffer import GrowableBuffer
from retnet_viz.trace.passes.incremental import IncrementalPass, ParallelPass, Progress
from retnet_viz.trace.passes.segments import Change, Segments
from retnet_viz.trace.views.observables import Trace


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
    chunk_size: int = CHUNK_SIZE,
    *,
    keep_logits: int | None = 4096,
    progress: Progress | None = None,
) -> Live:
    """A text under observation that may be edited; `Live.trace` is its trace at any time.

    The logits of the last `keep_logits` tokens are kept, those of all with None. `progress` is
    called during the first run as in `Live.splice`. Raises ValueError where the text is no str, the
    model has no tokenizer or one with more ids than it has embeddings for, the mode is unknown, or
    the chunk size or `keep_logits` is below 1; NotEnoughMemory as `Live.splice`.
    """
    return Live(model, text, mode, chunk_size, keep_logits=keep_logits, progress=progress)


class Live:
    """Made by `live`. Its trace equals `trace(model, text, mode, chunk_size)` after every edit.

    In recurrent mode an edit runs the tokens from the last state kept before the first id that
    changed, in chunkwise mode from the last such state at the beginning of a chunk, so that the
    chunks are those of a fresh pass. Near the end of the text every state is kept, which makes
    appending cost the same at any length. Parallel mode carries no state: each edit runs all.

    An edit that fails, or that `progress` ends, changes nothing. The weights of the model
    must not change meanwhile, and edits must not run at the same time.
    """

    def __init__(
        self,
        model: RetNet,
        text: str = "",
        mode: str = "chunkwise",
        chunk_size: int = CHUNK_SIZE,
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
        self._keep_logits = keep_logits
        self._segments = Segments(model.tokenizer)
        self._ids = GrowableBuffer(axis=-1)
        self._pass: IncrementalPass | ParallelPass
        if mode == "parallel":
            self._pass = ParallelPass(model)
        else:
            self._pass = IncrementalPass(model, mode, chunk_size, keep_logits, self._ids)
        self.edition = 0  # how many edits changed an id
        self._edits = 0  # how many edits there were
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
        return self._segments.text

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
        """Replace the text by `text`, and run only what differs.

        As `splice`, but it compares all characters to find the difference.
        """
        return self.prepare(text, progress)()

    def prepare(self, text: str, progress: Progress | None = None) -> Callable[[], Recomputed]:
        """Find what differs in `text`, and run that; the returned function makes the change.

        So a long edit can be prepared in one thread while another goes on reading the trace. That
        function cannot fail, unless there was an edit meanwhile: then it raises RuntimeError.
        """
        _check_text(text)
        old = self.text
        start = _common_start(old, text)
        end = min(_common_end(old, text), len(old) - start, len(text) - start)
        return self._prepare_splice(start, len(old) - end, text[start : len(text) - end], progress)

    def append(self, text: str, progress: Progress | None = None) -> Recomputed:
        """Add `text` at the end, at a cost that does not depend on the length of what is there."""
        return self.splice(self._segments.length, self._segments.length, text, progress)

    def splice(
        self, start: int, stop: int, text: str, progress: Progress | None = None
    ) -> Recomputed:
        """Put `text` in place of the characters start .. stop - 1 of the text.

        `progress(done, total)` is called with the tokens that were run and are to be run: before
        the first and after every 2,048 or so. What it raises ends the edit and is passed on.
        Raises IndexError where the text has no such characters, ValueError where `text` is no str,
        NotEnoughMemory where the machine has too little for the run.
        """
        _check_text(text)
        if not 0 <= start <= stop <= self._segments.length:
            raise IndexError(
                f"characters {start} .. {stop} are not a stretch of a text of "
                f"{self._segments.length}"
            )
        return self._prepare_splice(start, stop, text, progress)()

    def _prepare_splice(
        self, start: int, stop: int, text: str, progress: Progress | None
    ) -> Callable[[], Recomputed]:
        """Run the tokens that a splice changes; the returned function makes the change."""
        number = self._edits
        if start == stop and not text:
            return lambda: Recomputed(0, self.length, 0)
        change = self._segments.splice(start, stop, text, self.length)
        if change.ids:
            check_text(torch.tensor(change.ids), self.model.config.vocab_size)
        tail = self._tail(change)

        def accept() -> None:
            if self._edits != number:
                raise RuntimeError("this edit was prepared for a text that was edited since")
            self._edits += 1
            self._segments.accept(change)

        def accept_characters() -> Recomputed:
            accept()
            return Recomputed(0, self.length, change.encoded)

        if tail is None:  # other characters, the same ids
            return accept_characters
        first, ids = tail
        length = first + len(ids)
        restart = self._pass.restart(first)
        self._check_memory(restart, length)
        before = self._ids.tensor[restart:first] if restart < first else ids[:0]
        take_over = self._pass.run(torch.cat((before, ids)), restart, progress)
        draft = self._ids.draft(first, length)
        draft.add(ids)

        def accept_all() -> Recomputed:
            accept()
            take_over()
            draft.commit()
            self.edition += 1
            self._trace = None
            return Recomputed(length - restart, length, change.encoded)

        return accept_all

    def _check_memory(self, restart: int, length: int) -> None:
        """Raise NotEnoughMemory where a run from token `restart` on would not fit."""
        before, after = (
            live_memory(self.model, tokens, self.mode, self.chunk_size, self._keep_logits)
            for tokens in (restart, length)
        )
        check_memory(after - before, self.model, length, self.mode, self.chunk_size)

    def _tail(self, change: Change) -> tuple[int, Tensor] | None:
        """The first token whose id the change alters, and all ids from there on; None if none."""
        first, stop = change.tokens
        old = self._ids.tensor[first:] if self.length else torch.zeros(0, dtype=torch.long)
        if change.ids == old[: stop - first].tolist():
            return None
        new = torch.cat((torch.tensor(change.ids, dtype=torch.long), old[stop - first :]))
        common = min(len(old), len(new))
        differ = (old[:common] != new[:common]).nonzero()
        offset = int(differ[0]) if len(differ) else common
        return first + offset, new[offset:]


class _Record:
    """What a trace reads of a live text, until the next edit."""

    def __init__(self, live: Live, source: IncrementalPass | ParallelPass) -> None:
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

    @property
    def keeps_rows(self) -> bool:
        self.check()
        return self._source.keeps_rows


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
