"""A file of finished batches: an evaluation that was killed goes on from it, and nothing counts twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from byteformer_convert.corenet.option_table import shown
from byteformer_convert.errors import FileInputError, OutputError
from byteformer_convert.evaluation.records import BatchRecord
from byteformer_convert.output.staging import output_errors

LONGEST_SUBJECT: Final = 2**20  # bytes more than ours has
# What comes of a line that is no JSON, or says something else.
UNUSABLE: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


class Journal:
    """One JSON object a line: what is evaluated first, then batch after batch. A context manager.

    Args:
        path: The file; it is made where it is not there, and continued where it is.
        subject: What is evaluated, and how. A journal of something else is refused.

    Raises:
        FileInputError: The file is not a journal, or that of another evaluation.
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any]) -> None:
        self.path = path
        self._subject: dict[str, Any] = json.loads(json.dumps(subject))  # as it is when it was read
        self._first_line = _line({"subject": self._subject})

    def __enter__(self) -> Self:
        if os.path.lexists(self.path) and not self.path.is_file():
            raise FileInputError(
                "is no regular file, so no journal can be kept there.", where=self.path, hint="Give another --journal."
            )
        with output_errors(self.path):
            self._check_subject()
            self._drop_torn_line()
            self._file = self.path.open("a", encoding="utf-8")
            if not self.path.stat().st_size:
                self._file.write(self._first_line)
                self._file.flush()
        return self

    def __exit__(self, kind: object, passing: BaseException | None, trace: object) -> None:
        try:
            with output_errors(self.path):
                self._file.close()
        except OutputError:  # on a full disk closing fails as the write before it did
            if passing is None:
                raise

    def finished(self, fits: Callable[[BatchRecord], bool] = lambda record: True) -> Iterator[BatchRecord]:
        """The batches in it, one at a time.

        Args:
            fits: Whether this evaluation can have given a batch.

        Raises:
            FileInputError: A line is not of a journal, or does not fit.
        """
        with self.path.open("rb") as file:  # bytes: what is no text is found in its line
            next(file, None)
            for number, line in enumerate(file, start=2):
                try:
                    record = BatchRecord.from_dict(json.loads(line))
                except UNUSABLE as error:
                    raise self._unreadable(number) from error
                if not fits(record):
                    raise self._unreadable(number)
                yield record

    def append(self, record: BatchRecord) -> None:
        """Writes a batch down; it is on its way to the disk when this returns."""
        with output_errors(self.path):
            self._file.write(_line(record.to_dict()))
            self._file.flush()

    def _drop_torn_line(self) -> None:
        """What a kill in the middle of a write has left."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            file.truncate(_end_of_last_line(file))

    def _check_subject(self) -> None:
        """Before anything is changed: the file may be anybody's."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            first = file.readline(len(self._first_line) + LONGEST_SUBJECT)
        if self._first_line.encode().startswith(first):
            return  # ours, or torn before its first line was whole
        try:
            found = json.loads(first)["subject"]
            changed = [key for key, value in self._subject.items() if found.get(key) != value]
            key = changed[0]
        except UNUSABLE as error:
            raise self._unreadable(1) from error
        was, now = shown(found.get(key)), shown(self._subject[key])
        raise FileInputError(
            f"is the journal of another evaluation: {key} was {was}, and is {now} now.",
            where=self.path,
            hint="Give another --journal, or remove this one to start anew.",
        )

    def _unreadable(self, number: int) -> FileInputError:
        return FileInputError(
            f"line {number} is not of a journal that byteformer-convert wrote.",
            where=self.path,
            hint="Give another --journal, or remove this one to start anew.",
        )


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


def _end_of_last_line(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 2**16)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
