"""The processes of the speed benchmark: one per contender, so that their memory is separate."""

from __future__ import annotations

import gc
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from retnet_viz.experiments.speed.contenders import (
    COMPILED,
    CONFIG,
    MIDDLE_CHUNK,
    Compiled,
    Contender,
    build,
)
from retnet_viz.experiments.speed.machine import median_seconds, product_flops
from retnet_viz.experiments.speed.results import STEPS, MachineLimits

MACHINE = "machine"  # the process that measures the machine itself, in place of a contender
COMPILE_FACTOR = 10  # a compiled contender has this many times the limit
MAX_WARMUP = 2048  # tokens up to which an untimed pass comes before the timed one
_MATMULS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
Ask = Callable[..., Any]  # a question, by its name and arguments -> the answer


class AnswerTimeout(RuntimeError):
    """The answer did not come within the limit."""


class Worker:
    """A process that answers questions about one contender.

    A process that takes too long is ended. Only the next question starts another one, so that none
    starts while others are timed.
    """

    def __init__(self, name: str, threads: int, limit: float) -> None:
        self.name, self.threads = name, threads
        self.limit: float | None = limit * (COMPILE_FACTOR if name == COMPILED else 1)
        if name == MACHINE:  # it ends by itself
            self.limit = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        target = (child_end, self.name, self.threads)
        self.process = context.Process(target=serve, args=target, daemon=True)
        self.process.start()
        child_end.close()
        self._is_ready = False

    def __call__(self, *question: Any) -> Any:
        """The answer; RuntimeError where there is none, AnswerTimeout where it takes too long."""
        if self._connection.closed:
            self._start()
        try:
            if not self._is_ready:  # Python's start does not count as the contender's time
                self._connection.recv()
                self._is_ready = True
            self._connection.send(question)
            if not self._connection.poll(self.limit):
                self.end()
                raise AnswerTimeout(f"more than {self.limit:g} s")
            failed, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"{self.name}, {question[0]}: its process ended") from error
        if failed:
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._connection.close()
        self.process.kill()
        self.process.join()


@contextmanager
def start_workers(names: list[str], threads: int, limit: float) -> Iterator[dict[str, Ask]]:
    """A process per name, each as a function that asks it something and waits for the answer."""
    ask_by_name: dict[str, Ask] = {}
    workers = []
    try:
        for name in names:
            workers.append(Worker(name, threads, limit))
            ask_by_name[name] = workers[-1]
        yield ask_by_name
    finally:
        for worker in workers:
            worker.end()


