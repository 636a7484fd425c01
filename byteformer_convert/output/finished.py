"""What a finished folder says of itself, read with care: anybody may have written it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteformer_convert.errors import FolderError
from byteformer_convert.output.folder import CONFIG_NAME, bundled_code

STORED_DTYPES = ("float32", "float16", "bfloat16")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a converted folder.

    Raises:
        FolderError: It is not there, or not a ByteFormer's.
    """
    hint = "Give a folder that byteformer-convert wrote."
    try:
        content = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
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
    """Names of the folder's `.py` files that are not, byte for byte, those of this version."""
    ours = bundled_code(task)
    theirs = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    return tuple(name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))
