"""The weights of a finished folder: from the files that transformers takes, and from no others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from byteformer_convert.corenet.plain_file import open_plain, read_plain
from byteformer_convert.errors import FolderError
from byteformer_convert.machine import lack_behind
from byteformer_convert.output.finished import AGAIN
from byteformer_convert.output.folder import INDEX_NAME, WEIGHTS_NAME

if TYPE_CHECKING:
    from torch import Tensor

MOST_TENSORS: Final = 20_000
MOST_SHARDS: Final = 1000
LONGEST_NAME: Final = 200


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The folder's tensors by name, memory-mapped.

    Raises:
        FolderError: The files are not there, or not what they should be.
    """
    tensors: dict[str, Tensor] = {}
    with _reading(folder):
        for path in weight_files(folder):
            tensors |= dict(_read(path, lambda file, name: file.get_tensor(name)))
    return tensors


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, from the files' headers: no tensor is read.

    Raises:
        FolderError: As above.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    with _reading(folder):
        for path in weight_files(folder):
            shapes |= dict(_read(path, lambda file, name: tuple(file.get_slice(name).get_shape())))
    return shapes


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that transformers loads, all of them there and in the folder itself.

    Raises:
        FolderError: There are none, or the index names something else.
        OSError: One of them is not there, or is no regular file.
    """
    names = [WEIGHTS_NAME]
    if not os.path.lexists(folder / WEIGHTS_NAME):
        names = _shards(folder)
    for name in names:
        open_plain(folder / name).close()
    return tuple(folder / name for name in names)


def _shards(folder: Path) -> list[str]:
    if not os.path.lexists(folder / INDEX_NAME):
        # transformers would take a pickle then, such as pytorch_model.bin.
        raise FolderError(f"holds neither {WEIGHTS_NAME} nor {INDEX_NAME}.", where=folder)
    index = json.loads(read_plain(folder / INDEX_NAME).decode())
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise FolderError(f"{INDEX_NAME} holds no weight_map.", where=folder)
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise FolderError(
                f"{INDEX_NAME} names {name!r:.100}, which is no safetensors file of this folder.", where=folder
            )
    names = sorted(set(weight_map.values()))
    if len(names) > MOST_SHARDS:
        raise FolderError(f"{INDEX_NAME} names more than {MOST_SHARDS:,} files.", where=folder)
    return names


def _read(path: Path, take: Any) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        if len(names) > MOST_TENSORS:
            raise ValueError(f"{path.name} holds more than {MOST_TENSORS:,} tensors")
        if long := [name for name in names if len(name) > LONGEST_NAME]:
            raise ValueError(f"{path.name} holds a tensor with a name of {len(long[0]):,} characters")
        for name in names:
            yield name, take(file, name)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except FolderError:
        raise
    except Exception as error:  # safetensors has an exception class of its own
        raise lack_behind(error) or FolderError(
            f"its weights cannot be read: {error}.", where=folder, hint=AGAIN
        ) from error
