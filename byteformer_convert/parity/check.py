"""The three levels: weights bit for bit, logits within a tolerance, and stage by stage where logits fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from byteformer_convert.parity.cases import Plan, plan_cases
from byteformer_convert.parity.result import CaseResult, Detail, ParityReport, StageResult, WeightsResult
from byteformer_convert.reference.byteformer import CoreNetByteFormer

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.corenet.options import CoreNetOptions
    from byteformer_convert.parity.fresh_process import FreshProcess

# Tolerances, with their reasons.
LOGITS_ATOL = 2e-5  # two correct float32 ports on different torch versions differ by at most 7e-6 (logits around 5)
NOISE_FACTOR = 10.0  # where float32 itself is off by more (deep models, the axis-1 norm over windows of zeros), the
#                      tolerance is this many times the distance of the float32 reference from the float64 one; only
#                      where a difference needs it, for that distance is another one on every processor. Such logits
#                      could hide a fault, so each stage alone is a gate then: its noise is no more than 1e-4
STAGE_RTOL = 1e-5  # of the largest entry: one stage adds a few roundings of relative size 6e-8 in sums of ~1000 terms

AUTO_CLASSES = {"image": "AutoModelForImageClassification", "audio": "AutoModelForAudioClassification"}
REFERENCE_OPTIONS = (
    "embed_dim", "num_layers", "num_heads", "ffn_dim", "n_classes", "vocab_size", "max_num_tokens",
    "conv_kernel_size", "window_sizes", "window_shifts", "downsample", "sinusoidal_pos_emb", "norm_layer",
    "activation", "neg_slope",
)  # fmt: skip


def compare_weights(
    mapped_back: Iterable[tuple[str, Tensor]], source: Mapping[str, Tensor], dtype: str = "float32"
) -> WeightsResult:
    """Bit for bit, so that 0.0 is not -0.0.

    Args:
        mapped_back: The folder's tensors under CoreNet's names.
        source: The checkpoint's tensors; cast to the folder's dtype before they are compared.
        dtype: The folder's; every tensor of it has to be stored in this one.
    """
    different, count = [], 0
    for name, tensor in mapped_back:
        count += 1
        wanted = source[name].to(getattr(torch, dtype))
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            different.append((name, tensor.numel()))
        elif entries := int((_bits(tensor) != _bits(wanted)).sum()):
            different.append((name, entries))
    missing = [(name, tensor.numel()) for name, tensor in source.items()] if count == 0 else []
    return WeightsResult(count, tuple(different + missing))


def check(
    folder: Path,
    tensors: Mapping[str, Tensor],
    options: CoreNetOptions,
    weights: WeightsResult,
    process: FreshProcess,
    *,
    dtype: str = "float32",
    atol: float = LOGITS_ATOL,
    detailed: bool = False,
) -> ParityReport:
    """Compares a folder with the reference on the raw checkpoint.

    Args:
        folder: The written folder.
        tensors: The checkpoint's tensors under CoreNet's names.
        options: CoreNet's options.
        weights: What `compare_weights` found.
        process: A fresh process, its imports under way.
        dtype: Of the folder's weights. Both sides compute in float32 on weights rounded to it.
        atol: Largest difference of two logits that is allowed.
        detailed: Whether to compute every stage although all is well, and to keep the logits.

    Raises:
        ParityError: The folder cannot be loaded or run by a stranger.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in stranger.py, which computes at the same time
    try:
        with torch.no_grad():
            return _Check(folder, tensors, options, weights, process, dtype, atol).run(detailed=detailed)
    finally:
        torch.set_num_threads(threads)


class _Check:
    def __init__(
        self,
        folder: Path,
        tensors: Mapping[str, Tensor],
        options: CoreNetOptions,
        weights: WeightsResult,
        process: FreshProcess,
        dtype: str,
        atol: float,
    ) -> None:
        self.folder, self.options, self.process, self.dtype, self.atol = folder, options, process, dtype, atol
        self.weights = weights
        self.plan: Plan = plan_cases(options)
        self.inputs = {case.name: torch.from_numpy(case.ids) for case in self.plan.cases}
        self.stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
        self.reference = build_reference(self.stored, options)

    def run(self, *, detailed: bool = False) -> ParityReport:
        auto_class = AUTO_CLASSES[self.options.task]
        answer = self.process.start_logits(self.folder, self.inputs, auto_class=auto_class)
        wanted = {name: self.reference(ids) for name, ids in self.inputs.items()}
        exact = logits_in_float64(self.reference, self.inputs)
        found = answer()
        cases = tuple(
            compare_logits(
                case.name, case.why, case.lengths, found[case.name], wanted[case.name], exact[case.name], self.atol
            )
            for case in self.plan.cases
        )
        report = ParityReport("passed", self.atol, self.dtype, self.weights, cases, self.plan.left_out)
        if (doubtful := case_in_doubt(cases, self.atol)) is not None:
            report = replace(report, stages=self._stages(doubtful.name))
        report = judged(report)
        if detailed:
            shown = (doubtful or cases[0]).name
            logits = {name: (found[name].numpy(), wanted[name].numpy()) for name in wanted}
            report = replace(report, detail=Detail(shown, report.stages or self._stages(shown), logits))
        if report.verdict == "passed" and self.dtype != "float32":
            report = replace(report, dtype_effect=self._dtype_effect(wanted, auto_class))
        return report

    def _stages(self, name: str) -> tuple[StageResult, ...]:
        outputs = self.reference.stages(self.inputs[name])
        names = list(outputs)
        inputs = {names[0]: self.inputs[name]}
        inputs |= {stage: outputs[before] for before, stage in pairwise(names)}
        found = self.process.stages(inputs)
        return tuple(
            compare_stage(stage, found.get(stage), outputs[stage], self._stage_in_float64(stage, inputs[stage]))
            for stage in names
        )

    def _stage_in_float64(self, stage: str, value: Tensor) -> Tensor:
        with self.reference.in_float64(stage) as run:
            return run(value.double() if value.is_floating_point() else value)

    def _dtype_effect(self, wanted: Mapping[str, Tensor], auto_class: str) -> float:
        found = self.process.start_logits(self.folder, self.inputs, auto_class=auto_class, dtype=self.dtype)()
        return max(float((found[name] - wanted[name]).abs().max()) for name in wanted)


