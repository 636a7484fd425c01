"""One hostile input through one target: nothing, or a finding."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from byteformer_convert.errors import ByteFormerConvertError
from tests.hostile.bounds import Bounds, OutOfTime, bounded
from tests.hostile.watch import watched

LONGEST_MESSAGE = 4000
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory", "bad_alloc", "out of memory")


@dataclass(frozen=True, slots=True)
class Target:
    """One way into the package.

    Attributes:
        name: Short, with underscores; names the corpus folder too.
        run: Takes the input's bytes and an empty folder to put them into; calls the function that a command calls.
            Returns, or raises a ByteFormerConvertError. Whatever it leaves in the folder is its own affair.
        seeds: Valid small inputs, and the hostile ones that are made rather than stored.
        mutate: Input, longest result and seed to another input, for formats in which changed bytes mostly die in a
            checksum; None for libFuzzer's own mutations.
        words: What a fuzzer puts into inputs.
        longest: Bytes of the longest input that the fuzzer makes.
        bounds: What one input may cost.
    """

    name: str
    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Callable[[bytes, int, int], bytes] | None = None
    words: tuple[bytes, ...] = ()
    longest: int = 1 << 14
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class Finding:
    """What an input did that it must not.

    Attributes:
        target: The target's name.
        problem: What happened, one line.
        place: The innermost line of the package that was running; equal ones are taken for the same fault.
        details: Everything else that helps, such as the traceback.
    """

    target: str
    problem: str
    place: str
    details: str

    def to_dict(self) -> dict[str, str]:
        """JSON-able."""
        return asdict(self)


def attempt(target: Target, data: bytes, root: Path) -> Finding | None:
    """Runs one input within the target's bounds, and cleans up behind it.

    Args:
        target: What to call.
        data: What to give it.
        root: An empty folder, empty again afterwards; a folder in memory makes this fast.
    """
    place, elsewhere = root / "place", root / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    try:
        with chdir(elsewhere), watched(place) as seen:
            finding = _call(target, data, place)
        return finding or _done_beyond(target, seen, elsewhere)
    finally:
        shutil.rmtree(place)
        shutil.rmtree(elsewhere)


def _call(target: Target, data: bytes, place: Path) -> Finding | None:
    try:
        with bounded(target.bounds, len(data)):
            target.run(data, place)
    except ByteFormerConvertError as error:
        problem = _hidden_cause(error) or _faulty_message(error)
        return problem and _finding(target, f"{type(error).__name__}: {problem}", error)
    except OutOfTime as error:
        return _finding(target, f"takes more than {target.bounds.cpu_seconds} s of processor time", error)
    except (Exception, SystemExit) as error:
        return _finding(target, f"{type(error).__name__}: {error}"[:300].splitlines()[0], error)
    return None


def _done_beyond(target: Target, seen: list[str], elsewhere: Path) -> Finding | None:
    left = [f"leaves {name} in the working folder" for name in os.listdir(elsewhere)]  # noqa: PTH208 - names alone
    if deeds := [*seen, *left]:
        return Finding(target.name, deeds[0], deeds[0].split()[0], "\n".join(deeds))
    return None


def _hidden_cause(error: BaseException) -> str | None:
    """Memory that ran out and was then taken for a damaged file."""
    for cause in _chain(error):
        text = str(cause).lower()
        if isinstance(cause, MemoryError) or any(words in text for words in _OUT_OF_MEMORY):
            return f"wants more memory than is allowed ({cause})"
    return None


def _faulty_message(error: ByteFormerConvertError) -> str | None:
    text = str(error)
    if not error.message.strip():
        return "an empty message"
    if len(text) > LONGEST_MESSAGE:
        return f"a message of {len(text)} characters"
    if "Traceback (most recent call last)" in text:
        return "a traceback in the message"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _finding(target: Target, problem: str, error: BaseException) -> Finding:
    details = "".join(traceback.format_exception(error))
    return Finding(target.name, problem, f"{type(error).__name__} {_place(error.__traceback__)}", details[-20_000:])


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames if "byteformer_convert" in frame.filename] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "?"
