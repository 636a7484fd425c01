"""Files that take their places together: all of them whole, or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byteformer_convert.errors import OutputError
from byteformer_convert.output.placed_files import placed_files


def write(targets: list[Path], texts: list[str], *, force: bool = False) -> None:
    with placed_files(targets, force=force) as staged:
        for path, text in zip(staged, texts, strict=True):
            path.write_text(text)


def test_both_files_are_there_afterwards_and_nothing_else(tmp_path: Path) -> None:
    targets = [tmp_path / "new" / "a.pt", tmp_path / "new" / "a.yaml"]
    write(targets, ["one", "two"])
    assert [target.read_text() for target in targets] == ["one", "two"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.pt", "a.yaml"]


def test_nothing_is_left_where_the_block_raises(tmp_path: Path) -> None:
    def fail() -> None:
        with placed_files([tmp_path / "a.pt", tmp_path / "a.yaml"]) as (first, _):
            first.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["a.pt", "a.yaml"])
def test_a_file_that_is_there_is_not_touched_without_force(tmp_path: Path, there: str) -> None:
    targets = [tmp_path / "a.pt", tmp_path / "a.yaml"]
    (tmp_path / there).write_text("old")
    with pytest.raises(OutputError, match=r"is there already\.") as caught:
        write(targets, ["one", "two"])
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == [there]
    write(targets, ["one", "two"], force=True)
    assert [target.read_text() for target in targets] == ["one", "two"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a.pt"

    def meanwhile() -> None:
        with placed_files([target]) as (staged,):
            staged.write_text("ours")
            target.write_text("theirs")

    with pytest.raises(OutputError, match="is there already"):
        meanwhile()
    assert target.read_text() == "theirs"


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.pt").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write([tmp_path / "a.pt"], ["x"], force=True)


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write([tmp_path / "file" / "a.pt"], ["x"])


def test_what_a_killed_run_has_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.pt"
    (tmp_path / ".a.pt.partial-1").write_text("of a killed run")
    with placed_files([target]) as (living,):
        living.write_text("first")
        write([target], ["second"])
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.pt", living.name])
        target.unlink()
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut behind the rename would leave an empty file else, where an old one was."""
    happened: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        happened.append(f"sync {os.fstat(descriptor).st_ino}")
        sync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        happened.append(f"replace {path.stat().st_ino}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    targets = [tmp_path / "a", tmp_path / "b"]
    write(targets, ["1", "2"])
    a, b = (target.stat().st_ino for target in targets)
    folder = f"sync {tmp_path.stat().st_ino}"
    assert happened == [f"sync {a}", f"sync {b}", f"replace {b}", folder, f"replace {a}", folder]
