"""A batch as people run it: failures that stop nobody, a second run that does what is left, processes that die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from typer.testing import CliRunner

from byteformer_convert.batch import workers
from byteformer_convert.batch.convert_entry import Outcome, Settings, convert_entry
from byteformer_convert.batch.manifest import Entry
from byteformer_convert.batch.run import Batch, run_batch
from byteformer_convert.batch.workers import Worker
from byteformer_convert.cli import app
from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights
from byteformer_convert.errors import UsageError

YAML = """
dataset: {category: classification}
image_augmentation: {pil_save: {enable: true, file_encoding: fHWC}}
model:
  classification:
    name: byteformer
    n_classes: 3
    byteformer: {max_num_tokens: 40, conv_kernel_size: 4, window_sizes: [8], window_shifts: [0,4,0,4,0,4,0,4,0,4,0,4]}
  activation: {name: gelu}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated `a.pt`, with `a.yaml` beside it."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "a.yaml").write_text(YAML)
    torch.save(generated_weights(load_options(folder / "a.yaml"), 0), folder / "a.pt")
    return folder / "a.pt"


@pytest.fixture
def work(checkpoint: Path, tmp_path: Path) -> Path:
    """A folder of its own with both files."""
    for path in (checkpoint, checkpoint.with_suffix(".yaml")):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def entry(work: Path, name: str = "a", **more: Any) -> Entry:
    return Entry(name, weights=work / "a.pt", config=work / "a.yaml", **{"skip_parity": True, **more})


def settings(work: Path, *, force: bool = False) -> Settings:
    return Settings(work / "out", force=force)


