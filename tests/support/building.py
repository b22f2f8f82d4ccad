"""The package as it is published, built from the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def build(folder: Path, *kinds: str) -> None:
    """Build "wheel" or "sdist", or both, into `folder`, with the installed backend."""
    targets = [part for kind in kinds for part in ("-t", kind)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *targets],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        timeout=300,
    )
