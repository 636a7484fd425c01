"""Machines that lack something: room, permission, a home, a clock that is right, letters, streams, a whole input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.small_world import contents

if TYPE_CHECKING:
    from tests.bad_days.interruption import Forks, Scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts, and counts processes, as Linux does"),
]
NAMES = "中文 =[,] [bold]x"


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[Path]:
    """A file system of its own; skips where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def to(scene: Scene, target: Path, *, parity: bool = False) -> list[str | Path]:
    """The scene's command with another target."""
    arguments = [target if argument == scene.target else argument for argument in scene.arguments]
    return [argument for argument in arguments if not parity or argument != "--skip-parity"]


def test_a_read_only_target_is_an_output_error(runner: Forks, scene: Scene, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m", "ro") as disk:
        ended = runner.run(*to(scene, disk / "out"))
    assert ended.code == 5
    assert "Read-only file system" in ended.stderr
    assert "not read-only" in ended.stderr


def test_another_disk_than_that_of_the_temporary_files_is_as_good(runner: Forks, scene: Scene, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100m") as disk:
        for _ in range(2):  # into a free place, and over what is there
            ended = runner.run(*to(scene, disk / "out"), "--force")
            assert ended.code == 0, ended.stderr
            assert contents(disk / "out") == scene.new
            assert [path.name for path in disk.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["to-corenet", "batch"])
def test_a_full_disk_leaves_nothing_of_the_other_commands(
    runner: Forks, scene: Scene, tmp_path: Path, command: str
) -> None:
    scene.set_up()
    manifest = tmp_path / "m.json"
    manifest.write_text('{"entries": []}', encoding="utf-8")
    with small_disk(tmp_path / "disk", "1m") as disk:
        if command == "batch":
            (disk / "batch_report.json").write_text("old", encoding="utf-8")
            (disk / "filler").write_bytes(bytes((1 << 20) - 4096))
            ended = runner.run("batch", manifest, "--output", disk)
        else:
            ended = runner.run("to-corenet", scene.target, "--output", disk / "w.pt")
        there = {path.name for path in disk.iterdir()}
        old = (disk / "batch_report.json").read_bytes() if command == "batch" else b""
    if command == "batch":
        assert (ended.code, old) == (5, b"old")
        assert there == {"batch_report.json", "filler"}
    else:
        assert ended.code == 5, ended.stderr
        assert there == set()
    assert "Traceback" not in ended.stderr


def test_no_room_for_temporary_files_is_told_as_that(runner: Forks, scene: Scene, tmp_path: Path) -> None:
    scene.set_up()
    with small_disk(tmp_path / "disk", "64k") as disk:
        ended = runner.run(*to(scene, scene.target, parity=True), "--force", TMPDIR=str(disk))
    assert ended.code == 5, ended.stderr
    assert f"{tmp_path / 'disk'}: cannot be written: " in ended.stderr
    assert "set TMPDIR" in ended.stderr
    assert contents(scene.target) == scene.old
    assert scene.beside() == []


def test_letters_home_and_clock_may_be_missing_or_wrong(runner: Forks, scene: Scene, tmp_path: Path) -> None:
    """One whole process: Python looks at its locale when it starts."""
    folder = tmp_path / NAMES
    shutil.copytree(runner.place / "in", folder)
    os.utime(folder / "w.pt", (4e9, 4e9))  # in the year 2096
    os.utime(folder / "c.yaml", (0, 0))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TMPDIR": str(tmp_path),
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "40",
        "HF_HUB_OFFLINE": "1",
        "SOURCE_DATE_EPOCH": "1",
    }
    command = [sys.executable, "-m", "byteformer_convert", "convert", "--config", folder / "c.yaml", "--skip-parity"]
    command += ["--weights", folder / "w.pt", "--output", folder / "out"]
    result = subprocess.run(
        command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert contents(folder / "out") == scene.new
    lines = result.stdout.decode("ascii").splitlines()
    assert max(len(line) for line in lines if line.startswith(("|", "+"))) <= 40
    for name in scene.new:
        assert name[:8] in result.stdout.decode("ascii")


def test_two_conversions_over_one_folder_leave_one_whole_folder(runner: Forks, scene: Scene) -> None:
    scene.set_up()
    command = [sys.executable, "-m", "byteformer_convert", *map(str, scene.arguments), "--force"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert contents(scene.target) == scene.new
    assert scene.beside() == []


# --- an input that somebody writes to meanwhile ---

CHANGES = """
import sys
from pathlib import Path
import byteformer_convert.conversion as conversion
from byteformer_convert.__main__ import main
step, how, weights = sys.argv[1:4]
original = getattr(conversion, step)
def changed(*arguments, **more):
    with Path(weights).open("r+b") as file:
        if how == "cut":
            file.truncate(1000)
        else:
            file.seek(5_000_000)
            file.write(b"changed")
    return original(*arguments, **more)
setattr(conversion, step, changed)
sys.argv[1:] = sys.argv[4:]
main()
"""


@pytest.mark.parametrize(
    ("step", "how"),
    [("mapped_weights", "cut"), ("_write_model", "cut"), ("_write_papers", "cut"), ("_parity", "bytes")],
)
def test_an_input_that_is_written_to_meanwhile_is_an_input_error(
    runner: Forks, scene: Scene, tmp_path: Path, step: str, how: str
) -> None:
    scene.set_up()
    weights = Path(shutil.copy(runner.place / "in" / "w.pt", tmp_path / "w.pt"))
    arguments = [weights if str(argument).endswith("w.pt") else argument for argument in scene.arguments]
    command = [sys.executable, "-c", CHANGES, step, how, weights, *arguments, "--force", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": str(runner.scratch)}
    result = subprocess.run(
        list(map(str, command)),
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert result.returncode == 3, result.stderr
    assert "while it was read" in result.stderr
    assert '"exit_code": 3' in result.stdout
    assert "Traceback" not in result.stderr
    assert contents(scene.target) == scene.old
    # SIGBUS leaves no time to clean up: the next run does.
    assert runner.run(*scene.arguments, "--force").code == 0
    assert scene.beside() == []
