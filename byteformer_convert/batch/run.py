"""A whole batch: its entries, or a shard of them, in some processes, and one report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from byteformer_convert import __version__
from byteformer_convert.batch.convert_entry import Outcome, Settings
from byteformer_convert.batch.manifest import Entry, read_manifest, shard_of
from byteformer_convert.batch.watcher import Watcher
from byteformer_convert.batch.workers import convert_all
from byteformer_convert.errors import UsageError
from byteformer_convert.interrupts import heard
from byteformer_convert.output.folder import file_record, write_json
from byteformer_convert.output.placed_files import placed_files

# Worst first: a bug; numbers that are not CoreNet's; then what somebody else has to mend.
WORST_FIRST: Final = (1, 4, 5, 3, 2, 6, 0)
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch did.

    Attributes:
        manifest: Its file name.
        sha256: Of the manifest.
        shard: `I/N`, None for all of it.
        outcomes: One for each entry, in the manifest's order.
        interrupted: Whether it was stopped before its end.
        report_file: Where the report is.
    """

    manifest: str
    sha256: str
    shard: str | None
    outcomes: tuple[Outcome, ...]
    interrupted: bool
    report_file: Path

    @property
    def exit_code(self) -> int:
        """That of the worst entry; 130 where the batch was interrupted."""
        codes = {outcome.exit_code for outcome in self.outcomes}
        return INTERRUPTED if self.interrupted else next((code for code in WORST_FIRST if code in codes), 0)

    @property
    def counts(self) -> dict[str, int]:
        """How many entries ended how."""
        return dict(Counter(outcome.status for outcome in self.outcomes))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "tool": {"name": "byteformer-convert", "version": __version__},
            "manifest": {"name": self.manifest, "sha256": self.sha256},
            "shard": self.shard,
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "counts": self.counts,
            "entries": [outcome.to_dict() for outcome in self.outcomes],
        }


def run_batch(
    manifest: Path, settings: Settings, *, jobs: int = 1, shard: str | None = None, watcher: Watcher | None = None
) -> Batch:
    """Converts what a manifest lists. One entry's failure does not stop the others.

    Args:
        manifest: YAML or JSON.
        settings: Where to, and how.
        jobs: Processes at a time.
        shard: `I/N`, to do a part of it.
        watcher: Is told what happens.

    Raises:
        UsageError: `jobs` or `shard` makes no sense.
        ManifestError: The manifest cannot be used.
        OutputError: The report cannot be written.
    """
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}.", hint="Give 1 or more; about half the number of cores is a good start.")
    entries = shard_of(read_manifest(manifest), shard)
    watcher = watcher or Watcher()
    watcher.begins(entries)
    done, interrupted = _outcomes(entries, settings, jobs, watcher)
    left = (done.get(entry.name, Outcome(entry.name, "not started")) for entry in entries)
    report_file = settings.output / _report_name(shard)
    batch = Batch(manifest.name, file_record(manifest).sha256, shard, tuple(left), interrupted, report_file)
    with placed_files([report_file], force=True) as (staged,):
        write_json(staged, {"schema_version": 1, **batch.to_dict()})
    return batch


def _outcomes(
    entries: tuple[Entry, ...], settings: Settings, jobs: int, watcher: Watcher
) -> tuple[dict[str, Outcome], bool]:
    done: dict[str, Outcome] = {}
    try:
        for outcome in convert_all(entries, settings, jobs, watcher.started):
            done[outcome.name] = outcome
            watcher.ended(outcome)
    except KeyboardInterrupt:
        heard()
        return done, True
    return done, False


def _report_name(shard: str | None) -> str:
    return "batch_report.json" if shard is None else f"batch_report-{shard.replace('/', '-of-')}.json"
