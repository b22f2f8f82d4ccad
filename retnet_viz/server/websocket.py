"""The websocket between a page and its kernel."""

from __future__ import annotations

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptWebsocketConnection(ZMQChannelsWebsocketConnection):  # type: ignore[misc]
    """A kernel connection that sends small messages at once.

    With Nagle's algorithm a slider's message waits for the previous one's acknowledgement: 50 ms
    for a round trip that takes one screen frame without it.
    """

    async def connect(self) -> None:
        """Turn Nagle's algorithm off, then connect to the kernel."""
        self.websocket_handler.set_nodelay(True)
        await super().connect()
