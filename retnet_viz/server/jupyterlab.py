"""The notebooks in JupyterLab."""

from __future__ import annotations

from pathlib import Path

from jupyterlab.labapp import LabApp
from tornado.ioloop import IOLoop
from traitlets.config import Config

from retnet_viz.server.address import reachable_host
from retnet_viz.server.kernels import OwnKernelSpecManager
from retnet_viz.server.websocket import PromptWebsocketConnection

SETTINGS = Path(__file__).with_name("lab_settings")


def serve(folder: Path, host: str, port: int, open_browser: bool) -> None:
    """Serve `folder` on `host` and `port`, which is free, until the process is to end."""
    config = Config()
    config.ServerApp.ip = host
    config.ServerApp.port = port
    config.ServerApp.port_retries = 0
    config.ServerApp.root_dir = str(folder.resolve())
    config.ServerApp.open_browser = open_browser
    config.ServerApp.allow_root = True  # containers often have no other user
    config.ServerApp.answer_yes = True  # Ctrl-C ends it at once
    config.ServerApp.log_level = "ERROR"
    config.ServerApp.kernel_websocket_connection_class = PromptWebsocketConnection
    config.ServerApp.kernel_spec_manager_class = OwnKernelSpecManager
    config.ServerApp.jpserver_extensions = {"retnet_viz_jupyter": True}
    # Nothing is asked of the network: no news, no updates, no list of extensions.
    config.LabApp.news_url = None
    config.LabApp.app_settings_dir = str(SETTINGS)
    config.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
    config.LabApp.extension_manager = "readonly"
    config.LabApp.log_level = "ERROR"
    server = LabApp.initialize_server(argv=[], config=config)
    token = server.identity_provider.token
    url = f"http://{reachable_host(host)}:{port}/lab?token={token}"
    IOLoop.current().add_callback(print, f"JupyterLab: {url}", flush=True)
    server.start()
