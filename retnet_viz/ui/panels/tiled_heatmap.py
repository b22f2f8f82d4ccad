"""One canvas for the T x T planes of a long text: small multiples that pan and zoom together."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.scale import SCALES, ColorScale, color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.reading.planes import SIGNED, TITLES
from retnet_viz.trace.tiles.band import Progress
from retnet_viz.trace.tiles.pictures import RESOLUTION, Plane, View
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.questions import Answer, Unanswerable, answer_questions
from retnet_viz.ui.panels.heatmap import Cell, Table
from retnet_viz.ui.panels.tiled_captions import (
    NOUNS,
    Pieces,
    at_least,
    entry,
    heads_are,
    note,
    pixel_labels,
    span_of,
    token_names,
)

SIDE = 1024  # height and width of a head's picture at most, pixels
PIXELS = 2**21  # of the pictures of all heads together
OVERVIEW = 128  # height and width of the picture of the whole triangle
TABLE = 64  # rows and columns of a table at most
TELL = 0.2  # seconds between two reports of progress


class _CancelledError(Exception):
    """Nobody wants what is being prepared any more."""


class _Turns:
    """A lock whose holder can let those who wait go first."""

    def __init__(self) -> None:
        self._next, self._held = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._held.acquire()

    def __exit__(self, *_: object) -> None:
        self._held.release()

    def give_way(self) -> None:
        """Let go, and hold again once nobody who waited before this holds."""
        self.__exit__()
        self.__enter__()


@dataclass
class _Shown:
    """What `show` was given, and what is prepared of it so far."""

    plane: Plane
    heads: list[int]
    scale: str
    pieces: Pieces | None
    meta: dict[str, Any]
    colors: ColorScale | None = None
    ready: list[int] = field(default_factory=list)

    @property
    def resolution(self) -> float:
        """The share of the limit that half a step of the colour scale is, next to 0."""
        assert self.colors is not None
        return self.colors.value(RESOLUTION) / self.colors.limit

    def view(self, head: int, rows: range, cols: range, side: int) -> View:
        """A picture of a prepared head, of about `side` pixels a side."""
        assert self.colors is not None
        return self.plane.view(
            head, rows, cols, side, side, self.colors.limit, resolution=self.resolution
        )


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

    _esm = module("panels/tiled_heatmap.js")
    _css = style("styles/panels.css", "panels/tiled_heatmap.css")
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
        self._shown: _Shown | None = None
        self._views: dict[int, View] = {}  # the last picture of each head, which is pointed at
        self._turns = _Turns()  # who uses the plane
        # Who sets traits. Two threads in hold_sync at once: what one has set would not be sent.
        self._writing = threading.RLock()
        self._thread: threading.Thread | None = None
        self.observe(self._read_cell, "cell")
        self.on_msg(self._act)
        answer_questions(
            self,
            {
                "pictures": self._make_pictures,
                "cell": self._make_readout,
                "tables": lambda _: {"tables": self._tables()},
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
        shown = _Shown(plane, list(heads), scale, pieces, meta) if plane and heads else None
        with self._writing, self.hold_sync():
            self._shown = shown
            self._views = {}
            self.ready = []
            self.status = {"state": "idle"}
            self.colors = color_table(DIVERGING if SIGNED[kind] else SEQUENTIAL).tobytes()
            self.meta = meta
            self._keep_cell()
        if shown is not None:
            self._begin(shown)

    def mark(self, selected: int, cell: Cell | None, readout: str) -> None:
        """Mark the row of a token (-1 for none) and the pinned cell, and say what `cell` holds."""
        with self._writing, self.hold_sync():
            self.selected, self.cell, self.readout = selected, list(cell or ()), readout

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """What the page has set."""
        with self._writing:
            super().set_state(sync_data)

    def settle(self) -> None:
        """Wait until everything that is shown is prepared, or can not be."""
        if self._thread is not None:
            self._thread.join()

    def cancel(self) -> None:
        """End the preparation; heads that are ready stay. `resume` goes on with the others."""
        with self._writing:
            shown = self._shown
            if shown is None or self.status["state"] != "preparing":
                return
            self._shown = replace(shown)  # what is being prepared is not what is shown any more
            left = [head for head in shown.heads if head not in shown.ready]
            self.status = {
                "state": "stopped",
                "text": f"Stopped: {heads_are(left)} not drawn.",
            }

    def resume(self) -> None:
        """Prepare the heads that are not ready."""
        if self._shown is not None and self.status["state"] == "stopped":
            self._begin(self._shown)

    def close(self) -> None:
        """End what is being prepared and close the widget."""
        self._shown = None
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

    def _begin(self, shown: _Shown) -> None:
        self.status = {"state": "preparing", "text": "", "done": 0.0}
        self._thread = threading.Thread(target=self._prepare, args=(shown,), daemon=True)
        self._thread.start()

    def _tell(self, shown: _Shown, **traits: Any) -> None:
        """Set traits, unless something else is shown by now."""
        with self._writing:
            if shown is not self._shown:
                raise _CancelledError
            with self.hold_sync():
                for name, value in traits.items():
                    setattr(self, name, value)

    def _prepare(self, shown: _Shown) -> None:
        try:
            with self._turns:
                if shown.colors is None:
                    self._find_colors(shown)
                for i, head in enumerate(shown.heads):
                    if head not in shown.ready:
                        self._prepare_head(shown, i, head)
            self._tell(shown, status={"state": "idle"})
        except _CancelledError:
            return
        except Exception as error:
            logging.getLogger(__name__).exception("A plane could not be prepared")
            said = f"This could not be drawn ({type(error).__name__}: {error})."
            with self._writing:
                if shown is self._shown:
                    self.status = {"state": "failed", "text": said}

    def _find_colors(self, shown: _Shown) -> None:
        """One scale for the whole plane of all heads, so that no move of the window changes it."""
        plane, noun = shown.plane, NOUNS[shown.plane.kind]
        limits = [
            plane.limit(
                head, self._progress(shown, i, f"Finding the largest {noun} of head {head}")
            )
            for i, head in enumerate(shown.heads)
        ]
        shown.colors = _scale_of(plane, shown.heads, shown.scale, max(limits))
        shown.meta = {**shown.meta, "ticks": shown.colors.ticks()}
        self._tell(shown, meta=shown.meta)

    def _prepare_head(self, shown: _Shown, i: int, head: int) -> None:
        assert shown.colors is not None
        progress = self._progress(shown, len(shown.heads) + i, f"Preparing head {head}")
        shown.plane.prepare(head, shown.colors.limit, shown.resolution, progress)
        ready = [*shown.ready, head]
        self._tell(shown, ready=ready)
        shown.ready = ready
        self._turns.give_way()

    def _progress(self, shown: _Shown, part: int, text: str) -> Progress:
        """Reports the progress of a part of the work; lets pictures be drawn in between."""
        told = -math.inf

        def progress(done: int, total: int) -> None:
            nonlocal told
            if shown is not self._shown:
                raise _CancelledError
            self._turns.give_way()
            if time.monotonic() - told >= TELL:
                told = time.monotonic()
                share = (part + done / total) / (2 * len(shown.heads))
                self._tell(
                    shown, status={"state": "preparing", "text": text, "done": round(share, 3)}
                )

        return progress

    # -- what the page asks -----------------------------------------------------------------

    def _act(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Do what the page says."""
        if not isinstance(content, dict):
            return
        acts: dict[str, Callable[[Any], None]] = {
            "pin": self._pin,
            "restore": self._restore,
            "cancel": lambda _: self.cancel(),
            "resume": lambda _: self.resume(),
        }
        for name, act in acts.items():
            if name in content:
                act(content[name])

    def _make_pictures(self, asked: Any) -> Answer:
        """The window that is asked for, and the whole triangle where that is wanted too."""
        version, shown = self.meta["version"], self._shown
        if shown is None or not shown.ready:
            return {"version": version, "pictures": []}
        whole = range(shown.plane.length)
        rows, cols = (_within(asked[axis], whole) for axis in ("rows", "cols"))
        side = _side(asked["side"], len(shown.ready))
        with self._turns:
            pictures = [self._picture(shown, rows, cols, side)]
            if asked.get("overview"):
                pictures.append(self._picture(shown, whole, whole, OVERVIEW, keep=False))
        return (
            {"version": version, "pictures": [description for description, _ in pictures]},
            [places for _, places in pictures],
        )

    def _picture(
        self, shown: _Shown, rows: range, cols: range, side: int, keep: bool = True
    ) -> tuple[dict[str, Any], bytes]:
        """A picture of all prepared heads: its description, and places in `colors` as bytes.

        `keep` it for the pointer.
        """
        assert shown.colors is not None
        ready = list(shown.ready)
        views = {head: shown.view(head, rows, cols, side) for head in ready}
        places = [
            raster(values, shown.colors, shown=values == values)
            for values in (view.values.numpy() for view in views.values())
        ]
        if keep:
            self._views = views
        first = views[ready[0]]
        height, width = first.values.shape
        return {
            "rows": [first.rows.start, first.rows.stop],
            "cols": [first.cols.start, first.cols.stop],
            "pixel": first.tokens_per_pixel,
            "height": height,
            "width": width,
            "heads": ready,
            "bounds": [head for head, view in views.items() if not view.exact],
            "note": note(shown.plane.kind, views),
            "names": [token_names(shown.pieces, tokens) for tokens in (first.rows, first.cols)],
        }, b"".join(place.tobytes() for place in places)

    def _make_readout(self, spot: Any) -> Answer:
        if not self._has(spot):  # the text got shorter, or the head was hidden meanwhile
            raise Unanswerable("This cell is not shown any more.")
        return {"text": self._read(*spot)}

    def _pin(self, spot: Any) -> None:
        """Pin the cell that is pointed at, or the largest of its pixel; again, and it is free."""
        if not self._has(spot):
            return
        cell = list(self._cell_at(*spot) or spot)
        with self._writing, self.hold_trait_notifications():
            self.cell = [] if cell == self.cell else cell
            self.selected = cell[1]

    def _restore(self, before: Any) -> None:
        """What was pinned and selected before a click turned out to be half of a double click."""
        cell, selected = before["cell"], before["selected"]
        if (not cell or self._has(cell)) and type(selected) is int:
            with self._writing, self.hold_trait_notifications():
                self.cell, self.selected = cell, selected

    def _has(self, spot: Any) -> bool:
        """Whether `spot` is [head, n, m] of a head that is shown."""
        shown = self._shown
        if shown is None or not isinstance(spot, list) or len(spot) != 3:
            return False
        if not all(type(i) is int for i in spot) or spot[0] not in shown.heads:
            return False
        return all(0 <= i < shown.plane.length for i in spot[1:])

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
        if self._shown is None or not view.exact or not value or math.isnan(value):
            return None
        with self._turns:
            found = self._shown.plane.largest(head, rows, cols)
        return found and (head, *found)

    def _read(self, head: int, n: int, m: int) -> str:
        """What the picture shows at (n, m)."""
        pixel = self._pixel_of(head, n, m)
        cell = self._cell_at(head, n, m)
        if pixel is None or self._shown is None or pixel[0].tokens_per_pixel == 1:
            return self._describe(cell or (head, n, m))
        view, value, rows, cols = pixel
        spot = f"head {head}, n {span_of(rows)}, m {span_of(cols)}"
        if math.isnan(value):
            return f"{spot}: n cannot read m, which comes later"
        noun = NOUNS[self._shown.plane.kind]
        size = f"{len(rows):,} × {len(cols):,} {noun}s"
        if not view.exact and value:
            return f"{spot}: none of the {size} is larger in magnitude than {at_least(value)}"
        if not value:
            return f"{spot}: all {size} are at most {at_least(view.bound)} in magnitude"
        largest = self._describe(cell) if cell else ""
        return f"{spot}: the largest of {size} is {number(value)}. {largest}"

    def _tables(self) -> list[Table]:
        """The window that is drawn, with numbers, for each prepared head."""
        shown, views = self._shown, self._views
        if shown is None or not views:
            return []
        made: list[Table] = []
        for head, drawn in views.items():
            with self._turns:  # a picture may be wider than asked for, by a pixel
                view = shown.view(head, drawn.rows, drawn.cols, TABLE - 1)
            rows, cols = (
                pixel_labels(shown.pieces, x, view.tokens_per_pixel) for x in (view.rows, view.cols)
            )
            values = view.values.tolist()
            made.append(
                (
                    f"Head {head}, token n by token m. {note(shown.plane.kind, {head: view})}",
                    ["n \\ m", *cols],
                    [
                        [name, *(entry(value, view.bound) for value in line)]
                        for name, line in zip(rows, values, strict=True)
                    ],
                )
            )
        return made


def _scale_of(plane: Plane, heads: Sequence[int], scale: str, limit: float) -> ColorScale:
    """The scale that figures.planes gives the whole plane of `heads`."""
    ends = [limit]
    if plane.kind == "decay":  # its smallest number; where that underflows, any that is small
        smallest = plane.gamma[list(heads)].min().item() ** (plane.length - 1)
        ends.append(max(smallest, float(np.finfo(np.float32).tiny)))
    return color_scale(np.array(ends), scale, signed=SIGNED[plane.kind], limit=limit)


def _within(asked: Any, whole: range) -> range:
    """The tokens from asked[0] to before asked[1] that the text has; one at least."""
    start = min(max(int(asked[0]), 0), whole.stop - 1)
    return range(start, min(max(int(asked[1]), start + 1), whole.stop))


def _side(asked: Any, heads: int) -> int:
    return max(1, min(int(asked), SIDE, math.isqrt(PIXELS // heads)))
