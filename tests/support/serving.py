"""The command as a user runs it: started, read until it serves, ended by its own process id."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = Path(sys.executable).with_name("retnet-viz")
START_SECONDS = 120


@contextmanager
def serving(
    *arguments: str,
    environment: dict[str, str] | None = None,
    command: Path = COMMAND,
    folder: Path | None = None,
) -> Iterator[str]:
    """Run `retnet-viz` with `arguments` and give the address that it prints when it serves."""
    process = subprocess.Popen(
        [str(command), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield _printed_address(process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def jupyter_home(folder: Path) -> dict[str, str]:
    """Variables that keep Jupyter's files in `folder`.

    The user's own settings and workspaces must not change what the tests see, nor be changed.
    """
    return {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }


def _printed_address(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            received = os.read(process.stdout.fileno(), 65536)
            output += received
            found = re.search(rb" (http://\S+)\n", output)
            if found:
                return found[1].decode()
            if not received:
                break
    raise AssertionError(f"the server did not start; it printed:\n{output.decode()}")
