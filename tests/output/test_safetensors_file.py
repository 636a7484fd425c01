"""Our own writer of weights: the library's bytes, and the sum of what is on the disk."""

from __future__ import annotations

import errno
import hashlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from byteformer_convert.output import safetensors_file
from byteformer_convert.output.safetensors_file import write_safetensors


def world(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    whole = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    return {"z": whole, "b.10": whole[3:6].clone(), "b.9": torch.ones(1, dtype=dtype), "scalar": whole[0, 0].clone()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("piece", [1 << 24, 7])
def test_the_bytes_are_those_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, piece: int
) -> None:
    monkeypatch.setattr(safetensors_file, "_PIECE", piece)
    tensors = world(dtype)
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    sha256 = write_safetensors(tmp_path / "ours", tensors)
    ours = (tmp_path / "ours").read_bytes()
    assert ours == (tmp_path / "theirs").read_bytes()
    assert sha256 == hashlib.sha256(ours).hexdigest()


def test_views_are_written_with_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    views = {"rows": whole[1:3], "columns": whole[:, 1], "turned": whole.T}
    write_safetensors(tmp_path / "ours", views)
    save_file(
        {name: view.clone(memory_format=torch.contiguous_format) for name, view in views.items()},
        tmp_path / "x",
        metadata={"format": "pt"},
    )
    content = (tmp_path / "x").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (tmp_path / "ours").read_bytes()[8 + length :] == content[8 + length :]


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 1000 bytes, which ends a write as a full disk does; the test's own report is one, too."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_cannot_grow_is_an_os_error_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, small_files():
        write_safetensors(tmp_path / "ours", {"a": torch.zeros(1000)})
    assert caught.value.errno == errno.EFBIG


def test_what_is_written_goes_to_the_disk_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(safetensors_file, "_PIECE", 100)
    monkeypatch.setattr(safetensors_file, "_AT_A_TIME", 250)
    monkeypatch.setattr(safetensors_file, "_save", lambda descriptor, end: saved.append(end))
    write_safetensors(tmp_path / "ours", {"a": torch.zeros(300)})
    assert len(saved) == 4
    assert saved == sorted(saved)
    assert saved[-1] <= (tmp_path / "ours").stat().st_size


def test_a_disk_that_breaks_on_the_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(safetensors_file, "_AT_A_TIME", 1)
    monkeypatch.setattr("byteformer_convert.output.staging.os.fsync", broken)
    with pytest.raises(OSError, match="broken"):
        write_safetensors(tmp_path / "ours", {"a": torch.zeros(300)})
