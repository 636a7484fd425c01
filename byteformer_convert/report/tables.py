"""Tables that several commands draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from byteformer_convert.corenet.state_dict import Mismatch
    from byteformer_convert.inspection import TensorFamily
    from byteformer_convert.output.folder import FileRecord
    from byteformer_convert.parity.result import ParityReport
    from byteformer_convert.report.console import SentenceConsole

BAR_WIDTH = 30


def draw_parity(report: ParityReport, console: SentenceConsole) -> None:
    """All levels of a check."""
    if report.verdict == "skipped":
        return
    if report.weights is not None:
        equal = report.weights.tensors - len(report.weights.different)
        console.sentence(f"Weights: {equal} of {report.weights.tensors} tensors equal bit for bit.")
    if report.cases:
        console.print(case_table(report))
    if report.dtype_effect is not None:
        console.sentence(f"Computing in {report.dtype} moves logits by at most {report.dtype_effect:.1e}.")
    if report.stages and report.verdict == "passed":
        console.sentence(
            f"float32 is uncertain for this model, so each stage was compared alone, too: all {len(report.stages)} "
            "are within their tolerance."
        )
    elif report.stages:
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
    """What does not fit, folded over layers: a block each, so that 80 columns hold the longest name."""
    table = Table(title="What does not fit", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("problem")
    table.add_column("tensor, shapes, likely cause", overflow="fold")
    for mismatch in mismatches:
        lines = [_name_and_layers(mismatch.name, mismatch.layers), _shapes(mismatch), escape(mismatch.cause), ""]
        table.add_row(mismatch.problem, "\n".join(line for line in lines if line is not None))
    return table


def _name_and_layers(name: str, layers: Sequence[int]) -> str:
    return f"[bold]{escape(name)}[/]" + (f"  layers {layer_ranges(layers)}" if layers else "")


def _shapes(mismatch: Mismatch) -> str | None:
    """`expected 5×192, found 7×192`; None where there is neither."""
    shapes = (("expected", mismatch.expected), ("found", mismatch.found))
    return ", ".join(f"{what} {shape_text(shape)}" for what, shape in shapes if shape is not None) or None


def family_table(families: Sequence[TensorFamily]) -> Table:
    """The parameter table, folded over layers: two lines a row, so that 80 columns hold the longest names."""
    table = Table(title="Tensors", title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("tensor\n  its counterpart (… is byteformer)", no_wrap=True)
    table.add_column("shape\nlayers", overflow="fold", min_width=15)
    table.add_column("parameters\nrearranged", justify="right")
    for family in families:
        counterpart = _folded(family.targets) if family.targets else "[bold red]none[/]"
        table.add_row(
            f"{_short(family.name)}\n  {counterpart}",
            f"{shape_text(family.shape)}\n{layer_ranges(family.layers)}",
            f"{family.parameters:,}\n{family.how if family.targets and family.how != 'as it is' else ''}",
        )
    return table


def _folded(names: Sequence[str]) -> str:
    """`….layers.{i}.attention.{q,k,v}_proj.bias`: names that differ in one letter become one."""
    columns = list(zip(*names, strict=False))
    differing = [at for at, column in enumerate(columns) if len(set(column)) > 1]
    if len(differing) != 1 or len(set(map(len, names))) != 1:
        return "\n  ".join(map(_short, names))
    at = differing[0]
    return _short(f"{names[0][:at]}{{{','.join(columns[at])}}}{names[0][at + 1 :]}")


def _short(name: str) -> str:
    return escape(f"….{name.removeprefix('byteformer.')}" if name.startswith("byteformer.") else name)


def file_table(files: Sequence[FileRecord]) -> Table:
    """Names and sizes."""
    table = Table(title="Files", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", overflow="fold")
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
    """`192×384`."""
    return "" if shape is None else "×".join(map(str, shape))
