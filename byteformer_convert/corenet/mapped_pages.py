"""The memory that a file takes while it is mapped: given back as it is read, for it lies in the page cache as well."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

_MAPS: Final = Path("/proc/self/maps")
_AT_A_TIME: Final = 1 << 22  # bytes


class MappedPages:
    """The pages of one file that some tensors lie in, where they are mapped and never written to. Linux only.

    What is given back is not lost: whoever reads it again gets it from the page cache.
    """

    def __init__(self, path: Path, tensors: Iterable[Tensor]) -> None:
        """Looks where the file is mapped now.

        Args:
            path: The file; it need not be mapped at all.
            tensors: Dense ones on the CPU, which may lie in it or anywhere else.
        """
        # Held: a mapping ends with its last tensor, and what came to lie at its addresses then would be wiped out.
        # For the same reason no other mapping of the file will do, such as the one that another thread hashes.
        self._tensors = tuple(tensors)
        addresses = {tensor.untyped_storage().data_ptr() for tensor in self._tensors}
        self._ranges = tuple(
            (start, end) for start, end in _ranges(path) if any(start <= address < end for address in addresses)
        )
        self._read = 0

    def read(self, size: int) -> None:
        """Is told that so many bytes were read; gives all pages back once there are enough."""
        self._read += size
        if self._ranges and self._read >= _AT_A_TIME:
            self._read = 0
            advise = ctypes.CDLL(None).madvise
            advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
            for start, end in self._ranges:
                advise(start, end - start, mmap.MADV_DONTNEED)  # where it fails the pages stay, and nothing is lost


def _ranges(path: Path) -> Iterator[tuple[int, int]]:
    """First address of every mapping of the file, and the one behind its last."""
    try:
        status = path.stat()
        lines = _MAPS.read_bytes().splitlines()
    except OSError:
        return
    # Where a file system shows another device here than it does to stat, nothing is found, and nothing given back.
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", str(status.st_ino)
    for line in lines:
        addresses, _, _, device, inode = line.decode(errors="replace").split()[:5]
        if (device, inode) == file:
            start, end = addresses.split("-")
            yield int(start, 16), int(end, 16)
