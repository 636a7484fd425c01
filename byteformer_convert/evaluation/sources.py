"""Reads what `--data` names: class folders, a list of files, or one of CoreNet's Speech Commands manifests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import FileInputError
from byteformer_convert.evaluation.items import FileItems, Source

# What torchvision's ImageFolder, on which CoreNet's data sets are built, takes for an image; the rest is passed over.
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
AUDIO_SUFFIXES: Final = (".wav",)
SUFFIXES: Final = {"image": IMAGE_SUFFIXES, "audio": AUDIO_SUFFIXES}
LONGEST_LIST: Final = 2**30  # bytes of a list or manifest; all files of ImageNet take 0.1 GB
NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)  # of a classifier's row
FORMATS: Final = ("auto", "tree", "list", "manifest", "datasets")
# Files by which the datasets library's folders are known.
DATASETS_MARKS: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "dataset_dict.json", "state.json")


def open_source(data: Path, task: str, *, data_format: str = "auto", split: str | None = None, raw: bool) -> Source:
    """The data set behind a path.

    Args:
        data: A folder or a file.
        task: `image` or `audio`.
        data_format: One of `FORMATS`; auto looks at what is there.
        split: Of a `datasets` folder with several.
        raw: Whether files are taken as they are, whatever their names end with.

    Raises:
        FileInputError: It is not there, cannot be read, or holds no file.
    """
    if not data.exists():
        raise FileInputError("no such file or folder.", where=data)
    chosen = _guess(data) if data_format == "auto" else data_format
    try:
        source = _read(chosen, data, task, split, raw)
    except (OSError, UnicodeDecodeError) as error:
        raise FileInputError(f"cannot be read: {error}.", where=data) from error
    if not len(source.items):
        raise FileInputError(f"no files to evaluate in {source.kind}.", where=data, hint=_advice(task, raw=raw))
    return source


def _read(chosen: str, data: Path, task: str, split: str | None, raw: bool) -> Source:
    if chosen == "tree":
        return class_folders(data, None if raw else SUFFIXES[task])
    if chosen == "manifest":
        return manifest(data)
    if chosen == "list":
        return file_list(data)
    from byteformer_convert.evaluation.tables import open_dataset

    return open_dataset(data, task, split=split, raw=raw)


def class_folders(root: Path, suffixes: tuple[str, ...] | None) -> Source:
    """A folder per class: classes, folders and files sorted by name, the order in which CoreNet reads ImageNet.

    Args:
        root: The folder of the class folders.
        suffixes: Which files count, in lower case; None: all but hidden ones.
    """
    if not root.is_dir():
        raise FileInputError("is not a folder of class folders.", where=root)
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    names: list[str] = []
    class_indices: list[int] = []
    skipped = 0
    for index, name in enumerate(classes):
        for path in _walk(root / name):
            if _counts(path, suffixes):
                names.append(path.relative_to(root).as_posix())
                class_indices.append(index)
            else:
                skipped += 1
    notes = (
        (f"Files passed over, for they do not end with {', '.join(suffixes or ())}: {skipped:,}.",) if skipped else ()
    )
    return Source("class folders", FileItems(root, names, class_indices), tuple(classes), notes=notes)


def file_list(path: Path) -> Source:
    """A text file: a path, a tab (or, where there is none, the last space), and a class name or number, each line.

    Paths are relative to the list.

    Raises:
        FileInputError: A line is not of that form; every such line at once.
    """
    pairs, wrong = [], []
    for number, line in _lines_of(path):
        name, _, label = line.rpartition("\t") if "\t" in line else line.rstrip().rpartition(" ")
        if name.strip() and label.strip():
            pairs.append((name.strip(), label.strip()))
        else:
            wrong.append(number)
    if wrong:
        raise FileInputError(
            f"{_lines(wrong)} not a path, a tab and a class.", where=path, hint="Write each line as PATH, tab, CLASS."
        )
    return _from_pairs("a list of files", path, pairs)


def manifest(path: Path) -> Source:
    """CoreNet's Speech Commands manifest: a JSON object a line, with `audio_filepath` and `command`.

    Paths are relative to the manifest; classes are counted in the sorted order of the commands in it, as in CoreNet.

    Raises:
        FileInputError: A line is not of that form; every such line at once.
    """
    pairs, wrong = [], []
    for number, line in _lines_of(path):
        try:
            entry = json.loads(line)
            pairs.append((str(entry["audio_filepath"]), str(entry["command"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            wrong.append(number)
    if wrong:
        raise FileInputError(
            f"{_lines(wrong)} not a JSON object with audio_filepath and command.",
            where=path,
            hint="CoreNet's manifests have one object a line.",
        )
    return _from_pairs("a Speech Commands manifest", path, pairs)


def _lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every line that is not empty, with its number."""
    lines = read_plain(path, LONGEST_LIST).decode("utf-8-sig").splitlines()
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _from_pairs(kind: str, path: Path, pairs: list[tuple[str, str]]) -> Source:
    labels = {label for _, label in pairs}
    numbered = kind == "a list of files" and all(map(NUMBER.fullmatch, labels))
    classes = sorted(labels, key=int) if numbered else sorted(labels)
    index_of = {name: index for index, name in enumerate(classes)}
    items = FileItems(path.parent, [name for name, _ in pairs], [index_of[label] for _, label in pairs])
    return Source(kind, items, tuple(classes), numbered=numbered)


def _guess(data: Path) -> str:
    if data.is_file():
        return {".parquet": "datasets", ".json": "manifest", ".jsonl": "manifest"}.get(data.suffix.lower(), "list")
    marked = any((data / name).exists() for name in DATASETS_MARKS)
    return "datasets" if marked or next(_parquet_files(data), None) is not None else "tree"


def _parquet_files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.parquet")
    yield from folder.glob("data/*.parquet")


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below, in ImageFolder's order: the folders sorted by their whole path, then the names.

    A folder that links lead to again counts once: links that lead up would make it endless.
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        found.append((parent, files))
    for parent, files in sorted(found):
        yield from (Path(parent, name) for name in sorted(files))


def _counts(path: Path, suffixes: tuple[str, ...] | None) -> bool:
    if suffixes is None:
        return not path.name.startswith(".")
    return path.name.lower().endswith(suffixes)


def _lines(numbers: Iterable[int]) -> str:
    found = list(numbers)
    shown = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
    return f"line {shown} is" if len(found) == 1 else f"lines {shown} are"


def _advice(task: str, *, raw: bool) -> str:
    if raw:
        return "Give a folder with one folder of files per class, or a list of files."
    return f"Files that end with {', '.join(SUFFIXES[task])} count; --raw takes all files as they are."
