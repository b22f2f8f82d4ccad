"""The explorer as one HTML file that works by itself: no kernel, no server, no network."""

from __future__ import annotations

import base64
import re
import string
import zlib
from pathlib import Path

from plotly.offline import get_plotlyjs

from retnet_viz.trace import Trace
from retnet_viz.ui.core.assets import module, page_colors, style
from retnet_viz.ui.core.page_state import ExplorerState
from retnet_viz.ui.export.snapshot import Tell, record
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.plot import Plot
from retnet_viz.ui.panels.step_player import StepPlayer
from retnet_viz.ui.panels.token_strip import TokenStrip

_TEMPLATE = Path(__file__).with_suffix(".html")
_WIDGETS = (Heatmap, Plot, StepPlayer, TokenStrip)
_EXPORT = re.compile(r"^export default \{ render \};\s*$", re.MULTILINE)


def page(trace: Trace, state: ExplorerState, theme: str = "light", tell: Tell | None = None) -> str:
    """An HTML page that shows the explorer over `trace` as `state` does, in "light" or "dark".

    It holds plotly.js and, of the exploration, what `record` writes down: every layer, the shown
    heads and each head alone, every selected token, the steps of the three modes in one layer and
    head. Raises TooLargeError as `record` does.
    """
    written = record(trace, state, theme, tell)
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        css=page_colors()
        + style(
            "styles/page.css",
            "styles/controls.css",
            "styles/page_panels.css",
            "styles/explorer.css",
            "styles/panels.css",
            "panels/step_player.css",
            "export/snapshot_page.css",
        ),
        theme=theme,
        content=_packed(written.json().encode()),
        buffer=_packed(written.buffer),
        plotly=get_plotlyjs(),
        script=_script(),
    )


def _packed(content: bytes) -> str:
    """zlib in base64: no character of it can end the element that it stands in."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _script() -> str:
    """The widgets' modules, each as a constant of its class's name, and the page's own script."""
    parts = []
    for widget in _WIDGETS:
        source, count = _EXPORT.subn("return { render };", str(widget._esm))
        if count != 1:
            raise RuntimeError(f"the script of {widget.__name__} does not end as it should")
        parts.append(f"const {widget.__name__} = (() => {{\n{source}\n}})();")
    parts.append(module("export/snapshot_page.js"))
    return "\n".join(parts)
