"""Hostile inputs through the commands: exit code 3, one message, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from byteformer_convert.cli import app
from tests.hostile.checkpoint_targets import saved
from tests.hostile.hostile_checkpoints import all_cases
from tests.hostile.hostile_options import hostile_files
from tests.hostile.replay import ROOT
from tests.small_world import changed_weights

CHECKPOINTS = (
    "code_runners: os.system protocol 2", "code_runners: os.system protocol 4", "code_runners: eval legacy",
    "memory_bombs: bytearray 10 GB", "memory_bombs: legacy storage 1 EB", "memory_bombs: packed zeros",
    "time_bombs: key that is hashed for ever", "time_bombs: deep key", "false_tensors: storage claims more, packed",
    "false_tensors: name '\\x1b[2J\\x1b]0;'", "false_tensors: value sparse", "false_tensors: value tuple keys",
    "odd_zips: members twice", "odd_zips: tar", "odd_zips: encrypted",
)  # fmt: skip
YAMLS = (
    "aliases that explode", "deep lists", "tags that run code", "holds itself", "long base 60", "NUL", "UTF-16",
    "binary", "5 MB", "empty", "surrogate in a value",
)  # fmt: skip


def refused(arguments: list[str | Path], folder: Path) -> str:
    """What the command says on stderr while it refuses its input; `folder` is as it was."""
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 3, result.output
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    assert sorted(folder.iterdir()) == before
    return result.stderr


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_hostile_checkpoint_ends_the_command_with_3(
    small_world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "x.pt"
    weights.write_bytes(all_cases()[name])
    assert refused(["inspect", "--weights", weights], tmp_path)
    convert = ["convert", "--config", small_world[0], "--weights", weights, "--output", tmp_path / "out"]
    assert refused([*convert, "--skip-parity"], tmp_path)


@pytest.mark.parametrize("name", YAMLS)
def test_a_hostile_yaml_ends_the_command_with_3(
    small_world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "x.yaml"
    config.write_bytes(dict(hostile_files())[name])
    assert refused(["inspect", "--config", config], tmp_path)
    convert = ["convert", "--config", config, "--weights", small_world[1], "--output", tmp_path / "out"]
    assert refused([*convert, "--skip-parity"], tmp_path)


@pytest.mark.parametrize(
    "override",
    ["n_classes=1000000000000", "byteformer.window_sizes=[1000000000000]", "byteformer.max_num_tokens=9" + "0" * 30],
)
def test_numbers_that_no_machine_holds_are_refused(
    small_world: tuple[Path, Path], tmp_path: Path, override: str
) -> None:
    config, weights = small_world
    arguments = ["--config", config, "--weights", weights, "--override", f"model.classification.{override}"]
    assert "model.classification." in refused(
        ["convert", *arguments, "--skip-parity", "--output", tmp_path / "out"], tmp_path
    )


def test_weights_that_share_storage_are_converted_apart(small_world: tuple[Path, Path], tmp_path: Path) -> None:
    def share(state: dict[str, torch.Tensor]) -> None:
        state["transformer.1.pre_norm_mha.0.bias"] = state["transformer.0.pre_norm_mha.0.bias"]
        state["classifier.weight"] = state["classifier.weight"].t().contiguous().t()

    weights = changed_weights(small_world[1], tmp_path / "x.pt", share)
    arguments = [
        "convert",
        "--config",
        small_world[0],
        "--weights",
        weights,
        "--output",
        tmp_path / "out",
        "--skip-parity",
    ]
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_files_whose_names_are_not_utf8_are_converted(small_world: tuple[Path, Path], tmp_path: Path) -> None:
    config, weights = (tmp_path / os.fsdecode(name) for name in (b"c\xff.yaml", b"w\xff.pt"))
    config.write_bytes(small_world[0].read_bytes())
    weights.write_bytes(small_world[1].read_bytes())
    arguments = ["convert", "--config", config, "--weights", weights, "--output", tmp_path / "out", "--skip-parity"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert r"c\udcff.yaml" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize("name", ["memory_bombs: bytearray 10 GB", "time_bombs: deep key"])
def test_the_command_itself_stays_within_its_memory(tmp_path: Path, name: str) -> None:
    import resource

    weights = tmp_path / "x.pt"
    weights.write_bytes(all_cases()[name])
    command = [sys.executable, "-m", "byteformer_convert", "inspect", "--weights", weights]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )
    assert (run.returncode, run.stdout, run.stderr.count("error:")) == (3, "", 1), run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_good_checkpoint_is_within_the_bounds(tmp_path: Path) -> None:
    weights = tmp_path / "x.pt"
    weights.write_bytes(saved({f"x.{i}": torch.ones(3) for i in range(2000)}))
    result = CliRunner().invoke(app, ["inspect", "--weights", str(weights), "--quiet"])
    assert result.exit_code == 0, result.output
