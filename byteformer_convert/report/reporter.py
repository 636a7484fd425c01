"""Where one command's output goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

from rich.markup import escape
from rich.progress import Progress

from byteformer_convert.errors import ByteFormerConvertError, MappingError, ParityError, printable
from byteformer_convert.report.console import SentenceConsole
from byteformer_convert.report.stream import Stream
from byteformer_convert.report.tables import draw_parity, mismatch_table

SCHEMA_VERSION = 1


class Reporter:
    """Where one command's output goes: data to stdout, talk to stderr.

    Args:
        as_json: One JSON document on stdout instead of tables.
        quiet: No talk, no tables; errors still show.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = _console(Stream(sys.stdout, "standard output"))
        self.err = _console(Stream(sys.stderr))

    @contextmanager
    def talk(self) -> Iterator[Callable[[str], None]]:
        """A function that shows what is going on: a spinner in a terminal, a line each elsewhere."""
        if self.quiet:
            yield lambda message: None
        elif not self.err.is_terminal:
            yield lambda message: self.err.sentence(escape(message))
        else:
            with self.err.status("") as status:
                yield lambda message: status.update(escape(message))

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A function to call once a step, which moves a bar in a terminal."""
        if self.quiet or not self.err.is_terminal:
            yield lambda: None
        else:
            with Progress(console=self.err, transient=True) as bar:
                task = bar.add_task(title, total=total)
                yield lambda: bar.advance(task)

    def document(self, content: Mapping[str, Any]) -> None:
        """One JSON document on stdout."""
        # Not through rich, which would wrap lines.
        print(json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False), file=self.out.file)
        self.out.file.flush()

    def error(self, error: ByteFormerConvertError) -> None:
        """One message on stderr, with the tables that belong to it; with JSON, a document on stdout as well."""
        if self.as_json:
            self.document({"error": error.to_dict()})
        if isinstance(error, MappingError) and error.mismatches:
            self.err.print(mismatch_table(error.mismatches))
        if isinstance(error, ParityError) and error.report is not None:
            draw_parity(error.report, self.err)
        self.problem(error)

    def problem(self, error: ByteFormerConvertError) -> None:
        """One message on stderr."""
        where = "" if error.where is None else f"{escape(error.where)}: "
        self.err.sentence(f"[bold red]error:[/] {where}{escape(error.message)}")
        if error.hint is not None:
            self.err.sentence(escape(error.hint))

    def interrupted(self) -> None:
        """One sentence on stderr; with JSON, a document on stdout as well."""
        message = "Interrupted; no half-written folder is left."
        if self.as_json:
            self.document({"error": {"kind": "interrupted", "message": message, "exit_code": 130}})
        self.err.sentence(message)

    def notes(self, notes: Sequence[str]) -> None:
        """Sentences on stderr."""
        if not self.quiet:
            for note in notes:
                self.err.sentence(f"[yellow]note:[/] {escape(printable(note))}")


def _console(stream: Stream) -> SentenceConsole:
    return SentenceConsole(file=cast("IO[str]", stream), highlight=False, emoji=False)
