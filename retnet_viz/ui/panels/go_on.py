"""The controls with which the text goes on by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.ui.core.assets import module, style

HOTTEST = 2.0
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: see `retnet_viz.model.generate.stream`. `seed` None is another one
    each time."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None


class GoOn(anywidget.AnyWidget):
    """Two buttons, and behind a third how the tokens are drawn.

    ready     whether there is a text to go on from
    running   whether the text goes on
    number    of the newest token; the browser says when it is painted, and the next one may come
    settings  what stands in the controls, as text: temperature, top_k, top_p, seed
    problems  for each setting that means nothing the sentence why
    status    for screen readers: how the last run ended

    `on_command(what)` is called with "one", "go on" or "stop", `on_painted()` once the token is
    painted that `wait_for_paint` was last called for.
    """

    _esm = module("panels/go_on.js")
    _css = style("panels/go_on.css")
    ready = t.Bool(False).tag(sync=True)
    running = t.Bool(False).tag(sync=True)
    number = t.Int(0).tag(sync=True)
    settings = t.Dict().tag(sync=True)
    problems = t.Dict().tag(sync=True)
    status = t.Unicode("").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**{"settings": {"temperature": "0"}} | traits)
        self.on_command: Callable[[str], None] = lambda what: None
        self.on_painted: Callable[[], None] = lambda: None
        self._waits = False
        self.sampling = Sampling()
        self._read()
        self.observe(lambda _: self._read(), "settings")
        self.on_msg(self._receive)

    def wait_for_paint(self) -> None:
        """Have `on_painted` called once the browser has painted all that it was sent so far."""
        self._waits = True
        self.number += 1

    def _read(self) -> None:
        self.sampling, self.problems = read_settings(self.settings)

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        what = content.get("do") if isinstance(content, dict) else None
        if what in ("one", "go on", "stop"):
            self.on_command(what)
        elif what == "painted" and self._waits and content.get("number") == self.number:
            self._waits = False  # two views of this widget both say it
            self.on_painted()


def read_settings(settings: Mapping[str, Any]) -> tuple[Sampling, dict[str, str]]:
    """What the controls hold, and why what is left out of it means nothing; "" is the default."""
    values, problems = {}, {}
    for name, (read, sentence) in _SETTINGS.items():
        text = str(settings.get(name, "")).strip()
        if not text:
            continue
        try:
            values[name] = read(text)
        except (ValueError, OverflowError):
            shown = text if len(text) <= 24 else f"{text[:23]}…"
            problems[name] = f"{sentence}, not “{shown}”."
    return Sampling(**values), problems


def _within(number: float, low: float, high: float) -> float:
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError
    return number


def _share(text: str) -> float:
    share = _within(float(text), 0, 1)
    if share == 0:
        raise ValueError
    return share


def _whole(low: int) -> Callable[[str], int]:
    return lambda text: int(_within(int(text), low, LARGEST_SEED))


_SETTINGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "temperature": (
        lambda text: _within(float(text), 0, HOTTEST),
        f"The temperature is a number from 0 to {HOTTEST:g}",
    ),
    "top_k": (_whole(1), "Top-k is a whole number of 1 or more, or empty for all tokens"),
    "top_p": (_share, "Top-p is a share above 0 and up to 1, or empty for all tokens"),
    "seed": (_whole(0), "The seed is a whole number of 0 or more, or empty for a new one"),
}
