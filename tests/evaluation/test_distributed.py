"""Several processes over gloo, started by accelerate and torchrun: every file once, and the same document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.evaluation.test_engine import digits_data, digits_folder
from tests.evaluation.worlds_of_files import write_images, write_raw
from tests.folders import make_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
ALONE = ["-m"]
ACCELERATE = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m",
]  # fmt: skip
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
LIMIT = 180


def start(launcher: list[str], *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "byteformer_convert", "evaluate", *map(str, arguments), "--json"]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def document(launcher: list[str], *arguments: str | Path) -> str:
    """What the command prints on stdout."""
    process = start(launcher, *arguments)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    return out


def test_two_processes_that_accelerate_starts_print_what_one_prints(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    arguments = [folder, "--data", write_images(tmp_path / "images"), "--class-order", "data", "--batch-size", "3"]
    one = document(ALONE, *arguments, "--workers", "0")
    assert json.loads(one)["data"]["scored"] == 12
    assert document(ACCELERATE, *arguments, "--workers", "1") == one


def test_more_processes_than_batches_are_no_problem(tmp_path: Path) -> None:
    arguments = [make_folder(tmp_path), "--data", write_raw(tmp_path / "raw", [60, 70, 80]), "--raw", "--unpadded"]
    assert document(TORCHRUN, *arguments) == document(ALONE, *arguments)


def test_the_trained_checkpoint_scores_the_same_after_a_kill_and_on_two_processes(shared: Path, tmp_path: Path) -> None:
    folder, data = digits_folder(shared, tmp_path), digits_data(shared, tmp_path)
    journal = tmp_path / "journal.jsonl"
    arguments = [folder, "--data", data, "--raw", "--batch-size", "40", "--workers", "1"]
    one = document(ALONE, *arguments)
    assert json.loads(one)["results"][0]["top1"]["value"] == 0.95

    process = start(ALONE, *arguments, "--journal", journal)
    wait_for_lines(journal, 3, process)
    os.killpg(process.pid, signal.SIGKILL)  # the workers, too
    process.communicate()
    done = len(journal.read_text(encoding="utf-8").splitlines()) - 1
    assert 2 <= done < 10
    assert document(TORCHRUN, *arguments, "--journal", journal) == one
    batches = [json.loads(line)["batch"] for line in journal.read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(batches) == list(range(10))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_the_workers_without_a_word(tmp_path: Path, number: int) -> None:
    folder, data, journal = make_folder(tmp_path), write_raw(tmp_path / "raw", [60, 70] * 500), tmp_path / "j.jsonl"
    options = ["--raw", "--batch-size", "1", "--workers", "2", "--journal", journal]
    process = start(ALONE, folder, "--data", data, *options)
    wait_for_lines(journal, 3, process)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert "Traceback" not in err


def wait_for_lines(path: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Until the file has so many lines."""
    while not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < lines:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
