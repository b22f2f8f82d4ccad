"""The model reads the text of a page as it is edited: at once where that is quick, else behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from retnet_viz.figures.words import number
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace, live
from retnet_viz.trace.budget import NotEnoughMemory, foreseen
from retnet_viz.trace.live import Live, Recomputed
from retnet_viz.widgets.background import Home, OutdatedError

QUICK = 8_000  # bytes of text, some 2,000 tokens, that are read while the page waits
MOST_PLANES = 2 * 10**9  # bytes of what parallel mode holds; some 3,200 tokens of the shipped model
_STRETCH = 2**16  # characters that are tokenised at once where a text is cut


@dataclass(frozen=True)
class Reading:
    """A text that was read; `trace` is None where it has no tokens.

    `dropped` characters at its end are not part of it, because it has more tokens than are shown.
    """

    trace: Trace | None
    recomputed: Recomputed
    dropped: int


@dataclass(frozen=True, eq=False)
class Wanted:
    """A text, the mode in which to read it, and whom to tell: one of the last two, once."""

    text: str
    mode: str
    chunk_size: int
    done: Callable[[Reading], None]
    failed: Callable[[Exception], None]


class Reader:
    """Reads the newest text that is wanted, and drops whatever was wanted before.

    One text at most is being read, and one at most is waiting. `tell(done, total)` is called in the
    reading thread now and then while a long text is read, in tokens. What `Wanted` names is called
    by `read` where that was quick, else at `home`.
    """

    def __init__(
        self,
        model: RetNet,
        max_tokens: int,
        tell: Callable[[int, int], None],
        home: Home,
        quick: int | None = None,
    ) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._tell = tell
        self._home = home
        self._quick = QUICK if quick is None else quick
        self._live: Live | None = None
        self._newest: Wanted | None = None  # the one whose outcome counts
        self._change = threading.Lock()
        self._waiting: Wanted | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a text is being read, or waits."""
        return self._newest is not None

    def read(self, wanted: Wanted) -> bool:
        """Read a text in place of whatever was to be read; False where that goes on behind."""
        self._newest = wanted
        if self._is_quick(wanted):
            self._finish(wanted, self._outcome(wanted))
            return True
        with self._change:
            self._waiting = wanted
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        return False

    def cancel(self) -> None:
        """Read nothing more; what is being read ends within a second, and changes nothing."""
        self._newest = self._waiting = None

    def wait(self) -> None:
        """Return when nothing is being read any more, and its outcome has been told."""
        while (thread := self._thread) is not None:
            thread.join()
            self._home.settle()

    # -- reading ----------------------------------------------------------------------------

    def _is_quick(self, wanted: Wanted) -> bool:
        """Whether few tokens have to be read: the text is short, or only its end is another."""
        old, new = self._live, wanted.text
        if len(new) <= self._quick and len(new.encode(errors="replace")) <= self._quick:
            return True
        if old is None or wanted.mode == "parallel" or not _goes_on(old, wanted):
            return False
        same = max(0, len(old.text) - self._quick)
        return len(new) - same <= 2 * self._quick and old.text[:same] == new[:same]

    def _work(self) -> None:
        """Read what waits until nothing does. Runs in a thread."""
        while True:
            with self._change:
                wanted, self._waiting = self._waiting, None
                if wanted is None:
                    self._thread = None
                    return
            self._home.call(partial(self._finish, wanted, self._outcome(wanted, self._tell)))

    def _finish(self, wanted: Wanted, outcome: Callable[[], None]) -> None:
        if self._newest is wanted:
            self._newest = None
            outcome()

    def _outcome(
        self, wanted: Wanted, tell: Callable[[int, int], None] | None = None
    ) -> Callable[[], None]:
        """Read a text; what is returned makes it the live one, or tells why it could not be."""

        def progress(done: int, total: int) -> None:
            if self._newest is not wanted:
                raise OutdatedError
            if tell is not None:
                tell(done, total)

        try:
            text = wanted.text
            if tell is not None or len(text) <= _STRETCH:  # not to count a long one at every key
                text = self._fitting(text, progress)
            if tell is not None and wanted.mode == "parallel":
                self._check_planes(text)
            source = self._live
            if source is None or not _goes_on(source, wanted):
                source = live(self._model, "", wanted.mode, wanted.chunk_size)
            commit = source.prepare(text, progress)
        except Exception as error:
            return partial(wanted.failed, error)

        def take_over() -> None:
            recomputed = commit()
            self._live = source
            wanted.done(Reading(source.trace, recomputed, len(wanted.text) - len(text)))

        return take_over

    def _check_planes(self, text: str) -> None:
        """Raise NotEnoughMemory where all planes of a text are more than a page should hold."""
        length = len(self._model.tokenizer.encode(text))
        needed = foreseen(self._model, length, "parallel")
        if needed > MOST_PLANES:
            config = self._model.config
            raise NotEnoughMemory(
                f"Parallel mode would hold {2 * config.n_layers * config.n_heads} planes of "
                f"{length:,} × {length:,} numbers, {number(needed / 1e9)} GB; here at most "
                f"{MOST_PLANES / 1e9:.0f}. Chunkwise mode gives the same in O(T) memory."
            )

    def _fitting(self, text: str, progress: Callable[[int, int], None]) -> str:
        """The start of a text that has at most `max_tokens` tokens; a token has a byte at least."""
        if len(text.encode(errors="replace")) <= self._max_tokens:
            return text
        tokenizer = self._model.tokenizer
        left, start = self._max_tokens, 0
        while start < len(text):
            progress(0, 1)
            stop = tokenizer.next_boundary(text, min(start + _STRETCH, len(text)))
            ids = tokenizer.encode(text[start:stop])
            if len(ids) > left:
                # The last token may end inside a character, which then is dropped.
                return text[:start] + str(tokenizer.decode(ids[:left])).rstrip("\ufffd")
            left -= len(ids)
            start = stop
        return text


def _goes_on(source: Live, wanted: Wanted) -> bool:
    return (source.mode, source.chunk_size) == (wanted.mode, wanted.chunk_size)
