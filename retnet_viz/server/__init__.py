"""What serves the apps and the notebooks: Voila and JupyterLab, set up in code.

Set up in code, because Voila reads `voila.json` from the working directory and from the user's
Jupyter folders, so a file beside the apps would be ignored and a stray one obeyed.
"""

from __future__ import annotations

from pathlib import Path

# The servers are imported after their address is known to be free: they take seconds to import,
# and a kernel that asks this package for its visitor needs neither.


def explore(host: str = "127.0.0.1", port: int = 8866, open_browser: bool = False) -> None:
    """Serve the apps until the process is interrupted or terminated.

    `/` is the explorer, `/voila/render/NAME.ipynb` any other app. The line with the address is
    printed when the page is served and a kernel waits for the first visitor.

    Raises:
        AddressError: `host` and `port` cannot be listened on.
    """
    from retnet_viz.server.address import open_sockets, warn_if_open

    sockets = open_sockets(host, port)
    warn_if_open(host, "Whoever can reach it can use it: put authentication in front of it.")
    print("Starting the server and a kernel ...", flush=True)
    from retnet_viz.server.voila_apps import serve

    serve(sockets, host, open_browser)


def lab(
    folder: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8888,
    open_browser: bool = False,
) -> None:
    """Serve `folder` in JupyterLab until the process is interrupted or terminated.

    Without a folder, the notebooks: those of the checkout, or copies of those in the package, in
    the folder retnet-viz-notebooks. The printed address carries the token that JupyterLab asks for.

    Raises:
        AddressError: `host` and `port` cannot be listened on.
        FolderError: `folder` is none, or copies cannot be written.
    """
    from retnet_viz.server.address import open_sockets, warn_if_open
    from retnet_viz.server.notebooks import notebook_folder

    opened = notebook_folder(folder)
    sockets = open_sockets(host, port)
    free_port = sockets[0].getsockname()[1]
    for listener in sockets:  # JupyterLab opens its own; this found out that it can
        listener.close()
    warn_if_open(host, "Its token is all that keeps others from running code: use it over TLS.")
    print("Starting JupyterLab ...", flush=True)
    from retnet_viz.server.jupyterlab import serve

    serve(opened, host, free_port, open_browser)
