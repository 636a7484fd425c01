"""A folder that is written beside its target and takes the target's place when it is whole.

Whatever happens, the target is either the old folder, whole, or the new one, whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from byteformer_convert.errors import OutputError
from byteformer_convert.output.partial import make_locked, partial_path, remove, remove_leftovers
from byteformer_convert.output.swap import exchange, put_in_place

REPORT_NAME = "conversion_report.json"

ADVICE = {
    errno.ENOSPC: "Free some space, or choose an --output on another disk.",
    errno.EDQUOT: "Free some space, or choose an --output on another disk.",
    errno.EACCES: "Choose an --output that you may write to.",
    errno.EPERM: "Choose an --output that you may write to.",
    errno.EROFS: "Choose an --output that is not read-only.",
}

CANNOT_SYNC = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # some file systems; Windows


def check_target(target: Path, *, force: bool) -> None:
    """Refuses a target that is there already, before any work is done.

    Raises:
        OutputError: It is there and `force` is not given; or it is there and not a folder that this tool wrote.
    """
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputError(
            "is there already.", where=target, hint="Choose another --output, or replace it with --force."
        )
    check_ours(target, "so --force does not replace it", "Choose another --output, or remove it yourself.")


def check_ours(folder: Path, so: str, hint: str) -> None:
    """Refuses a folder that holds what this tool did not write: replacing it would lose that.

    Raises:
        OutputError: Says what, then `so`, and the hint.
    """
    with output_errors(folder):
        reason = _obstacle(folder)
    if reason is not None:
        raise OutputError(f"{reason}, {so}.", where=folder, hint=hint)


@contextmanager
def staged_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """A new folder beside the target; in its place after the block, gone if the block raises.

    Args:
        target: Where the folder is to be; its parents are made.
        force: Whether an old folder there may be replaced. It stays until the new one is whole.

    Raises:
        OutputError: The target is there already, or something cannot be written.
    """
    check_target(target, force=force)
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
    staged, lock = partial_path(target), None
    try:  # from before it is there: an interrupt may come between any two steps
        with output_errors(target):
            lock = make_locked(staged, folder=True)
            yield staged
            _write_through(staged)
            _take_place(staged, target, force=force)
            remove(staged)  # the old folder; within the block, so that an interrupt finds it removed below
    finally:
        remove(staged)
        if lock is not None:
            os.close(lock)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turns an OSError of the block into an OutputError that names the target."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Python's own, of something else, such as source code that it cannot find
            raise
        reason = error.strerror or str(error)
        raise OutputError(f"cannot be written: {reason}.", where=target, hint=ADVICE.get(error.errno)) from error


def _obstacle(target: Path) -> str | None:
    """Why `target` is not ours to replace; None for an empty folder, and for one that holds only what we wrote."""
    stranger = "is not a folder that byteformer-convert wrote"
    if target.is_symlink() or not target.is_dir():
        return stranger
    if not (found := sorted(path.name for path in target.iterdir())):
        return None
    try:
        report = json.loads((target / REPORT_NAME).read_text(encoding="utf-8"))
        ours = {REPORT_NAME, *(file["name"] for file in report["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return stranger
    others = [name for name in found if name not in ours]
    return f"holds {others[0]}, which byteformer-convert did not write" if others else None


def _take_place(staged: Path, target: Path, *, force: bool) -> None:
    if force and os.path.lexists(target):
        check_target(target, force=True)  # it may have changed since the start
        exchange(staged, target)
    else:
        put_in_place(staged, target)
    with suppress(OSError):  # too late to fail: the folder is in its place
        sync_path(target.parent)


def _write_through(folder: Path) -> None:
    """To the disk itself: else a power cut could leave the new name with empty files behind it."""
    for path in folder.iterdir():
        sync_path(path)
    sync_path(folder)


def sync_path(path: Path) -> None:
    """As `sync`, of what lies at a path; what may not be read is left as it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    else:
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


def sync(descriptor: int) -> None:
    """Brings a file or folder to the disk, on file systems that can.

    Raises:
        OSError: The disk is full or broken. That is told once: what is caught here is not told at the next call.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
