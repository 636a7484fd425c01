"""What a finished folder says of itself, read with care: anybody may have written it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import FolderError
from byteformer_convert.output.folder import CONFIG_NAME, PROCESSOR_NAME, bundled_code
from byteformer_convert.output.folder_fields import CONFIG_FIELDS, PROCESSOR_FIELDS, STEERING, field_problems

# Where transformers looks for an auto_map.
NAMING_CODE = (CONFIG_NAME, PROCESSOR_NAME, "processor_config.json", "tokenizer_config.json")
# What transformers loads beside the weights (an adapter, where peft is installed), or in their place.
OTHER_WEIGHTS = re.compile(r"adapter_config\.json|shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors", re.IGNORECASE)
AGAIN = "Copy or convert the folder again."
STORED_DTYPES = ("float32", "float16", "bfloat16")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a converted folder.

    Raises:
        FolderError: It is not there, or not a ByteFormer's.
    """
    hint = "Give a folder that byteformer-convert wrote."
    try:
        content = read_object(folder / CONFIG_NAME)
    except FolderError as error:
        raise FolderError(error.message, where=folder, hint=hint) from error
    if content.get("model_type") != "byteformer":
        raise FolderError(f"{CONFIG_NAME} does not describe a converted ByteFormer.", where=folder, hint=hint)
    return content


def usable_config(folder: Path) -> dict[str, Any]:
    """The same, with nothing in it that no model of ours takes.

    Raises:
        FolderError: As above, or a field says what it must not.
    """
    return _checked(folder, CONFIG_NAME, read_config(folder), CONFIG_FIELDS)


def read_processor(folder: Path) -> dict[str, Any] | None:
    """preprocessor_config.json; None where there is none: Trainer saves it only if it was given the processor.

    Raises:
        FolderError: It cannot be read, or no processor of ours takes what it says.
    """
    if not os.path.lexists(folder / PROCESSOR_NAME):
        return None
    return _checked(folder, PROCESSOR_NAME, read_object(folder / PROCESSOR_NAME), PROCESSOR_FIELDS)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a folder.

    Raises:
        FolderError: It is not there, no regular file, not JSON, or another value.
    """
    try:
        content = json.loads(read_plain(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{path.name} cannot be read: {error}.", where=path.parent, hint=AGAIN) from error
    if not isinstance(content, dict):
        raise FolderError(f"{path.name} is not a JSON object.", where=path.parent, hint=AGAIN)
    return content


def _checked(folder: Path, name: str, content: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    if problems := list(field_problems(content, known)):
        raise FolderError(f"{name} cannot be used: {'; '.join(problems)}.", where=folder)
    return content


def stored_dtype(config: Mapping[str, Any]) -> str:
    """In which dtype config.json says that the weights are.

    Raises:
        FolderError: In none that a converted folder has.
    """
    name = config.get("dtype", config.get("torch_dtype", "float32"))
    if name not in STORED_DTYPES:
        raise FolderError(
            f"dtype is {shown(name)}; a converted folder has {', '.join(STORED_DTYPES)}.", where=CONFIG_NAME
        )
    return str(name)


def check_code(folder: Path, task: str, doing: str, *, trust_remote_code: bool) -> tuple[str, ...]:
    """What loading would run or take beyond this version's code; refused unless it is trusted.

    Args:
        folder: A converted folder.
        task: `image` or `audio`.
        doing: What would run the code, as a sentence begins with it.
        trust_remote_code: Whether to go on all the same.

    Raises:
        FolderError: The folder's `.py` files are not this version's, or something leads elsewhere.
    """
    changed = changed_code(folder, task)
    if trust_remote_code or not changed:
        return changed
    missing = [name for name in bundled_code(task) if not os.path.lexists(folder / name)]
    if foreign := [name for name in changed if name not in missing]:
        raise FolderError(
            f"holds code that is not this version's, or leads to such: {', '.join(foreign)}. {doing} would run it.",
            where=folder,
            hint="Look at it, then give --trust-remote-code.",
        )
    raise FolderError(
        f"lacks {', '.join(missing)}, of its own code.",
        where=folder,
        hint="Give the whole folder, with what the processor's save_pretrained writes beside the model's.",
    )


def changed_code(folder: Path, task: str) -> tuple[str, ...]:
    """What loading would run or take beyond this version's code and the folder's own weights.

    Changed `.py` files, JSON files that name other code, fields that lead transformers elsewhere, an adapter.

    Raises:
        FolderError: One of them cannot be read.
    """
    ours = bundled_code(task)
    try:
        theirs = {path.name: read_plain(path) for path in sorted(folder.glob("*.py"))}
    except OSError as error:
        raise FolderError(f"its code cannot be read: {error}.", where=folder) from error
    changed = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    config = read_object(folder / CONFIG_NAME)
    changed += [name for name in NAMING_CODE if _names_other_code(folder / name, ours)]
    changed += [f"{CONFIG_NAME}'s {name}" for name in STEERING if config.get(name) is not None]
    return (*changed, *sorted(path.name for path in folder.iterdir() if OTHER_WEIGHTS.fullmatch(path.name)))


def _names_other_code(path: Path, ours: Mapping[str, bytes]) -> bool:
    """Whether an auto_map leads elsewhere, such as `somebody/repository--module.Class`."""
    if not os.path.lexists(path):
        return False
    return any(f"{name.rpartition('.')[0]}.py" not in ours for name in _code_names(read_object(path)))


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
