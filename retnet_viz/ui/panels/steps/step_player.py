"""The mode at work: one step of its schedule at a time, with the numbers of the forward pass."""

from __future__ import annotations

from typing import Any

import anywidget
import numpy as np
import traitlets as t

from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.scale import raster
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.steps.scene import Picture, Scene, scene
from retnet_viz.trace import Trace
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.questions import Answer, Unanswerable, answer_questions
from retnet_viz.ui.panels import cell_messages

_MAX_SCENES = 16  # scenes that a pointer can still be on while others are asked for


class StepPlayer(anywidget.AnyWidget):
    """Plays the schedule of the trace that `show` was given.

    version  grows with everything that makes earlier scenes wrong
    meta     mode, layer, length T, tokens per step, colour scale; length 0 for an empty text
    token    the selected token; the step is the one that gives its output
    told     the version in which the page selected it, see `is_outdated`
    head     the head whose computation is shown
    playing  whether the page is stepping on by itself
    colors   256 x 3 bytes for signed values, then 256 x 3 for magnitudes

    The page asks for the scene of a token, and only while it can be seen; while it plays it asks
    ahead. So an edit costs nothing here until the stage is looked at.
    """

    _esm = module("panels/steps/step_player.js")
    _css = style("styles/panels.css", "panels/steps/step_player.css")
    version = t.Int(0).tag(sync=True)
    meta = t.Dict().tag(sync=True)
    token = t.Int(-1).tag(sync=True)
    told = t.Int(None, allow_none=True).tag(sync=True)
    head = t.Int(0).tag(sync=True)
    playing = t.Bool(False).tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    heads = t.List(t.Unicode()).tag(sync=True)

    def __init__(self, n_heads: int) -> None:
        tables = [color_table(name).tobytes() for name in (DIVERGING, SEQUENTIAL)]
        super().__init__(
            colors=b"".join(tables), heads=[head_color(head) for head in range(n_heads)]
        )
        self._trace: Trace | None = None
        self._view: tuple[int, int, str] = (0, 0, "linear")  # layer, head, scale
        self._scenes: dict[int, Scene] = {}
        answer_questions(
            self,
            {
                "scene": self._make_scene,
                "probe": self._make_readout,
                "tables": lambda about: {"tables": self._requested_scene(about).table()},
            },
        )

    def shows(self, trace: Trace | None, layer: int, head: int, scale: str) -> bool:
        """Whether this is what `show` was last given."""
        return self._trace is trace and self._view == (layer, head, scale)

    def show(
        self,
        trace: Trace | None,
        layer: int,
        head: int,
        scale: str,
        *,
        token: int,
        why_not: str = "No text yet.",
    ) -> None:
        """Play the steps of `trace` in one layer and head, from the one that reads `token` on.

        Without a trace `why_not` is said in their place.
        """
        self._trace, self._view = trace, (layer, head, scale)
        self._scenes.clear()
        with self.hold_sync():
            self.meta = meta_of(trace, layer, scale) | {"whyNot": why_not}
            self.head, self.token = head, token
            self.version += 1

    @property
    def is_outdated(self) -> bool:
        """Whether the page selected the token before it knew what is shown now."""
        return self.told is not None and self.told != self.version

    def scene(self, token: int) -> Scene | None:
        """The scene of the step that gives the output of `token`; None where there is none."""
        if self._trace is None or not 0 <= token < self._trace.length:
            return None
        if token not in self._scenes:
            while len(self._scenes) >= _MAX_SCENES:
                del self._scenes[next(iter(self._scenes))]
            layer, head, scale = self._view
            self._scenes[token] = scene(self._trace, layer, head, token, scale)
        return self._scenes[token]

    def _requested_scene(self, about: Any) -> Scene:
        """The scene that a question is about, {"version": int, "token": int}."""
        about = about if isinstance(about, dict) else {}
        if about.get("version") != self.version:
            raise Unanswerable("This is of an earlier text.")  # asked before the last edit
        token = about.get("token")
        step = self.scene(token) if type(token) is int else None  # True is an int too
        if step is None:
            raise Unanswerable("There is no such step.")
        return step

    def _make_scene(self, about: Any) -> Answer:
        description, places = payload(self._requested_scene(about))
        return {"scene": description}, [places]

    def _make_readout(self, about: Any) -> Answer:
        step, at = self._requested_scene(about), about.get("at")
        if not isinstance(at, list):
            raise Unanswerable("That is no place of a step.")
        return {"text": self._probe(step, at)}

    def _probe(self, step: Scene, at: list[Any]) -> str:
        """What stands at [term, row, column] of a picture, or at ["plane", n, m]."""
        term, row, column = [*at, 0, 0, 0][:3]
        if type(row) is not int or type(column) is not int:
            return ""
        if term == "plane" and self._trace is not None:
            return cell_messages.stage_cell(self._trace, step, row, column)
        return cell_messages.entry(step, str(term), row, column)


def meta_of(trace: Trace | None, layer: int, scale: str) -> dict[str, Any]:
    """What the page must know of all steps of a trace: how many tokens there are, and in a step."""
    if trace is None:
        return {"length": 0, "mode": "", "layer": layer, "scale": scale, "stride": 1}
    return {
        "length": trace.length,
        "mode": trace.mode,
        "layer": layer,
        "scale": scale,
        "stride": FORMS[trace.mode].stride(trace.length, trace.chunk_size),
    }


def payload(step: Scene) -> tuple[dict[str, Any], bytes]:
    """A scene as the page takes it: a description, and the colours of its pictures as bytes."""
    buffer = bytearray()

    def append(places: np.ndarray) -> int:
        start = len(buffer)
        buffer.extend(places.tobytes())
        return start

    def describe(picture: Picture) -> dict[str, Any]:
        rows, columns = picture.values.shape
        return {
            "term": picture.term,
            "label": picture.label,
            "rows": picture.rows,
            "cols": picture.cols,
            "height": rows,
            "width": columns,
            "rowStart": picture.row_start,
            "colStart": picture.col_start,
            "norm": number(picture.norm),
            "computed": picture.origin == "computed",
            "scale": picture.scale,
            "signed": picture.signed,
            "at": append(raster(picture.values, step.scales[picture.scale])),
        }

    plane, bars = step.plane, step.bars
    cells = plane.cells
    spans = [(r.start, r.stop, c.start, c.stop) for r, c in plane.done]
    lit = plane.lit and [*_ends(plane.lit[0]), *_ends(plane.lit[1])]
    return (
        {
            "step": step.step,
            "steps": step.steps,
            "sentence": step.sentence,
            "formula": step.formula,
            "tokens": step.tokens,
            "lines": [
                [part if isinstance(part, str) else describe(part) for part in line]
                for line in step.lines
            ],
            "plane": {
                "first": plane.first,
                "last": plane.last,
                "row": plane.row,
                "lit": lit,
                "done": spans,
                "built": plane.built,
                "cells": None if cells is None else list(cells.shape),
                "at": 0 if cells is None else append(raster(cells, step.scales["weights"])),
            },
            "bars": bars
            and {
                "title": bars.title,
                "term": bars.term,
                "values": [float(f"{value:.5g}") for value in bars.values],
                "first": bars.first,
                "slots": bars.slots,
                "limit": bars.limit,
                "unit": bars.unit,
                "labels": bars.labels,
            },
            "limits": {name: number(limit) for name, limit in step.limits.items()},
            "cost": cell_messages.step_cost(step),
        },
        bytes(buffer),
    )


def _ends(span: range) -> tuple[int, int]:
    return span.start, span.stop
