"""A folder that is written beside its target and takes the target's place when it is whole.

Whatever happens, the target is either the old folder, whole, or the new one, whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from byteformer_convert.errors import OutputError
from byteformer_convert.output.swap import exchange, put_in_place

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # not a Unix: leftovers of a killed run are then never taken for leftovers
    flock = None  # type: ignore[assignment]

REPORT_NAME = "conversion_report.json"
PARTIAL = ".partial-"

ADVICE = {
    errno.ENOSPC: "Free some space, or choose an --output on another disk.",
    errno.EDQUOT: "Free some space, or choose an --output on another disk.",
    errno.EACCES: "Choose an --output that you may write to.",
    errno.EPERM: "Choose an --output that you may write to.",
    errno.EROFS: "Choose an --output that is not read-only.",
}


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
    if target.is_symlink() or not target.is_dir() or not _replaceable(target):
        raise OutputError(
            "is not a folder that byteformer-convert wrote, so --force does not replace it.",
            where=target,
            hint="Choose another --output, or remove it yourself.",
        )


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
        _remove_leftovers(target)
        staged = _new_partial(target)
        lock = _lock(staged)
    try:
        with output_errors(target):
            yield staged
            _take_place(staged, target, force=force)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turns an OSError of the block into an OutputError that names the target."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = error.strerror or str(error)
        raise OutputError(f"cannot be written: {reason}.", where=target, hint=ADVICE.get(code)) from error


def _replaceable(folder: Path) -> bool:
    return (folder / REPORT_NAME).is_file() or not any(folder.iterdir())


def _take_place(staged: Path, target: Path, *, force: bool) -> None:
    if force and os.path.lexists(target):
        check_target(target, force=True)  # it may have changed since the start
        exchange(staged, target)
    else:
        put_in_place(staged, target)


def _new_partial(target: Path) -> Path:
    folder = target.parent / f".{target.name}{PARTIAL}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)  # of a dead process that had our number
    folder.mkdir()
    return folder


def _remove_leftovers(target: Path) -> None:
    """What runs that were killed have left beside the target; a living run holds a lock on its own."""
    for leftover in target.parent.glob(f".{_escaped(target.name)}{PARTIAL}*"):
        lock = _lock(leftover)
        if lock is not None:
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(lock)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where somebody else does, or where there are no locks."""
    if flock is None:
        return None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None
