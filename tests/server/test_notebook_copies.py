"""Notebooks are opened where they can be changed, and what a user changed stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from retnet_viz.cli import main
from retnet_viz.content import NOTEBOOKS
from retnet_viz.server import notebooks
from retnet_viz.server.notebooks import COPIES, FolderError, copy_notebooks, notebook_folder


def test_notebooks_are_copied_and_none_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    new, kept = copy_notebooks(folder)
    assert {path.name for path in new} == {path.name for path in NOTEBOOKS.glob("*.ipynb")}
    assert {path.read_bytes() for path in new} == {
        path.read_bytes() for path in NOTEBOOKS.glob("*.ipynb")
    }
    assert kept == []
    changed, removed = new[:2]
    changed.write_text("mine")
    removed.unlink()
    assert copy_notebooks(folder) == ([removed], [path for path in new if path != removed])
    assert changed.read_text() == "mine"
    assert {path.suffix for path in folder.iterdir()} == {".ipynb"}


def test_a_checkout_opens_its_own_notebooks(tmp_path: Path) -> None:
    assert notebook_folder(None) == NOTEBOOKS
    assert notebook_folder(tmp_path) == tmp_path


def test_an_installed_package_opens_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "IS_INSTALLED", True)
    monkeypatch.chdir(tmp_path)
    assert notebook_folder(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert notebook_folder(None) == Path(COPIES)
    assert len(list((tmp_path / COPIES).glob("*.ipynb"))) == len(list(NOTEBOOKS.glob("*.ipynb")))


@pytest.mark.parametrize("command", ["notebooks", "lab"])
def test_a_file_in_place_of_a_folder_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main([command, str(file)]) == 2
    assert str(file) in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_folder_that_is_missing_names_the_command_that_makes_it(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(FolderError, match=f"`retnet-viz notebooks {missing}` makes it"):
        notebook_folder(missing)
