"""Puts a finished folder in its place in one step of the file system."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def put_in_place(staged: Path, target: Path) -> None:
    """Renames `staged` to `target`, which must not exist.

    Raises:
        OSError: It exists by now, or the rename failed; `staged` is still there.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    staged.rename(target)


def exchange(staged: Path, target: Path) -> None:
    """Swaps two folders; the old one is at `staged` afterwards.

    On Linux this is one step (renameat2 with RENAME_EXCHANGE). Elsewhere there is a moment in which the old folder lies
    beside the target, as `.NAME.old-` and this process's number: not among the leftovers that the next run removes.

    Raises:
        OSError: The swap failed; both folders are where they were.
    """
    if _exchange_in_one_step(staged, target):
        return
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    target.rename(aside)
    try:
        staged.rename(target)
    except OSError:
        aside.rename(target)
        raise
    aside.rename(staged)


def _exchange_in_one_step(first: Path, second: Path) -> bool:
    """False where the system cannot do it."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):  # an old kernel, or a file system without it
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))
