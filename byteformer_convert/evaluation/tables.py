"""What the `datasets` library reads: image and audio folders with metadata, parquet files, saved datasets."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from byteformer_convert.errors import FileInputError, UsageError
from byteformer_convert.evaluation.items import Source
from byteformer_convert.evaluation.request import INSTALL_EXTRA

LABEL_COLUMNS: Final = ("label", "labels", "command", "class")


@dataclass(frozen=True, slots=True)
class TableItems:
    """Rows of a `datasets.Dataset`, which stays on disk.

    Attributes:
        table: The dataset; its files are not decoded.
        file_column: Where the files are.
        class_indices: One per row.
        task: `image` or `audio`.
        raw: Whether the files' own bytes are wanted.
    """

    table: Any
    file_column: str
    class_indices: Sequence[int]
    task: str
    raw: bool

    def __len__(self) -> int:
        return len(self.class_indices)

    def name(self, index: int) -> str:
        """The row's number."""
        return f"row {index}"

    def class_index(self, index: int) -> int:
        """The class, counted as the data set counts its classes."""
        return self.class_indices[index]

    @contextmanager
    def opened(self, indices: Sequence[int]) -> Iterator[list[Any]]:
        """Images, paths, or bytes where they are wanted as they are.

        Raises:
            ValueError, OSError: A file cannot be read.
        """
        with TemporaryDirectory(prefix="byteformer-evaluate-") as scratch:
            yield [self._content(index, Path(scratch)) for index in indices]

    def _content(self, index: int, scratch: Path) -> Any:
        cell: Mapping[str, Any] = self.table[index][self.file_column]
        if cell["bytes"] is None:
            return Path(cell["path"])
        if self.raw:
            return cell["bytes"]
        if self.task == "image":
            from PIL import Image

            return Image.open(io.BytesIO(cell["bytes"]))
        path = scratch / f"{index}.wav"  # the extractor reads sound from files
        path.write_bytes(cell["bytes"])
        return path


def open_dataset(path: Path, task: str, *, split: str | None, raw: bool) -> Source:
    """Opens a local data set with the datasets library.

    Raises:
        UsageError: The library is not installed.
        FileInputError: It cannot read this, or there is no column of files or of classes.
    """
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "this data set needs the datasets library, which is not installed.", hint=INSTALL_EXTRA
        ) from error
    try:
        table = _one_split(_loaded(datasets, path, split), split, path)
    except FileInputError:
        raise
    except Exception as error:  # the library raises anything over files that it cannot read
        raise FileInputError(f"the datasets library cannot read it: {error}", where=path) from error
    file_column = _file_column(table, task, path)
    typed = {"image": datasets.Image, "audio": datasets.Audio}[task](decode=False)
    table = table.cast_column(file_column, typed)
    classes, class_indices = _classes(table, path)
    items = TableItems(table, file_column, class_indices, task, raw)
    return Source("a data set of the datasets library", items, classes)


def _loaded(datasets: Any, path: Path, split: str | None) -> Any:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return datasets.load_from_disk(str(path))
    if path.is_file():
        return datasets.load_dataset("parquet", data_files={split or "train": str(path)})
    return datasets.load_dataset(str(path))


def _one_split(loaded: Any, split: str | None, path: Path) -> Any:
    if not isinstance(loaded, dict):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        raise FileInputError(
            f"has the splits {', '.join(loaded)}.", where=path, hint="Choose one of them with --split."
        )
    return loaded[split]


def _file_column(table: Any, task: str, path: Path) -> str:
    """The column of files: by its type, else a struct of bytes and path."""
    features: Mapping[str, Any] = table.features
    wanted = {"image": "Image", "audio": "Audio"}[task]
    typed = [name for name, feature in features.items() if type(feature).__name__ == wanted]
    plain = [
        name for name, feature in features.items() if isinstance(feature, dict) and {"bytes", "path"} <= {*feature}
    ]
    if found := [*typed, *plain]:
        return found[0]
    raise FileInputError(
        f"has no column of {task} files; its columns are {', '.join(features)}.",
        where=path,
        hint=f"The column's type has to be datasets.{wanted}, or a struct of bytes and path.",
    )


def _classes(table: Any, path: Path) -> tuple[tuple[str, ...], Sequence[int]]:
    """Class names in the order in which the data set counts them, and each row's class."""
    features: Mapping[str, Any] = table.features
    for name, feature in features.items():
        if type(feature).__name__ == "ClassLabel":
            return tuple(feature.names), table.with_format("numpy")[name][:]
    for name in LABEL_COLUMNS:
        if name in features:
            values = [str(value) for value in table[name]]
            names = sorted(set(values), key=lambda value: (int(value) if value.isdecimal() else -1, value))
            index_of = {value: index for index, value in enumerate(names)}
            return tuple(names), [index_of[value] for value in values]
    raise FileInputError(
        f"has no column of classes; its columns are {', '.join(features)}.",
        where=path,
        hint=f"Call it one of {', '.join(LABEL_COLUMNS)}.",
    )
