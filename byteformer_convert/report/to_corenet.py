"""What to-corenet wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from byteformer_convert.report.tables import file_table

if TYPE_CHECKING:
    from byteformer_convert.report.reporter import Reporter
    from byteformer_convert.to_corenet import CoreNetFiles


def draw_corenet_files(reporter: Reporter, files: CoreNetFiles) -> None:
    """The two files, and what is in them."""
    reporter.notes(files.notes)
    if reporter.as_json:
        reporter.document(files.to_dict())
    elif not reporter.quiet:
        reporter.out.print(file_table((files.weights, files.config)))
        reporter.out.sentence(
            f"Wrote [bold]{escape(str(files.output))}[/]: {files.tensors} tensors, {files.parameters:,} parameters, "
            f"{files.dtype}."
        )
