"""The container's recipe: each step is possible, and it runs as nobody special."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from retnet_viz.cli import make_parser
from tests.support.building import CHECKOUT

DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"


def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile: name and argument, continued lines joined."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


STEPS = steps()


def arguments(name: str) -> list[str]:
    return [argument for step, argument in STEPS if step == name]


def words(command: str) -> list[str]:
    """A command in its form without a shell, which gets signals itself."""
    parsed: list[str] = json.loads(command)
    return parsed


def test_the_image_starts_the_explorer_on_the_port_that_it_opens() -> None:
    (command,) = arguments("CMD")
    program, *options = words(command)
    assert program == "retnet-viz"
    parsed = make_parser().parse_args(options)
    assert (parsed.command, parsed.host, parsed.no_browser) == ("explore", "0.0.0.0", True)
    assert arguments("EXPOSE") == [str(parsed.port)]
    assert f"-p 127.0.0.1:{parsed.port}:{parsed.port} " in DOCKERFILE.read_text(encoding="utf-8")


def test_the_image_installs_the_pinned_packages_and_then_the_package_alone() -> None:
    installs = [argument for argument in arguments("RUN") if argument.startswith("pip install")]
    assert installs == [
        "pip install -r /src/requirements.txt",
        "pip install --no-deps --no-build-isolation /src",
    ]


def test_the_last_stage_runs_as_a_user_of_its_own() -> None:
    last = max(i for i, (name, _) in enumerate(STEPS) if name == "FROM")
    names = [name for name, _ in STEPS[last:]]
    (user,) = arguments("USER")
    assert user not in ("root", "0")
    assert any(f" {user}" in argument and "useradd" in argument for argument in arguments("RUN"))
    assert names.index("USER") < names.index("CMD")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (
        (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    )
    for copied in arguments("COPY"):
        if not copied.startswith("--from"):
            source = copied.split()[0]
            assert (CHECKOUT / source).exists()
            assert source not in ignored
    needed = (
        "retnet_viz",
        "apps",
        "notebooks",
        "benchmarks",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    )
    assert not set(needed) & set(ignored)


def test_its_health_is_asked_of_a_page_that_starts_no_kernel() -> None:
    (check,) = arguments("HEALTHCHECK")
    *_, code = words(check[check.index("[") :])
    (address,) = re.findall(r"http://[^']+", code)
    (port,) = arguments("EXPOSE")
    assert address == f"http://127.0.0.1:{port}/voila/static/extension.js"


def test_the_image_builds(tmp_path: Path) -> None:
    tool = shutil.which("docker") or shutil.which("podman")
    if tool is None or subprocess.run([tool, "info"], capture_output=True).returncode:
        pytest.skip("neither Docker nor Podman runs here")
    command = [tool, "build", "-f", str(DOCKERFILE), "--iidfile", str(tmp_path / "id"), "."]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stderr
