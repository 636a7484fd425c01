"""Fixtures that several parts of the tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.golden_cases import GoldenCase, golden_cases
from tests.small_world import WarmProcess, write_world

if TYPE_CHECKING:
    from byteformer_convert.parity.fresh_process import FreshProcess

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module", params=list(golden_cases()))
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    """Every golden case in turn; `golden_cases()["sinusoidal"]` is a single one."""
    return golden_cases()[request.param]


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> None:
    """What nohup or a shell's & have us ignore, our children would ignore as well; some tests stop them."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of larger test data beside the checkout; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs the larger test data in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[FreshProcess]:
    """A real fresh process, for as long as the tests run: its imports take seconds."""
    from byteformer_convert.parity.fresh_process import FreshProcess

    with FreshProcess() as process:
        yield process


@pytest.fixture
def warm(fresh_process: FreshProcess, monkeypatch: pytest.MonkeyPatch) -> FreshProcess:
    """Lets the pipeline use that process instead of starting its own."""
    monkeypatch.setattr("byteformer_convert.checking.fresh_process", lambda: WarmProcess(fresh_process))
    return fresh_process


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A YAML and a checkpoint that fit each other: 12 layers, 60 positions, 5 classes."""
    return write_world(tmp_path_factory.mktemp("world"))
