"""The journal: what a kill leaves is picked up, what is not its own is refused."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from byteformer_convert.errors import FileInputError, OutputError
from byteformer_convert.evaluation.journal import Journal
from byteformer_convert.evaluation.records import BatchRecord, FileRecord, FileScore

SUBJECT = {"files": 7, "compare": ("faithful",)}
RECORDS = [BatchRecord(at, (FileRecord(at, 1, False, (FileScore(1, True, 12345),)),), ()) for at in range(3)]


def written(path: Path) -> Path:
    with Journal(path, SUBJECT) as journal:
        for record in RECORDS:
            journal.append(record)
    return path


def read(path: Path) -> list[BatchRecord]:
    with Journal(path, SUBJECT) as journal:
        return list(journal.finished())


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    assert read(written(tmp_path / "j")) == RECORDS


def test_a_record_is_in_the_file_before_the_next_one_is_made(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SUBJECT) as journal:
        journal.append(RECORDS[0])
        assert len((tmp_path / "j").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 20, 50])
def test_a_line_that_a_kill_has_torn_is_dropped_and_written_anew(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "j")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert read(path) == RECORDS[:-1]
    with Journal(path, SUBJECT) as journal:
        for record in RECORDS[len(list(journal.finished())) :]:
            journal.append(record)
    assert path.read_bytes() == whole


def test_a_torn_first_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"subj')
    assert read(path) == []
    assert read(written(path)) == RECORDS


def test_the_journal_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    before = path.read_bytes()
    with pytest.raises(FileInputError, match="files was 7, and is 8 now"), Journal(path, SUBJECT | {"files": 8}):
        pass
    assert path.read_bytes() == before


def test_any_other_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("my notes\nwithout a newline at the end", encoding="utf-8")
    with pytest.raises(FileInputError, match="line 1"), Journal(path, SUBJECT):
        pass
    assert path.read_text(encoding="utf-8") == "my notes\nwithout a newline at the end"


def test_a_damaged_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:2], '{"batch": 1}\n', *lines[3:]]), encoding="utf-8")
    with pytest.raises(FileInputError, match="line 3"):
        read(path)


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError), Journal(tmp_path / "missing" / "j", SUBJECT):
        pass


class FullDisk(io.TextIOWrapper):
    """A file that takes nothing; closing it tries once more."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("records", [RECORDS, []], ids=["as it is written", "at the end"])
def test_a_disk_that_is_full_is_told(tmp_path: Path, records: list[BatchRecord]) -> None:
    def fill() -> None:
        with Journal(tmp_path / "j", SUBJECT) as journal:
            journal._file.close()
            journal._file = FullDisk()
            for record in records:
                journal.append(record)

    with pytest.raises(OutputError, match="cannot be written: No space left"):
        fill()
