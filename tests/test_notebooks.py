"""Every notebook and app runs from top to bottom; notebooks are stored with what they show."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from markdown_it import MarkdownIt

from docs.notebook_outputs import KEY, fingerprint, without_places
from tests.support import chromium
from tests.support.lab_steps import write_notebook
from tests.support.running_notebook import WIDGET, running

LARGEST = 2e6  # bytes of a notebook: what a page of GitHub shows at once
ROOT = Path(__file__).parents[1]
LESSONS = sorted(ROOT.glob("notebooks/*.ipynb"))
THREE_MODES = ROOT / "notebooks/02_three_modes.ipynb"  # test_three_modes.py runs it, and asks it
APPS = sorted(ROOT.glob("apps/*.ipynb"))
# That a cell runs is seen with fewer measurements too. At their size the cells ran when their
# results were stored, and a test below holds that the results are those of this code.
SMALLER = {
    "03_what_it_costs.ipynb": {"REACH = 2048": "REACH = 512"},
    "04_is_it_as_good.ipynb": {"samples=8": "samples=1"},
}


def test_there_are_notebooks_and_apps():
    assert THREE_MODES in LESSONS
    assert APPS


@pytest.mark.parametrize(
    "path", [path for path in LESSONS if path != THREE_MODES], ids=lambda path: path.name
)
def test_a_notebook_runs(path):
    with running(path, SMALLER.get(path.name)) as notebook:
        assert notebook.shows_a_widget()


@pytest.mark.parametrize("path", APPS, ids=lambda path: path.name)
def test_an_app_runs(path):
    """In this process, which has all that a kernel would import; tests/browser has the kernels."""
    (cell,) = nbformat.read(path, as_version=4).cells
    *statements, last = ast.parse(cell.source).body
    names = {}
    exec(compile(ast.Module(statements, []), path.name, "exec"), names)
    page = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
    try:
        data, _ = DisplayFormatter().format(page)
        assert WIDGET in data
    finally:
        page.stop()
        page.close_all()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
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


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
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


@pytest.mark.parametrize("path", APPS, ids=lambda path: path.name)
def test_an_app_is_stored_without_results(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
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
