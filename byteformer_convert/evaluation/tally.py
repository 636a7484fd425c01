"""Counts, from the records of batches. Whole numbers only: no order of the batches gives another result."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from byteformer_convert.evaluation.records import LOSS_UNIT, BatchRecord, FileScore, PrecisionSample
from byteformer_convert.evaluation.result import (
    LISTED_BROKEN,
    Z95,
    ArithmeticScore,
    ClassScore,
    Confusion,
    Mean,
    Share,
)

if TYPE_CHECKING:
    from byteformer_convert.evaluation.variants import Variant


class Tally:
    """All batches so far. Its size follows the number of classes, not of files.

    Args:
        variants: The arithmetics, in the order of the records' scores.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self.variants = variants
        self.broken_count = 0
        self.precision = PrecisionSample()
        self._broken: list[tuple[int, str]] = []  # a heap of the first ones, by negated index
        self._counts = [_Counts() for _ in variants]
        self._batches: set[int] = set()

    def add(self, record: BatchRecord) -> None:
        """Counts a batch; one that was counted before counts no second time."""
        if record.batch in self._batches:
            return
        self._batches.add(record.batch)
        for file in record.files:
            for counts, score in zip(self._counts, file.scores, strict=True):
                counts.add(file.row, score, meets_norm=file.meets_norm)
        if record.precision is not None:
            self.precision = self.precision.merged(record.precision)
        self.broken_count += len(record.broken)
        for index, reason in record.broken:
            heapq.heappush(self._broken, (-index, reason))
            if len(self._broken) > LISTED_BROKEN:
                heapq.heappop(self._broken)

    @property
    def batches(self) -> frozenset[int]:
        """Numbers of the batches that were counted."""
        return frozenset(self._batches)

    def broken(self) -> list[tuple[int, str]]:
        """The first thousand broken files: index and reason."""
        return sorted((-negated, reason) for negated, reason in self._broken)

    def scores(self, labels: Sequence[str]) -> tuple[ArithmeticScore, ...]:
        """What each arithmetic scores."""
        pairs = zip(self.variants, self._counts, strict=True)
        return tuple(counts.score(variant, labels) for variant, counts in pairs)


class _Counts:
    """One arithmetic's."""

    def __init__(self) -> None:
        self.top5 = 0
        self.loss = 0
        self.squared_loss = 0
        self.confusion: Counter[tuple[int, int]] = Counter()
        self.meeting = [0, 0]  # right ones, and all

    def add(self, row: int, score: FileScore, *, meets_norm: bool) -> None:
        self.top5 += score.in_top5
        self.loss += score.loss
        self.squared_loss += score.loss**2
        self.confusion[row, score.predicted] += 1
        if meets_norm:
            self.meeting[0] += score.predicted == row
            self.meeting[1] += 1

    def score(self, variant: Variant, labels: Sequence[str]) -> ArithmeticScore:
        files: Counter[int] = Counter()
        right: Counter[int] = Counter()
        for (row, predicted), count in self.confusion.items():
            files[row] += count
            right[row] += count if row == predicted else 0
        total = files.total()
        return ArithmeticScore(
            name=variant.name,
            switches=variant.switches,
            top1=Share(right.total(), total),
            top5=Share(self.top5, total),
            loss=self._mean_loss(total),
            meeting_norm=Share(*self.meeting),
            classes=tuple(ClassScore(row, name, Share(right[row], files[row])) for row, name in enumerate(labels)),
            confusion=tuple(Confusion(*pair, count) for pair, count in sorted(self.confusion.items())),
        )

    def _mean_loss(self, files: int) -> Mean:
        if not files:
            return Mean(0.0, 0.0)
        mean = self.loss / files * LOSS_UNIT
        # Whole numbers until the last step: a difference of two large floats would be noise.
        squares = self.squared_loss * files - self.loss**2
        deviation = math.sqrt(squares / files / max(files - 1, 1)) * LOSS_UNIT
        return Mean(mean, Z95 * deviation / math.sqrt(files))
