"""Whatever happens, the target is either the old folder, whole, or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from byteformer_convert.errors import OutputError
from byteformer_convert.output import partial, staging
from byteformer_convert.output.staging import REPORT_NAME, check_target, output_errors, staged_folder


def converted(folder: Path, content: str = "old") -> Path:
    """A folder as this tool leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(content)
    (folder / REPORT_NAME).write_text(json.dumps({"files": [{"name": "config.json"}]}))
    return folder


def write(target: Path, content: str = "new", *, force: bool = False) -> None:
    with staged_folder(target, force=force) as staged:
        (staged / "config.json").write_text(content)
        (staged / REPORT_NAME).write_text(json.dumps({"files": [{"name": "config.json"}]}))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what may be replaced ---


def test_a_folder_appears_whole_and_its_parents_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out"
    with staged_folder(target, force=False) as staged:
        (staged / "config.json").write_text("new")
        assert not target.exists()
        assert staged.parent == target.parent
    assert names(target) == ["config.json"]
    assert names(target.parent) == ["out"]


@pytest.mark.parametrize("kind", ["converted", "empty", "file", "link", "dangling link"])
def test_without_force_nothing_that_exists_is_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "converted":
        converted(target)
    elif kind == "empty":
        target.mkdir()
    elif kind == "file":
        target.write_text("old")
    else:
        target.symlink_to(converted(tmp_path / "real") if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is there already"):
        check_target(target, force=False)
    with pytest.raises(OutputError, match="is there already"):
        write(target)


@pytest.mark.parametrize("old", ["converted", "empty"])
def test_force_replaces_what_this_tool_wrote(tmp_path: Path, old: str) -> None:
    target = tmp_path / "out"
    converted(target) if old == "converted" else target.mkdir()
    write(target, force=True)
    assert (target / "config.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_force_does_not_need_an_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "config.json").read_text() == "new"


@pytest.mark.parametrize("kind", ["file", "link", "somebody's folder", "no report", "broken report", "a list"])
def test_force_replaces_nothing_else(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("old")
    elif kind == "link":
        target.symlink_to(converted(tmp_path / "real"))
    else:
        converted(target)
        report = target / REPORT_NAME
        if kind in ("somebody's folder", "no report"):
            report.unlink()
        else:
            report.write_text("{" if kind == "broken report" else "[]")
    with pytest.raises(OutputError, match="is not a folder that byteformer-convert wrote"):
        write(target, force=True)
    assert os.path.lexists(target)
    assert not list(tmp_path.glob(".*"))


def test_force_spares_a_folder_in_which_somebody_keeps_something(tmp_path: Path) -> None:
    target = converted(tmp_path / "out")
    (target / ".git").mkdir()
    with pytest.raises(OutputError, match=r"holds \.git, which byteformer-convert did not write"):
        write(target, force=True)
    assert (target / ".git").is_dir()


# --- when something fails ---


@pytest.mark.parametrize("failure", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("old", [True, False])
def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path, failure: BaseException, old: bool) -> None:
    target = tmp_path / "out"
    if old:
        converted(target)
    with pytest.raises(type(failure)), staged_folder(target, force=True) as staged:  # noqa: PT012
        (staged / "config.json").write_text("new")
        assert (target / "config.json").exists() == old
        raise failure
    assert names(tmp_path) == (["out"] if old else [])
    assert not old or (target / "config.json").read_text() == "old"


def test_a_folder_that_somebody_puts_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="File exists"), staged_folder(target, force=False):
        converted(target, "somebody's")
    assert (target / "config.json").read_text() == "somebody's"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("code", "hint"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "you may write to"), (errno.EROFS, "read-only")],
)
def test_an_os_error_becomes_an_output_error_that_says_what_to_do(tmp_path: Path, code: int, hint: str) -> None:
    with pytest.raises(OutputError) as caught, output_errors(tmp_path / "out"):
        raise OSError(code, os.strerror(code))
    assert caught.value.message == f"cannot be written: {os.strerror(code)}."
    assert hint in str(caught.value.hint)
    assert caught.value.where == str(tmp_path / "out")


def test_an_os_error_that_no_system_call_raised_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="source code"), output_errors(tmp_path / "out"):
        raise OSError("could not get source code")


def test_a_target_below_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "out")


def test_a_name_that_is_too_long_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="name too long"):
        write(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_parent_that_may_not_be_written_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            write(tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_cannot_be_synced_does_not_stop_a_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "no fsync here")

    monkeypatch.setattr(staging.os, "fsync", fsync)
    write(tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_text() == "new"


# --- leftovers and neighbours ---

KILLED = """
import os, signal, sys
from pathlib import Path
from byteformer_convert.output.staging import staged_folder
with staged_folder(Path(sys.argv[1]), force=True) as staged:
    (staged / "config.json").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["out", "a b", "=[,]", "[bold]", "中文", "*"])
def test_a_killed_run_leaves_the_old_folder_and_the_next_one_cleans_up(tmp_path: Path, name: str) -> None:
    target = converted(tmp_path / name)
    bystander = tmp_path / f".x{name}.partial-1"
    bystander.mkdir()
    result = subprocess.run([sys.executable, "-c", KILLED, target], cwd=Path(__file__).parents[2])
    assert result.returncode == -signal.SIGKILL
    assert (target / "config.json").read_text() == "old"
    assert len(names(tmp_path)) == 3
    write(target, force=True)
    assert (target / "config.json").read_text() == "new"
    assert names(tmp_path) == sorted([name, bystander.name])


def test_a_living_run_keeps_its_folder_while_another_one_finishes(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with staged_folder(target, force=True) as first:
        (first / "config.json").write_text("first")
        (first / REPORT_NAME).write_text("{}")
        write(target, "second", force=True)
        assert (first / "config.json").read_text() == "first"
        assert (target / "config.json").read_text() == "second"
    assert (target / "config.json").read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_a_folder_that_is_taken_for_a_leftover_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = partial._lock, []

    def snatched(folder: Path, **how: bool) -> int | None:
        if not taken:
            taken.append(folder)
            folder.rmdir()  # the other run was faster
        return lock(folder, **how)

    monkeypatch.setattr(partial, "_lock", snatched)
    write(tmp_path / "out")
    assert taken
    assert (tmp_path / "out" / "config.json").read_text() == "new"


@pytest.mark.skipif(partial.flock is None, reason="needs locks")
def test_a_folder_that_another_run_is_removing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ours"
    path.mkdir()
    removing = partial._lock(path)
    assert removing is not None
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(partial.make_locked, path, folder=True)
        wait([made], timeout=0.2)
        path.rmdir()
        os.close(removing)
        descriptor = made.result()
    assert descriptor is not None
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    os.close(descriptor)


def test_without_locks_a_folder_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "flock", None)
    write(tmp_path / "out")
    assert names(tmp_path) == ["out"]
