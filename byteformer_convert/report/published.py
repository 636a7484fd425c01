"""The catalogue of published checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from byteformer_convert.corenet.published import PublishedCheckpoint
    from byteformer_convert.report.reporter import Reporter


def draw_catalogue(reporter: Reporter, entries: Sequence[PublishedCheckpoint]) -> None:
    """One row a checkpoint."""
    if reporter.as_json:
        reporter.document({"published": [entry.to_dict() for entry in entries]})
    elif not reporter.quiet:
        reporter.out.print(_table(entries))


def _table(entries: Sequence[PublishedCheckpoint]) -> Table:
    table = Table(show_lines=True, caption="Top-1 accuracy as CoreNet's own table says it.", caption_justify="left")
    table.add_column("name", no_wrap=True)  # whole even at 80 columns: it is there to be copied
    table.add_column("trained on")
    table.add_column("top-1 %", justify="right")
    for entry in entries:
        table.add_row(entry.name, entry.data, f"{entry.top1:.2f}")
    return table
