"""Reads small files of a folder that anybody may have written: no pipe is waited for, no size is taken on trust."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

LONGEST: Final = 64 * 2**20  # bytes of a JSON or .py file; a million class names take 30 MB


def read_plain(path: Path, longest: int = LONGEST) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: It is not there, is no regular file, or is longer than `longest`.
    """
    # A pipe that is opened so is not waited for.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        content = opened.read(longest + 1)
    if len(content) > longest:
        raise OSError(errno.EFBIG, f"it has more than {longest:,} bytes", str(path))
    return content
