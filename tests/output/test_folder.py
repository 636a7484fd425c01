"""The files of a folder: bytes that repeat, shards that fit, tensors that come back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from byteformer_convert.errors import UsageError
from byteformer_convert.output.folder import (
    FileRecord,
    bundled_code,
    file_record,
    parse_size,
    record_files,
    write_code,
    write_json,
    write_weights,
)
from byteformer_convert.output.weight_files import read_weights

TENSORS = {"b": torch.arange(250.0), "a": torch.ones(3, 100), "c": torch.zeros(5)}


def test_json_is_sorted_readable_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": "é", "a": [1]})
    assert (tmp_path / "x.json").read_bytes() == '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


@pytest.mark.parametrize("limit", [None, "10KB", "1200B", "1KiB"])
def test_weights_come_back(tmp_path: Path, limit: str | None) -> None:
    write_weights(tmp_path, TENSORS, limit)
    read = read_weights(tmp_path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())


def test_weights_have_one_metadata_key_and_can_be_read_by_everybody(tmp_path: Path) -> None:
    write_weights(tmp_path, TENSORS, None)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    (tmp_path / "other").write_text("")
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_shards_stay_below_the_limit_and_the_index_names_them(tmp_path: Path) -> None:
    write_weights(tmp_path, TENSORS, "1200B")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    first, second = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
    assert index == {
        "metadata": {"total_parameters": 555, "total_size": 2220},
        "weight_map": {"b": first, "a": second, "c": "model-00003-of-00003.safetensors"},
    }


@pytest.mark.parametrize("limit", [None, "1200B"])
def test_weights_are_recorded_while_they_are_written(tmp_path: Path, limit: str | None) -> None:
    records = write_weights(tmp_path, TENSORS, limit)
    assert [record.name for record in records] == sorted(path.name for path in tmp_path.glob("model*.safetensors"))
    assert all(record == file_record(tmp_path / record.name) for record in records)


def test_a_tensor_beyond_the_limit_gets_a_shard_of_its_own(tmp_path: Path) -> None:
    write_weights(tmp_path, TENSORS, "100B")
    assert len(list(tmp_path.glob("model-*"))) == 3


def test_a_single_file_comes_before_an_index_as_in_transformers(tmp_path: Path) -> None:
    write_weights(tmp_path, TENSORS, "1200B")
    write_weights(tmp_path, {"only": torch.ones(1)}, None)
    assert list(read_weights(tmp_path)) == ["only"]


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    hashes = set()
    for at in range(5):
        (tmp_path / str(at)).mkdir()
        write_weights(tmp_path / str(at), TENSORS, None)
        hashes.add(file_record(tmp_path / str(at) / "model.safetensors").sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("2gb", 2 * 10**9), ("512MiB", 2**29), ("1 KB", 1000), ("7B", 7), (" 1GiB ", 2**30)],
)
def test_sizes_are_read_as_transformers_reads_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "5", "0GB", "-1MB", "1.5GB", "5 TB", "MB5"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--max-shard-size is") as caught:
        parse_size(text)
    assert caught.value.hint == "Write it like 500MB, 2GB or 512MiB."


@pytest.mark.parametrize(
    ("task", "processor"), [("image", "image_processing_byteformer.py"), ("audio", "feature_extraction_byteformer.py")]
)
def test_a_folder_gets_the_code_of_its_task(tmp_path: Path, task: str, processor: str) -> None:
    write_code(tmp_path, task)
    code = bundled_code(task)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == code
    assert {"configuration_byteformer.py", "modeling_byteformer.py", processor} <= code.keys()
    assert all(b"byteformer_convert" not in content for content in code.values())


def test_files_are_recorded_by_name_size_and_sha256(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    records = record_files(tmp_path)
    assert [record.to_dict() for record in records] == [
        {"name": "a", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        {"name": "b", "size": 2, "sha256": hashlib.sha256(b"12").hexdigest()},
    ]


def test_what_is_recorded_already_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    known = FileRecord("b", 1, "known")
    assert record_files(tmp_path, [known]) == (file_record(tmp_path / "a"), known)
