# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""What the image processor and the feature extractor share: files read as bytes, bytes padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchFeature

BYTES_TYPES = (bytes, bytearray, memoryview)
PATH_TYPES = (str, Path)
LONGEST_FILE = 2**30  # bytes; no ByteFormer reads as many, and no picture or sound has them


def read_file(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: It is empty, longer than a gigabyte, a pipe or a device.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; give the files in it one by one.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. Paths are read from this machine; download a URL first.")
    if not path.is_file():
        raise ValueError(f"{path}: is a pipe or a device, not a file.")
    if path.stat().st_size > LONGEST_FILE:
        raise ValueError(f"{path}: more than {LONGEST_FILE:,} bytes are not read.")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path}: the file is empty.")
    return content


def file_stream(source: Any, name: str) -> np.ndarray:
    """The bytes of a file, or of a bytes object, as they are: (bytes,) uint8.

    Args:
        source: A path, or a bytes object.
        name: What to call it in an error.

    Raises:
        ValueError: It is neither, or it is empty.
        OSError: The file cannot be read.
    """
    if isinstance(source, PATH_TYPES):
        source = read_file(source)
    if not isinstance(source, BYTES_TYPES):
        raise ValueError(f"{name}: raw=True takes paths and bytes objects, not {type(source).__name__}.")
    if not len(source):
        raise ValueError(f"{name}: the bytes are empty.")
    return np.frombuffer(source, dtype=np.uint8)


def source_name(source: Any, index: int) -> str:
    """What an error calls one input: its path, or its place in the batch."""
    return str(source) if isinstance(source, PATH_TYPES) else f"input {index}"


def pad_to_batch(streams: Sequence[np.ndarray], padding_value: int, return_tensors: str | None = None) -> BatchFeature:
    """Pads on the right to the longest, as CoreNet's `apply_padding` does.

    Args:
        streams: One array of byte values per file, (bytes,).
        padding_value: What stands behind the end of a shorter file.
        return_tensors: "pt", "np", or None for lists of arrays.

    Returns:
        `input_ids` and `attention_mask`, both (files, longest) int64; the mask is 1 for bytes and 0 for padding.
    """
    if not streams:
        raise ValueError("there is nothing to encode: the list of inputs is empty.")
    input_ids = np.full((len(streams), max(map(len, streams))), padding_value, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, stream in enumerate(streams):
        input_ids[row, : len(stream)] = stream
        attention_mask[row, : len(stream)] = 1
    batch: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if return_tensors is None:
        batch = {key: list(rows) for key, rows in batch.items()}
    return BatchFeature(batch, tensor_type=return_tensors)
