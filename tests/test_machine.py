"""A machine that lacks something says so itself: one sentence, exit code 5, whatever the library called it."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.batch.convert_entry import Settings, convert_entry
from byteformer_convert.batch.manifest import Entry
from byteformer_convert.errors import FolderError, MachineError
from byteformer_convert.machine import check_machine, lack_behind
from byteformer_convert.output import weight_files
from tests.folders import make_folder
from tests.test_cli import COMMAND, ENVIRONMENT, World, source


def refused(*arguments: str | Path, **options: Any) -> str:
    """What a command says that ends with exit code 5."""
    options = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 120} | options
    result = subprocess.run([*COMMAND, *map(str, arguments)], check=False, **options)
    assert result.returncode == 5, result.stderr
    assert "Traceback" not in result.stderr
    said: str = result.stderr
    return said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        ("MemoryError: ", "memory"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "process or thread"),
        ("RuntimeError: can't start new thread", "process or thread"),
        (OSError(errno.EMFILE, "Too many open files"), "file can be opened"),
        ("OSError: [Errno 24] Too many open files: 'x'", "file can be opened"),
        (OSError(errno.ESTALE, "Stale file handle"), "a disk does not answer"),
        (f"OSError: [Errno {errno.ESTALE}] Stale file handle: 'x'", "a disk does not answer"),
    ],
    ids=str,
)
def test_what_a_library_calls_it_is_known(error: Exception | str, words: str) -> None:
    lack = lack_behind(error)
    assert lack is not None
    assert words in lack.message
    assert lack.hint
    assert lack.exit_code == 5


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a MemoryError"),
        OSError(errno.ENOENT, "No such file or directory"),
        OSError("could not get source code"),
        "RuntimeError: size mismatch at [Errno 240]",
    ],
    ids=str,
)
def test_other_errors_are_no_lack(error: Exception | str) -> None:
    assert lack_behind(error) is None


def test_no_room_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    check_machine()
    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(MachineError, match="temporary files") as raised:
        check_machine()
    assert "TMPDIR" in str(raised.value)


def test_a_folder_that_was_removed_under_us_is_said(small_world: World, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    command = ["sh", "-c", script, "sh", *COMMAND, "inspect", *map(str, source(small_world))]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == 5, result.stderr
    assert "the current folder cannot be used" in result.stderr


@pytest.mark.slow
def test_too_few_open_files_are_not_the_folders_fault(small_world: World, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    said = refused("convert", *source(small_world), "--output", tmp_path / "out", preexec_fn=few)
    assert "no further file can be opened" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.bin").write_bytes(os.urandom(100))
    environment = ENVIRONMENT | {"HF_HOME": str(tmp_path / "file" / "home")}
    environment.pop("HF_MODULES_CACHE", None)
    said = refused("predict", make_folder(tmp_path), tmp_path / "a.bin", "--raw", env=environment)
    assert "HF_HOME" in said
    assert str(tmp_path / "file") in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["convert", "--help"]], ids=" ".join)
def test_help_on_a_full_disk_is_no_traceback(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        said = refused(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert said == "error: standard output: cannot be written: No space left on device.\n"


def test_in_a_batch_a_lack_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("byteformer_convert.batch.convert_entry.find_sources", short)
    outcome = convert_entry(Entry("a", weights=tmp_path / "w.pt"), Settings(tmp_path))
    assert (outcome.status, outcome.exit_code) == ("failed", 5)
    assert outcome.error is not None
    assert outcome.error["kind"] == "machine"


def test_weights_that_do_not_fit_into_memory_are_not_the_folders_fault(tmp_path: Path) -> None:
    with pytest.raises(MachineError), weight_files._reading(tmp_path):
        raise RuntimeError("std::bad_alloc")
    with pytest.raises(FolderError, match="invalid header") as raised, weight_files._reading(tmp_path):
        raise RuntimeError("invalid header")
    assert raised.value.hint
