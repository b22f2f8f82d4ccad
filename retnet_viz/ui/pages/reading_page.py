"""A page whose text is read as it is edited, and the slow work on it after a pause."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace
from retnet_viz.trace.edits.edit import Edit
from retnet_viz.trace.passes.budget import NotEnoughMemory
from retnet_viz.trace.passes.external_tensors import ObservedModel
from retnet_viz.trace.passes.live import Recomputed
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import AppPage
from retnet_viz.ui.core.background import LatestJob, MainThread, OutdatedError
from retnet_viz.ui.core.runner import LiveText, Request, Result, Runner, Source
from retnet_viz.ui.core.state.page_state import LONG_CHUNK, ExplorerState
from retnet_viz.ui.core.state.undo import Undo
from retnet_viz.ui.panels.reading_progress import ReadingProgress

MOST_IN_BOX = 12_000  # characters; of a longer text the box has the last IN_BOX
IN_BOX = 2_000


class ReadingPage(AppPage):
    """A page over one text: `trace` is the forward pass that is shown, None for an empty text.

    What cannot be read is said, and the last picture stays. A subclass has the controls.
    """

    state: ExplorerState
    history: Undo[ExplorerState]
    max_tokens: ClassVar[int]
    takes_edits: ClassVar[bool] = False  # whether the text is read with the edits of the state
    job_pause: ClassVar[float] = 0.35  # seconds without an edit before slow work begins

    def __init__(self, model: ObservedModel, state: ExplorerState) -> None:
        self.model = model
        self.trace: Trace | None = None
        self.base: Trace | None = None  # the same without the edits, where there are any
        self.left_out: Mapping[Edit, str] = {}  # the edits that do not fit the text, and why
        self.state = state.checked(model.config)
        self._shown_state = self.state  # whose text and mode `trace` is of
        self._recomputed: Recomputed | None = None
        self._refusal = ""  # why the mode is not the chosen one
        self._failure = ""  # why there is no newer picture, as HTML
        self._cut_notice = ""
        self._point = ""
        self.reading = ReadingProgress()
        self._job = LatestJob(self.job_pause)
        self._main_thread = MainThread()
        self._traces = self._source()
        self._reader = Runner(self._traces, self.reading.show, self._main_thread)
        super().__init__()

    def _source(self) -> Source:
        """Where the traces come from."""
        if not isinstance(self.model, RetNet) or self.model.tokenizer is None:
            raise ValueError("the explorer needs a model with a tokenizer")
        return LiveText(self.model, self.max_tokens)

    # -- what a subclass gives --------------------------------------------------------------

    def _draw(self) -> None:
        """Draw every panel anew."""
        raise NotImplementedError

    def _draw_notice(self) -> None:
        """Draw the line below the text."""
        raise NotImplementedError

    def _write_controls(self) -> None:
        """Make every control show the state, without that being taken for the user's choice."""
        raise NotImplementedError

    def _forget_preset(self) -> None:
        """Have no preset chosen: another text was opened."""
        raise NotImplementedError

    def _text_changed(self) -> None:
        """Forget what was measured on the text before."""

    def _work(self, is_current: Callable[[], bool]) -> None:
        """What takes long: run in a thread after a pause, while `is_current()` is true."""
        raise NotImplementedError

    def _work_failed(self) -> None:
        """Take back what says that work is being done."""

    # -- reading ----------------------------------------------------------------------------

    def _read_text(
        self,
        text: str | None = None,
        on_result: Callable[[Result], None] | None = None,
        mode: str | None = None,
        chunk_size: int | None = None,
    ) -> bool:
        """Read a text in the chosen mode, or in chunkwise mode where that is refused.

        What is None is that of the state. Until the text is read the last picture stays; False
        where it is read in a thread.
        """
        self.stop()
        self._failure = ""
        if mode is None:
            self._refusal = ""
        text = self.state.before + self.state.text if text is None else text
        on_result = on_result or self._show_text
        requested_mode = mode or self.state.mode
        size = chunk_size or self.state.chunk_size

        def on_failure(error: Exception) -> None:
            if requested_mode == "parallel" and isinstance(error, NotEnoughMemory):
                self._refusal = str(error)
                self._read_text(text, on_result, "chunkwise", size)
            else:
                self._show_reading_failure(error)

        edits = self.state.edits if self.takes_edits else ()
        return self._reader.read(Request(text, requested_mode, size, on_result, on_failure, edits))

    def open_text(self, text: str, about: str = "") -> None:
        """Read a text of any length in place of the one that is shown, which stays until then.

        The box takes the end of a long text, where it can be edited, and its chunks are no shorter
        than is fast. `about` is said of the text.
        """
        chunk_size = self.state.chunk_size
        if len(text) > MOST_IN_BOX:
            chunk_size = max(chunk_size, LONG_CHUNK)
        self._read_text(text, partial(self._show_opened_text, text, about), chunk_size=chunk_size)

    def _show_text(self, reading: Result) -> None:
        self.reading.hide()
        self.trace, self._recomputed = reading.trace, reading.recomputed
        self.base, self.left_out = reading.base, reading.left_out
        if self.trace is not None:  # what was read may be other than what was chosen
            mode, chunk_size = self.trace.mode, self.trace.chunk_size
            if (mode, chunk_size) != (self.state.mode, self.state.chunk_size):
                self.state = replace(self.state, mode=mode, chunk_size=chunk_size)
                self.history.amend(undoable(self.state))
                self._write_controls()
        self._shown_state = self.state
        self._cut_notice = (
            f"Only the first {self.max_tokens:,} tokens are shown; the text goes on."
            if reading.dropped
            else ""
        )
        self._text_changed()
        self._draw()
        self._start_work()

    def _show_opened_text(self, text: str, about: str, reading: Result) -> None:
        text_read = text[: len(text) - reading.dropped]
        start = 0 if len(text_read) <= MOST_IN_BOX else len(text_read) - IN_BOX
        self.state = replace(
            self.state,
            before=text_read[:start],
            text=text_read[start:],
            token=None,
            cell=None,
            compare=None,
            written=(),
        )
        self._point = about
        self.history.record(undoable(self.state))
        self._write_controls()
        self._forget_preset()
        self._show_text(reading)

    def _show_reading_failure(self, error: Exception) -> None:
        self.reading.hide()
        self._restore_shown_mode()
        logging.getLogger(__name__).error("the explorer could not read the text", exc_info=error)
        self._fail(messages.failure(error))

    def _fail(self, notice: str) -> None:
        """Say why the picture is still the last one, until a text is read."""
        self._failure = notice
        self._draw_notice()

    def cancel_reading(self) -> None:
        """Stop reading; the text and the mode that are shown stay."""
        self._reader.cancel()
        self.reading.hide()
        self._restore_shown_mode()
        self._draw_notice()

    def _restore_shown_mode(self) -> None:
        """Choose again the mode that is shown, and the text too where another was opened."""
        shown_state = self._shown_state
        names = ["mode", "chunk_size", "edits"]
        if self.state.before != shown_state.before:
            names += ["before", "text", "token", "cell", "compare", "written"]
        self.state = replace(self.state, **{name: getattr(shown_state, name) for name in names})
        self.history.amend(undoable(self.state))
        self._write_controls()

    # -- slow work --------------------------------------------------------------------------

    def _start_work(self) -> None:
        if self.trace is None:
            self.stop()
        else:
            self._job.submit(self._run_work)

    def _run_work(self, is_current: Callable[[], bool] = lambda: True) -> None:
        """Do the slow work; give way, in the middle of a pass too, once it is outdated."""

        def give_way(*_published: Any) -> None:
            if not is_current():
                raise OutdatedError

        try:
            with listening(give_way, keeps=False):
                self._work(is_current)
        except OutdatedError:
            return
        except Exception as error:
            if not is_current():  # the text was edited: its trace answers no more
                return
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("the explorer could not measure %s", self.state)
            self.notice.value = messages.failure(error)
            self._work_failed()

    def _in_all_modes(self, trace: Trace) -> Iterator[tuple[str, Trace]]:
        """(mode, the same text in it): the modes that were not run yet are run now."""
        for mode in MODES:
            yield mode, trace if mode == trace.mode else self._traces.other_mode(trace, mode)

    def settle(self) -> None:
        """Do now what would be done after a pause in the typing. For tests and scripts."""
        self._reader.wait()
        self.stop()
        self._run_work()

    def stop(self) -> None:
        """Forget the work that would run after a pause."""
        self._job.cancel()


def undoable(state: ExplorerState) -> ExplorerState:
    """What of a state is undone: all but the theme."""
    return replace(state, theme="auto")
