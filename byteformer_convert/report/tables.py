"""Tables that several commands draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from byteformer_convert.corenet.state_dict import Mismatch
    from byteformer_convert.inspection import TensorFamily
    from byteformer_convert.output.folder import FileRecord
    from byteformer_convert.parity.result import ParityReport

BAR_WIDTH = 30


def draw_parity(report: ParityReport, console: Console) -> None:
    """All levels of a check."""
    if report.verdict == "skipped":
        return
    if report.weights is not None:
        equal = report.weights.tensors - len(report.weights.different)
        console.print(f"Weights: {equal} of {report.weights.tensors} tensors equal bit for bit.")
    if report.cases:
        console.print(case_table(report))
    if report.dtype_effect is not None:
        console.print(f"Computing in {report.dtype} moves logits by at most {report.dtype_effect:.1e}.")
    if report.stages:
        console.print(stage_table(report))


def case_table(report: ParityReport) -> Table:
    """Logits, case by case."""
    table = Table(title="Logits of the folder against the reference", title_justify="left")
    for name in ("input", "bytes"):
        table.add_column(name)
    for name in ("difference", "allowed", "noise floor"):
        table.add_column(name, justify="right")
    table.add_column("")
    for case in report.cases:
        lengths = ", ".join(f"{length:,}" for length in case.lengths)
        verdict = "ok" if case.passed else "[bold red]FAILS[/]"
        numbers = (f"{value:.1e}" for value in (case.max_difference, case.tolerance, case.noise_floor))
        table.add_row(case.name, lengths, *numbers, verdict)
    return table


def stage_table(report: ParityReport) -> Table:
    """Each stage alone, fed with the reference's output of the one before."""
    table = Table(title="Each stage alone, the same tensor going into both", title_justify="left")
    table.add_column("stage")
    for name in ("difference", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for stage in report.stages:
        verdict = "ok" if stage.passed else "[bold red]FAILS[/]"
        table.add_row(stage.stage, f"{stage.max_difference:.1e}", f"{stage.tolerance:.1e}", verdict)
    return table


def mismatch_table(mismatches: Sequence[Mismatch]) -> Table:
    """What does not fit, folded over layers."""
    table = Table(title="What does not fit", title_justify="left", show_lines=True)
    for name in ("problem", "tensor", "layers", "expected", "found", "likely cause"):
        table.add_column(name, overflow="fold")
    for mismatch in mismatches:
        table.add_row(
            mismatch.problem,
            escape(mismatch.name),
            layer_ranges(mismatch.layers),
            shape_text(mismatch.expected),
            shape_text(mismatch.found),
            escape(mismatch.cause),
        )
    return table


def family_table(families: Sequence[TensorFamily]) -> Table:
    """The parameter table, folded over layers."""
    table = Table(title="Tensors", title_justify="left")
    for name in ("tensor", "layers", "shape"):
        table.add_column(name, overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column("maps to", overflow="fold")
    table.add_column("how", overflow="fold")
    for family in families:
        targets = "\n".join(escape(target) for target in family.targets) or "[bold red]nothing[/]"
        table.add_row(
            escape(family.name),
            layer_ranges(family.layers),
            shape_text(family.shape),
            f"{family.parameters:,}",
            targets,
            family.how,
        )
    return table


def file_table(files: Sequence[FileRecord]) -> Table:
    """Names and sizes."""
    table = Table(title="Files", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256")
    for file in files:
        table.add_row(escape(file.name), f"{file.size:,}", file.sha256[:16])
    return table


def class_table(top: Sequence[tuple[str, float]]) -> Table:
    """Class names with bars."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for label, probability in top:
        table.add_row(escape(label), f"{probability:.1%}", "█" * round(probability * BAR_WIDTH))
    return table


def layer_ranges(layers: Sequence[int]) -> str:
    """`0-3, 5` for 0, 1, 2, 3, 5."""
    ranges: list[list[int]] = []
    for layer in sorted(layers):
        if ranges and layer == ranges[-1][-1] + 1:
            ranges[-1][1:] = [layer]
        else:
            ranges.append([layer])
    return ", ".join("-".join(map(str, run)) for run in ranges)


def shape_text(shape: Sequence[int] | None) -> str:
    """`192 × 384`."""
    return "" if shape is None else " × ".join(map(str, shape))
