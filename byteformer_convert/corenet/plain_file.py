"""Opens files that anybody may have written: no pipe is waited for, no size is taken on trust."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

LONGEST: Final = 64 * 2**20  # bytes of a JSON or .py file; a million class names take 30 MB


def read_plain(path: Path, longest: int = LONGEST) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: It is not there, is no regular file, or is longer than `longest`.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, longest) + 1)  # so much is taken, however little there is
    if len(content) > longest:
        raise OSError(errno.EFBIG, f"it has more than {longest:,} bytes", str(path))
    return content


def open_plain(path: Path) -> BufferedReader:
    """A regular file, open to be read; links are followed, for the Hub's cache is made of them.

    Raises:
        OSError: It is not there, or is no regular file.
    """
    try:
        # A pipe that is opened so is not waited for.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file
