"""What a parity check found: frozen, JSON-able, drawn elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Verdict = Literal["passed", "failed", "skipped"]

# What is recorded of a difference is the next power of ten, this one at least: another processor rounds otherwise, and
# its largest difference is up to 1.8 times as large. Seen: 7e-6 at most, whatever the kernels (docs/numbers.md).
RECORDED = 1e-5


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """The folder's tensors, mapped back, against the source, bit for bit (after the dtype cast, where one was asked).

    Attributes:
        tensors: How many CoreNet tensors were compared.
        different: Names of those that differ in at least one bit, with the number of differing entries.
    """

    tensors: int
    different: tuple[tuple[str, int], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every tensor is equal, and there was at least one."""
        return self.tensors > 0 and not self.different


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Logits of the folder against those of the reference, for one input.

    Attributes:
        name: Of the input.
        why: What it is for.
        lengths: Bytes of each row.
        max_difference: Largest absolute difference of two logits.
        tolerance: The most that it may be.
        noise_floor: Largest absolute difference between the reference in float32 and in float64.
        same_class: Whether each row has the same highest logit (or a tie within the tolerance).
    """

    name: str
    why: str
    lengths: tuple[int, ...]
    max_difference: float
    tolerance: float
    noise_floor: float
    same_class: bool

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance and the class is the same; NaN and infinity never are."""
        numbers = (self.max_difference, self.tolerance, self.noise_floor)
        return all(map(math.isfinite, numbers)) and self.max_difference <= self.tolerance and self.same_class


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage's output, from the same input on both sides. No noise of earlier stages is in it.

    Attributes:
        stage: CoreNet's name.
        max_difference: Largest absolute difference.
        tolerance: The most that it may be.
        noise_floor: Largest absolute difference between the reference's stage in float32 and in float64.
    """

    stage: str
    max_difference: float
    tolerance: float
    noise_floor: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN and infinity never are."""
        return math.isfinite(self.tolerance) and self.max_difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Detail:
    """What a check can show on top, where somebody wants to look at it; kept out of JSON for its size.

    Attributes:
        case: Name of the input that the stages were computed on.
        stages: Each stage alone, also where all is well.
        logits: For each input by name, the folder's and the reference's, both (rows, classes) float32.
    """

    case: str
    stages: tuple[StageResult, ...]
    logits: Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class ParityReport:
    """All levels of one check.

    Attributes:
        verdict: passed, failed, or skipped where nobody looked.
        atol: The tolerance that was asked for; a case's own is higher where its noise floor is and it needs that.
        dtype: In which the folder's weights are stored; logits are compared in float32 arithmetic on those weights.
        weights: None where skipped.
        cases: None of them where skipped.
        left_out: Sentences on inputs that this model cannot take.
        dtype_effect: With weights in half precision, the largest difference that its arithmetic makes to a logit.
        stages: Where logits failed, or cannot tell because float32 is too uncertain: each stage alone, fed with the
            reference's output of the one before.
        failure: Why it failed, one sentence.
        detail: Where it was asked for.
    """

    verdict: Verdict
    atol: float
    dtype: str = "float32"
    weights: WeightsResult | None = None
    cases: tuple[CaseResult, ...] = ()
    left_out: tuple[str, ...] = ()
    dtype_effect: float | None = None
    stages: tuple[StageResult, ...] = ()
    failure: str | None = None
    detail: Detail | None = None

    @property
    def worst(self) -> CaseResult | None:
        """The case that comes closest to its tolerance, or leaves it furthest behind."""
        return max(self.cases, key=lambda case: _nan_is_worst(case.max_difference / case.tolerance), default=None)

    def first_stage_out(self) -> StageResult | None:
        """The first stage that leaves its tolerance: it names the fault."""
        return next((stage for stage in self.stages if not stage.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, and the same on every machine: what holds there, not what was measured here."""
        return {
            "verdict": self.verdict,
            "atol": self.atol,
            "dtype": self.dtype,
            "weights": None
            if self.weights is None
            else {
                "tensors": self.weights.tensors,
                "bit_for_bit": self.weights.passed,
                "different": [{"name": name, "entries": count} for name, count in self.weights.different],
            },
            "cases": [asdict(case) | _recorded(case) | {"passed": case.passed} for case in self.cases],
            "left_out": list(self.left_out),
            "dtype_effect": None if self.dtype_effect is None else at_most(self.dtype_effect),
            "stages": [asdict(stage) | _recorded(stage) | {"passed": stage.passed} for stage in self.stages],
            "failure": self.failure,
        }

    def measured(self) -> dict[str, Any]:
        """JSON-able: what this machine found, to two digits."""
        return {
            "cases": [
                {
                    "name": case.name,
                    "max_difference": round_up(case.max_difference),
                    "noise_floor": round_up(case.noise_floor),
                }
                for case in self.cases
            ],
            "dtype_effect": None if self.dtype_effect is None else round_up(self.dtype_effect),
        }


def round_up(value: float) -> float | str:
    """Two significant digits, away from zero; a string where JSON has no number for it."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.1e}")


def at_most(value: float) -> float | str:
    """The next power of ten, `RECORDED` at least; a string where JSON has no number for it."""
    if not math.isfinite(value):
        return str(value)
    return max(RECORDED, float(f"1e{math.ceil(math.log10(value) - 1e-9)}")) if value > 0 else RECORDED


def _recorded(result: CaseResult | StageResult) -> dict[str, Any]:
    difference, tolerance = result.max_difference, result.tolerance
    within = difference <= tolerance < math.inf
    return {
        # A fault is shown as it was found: no folder says it.
        "max_difference": min(at_most(difference), round_up(tolerance)) if within else round_up(difference),
        "tolerance": round_up(tolerance),
        "noise_floor": at_most(result.noise_floor),
    }


def _nan_is_worst(value: float) -> float:
    return math.inf if math.isnan(value) else value