def build_reference(tensors: Mapping[str, Tensor], options: CoreNetOptions) -> CoreNetByteFormer:
    """The reference model around a checkpoint's tensors, in float32; it has all positions, whatever a folder kept."""
    rows = tensors["pos_embed.pos_embed.pos_embed"].shape[-2]
    arguments = {name: getattr(options, name) for name in REFERENCE_OPTIONS} | {"max_num_tokens": rows}
    return CoreNetByteFormer.from_state_dict(tensors, **arguments)


def logits_in_float64(reference: CoreNetByteFormer, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's logits in float64 by name, all inputs through one stage after the other."""
    hidden = dict(inputs)
    for stage in reference.stage_functions():
        with reference.in_float64(stage) as run:
            hidden = {name: run(value) for name, value in hidden.items()}
    return hidden


def compare_logits(
    name: str, why: str, lengths: tuple[int, ...], found: Tensor, wanted: Tensor, exact: Tensor, atol: float
) -> CaseResult:
    """One input's logits, (rows, classes) each: the folder's, the reference's, the reference's in float64."""
    noise_floor = float((wanted.double() - exact).abs().max())
    if found.shape != wanted.shape:
        return CaseResult(name, why, lengths, float("inf"), atol, noise_floor, same_class=False)
    difference = float((found - wanted).abs().max())
    tolerance = atol if difference <= atol else max(atol, NOISE_FACTOR * noise_floor)
    # The class that the folder takes must be one of the reference's highest, up to a tie within the tolerance.
    margin = wanted.amax(-1) - wanted.gather(-1, found.argmax(-1, keepdim=True))[..., 0]
    same_class = bool((margin <= 2 * tolerance).all())
    return CaseResult(name, why, lengths, difference, tolerance, noise_floor, same_class)


def case_in_doubt(cases: Sequence[CaseResult], atol: float) -> CaseResult | None:
    """The first case that fails; else the one with the most noise, where noise widened its tolerance; else None."""
    failed = next((case for case in cases if not case.passed), None)
    noisy = [case for case in cases if case.tolerance > atol]
    return failed or max(noisy, key=lambda case: case.noise_floor, default=None)


def judged(report: ParityReport) -> ParityReport:
    """The report with its verdict, and the sentence that says why it failed."""
    failure = _failure(report)
    return replace(report, verdict="failed" if failure else "passed", failure=failure)


def _failure(report: ParityReport) -> str | None:
    sentences = []
    if report.weights is not None and not report.weights.passed:
        name, entries = report.weights.different[0] if report.weights.different else ("nothing", 0)
        more = len(report.weights.different) - 1
        others = f", and {more} more tensors" if more > 0 else ""
        sentences.append(f"weights differ from the checkpoint: {name} in {entries} entries{others}")
    if failed := [case for case in report.cases if not case.passed]:
        worst = max(failed, key=lambda case: case.max_difference)
        sentences.append(
            f"logits differ by {worst.max_difference:.1e} where {worst.tolerance:.1e} is allowed ({worst.name})"
        )
    if (stage := report.first_stage_out()) is not None:
        sentences.append(
            f"the first stage that leaves its tolerance is {stage.stage}: {stage.max_difference:.1e}, "
            f"where {stage.tolerance:.1e} is allowed"
        )
    return "; ".join(sentences) or None


def compare_stage(stage: str, found: Tensor | None, wanted: Tensor, exact: Tensor) -> StageResult:
    """One stage's output: the folder's, the reference's, the reference's in float64, all from the same input."""
    noise = float((wanted.double() - exact).abs().max())
    tolerance = max(STAGE_RTOL * max(float(wanted.abs().max()), 1.0), NOISE_FACTOR * noise)
    if found is None or found.shape != wanted.shape:
        return StageResult(stage, float("inf"), tolerance, noise)
    return StageResult(stage, float((found - wanted).abs().max()), tolerance, noise)


def _bits(tensor: Tensor) -> Tensor:
    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(integers[tensor.element_size()])
