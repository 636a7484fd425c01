"""Pages of a mapped file: given back once they were read, with nothing lost, and nobody else's."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from byteformer_convert.corenet import mapped_pages
from byteformer_convert.corenet.mapped_pages import MappedPages

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says what is mapped")
SIZE = 1 << 25
MAP_FIXED_NOREPLACE = 0x100000


def file_memory() -> int:
    """Bytes of mapped files that this process holds now; those of a tmpfs count as shared memory."""
    found = re.findall(r"Rss(?:File|Shmem):\s+(\d+) kB", Path("/proc/self/status").read_text())
    return sum(map(int, found)) * 1024


def mapped(path: Path) -> torch.Tensor:
    """A new file of zeros, mapped as torch.load maps a checkpoint."""
    path.write_bytes(bytes(SIZE))
    return torch.from_file(str(path), shared=False, size=SIZE, dtype=torch.uint8)


def is_mapped(file: Path) -> bool:
    """Whether this process has mapped it, as far as the system says."""
    status = file.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    return f" {device} {status.st_ino} " in Path("/proc/self/maps").read_text(errors="replace")


def skip_where_devices_differ(file: Path) -> None:
    """Some file systems (overlay, btrfs) show another device among the mappings than stat does."""
    if not is_mapped(file):
        pytest.skip("this file system shows another device among the mappings than stat does")


@linux
@pytest.mark.parametrize("name", ["w.pt", "a b\nc 中文 (deleted).pt"])
def test_pages_are_given_back_and_can_be_read_again(tmp_path: Path, name: str) -> None:
    expected = torch.arange(SIZE // 4, dtype=torch.float32)
    (tmp_path / name).write_bytes(expected.numpy().tobytes())
    tensor = torch.from_file(str(tmp_path / name), shared=False, size=SIZE // 4)
    skip_where_devices_differ(tmp_path / name)
    pages = MappedPages(tmp_path / name, [tensor])
    before = file_memory()
    assert torch.equal(tensor, expected)
    assert file_memory() - before > SIZE / 2
    pages.read(100)
    assert file_memory() - before > SIZE / 2
    pages.read(SIZE)
    assert file_memory() - before < SIZE / 4
    assert torch.equal(tensor, expected)


@linux
def test_what_was_written_into_another_files_pages_stays(tmp_path: Path) -> None:
    ours, other = (mapped(tmp_path / name) for name in ("ours", "other"))
    other[0] = 5
    pages = MappedPages(tmp_path / "ours", [ours, other])
    assert not ours.any()
    pages.read(SIZE)
    assert other[0] == 5


@linux
def test_what_takes_the_place_of_another_mapping_of_the_file_stays(tmp_path: Path) -> None:
    """Such as the mapping that another thread hashes: once it has done, anything may come to lie there."""
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long
    library.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
    tensor = mapped(tmp_path / "ours")
    with (tmp_path / "ours").open("rb") as file:
        second = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    address = np.frombuffer(second, np.uint8).ctypes.data
    pages = MappedPages(tmp_path / "ours", [tensor])
    second.close()
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    assert library.mmap(address, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, anonymous, -1, 0) == address
    ctypes.memset(address, 5, SIZE)
    pages.read(SIZE)
    assert ctypes.string_at(address, SIZE) == b"\5" * SIZE
    library.munmap(address, SIZE)


@linux
def test_a_mapping_stays_until_nothing_of_it_is_given_back_any_more(tmp_path: Path) -> None:
    tensor = mapped(tmp_path / "ours")
    skip_where_devices_differ(tmp_path / "ours")
    pages = MappedPages(tmp_path / "ours", [tensor])
    del tensor
    gc.collect()
    assert is_mapped(tmp_path / "ours")
    del pages
    gc.collect()
    assert not is_mapped(tmp_path / "ours")


def test_where_nobody_says_what_is_mapped_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_pages, "_MAPS", tmp_path / "maps")
    (tmp_path / "w.pt").write_bytes(b"0")
    MappedPages(tmp_path / "w.pt", [torch.zeros(2)]).read(SIZE)
    MappedPages(tmp_path / "missing", []).read(SIZE)
