"""The apps as pages of a Voila server."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import socket
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import retnet_viz_jupyter
from jupyter_core.utils import run_sync
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from traitlets.config import Config
from voila.app import Voila
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler

from retnet_viz.content import APPS
from retnet_viz.server.address import is_loopback, reachable_host
from retnet_viz.server.kernels import OwnKernelSpecManager
from retnet_viz.server.voila_internals import is_warm, tell_in_terminal
from retnet_viz.server.websocket import PromptWebsocketConnection
from retnet_viz.trace.passes.budget import available_memory

NOTEBOOK = "explorer.ipynb"
# A kernel of each waits for its next visitor, in some 300 MB: the pages open several times as fast.
# They start one after another when the explorer is ready, while the others have little to do, which
# a starting one would slow, and while this much memory is free.
LATER = ("modes.ipynb", "compare.ipynb", "training.ipynb", "cost.ipynb")
QUIET_SECONDS = 5
QUIET_SHARE = 0.05  # of one processor; an open page that nobody touches takes less
FREE_BYTES = 2e9
TEMPLATES = Path(__file__).with_name("templates")
# A kernel nobody is connected to ends after this long; open pages keep theirs.
IDLE_SECONDS = 600
WARM_UP_SECONDS = 120


def serve(sockets: list[socket.socket], host: str, open_browser: bool) -> None:
    """Serve the apps on `sockets`, which are bound to `host`, until the process is to end."""
    tell_in_terminal()
    # At every connection tornado would warn that jupyter_server waits for three of its pings.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    # One thread per kernel: two that wait for each other on a busy machine are slower than one, and
    # every open page has a kernel. Whoever sets the variable has decided otherwise.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    retnet_viz_jupyter.tell_kernels()
    server = ExplorerServer(config=_config(host))
    server.sockets = sockets
    # The kernel that is started ahead asks the server for its visitor's address line, over HTTP.
    server.port = sockets[0].getsockname()[1]
    os.environ["VOILA_APP_IP"] = reachable_host(host)
    server.url = f"http://{reachable_host(host)}:{server.port}/"
    server.opens_browser = open_browser
    server.initialize([])
    server.start()


def _config(host: str) -> Config:
    config = Config()
    config.Application.log_level = "ERROR"
    config.Voila.root_dir = str(APPS)
    config.Voila.config_file_paths = []
    config.Voila.kernel_websocket_connection_class = PromptWebsocketConnection
    if is_loopback(host):
        # A closing page asks for its kernel's end without the token that the check wants, so the
        # check would keep every kernel alive. Requests under a foreign host name are refused.
        config.Voila.tornado_settings = {"disable_check_xsrf": True, "allow_remote_access": False}
    config.VoilaConfiguration.kernel_spec_manager_class = OwnKernelSpecManager
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.strip_sources = True
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.allow_theme_override = "NO"  # the page's script chooses the theme
    # Not used here: 4.8 MB of plotly.js, and colours for code cells.
    config.VoilaConfiguration.extension_denylist = ["jupyterlab-plotly", "jupyterlab_pygments"]
    config.VoilaConfiguration.preheat_kernel = True
    config.VoilaKernelManager.kernel_pools_config = {
        "default": {"pool_size": 0},
        NOTEBOOK: {"pool_size": 1},
    }
    config.VoilaKernelManager.fill_delay = 0.2
    config.VoilaExecutor.cell_error_instruction = (
        "The terminal that runs the server shows the reason."
    )
    config.MappingKernelManager.cull_idle_timeout = IDLE_SECONDS
    config.MappingKernelManager.cull_interval = 60
    # Widgets send many small messages while one drags; none may be dropped.
    config.ZMQChannelsWebsocketConnection.limit_rate = False
    return config


class ExplorerHandler(TornadoVoilaHandler):  # type: ignore[misc]
    """A page of an app."""

    def should_use_rendered_notebook(
        self, notebook_data: dict[str, Any], pool_size: int, *_: Any
    ) -> bool:
        """Whether a kernel that was started ahead takes this request, whatever its theme is."""
        return pool_size > 0 and bool(notebook_data)


class ExplorerServer(Voila):  # type: ignore[misc]
    """Voila with its own page, the explorer at `/`, and no listing of files."""

    sockets: list[socket.socket]
    url: str
    opens_browser: bool

    def initialize(self, argv: list[str] | None = None) -> None:
        """Configure the server; SIGTERM then stops its loop, as an interrupt does."""
        super().initialize(argv)
        self.ioloop = IOLoop.current()

    def setup_template_dirs(self) -> None:
        """Look for templates here first."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATES))

    def init_handlers(self) -> list[tuple[Any, ...]]:
        """Voila's handlers, without those that list files."""
        handlers = retnet_viz_jupyter.handlers(self.server_url)
        for pattern, handler, *options in super().init_handlers():
            if handler is TornadoVoilaHandler:
                handlers.append((pattern, ExplorerHandler, *options))
                front_page = {**options[0], "notebook_path": NOTEBOOK}
                handlers.append((self.server_url, ExplorerHandler, front_page))
            elif handler not in (TornadoVoilaTreeHandler, VoilaContentsHandler):
                handlers.append((pattern, handler, *options))
        return handlers

    def listen(self) -> None:
        """Serve on the sockets that were opened first, until the process is told to end."""
        http_server = HTTPServer(self.app)
        http_server.add_sockets(self.sockets)
        self.ioloop.add_callback(self._announce)
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            http_server.stop()
            self.stop()

    def stop(self) -> None:
        """End the kernels at once: they hold nothing that is to be kept."""
        run_sync(self.kernel_manager.shutdown_all)(now=True)
        shutil.rmtree(self.connection_dir, ignore_errors=True)

    async def _announce(self) -> None:
        await self._until_warm(NOTEBOOK)
        print(f"RetNet Explorer: {self.url}", flush=True)
        if self.opens_browser:
            await asyncio.to_thread(webbrowser.open, self.url)
        await self._start_ahead()

    async def _start_ahead(self) -> None:
        """Let a kernel of each other app wait for its visitor too."""
        await asyncio.sleep(QUIET_SECONDS)  # until the browser has started and asks for the page
        for notebook in LATER:
            await self._until_quiet()
            if available_memory() < FREE_BYTES:
                return
            pools = self.kernel_manager.kernel_pools_config
            self.kernel_manager.kernel_pools_config = {**pools, notebook: {"pool_size": 1}}
            self.kernel_manager.fill_if_needed(delay=0, notebook_name=notebook)
            await self._until_warm(notebook)

    async def _until_quiet(self) -> None:
        """Until for a while nobody opens a page or does anything in one."""
        before, after = -math.inf, self._kernel_seconds()
        while after - before > QUIET_SHARE * QUIET_SECONDS:
            await asyncio.sleep(QUIET_SECONDS)
            before, after = after, self._kernel_seconds()

    def _kernel_seconds(self) -> float:
        """Seconds that the processors have worked for the kernels that run."""
        seconds = 0.0
        for kernel in self.kernel_manager.list_kernel_ids():
            pid = getattr(self.kernel_manager.get_kernel(kernel).provisioner, "pid", None)
            if pid is None:  # it is about to start
                continue
            with suppress(psutil.Error):  # it has just ended
                times = psutil.Process(pid).cpu_times()
                seconds += times.user + times.system
        return seconds

    async def _until_warm(self, notebook: str) -> None:
        deadline = time.monotonic() + WARM_UP_SECONDS
        while time.monotonic() < deadline and not is_warm(self.kernel_manager, notebook):
            await asyncio.sleep(0.05)
