"""Pages of a mapped file: given back once they were read, with nothing lost, and nobody else's."""

from __future__ import annotations

import mmap
import os
import re
import sys
from pathlib import Path

import pytest
import torch

from byteformer_convert.corenet import mapped_pages
from byteformer_convert.corenet.mapped_pages import MappedPages

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says what is mapped")
SIZE = 1 << 25


def file_memory() -> int:
    """Bytes of mapped files that this process holds now; those of a tmpfs count as shared memory."""
    found = re.findall(r"Rss(?:File|Shmem):\s+(\d+) kB", Path("/proc/self/status").read_text())
    return sum(map(int, found)) * 1024


def skip_where_devices_differ(file: Path) -> None:
    """Some file systems (overlay, btrfs) show another device among the mappings than stat does."""
    status = file.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    if f" {device} {status.st_ino} " not in Path("/proc/self/maps").read_text(errors="replace"):
        pytest.skip("this file system shows another device among the mappings than stat does")


@linux
@pytest.mark.parametrize("name", ["w.pt", "a b\nc 中文 (deleted).pt"])
def test_pages_are_given_back_and_can_be_read_again(tmp_path: Path, name: str) -> None:
    expected = torch.arange(SIZE // 4, dtype=torch.float32)
    (tmp_path / name).write_bytes(expected.numpy().tobytes())
    tensor = torch.from_file(str(tmp_path / name), shared=False, size=SIZE // 4)
    skip_where_devices_differ(tmp_path / name)
    pages = MappedPages(tmp_path / name)
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
    for name in ("ours", "other"):
        (tmp_path / name).write_bytes(bytes(SIZE))
    with (tmp_path / "ours").open("rb") as ours, (tmp_path / "other").open("rb") as other:
        kept = mmap.mmap(other.fileno(), 0, access=mmap.ACCESS_COPY)
        read = mmap.mmap(ours.fileno(), 0, access=mmap.ACCESS_READ)
    kept[:5] = b"hello"
    pages = MappedPages(tmp_path / "ours")
    assert len(read[:]) == SIZE
    pages.read(SIZE)
    assert kept[:5] == b"hello"


def test_where_nobody_says_what_is_mapped_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_pages, "_MAPS", tmp_path / "maps")
    (tmp_path / "w.pt").write_bytes(b"0")
    MappedPages(tmp_path / "w.pt").read(SIZE)
    MappedPages(tmp_path / "missing").read(SIZE)
