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
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export.snapshot.snapshot import Tell, record
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.steps.step_player import StepPlayer
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
    snapshot = record(trace, state, theme, tell)
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        css=page_colors()
        + style(
            "styles/page.css",
            "styles/buttons.css",
            "styles/controls.css",
            "styles/page_panels.css",
            "styles/explorer.css",
            "styles/panels.css",
            "panels/steps/step_player.css",
            "export/snapshot/snapshot_page.css",
        ),
        theme=theme,
        content=_compress(snapshot.json().encode()),
        buffer=_compress(snapshot.buffer),
        plotly=get_plotlyjs(),
        script=_script(),
    )


def _compress(content: bytes) -> str:
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
    parts.append(module("export/snapshot/snapshot_page.js"))
    return "\n".join(parts)
