"""A process of its own that runs inputs: one that ends it, or eats its memory, costs one test and not all.

    python -m tests.hostile.replay

Reads a line of JSON for each input, {"target": ..., "file": ...}, and answers with one: null, or the finding.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from byteformer_convert.errors import ByteFormerConvertError
from tests.hostile.attempt import Finding, Target, attempt

ROOT = Path(__file__).resolve().parents[2]
LONGEST_WAIT = 120  # seconds, after which a process that hangs where no signal reaches it is ended


def scratch_root() -> Path | None:
    """Memory, where there is such a place; None for where temporary files are elsewhere."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() else None


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place."""
    with tempfile.TemporaryDirectory(prefix="hostile-", dir=scratch_root()) as name:
        yield Path(name).resolve()


def warm_up(target: Target, root: Path) -> None:
    """Runs the target once without bounds: first imports and tables are not the input's doing."""
    place = root / "warm"
    place.mkdir()
    with suppress(ByteFormerConvertError):  # one file alone may not be enough
        target.run(next(iter(target.seeds())), place)


def main() -> None:
    """Answers until there are no more lines."""
    from tests.hostile.targets import TARGETS

    warnings.simplefilter("ignore")
    warm: set[str] = set()
    for line in sys.stdin:
        request = json.loads(line)
        target = TARGETS[request["target"]]
        with scratch_folder() as root:
            if target.name not in warm:
                warm_up(target, root)
                warm.add(target.name)
            with scratch_folder() as empty:
                finding = attempt(target, Path(request["file"]).read_bytes(), empty)
        sys.__stdout__.write(json.dumps(finding and finding.to_dict()) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


class Replay:
    """The process from outside; started when it is first needed, and again when an input ended it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None

    def ask(self, target: str, file: Path) -> Finding | None:
        """What the input does."""
        process = self._running()
        _write(process.stdin, json.dumps({"target": target, "file": str(file.resolve())}))
        answer = _read(process)
        if answer is None:
            self.process = None
            code = process.wait()
            return Finding(target, f"the process ended with {code}", "?", "")
        found: Any = json.loads(answer)
        return None if found is None else Finding(**found)

    def close(self) -> None:
        """Ends it."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.replay"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=self.environment,
            )
        return self.process


def _write(stream: IO[str] | None, line: str) -> None:
    assert stream is not None
    stream.write(line + "\n")
    stream.flush()


def _read(process: subprocess.Popen[str]) -> str | None:
    """The answer, or None of a process that ended."""
    from threading import Timer

    timer = Timer(LONGEST_WAIT, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        return process.stdout.readline() or None
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
