"""Files are hashed beside other work, and no longer than somebody waits for the sum."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from byteformer_convert.corenet import digest
from byteformer_convert.corenet.digest import sha256_of


@pytest.mark.parametrize("block", [1 << 25, 3])
def test_files_are_hashed_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(digest, "_BLOCK", block)
    first, second = tmp_path / "b", tmp_path / "a"
    first.write_bytes(b"12345")
    second.write_bytes(b"678")
    with sha256_of((first, second)) as sha256:
        found = sha256()
    assert found == hashlib.sha256(b"12345678").hexdigest()


def test_a_file_that_cannot_be_read_is_told_where_the_sum_is_asked_for(tmp_path: Path) -> None:
    with sha256_of((tmp_path / "nowhere",)) as sha256, pytest.raises(FileNotFoundError):
        sha256()


ENDLESS = """
from pathlib import Path
from byteformer_convert.corenet.digest import sha256_of
with sha256_of((Path("/dev/zero"),)):
    raise ValueError("stop")
"""


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless file")
def test_a_block_that_fails_ends_the_hashing() -> None:
    found = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=60)
    assert found.stderr.endswith("ValueError: stop\n")
