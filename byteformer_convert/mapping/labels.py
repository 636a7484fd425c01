"""Class names: from a file, those of a data set that everybody orders alike, or placeholders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.plain_file import LONGEST, read_plain
from byteformer_convert.errors import LabelsError

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

# CoreNet's `dataset.name` and its number of classes -> a file of names in `data`, in the order of CoreNet's classes.
# imagenet: sorted by WordNet id, as every folder of images is read; the short names are torchvision's, all different.
# speech_commands_v2: CoreNet sorts the commands of the manifests, which NVIDIA NeMo's script writes (10 + 2 split).
NAMED_DATA_SETS = {("imagenet", 1000): "imagenet.txt", ("speech_commands_v2", 12): "speech_commands_v2.txt"}


def labels_for(options: CoreNetOptions, path: Path | None = None) -> tuple[str, ...]:
    """One name per class: from the file, else the data set's own, else placeholders.

    Raises:
        LabelsError: The file cannot be used.
    """
    if path is not None:
        return read_labels(path, options.n_classes)
    file_name = NAMED_DATA_SETS.get((str(options.flat.get("dataset.name")), options.n_classes))
    if file_name is None:
        return placeholder_labels(options.n_classes)
    return data_set_names(file_name)


def data_set_names(file_name: str) -> tuple[str, ...]:
    """The names in a file of `data`, one a class."""
    text = resources.files("byteformer_convert").joinpath("data", file_name).read_text(encoding="utf-8")
    return tuple(text.splitlines())


def placeholder_labels(classes: int) -> tuple[str, ...]:
    """LABEL_0, LABEL_1, ... as transformers names classes that nobody named."""
    return tuple(f"LABEL_{index}" for index in range(classes))


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """One name per class, in the order of the classifier's rows.

    Args:
        path: JSON (a list of names, or an object from index to name, or from name to index), else one name a line.
        classes: How many the classifier has.

    Raises:
        LabelsError: The file cannot be read, is not of that form, or has another count.
    """
    names = _parsed(path, _text(path))
    if len(names) != classes:
        raise LabelsError(
            f"holds {len(names)} labels; the classifier has {classes} classes.",
            where=path.name,
            hint="Give one name per class, in the order of the classifier's rows.",
        )
    return names


def _text(path: Path) -> str:
    try:
        return read_plain(path, LONGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError("is not UTF-8 text.", where=path.name) from error
    except OSError as error:
        raise LabelsError(f"cannot be read: {error.strerror or error}.", where=path.name) from error


def _parsed(path: Path, text: str) -> tuple[str, ...]:
    if path.suffix.lower() == ".json":
        try:
            return _from_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise LabelsError(
                f"is not a JSON list of names, nor an object of indices and names: {error}.", where=path.name
            ) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _from_json(content: Any) -> tuple[str, ...]:
    if isinstance(content, dict) and "id2label" in content:
        content = content["id2label"]
    if isinstance(content, dict):
        content = _in_order(content)
    if not isinstance(content, Sequence) or isinstance(content, str):
        raise ValueError("it holds neither a list nor an object")
    if wrong := [name for name in content if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"{shown(wrong[0])} is not a name")
    return tuple(content)


def _in_order(content: dict[str, Any]) -> list[Any]:
    if content and all(isinstance(value, int) for value in content.values()):
        content = {str(index): name for name, index in content.items()}  # label2id
    if sorted(content, key=_number) != [str(index) for index in range(len(content))]:
        raise ValueError("its indices are not 0, 1, 2, ... without a gap")
    return [content[str(index)] for index in range(len(content))]


def _number(key: str) -> int:
    return int(key) if key.isdecimal() else -1
