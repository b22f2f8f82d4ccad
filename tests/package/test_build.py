"""What people install: a wheel with all that they open, an sdist with all that the tests need."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import retnet_viz as rv
from retnet_viz.checkpoints import shipped
from retnet_viz.cli import main
from tests.support.building import CHECKOUT, build

LARGEST_WHEEL = 30e6  # bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    (path,) = folder.glob("*.whl")
    return path


def files_of_the_project() -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if run.returncode:
        pytest.skip("this is no git checkout, whose files could be compared with")
    # A file that was removed and is not committed yet is tracked too.
    return {name for name in run.stdout.splitlines() if (CHECKOUT / name).exists()}


def test_the_wheel_holds_the_package_and_what_people_open(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name for name in files_of_the_project() if name.startswith("retnet_viz/")}
    wanted |= {
        f"retnet_viz/{path.parent.name}/{path.name}"
        for folder in ("apps", "notebooks", "benchmarks/results")
        for path in (CHECKOUT / folder).iterdir()
        if path.is_file()
    }
    assert {"retnet_viz/py.typed", "retnet_viz/apps/explorer.ipynb"} <= wanted
    folder = f"retnet_viz-{rv.__version__}.data/data/etc/jupyter/jupyter_server_config.d"
    wanted |= {"retnet_viz_jupyter.py", f"{folder}/retnet-viz.json"}
    about = {name for name in names if ".dist-info/" in name}
    assert any(name.endswith("/licenses/LICENSE") for name in about)
    assert names - about == wanted


def test_the_models_share_one_tokenizer_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("/tokenizer.json")] == [
        "retnet_viz/checkpoints/default/tokenizer.json"
    ]


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_sdist_holds_the_checkout(folder: Path) -> None:
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.split("/", 1)[1] for member in archive if member.isfile()}
    assert files_of_the_project() <= names
    assert names - files_of_the_project() <= {"PKG-INFO"}


def test_there_is_one_version(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wheel.name.split("-")[1] == rv.__version__
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == rv.__version__
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"retnet-viz {rv.__version__}\n"


def test_each_model_card_says_who_may_use_the_weights() -> None:
    for folder in shipped().values():
        card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert "| licence of the weights | MIT" in card
        assert "public-domain" in card


@pytest.mark.slow
def test_tracing_imports_no_notebook_and_no_server() -> None:
    code = """
import sys
import retnet_viz as rv

assert rv.trace(rv.load(), "Once upon").logits.shape[0] > 0
heavy = ("IPython", "anywidget", "ipywidgets", "jupyterlab", "plotly", "tornado", "voila", "pandas")
print([name for name in heavy if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
