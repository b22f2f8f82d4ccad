"""Which kernels the server starts before anybody asks for their pages, and when."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from retnet_viz.content import APPS
from retnet_viz.server import voila_apps
from retnet_viz.server.voila_apps import LATER, NOTEBOOK, QUIET_SECONDS, ExplorerServer


class Server:
    """Of a server, what starts kernels ahead: it writes down what is done, and when.

    From each of the `busy` seconds on, the kernels work for a second.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: float = 9e9) -> None:
        self.kernel_manager = self
        self.kernel_pools_config: dict[str, Any] = {NOTEBOOK: {"pool_size": 1}}
        self.now, self.free, self.done = 100.0, free, list[tuple[float, str]]()
        self.busy: list[float] = []
        monkeypatch.setattr(voila_apps.asyncio, "sleep", self._sleep)
        monkeypatch.setattr(voila_apps, "available_memory", lambda: self.free)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _kernel_seconds(self) -> float:
        pages = 0.002 * self.now  # what open pages ask for by themselves
        return pages + sum(min(1.0, max(0.0, self.now - start)) for start in self.busy)

    def fill_if_needed(self, delay: float, notebook_name: str) -> None:
        assert self.kernel_pools_config[notebook_name] == {"pool_size": 1}
        self.free -= 3e8
        self.done.append((self.now, notebook_name))

    async def _until_quiet(self) -> None:
        await ExplorerServer._until_quiet(self)

    async def _until_warm(self, notebook: str) -> None:
        assert self.done[-1][1] == notebook  # no two at once
        self.busy.append(self.now)
        self.now += 4

    def start_ahead(self) -> list[tuple[float, str]]:
        asyncio.run(ExplorerServer._start_ahead(self))
        return self.done


def test_each_other_app_has_a_kernel_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    step = QUIET_SECONDS + 4
    assert server.start_ahead() == [
        (100 + 2 * QUIET_SECONDS + step * i, name) for i, name in enumerate(LATER)
    ]
    assert server.kernel_pools_config[NOTEBOOK] == {"pool_size": 1}
    assert {NOTEBOOK, *LATER} == {path.name for path in APPS.glob("*.ipynb")}


def test_none_starts_while_a_page_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    server.busy = [100.0 + i for i in range(23)]
    first, second, *_ = server.start_ahead()
    assert 123 + QUIET_SECONDS <= first[0] <= 123 + 2 * QUIET_SECONDS
    assert second[0] == first[0] + 4 + QUIET_SECONDS


def test_what_memory_does_not_allow_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, free=voila_apps.FREE_BYTES + 5e8)
    assert [name for _, name in server.start_ahead()] == list(LATER[:2])


def test_the_work_of_the_kernels_alone_is_counted() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    command = [sys.executable, "-c", busy]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as kernel,
        subprocess.Popen(command, stdin=subprocess.PIPE) as browser,
    ):
        managed = SimpleNamespace(provisioner=SimpleNamespace(pid=kernel.pid))
        ended = SimpleNamespace(provisioner=SimpleNamespace(pid=2**22 + 1))  # beyond any process
        starting = SimpleNamespace(provisioner=None)
        kernels = {"one": managed, "two": ended, "three": starting}
        manager = SimpleNamespace(list_kernel_ids=lambda: [*kernels], get_kernel=kernels.get)
        server: Any = SimpleNamespace(kernel_manager=manager)
        deadline = time.monotonic() + 60
        while (worked := ExplorerServer._kernel_seconds(server)) < 0.4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert worked < 0.7
        for process in (kernel, browser):
            assert process.stdin is not None
            process.stdin.close()
