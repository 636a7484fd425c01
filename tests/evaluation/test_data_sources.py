"""What --data may be, and in which order its files and classes come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from byteformer_convert.errors import FileInputError
from byteformer_convert.evaluation.sources import class_folders, file_list, manifest, open_source

if TYPE_CHECKING:
    from byteformer_convert.evaluation.items import Source


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def rows(source: Source) -> list[tuple[str, str]]:
    """Pairs of file and class."""
    items = source.items
    return [(items.name(index), source.classes[items.class_index(index)]) for index in range(len(items))]


def test_class_folders_come_in_the_order_of_torchvisions_image_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "b/Z.png", "b/sub/1.jpg", "b-c/1.JPEG", "a/x.webp", "a/.hidden/y.png")
    touch(tmp_path, "b/sub/z/1.png", "b/sub-1/1.png")  # sorted by their whole paths, in which - comes before /

    source = class_folders(tmp_path, (".png", ".jpg", ".jpeg", ".webp"))

    assert source.classes == ("a", "b", "b-c")
    assert [name for name, _ in rows(source)] == [
        "a/x.webp", "a/.hidden/y.png", "b/10.png", "b/2.png", "b/Z.png", "b/sub/1.jpg", "b/sub-1/1.png",
        "b/sub/z/1.png", "b-c/1.JPEG",
    ]  # fmt: skip


def test_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/notes.txt", "a/.DS_Store")
    source = open_source(tmp_path, "image", raw=False)
    assert rows(source) == [("a/1.png", "a")]
    assert source.notes[0].endswith(".webp: 2.")


def test_raw_files_may_have_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.bin", "a/2", "a/.hidden")
    assert rows(open_source(tmp_path, "image", raw=True)) == [("a/1.bin", "a"), ("a/2", "a")]


def test_a_list_has_a_path_and_a_class_a_line(tmp_path: Path) -> None:
    path = tmp_path / "files.txt"
    path.write_text("b c.png\ttiger cat\n\nd.png dog\n", encoding="utf-8")
    source = open_source(path, "image", raw=False)
    assert rows(source) == [("b c.png", "tiger cat"), ("d.png", "dog")]
    assert source.classes == ("dog", "tiger cat")
    assert not source.numbered
    with source.items.opened([1]) as contents:
        assert contents == [tmp_path / "d.png"]


def test_a_list_may_number_the_classes(tmp_path: Path) -> None:
    path = tmp_path / "files.txt"
    path.write_text("a 10\nb 9\n", encoding="utf-8")
    source = file_list(path)
    assert source.numbered
    assert source.classes == ("9", "10")
    assert rows(source) == [("a", "10"), ("b", "9")]


def test_every_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "files.txt"
    path.write_text("a.png cat\nalone\n\tx\n", encoding="utf-8")
    with pytest.raises(FileInputError, match="lines 2, 3 are not"):
        file_list(path)


def test_a_manifest_counts_its_commands_in_sorted_order_as_corenet_does(tmp_path: Path) -> None:
    path = tmp_path / "test_manifest.json"
    path.write_text(
        '{"audio_filepath": "yes/1.wav", "duration": 1.0, "command": "yes"}\n'
        '{"audio_filepath": "down/2.wav", "duration": 0.9, "command": "down"}\n',
        encoding="utf-8",
    )
    source = open_source(path, "audio", raw=False)
    assert source.classes == ("down", "yes")
    assert rows(source) == [("yes/1.wav", "yes"), ("down/2.wav", "down")]


def test_a_manifest_that_is_a_json_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('[{"audio_filepath": "1.wav", "command": "yes"}]', encoding="utf-8")
    with pytest.raises(FileInputError, match="line 1 is not a JSON object"):
        manifest(path)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_evaluate_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileInputError):
        open_source(tmp_path / name, "image", raw=False)


def test_the_digest_follows_names_and_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    first = class_folders(tmp_path, None).digest()
    assert class_folders(tmp_path, None).digest() == first
    (tmp_path / "b/1.png").rename(tmp_path / "b/2.png")
    assert class_folders(tmp_path, None).digest() != first
