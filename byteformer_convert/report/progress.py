"""A bar for a download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from byteformer_convert.report.reporter import Reporter


@contextmanager
def download_bar(reporter: Reporter, title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function that is told how many bytes are there, and how many there will be; the bar comes with the first."""
    if reporter.quiet or not reporter.err.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=reporter.err, transient=True) as bar:
        task = bar.add_task(title, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
