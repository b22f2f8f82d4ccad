"""What the server uses of Voila that is not documented, and that a new version may change or drop.

All of it stands here, known to work with the versions of `KNOWN`. A test fails, and says what is
gone, where Voila is another; the server itself goes on without what it does not find.
"""

from __future__ import annotations

import sys
from typing import Any

from voila.execute import VoilaExecutor
from voila.request_info_handler import RequestInfoSocketHandler

KNOWN = ("0.5.13",)


def is_warm(kernel_manager: Any, notebook: str) -> bool:
    """Whether the kernel started ahead has run the notebook, or waits in it for a visitor.

    `_pools` holds a task for each such kernel, whose result names the kernel and the run of the
    notebook; `_waiters` holds the kernels that have asked for their visitor.
    """
    pool = getattr(kernel_manager, "_pools", {}).get(notebook, [])
    if not pool:  # a visitor has already taken it
        return True
    if not pool[0].done():
        return False
    kernel = pool[0].result()
    waiting = kernel["kernel_id"] in getattr(RequestInfoSocketHandler, "_waiters", {})
    return waiting or bool(kernel["task"].done())


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
