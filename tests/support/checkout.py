"""A copy of the checkout, for what changes its files: the guides, and the mutants."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("retnet_viz", "docs", "tests", "pyproject.toml")
LARGE = (".safetensors",)


def copy_of_the_checkout(folder: Path, *more: str) -> Path:
    """What a contributor starts from; the large files are links to those of the checkout.

    `more` names what is copied besides the package, its tests and its documentation.
    """

    def copy(source: str, target: str) -> None:
        if Path(source).suffix in LARGE:
            os.symlink(source, target)
        else:
            shutil.copy(source, target)

    for name in (*COPIED, *more):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.stamp")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored, copy_function=copy)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a process that imports the package from a copy of the checkout."""
    return {**os.environ, "PYTHONPATH": str(folder)}
