"""Files that are written beside their targets and take their places together when all of them are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from byteformer_convert.errors import OutputError
from byteformer_convert.output.partial import make_locked, partial_path, remove, remove_leftovers
from byteformer_convert.output.staging import output_errors, sync_path


@contextmanager
def placed_files(targets: Sequence[Path], *, force: bool = False) -> Iterator[tuple[Path, ...]]:
    """Paths to write to; they are at the targets after the block, and gone if the block raises.

    Args:
        targets: Where the files are to be; their parents are made.
        force: Whether files that are there may be replaced.

    Raises:
        OutputError: A target is there already, or cannot be written.
    """
    refuse_existing(targets, force=force)
    staged = tuple(partial_path(target) for target in targets)
    locks: list[int | None] = []
    try:
        with output_errors(targets[0]):
            for path, target in zip(staged, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                remove_leftovers(target)
                locks.append(make_locked(path, folder=False))
            yield staged
            for path in staged:
                sync_path(path)  # else a power cut could leave the new name with an empty file behind it
        refuse_existing(targets, force=force)  # some time has passed
        _place(staged, targets)
    finally:
        for path in staged:
            remove(path)
        for lock in locks:
            if lock is not None:
                os.close(lock)


def refuse_existing(targets: Sequence[Path], *, force: bool) -> None:
    """Refuses targets that are there already, before any work is done.

    Raises:
        OutputError: One of them is there and `force` is not given, or is no file.
    """
    for target in targets:
        if os.path.lexists(target) and (not force or target.is_dir()):
            what = "is a folder." if target.is_dir() else "is there already."
            hint = "Choose another --output." if target.is_dir() else "Choose another --output, or give --force."
            raise OutputError(what, where=target, hint=hint)


def _place(staged: Sequence[Path], targets: Sequence[Path]) -> None:
    """The first target last: it is what people wait for, so it never stands there without its companions."""
    for path, target in reversed(list(zip(staged, targets, strict=True))):
        with output_errors(target):
            path.replace(target)
        with suppress(OSError):  # too late to fail: the file is in its place
            sync_path(target.parent)
