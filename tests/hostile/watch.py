"""Sees what an input makes the process do: start programs, import what a pickle names, write elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FORBIDDEN = (
    "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile",
    "subprocess.Popen", "pickle.find_class", "socket.connect", "socket.bind", "urllib.Request", "code.__new__",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Watch:
    """An audit hook cannot be taken off again: this one sleeps between inputs."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.seen: list[str] = []
        self.installed = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.root is None:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._opened(arguments[0])

    def _opened(self, path: Any) -> None:
        if isinstance(path, (str, bytes)) and path not in (os.devnull, os.fsencode(os.devnull)):
            where = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - a Path would need a way around surrogates
            if not where.startswith(f"{self.root}{os.sep}"):
                self.seen.append(f"writes {where}")


_WATCH = _Watch()


@contextmanager
def watched(root: Path) -> Iterator[list[str]]:
    """What the block does beyond reading and computing; writing below `root` is its own affair.

    The list is filled while the block runs. Nothing is prevented: a finding shows what would have happened.
    """
    if not _WATCH.installed:
        sys.addaudithook(_WATCH.hook)
        _WATCH.installed = True
    _WATCH.root, _WATCH.seen = root.resolve(), []
    try:
        yield _WATCH.seen
    finally:
        _WATCH.root = None
