"""What one hostile input may cost: memory by RLIMIT_AS, time by the processor's own count. No clock is read."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one input may cost.

    Attributes:
        memory: Bytes of address space beyond what the process has already, whatever the input's size.
        memory_per_byte: Bytes more for each byte of the input.
        cpu_seconds: Of all threads together.
    """

    memory: int = 256 * MEGABYTE
    memory_per_byte: int = 16
    cpu_seconds: float = 20.0


class OutOfTime(BaseException):
    """Too much processor time; no Exception, so that no `except Exception` takes it for a damaged file."""


@contextmanager
def bounded(bounds: Bounds, size: int) -> Iterator[None]:
    """Holds the block, which reads an input of `size` bytes, to the bounds.

    Raises:
        MemoryError, or what C code makes of an allocation that fails: the block wants too much memory.
        OutOfTime: It takes too long.
    """
    with _memory_bound(bounds.memory + bounds.memory_per_byte * size), _time_bound(bounds.cpu_seconds):
        yield


@contextmanager
def _memory_bound(allowance: int) -> Iterator[None]:
    if sys.platform != "linux":  # other systems count address space differently, or not at all
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + allowance
    resource.setrlimit(resource.RLIMIT_AS, (wanted if soft < 0 else min(wanted, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _time_bound(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGPROF, _out_of_time)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime
