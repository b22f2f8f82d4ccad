"""A notebook whose cells have run, in a kernel that is still there to be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"


class RunningNotebook:
    """The notebook with its results, and its kernel with all names of the cells."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client
        self.cells = list(client.nb.cells)

    def shows_a_widget(self) -> bool:
        outputs = [output for cell in self.cells for output in cell.get("outputs", [])]
        return any(WIDGET in output.get("data", {}) for output in outputs)

    def printed(self, code: str) -> str:
        """What code prints that runs after the cells; one that fails raises CellExecutionError."""
        cell = nbformat.v4.new_code_cell(code)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@contextmanager
def running(path: Path, smaller: Mapping[str, str] | None = None) -> Iterator[RunningNotebook]:
    """Run all cells of a notebook; one that fails raises CellExecutionError.

    `smaller` says what stands in the cells, and what is run in its place.
    """
    notebook = nbformat.read(path, as_version=4)
    for large, small in (smaller or {}).items():
        holders = [cell for cell in notebook.cells if large in cell.source]
        assert holders, f"{path.name} does not hold this: {large}"
        for cell in holders:
            cell.source = cell.source.replace(large, small)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}})
    with client.setup_kernel(env=os.environ):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        yield RunningNotebook(client)
