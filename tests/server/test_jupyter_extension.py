"""A Jupyter server that knows nothing of us but that the package is installed beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
import retnet_viz_jupyter
from plotly.offline import get_plotlyjs

from tests.support.serving import COMMAND, jupyter_home, serving


@pytest.mark.slow
@pytest.mark.parametrize("base", ["/", "/user/ann/"])
def test_a_stock_server_has_plotly_as_a_module(base: str, tmp_path: Path) -> None:
    options = ["--no-browser", "--port=0", "--allow-root", f"--ServerApp.base_url={base}"]
    stock = COMMAND.with_name("jupyter-server")
    with serving(*options, environment=jupyter_home(tmp_path), command=stock) as address:
        answer = opened(urljoin(address, base + retnet_viz_jupyter.ADDRESS))
        assert answer.headers["Content-Type"].startswith("text/javascript")
        script = answer.read().decode()
    assert get_plotlyjs() in script
    assert script.endswith("export default module.exports;")


def opened(address: str) -> HTTPResponse:
    """The server's answer; it prints its address a moment before it listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return urlopen(address, timeout=60)
        except URLError as error:
            if isinstance(error, HTTPError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_server_does_not_wait_for_torch() -> None:
    code = "import sys, retnet_viz_jupyter; print({'torch', 'plotly'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "set()\n"), run.stderr
