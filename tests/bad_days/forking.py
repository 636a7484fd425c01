"""Runs as a script: commands in forks of a process that has imported torch already, each with a signal at one point.

One JSON request a line on stdin, one JSON answer a line on stdout. Nothing in the package knows of this: a point is an
audit event of Python (a file is opened, a folder made, renamed, removed) or a line of the package, counted as the
command gets there, and the command sends the signal to itself.

    {"arguments": [...], "environment": {...}, "stdout": PATH, "stderr": PATH, "point": null or POINT}
    POINT: {"kind": "event" or "line", "at": N, "signal": N, "held": bool, "group": bool, "list": PATH or null}

The first N-1 points pass; with `held` every later one sends the signal again, as a finger that stays on Ctrl-C does.
With `list` nothing is sent, and every point is written there instead, a line each.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

LINES_OF = ("checking.py", "cli/", "conversion.py", "interrupts.py", "output/", "parity/fresh_process.py", "report/")
PACKAGE = str(Path(__file__).resolve().parents[2] / "byteformer_convert")
PATIENCE = 100.0  # seconds, for a command that takes one
EVENTS = {
    *("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree"),
    *("ctypes.dlsym", "fcntl.flock", "subprocess.Popen", "tempfile.mkdtemp"),
}
ALWAYS = {"fcntl.flock", "os.remove", "subprocess.Popen"}  # whatever they are about
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl


def main() -> None:
    place = sys.argv[1]
    adopt_orphans()
    answers = os.fdopen(os.dup(1), "w")
    _import()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        command = os.fork()
        if command == 0:
            answers.close()
            _run(request, place)  # and ends as a process of its own does
            return
        print(json.dumps(end_of(command)), file=answers, flush=True)


def _import() -> None:
    """What a command would import, so that it lies behind all of them."""
    import torch  # noqa: F401

    import byteformer_convert.cli
    import byteformer_convert.conversion
    import byteformer_convert.corenet.checkpoint
    import byteformer_convert.mapping.weights
    import byteformer_convert.parity.check
    import byteformer_convert.parity.fresh_process
    import byteformer_convert.to_corenet  # noqa: F401


# In the command.


def _run(request: dict[str, Any], place: str) -> None:
    os.setsid()
    for number, name in ((1, request["stdout"]), (2, request["stderr"])):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    sys.argv = ["byteformer-convert", *request["arguments"]]
    from byteformer_convert.__main__ import main as command

    if request["point"] is not None:
        _arm(request["point"], place)
    command()


def _arm(point: dict[str, Any], place: str) -> None:
    reached = _lister(point["list"]) if point["list"] else _sender(point)
    if point["kind"] == "event":
        sys.addaudithook(_on_event(reached, place))
    else:
        sys.settrace(_on_line(reached))


def _lister(path: str) -> Callable[[str], None]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    return lambda label: void(os.write(file, f"{label}\n".encode()))


def void(_: object) -> None:
    """For a function that is to return nothing."""


def _sender(point: dict[str, Any]) -> Callable[[str], None]:
    seen = 0

    def reached(label: str) -> None:
        nonlocal seen
        seen += 1
        if seen == point["at"] or (point["held"] and seen > point["at"]):
            os.kill(0 if point["group"] else os.getpid(), point["signal"])

    return reached


def _on_event(reached: Callable[[str], None], place: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Imports open files, too: only what concerns the test's own folder counts, or has no path."""
    busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy or event not in EVENTS:
            return
        busy = True
        try:
            about = " ".join(os.fsdecode(value) if isinstance(value, bytes) else str(value) for value in arguments)
            if place in about or event in ALWAYS or "renameat2" in about:
                reached(f"{event} {about}")
        finally:
            busy = False

    return hook


def _on_line(reached: Callable[[str], None]) -> Callable[..., Any]:
    """The first time that each line of the package is come to; the signal is there before it runs."""
    seen: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, _: object) -> Any:
        where = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and where not in seen:
            seen.add(where)
            reached(f"{where[0].removeprefix(PACKAGE)}:{where[1]}")
        return local

    files = tuple(f"{PACKAGE}/{name}" for name in LINES_OF)
    return lambda frame, event, _: local if frame.f_code.co_filename.startswith(files) else None


# In the process that forks.


def adopt_orphans() -> None:
    """What outlives a command becomes a child of ours (on Linux), so that it can be waited for."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def end_of(command: int, leave: int | None = None) -> dict[str, Any]:
    """How a command ended, the leader of a group, and whether it left something running; whatever it is, it is ended.

    Args:
        command: Its process number.
        leave: A child that is not the command's.
    """
    codes: dict[int, int] = {}
    hung = not _wait(lambda: _reap(codes, leave) or command in codes)
    left = not hung and not _wait(lambda: _reap(codes, leave))
    if hung or left:
        os.killpg(command, signal.SIGKILL)
        _wait(lambda: _reap(codes, leave))
    return {"code": codes.get(command), "hung": hung, "left_running": left}


def _reap(codes: dict[int, int], leave: int | None) -> bool:
    """Takes down who has ended; whether nobody is left."""
    for pid in _children():
        if pid != leave:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                codes[ended] = os.waitstatus_to_exitcode(status)
    return not [pid for pid in _children() if pid != leave]


def _children() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def _wait(happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


if __name__ == "__main__":
    main()