def started(command: list[str]) -> subprocess.Popen[str]:
    """A batch in a process group of its own, its first entry just converted."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("converted")
    return process


def write_manifest(work: Path, count: int, **more: Any) -> Path:
    same = {"weights": "a.pt", "config": "a.yaml", "skip_parity": True, **more}
    (work / "m.yaml").write_text(
        yaml.safe_dump({"defaults": same, "entries": [{"name": f"n{i}"} for i in range(count)]})
    )
    return work / "m.yaml"


def test_a_finished_folder_with_the_same_inputs_is_skipped(work: Path) -> None:
    assert convert_entry(entry(work), settings(work)).status == "converted"
    written = (work / "out" / "a" / "config.json").stat().st_mtime_ns
    assert convert_entry(entry(work), settings(work)) == Outcome("a", "skipped", parity="skipped")
    assert (work / "out" / "a" / "config.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"dtype": "bfloat16"}, "converted in another way"),
        ({"license": "mit"}, "converted in another way"),
        ({"overrides": ("model.classification.byteformer.dropout=0.1",)}, "converted in another way"),
        ({"skip_parity": False}, "converted in another way"),
        ({"trim_positions": 30}, "with other positions"),
    ],
)
def test_another_request_is_not_skipped_and_not_written_over(work: Path, more: dict[str, Any], words: str) -> None:
    convert_entry(entry(work), settings(work))
    outcome = convert_entry(entry(work, **more), settings(work))
    assert (outcome.status, outcome.exit_code) == ("failed", 5)
    assert words in str(outcome.error)


def test_a_trimmed_folder_is_told_from_a_whole_one(work: Path) -> None:
    convert_entry(entry(work, trim_positions=30), settings(work))
    assert convert_entry(entry(work, trim_positions=30), settings(work)).status == "skipped"
    assert convert_entry(entry(work), settings(work)).status == "failed"
    convert_entry(entry(work, "whole"), settings(work))
    assert convert_entry(entry(work, "whole", trim_positions=40), settings(work)).status == "skipped"


@pytest.mark.parametrize("changed", ["a.pt", "a.yaml"])
def test_changed_inputs_replace_a_folder_only_with_force(work: Path, changed: str) -> None:
    convert_entry(entry(work), settings(work))
    if changed == "a.pt":
        torch.save(generated_weights(load_options(work / "a.yaml"), 1), work / "a.pt")
    else:
        (work / "a.yaml").write_text(YAML + "ema: {enable: true}\n")
    assert "not what they were" in str(convert_entry(entry(work), settings(work)).error)
    assert convert_entry(entry(work), settings(work, force=True)).status == "converted"
    assert convert_entry(entry(work), settings(work, force=True)).status == "skipped"


def test_a_folder_that_is_not_whole_any_more_is_not_skipped(work: Path) -> None:
    convert_entry(entry(work), settings(work))
    (work / "out" / "a" / "model.safetensors").write_bytes(b"cut")
    assert "not whole: model.safetensors" in str(convert_entry(entry(work), settings(work)).error)
    assert convert_entry(entry(work), settings(work, force=True)).status == "converted"


def test_sources_that_are_gone_are_said_not_a_bug(work: Path) -> None:
    convert_entry(entry(work), settings(work))
    (work / "a.pt").unlink()
    assert "not what they were" in str(convert_entry(entry(work), settings(work)).error)
    assert convert_entry(entry(work, "new"), settings(work)).exit_code == 3


def test_a_bug_is_an_outcome_with_its_traceback(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("byteformer_convert.batch.convert_entry.convert", broken)
    outcome = convert_entry(entry(work), settings(work))
    assert outcome.exit_code == 1
    assert "ZeroDivisionError: oops" in str(outcome.error)
    assert "Traceback" in str(outcome.error)


@pytest.mark.slow
def test_one_failure_does_not_stop_the_rest_and_the_worst_code_counts(work: Path) -> None:
    manifest = write_manifest(work, 3)
    content = yaml.safe_load(manifest.read_text())
    content["entries"][1]["weights"] = "nowhere.pt"
    manifest.write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["batch", str(manifest), "--output", str(work / "out"), "--jobs", "2", "--json"])
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert [found["status"] for found in document["entries"]] == ["converted", "failed", "converted"]
    assert document["counts"] == {"converted": 2, "failed": 1}
    on_disk = json.loads((work / "out" / "batch_report.json").read_text())
    assert on_disk == document
    assert "failed n1: nowhere.pt: there is no such file" in result.stderr


@pytest.mark.slow
def test_a_killed_batch_is_taken_up_by_the_same_command(work: Path) -> None:
    manifest, out = write_manifest(work, 6), work / "out"
    command = [sys.executable, "-m", "byteformer_convert", "batch", str(manifest), "--output", str(out)]
    process = started(command)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = sorted(path.name for path in out.glob("n*"))
    assert 0 < len(done) < 6
    assert not (out / "batch_report.json").exists()
    batch = run_batch(manifest, Settings(out))
    assert batch.exit_code == 0
    assert [outcome.name for outcome in batch.outcomes if outcome.status == "skipped"] == done
    assert sorted(path.name for path in out.iterdir()) == ["batch_report.json", *(f"n{i}" for i in range(6))]


@pytest.mark.slow
def test_an_interrupted_batch_cleans_up_and_reports(work: Path) -> None:
    manifest, out = write_manifest(work, 6), work / "out"
    command = [sys.executable, "-m", "byteformer_convert", "batch", str(manifest), "--output", str(out), "--json"]
    process = started(command)
    process.terminate()
    document, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "does what is left" in said
    report = json.loads((out / "batch_report.json").read_text())
    assert report["interrupted"]
    assert json.loads(document) == report
    assert report["counts"]["not started"] > 0
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_entry_alone(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(settings(work))
    connect = worker._running

    def connect_and_kill() -> Any:
        connection = connect()
        assert worker.process is not None
        os.kill(worker.process.pid or 0, signal.SIGKILL)
        return connection

    try:
        assert worker.convert(entry(work, "one")).status == "converted"
        with monkeypatch.context() as patched:
            patched.setattr(worker, "_running", connect_and_kill)
            lost = worker.convert(entry(work, "two"))
        assert lost.exit_code == 1
        assert "was killed by SIGKILL" in str(lost.error)
        assert "fewer --jobs" in str(lost.error)
        assert worker.convert(entry(work, "three")).status == "converted"
    finally:
        worker.stop()


def test_a_process_that_is_being_started_is_stopped_as_well(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, starts, goes_on = MagicMock(), Event(), Event()
    process.is_alive.return_value = False

    def start() -> None:
        starts.set()
        goes_on.wait()
        process.is_alive.return_value = True

    process.start = start
    context = MagicMock()
    context.Pipe.return_value = MagicMock(), MagicMock()
    context.Process.return_value = process
    monkeypatch.setattr(workers, "_CONTEXT", context)
    worker = Worker(settings(work))
    with ThreadPoolExecutor(2) as threads:
        threads.submit(worker.convert, entry(work))
        starts.wait()
        stopping = threads.submit(worker.stop)
        wait([stopping], timeout=0.2)
        goes_on.set()
        stopping.result()
    process.terminate.assert_called_once_with()
    assert worker.convert(entry(work)).status == "not started"


@pytest.mark.parametrize(
    ("codes", "worst"), [([0, 0], 0), ([3, 0, 6], 3), ([3, 4, 5], 4), ([1, 4], 1), ([], 0), ([6, 0], 6)]
)
def test_the_exit_code_is_the_worst_ones(codes: list[int], worst: int) -> None:
    outcomes = tuple(Outcome(str(index), "failed", code) for index, code in enumerate(codes))
    assert Batch("m", "", None, outcomes, False, Path("r")).exit_code == worst
    assert Batch("m", "", None, outcomes, True, Path("r")).exit_code == 130


def test_shards_have_reports_of_their_own(work: Path) -> None:
    batch = run_batch(write_manifest(work, 1), settings(work), shard="2/2")
    assert batch.report_file.name == "batch_report-2-of-2.json"
    assert batch.outcomes == ()


def test_a_number_of_jobs_below_one_is_a_usage_error(work: Path) -> None:
    with pytest.raises(UsageError, match="--jobs is 0"):
        run_batch(write_manifest(work, 1), settings(work), jobs=0)


def test_a_push_follows_a_conversion_and_its_failure_is_the_entrys(work: Path) -> None:
    outcome = convert_entry(entry(work, push={"repo_id": "me/a"}), settings(work))
    assert (outcome.status, outcome.exit_code) == ("converted", 6)  # parity was skipped, so the Hub is not asked
    assert outcome.error is not None
    assert outcome.error["kind"] == "hub"
