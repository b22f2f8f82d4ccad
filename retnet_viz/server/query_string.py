"""What a notebook learns about the visit that it was opened for."""

from __future__ import annotations

import json
import os

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


def query_string() -> str:
    """What stands after the question mark of the address that the visitor opened; often nothing.

    A kernel that was started ahead waits here until its visitor comes, so a notebook calls this
    after everything that can be done for any visitor. Without Voila the answer is "".
    """
    if os.environ.get("VOILA_PREHEAT") == "True":
        _wait_for_visitor()
    return os.environ.get("QUERY_STRING", "")


def _wait_for_visitor() -> None:
    # Voila's own wait_for_request does the same, and imports the whole server to do it.
    env = os.environ
    server = f"{env['VOILA_APP_IP']}:{env['VOILA_APP_PORT']}{env['VOILA_SERVER_URL']}"
    address = f"ws://{server}voila/query/{env['VOILA_KERNEL_ID']}"
    try:
        # No pings: the visitor may come after days, and after the machine has slept.
        with connect(address, ping_interval=None, proxy=None) as websocket:
            os.environ.update(json.loads(websocket.recv()))
    except (OSError, WebSocketException):
        return  # the server has ended, and this kernel is about to
