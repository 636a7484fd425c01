"""Who is told what happens in a batch. Light, for whoever draws subclasses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byteformer_convert.batch.convert_entry import Outcome
    from byteformer_convert.batch.manifest import Entry


class Watcher:
    """Is told what happens; draws nothing."""

    def begins(self, entries: tuple[Entry, ...]) -> None:
        """Before the first entry."""

    def started(self, entry: Entry) -> None:
        """An entry's turn has come; called from other threads."""

    def ended(self, outcome: Outcome) -> None:
        """An entry is done."""
