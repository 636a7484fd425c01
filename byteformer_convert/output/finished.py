"""What a finished folder says of itself, read with care: anybody may have written it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from byteformer_convert.errors import FolderError
from byteformer_convert.output.folder import CONFIG_NAME, PROCESSOR_NAME, bundled_code
from byteformer_convert.output.plain_file import read_plain

# Where transformers looks for an auto_map.
NAMING_CODE = (CONFIG_NAME, PROCESSOR_NAME, "processor_config.json")
STORED_DTYPES = ("float32", "float16", "bfloat16")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a converted folder.

    Raises:
        FolderError: It is not there, or not a ByteFormer's.
    """
    hint = "Give a folder that byteformer-convert wrote."
    try:
        content = json.loads(read_plain(folder / CONFIG_NAME).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{CONFIG_NAME} cannot be read: {error}.", where=folder, hint=hint) from error
    if not isinstance(content, dict) or content.get("model_type") != "byteformer":
        raise FolderError(f"{CONFIG_NAME} does not describe a converted ByteFormer.", where=folder, hint=hint)
    return content


def stored_dtype(config: Mapping[str, Any]) -> str:
    """In which dtype config.json says that the weights are.

    Raises:
        FolderError: In none that a converted folder has.
    """
    name = config.get("dtype", config.get("torch_dtype", "float32"))
    if name not in STORED_DTYPES:
        raise FolderError(f"dtype is {name!r}; a converted folder has {', '.join(STORED_DTYPES)}.", where=CONFIG_NAME)
    return str(name)


def changed_code(folder: Path, task: str) -> tuple[str, ...]:
    """What loading would run beyond this version's code: changed `.py` files, and JSON files that name other code.

    Raises:
        FolderError: One of them cannot be read.
    """
    ours = bundled_code(task)
    try:
        theirs = {path.name: read_plain(path) for path in sorted(folder.glob("*.py"))}
    except OSError as error:
        raise FolderError(f"its code cannot be read: {error}.", where=folder) from error
    changed = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    return (*changed, *(name for name in NAMING_CODE if _names_other_code(folder / name, ours)))


def _names_other_code(path: Path, ours: Mapping[str, bytes]) -> bool:
    """Whether an auto_map leads elsewhere, such as `somebody/repository--module.Class`."""
    if not os.path.lexists(path):
        return False
    try:
        content = json.loads(read_plain(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{path.name} cannot be read: {error}.", where=path.parent) from error
    return any(f"{name.rpartition('.')[0]}.py" not in ours for name in _code_names(content))


def _code_names(content: Any) -> Iterator[str]:
    """Every class that an auto_map names, however deep: transformers reads those of a processor's parts, too."""
    waiting = [(content, False)]
    while waiting:
        value, inside = waiting.pop()
        if isinstance(value, dict):
            waiting += [(part, inside or key == "auto_map") for key, part in value.items()]
        elif isinstance(value, list):
            waiting += [(part, inside) for part in value]
        elif inside and value is not None:
            yield str(value)
