"""A batch: a table that changes while it runs, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from byteformer_convert.batch.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from byteformer_convert.batch.convert_entry import Outcome
    from byteformer_convert.batch.manifest import Entry
    from byteformer_convert.batch.run import Batch
    from byteformer_convert.report.reporter import Reporter

MARKS = {"converted": "[green]converted[/]", "skipped": "[dim]skipped[/]", "failed": "[bold red]failed[/]"}


class LineWatcher(Watcher):
    """A line for each entry that is done, for logs."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.left = 0

    def begins(self, entries: tuple[Entry, ...]) -> None:
        self.left = len(entries)

    def ended(self, outcome: Outcome) -> None:
        self.left -= 1
        self.reporter.err.sentence(f"{_line(outcome)} ({self.left} left)")


class LiveWatcher(LineWatcher):
    """What is under way, below the lines of what is done: as tall as --jobs, however long the manifest."""

    def __init__(self, reporter: Reporter, live: Live) -> None:
        super().__init__(reporter)
        self.live = live
        self.running: dict[str, Spinner] = {}
        self.lock = Lock()

    def started(self, entry: Entry) -> None:
        with self.lock:
            self.running[entry.name] = Spinner("dots", escape(entry.name))
        self.live.update(self._view())

    def ended(self, outcome: Outcome) -> None:
        with self.lock:
            self.running.pop(outcome.name, None)
        super().ended(outcome)
        self.live.update(self._view())

    def _view(self) -> RenderableType:
        with self.lock:
            return Group(*self.running.values(), f"{self.left} left")


@contextmanager
def watching(reporter: Reporter) -> Iterator[Watcher]:
    """Who is told what happens: a live view in a terminal, lines elsewhere, nobody with --quiet."""
    if reporter.quiet:
        yield Watcher()
    elif not reporter.err.is_terminal:
        yield LineWatcher(reporter)
    else:
        with Live(console=reporter.err, transient=True) as live:
            yield LiveWatcher(reporter, live)


def draw_batch(reporter: Reporter, batch: Batch) -> None:
    """All entries, and where the report is; with JSON, the report itself."""
    if reporter.as_json:
        reporter.document(batch.to_dict())
    elif not reporter.quiet:
        reporter.out.print(_table(batch))
        counts = ", ".join(f"{count} {status}" for status, count in _counts(batch).items()) or "nothing to do"
        reporter.out.sentence(f"{counts}. Report: [bold]{escape(str(batch.report_file))}[/]")
    if batch.interrupted:
        reporter.err.sentence("Interrupted. The same command again does what is left.")


def _counts(batch: Batch) -> dict[str, int]:
    unsent = sum(outcome.status != "failed" and outcome.error is not None for outcome in batch.outcomes)
    return batch.counts | ({"not pushed": unsent} if unsent else {})


def _table(batch: Batch) -> Table:
    table = Table()
    table.add_column("name", overflow="fold")
    table.add_column("")
    table.add_column("parity")
    table.add_column("difference", justify="right")
    table.add_column("", overflow="fold")
    for outcome in batch.outcomes:
        worst = outcome.worst_difference
        table.add_row(
            escape(outcome.name),
            MARKS.get(outcome.status, outcome.status),
            outcome.parity or "",
            "" if worst is None else str(worst),
            escape(_remark(outcome)),
        )
    return table


def _line(outcome: Outcome) -> str:
    remark = _remark(outcome)
    return f"{MARKS.get(outcome.status, outcome.status)} {escape(outcome.name)}" + (
        f": {escape(remark)}" if remark else ""
    )


def _remark(outcome: Outcome) -> str:
    if outcome.error is not None:
        where = outcome.error.get("where")
        return f"{where}: {outcome.error['message']}" if where else str(outcome.error["message"])
    if outcome.push is not None:
        return f"pushed to {outcome.push['url']}" if outcome.push["changed"] else "already on the Hub"
    return ""
