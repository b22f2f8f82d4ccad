"""Why an app failed: told in the terminal, since its page shows no traceback."""

from __future__ import annotations

import sys
from typing import Any

from voila.execute import VoilaExecutor


def tell_in_terminal() -> None:
    """From now on print the traceback of each failing cell before Voila takes it off the page.

    Voila drops it without a word where tracebacks are not shown, and its executor cannot be
    replaced by configuration.
    """
    strip = VoilaExecutor.strip_code_cell_errors

    def tell_and_strip(executor: Any, cell: Any) -> Any:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                print(*output["traceback"], sep="\n", file=sys.stderr, flush=True)
        return strip(executor, cell)

    VoilaExecutor.strip_code_cell_errors = tell_and_strip
