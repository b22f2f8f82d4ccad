"""Which kernels the server starts before anybody asks for their pages, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from retnet_viz.server import explorer
from retnet_viz.server.explorer import LATER, NOTEBOOK, ExplorerHandler, ExplorerServer
from retnet_viz.server.folders import APPS


class Server:
    """Of a server, what starts kernels ahead: it writes down what is done, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: float = 9e9) -> None:
        self.kernel_manager = self
        self.kernel_pools_config: dict[str, Any] = {NOTEBOOK: {"pool_size": 1}}
        self.now, self.free, self.done = 100.0, free, list[tuple[float, str]]()
        self.visits: list[float] = []  # when pages are asked for, in order
        monkeypatch.setattr(explorer.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(explorer.asyncio, "sleep", self._sleep)
        monkeypatch.setattr(explorer, "available_memory", lambda: self.free)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        while self.visits and self.visits[0] <= self.now:
            ExplorerHandler.asked = self.visits.pop(0)

    def fill_if_needed(self, delay: float, notebook_name: str) -> None:
        assert self.kernel_pools_config[notebook_name] == {"pool_size": 1}
        self.free -= 3e8
        self.done.append((self.now, notebook_name))

    async def _until_warm(self, notebook: str) -> None:
        assert self.done[-1][1] == notebook  # no two at once
        self.now += 4

    def start_ahead(self) -> list[tuple[float, str]]:
        asyncio.run(ExplorerServer._start_ahead(self))
        return self.done


def test_each_other_app_has_a_kernel_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    assert server.start_ahead() == [(110 + 4 * i, name) for i, name in enumerate(LATER)]
    assert server.kernel_pools_config[NOTEBOOK] == {"pool_size": 1}
    assert {NOTEBOOK, *LATER} == {path.name for path in APPS.glob("*.ipynb")}


def test_none_starts_while_a_page_is_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    server.visits = [103.0, 109.0]
    first, *_ = server.start_ahead()
    assert first[0] == 109 + explorer.QUIET_SECONDS


def test_what_memory_does_not_allow_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, free=explorer.FREE_BYTES + 5e8)
    assert [name for _, name in server.start_ahead()] == list(LATER[:2])
