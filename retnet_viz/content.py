"""Where the files lie that people open: inside an installed package, beside that of a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
CHECKOUT = PACKAGE.parent
IS_INSTALLED = (PACKAGE / "apps").exists()  # the build puts it there
_FOLDER = PACKAGE if IS_INSTALLED else CHECKOUT

APPS = _FOLDER / "apps"
NOTEBOOKS = _FOLDER / "notebooks"
RESULTS = PACKAGE / "results" if IS_INSTALLED else CHECKOUT / "benchmarks" / "results"
