"""What inspect found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from byteformer_convert.errors import printable
from byteformer_convert.report.tables import family_table, mismatch_table

if TYPE_CHECKING:
    from byteformer_convert.inspection import Inspection
    from byteformer_convert.report.reporter import Reporter


def draw_inspection(reporter: Reporter, inspection: Inspection) -> None:
    """What inspect found."""
    reporter.notes(inspection.notes)
    if reporter.as_json:
        reporter.document(inspection.to_dict())
        return
    if reporter.quiet:
        return
    reporter.out.print(f"[bold]{escape(printable(inspection.subject))}[/]", soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in inspection.facts:
        facts.add_row(name, escape(value))
    reporter.out.print(facts)
    reporter.out.print(family_table(inspection.families))
    reporter.out.sentence(f"{inspection.parameters:,} parameters in all.")
    if inspection.mismatches:
        reporter.out.print(mismatch_table(inspection.mismatches))
