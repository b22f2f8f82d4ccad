"""Where the apps and the notebooks are."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
APPS = CHECKOUT / "apps"
NOTEBOOKS = CHECKOUT / "notebooks"


class MissingFolderError(ValueError):
    """What should be served is not there; the message says what to do."""


def require(path: Path) -> Path:
    """`path`, when it exists.

    Raises:
        MissingFolderError: it does not, as in a package installed without its checkout.
    """
    if not path.exists():
        raise MissingFolderError(
            f"{path} does not exist; apps and notebooks are served from a checkout of the "
            "repository that is installed with `pip install -e .`."
        )
    return path
