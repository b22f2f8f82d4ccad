"""Every notebook and app runs from top to bottom; notebooks are stored with what they show."""

import ast
import importlib
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from docs.notebook_outputs import KEY, fingerprint, without_places

LARGEST = 2e6  # bytes of a notebook: what a page of GitHub shows at once
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("apps/*.ipynb")])


def test_there_are_notebooks_and_apps():
    assert {path.parent.name for path in NOTEBOOKS} == {"notebooks", "apps"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}})
    client.execute(env=os.environ)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(
        "application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in shown
    )


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_imports_public_names_only(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    ours = [
        (node.module, alias.name)
        for cell in cells
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("retnet_viz")
        for alias in node.names
    ]
    private = [
        (module, name)
        for module, name in ours
        if module.count(".") > 1 or name not in importlib.import_module(module).__all__
    ]
    assert not private


@pytest.mark.parametrize("path", sorted(ROOT.glob("apps/*.ipynb")), ids=lambda path: path.name)
def test_an_app_is_stored_without_results(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stored_with_the_results_of_its_code(path):
    """`python -m docs.notebook_outputs` makes them anew."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata[KEY]["code"] == fingerprint(notebook)
    assert path.stat().st_size < LARGEST
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    # Nothing that needs a kernel, no place in somebody's memory, no traceback.
    assert kinds <= {"image/png", "text/html", "text/plain"}
    assert not any(output.output_type == "error" for output in outputs)
    assert " object at 0x" not in str(outputs)
    assert without_places(str(outputs)) == str(outputs)
