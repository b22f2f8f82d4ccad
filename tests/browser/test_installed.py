"""The published wheel in an environment of its own, started from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

import retnet_viz as rv
from tests.support.building import CHECKOUT, build
from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook
from tests.support.serving import jupyter_home, serving

# An installed package must not find the checkout, nor the user's own settings.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    build(folder, "wheel")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment", with_pip=True)
    commands = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    constraints = CHECKOUT / "requirements.txt"
    run = subprocess.run(
        # Not compiled: of most modules of a hundred packages nothing is ever imported here.
        [
            commands / "python",
            "-m",
            "pip",
            "install",
            "-q",
            "--no-compile",
            "-c",
            constraints,
            wheel,
        ],
        capture_output=True,
        text=True,
        timeout=900,
        env=ENVIRONMENT,
    )
    assert run.returncode == 0, run.stderr
    return commands


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_explorer_opens(installed: Path, page: Page, tmp_path: Path) -> None:
    command = installed / "retnet-viz"
    options = ("explore", "--no-browser", "--port", "0")
    with serving(*options, command=command, folder=tmp_path) as url:
        page.goto(url)
        explorer = ExplorerPage(page)
        explorer.wait()
        text = explorer.text.input_value()
        expect(explorer.tokens).to_have_count(len(rv.trace(rv.load(), text).tokens))
    assert files(tmp_path) == set()


def test_the_notebooks_open_as_copies(installed: Path, page: Page, tmp_path: Path) -> None:
    command = installed / "retnet-viz"
    package = next(installed.parent.rglob("retnet_viz/notebooks"))
    before = files(package)
    home = jupyter_home(tmp_path / "home")
    folder = tmp_path / "empty"
    folder.mkdir()
    options = ("lab", "--no-browser", "--port", "0")
    with serving(*options, command=command, folder=folder, environment=home) as url:
        assert urlsplit(url).query.startswith("token=")
        open_notebook(page, url, "01_meet_retention.ipynb")
    copies = {name for name in files(folder) if ".ipynb_checkpoints" not in name}
    assert {name for name in copies if name.endswith(".ipynb")} == {
        f"retnet-viz-notebooks/{name}" for name in before
    }
    assert files(package) == before


def test_a_project_that_imports_it_is_typed(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "reads.py"
    script.write_text(
        "import retnet_viz as rv\n\nheads: int = rv.load().config.n_heads\n"
        'wrong: int = rv.trace(rv.load(), "Once").mode\n'
    )
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", installed / "python", "reads.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert run.stdout.count("error:") == 1, run.stdout
    assert (
        'reads.py:4: error: Incompatible types in assignment (expression has type "str"'
        in run.stdout
    )


def test_the_command_finds_what_it_ships(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [installed / "retnet-viz", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            env=ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"retnet-viz {rv.__version__}\n"
    assert "5 notebooks copied to copies" in run("notebooks", "copies")
    (tmp_path / "copies" / "01_meet_retention.ipynb").write_text("mine")
    assert "stays as it is" in run("notebooks", "copies")
    assert (tmp_path / "copies" / "01_meet_retention.ipynb").read_text() == "mine"
