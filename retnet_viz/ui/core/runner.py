"""The text of a page is read as it is edited: at once where that is quick, else in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import torch

from retnet_viz.figures.base.captions import number
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace, live
from retnet_viz.trace.edits.apply import apply, depends_on_words, fitting, needs_text
from retnet_viz.trace.edits.edit import Edit
from retnet_viz.trace.passes.budget import NotEnoughMemory, live_memory
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.trace.passes.incremental import Progress
from retnet_viz.trace.passes.live import Live, Recomputed
from retnet_viz.ui.core.background import MainThread, OutdatedError

QUICK = 8_000  # bytes of text, some 2,000 tokens, that are read while the page waits
SHORT = 1_024  # tokens of a text whose passes in all modes are kept
MOST_PLANES = 2 * 10**9  # bytes of what parallel mode holds; some 3,200 tokens of the shipped model
_TOKENIZED_AT_ONCE = 2**16  # characters that are tokenised at once where a text is cut


@dataclass(frozen=True)
class Result:
    """A text that was read; `trace` is None where it has no tokens.

    `dropped` characters at its end are not part of it, because it has more tokens than are shown.
    With edits `base` is the same text without them; `left_out` are those that do not fit the text,
    with the sentence why.
    """

    trace: Trace | None
    recomputed: Recomputed
    dropped: int
    base: Trace | None = None
    left_out: Mapping[Edit, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Request:
    """A text, the mode in which to read it, and two callbacks: one of them is called, once.

    `edits` change what is computed; see rv.edits.
    """

    text: str
    mode: str
    chunk_size: int
    on_result: Callable[[Result], None]
    on_failure: Callable[[Exception], None]
    edits: tuple[Edit, ...] = ()


class Source(Protocol):
    """Where a page's traces come from."""

    def is_quick(self, request: Request) -> bool:
        """Whether few tokens have to be read, so that the page may wait for it."""

    def prepare(
        self, request: Request, progress: Progress, in_background: bool
    ) -> Callable[[], Result]:
        """Read a text, perhaps `in_background`, in a thread; the returned function installs it.

        `progress(done, total)` is called now and then, in tokens; what it raises ends the reading.
        """

    def other_mode(self, trace: Trace, mode: str) -> Trace:
        """The newest trace that was read, in another mode: read once, also where a page goes there.

        May be called in a thread. Raises OutdatedError where another text was read meanwhile.
        """


