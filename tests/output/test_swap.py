"""Two folders change places, or one takes a free place: in one step, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from byteformer_convert.output import swap


def make(folder: Path, content: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(content)
    return folder


def test_a_free_place_is_taken(tmp_path: Path) -> None:
    swap.put_in_place(make(tmp_path / "staged", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert not (tmp_path / "staged").exists()


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "dangling link"])
def test_a_place_that_is_taken_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    staged, target = make(tmp_path / "staged", "new"), tmp_path / "target"
    if kind == "folder":
        make(target, "old")
    elif kind == "empty folder":
        target.mkdir()
    elif kind == "file":
        target.write_text("old")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        swap.put_in_place(staged, target)
    assert (staged / "file").read_text() == "new"
    assert not (target / "file").exists() or (target / "file").read_text() == "old"


@pytest.mark.parametrize("one_step", [True, False])
def test_two_folders_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool) -> None:
    if not one_step:
        monkeypatch.setattr(swap, "_exchange_in_one_step", lambda first, second: False)
    staged, target = make(tmp_path / "staged", "new"), make(tmp_path / "target", "old")
    swap.exchange(staged, target)
    assert (target / "file").read_text() == "new"
    assert (staged / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["staged", "target"]


def test_where_the_second_of_two_renames_fails_the_old_folder_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_exchange_in_one_step", lambda first, second: False)
    target = make(tmp_path / "target", "old")
    with pytest.raises(FileNotFoundError):
        swap.exchange(tmp_path / "gone", target)
    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_between_two_renames_the_old_folder_is_not_among_the_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_exchange_in_one_step", lambda first, second: False)
    staged, target = make(tmp_path / ".target.partial-1", "new"), make(tmp_path / "target", "old")
    renamed: list[str] = []
    original = Path.rename

    def rename(self: Path, to: Path) -> Path:
        renamed.append(to.name)
        return original(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    swap.exchange(staged, target)
    assert renamed[0] == f".target.old-{os.getpid()}"


def test_an_exchange_that_the_system_refuses_is_an_os_error(tmp_path: Path) -> None:
    target = make(tmp_path / "target", "old")
    with pytest.raises(FileNotFoundError) as caught:
        swap.exchange(tmp_path / "gone", target)
    assert caught.value.errno == errno.ENOENT
    assert (target / "file").read_text() == "old"
