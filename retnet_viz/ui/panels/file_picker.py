"""A button that takes a text file from the user's machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.ui.core.assets import module


class FilePicker(anywidget.AnyWidget):
    """Calls `on_file(name, size, content)` with a file that was chosen, or dropped on the page.

    label       what the button says
    max_bytes   of a larger file nothing is read: `content` is empty
    read_bytes  how much of the beginning of any other file is read

    `on_failure(name, reason)` is called where the page could not read the file.
    """

    _esm = module("panels/file_picker.js")
    label = t.Unicode("Open a text file").tag(sync=True)
    max_bytes = t.Int().tag(sync=True)
    read_bytes = t.Int().tag(sync=True)

    def __init__(
        self,
        on_file: Callable[[str, int, bytes], None],
        on_failure: Callable[[str, str], None],
        **traits: Any,
    ) -> None:
        super().__init__(**traits)
        self._on_file = on_file
        self._on_failure = on_failure
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: Any, buffers: Any) -> None:
        file = content.get("file") if isinstance(content, dict) else None
        if not isinstance(file, dict):
            return
        name, size, error = (file.get(key) for key in ("name", "size", "error"))
        if not isinstance(name, str) or not isinstance(size, int):
            return
        if error:
            self._on_failure(name, str(error))
        else:
            self._on_file(name, size, bytes(buffers[0]) if buffers else b"")
