"""Makes the mistakes of mutants.txt, one by one, and says which of them no test notices.

    .venv/bin/python -m tests.mutants                   # all: half an hour on two cores
    .venv/bin/python -m tests.mutants model ui/panels   # those in some folders or files
    .venv/bin/python -m tests.mutants --list            # what there is

Each mutant is made in a copy of the checkout, where its tests run: one that fails kills it, and so
does a run that does not end in time. The same tests must pass without it. A mutant that survives
asks for a test, or was none: then it is taken out of the list. The exit code is 1 where one did,
2 where tests fail without a mutant.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkout import copy_of_the_checkout, environment_of

LIST = Path(__file__).with_name("mutants.txt")
PACKAGE = "retnet_viz"
SOURCES = (".py", ".js")
SECONDS = 300  # for the tests of one mutant
PATIENCE = 5  # times as long as they take without it, where that is less


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    place  file or folder of the package in which `old` stands once
    tests  files or folders of tests, of which one should fail
    says   what is wrong with it
    """

    place: str
    old: str
    new: str
    tests: tuple[str, ...]
    says: str

    def file(self, checkout: Path) -> Path:
        """The file that holds `old`. Raises LookupError where none or several do, or it twice."""
        place = checkout / PACKAGE / self.place
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        found = [
            path
            for path in files
            if path.suffix in SOURCES
            for _ in range(path.read_text(encoding="utf-8").count(self.old))
        ]
        if len(found) != 1:
            raise LookupError(f"{self.place} holds this {len(found)} times, not once: {self.old}")
        return found[0]

    def made(self, source: str) -> str:
        """A file's text with the mistake."""
        return source.replace(self.old, self.new)


def read_list(text: str) -> list[Mutant]:
    """The mutants of a list. Raises ValueError on a paragraph that is none."""
    mutants = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        said = [line.removeprefix("# ") for line in paragraph.splitlines() if line[:1] == "#"]
        lines = [line for line in paragraph.splitlines() if line[:1] != "#"]
        if not lines:
            continue
        match = re.fullmatch(r"(\S+): (.+)\n- (.+)\n\+ (.+)", "\n".join(lines))
        if match is None:
            raise ValueError(f"this is no mutant:\n{paragraph}")
        place, tests, old, new = match.groups()
        mutants.append(Mutant(place, old, new, tuple(tests.split()), " ".join(said)))
    return mutants


def failure(folder: Path, tests: Sequence[str], seconds: float) -> str | None:
    """Which test of these fails in a checkout, None where all pass; a run too long fails too."""
    if all(name.endswith(".js") for name in tests):
        node = shutil.which("node", path=str(Path(sys.executable).parent)) or "node"
        command = [node, "--test", "--test-reporter", "tap", *tests]
    else:
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment_of(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that what the tests start can be ended with them
    ) as run:
        try:
            said, _ = run.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    if run.returncode == 0:
        return None
    found = re.search(r"(?m)^(?:FAILED|ERROR) (\S+)|^not ok \d+ - (.*)", said)
    # 4 and 5 are pytest's for arguments that are wrong and for no tests.
    if found is None or run.returncode in (4, 5):
        raise RuntimeError(f"{' '.join(command)} did not run:\n{said[-2000:]}")
    return found[1] or found[2]


def survivors(
    mutants: Sequence[Mutant], folder: Path, tell: Callable[[str], None] = print
) -> list[Mutant]:
    """Those of the mutants that no test notices, made in the checkout in `folder`.

    Raises RuntimeError where tests fail without any, or do not run.
    """
    allowed: dict[tuple[str, ...], float] = {}
    alive = []
    for number, mutant in enumerate(mutants, 1):
        if mutant.tests not in allowed:
            start = time.monotonic()
            failed = failure(folder, mutant.tests, SECONDS)
            if failed:
                raise RuntimeError(f"without a mutant this fails: {failed}")
            # A machine that is busy now and then must not kill one.
            allowed[mutant.tests] = min(SECONDS, 20 + PATIENCE * (time.monotonic() - start))
        path = mutant.file(folder)
        source = path.read_text(encoding="utf-8")
        path.write_text(mutant.made(source), encoding="utf-8")
        try:
            failed = failure(folder, mutant.tests, allowed[mutant.tests])
        finally:
            path.write_text(source, encoding="utf-8")
        alive += [] if failed else [mutant]
        verdict = f"killed    {failed}" if failed else "SURVIVED"
        tell(f"{number:3} of {len(mutants)}  {mutant.place}: {mutant.says}\n      {verdict}")
    return alive


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the chosen mutants and print what became of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", help="only mutants whose place begins so")
    parser.add_argument("--containing", default="", help="only mutants with this in them")
    parser.add_argument("--list", action="store_true", help="show the mutants, make none")
    options = parser.parse_args(arguments)
    chosen = [
        mutant
        for mutant in read_list(LIST.read_text(encoding="utf-8"))
        if not options.places or mutant.place.startswith(tuple(options.places))
        if options.containing in f"{mutant.says} {mutant.old} {' '.join(mutant.tests)}"
    ]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.place}: {mutant.says}\n  - {mutant.old}\n  + {mutant.new}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_checkout(Path(folder), "apps", "notebooks", "benchmarks")
        try:
            alive = survivors(chosen, Path(folder), lambda said: print(said, flush=True))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 2
    killed = len(chosen) - len(alive)
    print(f"{killed} of {len(chosen)} killed ({killed / max(1, len(chosen)):.0%})")
    for mutant in alive:
        print(f"survived: {mutant.place}: {mutant.says}\n  - {mutant.old}\n  + {mutant.new}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
