"""Run the notebooks and store what they show, for those who read them without a kernel.

    .venv/bin/python -m docs.notebook_outputs            # all
    .venv/bin/python -m docs.notebook_outputs 01 04      # whose names begin so

Figures become pictures, for which this needs kaleido and a Chromium, as `make test` installs them.
Of a widget its text and picture stay, without the reference to a kernel that is gone. A test holds
that the results belong to the code of the cells.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from retnet_viz.content import NOTEBOOKS
from tests.support import chromium
from tests.support.checkout import ROOT

KEY = "retnet_viz"  # of the notebook's metadata
LIVE = "application/vnd.jupyter.widget-view+json"
_LIVE_FIGURE = "application/vnd.plotly.v1+json"  # as large as its data


def fingerprint(notebook: Any) -> str:
    """Of the sources of all code cells: results belong to those that they were made with."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def without_places(text: str) -> str:
    """Text without the folders of the machine on which it was made."""
    temporary = re.escape(tempfile.gettempdir()) + r"/tmp\w+"
    return re.sub(temporary, "...", text.replace(f"{ROOT}/", ""))


def with_outputs(path: Path) -> Any:
    """The notebook with what its cells show when they run now."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": path.parent}})
    client.execute(env={**os.environ, "PLOTLY_RENDERER": "png", "BROWSER_PATH": chromium.find()})
    notebook.metadata.pop("widgets", None)
    notebook.metadata[KEY] = {"code": fingerprint(notebook)}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = without_places(output.text)
            for kind in (LIVE, _LIVE_FIGURE):
                output.get("data", {}).pop(kind, None)
    return notebook


def main(beginnings: list[str]) -> None:
    """Run the notebooks of these names, or all, in place."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not beginnings or path.name.startswith(tuple(beginnings)):
            nbformat.write(with_outputs(path), path)
            print(f"notebooks/{path.name}: {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
