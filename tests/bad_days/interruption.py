"""One command, one signal at one point of it, and what came of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.small_world import contents

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("forking.py")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a command is hit.

    Attributes:
        kind: `event` (of Python's audit) or `line` (of the package).
        at: The how manieth of them, from 1.
        signal: What is sent there.
        held: Whether it is sent again at every later one.
        group: Whether every process that the command started gets it, too, as from a terminal.
        list: A file to write the points to, instead of sending anything.
    """

    kind: str
    at: int = 0
    signal: int = 0
    held: bool = False
    group: bool = False
    list: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Of its exit; below zero for a signal.
        left_running: Whether something that it had started outlived it by more than a while.
    """

    code: int | None
    hung: bool
    left_running: bool
    stdout: str
    stderr: str


class Forks:
    """Runs commands within a folder, each a fork of one process: torch's import takes longer than most of them.

    Args:
        place: An empty folder.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.scratch = place / "tmp"
        self._streams = place.with_name(f"{place.name}-streams")
        for folder in (self.scratch, self._streams):
            folder.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._answer()

    def run(self, *arguments: str | Path, point: Point | None = None, **environment: str) -> Ended:
        """Runs a command to whatever end it comes to."""
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {"TMPDIR": str(self.scratch), **environment},
            "stdout": str(self._streams / "out"),
            "stderr": str(self._streams / "err"),
            "point": None if point is None else asdict(point),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        texts = ((self._streams / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
        return Ended(answer["code"], answer["hung"], answer["left_running"], *texts)

    def points(self, kind: str, *arguments: str | Path) -> list[str]:
        """What the points of a command are."""
        path = self._streams / "points"
        ended = self.run(*arguments, point=Point(kind, list=str(path)))
        assert ended.code == 0, ended.stderr
        return path.read_text(encoding="utf-8").splitlines()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=120)

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks has ended"
        answer: Mapping[str, Any] = json.loads(line)
        return answer


@contextmanager
def forks(place: Path) -> Iterator[Forks]:
    """A process that forks commands, for the block."""
    found = Forks(place)
    try:
        yield found
    finally:
        found.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """A conversion that writes over an older one.

    Attributes:
        arguments: The command's, without --force.
        target: Where it writes to.
        old: What is there before; None for nothing.
        new: What is to be there afterwards.
    """

    arguments: Sequence[str | Path]
    target: Path
    old: Mapping[str, bytes] | None
    new: Mapping[str, bytes]

    def set_up(self) -> None:
        """The old folder, or nothing, and nobody's leftovers."""
        for path in self.target.parent.iterdir():
            shutil.rmtree(path)
        if self.old is not None:
            self.target.mkdir()
            for name, content in self.old.items():
                (self.target / name).write_bytes(content)

    def beside(self) -> list[str]:
        """What lies beside the target."""
        return sorted(path.name for path in self.target.parent.iterdir() if path != self.target)


def faults_of(runner: Forks, scene: Scene, point: Point) -> list[str]:
    """Everything that is wrong after a command was hit at a point, and after the next one; empty where nothing is."""
    scene.set_up()
    ended = runner.run(*scene.arguments, "--force", point=point)
    faults = list(_first(scene, point, ended)) + [f"left {path.name} in TMPDIR" for path in _taken(runner.scratch)]
    if not scene.beside():  # nothing that the next run could stumble over
        return faults
    again = runner.run(*scene.arguments, "--force", "--skip-parity")
    if again.code != 0:
        faults.append(f"the next run ended with {again.code}: {again.stderr[-200:]}")
    if scene.beside():
        faults.append(f"the next run left {scene.beside()}")
    return faults


def _first(scene: Scene, point: Point, ended: Ended) -> Iterator[str]:
    there = contents(scene.target) if scene.target.is_dir() else None
    if there not in (scene.old, scene.new):
        yield "the target is neither old nor new"
    if ended.hung or ended.left_running:
        yield "something is still running"
    if "Traceback" in ended.stderr:
        yield f"a traceback: {ended.stderr[-600:]}"
    if point.signal == signal.SIGKILL:
        if ended.code != -signal.SIGKILL:
            yield f"ended with {ended.code}"
        return
    # Before the command has begun and after it has ended, a signal does what it does to any process.
    fitting = {130, -point.signal} | ({0} if there == scene.new else set())
    if ended.code not in fitting:
        yield f"ended with {ended.code}: {ended.stderr[-600:]}"
    if scene.beside():
        yield f"left {scene.beside()}"


def _taken(folder: Path) -> list[Path]:
    """What is in a folder, which is emptied."""
    found = list(folder.iterdir())
    for path in found:
        shutil.rmtree(path)
    return found
