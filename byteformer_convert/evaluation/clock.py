"""Where the time of an evaluation goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byteformer_convert.evaluation.batching import EncodedBatch
    from byteformer_convert.evaluation.records import BatchRecord
    from byteformer_convert.evaluation.scoring import Scorer


@dataclass(frozen=True, slots=True)
class Throughput:
    """Where the time went; never part of the result, which is the same on every machine.

    Attributes:
        files: Classified now, not in an earlier run.
        seconds: From the first file to the last.
        model_share: Of the time of a process that has a model: computing.
        waiting_share: The same: waiting for files to be read and encoded.
        encoding_seconds: Of a worker, a file.
        processes: That have a model.
        workers: That read and encode, for each process.
        peak_memory: Bytes of the largest process.
    """

    files: int
    seconds: float
    model_share: float
    waiting_share: float
    encoding_seconds: float
    processes: int
    workers: int
    peak_memory: int


@dataclass(slots=True)
class Clock:
    """Where one process' time goes.

    Attributes:
        start: When the first batch was asked for.
        seconds: From then to the end.
        model: Seconds of computing.
        wait: Seconds of waiting for files.
        encoding: Seconds that its workers spent on reading and encoding.
        peak_memory: Bytes.
    """

    start: float = 0.0
    seconds: float = 0.0
    model: float = 0.0
    wait: float = 0.0
    encoding: float = 0.0
    peak_memory: int = 0

    def waiting(self, batches: Iterator[EncodedBatch]) -> Iterator[EncodedBatch]:
        """The batches, one after another."""
        self.start = before = time.perf_counter()
        for batch in batches:
            self.wait += time.perf_counter() - before
            self.encoding += batch.seconds
            yield batch
            before = time.perf_counter()

    def computing(self, scorer: Scorer, batch: EncodedBatch) -> BatchRecord:
        """Scores a batch."""
        before = time.perf_counter()
        record = scorer.score(batch)
        self.model += time.perf_counter() - before
        return record

    def stopped(self) -> Clock:
        """As it is at the end."""
        seconds = time.perf_counter() - self.start if self.start else 0.0
        return replace(self, seconds=seconds, peak_memory=_peak_memory())


def throughput_of(clocks: Sequence[Clock], files: int, workers: int) -> Throughput:
    """The clocks of all processes together.

    Args:
        clocks: One per process that has a model.
        files: That they classified.
        workers: Of each.
    """
    total = sum(clock.seconds for clock in clocks) or 1e-9
    return Throughput(
        files=files,
        seconds=max(clock.seconds for clock in clocks),
        model_share=sum(clock.model for clock in clocks) / total,
        waiting_share=sum(clock.wait for clock in clocks) / total,
        encoding_seconds=sum(clock.encoding for clock in clocks) / max(files, 1),
        processes=len(clocks),
        workers=workers,
        peak_memory=max(clock.peak_memory for clock in clocks),
    )


def _peak_memory() -> int:
    """Of this process, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
