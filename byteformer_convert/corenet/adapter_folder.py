"""Reads the weights of a folder that CoreNet's Hugging Face adapter (CorenetToHFPretrainedModel) saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError, safe_open

from byteformer_convert.corenet.tensor_checks import names_list
from byteformer_convert.corenet.torch_file import identify
from byteformer_convert.errors import CheckpointError

if TYPE_CHECKING:
    import torch

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of an adapter's folder, in the order of their names.

    Raises:
        CheckpointError: The folder holds none, is one that is converted already, or its index cannot be used.
    """
    _refuse_converted(folder)
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        return tuple(folder / name for name in sorted(set(_weight_map(folder).values())))
    raise CheckpointError(
        f"this folder holds no {SINGLE}, so it is not what CoreNet's Hugging Face adapter saves.",
        where=folder.name,
        hint="Give a .pt file, or a folder with config.json and model.safetensors.",
    )


def read_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the folder under the name it has there; none is copied.

    Raises:
        CheckpointError: A file is missing or damaged, or the index and the files do not fit each other.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        tensors |= read_safetensors(path)
    if not (folder / SINGLE).is_file():
        _check_index(_weight_map(folder), tensors, folder)
    return tensors


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of one safetensors file, mapped, not copied.

    Raises:
        CheckpointError: No such file, cut off, damaged, or not safetensors.
    """
    if identify(path) != "safetensors":
        raise CheckpointError("this is not a safetensors file, whatever its name says.", where=path.name)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, RuntimeError) as err:
        raise CheckpointError(
            f"this safetensors file is cut off or damaged: {err}.",
            where=path.name,
            hint="Download or copy it again, and compare its size with the original's.",
        ) from err


def _refuse_converted(folder: Path) -> None:
    path = folder / "config.json"
    if not path.is_file():  # a pipe would be waited for
        return
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # not this function's business: the options say what is wrong with a config.json
    if isinstance(config, Mapping) and config.get("model_type") == "byteformer":
        raise CheckpointError(
            "this folder is converted already.",
            where=folder.name,
            hint="Look at it with `inspect`, or check it against its source with `verify`.",
        )


def _weight_map(folder: Path) -> Mapping[str, str]:
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError, RecursionError) as err:
        raise CheckpointError(f"this is not JSON: {err}.", where=INDEX) from err
    weight_map = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise CheckpointError("this holds no weight_map.", where=INDEX)
    for file in weight_map.values():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"it names {file!r}, which is not a file of this folder.", where=INDEX)
    return weight_map


def _check_index(weight_map: Mapping[str, str], tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    if missing := [name for name in weight_map if name not in tensors]:
        raise CheckpointError(f"the files lack tensors that {INDEX} lists: {names_list(missing)}.", where=folder.name)
    if unlisted := [name for name in tensors if name not in weight_map]:
        raise CheckpointError(f"the files hold tensors that {INDEX} lacks: {names_list(unlisted)}.", where=folder.name)
