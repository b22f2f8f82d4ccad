"""What the server of the apps allows, which Python its kernels run in, what a kernel is told."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from websockets.sync.server import ServerConnection, serve

from retnet_viz.server.kernels import OwnKernelSpecManager
from retnet_viz.server.query_string import query_string
from retnet_viz.server.voila_apps import _config
from retnet_viz.server.websocket import PromptWebsocketConnection

OPEN = ["0.0.0.0", "192.168.1.2", "a-name"]


@pytest.mark.parametrize("host", OPEN)
def test_a_server_that_others_reach_checks_where_requests_come_from(host: str) -> None:
    assert "tornado_settings" not in _config(host).Voila


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_closing_page_may_end_its_kernel_where_only_this_machine_asks(host: str) -> None:
    settings = _config(host).Voila.tornado_settings
    assert settings == {"disable_check_xsrf": True, "allow_remote_access": False}


@pytest.mark.parametrize("host", ["127.0.0.1", *OPEN])
def test_a_visitor_sees_no_traceback_no_source_and_no_other_template(host: str) -> None:
    allowed = _config(host).VoilaConfiguration
    assert not allowed.show_tracebacks
    assert allowed.strip_sources
    assert (allowed.allow_template_override, allowed.allow_theme_override) == ("NO", "NO")


def test_a_kernel_that_nobody_uses_ends() -> None:
    kernels = _config("127.0.0.1").MappingKernelManager
    assert 0 < kernels.cull_interval < kernels.cull_idle_timeout < 3600
    assert "cull_connected" not in kernels  # an open page keeps its own


def test_the_cells_run_in_the_python_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the user's folder has a kernel of the same name."""
    for name in (NATIVE_KERNEL_NAME, "another"):
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": ["/elsewhere/python"], "display_name": name, "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    kernels = OwnKernelSpecManager()
    assert kernels.get_kernel_spec(NATIVE_KERNEL_NAME).argv[0] == sys.executable
    assert kernels.get_kernel_spec("another").argv == ["/elsewhere/python"]
    specs = kernels.get_all_specs()
    assert specs[NATIVE_KERNEL_NAME]["spec"]["argv"][0] == sys.executable
    assert specs["another"]["spec"]["argv"] == ["/elsewhere/python"]


def test_the_websocket_sends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    class Connection(PromptWebsocketConnection):
        websocket_handler = SimpleNamespace(set_nodelay=calls.append)

        def __init__(self) -> None:
            """Without a kernel."""

    async def connect(self: ZMQChannelsWebsocketConnection) -> None:
        calls.append("connect")

    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", connect)
    asyncio.run(Connection().connect())
    assert calls == [True, "connect"]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server that tells each kernel of its visit; the addresses that were asked for."""
    requests: list[str] = []

    def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request.path)
        connection.send(json.dumps({"QUERY_STRING": "s=1.visit"}))

    with serve(tell, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name, value in {
            "QUERY_STRING": "s=1.none",  # a visit's comes instead
            "VOILA_APP_IP": "127.0.0.1",
            "VOILA_APP_PORT": str(server.socket.getsockname()[1]),
            "VOILA_SERVER_URL": "/base/",
            "VOILA_KERNEL_ID": "a-kernel",
        }.items():
            monkeypatch.setenv(name, value)
        yield requests
        server.shutdown()
        thread.join()


def test_a_kernel_that_was_started_ahead_waits_for_its_visit(
    visit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOILA_PREHEAT", "True")
    assert query_string() == "s=1.visit"
    assert visit == ["/base/voila/query/a-kernel"]


def test_any_other_kernel_knows_its_visit(
    visit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOILA_PREHEAT", raising=False)
    assert query_string() == "s=1.none"
    assert visit == []
    monkeypatch.delenv("QUERY_STRING")
    assert query_string() == ""


def test_a_kernel_whose_server_has_ended_does_not_fail(
    visit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOILA_PREHEAT", "True")
    monkeypatch.setenv("VOILA_APP_PORT", "1")  # nobody listens there
    assert query_string() == "s=1.none"