def serve(connection: Connection, name: str, threads: int) -> None:
    """Answer questions until the other end closes."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        answers = MachineAnswers() if name == MACHINE else ContenderAnswers(build(name))
        if name != MACHINE:
            with FlopCounterMode(display=False):  # its libraries take seconds to load
                torch.zeros(1, 1) @ torch.zeros(1, 1)
        connection.send("ready")
        while True:
            try:
                question, *arguments = connection.recv()
            except EOFError:
                return
            try:
                connection.send((False, getattr(answers, question)(*arguments)))
            except Exception as error:  # reported by the process that asked
                connection.send((True, f"{name}, {question}: {error}"))


class ContenderAnswers:
    """The questions that the process of a contender answers."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def _ids(self, length: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(CONFIG.vocab_size, (1, length), generator=generator)

    def modes(self) -> tuple[str, ...]:
        """The modes in which it reads."""
        return self.contender.modes

    def chunk_sizes(self) -> tuple[int, ...]:
        """The chunk sizes that it is tried with."""
        return self.contender.chunk_sizes

    def first(self, mode: str, chunk_size: int, length: int) -> tuple[int | None, int, float]:
        """(peak bytes, flops, seconds) of a pass, which also warms up the next ones."""
        ids = self._ids(length)
        n = min(length, 64)
        estimate = self._flops(ids[:, :n], mode, min(chunk_size, n))  # gets libraries ready
        flops = estimate * length // n

        def read() -> None:
            nonlocal flops
            # In recurrent mode the counter would take minutes, and each token costs the same. A
            # compiled pass cannot be counted, and does what ours does.
            if mode == "recurrent" or isinstance(self.contender, Compiled):
                self.contender.forward(ids, mode, chunk_size)
            else:
                flops = self._flops(ids, mode, chunk_size)

        start = time.perf_counter()
        peak = peak_bytes(read)
        seconds = time.perf_counter() - start
        if isinstance(self.contender, Compiled):
            flops = self._flops(ids, mode, chunk_size)
            peak = peak_bytes(lambda: self.contender.forward(ids, mode, chunk_size))
        return peak, flops, seconds

    def _flops(self, ids: torch.Tensor, mode: str, chunk_size: int) -> int:
        counter: Any = FlopCounterMode(display=False)
        with counter:
            self.contender.plain(ids, mode, chunk_size)
        return int(counter.get_total_flops())

    def forward(self, mode: str, chunk_size: int, length: int) -> float:
        """Seconds of a pass. A short one runs once more before: the caches were another's."""
        ids = self._ids(length)
        if length <= MAX_WARMUP:
            self.contender.forward(ids, mode, chunk_size)
        start = time.perf_counter()
        self.contender.forward(ids, mode, chunk_size)
        return time.perf_counter() - start

    def begin(self, position: int, steps: int) -> None:
        """Start after `position` tokens."""
        self.contender.begin(position, steps)

    def steps(self) -> list[float]:
        """Seconds of each of STEPS tokens."""
        times = []
        for token in range(STEPS):
            start = time.perf_counter()
            self.contender.step(token)
            times.append(time.perf_counter() - start)
        return times

    def profile(self, length: int) -> tuple[float, float]:
        """Of a chunkwise pass: flops a second inside its matrix products, their share of time."""
        ids = self._ids(length)
        flops = self._flops(ids, "chunkwise", MIDDLE_CHUNK)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            self.contender.forward(ids, "chunkwise", MIDDLE_CHUNK)
        events = profiler.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        products = sum(event.self_cpu_time_total for event in events if event.key in _MATMULS)
        return flops / (products / 1e6), products / total

    def rounding(self, length: int) -> float:
        """max |logit difference| to the same weights in float32, relative to the largest."""
        ids = self._ids(length)
        reference = build("retnet_viz").forward(ids, "chunkwise", MIDDLE_CHUNK)
        logits = self.contender.forward(ids, "chunkwise", MIDDLE_CHUNK).float()
        return ((logits - reference).abs().max() / reference.abs().max()).item()


class MachineAnswers:
    """The process that measures what the machine itself can do."""

    def machine(self, threads: int) -> MachineLimits:
        """Its limits."""
        weights = [p for p in build("retnet_viz").model.parameters() if p.dim() == 2]
        vectors = [torch.randn(weight.shape[1]) for weight in weights]
        source = torch.ones(2**26)
        target = torch.empty_like(source)

        def read_weights() -> None:
            for weight, vector in zip(weights, vectors, strict=True):
                torch.mv(weight, vector)

        flops, size = product_flops(torch.float32)
        half_flops, half_size = product_flops(torch.bfloat16)
        return MachineLimits(
            threads=threads,
            matmul_flops=flops,
            bfloat16_flops=half_flops,
            matmul_size=size,
            bfloat16_size=half_size,
            bytes_second=2 * source.nbytes / median_seconds(lambda: target.copy_(source), 7),
            weight_seconds=median_seconds(read_weights, 200),
            weight_bytes=sum(weight.nbytes for weight in weights),
        )


def peak_bytes(run: Callable[[], Any]) -> int | None:
    """Resident memory of this process at its highest during `run()`, beyond that before it.

    None where the system does not tell (it is Linux that does).
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    _trim()
    try:
        reset.write_text("5")
        before = _kilobytes(status, "VmRSS")
        run()
        return 1024 * (_kilobytes(status, "VmHWM") - before)
    except (OSError, LookupError):
        run()
        return None


def _kilobytes(status: Path, field: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)


def _trim() -> None:
    """Give freed memory back, so that it is not counted as held before."""
    import ctypes

    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
