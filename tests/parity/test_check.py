"""How a check judges: the numbers in, the verdict and its sentence out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from byteformer_convert.checking import LOGITS_ATOL
from byteformer_convert.parity import check
from byteformer_convert.parity.check import case_in_doubt, compare_logits, compare_stage, compare_weights, judged
from byteformer_convert.parity.result import CaseResult, ParityReport, StageResult, WeightsResult, at_most, round_up

WANTED = torch.tensor([[1.0, 2.0, 3.0]])
NAN, INF = math.nan, math.inf


def a_case(difference: float = 1e-6, tolerance: float = 2e-5, noise: float = 1e-7, same: bool = True) -> CaseResult:
    return CaseResult("typical", "why", (10,), difference, tolerance, noise, same)


def a_report(*cases: CaseResult, stages: tuple[StageResult, ...] = ()) -> ParityReport:
    return ParityReport("passed", 2e-5, weights=WeightsResult(3), cases=cases, stages=stages)


def logits(found: list[float], wanted: torch.Tensor = WANTED, exact: torch.Tensor | None = None) -> CaseResult:
    exact = wanted.double() if exact is None else exact
    return compare_logits("typical", "why", (10,), torch.tensor([found]), wanted, exact, 2e-5)


# --- logits ---


def test_equal_logits_pass() -> None:
    case = logits([1.0, 2.0, 3.0])
    assert (case.max_difference, case.tolerance, case.same_class, case.passed) == (0.0, 2e-5, True, True)


def test_a_difference_within_the_tolerance_passes_and_one_beyond_it_fails() -> None:
    assert logits([1.0, 2.0, 3.00001]).passed
    assert not logits([1.0, 2.0, 3.0001]).passed


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_nan_and_infinity_never_pass(value: float) -> None:
    assert not logits([1.0, value, 3.0]).passed
    wanted = torch.tensor([[1.0, value, 3.0]])
    assert not logits([1.0, value, 3.0], wanted).passed
    assert not logits([1.0, 2.0, 3.0], wanted).passed
    assert not logits([1.0, 2.0, 3.0], exact=wanted.double()).passed


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_result_without_a_number_fails_whatever_its_tolerance(value: float) -> None:
    assert not a_case(difference=value, tolerance=INF).passed
    assert not StageResult("logits", value, INF).passed


def test_logits_of_another_shape_fail() -> None:
    case = compare_logits("typical", "why", (10,), torch.ones(1, 2), WANTED, WANTED.double(), 2e-5)
    assert not case.passed


def test_another_class_fails_even_where_the_difference_passes() -> None:
    assert not a_case(same=False).passed
    noisy = WANTED.double() + 0.05  # 0.5 is allowed
    assert not logits([3.4, 2.0, 3.0], exact=noisy).same_class
    assert logits([1.0, 3.4, 3.0], torch.tensor([[1.0, 3.0, 3.0]]), torch.tensor([[1.0, 3.0, 3.05]]).double()).passed


def test_a_noise_floor_widens_the_tolerance_tenfold_where_a_difference_needs_it() -> None:
    noisy = WANTED.double() + 1e-4
    case = logits([1.0, 2.0, 3.0005], exact=noisy)
    assert case.noise_floor == pytest.approx(1e-4)
    assert case.tolerance == pytest.approx(1e-3)
    assert case.passed
    assert not logits([1.0, 2.0, 3.002], exact=noisy).passed
    assert logits([1.0, 2.0, 3.00001], exact=noisy).tolerance == 2e-5


# --- weights ---


def test_weights_are_compared_bit_for_bit() -> None:
    source = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([2.0])}
    assert compare_weights(source.items(), source) == WeightsResult(2)
    other = [("a", torch.tensor([1.0, -0.0])), ("b", torch.nextafter(torch.tensor([2.0]), torch.tensor([3.0])))]
    assert compare_weights(other, source).different == (("a", 1), ("b", 1))


def test_weights_of_another_shape_or_dtype_differ_everywhere() -> None:
    source = {"a": torch.zeros(2, 3)}
    assert compare_weights([("a", torch.zeros(3, 2))], source).different == (("a", 6),)
    assert compare_weights([("a", torch.zeros(2, 3).half())], source).different == (("a", 6),)
    assert compare_weights([("a", torch.zeros(2, 3).half())], source, "float16").passed


def test_no_weights_at_all_do_not_pass() -> None:
    result = compare_weights([], {"a": torch.zeros(2)})
    assert not result.passed
    assert not WeightsResult(0).passed


# --- stages ---


def test_a_stage_may_differ_by_its_own_rounding_alone() -> None:
    wanted = torch.full((1, 4), 8.0)
    assert compare_stage("s", wanted + 7e-5, wanted, wanted.double()).passed
    assert not compare_stage("s", wanted + 9e-5, wanted, wanted.double()).passed
    assert compare_stage("s", wanted + 9e-4, wanted, wanted.double() + 1e-4).passed
    assert not compare_stage("s", None, wanted, wanted.double()).passed
    assert not compare_stage("s", torch.zeros(1, 3), wanted, wanted.double()).passed
    assert not compare_stage("s", wanted * NAN, wanted, wanted.double()).passed


def test_stages_are_looked_at_where_logits_fail_or_cannot_tell() -> None:
    good, noisy = a_case(), a_case(tolerance=1e-2, noise=1e-3)
    noisier, bad = a_case(tolerance=1e-1, noise=1e-2), a_case(difference=1.0)
    assert case_in_doubt([good, good], 2e-5) is None
    assert case_in_doubt([good, noisy, noisier], 2e-5) is noisier
    assert case_in_doubt([noisy, bad], 2e-5) is bad


# --- verdict ---


def test_the_verdict_is_passed_only_when_all_levels_pass() -> None:
    assert judged(a_report(a_case())).verdict == "passed"
    assert judged(a_report(a_case(), a_case(difference=NAN))).verdict == "failed"
    assert judged(replace(a_report(a_case()), weights=WeightsResult(3, (("a", 1),)))).verdict == "failed"
    stage = StageResult("transformer.2", 1.0, 1e-4)
    assert judged(a_report(a_case(), stages=(stage,))).verdict == "failed"


def test_a_failure_names_the_weights_the_logits_and_the_first_stage_out() -> None:
    stages = (StageResult("embeddings", 0.0, 1e-5), StageResult("transformer.0", 0.5, 1e-4))
    report = replace(a_report(a_case(difference=0.25), stages=stages), weights=WeightsResult(3, (("a", 1), ("b", 2))))
    assert judged(report).failure == (
        "weights differ from the checkpoint: a in 1 entries, and 1 more tensors; "
        "logits differ by 2.5e-01 where 2.0e-05 is allowed (typical); "
        "the first stage that leaves its tolerance is transformer.0: 5.0e-01, where 1.0e-04 is allowed"
    )


def test_the_worst_case_is_the_nearest_to_its_tolerance_and_nan_is_worse() -> None:
    near, far, nan = a_case(1e-5), a_case(1e-3, tolerance=1.0), a_case(NAN)
    assert a_report(far, near).worst is near
    assert a_report(far, near, nan).worst is nan
    assert a_report().worst is None


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.0, 0.0), (7.21e-7, 7.3e-7), (7.2e-7, 7.2e-7), (9.99e-5, 1e-4), (2e-5, 2e-5), (NAN, "nan"), (INF, "inf")],
)
def test_a_measured_number_is_rounded_up_to_two_digits(value: float, rounded: float | str) -> None:
    assert round_up(value) == rounded


@pytest.mark.parametrize(
    ("value", "recorded"),
    [(0.0, 1e-5), (6e-7, 1e-5), (1e-5, 1e-5), (1.1e-5, 1e-4), (1e-4, 1e-4), (0.02, 0.1), (3.0, 10.0), (NAN, "nan")],
)
def test_a_recorded_number_is_rounded_up_to_a_power_of_ten(value: float, recorded: float | str) -> None:
    assert at_most(value) == recorded


@pytest.mark.parametrize(
    ("difference", "tolerance", "recorded"),
    [(5e-6, 2e-5, 1e-5), (1.5e-5, 2e-5, 2e-5), (5e-7, 1e-6, 1e-6), (3e-5, 2e-5, 3e-5), (INF, 2e-5, "inf")],
)
def test_a_recorded_difference_is_within_its_tolerance_and_a_fault_is_shown_as_found(
    difference: float, tolerance: float, recorded: float | str
) -> None:
    report = a_report(a_case(difference, tolerance=tolerance))
    assert report.to_dict()["cases"][0]["max_difference"] == recorded


def test_what_another_processor_measures_gives_the_same_record() -> None:
    here, there = a_report(a_case(1.31e-6, noise=9.7e-7)), a_report(a_case(2.2e-6, noise=1.7e-6))
    assert here.to_dict() == there.to_dict()
    assert here.measured()["cases"] == [{"name": "typical", "max_difference": 1.4e-6, "noise_floor": 9.7e-7}]


def test_a_report_is_json_even_with_nan() -> None:
    report = judged(a_report(a_case(difference=NAN), stages=(StageResult("logits", INF, 1e-5),)))
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["cases"][0]["max_difference"] == "nan"
    assert json.loads(text)["cases"][0]["passed"] is False


def test_the_tolerance_is_written_in_two_places_and_equal() -> None:
    assert check.LOGITS_ATOL == LOGITS_ATOL
