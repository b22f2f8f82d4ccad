"""How many examples a property is tried with: all that its test names, or few in the fast loop.

`make unit` sets RETNET_VIZ_TESTS=quick; `make test` does not.
"""

from __future__ import annotations

import os

IS_QUICK = os.environ.get("RETNET_VIZ_TESTS") == "quick"
FEWEST = 5


def examples(n: int) -> int:
    """n, or a quarter of it in the fast loop."""
    return max(FEWEST, n // 4) if IS_QUICK else n
