"""What is known of a batch once the model has seen it: small, JSON-able, and exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Losses are whole multiples of this, so that their sum does not depend on the order in which batches come in.
LOSS_UNIT = 2.0**-40


@dataclass(frozen=True, slots=True)
class FileScore:
    """One file, one arithmetic.

    Attributes:
        predicted: Row of the classifier with the highest logit.
        in_top5: Whether the right one is among the five highest.
        loss: Cross-entropy, in multiples of `LOSS_UNIT`.
    """

    predicted: int
    in_top5: bool
    loss: int


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file.

    Attributes:
        index: Its place in the data set.
        row: The right row of the classifier.
        meets_norm: Whether it meets the axis-1 LayerNorm in the folder's own arithmetic.
        scores: One per arithmetic.
    """

    index: int
    row: int
    meets_norm: bool
    scores: tuple[FileScore, ...]


@dataclass(frozen=True, slots=True)
class PrecisionSample:
    """A batch that was computed in float32, too.

    Attributes:
        files: How many.
        changed: How many of them are put into another class.
        difference: The largest of a logit.
    """

    files: int = 0
    changed: int = 0
    difference: float = 0.0

    def merged(self, other: PrecisionSample) -> PrecisionSample:
        """Of both together."""
        return PrecisionSample(
            self.files + other.files, self.changed + other.changed, max(self.difference, other.difference)
        )


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch.

    Attributes:
        batch: Its number.
        files: Those that were scored.
        broken: Those that cannot be used, and why.
        precision: How far mixed precision moved it; None where that was not looked at.
    """

    batch: int
    files: tuple[FileRecord, ...]
    broken: tuple[tuple[int, str], ...]
    precision: PrecisionSample | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; files as plain lists, for there are many."""
        precision = self.precision
        return {
            "batch": self.batch,
            "files": [[file.index, file.row, int(file.meets_norm), *_flat(file.scores)] for file in self.files],
            "broken": [list(pair) for pair in self.broken],
            "precision": None if precision is None else [precision.files, precision.changed, precision.difference],
        }

    def fits(self, *, batches: int, files: int, classes: int, arithmetics: int) -> bool:
        """Whether an evaluation of so many of each can have given it."""
        return (
            self.batch < batches
            and all(index < files for index, _ in self.broken)
            and all(
                file.index < files
                and file.row < classes
                and len(file.scores) == arithmetics
                and all(score.predicted < classes for score in file.scores)
                for file in self.files
            )
        )

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> BatchRecord:
        """The way back.

        Raises:
            KeyError, TypeError, ValueError, IndexError: It is something else.
        """
        precision = content["precision"]
        return cls(
            _whole(content["batch"]),
            tuple(_file([*map(_whole, numbers)]) for numbers in content["files"]),
            tuple((_whole(index), str(why)) for index, why in content["broken"]),
            None if precision is None else _sample(*precision),
        )


def _file(numbers: list[int]) -> FileRecord:
    return FileRecord(numbers[0], numbers[1], bool(numbers[2]), _scores(numbers[3:]))


def _sample(files: Any, changed: Any, difference: Any) -> PrecisionSample:
    return PrecisionSample(_whole(files), _whole(changed), float(difference))


def _whole(value: Any) -> int:
    """The same, if it is a whole number that an evaluation may give: a journal may be anybody's."""
    if type(value) is not int or not 0 <= value < 2**80:
        raise ValueError(f"{type(value).__name__} in place of a whole number")
    return value


def _flat(scores: tuple[FileScore, ...]) -> list[int]:
    return [number for score in scores for number in (score.predicted, int(score.in_top5), score.loss)]


def _scores(numbers: list[int]) -> tuple[FileScore, ...]:
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return tuple(FileScore(predicted, bool(in_top5), loss) for predicted, in_top5, loss in triples)
