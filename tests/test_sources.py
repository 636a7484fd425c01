"""`convert --published`: from the catalogue, over the network of this machine, to a folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from byteformer_convert.cli import app
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.published import PUBLISHED
from byteformer_convert.corenet.published_files import BASE_URL_VARIABLE
from byteformer_convert.demo import generated_weights
from byteformer_convert.errors import CheckpointError, OutputError, UsageError
from byteformer_convert.sources import Sources, find_sources
from tests.file_server import FileServer, file_server

NAME = "speech_commands_mp3_k4_w32"


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A generated file of that published shape."""
    buffer = io.BytesIO()
    torch.save(generated_weights(load_options(PUBLISHED[NAME].config), 0), buffer)
    return buffer.getvalue()


@pytest.fixture
def server(checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Holds the checkpoint in Apple's stead; no proxy stands before it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as running:
        running.files[f"{NAME}.pt"] = checkpoint
        monkeypatch.setenv(BASE_URL_VARIABLE, running.url)
        yield running


def run(*arguments: str | Path) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON document, and what was said."""
    result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--json")])
    return result.exit_code, json.loads(result.stdout), result.stderr


def test_a_published_checkpoint_is_fetched_and_converted(server: FileServer, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    arguments = ("convert", "--published", NAME, "--cache-dir", cache, "--skip-parity", "--trim-positions", "800")
    code, document, said = run(*arguments, "--output", tmp_path / "one")
    assert code == 0, document
    assert document["published"] == NAME
    assert document["trimmed_positions"] == {"from": 50000, "to": 800}
    assert "which nobody has recorded yet" in said
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["max_position_embeddings"] == 800
    assert config["id2label"]["0"] == "down"
    assert (tmp_path / "one" / "model.safetensors").stat().st_size < (cache / f"{NAME}.pt").stat().st_size / 2

    assert run(*arguments, "--output", tmp_path / "two")[0] == 0
    assert len(server.requests) == 1
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_a_local_file_skips_the_network(server: FileServer, checkpoint: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(checkpoint)
    code, document, said = run(
        "convert", "--published", NAME, "--weights", tmp_path / "mine.pt", "--output", tmp_path / "out", "--skip-parity"
    )
    assert code == 0, document
    assert "because you say so" in said
    assert server.requests == []


@pytest.mark.parametrize(("status", "words"), [(404, "there is no such file"), (503, "answered 503")])
def test_a_failing_server_is_an_input_error_that_leaves_nothing(
    server: FileServer, tmp_path: Path, status: int, words: str
) -> None:
    server.status = status
    arguments = ("--published", NAME, "--cache-dir", tmp_path / "cache", "--output", tmp_path / "out")
    code, document, said = run("convert", *arguments)
    assert code == 3
    assert document["error"]["kind"] == "download"  # type: ignore[index]
    assert words in said
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_there_is_refused_before_anything_is_fetched(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is there already"):
        find_sources(None, None, NAME, output=tmp_path)
    assert server.requests == []


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--weights is missing"):
        find_sources(None, tmp_path, None, output=tmp_path)
    with pytest.raises(UsageError, match="--config and --published exclude each other"):
        find_sources(None, tmp_path, NAME, output=tmp_path)
    with pytest.raises(UsageError, match="not in the catalogue"):
        find_sources(tmp_path, None, "nothing", output=tmp_path)


def test_a_local_file_is_compared_with_a_sum_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"weights")
    known = replace(PUBLISHED[NAME], sha256=hashlib.sha256(b"weights").hexdigest(), size=7)
    monkeypatch.setattr("byteformer_convert.sources.published", lambda name: known)
    assert find_sources(file, None, NAME, output=tmp_path).notes == ()
    file.write_bytes(b"others")
    with pytest.raises(CheckpointError, match="this is not the published"):
        find_sources(file, None, NAME, output=tmp_path)


def test_files_that_somebody_gave_are_taken_as_they_are(tmp_path: Path) -> None:
    weights, config = tmp_path / "a.pt", tmp_path / "a.yaml"
    assert find_sources(weights, config, None, output=tmp_path) == Sources(weights, config)


def test_the_catalogue_is_a_command() -> None:
    code, document, _ = run("published")
    assert code == 0
    assert [entry["name"] for entry in document["published"]] == list(PUBLISHED)  # type: ignore[attr-defined]
    table = CliRunner().invoke(app, ["published"])
    assert all(entry.name in table.stdout for entry in PUBLISHED.values())
