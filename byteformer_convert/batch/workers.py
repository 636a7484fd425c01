"""Processes that convert one entry after another; one that is killed costs its entry, not the batch."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock

from byteformer_convert.batch.convert_entry import Outcome, Settings, convert_entry
from byteformer_convert.batch.manifest import Entry
from byteformer_convert.interrupts import listen, stop_listening

Started = Callable[[Entry], None]
PATIENCE = 10.0  # seconds for a process to clean up behind itself

# Not fork: a fork of a process with threads, as ours is, may find their locks taken for ever.
_CONTEXT = multiprocessing.get_context("spawn")


def convert_all(
    entries: Sequence[Entry], settings: Settings, jobs: int, started: Started = lambda entry: None
) -> Iterator[Outcome]:
    """The outcomes, as they come.

    Args:
        entries: What to convert.
        settings: What holds for all.
        jobs: How many processes.
        started: Is told of each entry as its turn comes; from a thread of its own.
    """
    workers = [Worker(settings) for _ in range(min(jobs, len(entries)))]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def convert(entry: Entry) -> Outcome:
        worker = free.get()
        try:
            started(entry)
            return worker.convert(entry)
        finally:
            free.put(worker)

    with ThreadPoolExecutor(max(len(workers), 1)) as threads:
        waiting: set[Future[Outcome]] = {threads.submit(convert, entry) for entry in entries}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.stop()


class Worker:
    """One process, started when it is first needed, and again when it died."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection[Entry, Outcome] | None = None
        self.stopped = False
        self._starting = Lock()

    def convert(self, entry: Entry) -> Outcome:
        """The entry's outcome; a process that ends without one is an outcome, too."""
        if self.stopped:
            return Outcome(entry.name, "not started")
        try:
            connection = self._running()
            connection.send(entry)
            return connection.recv()
        except (EOFError, OSError):
            return self._lost(entry)

    def stop(self) -> None:
        """Ends the process, which takes its half-written folder with it."""
        self.stopped = True
        with self._starting:  # one that is being started is there when it is to end
            process = self.process
        if process is not None and process.is_alive():
            process.terminate()
            process.join(PATIENCE)
            process.kill()

    def _running(self) -> Connection[Entry, Outcome]:
        with self._starting:
            if self.stopped:
                raise EOFError
            if self.process is None or self.connection is None or not self.process.is_alive():
                ours, theirs = _CONTEXT.Pipe()
                self.process = _CONTEXT.Process(target=_serve, args=(theirs, self.settings), daemon=True)
                self.process.start()
                theirs.close()  # so that its end is the end of the pipe
                self.connection = ours
            return self.connection

    def _lost(self, entry: Entry) -> Outcome:
        if self.stopped or self.process is None:
            return Outcome(entry.name, "not started")
        self.process.join(PATIENCE)
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        advice = " Was there too little memory? Give fewer --jobs." if code == -signal.SIGKILL else ""
        message = f"the process that converted it {how}.{advice}"
        return Outcome(entry.name, "failed", 1, error={"kind": "lost process", "message": message})


def _serve(connection: Connection[Outcome, Entry], settings: Settings) -> None:
    _leave_cores()
    try:
        listen()
        while True:
            connection.send(convert_entry(connection.recv(), settings))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # whoever started this is gone, or wants it to end
        stop_listening()


def _leave_cores() -> None:
    """One thread each for torch: the processes are what fills the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
