"""The same input gives the same bytes: on another day, elsewhere, in another locale, with other threads and kernels."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from byteformer_convert.conversion import Request, convert

World = tuple[Path, Path]

ROOT = Path(__file__).resolve().parents[1]
LABELS = "Äpfel\nBirnen\nKürbis\n日本梨\nzwei Pflaumen\n"
YEARS = 3e8  # seconds

# Python imports it at its start, in the fresh process of parity, too.
ANOTHER_DAY = f"""
import time
real, real_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: real() + {YEARS}, lambda: real_ns() + int({YEARS} * 1e9)
"""

ANOTHER_MACHINE = {
    # Python
    "PYTHONHASHSEED": "77",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "LC_ALL": "C",
    "TZ": "Pacific/Kiritimati",
    "SOURCE_DATE_EPOCH": "1",
    # threads
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "MKL_DYNAMIC": "FALSE",
    # the kernels of a processor without AVX; libraries that have none of these switches ignore them
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
}


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text(LABELS, encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_another_day_and_machine_give_the_same_bytes(small_world: World, labels: Path, tmp_path: Path) -> None:
    here, there, clock = tmp_path / "here", tmp_path / "there" / "deeper", tmp_path / "clock"
    convert(Request(config=small_world[0], weights=small_world[1], labels=labels, output=here))
    for folder, source in ((there, small_world), (clock, ())):
        folder.mkdir(parents=True)
        for path in source:
            shutil.copyfile(path, folder / path.name)
            os.utime(folder / path.name, (1e9, 1e9))
    (clock / "sitecustomize.py").write_text(ANOTHER_DAY, encoding="utf-8")

    command = [sys.executable, "-m", "byteformer_convert", "convert", "--config", "c.yaml", "--weights", "w.pt"]
    run = subprocess.run(
        [*command, "--labels", os.path.relpath(labels, there), "--output", "out"],
        cwd=there,
        env=os.environ | ANOTHER_MACHINE | {"PYTHONPATH": os.pathsep.join((str(clock), str(ROOT)))},
        umask=0o077,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stderr
    assert sums(there / "out") == sums(here)
