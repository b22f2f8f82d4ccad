"""`explore`: the explorer of a model and a text or a file, or of a trace."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from retnet_viz.model import RetNet
from retnet_viz.trace import Trace
from retnet_viz.trace.files.text_file import read_text
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.explorer.explorer import Explorer
from retnet_viz.ui.pages.explorer.trace_explorer import explore_trace
from retnet_viz.ui.pages.model_and_text import Text, model_and_text
from retnet_viz.ui.pages.presets import START


def explore(
    model: RetNet | Trace | Text | None = None,
    text: Text | None = None,
    *,
    hide: str | Iterable[str] = (),
    present: bool = False,
    height: int | None = None,
    **fields: Any,
) -> Explorer:
    """The explorer as a widget, over `model` (the shipped one by default) and `text`.

    A text alone may stand in the place of the model: `rv.explore("Once upon a time")`. It is a
    text, or a file: a path, or a str that names a file that there is. `hide` names panels to leave
    out, some of Explorer.panels; `present` is for a projector; a page of a `height`, in pixels,
    scrolls in its own box. `fields` are those of ExplorerState: mode, chunk_size, layer, heads,
    head, token, scale, theme.

    In place of the model a trace can stand, in its mode and chunk size. Its text can be edited if
    its model is there and reads texts; a trace of tensors, or a loaded one, stays as it is.

    Raises ValueError where one of these is out of range, the model has no tokenizer or a text is
    given besides a trace, TextFileError (which is one too) where a file has no text to read.
    """
    if isinstance(model, Trace):
        if text is not None:
            raise ValueError("a trace has its own text; give none besides it")
        explorer = explore_trace(model, **fields)
        explorer.arrange(hide, present, height)
        return explorer
    model, text = model_and_text(model, text)
    if text is None or not _is_file(text):
        state = START if text is None else ExplorerState(str(text))
        explorer = Explorer(model, replace(state, **fields))
    else:
        file = read_text(os.fspath(text))
        explorer = Explorer(model, replace(ExplorerState(), **fields))
        explorer.open_file(file)
    explorer.arrange(hide, present, height)
    return explorer


def _is_file(text: Text) -> bool:
    """Whether `text` is a path rather than a text to read: a str only if there is such a file."""
    if not isinstance(text, str):
        return True
    return 0 < len(text) < 4096 and text.isprintable() and os.path.isfile(text)
