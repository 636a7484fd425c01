"""Files per second and the time that is left, said now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

# Often at first; a log of many hours is not filled with it.
SHORTEST_PAUSE, LONGEST_PAUSE = 2.0, 30.0


class Progress:
    """Says how far an evaluation is.

    Args:
        total: Files of the data set.
        done: Files that an earlier run has finished.
        say: Is told sentences.
        clock: Seconds since some moment.
    """

    def __init__(
        self, total: int, done: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._done, self._say, self._clock = total, done, say, clock
        self._before = done
        self._start = self._said = clock()

    def advance(self, files: int) -> None:
        """Some more files are done."""
        self._done += files
        now = self._clock()
        if now - self._said >= min(LONGEST_PAUSE, max(SHORTEST_PAUSE, (now - self._start) / 50)):
            self._said = now
            self._say(self.sentence(now))

    def sentence(self, now: float) -> str:
        """`480 of 50,000 files, 12.3 files/s, 1 h 07 min left`."""
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        left = "" if not rate else f", {duration((self._total - self._done) / rate)} left"
        return f"{self._done:,} of {self._total:,} files, {rate:.1f} files/s{left}"


def duration(seconds: float) -> str:
    """`12 s`, `3 min 05 s`, `1 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
