"""Labelled files: what every kind of data set comes down to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Items(Protocol):
    """Labelled files in a fixed order."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What the result calls a file."""
        ...

    def class_index(self, index: int) -> int:
        """The class of a file, counted as the data set counts its classes."""
        ...

    def opened(self, indices: Sequence[int]) -> AbstractContextManager[list[Any]]:
        """What the folder's processor takes for these files.

        Raises:
            OSError, ValueError: A file cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileItems:
    """Files on disk.

    Attributes:
        root: The folder that the names are relative to.
        names: One per file.
        class_indices: One per file.
    """

    root: Path
    names: Sequence[str]
    class_indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path, relative to the root where it is below it."""
        return self.names[index]

    def class_index(self, index: int) -> int:
        """The class, counted as the data set counts its classes."""
        return self.class_indices[index]

    @contextmanager
    def opened(self, indices: Sequence[int]) -> Iterator[list[Any]]:
        """Paths: the processor reads them itself."""
        yield [self.root / self.names[index] for index in indices]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set.

    Attributes:
        kind: What it is, for people.
        items: The files.
        classes: Class names in the order in which the data set counts them.
        numbered: Whether those names are numbers of classifier rows, not names of classes.
        notes: Sentences that a person should read.
    """

    kind: str
    items: Items
    classes: tuple[str, ...]
    numbered: bool = False
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """sha256 over the names and classes of all files: tells two data sets apart, not two contents of a file."""
        digest = hashlib.sha256(repr((self.kind, self.classes)).encode())
        for index in range(len(self.items)):
            digest.update(
                f"{self.items.name(index)}\t{self.items.class_index(index)}\n".encode(errors="surrogateescape")
            )
        return digest.hexdigest()
