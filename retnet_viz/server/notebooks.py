"""The notebooks, copied out to where they can be run and changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from retnet_viz.checkpoints.files import replaced_file
from retnet_viz.content import IS_INSTALLED, NOTEBOOKS

COPIES = "retnet-viz-notebooks"


class FolderError(ValueError):
    """A folder that cannot be used; the message says what to do."""


def copy_notebooks(folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks into `folder`, which is made where there is none.

    Gives the files that were copied, and those that were there already and stay as they are.

    Raises:
        FolderError: the folder cannot be made or written.
    """
    new, kept = [], []
    try:
        for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
            copy = folder / notebook.name
            if copy.exists():
                kept.append(copy)
                continue
            with replaced_file(copy) as scratch:
                shutil.copyfile(notebook, scratch)
            new.append(copy)
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written ({error.strerror}): name another folder."
        ) from error
    return new, kept


def notebook_folder(folder: Path | None) -> Path:
    """The folder to open: `folder`, or the checkout's notebooks, or copies in the working folder.

    An installed package is not written to: its notebooks are copied out.

    Raises:
        FolderError: `folder` is none, or copies cannot be written.
    """
    if folder is not None and not folder.is_dir():
        raise FolderError(
            f"{folder} is no folder. `retnet-viz notebooks {folder}` makes it and copies the "
            "notebooks into it; `retnet-viz lab` alone opens them."
        )
    if folder is None and IS_INSTALLED:
        folder = Path(COPIES)
        copy_notebooks(folder)
    return folder or NOTEBOOKS
