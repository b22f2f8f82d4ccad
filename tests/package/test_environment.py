"""One version of every package, whichever way a person installs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from retnet_viz.server.voila_internals import KNOWN

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, str]:
    lines = (CHECKOUT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith(("#", "-r"))]
    return {canonicalize_name(package): number for package, number in pairs}


RUNTIME = pins("requirements.txt")
DEVELOPMENT = pins("requirements-dev.txt")
ENVIRONMENT = yaml.safe_load((CHECKOUT / "environment.yml").read_text())


def test_torch_is_pinned_to_the_version_that_the_numbers_were_made_with() -> None:
    assert RUNTIME["torch"] == "2.13.0"


@pytest.mark.parametrize("dependency", PROJECT["project"]["dependencies"])
def test_every_dependency_is_pinned_to_a_version_that_it_allows(dependency: str) -> None:
    requirement = Requirement(dependency)
    assert requirement.specifier.contains(RUNTIME[canonicalize_name(requirement.name)])


def test_the_build_allows_the_pinned_backend() -> None:
    (requirement,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert requirement.specifier.contains(RUNTIME[canonicalize_name(requirement.name)])


def test_voila_is_bounded_since_parts_of_it_are_used_that_may_change() -> None:
    (voila,) = (name for name in PROJECT["project"]["dependencies"] if name.startswith("voila"))
    assert (RUNTIME["voila"],) == KNOWN
    assert not Requirement(voila).specifier.contains("0.6.0")


PIP_LINES = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))


@pytest.mark.slow
def test_pip_takes_what_conda_gives_it(tmp_path: Path) -> None:
    """Conda writes the list into a file beside environment.yml, which pip reads."""
    lines = [line.replace("--editable .", f"--editable {CHECKOUT}") for line in PIP_LINES]
    assert lines != PIP_LINES
    (tmp_path / "list.txt").write_text("\n".join(lines))
    # What the list asks for is installed here, and so is what builds the package.
    options = ["--dry-run", "--no-index", "--no-build-isolation"]
    run = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "-r", str(tmp_path / "list.txt")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "Would install retnet-viz" in run.stdout


def test_conda_installs_the_pinned_versions() -> None:
    pinned = [entry for entry in PIP_LINES if not entry.startswith("--")]
    versions = {canonicalize_name(name): number for name, number in (p.split("==") for p in pinned)}
    assert versions == {name: RUNTIME[name] for name in versions}
    direct = {
        canonicalize_name(Requirement(dependency).name)
        for dependency in PROJECT["project"]["dependencies"]
    }
    assert direct <= set(versions)


def test_conda_installs_a_python_that_the_package_allows() -> None:
    python = next(
        entry.removeprefix("python=")
        for entry in ENVIRONMENT["dependencies"]
        if isinstance(entry, str) and entry.startswith("python=")
    )
    lowest = re.fullmatch(r">=([\d.]+)", PROJECT["project"]["requires-python"])
    assert lowest is not None
    assert Version(python) >= Version(lowest[1])


@pytest.mark.parametrize(("package", "number"), sorted((RUNTIME | DEVELOPMENT).items()))
def test_the_tests_run_with_the_pinned_version(package: str, number: str) -> None:
    assert Version(version(package)).public == number
