"""A guide of docs/ as the steps that it tells: new files, changes of files, commands."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support.checkout import ROOT, environment_of


@dataclass(frozen=True)
class Step:
    """A fenced block: `kind` python (a new file), diff (a change of a file) or sh (commands)."""

    kind: str
    path: str
    text: str


def steps(name: str) -> list[Step]:
    """The steps of a guide, in its order.

    The file that a step is about is the title of its block. A reader of the repository sees no
    titles, so the text before it must name it too.
    """
    found, said = [], ""
    for block in MarkdownIt().parse((ROOT / "docs" / name).read_text(encoding="utf-8")):
        if block.type == "inline":
            said = block.content
        elif block.type == "fence":
            kind, _, title = block.info.partition(" ")
            path = title.removeprefix('title="').removesuffix('"')
            assert not path or f"`{path}`" in said, f"{name}: nothing says where this goes: {path}"
            found.append(Step(kind, path, block.content))
    return found


def follow(step: Step, folder: Path) -> None:
    """Do what a step says to a copy of the checkout; commands are left to the test."""
    path = folder / step.path
    if step.kind == "python":
        assert not path.exists(), f"{step.path} is not a new file"
        path.write_text(step.text, encoding="utf-8")
    elif step.kind == "diff":
        lines = step.text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        content = path.read_text(encoding="utf-8")
        assert content.count(before) == 1, f"{step.path} does not hold this once:\n{before}"
        path.write_text(content.replace(before, after), encoding="utf-8")


def run(folder: Path, *arguments: str) -> str:
    """What `python arguments`, run in a copy of the checkout, prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment_of(folder),
        capture_output=True,
        text=True,
        timeout=900,  # a busy machine is slow, not wrong
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
