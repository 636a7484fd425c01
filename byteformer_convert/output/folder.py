"""The files of a converted folder. The same input and versions give the same bytes: no timestamps, no paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.corenet.plain_file import open_plain
from byteformer_convert.errors import UsageError
from byteformer_convert.output.safetensors_file import write_safetensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
PROCESSOR_NAME = "preprocessor_config.json"
CARD_NAME = "README.md"

MODEL_CODE = ("configuration_byteformer.py", "inference_byteformer.py", "modeling_byteformer.py")
PROCESSOR_CODE = {"image": "image_processing_byteformer.py", "audio": "feature_extraction_byteformer.py"}
BATCH_CODE = "byte_batch_byteformer.py"  # what both processors share


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file: name, size in bytes, sha256."""

    name: str
    size: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file of the folder."""
    path.write_bytes(json_bytes(content))


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """As transformers writes its JSON files: two spaces, sorted keys, a newline at the end."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"  # of file names that are no text


def bundled_code(task: str) -> dict[str, bytes]:
    """The `.py` files that a folder for this task holds, by name, as they are in this package."""
    names = (*MODEL_CODE, PROCESSOR_CODE[task], BATCH_CODE)
    source = resources.files("byteformer_convert.bundled")
    return {name: source.joinpath(name).read_bytes() for name in names}


def write_code(folder: Path, task: str) -> None:
    """Copies the bundled files."""
    for name, content in bundled_code(task).items():
        (folder / name).write_bytes(content)


def write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    max_shard_size: str | None,
    read: Callable[[int], object] | None = None,
) -> tuple[FileRecord, ...]:
    """model.safetensors, or shards and their index.

    Tensors that are views of a memory-mapped checkpoint are written from there, not copied first.

    Args:
        folder: Where to.
        tensors: Tensors of one dtype by name.
        max_shard_size: Such as `500MB`; None for one file.
        read: Is told how many bytes were read from the tensors, piece by piece.

    Returns:
        What was written but for the index, hashed on the way.

    Raises:
        UsageError: `max_shard_size` is not a size.
        OSError: The disk is full, or the like.
    """
    shards, index = _split(tensors, max_shard_size)
    records = []
    for file_name, names in shards.items():
        path = folder / file_name
        sha256 = write_safetensors(path, {name: tensors[name] for name in names}, read)
        records.append(FileRecord(file_name, path.stat().st_size, sha256))
    if index is not None:
        write_json(folder / INDEX_NAME, index)
    return tuple(records)


def _split(tensors: Mapping[str, Tensor], limit: str | None) -> tuple[dict[str, list[str]], dict[str, Any] | None]:
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    groups: list[list[str]] = [[]]
    room = allowed = sum(sizes.values()) if limit is None else parse_size(limit)
    for name, size in sizes.items():
        if size > room and groups[-1]:
            groups.append([])
            room = allowed
        groups[-1].append(name)
        room -= size
    if len(groups) == 1:
        return {WEIGHTS_NAME: groups[0]}, None
    shards = {f"model-{at:05}-of-{len(groups):05}.safetensors": names for at, names in enumerate(groups, start=1)}
    weight_map = {name: file_name for file_name, names in shards.items() for name in names}
    parameters = sum(tensor.numel() for tensor in tensors.values())
    metadata = {"total_parameters": parameters, "total_size": sum(sizes.values())}
    return shards, {"metadata": metadata, "weight_map": weight_map}


def parse_size(text: str) -> int:
    """`500MB` -> 500,000,000 bytes, as transformers reads its max_shard_size.

    Raises:
        UsageError: It is not a number followed by KB, MB, GB (powers of 1000) or KiB, MiB, GiB (of 1024).
    """
    units = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    upper = text.strip().upper()
    unit = next((unit for unit in units if upper.endswith(unit)), None)
    number = upper.removesuffix(unit or "")
    if unit is None or not number.strip().isdecimal() or int(number) == 0:
        raise UsageError(f"--max-shard-size is {text!r}, not a size.", hint="Write it like 500MB, 2GB or 512MiB.")
    return int(number) * units[unit]


def record_files(folder: Path, known: Iterable[FileRecord] = ()) -> tuple[FileRecord, ...]:
    """Every file in the folder, by name; those that are known already are not read again."""
    records = {record.name: record for record in known}
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return tuple(records.get(path.name) or file_record(path) for path in paths)


def file_record(path: Path) -> FileRecord:
    """A file's name, size and sha256, read in one go.

    Raises:
        OSError: It is not there, or no regular file.
    """
    with open_plain(path) as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileRecord(path.name, path.stat().st_size, digest.hexdigest())
