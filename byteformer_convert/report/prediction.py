"""What predict found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from byteformer_convert.report.tables import class_table

if TYPE_CHECKING:
    from byteformer_convert.prediction import Prediction
    from byteformer_convert.report.reporter import Reporter


def draw_prediction(reporter: Reporter, prediction: Prediction) -> None:
    """Each file's classes on stdout, and what went wrong on stderr."""
    if reporter.as_json:
        reporter.document(prediction.to_dict())
    elif not reporter.quiet:
        for file in prediction.files:
            if file.error is None:
                reporter.out.print(f"[bold]{escape(str(file.file))}[/], {file.length:,} bytes", soft_wrap=True)
                reporter.out.print(class_table(file.top))
    for error in prediction.errors:
        reporter.problem(error)
    if prediction.errors and len(prediction.files) > 1:
        reporter.err.sentence(f"{len(prediction.errors)} of {len(prediction.files)} files could not be classified.")
