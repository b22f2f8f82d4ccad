"""The explorer over one trace: its text stays as it is, all else can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from retnet_viz.model import RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace
from retnet_viz.trace.edits.edited_model import EditedRetNet
from retnet_viz.trace.passes.external_tensors import ExternalTensors
from retnet_viz.trace.passes.incremental import Progress
from retnet_viz.trace.passes.live import Recomputed
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.runner import Request, Result, Source, check_planes
from retnet_viz.ui.core.state.history import PAUSE
from retnet_viz.ui.core.state.page_state import MAX_CHUNK, ExplorerState
from retnet_viz.ui.pages.explorer.explorer import Explorer
from retnet_viz.ui.pages.presets import PRESETS
from retnet_viz.ui.pages.reading_page import MOST_IN_BOX

QUICK = 8_192  # tokens times layers that are run while the page waits
_REPORT_EVERY = 256  # tensors that are published from one look whether to go on to the next


def explore_trace(trace: Trace, **fields: Any) -> Explorer:
    """The explorer of a trace, in its mode and chunk size; `fields` as for `explore`.

    Where a text has the trace's tokens, and its model reads texts, that text can be edited.
    """
    settings = {"mode": trace.mode, "chunk_size": min(trace.chunk_size, MAX_CHUNK), **fields}
    model, text = trace.model, _text_of(trace)
    if isinstance(model, EditedRetNet) and trace.started_from is None:
        settings = {"edits": trace.edits, **settings}
        model = model.original
    if not isinstance(model, RetNet) or text is None or trace.started_from is not None:
        return TraceExplorer(trace, ExplorerState(**settings))
    if len(text) <= MOST_IN_BOX:
        return Explorer(model, ExplorerState(text, **settings))
    explorer = Explorer(model, ExplorerState(**settings))
    explorer.open_text(text)
    return explorer


def _text_of(trace: Trace) -> str | None:
    """A text that the trace's model reads as the same tokens; None where there is none."""
    if not isinstance(trace.model, RetNet) or trace.model.tokenizer is None:
        return None
    ids = trace.ids.tolist()
    try:
        text = str(trace.model.tokenizer.decode(ids))
        return text if trace.model.tokenizer.encode(text) == ids else None
    except ValueError:  # ids that the tokenizer does not use
        return None


class TraceSource:
    """A `Source`: one trace, and what it reads in other modes and chunks.

    Of a trace of few tokens and layers the newest pass in each mode is kept.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._traces: dict[str, Trace] = {}  # by mode

    def is_quick(self, request: Request) -> bool:
        """Whether the trace is there already, or has few tokens and layers."""
        return self._is_small or self._cached(request.mode, request.chunk_size) is not None

    @property
    def _is_small(self) -> bool:
        return self._trace.length * self._trace.n_layers <= QUICK

    def _cached(self, mode: str, chunk_size: int) -> Trace | None:
        """The pass in a mode, if it was run."""
        passes = (self._trace, self._traces.get(mode))
        settings = (mode, chunk_size)
        return next(
            (trace for trace in passes if trace and (trace.mode, trace.chunk_size) == settings),
            None,
        )

    def prepare(
        self, request: Request, progress: Progress, in_background: bool
    ) -> Callable[[], Result]:
        """Run the trace's tokens in a mode, whatever the text is."""
        trace = self._cached(request.mode, request.chunk_size)
        length = self._trace.length
        if trace is None:
            if request.mode == "parallel":
                check_planes(self._trace.model, length)
            with listening(_listener(progress, self._trace), keeps=False):
                trace = self._run(request.mode, request.chunk_size)
        return lambda: Result(trace, Recomputed(length, length, 0), dropped=0)

    def other_mode(self, trace: Trace, mode: str) -> Trace:
        """The trace's tokens in another mode, in the same chunks."""
        return self._cached(mode, trace.chunk_size) or self._run(mode, trace.chunk_size)

    def _run(self, mode: str, chunk_size: int) -> Trace:
        own = self._trace
        trace = Trace(own.model, own.ids, mode, chunk_size, start=own.started_from)
        if self._is_small:
            self._traces[mode] = trace
        return trace


def _listener(progress: Progress, trace: Trace) -> Callable[[str, Tensor], None]:
    """A listener that tells how far a run is, as if the layers shared the tokens."""
    published = layers = 0

    def tell(name: str, _: Tensor) -> None:
        nonlocal published, layers
        layers += name == "layer.output"
        if published % _REPORT_EVERY == 0:
            progress(layers * trace.length // trace.n_layers, trace.length)
        published += 1

    return tell


class TraceExplorer(Explorer):
    """All panels of one trace; the text can be read, not edited.

    Raises ValueError on a trace of more tokens than are shown, and where a field of the state is
    out of range.
    """

    takes_edits = False
    presets = PRESETS
    can_go_on = False

    def __init__(self, trace: Trace, state: ExplorerState) -> None:
        if trace.length > self.max_tokens:
            raise ValueError(
                f"the explorer shows up to {self.max_tokens:,} tokens; this trace has "
                f"{trace.length:,}"
            )
        self._fixed_trace = trace
        super().__init__(trace.model, _without_text(state))
        self.text.disabled = True

    @property
    def _note(self) -> str:
        if isinstance(self.model, ExternalTensors):
            return "The tensors are fixed: there is no model to read another text."
        return "The token ids are fixed: there is no tokenizer to read another text."

    def _source(self) -> Source:
        return TraceSource(self._fixed_trace)

    def _model_head(self, *controls: Any) -> Any:
        about = messages.trace_source(self._fixed_trace)
        return self._head(about, self._fixed_trace.n_heads, self.history, *controls)

    def _text_area(self, *_controls: Any) -> Any:
        return super()._text_area()

    def _box_text(self) -> str:
        end = self._fixed_trace.pieces(
            max(0, self._fixed_trace.length - MOST_IN_BOX), self._fixed_trace.length
        )
        # Pieces of a text hold its spaces; words and numbers do not.
        has_spaces = any(" " in piece or "\n" in piece for piece in end)
        return ("" if has_spaces else " ").join(end)[-MOST_IN_BOX:]

    def _draw_notice(self) -> None:
        self._point = self._note
        super()._draw_notice()

    def apply_state(self, state: ExplorerState, gesture: str = "", pause: float = PAUSE) -> None:
        """Show `state` but for its text; ValueError where a field is out of range."""
        super().apply_state(_without_text(state), gesture, pause)

    def open_text(self, text: str, about: str = "") -> None:
        """Say that no other text can be read."""
        self._fail(messages.refusal(self._note))

    def _update_state(self, gesture: str = "", pause: float = PAUSE, **fields: Any) -> None:
        fields.pop("text", None)
        super()._update_state(gesture, pause, **fields)


def _without_text(state: ExplorerState) -> ExplorerState:
    return replace(state, text="", before="")
