"""What an evaluation found, frozen and JSON-able. The same files, folder and options give the same document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Z95 = 1.959963984540054  # two-sided 95 % of a normal distribution
LISTED_BROKEN = 1000
# A sum of float32 logits depends a little on the number of threads; what is reported does not.
LOSS_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many.

    Attributes:
        count: How many are right.
        of: Of how many files.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of no files."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % confidence interval (Wilson 1927); None of no files."""
        if not self.of:
            return None
        share, z2 = self.count / self.of, Z95**2
        centre = share + z2 / (2 * self.of)
        spread = Z95 * math.sqrt(share * (1 - share) / self.of + z2 / (4 * self.of**2))
        scale = 1 + z2 / self.of
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        low_high = None if self.interval is None else [round(bound, 6) for bound in self.interval]
        return {"count": self.count, "of": self.of, "value": self.value, "interval95": low_high}


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean, with its 95 % confidence interval from the normal distribution.

    Attributes:
        value: The mean.
        half_width: Of the interval.
    """

    value: float
    half_width: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        bounds = [round(self.value + sign * self.half_width, LOSS_DIGITS) for sign in (-1, 1)]
        return {"value": round(self.value, LOSS_DIGITS), "interval95": bounds}


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class.

    Attributes:
        row: Of the classifier.
        name: The folder's label.
        top1: Of the files of this class.
    """

    row: int
    name: str
    top1: Share


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many files of one class were put into another, or the same, class."""

    row: int
    predicted: int
    count: int


@dataclass(frozen=True, slots=True)
class ArithmeticScore:
    """What one arithmetic scores.

    Attributes:
        name: `faithful`, or the switches joined with `+`.
        switches: Config fields that were set to True over what the folder says.
        top1: Files whose class has the highest logit.
        top5: Files whose class is among the five highest.
        loss: Mean cross-entropy.
        meeting_norm: Top-1 of the files that meet the axis-1 LayerNorm in the folder's own arithmetic.
        classes: Each class by itself.
        confusion: Sorted by row and predicted row; pairs that do not occur are left out.
    """

    name: str
    switches: tuple[str, ...]
    top1: Share
    top5: Share
    loss: Mean
    meeting_norm: Share
    classes: tuple[ClassScore, ...]
    confusion: tuple[Confusion, ...]

    @property
    def missing_norm(self) -> Share:
        """Top-1 of the files that do not meet the axis-1 LayerNorm."""
        return Share(self.top1.count - self.meeting_norm.count, self.top1.of - self.meeting_norm.of)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "name": self.name,
            "switches": list(self.switches),
            "top1": self.top1.to_dict(),
            "top5": self.top5.to_dict(),
            "loss": self.loss.to_dict(),
            "axis_one_norm": {"met": self.meeting_norm.to_dict(), "not_met": self.missing_norm.to_dict()},
            "classes": [{"row": one.row, "name": one.name, "top1": one.top1.to_dict()} for one in self.classes],
            "confusion": [[cell.row, cell.predicted, cell.count] for cell in self.confusion],
        }


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A file that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrecisionEffect:
    """What mixed precision does, measured on every 16th batch.

    Attributes:
        precision: `bf16` or `fp16`.
        files: How many were computed in float32, too.
        changed: How many of them were put into another class.
        max_difference: The largest of a logit.
    """

    precision: str
    files: int
    changed: int
    max_difference: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        folder: The converted folder.
        data: The data set.
        kind: What kind of data set that is.
        files: How many files it has, or were asked for.
        batches: How files were put together, a sentence.
        padded: Whether batches were padded.
        batch_size: Files in a batch.
        raw: Whether the files' own bytes were read.
        class_order: How classes found their rows, a sentence.
        precision: What mixed precision does; None where everything was float32.
        scores: One per arithmetic; the folder's own first.
        broken: Files that could not be used; the first thousand.
        broken_count: How many there are.
        notes: Sentences that a person should read.
    """

    folder: str
    data: str
    kind: str
    files: int
    batches: str
    padded: bool
    batch_size: int
    raw: bool
    class_order: str
    precision: PrecisionEffect | None
    scores: tuple[ArithmeticScore, ...]
    broken: tuple[BrokenFile, ...]
    broken_count: int
    notes: tuple[str, ...]

    @property
    def faithful(self) -> ArithmeticScore:
        """What the folder's own arithmetic scores."""
        return self.scores[0]

    def norm_sentence(self) -> str:
        """What the axis-1 LayerNorm costs on these files."""
        met, missed = self.faithful.meeting_norm, self.faithful.missing_norm
        if met.value is None:
            return "No file meets CoreNet's axis-1 LayerNorm."
        others = "there are no others" if missed.value is None else f"the others {missed.value:.2%}"
        compared = "".join(
            f"; with {score.name} those files score {score.meeting_norm.value:.2%}" for score in self.scores[1:]
        )
        return (
            f"{met.of:,} of {self.scored:,} files ({met.of / self.scored:.2%}) meet CoreNet's axis-1 LayerNorm, which "
            f"averages their content away: they score top-1 {met.value:.2%}, {others}{compared}."
        )

    @property
    def scored(self) -> int:
        """Files that were classified."""
        return self.faithful.top1.of

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        precision: Mapping[str, Any] = {"precision": "float32"} if self.precision is None else asdict(self.precision)
        return {
            "folder": self.folder,
            "data": {"path": self.data, "kind": self.kind, "files": self.files, "scored": self.scored},
            "batches": {"sentence": self.batches, "padded": self.padded, "size": self.batch_size},
            "raw": self.raw,
            "class_order": self.class_order,
            "precision": dict(precision),
            "axis_one_norm": self.norm_sentence(),
            "results": [score.to_dict() for score in self.scores],
            "broken": {"count": self.broken_count, "listed": [asdict(file) for file in self.broken]},
            "notes": list(self.notes),
        }
