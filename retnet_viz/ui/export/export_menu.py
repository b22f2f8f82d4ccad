"""A menu that saves what is shown: files are made here, and downloaded by the browser."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets as t

from retnet_viz.figures.base.figure_parts import Spec
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.background import OutdatedError
from retnet_viz.ui.core.questions import Answer, Reply, Unanswerable, answer_questions
from retnet_viz.ui.export import PICTURES
from retnet_viz.ui.export.exports import KINDS, File
from retnet_viz.ui.export.snapshot.snapshot import Tell

_NAMES = {
    "page": "this page, to read without a kernel",
    "trace": "the trace: all tensors",
    "state": "the state, to open again",
}


class ExportMenu(anywidget.AnyWidget):
    """A button with a menu of what can be saved, and as what.

    things  [name, label, kinds of file] of each thing
    ready   whether there is something to save

    `make(what, kind, tell)` gives a file in a thread of its own; `draw(what)` gives the figures of
    a panel or of the page, from which the browser makes a picture. Either may raise ValueError with
    a sentence for the user.
    """

    _esm = module("export/export_menu.js")
    _css = style("export/export_menu.css")
    things = t.List().tag(sync=True)
    ready = t.Bool(False).tag(sync=True)

    def __init__(
        self,
        make: Callable[[str, str, Tell], File],
        draw: Callable[[str], list[Spec]],
        **traits: Any,
    ) -> None:
        things = [
            [what, _NAMES.get(what, f"panel: {what.replace('_', ' ')}"), list(kinds)]
            for what, kinds in KINDS.items()
        ]
        super().__init__(things=things, **traits)
        self._make = make
        self._draw = draw
        self._number = 0  # of the newest request
        self._thread: threading.Thread | None = None
        answer_questions(self, {"cancel": self._cancel}, {"file": self._begin})

    def _cancel(self, _about: Any) -> Answer:
        self._number += 1
        return {}

    def _begin(self, about: Any, reply: Reply) -> None:
        request = about if isinstance(about, dict) else {}
        what, kind = request.get("what"), request.get("as")
        if kind not in KINDS.get(str(what), ()):
            raise Unanswerable("There is no such file.")
        self._number += 1
        self._thread = threading.Thread(
            target=self._save, args=(str(what), str(kind), self._number, reply), daemon=True
        )
        self._thread.start()

    def _save(self, what: str, kind: str, number: int, reply: Reply) -> None:
        """Make a file and send it. Runs in a thread."""

        def tell(done: int, total: int) -> None:
            if self._number != number:
                raise OutdatedError
            reply.progress(done=done, total=total)

        try:
            if kind in PICTURES:
                # plotly's own JSON, which knows arrays and numbers that are none
                reply.answer({"draw": [go.Figure(spec).to_json() for spec in self._draw(what)]})
                return
            file = self._make(what, kind, tell)
            if self._number != number:
                raise OutdatedError
            reply.answer({"file": file.name}, [file.content])
        except OutdatedError:
            reply.refuse("Cancelled.")
        except ValueError as error:
            reply.refuse(str(error))
        except Exception as error:
            logging.getLogger(__name__).exception("%s could not be saved as %s", what, kind)
            reply.refuse(f"It could not be saved. ({type(error).__name__}: {error})")

    def wait(self) -> None:
        """Return when nothing is being made any more. For tests and scripts."""
        if self._thread is not None:
            self._thread.join()
