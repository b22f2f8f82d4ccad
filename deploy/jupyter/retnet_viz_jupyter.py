"""What a Jupyter server adds where retnet-viz is installed: plotly.js as a file.

A page then draws its plots while its kernel is busy, and its browser keeps the file. This stands
beside the package, not in it: a server imports it at its start, and the package imports torch.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tornado.web import RequestHandler

ADDRESS = "retnet-viz/plotly.js"  # below the server's base address
VARIABLE = "RETNET_VIZ_PLOTLY"  # tells the kernels of this server what the address is
# plotly.js is a script of CommonJS, and pages import modules: as in ui/panels/plots/library.js.
_BEFORE = (
    b"const module = { exports: {} }; const exports = module.exports; const define = undefined;\n"
)
_AFTER = b"\nexport default module.exports;"


def tell_kernels() -> None:
    """Have the kernels that are started from now on know that their server has the file."""
    os.environ[VARIABLE] = ADDRESS


def source() -> bytes:
    """plotly.js as plotly has it; importing plotly to read it would take the server a second."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()


class PlotlyHandler(RequestHandler):
    """plotly.js as an ES module. Whoever has it asks only whether it is still the same.

    It is open to all who reach the server, as the server's own static files are: it is public.
    """

    def get(self) -> None:
        """Answer with the module, or that it has not changed."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.write(_BEFORE + source() + _AFTER)


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """What a server at `base_url` has to handle for the file."""
    return [(f"{base_url}{ADDRESS}", PlotlyHandler)]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    tell_kernels()
    server.web_app.add_handlers(".*$", handlers(server.base_url))
