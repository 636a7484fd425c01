"""Writes a safetensors file and hashes it in the same pass, on a second core.

The bytes are those of `safetensors.torch.save_file`, which would have to be read again to be hashed: with a checkpoint
of gigabytes that is most of the time that a conversion takes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from byteformer_convert.output.staging import sync

if TYPE_CHECKING:
    from io import FileIO

    from torch import Tensor

_DTYPES: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_PIECE: Final = 1 << 24
_ALIGNMENT: Final = 8  # of the first tensor
_AT_A_TIME: Final = 1 << 28  # bytes that may wait for the disk


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], read: Callable[[int], object] | None = None) -> str:
    """A new file; tensors that are mapped from disk are written from there.

    Args:
        path: Where to.
        tensors: CPU tensors of one dtype, by name.
        read: Is told how many bytes were read from them, piece by piece.

    Returns:
        sha256 of the file.

    Raises:
        OSError: The disk is full, or the like.
    """
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file, ThreadPoolExecutor(max_workers=2) as others:
        saved, done = None, 0
        for piece in _pieces(dict(sorted(tensors.items()))):
            hashed = others.submit(digest.update, piece)
            _write(file, piece)
            hashed.result()  # so that no more than one piece is held
            if read is not None:
                read(len(piece))
            if file.tell() - done >= _AT_A_TIME:
                if saved is not None:
                    saved.result()
                done = file.tell()
                saved = others.submit(_save, file.fileno(), done)
        if saved is not None:
            saved.result()
    return digest.hexdigest()


def _write(file: FileIO, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while len(rest):
        rest = rest[file.write(rest) :]


def _save(descriptor: int, end: int) -> None:
    """Brings what is written to the disk and gives its memory back: new memory may cost more than the writing."""
    sync(descriptor)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, end, os.POSIX_FADV_DONTNEED)


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    yield _header(tensors)
    for tensor in tensors.values():
        content = _bytes_of(tensor)
        yield from (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    # One key of metadata alone: safetensors orders several by chance. Older loaders ask for this one.
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        dtype = _DTYPES[str(tensor.dtype).removeprefix("torch.")]
        entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> memoryview:
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
