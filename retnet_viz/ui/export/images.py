"""A figure as a page of its own or as a picture."""

from __future__ import annotations

import asyncio
import base64
import html
import os
import threading
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

import plotly.graph_objects as go

from retnet_viz.figures.base.figure_parts import Spec

_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["sendDataToCloud", "lasso2d", "select2d"],
}
PICTURES = ("png", "svg")
_WIDTH = 1000  # pixels
_HEIGHT = 420  # of a figure that names none


class ImageError(RuntimeError):
    """A picture could not be drawn here."""


def html_page(spec: Spec, script: str | None = None) -> str:
    """An HTML page that shows the figure and its sentence, without a network.

    plotly.js is in it, or, where `script` is a file's name, in that file in the same folder.
    """
    figure = go.Figure(spec)
    drawing = figure.to_html(full_html=False, include_plotlyjs=script is None, config=_CONFIG)
    if script is not None:
        drawing = _load_script(script) + drawing
    paper, ink = (spec["layout"]["template"]["layout"][name] for name in ("paper_bgcolor", "font"))
    sentence = html.escape(str(spec["layout"].get("meta", {}).get("sentence", "")))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(_title(spec))}</title>\n"
        f"<style>body {{ margin: 12px; background: {paper}; color: {ink['color']}; "
        "font: 15px/1.4 system-ui, sans-serif }</style>\n</head>\n<body>\n"
        f"{drawing}\n<p>{sentence}</p>\n</body>\n</html>\n"
    )


def _load_script(name: str) -> str:
    """Load a file of the page's folder; a sentence is shown where it is not there."""
    source = html.escape(name)
    return (
        f'<p id="missing" hidden>The figure needs the file {source} beside this page.</p>\n'
        f'<script charset="utf-8" src="{source}" '
        "onerror=\"document.getElementById('missing').hidden = false\"></script>\n"
    )


def _title(spec: Spec) -> str:
    title = spec["layout"].get("title", {})
    return str(title.get("text", "")) if isinstance(title, dict) else str(title)


class Painter:
    """Draws figures in one Chrome or Chromium, which runs until the `with` block ends.

    kaleido drives the browser that BROWSER_PATH names, else one that it finds on the machine. All
    methods raise ImageError where there is none, or no kaleido, and ValueError on an unknown kind.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()  # of its own: a notebook's loop is running already
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._kaleido: Any = None

    def __enter__(self) -> Painter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _draw(self, figure: dict[str, Any], options: dict[str, Any]) -> Any:
        if self._kaleido is None:
            import kaleido

            browser = kaleido.Kaleido(n=1, mathjax=False)
            self._kaleido = await self._stack.enter_async_context(browser)
        return await self._kaleido.calc_fig(figure, opts=options)

    def image(self, spec: Spec, kind: str) -> bytes:
        """The figure as "png" (twice the size, for slides) or "svg"."""
        if kind not in PICTURES:
            raise ValueError(f"a picture is a png or an svg, not {kind!r}")
        layout = {**spec["layout"], "width": _WIDTH, "height": _height(spec)}
        figure = go.Figure({**spec, "layout": layout}).to_dict()
        try:
            content: bytes = self._run(
                self._draw(figure, {"format": kind, "scale": 2 if kind == "png" else 1})
            )
        except ImportError as error:
            raise ImageError(
                "Pictures need kaleido: pip install 'retnet-viz[images]'. The page's own Save menu "
                "draws them without it."
            ) from error
        except Exception as error:
            browser_path = os.environ.get("BROWSER_PATH")
            raise ImageError(
                f"The picture could not be drawn ({type(error).__name__}: {error}). It needs "
                "Chrome or Chromium; BROWSER_PATH "
                f"{f'names {browser_path}' if browser_path else 'can name one'}."
            ) from error
        return content

    def sheet(self, specs: Sequence[Spec], kind: str) -> bytes:
        """Figures below each other as one "png" or "svg"."""
        drawings, top = [], 0
        for spec in specs:
            drawing = self.image(spec, "svg").decode()
            drawings.append(f'<svg y="{top}"' + drawing[drawing.index("<svg") + len("<svg") :])
            top += _height(spec)
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
            f'viewBox="0 0 {_WIDTH} {top}">{"".join(drawings)}</svg>'
        )
        if kind == "svg":
            return svg.encode()
        source = base64.b64encode(svg.encode()).decode()
        picture = {
            "source": f"data:image/svg+xml;base64,{source}",
            **{"xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 1, "sizey": 1},
        }
        layout = {
            "height": top,
            "images": [picture],
            "margin": dict.fromkeys("lrtb", 0),
            "xaxis": {"visible": False},
            "yaxis": {"visible": False},
        }
        return self.image({"data": [], "layout": layout}, kind)


def _height(spec: Spec) -> int:
    return int(spec["layout"].get("height", _HEIGHT))
