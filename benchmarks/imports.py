"""What importing the package costs, beside torch, without which nothing of it works.

.venv/bin/python -m benchmarks.imports
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 9
BASE = "import torch"
CASES = {
    BASE: BASE,
    "import retnet_viz": "import retnet_viz",
    "... and a trace": (
        "import retnet_viz as rv; rv.trace(rv.load(), 'Once upon a time').retention(layer=0)"
    ),
    "... and a figure": "import retnet_viz as rv; rv.figures.decay",
    "... and a page": "import retnet_viz as rv; rv.explore",
}


def measure(code: str) -> float:
    """Seconds of a fresh Python that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    for code in CASES.values():
        measure(code)  # so that no file is read from the disk for the first time
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(REPEATS):
        for name, code in CASES.items():  # interleaved: the machine's speed changes
            seconds[name].append(measure(code))
    print(f"{'median of ' + str(REPEATS):22} seconds   of torch's   longest")
    for name, each in seconds.items():
        ratio = statistics.median(
            mine / base for mine, base in zip(each, seconds[BASE], strict=True)
        )
        print(f"{name:22} {statistics.median(each):7.2f} {ratio:12.2f} {max(each):9.2f}")


if __name__ == "__main__":
    main()
