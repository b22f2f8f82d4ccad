"""Finds and starts a Chromium; `python -m tests.support.chromium` installs one if there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
MAC_APPS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# What Chromium is started with: containers have no sandbox, and nothing is asked of the network.
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


class NoChromiumError(RuntimeError):
    """There is no usable browser; the message says what to do."""


def find() -> str:
    """The executable of an installed Chromium or Chrome; the variable CHROMIUM overrides.

    Raises:
        NoChromiumError: none is installed, or CHROMIUM names none.
    """
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise NoChromiumError(f"CHROMIUM is {chosen!r}, which is not an executable file.")
        return found
    for name in (*NAMES, *MAC_APPS):
        found = shutil.which(name)
        if found is not None:
            return found
    bundled = _playwrights_own()
    if bundled.is_file():
        return str(bundled)
    raise NoChromiumError(
        "No Chromium or Chrome is installed: install one, or name one in the variable CHROMIUM."
    )


def launch(playwright: Playwright) -> Browser:
    """An installed Chromium without a window, driven by `playwright`.

    Raises:
        NoChromiumError: as `find` does.
    """
    return playwright.chromium.launch(executable_path=find(), args=list(OPTIONS))


def install() -> None:
    """Install a Chromium: the system's where this user may, else the one Playwright brings.

    Raises:
        NoChromiumError: neither could be had.
    """
    for commands in (_system_packages(), [_playwright("install", "chromium")]):
        if commands and all(_succeeds(command) for command in commands):
            return
    raise NoChromiumError(
        "No Chromium is installed and none could be downloaded: install Chromium or Chrome, "
        "or name one in the variable CHROMIUM, and run this again."
    )


def _system_packages() -> list[list[str]]:
    if shutil.which("apt-get") is None:
        return []
    if os.geteuid() == 0:
        become_root = []
    elif shutil.which("sudo") and _succeeds(["sudo", "-n", "true"]):
        become_root = ["sudo", "-n"]
    else:
        return []
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    return [
        [*become_root, *quiet, "apt-get", "update"],
        [*become_root, *quiet, *install],
        # Ubuntu's package of that name is an installer for a snap, which may not run here.
        ["chromium", "--version"],
    ]


def _playwright(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "playwright", *arguments]


def _playwrights_own() -> Path:
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, timeout=600).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main() -> int:
    """Print the executable, after installing one if there is none."""
    try:
        try:
            executable = find()
        except NoChromiumError:
            if os.environ.get("CHROMIUM"):
                raise
            print("Installing Chromium for the browser tests ...", file=sys.stderr)
            install()
            executable = find()
    except NoChromiumError as error:
        print(error, file=sys.stderr)
        return 1
    print(executable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
