"""Folders that anybody may have written: no code but this version's runs unasked, and no pipe is waited for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import FolderError
from byteformer_convert.output.finished import check_code, read_config
from byteformer_convert.output.folder import write_code
from byteformer_convert.output.folder_check import check_folder

OTHER = ("other/repo--modeling_byteformer.X", "../x.X", "x.X", ["configuration_byteformer.A", "o/r--m.X"], 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_code(tmp_path, "image")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_byteformer.ByteFormerModel"}}')
    return tmp_path


def test_this_versions_code_is_taken(folder: Path) -> None:
    check_code(folder, "image", "Loading", trust_remote_code=False)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("other", OTHER, ids=str)
def test_an_auto_map_to_other_code_has_to_be_trusted(folder: Path, name: str, other: object) -> None:
    (folder / name).write_text(json.dumps({"part": {"auto_map": {"AutoModel": other}}}))
    with pytest.raises(FolderError, match=name):
        check_code(folder, "image", "Loading", trust_remote_code=False)
    check_code(folder, "image", "Loading", trust_remote_code=True)


def test_code_that_is_not_there_is_not_called_foreign(folder: Path) -> None:
    (folder / "modeling_byteformer.py").unlink()
    with pytest.raises(FolderError, match=r"lacks modeling_byteformer\.py") as raised:
        check_code(folder, "image", "Loading", trust_remote_code=False)
    assert "trust" not in str(raised.value)
    (folder / "extra.py").touch()
    with pytest.raises(FolderError, match=r"leads to such: extra\.py\. Loading would run it"):
        check_code(folder, "image", "Loading", trust_remote_code=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_no_pipe_is_waited_for(folder: Path) -> None:
    (folder / "config.json").unlink()
    for name in ("config.json", "conversion_report.json", "x.py"):
        os.mkfifo(folder / name)
    with pytest.raises(FolderError, match="no regular file"):
        read_config(folder)
    with pytest.raises(FolderError, match="no regular file"):
        check_code(folder, "image", "Loading", trust_remote_code=False)
    assert "no regular file" in check_folder(folder).problems[0]


def test_a_size_without_end_is_a_bad_list(folder: Path) -> None:
    (folder / "conversion_report.json").write_text('{"files": [{"name": "x", "size": Infinity, "sha256": ""}]}')
    assert "does not list" in check_folder(folder).problems[0]


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    assert read_plain(tmp_path / "x", 4) == b"1234"
    with pytest.raises(OSError, match="more than 3"):
        read_plain(tmp_path / "x", 3)
