"""What is half written: it lies beside its target under a name of its own, locked, until it takes the target's place.

What a killed run has left holds no lock any more, so the next run for the same target knows it and removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # not a Unix: leftovers of a killed run are then never taken for leftovers
    flock = None  # type: ignore[assignment]

PARTIAL = ".partial-"
ATTEMPTS = 20  # at a folder or file of one's own


def partial_path(target: Path) -> Path:
    """A name that no other run has; process numbers repeat between containers that share a disk."""
    return target.with_name(f".{target.name}{PARTIAL}{secrets.token_hex(6)}")


def make_locked(path: Path, *, folder: bool) -> int | None:
    """Makes a folder or an empty file, and locks it.

    Returns:
        The descriptor that holds the lock; None on a file system without locks.

    Raises:
        OSError: It cannot be made.
    """
    for _ in range(ATTEMPTS):
        _make(path, folder)
        descriptor = _lock(path, wait=True)
        if descriptor is not None and _is_open_at(descriptor, path):
            return descriptor
        if descriptor is not None:  # another run took it for a leftover before it was locked
            os.close(descriptor)
    _make(path, folder)
    return None


def remove_leftovers(target: Path) -> None:
    """What runs that were killed have left beside the target; a living run holds a lock on its own."""
    for leftover in target.parent.glob(f".{_escaped(target.name)}{PARTIAL}*"):
        descriptor = _lock(leftover)
        if descriptor is not None:
            remove(leftover)
            os.close(descriptor)


def remove(path: Path) -> None:
    """As much of a folder or file as can be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _make(path: Path, folder: bool) -> None:
    if folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _lock(path: Path, *, wait: bool = False) -> int | None:
    """A descriptor that holds the lock; None where somebody else does, unless that is waited for, or without locks."""
    if flock is None:
        return None
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            flock(descriptor, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None