class Runner:
    """Reads the newest text that was requested, and drops older requests.

    One text at most is being read, and one at most is waiting. While a long text is read,
    `report(done, total)` is called in the reading thread now and then, in tokens. A callback of
    the `Request` is called by `read` where that was quick, else in `main_thread`.
    """

    def __init__(self, source: Source, report: Progress, main_thread: MainThread) -> None:
        self._source = source
        self._report = report
        self._main_thread = main_thread
        self._newest: Request | None = None  # the one whose outcome counts
        self._change = threading.Lock()
        self._waiting: Request | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a text is being read, or waits."""
        return self._newest is not None

    def read(self, request: Request) -> bool:
        """Read the newest text: at once where that is quick, else in a thread, and False."""
        self._newest = request
        if self._source.is_quick(request):
            self._finish(request, self._run(request))
            return True
        with self._change:
            self._waiting = request
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        return False

    def cancel(self) -> None:
        """Read nothing more; what is being read ends within a second, and changes nothing."""
        self._newest = self._waiting = None

    def wait(self) -> None:
        """Return when nothing is being read any more, and the last result was reported."""
        while (thread := self._thread) is not None:
            thread.join()
            self._main_thread.settle()

    def _work(self) -> None:
        """Read what waits until nothing does. Runs in a thread."""
        while True:
            with self._change:
                request, self._waiting = self._waiting, None
                if request is None:
                    self._thread = None
                    return
            self._main_thread.call(partial(self._finish, request, self._run(request, self._report)))

    def _finish(self, request: Request, report: Callable[[], None]) -> None:
        if self._newest is request:
            self._newest = None
            report()

    def _run(self, request: Request, report: Progress | None = None) -> Callable[[], None]:
        """Read a text unless a newer one comes; the returned function hands over the result."""

        def progress(done: int, total: int) -> None:
            if self._newest is not request:
                raise OutdatedError
            if report is not None:
                report(done, total)

        try:
            install = self._source.prepare(request, progress, in_background=report is not None)
        except Exception as error:
            return partial(request.on_failure, error)
        return lambda: request.on_result(install())


class LiveText:
    """A `Source`: the model reads a text, from the last state before what was edited.

    Of a short text the passes in all modes are kept until it is edited. With edits it is read by
    the model with them and by the model itself.
    """

    def __init__(self, model: RetNet, max_tokens: int, quick: int | None = None) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._quick = QUICK if quick is None else quick
        self._live: Live | None = None  # the newest
        self._lives: dict[str, Live] = {}  # by mode
        self._edited = EditedModel(model)
        self._base: LiveText | None = None  # reads without edits what this one reads with them

    def is_quick(self, request: Request) -> bool:
        """Whether few tokens have to be read: the text is short, or only its end is another."""
        old, new = self._live, request.text
        if len(new) <= self._quick and len(new.encode(errors="replace")) <= self._quick:
            return True
        if old is None or request.mode == "parallel" or not _can_continue(old, request):
            return False
        if request.edits != self._edited.requested:
            return False
        same = max(0, len(old.text) - self._quick)
        return len(new) - same <= 2 * self._quick and old.text[:same] == new[:same]

    def prepare(
        self, request: Request, progress: Progress, in_background: bool
    ) -> Callable[[], Result]:
        """Read a text, up to the limit, in the pass that it can go on from; see Source."""
        text = request.text
        if in_background or len(text) <= _TOKENIZED_AT_ONCE:  # not to count a long one at every key
            text = self._truncate(text, progress)
        if in_background and request.mode == "parallel":
            check_planes(self._model, len(self._model.tokenizer.encode(text)))
        model, left_out = self._edited.of(request.edits, text)
        source = self._lives.get(request.mode)
        if source is None or source.model is not model or not _can_continue(source, request):
            source = live(model, "", request.mode, request.chunk_size)
        commit = source.prepare(text, progress)
        read_base = self._prepare_base(request, progress, in_background)

        def install() -> Result:
            recomputed = commit()
            self._live = self._lives[request.mode] = source
            self._forget_others(source)
            base = None if read_base is None else read_base().trace
            dropped = len(request.text) - len(text)
            return Result(source.trace, recomputed, dropped, base, left_out)

        return install

    def _prepare_base(
        self, request: Request, progress: Progress, in_background: bool
    ) -> Callable[[], Result] | None:
        """Read the text without the edits, where there are any."""
        if not request.edits:
            return None
        if self._base is None:
            self._base = LiveText(self._model, self._max_tokens, self._quick)
        return self._base.prepare(replace(request, edits=()), progress, in_background)

    def other_mode(self, trace: Trace, mode: str) -> Trace:
        """The same text in another mode; a pass of its own, so that no other is edited here."""
        newest, source = self._live, self._lives.get(mode)
        if newest is None:
            raise OutdatedError
        if (
            source is None
            or source.model is not newest.model
            or source.chunk_size != trace.chunk_size
            or not _has_tokens_of(source, trace)
        ):
            source = live(newest.model, newest.text, mode, trace.chunk_size)
            if not _has_tokens_of(source, trace):
                raise OutdatedError
            self._lives[mode] = source
        assert source.trace is not None
        return source.trace

    def _forget_others(self, newest: Live) -> None:
        """Keep the passes over the newest text; of a long one no other than the newest."""
        trace = newest.trace if newest.length <= SHORT else None
        self._lives = {
            mode: source
            for mode, source in list(self._lives.items())  # threads add to it
            if source is newest
            or (
                trace is not None and source.model is newest.model and _has_tokens_of(source, trace)
            )
        }

    def _truncate(self, text: str, progress: Progress) -> str:
        """The start of a text that has at most `max_tokens` tokens; a token has a byte at least."""
        if len(text.encode(errors="replace")) <= self._max_tokens:
            return text
        tokenizer = self._model.tokenizer
        remaining, start = self._max_tokens, 0
        while start < len(text):
            progress(0, 1)
            stop = tokenizer.next_boundary(text, min(start + _TOKENIZED_AT_ONCE, len(text)))
            ids = tokenizer.encode(text[start:stop])
            if len(ids) > remaining:
                # The last token may end inside a character, which then is dropped.
                return text[:start] + str(tokenizer.decode(ids[:remaining])).rstrip("\ufffd")
            remaining -= len(ids)
            start = stop
        return text


class EditedModel:
    """A model with the edits that fit a text: made again where they or what they need changes."""

    def __init__(self, model: RetNet) -> None:
        self._model = model
        self._key: tuple[object, ...] = ()
        self._made: RetNet = model
        self.requested: tuple[Edit, ...] = ()  # the newest edits that were asked for

    def of(self, edits: tuple[Edit, ...], text: str) -> tuple[RetNet, Mapping[Edit, str]]:
        """The model to read `text` with, and why the edits do not fit that it leaves out."""
        self.requested = edits
        if not edits:
            return self._model, {}
        left_out: dict[Edit, str] = {}
        ids: list[int] = []
        if any(map(needs_text, edits)):
            is_short = len(text) <= _TOKENIZED_AT_ONCE
            ids = self._model.tokenizer.encode(text) if is_short else []
            if not is_short or len(ids) > SHORT:
                left_out = {
                    edit: f"a change at a token is made in texts of up to {SHORT:,} tokens"
                    for edit in edits
                    if needs_text(edit)
                }
                edits = tuple(edit for edit in edits if edit not in left_out)
        fit, reasons = fitting(self._model, edits, len(ids))
        key = fit, tuple(ids) if any(map(depends_on_words, fit)) else None
        if key != self._key:
            tensor = torch.tensor(ids) if ids else None
            self._made = apply(self._model, fit, tensor) if fit else self._model
            self._key = key
        return self._made, left_out | reasons


def check_planes(model: ObservedModel, length: int) -> None:
    """Raise NotEnoughMemory where all planes of a text are more than a page should hold."""
    needed = live_memory(model, length, "parallel")
    if needed > MOST_PLANES:
        config = model.config
        raise NotEnoughMemory(
            f"Parallel mode would hold {2 * config.n_layers * config.n_heads} planes of "
            f"{length:,} × {length:,} numbers, {number(needed / 1e9)} GB; here at most "
            f"{MOST_PLANES / 1e9:.0f}. Chunkwise mode gives the same in O(T) memory."
        )


def _has_tokens_of(source: Live, trace: Trace) -> bool:
    """Whether a text is that of a trace."""
    return source.trace is not None and torch.equal(source.trace.ids, trace.ids)


def _can_continue(source: Live, request: Request) -> bool:
    return (source.mode, source.chunk_size) == (request.mode, request.chunk_size)
