"""Checkpoints made to do harm, and every file that is damaged: one documented error each, within the bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from byteformer_convert.corenet.checkpoint import load_checkpoint
from byteformer_convert.errors import CheckpointError
from tests.hostile.checkpoint_targets import safetensors_seeds, saved
from tests.hostile.hostile_checkpoints import (
    code_runners,
    false_tensors,
    memory_bombs,
    odd_zips,
    time_bombs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hostile.replay import Replay

KINDS = [code_runners, memory_bombs, time_bombs, false_tensors, odd_zips]
STATE = {"embeddings.weight": torch.arange(20.0).reshape(5, 4), "classifier.bias": torch.ones(3)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hostile_checkpoint_does_no_harm(
    replay: Replay, tmp_path: Path, kind: Callable[[], Iterator[tuple[str, bytes]]]
) -> None:
    file = tmp_path / "x.pt"
    findings = []
    for name, data in kind():
        file.write_bytes(data)
        if (finding := replay.ask("pt_zip", file)) is not None:
            findings.append(f"{name}: {finding.problem}\n{finding.details}")
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("kind", [code_runners, memory_bombs, time_bombs], ids=lambda kind: kind.__name__)
def test_a_checkpoint_that_attacks_is_refused(
    tmp_path: Path, kind: Callable[[], Iterator[tuple[str, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in kind():
        Path("x.pt").write_bytes(data)
        with pytest.raises(CheckpointError):
            load_checkpoint(Path("x.pt"))
        assert [path.name for path in tmp_path.iterdir()] == ["x.pt"], name


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_truncation_is_refused(tmp_path: Path, zipped: bool) -> None:
    data, file = saved(STATE, zipped=zipped), tmp_path / "x.pt"
    for length in range(0, len(data), 3):
        file.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(file)


def test_a_changed_bit_of_a_zip_changes_nothing_or_is_refused(tmp_path: Path) -> None:
    data, file = saved(STATE), tmp_path / "x.pt"
    refused = 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        file.write_bytes(changed)
        try:
            found = load_checkpoint(file)
        except CheckpointError:
            refused += 1
            continue
        assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
            name: tensor.tolist() for name, tensor in STATE.items()
        }, at
    assert refused > 400


def test_tensors_of_a_packed_zip_never_reach_beyond_what_was_unpacked(tmp_path: Path) -> None:
    cases = dict(false_tensors())
    (tmp_path / "x.pt").write_bytes(cases["storage claims more, packed"])
    with pytest.raises(CheckpointError, match="take more bytes than it holds"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_checkpoint_saved_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        (tmp_path / "x.pt").write_bytes(saved(STATE))
    finally:
        torch.serialization.set_crc32_options(before)
    assert list(load_checkpoint(tmp_path / "x.pt").tensors) == list(STATE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="pipe or a device"):
        load_checkpoint(tmp_path / "x.pt")
    folder = tmp_path / "adapter"
    folder.mkdir()
    os.mkfifo(folder / "config.json")
    (folder / "model.safetensors").write_bytes(next(iter(safetensors_seeds())))
    assert load_checkpoint(folder).kind == "adapter folder"


@pytest.mark.parametrize("name", [b"w\xff.pt", "ü.pt".encode(), b"a b\n.pt", b"x.safetensors"], ids=repr)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_files_name_is_no_reason_to_refuse_it(tmp_path: Path, name: bytes, zipped: bool) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(saved(STATE, zipped=zipped))
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert torch.equal(load_checkpoint(path).tensors["embeddings.weight"], STATE["embeddings.weight"])
