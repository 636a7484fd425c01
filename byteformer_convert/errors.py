"""What can go wrong, as one tree. Nothing here prints.

    ByteFormerConvertError
    ├── UsageError          2  the command line asks for something that makes no sense
    ├── InputError          3  an input cannot be used
    │   ├── OptionsError       a YAML, an adapter's config.json or an --override
    │   ├── CheckpointError    a .pt, or the weights of an adapter folder
    │   ├── MappingError       checkpoint and options do not fit each other
    │   ├── LabelsError        a label file
    │   ├── DownloadError      a published checkpoint that cannot be fetched
    │   ├── ManifestError      a batch's manifest
    │   ├── FolderError        a finished folder
    │   └── FileInputError     a file to classify
    ├── ParityError         4  the folder does not compute what CoreNet computes
    ├── OutputError         5  the output cannot be written, or is there already
    ├── MachineError        5  the machine lacks something: memory, processes, room for temporary files
    └── HubError            6  the Hub refused, or could not be reached

Every error says what is wrong (`message`), where (`where`), and what to do next (`hint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


def printable(text: str) -> str:
    """Text that may go to a terminal: what a file's author chose (names, keys) could steer it otherwise."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


class ByteFormerConvertError(Exception):
    """Base of everything this package raises on purpose.

    Args:
        message: What is wrong, one sentence.
        where: The file, folder, option or key that it concerns.
        hint: What to do next, one sentence.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: str | Path | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = printable(message)
        self.where = None if where is None else printable(str(where))
        self.hint = None if hint is None else printable(hint)

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text}\n{self.hint}"

    def to_dict(self) -> dict[str, Any]:
        """The error as one JSON-able object: kind, message, where, hint, exit_code."""
        return {
            "kind": self.kind,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class UsageError(ByteFormerConvertError):
    """The command line asks for something that makes no sense."""

    exit_code = 2
    kind = "usage"


class InputError(ByteFormerConvertError):
    """An input cannot be used."""

    exit_code = 3
    kind = "input"


class OptionsError(InputError):
    """A YAML, an adapter's config.json or an override cannot be used."""

    kind = "options"


class CheckpointError(InputError):
    """A checkpoint file cannot be used."""

    kind = "checkpoint"


class MappingError(InputError):
    """Checkpoint and options do not fit each other; `mismatches` holds every difference found."""

    kind = "mapping"

    def __init__(
        self,
        message: str,
        *,
        mismatches: tuple[Any, ...] = (),
        where: str | Path | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.mismatches = mismatches

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"mismatches": [mismatch.to_dict() for mismatch in self.mismatches]}


class LabelsError(InputError):
    """A label file cannot be used, or its count does not fit the classifier."""

    kind = "labels"


class DownloadError(InputError):
    """A published checkpoint cannot be fetched, or what came is not it."""

    kind = "download"


class ManifestError(InputError):
    """A manifest of conversions cannot be used."""

    kind = "manifest"


class FolderError(InputError):
    """A finished folder cannot be used."""

    kind = "folder"


class FileInputError(InputError):
    """A file to classify cannot be used."""

    kind = "file"


class ParityError(ByteFormerConvertError):
    """The folder does not compute what CoreNet computes; `report` is the ParityReport."""

    exit_code = 4
    kind = "parity"

    def __init__(
        self,
        message: str,
        *,
        report: Any = None,
        where: str | Path | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.report = report

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"parity": None if self.report is None else self.report.to_dict()}


class OutputError(ByteFormerConvertError):
    """The output cannot be written, or is there already."""

    exit_code = 5
    kind = "output"


class MachineError(ByteFormerConvertError):
    """The machine lacks something that the command needs, whatever its input and output."""

    exit_code = 5
    kind = "machine"


class HubError(ByteFormerConvertError):
    """The Hub refused, or could not be reached."""

    exit_code = 6
    kind = "hub"
