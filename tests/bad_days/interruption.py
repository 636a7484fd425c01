"""One command, one signal at one point of it, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from byteformer_convert.output.staging import REPORT_NAME
from tests.small_world import contents, write_world

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("forking.py")
TORCHS_OWN = "torchinductor_"  # its cache for compiled code, which it makes when it is imported
PAPERS = (REPORT_NAME, "README.md")
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
        self.streams = place.with_name(f"{place.name}-streams")
        for folder in (self.scratch, self.streams):
            folder.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.pid = self._process.pid
        self._answer()

    def run(self, *arguments: str | Path, point: Point | None = None, **environment: str) -> Ended:
        """Runs a command to whatever end it comes to."""
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {"TMPDIR": str(self.scratch), **environment},
            "stdout": str(self.streams / "out"),
            "stderr": str(self.streams / "err"),
            "point": None if point is None else asdict(point),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        texts = ((self.streams / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
        return Ended(answer["code"], answer["hung"], answer["left_running"], *texts)

    def points(self, kind: str, *arguments: str | Path) -> list[str]:
        """What the points of a command are."""
        path = self.streams / "points"
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

    def is_new(self, there: Mapping[str, bytes] | None) -> bool:
        """Whether this is the new folder, with parity or without: only the card and the report speak of it."""
        if there is None or there.keys() != self.new.keys():
            return False
        if any(there[name] != content for name, content in self.new.items() if name not in PAPERS):
            return False
        report = json.loads(there[REPORT_NAME])
        card = next(file for file in report["files"] if file["name"] == "README.md")
        return report["request"]["license"] is None and card["sha256"] == hashlib.sha256(there["README.md"]).hexdigest()

    def is_whole(self, there: Mapping[str, bytes] | None) -> bool:
        """Whether this is the old folder or the new one."""
        return there == self.old or self.is_new(there)

    def beside(self) -> list[str]:
        """What lies beside the target."""
        return sorted(path.name for path in self.target.parent.iterdir() if path != self.target)


def make_scene(runner: Forks) -> Scene:
    """The smallest checkpoint there is, converted over a folder that says another licence."""
    config, weights = write_world(runner.place / "in")
    target = runner.place / "out" / "folder"
    arguments = ("convert", "--config", config, "--weights", weights, "--output", target, "--skip-parity")
    target.parent.mkdir()
    folders = []
    for more in ((), ("--license", "mit")):
        ended = runner.run(*arguments, *more)
        assert ended.code == 0, ended.stderr
        folders.append(contents(target))
        shutil.rmtree(target)
    assert folders[0] != folders[1]
    return Scene(arguments, target, old=folders[1], new=folders[0])


def faults_of(runner: Forks, scene: Scene, point: Point) -> list[str]:
    """Everything that is wrong after a conversion was hit at a point, and after the next one; empty: nothing is."""
    scene.set_up()
    return faults_after(runner, scene, point, runner.run(*scene.arguments, "--force", point=point))


def faults_after(runner: Forks, scene: Scene, point: Point, ended: Ended, *, excused: bool = False) -> list[str]:
    """The same, once it has ended; `excused` of what it left in TMPDIR."""
    faults = list(_first(scene, point, ended))
    left = []
    for path in runner.scratch.iterdir():
        if not path.name.startswith(TORCHS_OWN):
            if not _is_pythons_own(path):
                left.append(path.name)
            path.unlink() if path.is_file() else shutil.rmtree(path)
    if left and not excused:
        faults.append(f"left {left} in TMPDIR")
    if scene.beside():
        again = runner.run(*scene.arguments, "--force")
        if again.code != 0:
            faults.append(f"the next run ended with {again.code}: {again.stderr[-200:]}")
        if scene.beside():
            faults.append(f"the next run left {scene.beside()}")
    return faults


def _is_pythons_own(path: Path) -> bool:
    """What Python writes to learn whether a folder takes temporary files, and removes at once."""
    return bool(re.fullmatch(r"[a-z0-9_]{8}", path.name)) and path.is_file() and path.read_bytes() in (b"", b"blat")


def _first(scene: Scene, point: Point, ended: Ended) -> Iterator[str]:
    there = contents(scene.target) if scene.target.is_dir() else None
    if not scene.is_whole(there):
        yield "the target is neither old nor new"
    if ended.hung or ended.left_running:
        yield "something is still running"
    if "Traceback" in ended.stderr:
        yield f"a traceback: {ended.stderr[-600:]}"
    if point.signal == signal.SIGKILL:
        if ended.code != -signal.SIGKILL and not (ended.code == 0 and scene.is_new(there)):  # it was too late
            yield f"ended with {ended.code}"
        return
    # Before the command has begun and after it has ended, a signal does what it does to any process.
    # And Python ends itself with SIGINT where an interrupt has passed through an exec().
    fitting = {130, -point.signal, -signal.SIGINT} | ({0} if scene.is_new(there) else set())
    if ended.code not in fitting:
        yield f"ended with {ended.code}: {ended.stderr[-600:]}"
    if scene.beside():
        yield f"left {scene.beside()}"
