"""sha256 of files in a thread of its own, while the interpreter does something else."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO, Final

# Large: after each block the thread waits for the interpreter, which importing torch lets go of but seldom.
_BLOCK: Final = 1 << 28


@contextmanager
def sha256_of(files: Sequence[Path]) -> Iterator[Callable[[], str]]:
    """Hashes files, one after the other, while the block does something else.

    Args:
        files: Regular files; a pipe would be waited for.

    Yields:
        A function that waits for the sha256 of all of them together; it raises an OSError where one cannot be read.
        A block that ends without asking ends the hashing, too.
    """
    given_up = Event()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256") as second:
        digest = second.submit(_sha256, files, given_up)
        try:
            yield digest.result
        finally:
            given_up.set()


def _sha256(files: Sequence[Path], given_up: Event) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb", buffering=0) as file:
            for block in _blocks(file):
                if given_up.is_set():
                    break
                digest.update(block)
    return digest.hexdigest()


def _blocks(file: BinaryIO) -> Iterator[bytes | memoryview]:
    """A file's content, mapped from disk: no copy, and one turn of the interpreter a block."""
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # a file system without it; an empty file
        yield from iter(lambda: file.read(1 << 20), b"")
        return
    content = memoryview(mapped)
    for start in range(0, len(content), _BLOCK):
        yield content[start : start + _BLOCK]
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
