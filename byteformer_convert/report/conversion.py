"""What convert, verify and demo did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from byteformer_convert.report.tables import class_table, draw_parity, file_table

if TYPE_CHECKING:
    from byteformer_convert.conversion import Conversion
    from byteformer_convert.demo import Demo
    from byteformer_convert.report.reporter import Reporter
    from byteformer_convert.verification import Verification


def draw_conversion(reporter: Reporter, conversion: Conversion) -> None:
    """What convert did."""
    reporter.notes(conversion.notes)
    if reporter.as_json:
        reporter.document(conversion.to_dict())
    elif not reporter.quiet:
        draw_parity(conversion.parity, reporter.out)
        reporter.out.print(file_table(conversion.files))
        verdict = "parity holds" if conversion.parity.verdict == "passed" else "parity was not checked"
        reporter.out.sentence(f"Wrote [bold]{escape(str(conversion.output))}[/]: {verdict}.")


def draw_verification(reporter: Reporter, verification: Verification) -> None:
    """What verify found."""
    reporter.notes([*(f"{name} is not this version's." for name in verification.changed_code), *verification.notes])
    if reporter.as_json:
        reporter.document(verification.to_dict())
    elif not reporter.quiet:
        draw_parity(verification.parity, reporter.out)
        if verification.passed:
            reporter.out.sentence(f"[bold]{escape(str(verification.folder))}[/]: parity holds.")
    if not verification.passed:
        sentence = f"{verification.folder}: parity does not hold: {verification.failure}."
        reporter.err.sentence(f"[bold red]error:[/] {escape(sentence)}")


def draw_demo(reporter: Reporter, demo: Demo) -> None:
    """What the demo did."""
    if reporter.as_json:
        reporter.document(demo.to_dict())
        return
    draw_conversion(reporter, demo.conversion)
    if not reporter.quiet:
        reporter.out.sentence(
            f"\nA fresh process with transformers alone encoded {demo.file} to {demo.length:,} bytes and classified "
            "it (random weights, so the classes mean nothing):"
        )
        reporter.out.print(class_table(demo.top))
