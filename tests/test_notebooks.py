"""Every notebook and app runs from top to bottom; notebooks are stored with what they show."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbclient import NotebookClient

from docs.notebook_outputs import KEY, fingerprint, without_places
from tests.support import chromium
from tests.support.lab_steps import write_notebook

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


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_the_code_of_a_question_is_folded(path):
    cells = nbformat.read(path, as_version=4).cells
    asking = [cell for cell in cells if cell.source.startswith("# Question")]
    assert all(cell.metadata.get("jupyter") == {"source_hidden": True} for cell in asking)


def test_a_page_that_nbconvert_makes_by_running_the_cells_has_pictures(tmp_path):
    text = (ROOT / "docs/where_it_runs.md").read_text(encoding="utf-8")
    blocks = [each for each in MarkdownIt().parse(text) if each.type == "fence"]
    (command,) = [block.content for block in blocks if "nbconvert" in block.content]
    write_notebook(
        tmp_path / "NOTEBOOK.ipynb",
        "import retnet_viz as rv\nmodel = rv.load()\nrv.explore(model, 'A <fox>')",
        "rv.figures.decay(rv.trace(model, 'A fox'), layer=0)",
    )
    beside = Path(sys.executable).parent  # where jupyter is
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "BROWSER_PATH": chromium.find()}
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, check=True, timeout=300)
    page = (tmp_path / "NOTEBOOK.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 2
    assert "as it was when the cell ran" in page


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
