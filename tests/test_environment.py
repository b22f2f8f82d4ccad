"""One version of every package, whichever way a person installs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from setuptools import find_packages

CHECKOUT = Path(__file__).resolve().parents[1]
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


def test_the_build_uses_the_pinned_setuptools() -> None:
    assert PROJECT["build-system"]["requires"] == [f"setuptools=={RUNTIME['setuptools']}"]


def test_the_build_takes_the_package_alone() -> None:
    """Not the tests, the documentation and the benchmarks, which are packages too."""
    found = find_packages(str(CHECKOUT), **PROJECT["tool"]["setuptools"]["packages"]["find"])
    assert {name.split(".")[0] for name in found} == {"retnet_viz"}


def test_conda_installs_the_pinned_versions() -> None:
    pip = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    pinned = [entry for entry in pip if not entry.startswith("--")]
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
