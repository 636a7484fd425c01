"""What the machine lacks: memory, processes, open files, a folder to work in. Libraries say so in many ways."""

from __future__ import annotations

import errno
import re
import tempfile
from pathlib import Path

from byteformer_convert.errors import MachineError

MEMORY = re.compile(r"bad_alloc|can(no|')t allocate memory|^MemoryError\b", re.IGNORECASE)
THREADS = re.compile(r"can't start new thread|^BlockingIOError\b")
GONE = [getattr(errno, name) for name in ("ESTALE", "ENOTCONN") if hasattr(errno, name)]
DISK = re.compile(rf"\b(Errno |os error )({'|'.join(map(str, GONE))})\b")
FILES = re.compile(rf"\b(Errno |os error )({errno.EMFILE}|{errno.ENFILE})\b")


def check_machine() -> None:
    """Looks for what torch's import would end the process over, or blame on something else.

    Raises:
        MachineError: The current folder is gone, or none takes temporary files.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise MachineError(
            f"the current folder cannot be used: {error.strerror}.", hint="Change to a folder that is there."
        ) from error
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise MachineError(
            "no folder takes temporary files: all are full, read-only, or not there.",
            hint="Set TMPDIR to a folder that you may write to.",
        ) from error


def lack_behind(error: BaseException | str) -> MachineError | None:
    """What the machine lacked where that is what an error says; None where it says something else.

    Args:
        error: Of any library; or, from another process, its class and text.
    """
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    code = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or code == errno.ENOMEM or MEMORY.search(text):
        return MachineError(
            "there is not enough memory.",
            hint="Free some, allow more (ulimit -v, a container's limit), or take a larger machine.",
        )
    if code == errno.EAGAIN or THREADS.search(text):
        return MachineError(
            "no further process or thread can be started.", hint="End others, or allow more (ulimit -u)."
        )
    if code in (errno.EMFILE, errno.ENFILE) or FILES.search(text):
        return MachineError("no further file can be opened.", hint="Allow more open files (ulimit -n).")
    if code in GONE or DISK.search(text):
        return MachineError("a disk does not answer any more.", hint="Run the command again once it does.")
    return None
