"""One canvas for the T x T planes of a long text: small multiples that pan and zoom together."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.scale import SCALES
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.reading.planes import SIGNED, TITLES
from retnet_viz.trace.tiles.band import Progress
from retnet_viz.trace.tiles.pictures import Plane, View
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.questions import Answer, Unanswerable, answer_questions
from retnet_viz.ui.panels.heatmap import Cell, Table
from retnet_viz.ui.panels.tiled.drawing import Drawing, clip_range, color_scale_of, picture_side
from retnet_viz.ui.panels.tiled.fair_lock import FairLock
from retnet_viz.ui.panels.tiled.tiled_captions import (
    NOUNS,
    Pieces,
    at_least,
    entry,
    heads_are,
    note,
    pixel_labels,
    span_of,
)

OVERVIEW_SIDE = 128  # height and width of the picture of the whole triangle
MOST_TABLE = 64  # rows and columns of a table at most
REPORT_PAUSE = 0.2  # seconds between two reports of progress


class _CancelledError(Exception):
    """Nobody wants what is being prepared any more."""


class TiledHeatmap(anywidget.AnyWidget):
    """Draws the window of a plane that the page is turned to, for all shown heads at once.

    The page keeps the window, asks for one picture at a time, and draws the last one in its place
    until the next is there. So nothing of size T x T is built, here or there.

    colors   256 x 3 bytes, RGB
    meta     what is drawn around the cells: title, origin, computed, block as in Heatmap, length,
             heads, signed, ticks; its "version" grows with every `show`
    ready    the heads that can be drawn
    status   what is being prepared: "state" (idle, preparing, stopped or failed), "text", "done"
    selected the reading token n whose row is marked, -1 for none
    cell     the pinned cell [head, n, m], or []
    readout  what the line below says of the pinned cell
    """

    _esm = module("panels/tiled/tiled_heatmap.js")
    _css = style("styles/panels.css", "panels/tiled/tiled_heatmap.css")
    colors = t.Bytes(b"").tag(sync=True)
    meta = t.Dict({"version": 0, "length": 0, "heads": []}).tag(sync=True)
    ready = t.List(t.Int()).tag(sync=True)
    status = t.Dict({"state": "idle"}).tag(sync=True)
    selected = t.Int(-1).tag(sync=True)
    cell = t.List(t.Int()).tag(sync=True)
    readout = t.Unicode("").tag(sync=True)

    def __init__(self, describe: Callable[[Cell], str], **traits: Any) -> None:
        """`describe` gives the readout of a cell (head, n, m), from the data and not the colour."""
        super().__init__(**traits)
        self._describe = describe
        self._drawing: Drawing | None = None
        self._views: dict[int, View] = {}  # the last picture of each head, which is pointed at
        self._plane_lock = FairLock()  # who uses the plane
        # Who sets traits. Two threads in hold_sync at once: what one has set would not be sent.
        self._traits_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self.observe(self._read_cell, "cell")
        self.on_msg(self._on_action)
        answer_questions(
            self,
            {
                "pictures": self._answer_pictures,
                "cell": self._answer_cell,
                "tables": lambda _: {"tables": self._make_tables()},
            },
        )

    def show(
        self,
        plane: Plane | None,
        heads: Sequence[int] = (),
        *,
        scale: str = "linear",
        title: str | None = None,
        origin: str = "",
        computed: str = "all",
        block: int = 0,
        pieces: Pieces | None = None,
    ) -> None:
        """Draw the planes of `heads` in place of what is shown; no plane is an empty text.

        Returns at once: each head is prepared in a thread and drawn when it is ready, and a newer
        call ends what an older one began. The plane belongs to this widget from now on. The colour
        scale is that of `scale` (see figures.scale) up to the largest magnitude of all `heads`.
        `pieces(start, stop)` gives the text of these tokens; `computed` and `block` as in Heatmap.
        Raises ValueError where the scale is unknown, IndexError where the plane has no such head.
        """
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, not {scale!r}")
        for head in heads:
            if plane is not None and not 0 <= head < plane.n_heads:
                raise IndexError(f"head {head} is outside 0 .. {plane.n_heads - 1}")
        kind = plane.kind if plane else "retention"
        meta = {
            "version": self.meta["version"] + 1,
            "title": TITLES[kind] if title is None else title,
            "origin": origin,
            "computed": computed,
            "block": block,
            "length": plane.length if plane else 0,
            "signed": SIGNED[kind],
            "noun": NOUNS[kind],
            "heads": [
                {"index": head, "label": f"head {head}", "color": head_color(head)}
                for head in heads
            ],
        }
        drawing = Drawing(plane, list(heads), scale, pieces, meta) if plane and heads else None
        with self._traits_lock, self.hold_sync():
            self._drawing = drawing
            self._views = {}
            self.ready = []
            self.status = {"state": "idle"}
            self.colors = color_table(DIVERGING if SIGNED[kind] else SEQUENTIAL).tobytes()
            self.meta = meta
            self._keep_cell()
        if drawing is not None:
            self._start(drawing)

    def mark(self, selected: int, cell: Cell | None, readout: str) -> None:
        """Mark the row of a token (-1 for none) and the pinned cell, and say what `cell` holds."""
        with self._traits_lock, self.hold_sync():
            self.selected, self.cell, self.readout = selected, list(cell or ()), readout

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """What the page has set."""
        with self._traits_lock:
            super().set_state(sync_data)

    def settle(self) -> None:
        """Wait until everything that is shown is prepared, or can not be."""
        if self._thread is not None:
            self._thread.join()

    def cancel(self) -> None:
        """End the preparation; heads that are ready stay. `resume` goes on with the others."""
        with self._traits_lock:
            drawing = self._drawing
            if drawing is None or self.status["state"] != "preparing":
                return
            self._drawing = replace(drawing)  # what is being prepared is not what is shown any more
            missing = [head for head in drawing.heads if head not in drawing.ready]
            self.status = {
                "state": "stopped",
                "text": f"Stopped: {heads_are(missing)} not drawn.",
            }

    def resume(self) -> None:
        """Prepare the heads that are not ready."""
        if self._drawing is not None and self.status["state"] == "stopped":
            self._start(self._drawing)

    def close(self) -> None:
        """End what is being prepared and close the widget."""
        self._drawing = None
        super().close()

    def _keep_cell(self) -> None:
        """Keep a pinned cell where it is still drawn, and read it anew."""
        heads, length = [head["index"] for head in self.meta["heads"]], self.meta["length"]
        if self.cell and (self.cell[0] not in heads or max(self.cell[1:]) >= length):
            self.cell = []
        self._read_cell()

    def _read_cell(self, _change: Any = None) -> None:
        self.readout = (
            self._describe((self.cell[0], self.cell[1], self.cell[2])) if self.cell else ""
        )

    # -- preparing, in a thread -------------------------------------------------------------

    def _start(self, drawing: Drawing) -> None:
        self.status = {"state": "preparing", "text": "", "done": 0.0}
        self._thread = threading.Thread(target=self._prepare, args=(drawing,), daemon=True)
        self._thread.start()

    def _set_traits(self, drawing: Drawing, **traits: Any) -> None:
        """Set traits, unless something else is shown by now."""
        with self._traits_lock:
            if drawing is not self._drawing:
                raise _CancelledError
            with self.hold_sync():
                for name, value in traits.items():
                    setattr(self, name, value)

    def _prepare(self, drawing: Drawing) -> None:
        try:
            with self._plane_lock:
                if drawing.colors is None:
                    self._find_color_scale(drawing)
                for i, head in enumerate(drawing.heads):
                    if head not in drawing.ready:
                        self._prepare_head(drawing, i, head)
            self._set_traits(drawing, status={"state": "idle"})
        except _CancelledError:
            return
        except Exception as error:
            logging.getLogger(__name__).exception("A plane could not be prepared")
            text = f"This could not be drawn ({type(error).__name__}: {error})."
            with self._traits_lock:
                if drawing is self._drawing:
                    self.status = {"state": "failed", "text": text}

    def _find_color_scale(self, drawing: Drawing) -> None:
        """One scale for the whole plane of all heads, so that no move of the window changes it."""
        plane, noun = drawing.plane, NOUNS[drawing.plane.kind]
        limits = [
            plane.limit(
                head, self._progress(drawing, i, f"Finding the largest {noun} of head {head}")
            )
            for i, head in enumerate(drawing.heads)
        ]
        drawing.colors = color_scale_of(plane, drawing.heads, drawing.scale, max(limits))
        drawing.meta = {**drawing.meta, "ticks": drawing.colors.ticks()}
        self._set_traits(drawing, meta=drawing.meta)

    def _prepare_head(self, drawing: Drawing, i: int, head: int) -> None:
        assert drawing.colors is not None
        progress = self._progress(drawing, len(drawing.heads) + i, f"Preparing head {head}")
        drawing.plane.prepare(head, drawing.colors.limit, drawing.resolution, progress)
        ready = [*drawing.ready, head]
        self._set_traits(drawing, ready=ready)
        drawing.ready = ready
        self._plane_lock.give_way()

    def _progress(self, drawing: Drawing, part: int, text: str) -> Progress:
        """Reports the progress of a part of the work; lets pictures be drawn in between."""
        last_report = -math.inf

        def progress(done: int, total: int) -> None:
            nonlocal last_report
            if drawing is not self._drawing:
                raise _CancelledError
            self._plane_lock.give_way()
            if time.monotonic() - last_report >= REPORT_PAUSE:
                last_report = time.monotonic()
                share = (part + done / total) / (2 * len(drawing.heads))
                self._set_traits(
                    drawing, status={"state": "preparing", "text": text, "done": round(share, 3)}
                )

        return progress

    # -- what the page asks -----------------------------------------------------------------

    def _on_action(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Do what the page says."""
        if not isinstance(content, dict):
            return
        actions: dict[str, Callable[[Any], None]] = {
            "pin": self._pin,
            "restore": self._restore,
            "cancel": lambda _: self.cancel(),
            "resume": lambda _: self.resume(),
        }
        for name, action in actions.items():
            if name in content:
                action(content[name])

    def _answer_pictures(self, request: Any) -> Answer:
        """The window that is asked for, and the whole triangle where that is wanted too."""
        version, drawing = self.meta["version"], self._drawing
        if drawing is None or not drawing.ready:
            return {"version": version, "pictures": []}
        all_tokens = range(drawing.plane.length)
        rows, cols = (clip_range(request[axis], all_tokens) for axis in ("rows", "cols"))
        side = picture_side(request["side"], len(drawing.ready))
        with self._plane_lock:
            views = self._views = drawing.views(rows, cols, side)
            pictures = [drawing.picture(views)]
            if request.get("overview"):
                overview = drawing.views(all_tokens, all_tokens, OVERVIEW_SIDE)
                pictures.append(drawing.picture(overview))
        return (
            {"version": version, "pictures": [description for description, _ in pictures]},
            [places for _, places in pictures],
        )

    def _answer_cell(self, spot: Any) -> Answer:
        if not self._is_shown(spot):  # the text got shorter, or the head was hidden meanwhile
            raise Unanswerable("This cell is not shown any more.")
        return {"text": self._describe_pixel(*spot)}

    def _pin(self, spot: Any) -> None:
        """Pin the cell that is pointed at, or the largest of its pixel; again, and it is free."""
        if not self._is_shown(spot):
            return
        cell = list(self._cell_at(*spot) or spot)
        with self._traits_lock, self.hold_trait_notifications():
            self.cell = [] if cell == self.cell else cell
            self.selected = cell[1]

    def _restore(self, before: Any) -> None:
        """What was pinned and selected before a click turned out to be half of a double click."""
        cell, selected = before["cell"], before["selected"]
        if (not cell or self._is_shown(cell)) and type(selected) is int:
            with self._traits_lock, self.hold_trait_notifications():
                self.cell, self.selected = cell, selected

    def _is_shown(self, spot: Any) -> bool:
        """Whether `spot` is [head, n, m] of a head that is shown."""
        drawing = self._drawing
        if drawing is None or not isinstance(spot, list) or len(spot) != 3:
            return False
        if not all(type(i) is int for i in spot) or spot[0] not in drawing.heads:
            return False
        return all(0 <= i < drawing.plane.length for i in spot[1:])

    def _pixel_of(self, head: int, n: int, m: int) -> tuple[View, float, range, range] | None:
        """The picture that shows a cell, the value of the cell's pixel, and its tokens n and m."""
        view = self._views.get(head)
        if view is None or n not in view.rows or m not in view.cols:
            return None
        p = view.tokens_per_pixel
        i, j = (n - view.rows.start) // p, (m - view.cols.start) // p
        rows, cols = view.rows[i * p : (i + 1) * p], view.cols[j * p : (j + 1) * p]
        return view, view.values[i, j].item(), rows, cols

    def _cell_at(self, head: int, n: int, m: int) -> Cell | None:
        """The cell (n, m), or the largest of its pixel; None where that is not known."""
        pixel = self._pixel_of(head, n, m)
        if pixel is None or pixel[0].tokens_per_pixel == 1:
            return head, n, m
        view, value, rows, cols = pixel
        if self._drawing is None or not view.exact or not value or math.isnan(value):
            return None
        with self._plane_lock:
            largest = self._drawing.plane.largest(head, rows, cols)
        return largest and (head, *largest)

    def _describe_pixel(self, head: int, n: int, m: int) -> str:
        """What the picture shows at (n, m)."""
        pixel = self._pixel_of(head, n, m)
        cell = self._cell_at(head, n, m)
        if pixel is None or self._drawing is None or pixel[0].tokens_per_pixel == 1:
            return self._describe(cell or (head, n, m))
        view, value, rows, cols = pixel
        spot = f"head {head}, n {span_of(rows)}, m {span_of(cols)}"
        if math.isnan(value):
            return f"{spot}: n cannot read m, which comes later"
        noun = NOUNS[self._drawing.plane.kind]
        size = f"{len(rows):,} × {len(cols):,} {noun}s"
        if not view.exact and value:
            return f"{spot}: none of the {size} is larger in magnitude than {at_least(value)}"
        if not value:
            return f"{spot}: all {size} are at most {at_least(view.bound)} in magnitude"
        largest = self._describe(cell) if cell else ""
        return f"{spot}: the largest of {size} is {number(value)}. {largest}"

    def _make_tables(self) -> list[Table]:
        """The window that is drawn, with numbers, for each prepared head."""
        drawing, views = self._drawing, self._views
        if drawing is None or not views:
            return []
        tables: list[Table] = []
        for head, picture in views.items():
            with self._plane_lock:  # a picture may be wider than asked for, by a pixel
                view = drawing.view(head, picture.rows, picture.cols, MOST_TABLE - 1)
            rows, cols = (
                pixel_labels(drawing.pieces, x, view.tokens_per_pixel)
                for x in (view.rows, view.cols)
            )
            values = view.values.tolist()
            tables.append(
                (
                    f"Head {head}, token n by token m. {note(drawing.plane.kind, {head: view})}",
                    ["n \\ m", *cols],
                    [
                        [name, *(entry(value, view.bound) for value in line)]
                        for name, line in zip(rows, values, strict=True)
                    ],
                )
            )
        return tables
